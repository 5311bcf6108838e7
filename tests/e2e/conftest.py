"""A project on the session's emulator, and `emrctl` as a user types it: a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from emrctl.emulator.state import EmulatorInfo

CACHE = os.environ.get("EMRCTL_CACHE", str(Path.home() / ".emrctl" / "cache"))
YAML = """\
project: e2e
cluster:
  core: {{type: m5.xlarge, count: {count}}}
  bootstrap:
    - {{script: python.sh, args: [python3, boto3]}}
    - {{script: mark.sh, args: ["two words"]}}
"""
MARK = """#!/usr/bin/env bash
set -euo pipefail
echo "$1" > "$HOME/marked"
python3 -m pip install --user boto3
"""


@dataclass(frozen=True)
class Shell:
    """Types `emrctl` commands in a project's folder."""

    folder: Path
    home: Path

    @property
    def environment(self) -> dict[str, str]:
        """The emulator of the session, the cache of the machine, no AWS of the user's."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "EMRCTL_"))}
        return {**kept, "EMRCTL_HOME": str(self.home), "EMRCTL_CACHE": CACHE}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The command, running, in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "emrctl.cli", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        """What the command wrote to stdout and stderr, once it has ended with `code`."""
        with self.start(*arguments) as process:
            out, err = process.communicate(timeout=240)
        assert process.returncode == code, f"emrctl {' '.join(arguments)}\n{out}\n{err}"
        return out, err

    def json(self, *arguments: str, code: int = 0) -> Any:
        """The JSON document that the command printed."""
        return json.loads(self.run(*arguments, "--json", code=code)[0])

    def resize(self, count: int) -> None:
        """The spec asks for so many core nodes."""
        (self.folder / "emrctl.yaml").write_text(YAML.format(count=count))


@pytest.fixture(scope="session")
def shell(emulator: EmulatorInfo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A project with its bucket and cluster up; both are down again afterwards."""
    shell = Shell(tmp_path_factory.mktemp("project"), Path(emulator.home).parent)
    shell.resize(2)
    (shell.folder / "mark.sh").write_text(MARK)
    shell.run("up")
    yield shell
    shell.run("down", "--yes")
    shell.run("down", "--storage", "--yes")
