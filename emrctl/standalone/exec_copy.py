"""A command on several nodes at once, and files brought to them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emrctl.errors import UsageError
from emrctl.remote.ssh import upload
from emrctl.standalone.parallel import Crew, Member


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
        return upload(member.line, source, destination)

    return max(crew.each("copying", work, _chosen(crew, names)).values(), default=0)


def _chosen(crew: Crew, names: Sequence[str]) -> list[Member]:
    return [crew.member(name) for name in names] or list(crew.members)
