"""A command on several nodes at once, and files brought to them."""

from __future__ import annotations

import posixpath
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from emrctl.errors import UsageError
from emrctl.reach.trouble import UnreachableError
from emrctl.standalone.crew import Crew, Member

if TYPE_CHECKING:
    from paramiko import SFTPClient


def exec_on(crew: Crew, command: str, names: Sequence[str] = ()) -> dict[str, int]:
    """The command's exit code on each node of these names, by default on all.

    What it writes goes to the crew's report line by line, and `NodesFailedError` names the nodes
    that were not reached.
    """

    def work(member: Member) -> int:
        crew.reached(member)
        return member.code_of(command)

    return crew.each("reaching nodes", work, _chosen(crew, names))


def copy(crew: Crew, source: Path, destination: str, names: Sequence[str] = ()) -> int:
    """The file, or the folder with all that is in it, lies on each node; how many files each got.

    A destination that ends in a slash, or is a folder there, gets it under its own name; a
    relative one counts from the user's home.
    """
    if not source.exists():
        raise UsageError(f"there is no {source}", hint="Give a file or a folder of this machine.")

    def work(member: Member) -> int:
        crew.reached(member)
        try:
            with member.line.files() as files:
                return _put(files, source, destination)
        except (OSError, EOFError) as error:
            msg = f"{destination} could not be written: {error}"
            raise UnreachableError(
                msg, hint="Is there room, and may ec2-user write there?"
            ) from error

    return max(crew.each("copying", work, _chosen(crew, names)).values(), default=0)


def _chosen(crew: Crew, names: Sequence[str]) -> list[Member]:
    return [crew.member(name) for name in names] or list(crew.members)


def _put(files: SFTPClient, source: Path, destination: str) -> int:
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
