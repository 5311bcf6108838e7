"""An EMR on localhost with real YARN in a folder of its own, for loads."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from emrctl.emulator.server import processes
from tests.faults import scenario
from tests.faults.report import Row
from tests.faults.scenario import Emulator

CACHE = os.environ.get("EMRCTL_CACHE", str(Path.home() / ".emrctl" / "cache"))


@dataclass
class RealEmulator:
    """The folder of the emulator and its project, and the row of the load."""

    folder: Path
    row: Row

    @property
    def emulator(self) -> Emulator:
        """The running emulator."""
        return Emulator(self.folder / "home")

    def emrctl(self, command: str) -> None:
        """Run a command of emrctl; exits if it fails."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "EMRCTL_"))}
        own = {"EMRCTL_HOME": str(self.folder / "home"), "EMRCTL_CACHE": CACHE}
        result = subprocess.run(
            [sys.executable, "-m", "emrctl.cli", *command.split()],
            cwd=self.folder,
            env={**kept, **own, "PYTHONPATH": str(scenario.ROOT)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            raise SystemExit(f"emrctl {command}: {result.stderr}")

    def close(self) -> None:
        """Stop the emulator; nothing of it may be left."""
        info = self.emulator.info
        self.emrctl("local down --delete")
        left = processes.marked(processes.EMULATOR_MARK, info.id)
        self.row.left += len(left)
        self.row.problems += [f"running after `emrctl local down`: {process}" for process in left]
