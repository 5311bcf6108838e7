"""The entry point with standard streams, folders and names that fail."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EMRCTL = (sys.executable, "-m", "emrctl.cli")
TABLE = "type,nodes,seconds\na\N{ZERO WIDTH SPACE},1,10\nb,2,5\n"
COMPARE = ("compare", "--table", "times.csv", "--time", "seconds")


def run(command: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a line of shell in which `emrctl` is the command; close and redirect streams there."""
    line = command.replace("emrctl", '"$@"', 1)
    environment = os.environ | {"EMRCTL_HOME": str(folder / "home")} | variables
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}", "bash", *EMRCTL],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "times.csv").write_text(TABLE, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("streams", [">&-", "<&-", "<&- >&-", "<&- >&- 2>&-"])
def test_closed_streams_are_the_null_device(folder: Path, streams: str) -> None:
    # The page must not get the number of a closed stream: messages would be written into it.
    done = run(f"emrctl {' '.join(COMPARE)} --html page.html {streams}", folder)

    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert (folder / "page.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_stdout_that_is_not_utf8_replaces_characters(folder: Path) -> None:
    done = run(f"emrctl {' '.join(COMPARE)}", folder, PYTHONIOENCODING="ascii")

    assert done.returncode == 0
    assert "type=a?" in done.stdout


def test_overview_in_closed_pipe_prints_no_traceback(folder: Path) -> None:
    done = run("{ sleep 0.3; emrctl --help; } | true", folder)

    assert (done.returncode, done.stderr) == (1, "")


def test_command_in_deleted_folder_fails_with_reason(folder: Path) -> None:
    done = run("mkdir gone && cd gone && rmdir ../gone && emrctl runs", folder)

    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "the current folder does not exist" in done.stderr


def test_home_below_a_file_fails_with_its_path(folder: Path) -> None:
    (folder / "emrctl.yaml").write_text("project: pets\ntarget: local\n", encoding="utf-8")

    done = run("emrctl list", folder, EMRCTL_HOME="/dev/null/x")

    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert done.stderr.startswith("error: /dev/null/x/")


def test_name_that_is_not_utf8_fails_with_the_name(folder: Path) -> None:
    command = "emrctl compare --table $'bad\\xff.csv' --time seconds --json"
    done = run(f"mv times.csv $'bad\\xff.csv' && {command}", folder)

    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "bad\\udcff.csv" in done.stderr
