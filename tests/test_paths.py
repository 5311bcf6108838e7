"""Atomic writes: whole files only, their modes. Temporary folders: nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from emrctl.paths import atomic_file, create_private, temporary_folder, write_atomically

# Holds a temporary folder until it is killed.
HOLDER = """\
from emrctl.paths import temporary_folder
with temporary_folder() as folder:
    print(folder, flush=True)
    input()
"""


def test_write_atomically_creates_missing_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.json"
    write_atomically(path, "grün")
    write_atomically(path, b"second")
    assert path.read_bytes() == b"second"
    assert list(path.parent.iterdir()) == [path]


def test_write_atomically_writes_to_a_pipe_and_to_an_open_file(tmp_path: Path) -> None:
    pipe, file, link = (tmp_path / name for name in ("pipe", "file", "link"))
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_atomically(pipe, "page")
    assert os.read(reader, 10) == b"page"
    os.close(reader)
    with file.open("w") as stream:
        link.symlink_to(f"/proc/self/fd/{stream.fileno()}")
        stream.write("before ")
        stream.flush()
        write_atomically(link, "after")
    assert (file.read_text(), link.is_symlink(), pipe.is_fifo()) == ("before after", True, True)


def test_write_atomically_keeps_a_device(tmp_path: Path) -> None:
    # Links, so that a failure replaces no device of this machine.
    null, full = tmp_path / "null", tmp_path / "full"
    null.symlink_to("/dev/null")
    full.symlink_to("/dev/full")
    write_atomically(null, "page")
    assert null.is_symlink()
    with pytest.raises(OSError, match="No space left"):
        write_atomically(full, "page")


def test_write_atomically_with_mode_600_is_private(tmp_path: Path) -> None:
    path = tmp_path / "credentials"
    path.touch(0o644)
    write_atomically(path, "secret", 0o600)
    assert path.stat().st_mode & 0o777 == 0o600


def test_atomic_file_after_an_error_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), atomic_file(path) as temporary:
        temporary.write_text((tmp_path / "absent").read_text())
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_create_private_keeps_an_existing_file(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "main.pem"
    create_private(path, b"first")
    create_private(path, b"second")
    assert path.read_bytes() == b"first"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert list(path.parent.iterdir()) == [path]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which temporary folders are created."""
    root = tmp_path / "tmp"
    root.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(root))
    return root


def test_temporary_folder_is_private_and_deleted(temporary: Path) -> None:
    with temporary_folder() as folder:
        (folder / "log").write_text("x")
        assert folder.parent == temporary
        assert folder.stat().st_mode & 0o777 == 0o700
    assert list(temporary.iterdir()) == []


def test_temporary_folders_of_killed_processes_are_deleted(temporary: Path) -> None:
    holders = [
        subprocess.Popen(
            [sys.executable, "-c", HOLDER],
            env={**os.environ, "TMPDIR": str(temporary)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    try:
        killed, running = (
            Path(str(one.stdout and one.stdout.readline()).strip()) for one in holders
        )
        file, young = temporary / "emrctl-file", temporary / "emrctl-young"
        file.touch()
        young.mkdir()
        for path in (killed, running, file):
            os.utime(path, (0, 0))
        holders[0].kill()
        holders[0].wait()
        with temporary_folder():
            assert [path.exists() for path in (killed, running, file, young)] == [
                False,
                True,
                True,
                True,
            ]
    finally:
        for holder in holders:
            holder.kill()
            holder.communicate()
