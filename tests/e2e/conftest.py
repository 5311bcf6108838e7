"""A project on the session's emulator, and `emrctl` commands as processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from emrctl.emulator.server.state import EmulatorInfo

PETS = Path(__file__).parents[3] / "shared" / "data" / "pets-small.tgz"
SMALL = ("--executor-memory", "1g", "--driver-memory", "1g")
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
    """Runs `emrctl` commands in a project's folder."""

    folder: Path
    home: Path

    @property
    def environment(self) -> dict[str, str]:
        """The session's emulator and the user's cache, without the user's AWS settings."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "EMRCTL_"))}
        return {**inherited, "EMRCTL_HOME": str(self.home), "EMRCTL_CACHE": CACHE}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command in its own process group."""
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
        """Run a command, check its exit code and return its stdout and stderr."""
        with self.start(*arguments) as process:
            out, err = process.communicate(timeout=240)
        assert process.returncode == code, f"emrctl {' '.join(arguments)}\n{out}\n{err}"
        return out, err

    def json(self, *arguments: str, code: int = 0) -> Any:
        """Run a command with --json and return the document."""
        return json.loads(self.run(*arguments, "--json", code=code)[0])

    def submit(self, *arguments: str, code: int = 0) -> tuple[list[dict[str, Any]], str]:
        """Submit a job; return the runs and stderr. Options precede the job's name."""
        out, err = self.run("submit", "--json", *arguments, code=code)
        return json.loads(out), err

    def records(self) -> list[dict[str, Any]]:
        """Return the run records in the store, without running a command."""
        paths = (self.folder / ".emrctl" / "runs").glob("*/run.json")
        return [json.loads(path.read_text()) for path in sorted(paths)]

    def resize(self, count: int) -> None:
        """Set the number of core nodes in emrctl.yaml."""
        (self.folder / "emrctl.yaml").write_text(YAML.format(count=count))


@pytest.fixture(scope="session")
def shell(emulator: EmulatorInfo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """Create a project's bucket and cluster; delete both after the session."""
    shell = Shell(tmp_path_factory.mktemp("project"), Path(emulator.home).parent)
    shell.resize(2)
    (shell.folder / "mark.sh").write_text(MARK)
    shell.run("up")
    yield shell
    shell.run("down", "--yes")
    shell.run("down", "--storage", "--yes")


def _pictures(folder: Path) -> tuple[str, ...]:
    """Return arguments of `emrctl data`: 12 pictures of 3 breeds, or digits if not available."""
    if not PETS.is_file():
        return ("digits", "--per-class", "12")
    with tarfile.open(PETS) as archive:
        for member in archive:
            name = Path(member.name).name
            if name.startswith(("Abyssinian_", "pug_", "samoyed_")) and name.endswith(".jpg"):
                member.name = name
                archive.extract(member, folder, filter="data")
    return ("folder", str(folder), "--name", "digits", "--per-class", "12")


@pytest.fixture(scope="session")
def features(shell: Shell, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Extract features of pictures; return the S3 address of the Parquet files."""
    upload = shell.json("data", *_pictures(tmp_path_factory.mktemp("pictures")))
    assert set(upload["classes"].values()) == {12}
    [run], _ = shell.submit(
        *(*SMALL, "--executors", "2", "--partitions", "4", "features", "--input", upload["uri"]),
        *("--output", "s3://{bucket}/features/pictures", "--size", "32"),
    )
    assert run["state"] == "COMPLETED"
    return f"s3://{run['bucket']}/features/pictures/features"
