"""Upload files to a node."""

from __future__ import annotations

import posixpath
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from emrctl.remote.errors import UnreachableError

if TYPE_CHECKING:
    from paramiko import SFTPClient

    from emrctl.remote.ssh import SshConnection


def upload(connection: SshConnection, source: Path, destination: str) -> int:
    """Upload a file or a folder; return the number of files.

    If the destination is a folder or ends in a slash, the source keeps its name in it. Relative
    destinations start at the user's home. Raises `UnreachableError` if writing fails.
    """
    try:
        with connection.files() as files:
            return _upload(files, source, destination)
    except (OSError, EOFError) as error:
        hint = f"Check free space and the permissions of {connection.host.user}."
        msg = f"could not write {destination}: {error}"
        raise UnreachableError(msg, hint=hint) from error


def _upload(files: SFTPClient, source: Path, destination: str) -> int:
    if destination.endswith("/") or _is_folder(files, destination):
        destination = posixpath.join(destination, source.name)
    count = 0
    for path, name in _files(source, destination):
        _make_folder(files, posixpath.dirname(name))
        files.put(str(path), name)
        files.chmod(name, stat.S_IMODE(path.stat().st_mode))
        count += 1
    return count


def _files(source: Path, destination: str) -> Iterator[tuple[Path, str]]:
    if source.is_file():
        yield source, destination
        return
    for path in sorted(source.rglob("*")):
        if path.is_file():
            yield path, posixpath.join(destination, path.relative_to(source).as_posix())


def _is_folder(files: SFTPClient, name: str) -> bool:
    try:
        return stat.S_ISDIR(files.stat(name).st_mode or 0)
    except FileNotFoundError:
        return False


def _make_folder(files: SFTPClient, name: str) -> None:
    if name and not _is_folder(files, name):
        _make_folder(files, posixpath.dirname(name))
        files.mkdir(name)
