"""The user's files and folders outside a project, and atomic writes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def home() -> Path:
    """Return emrctl's home, `$EMRCTL_HOME` or `~/.emrctl`. It need not exist."""
    chosen = os.environ.get("EMRCTL_HOME")
    return Path(chosen).expanduser().absolute() if chosen else Path.home() / ".emrctl"


def cache() -> Path:
    """Return the folder of shared downloads, `$EMRCTL_CACHE` or `cache/` in emrctl's home."""
    chosen = os.environ.get("EMRCTL_CACHE")
    return Path(chosen).expanduser().absolute() if chosen else home() / "cache"


def key_file(stack: str) -> Path:
    """Return the path of a stack's private key. The file is kept when the stack is deleted."""
    return home() / "keys" / f"{stack}.pem"


def emulator_home() -> Path:
    """Return the folder of the EMR on localhost: its state file, credentials and clusters."""
    return home() / "local"


def emulator_file() -> Path:
    """Return the emulator's state file (JSON: endpoint, region, pid, home, credentials)."""
    return emulator_home() / "emulator.json"


@contextmanager
def atomic_file(path: Path, mode: int = 0o666) -> Iterator[Path]:
    """Yield a temporary file beside `path`; rename it to `path` unless the block raises.

    Other processes see the old file or the whole new one. `mode` is subject to the umask.
    """
    with _temporary_file(path, mode) as temporary:
        yield temporary
        temporary.replace(path)


def write_atomically(path: Path, data: str | bytes, mode: int = 0o666) -> None:
    """Write a whole file (text as UTF-8) and rename it to `path`; create missing folders.

    A device, a pipe and `/dev/stdout` are written to: a rename would replace them.
    """
    content = data.encode() if isinstance(data, str) else data
    if _is_stream(path):
        with path.open("ab") as stream:
            stream.write(content)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path, mode) as temporary:
        temporary.write_bytes(content)


def _is_stream(path: Path) -> bool:
    """Return whether `path` is a device, a pipe or an open file of a process."""
    is_open_file = path.is_symlink() and path.readlink().is_relative_to("/proc")
    return is_open_file or path.is_char_device() or path.is_fifo()


# Names of folders of `temporary_folder`; younger ones may not be locked yet.
_TEMPORARY, _NEW_S = "emrctl-", 600


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield a private folder outside of all others, and delete it afterwards.

    What killed processes of the user left is deleted first: each holds a lock on its folder.
    """
    import fcntl
    import tempfile

    _delete_left_folders(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=_TEMPORARY) as name:
        folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(folder, fcntl.LOCK_SH)
            yield Path(name)
        finally:
            os.close(folder)


def _delete_left_folders(root: Path) -> None:
    import fcntl
    import shutil
    import time

    for path in root.glob(f"{_TEMPORARY}*"):
        with suppress(OSError):
            status = path.lstat()
            if status.st_uid != os.getuid() or time.time() - status.st_mtime < _NEW_S:
                continue
            folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path)
            finally:
                os.close(folder)


def create_private(path: Path, data: bytes) -> None:
    """Create `path`, readable by its owner only; keep the existing file if there is one.

    Of several processes that create the file at the same time one succeeds.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _temporary_file(path, 0o600) as temporary:
        temporary.write_bytes(data)
        with suppress(FileExistsError):
            path.hardlink_to(temporary)


@contextmanager
def _temporary_file(path: Path, mode: int) -> Iterator[Path]:
    temporary = path.with_name(f".{os.urandom(8).hex()}.part")
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
