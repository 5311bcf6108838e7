"""Atomic writes: whole files only, their modes, nothing left behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from emrctl.paths import atomic_file, create_private, write_atomically


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
