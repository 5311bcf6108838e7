"""Ends what a killed emulator leaves behind: `python -m emrctl.emulator.warden ID`.

It sleeps until its input ends, which is when the emulator has, however that happened.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from emrctl.emulator import processes


def start(home: Path, emulator_id: str) -> subprocess.Popen[bytes]:
    """A warden watches this process. Its other end must stay ours: keep what is returned."""
    with (home / "emulator.log").open("ab") as log:
        return processes.spawn(
            [sys.executable, "-m", "emrctl.emulator.warden", emulator_id],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
        )


def main() -> int:
    """The emulator has gone, and nothing of it runs any more."""
    sys.stdin.buffer.read()
    processes.kill_marked(processes.EMULATOR_MARK, sys.argv[1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
