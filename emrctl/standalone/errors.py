"""Nodes that failed, each with its own last lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emrctl.errors import EmrctlError, ProvisioningError
from emrctl.remote.errors import HostKeyError, UnreachableError

_NO_SPACE = ("No space left on device", "Disk quota exceeded", "[Errno 28]")
_TOLD = 5


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What went wrong on one node: `lines` are the last that it said."""

    node: str
    id: str
    what: str
    lines: Sequence[str] = ()
    hint: str = ""

    def __str__(self) -> str:
        """The node by its name and id, and its own last words."""
        own = "".join(f"\n    {line}" for line in self.lines[-_TOLD:])
        return f"{self.node} ({self.id}): {self.what}{own}"


class NodesFailedError(ProvisioningError):
    """Some nodes are not as they should be; `failures` has them by name. The others are."""

    def __init__(self, doing: str, failures: Mapping[str, Failure], *, hint: str = "") -> None:
        """Keep who failed, in words and as such."""
        self.failures = dict(failures)
        count = f"{len(failures)} nodes" if len(failures) > 1 else next(iter(failures))
        told = "".join(f"\n  {failure}" for failure in failures.values())
        hints = dict.fromkeys(one.hint for one in failures.values() if one.hint)
        super().__init__(f"{doing} failed on {count}:{told}", hint=" ".join(hints) or hint)


class ScriptFailedError(ProvisioningError):
    """A script ended badly on a node; `lines` are its last."""

    def __init__(self, script: str, code: int, lines: Sequence[str]) -> None:
        """Keep what it said, and say what is known about that."""
        self.lines = tuple(lines)
        full = any(word in line for line in lines for word in _NO_SPACE)
        ended = "did not end in time" if code == 124 else f"ended with exit code {code}"
        why = ": its disk is full" if full else ""
        hint = "Set a larger root_gb, then `emrctl up` makes the node anew." if full else ""
        super().__init__(f"{script} {ended}{why}", hint=hint)


def failure(node: str, id_: str, error: EmrctlError) -> Failure:
    """What the error says of that node."""
    lines = error.lines if isinstance(error, ScriptFailedError) else ()
    return Failure(node=node, id=id_, what=error.message, lines=lines, hint=error.hint)


def gathered(doing: str, errors: Mapping[tuple[str, str], EmrctlError]) -> EmrctlError:
    """One error for those of several nodes, by name and id; a host key's is never hidden."""
    failures = {name: failure(name, id_, error) for (name, id_), error in errors.items()}
    for (name, _), error in errors.items():
        if isinstance(error, HostKeyError):
            return HostKeyError(f"{name}: {error.message}", hint=error.hint)
    again = (
        "`emrctl up` goes on where it stopped; with --replace NAME it makes a worker anew, with "
        "--give-up it ends those that fail."
    )
    if all(isinstance(error, UnreachableError) for error in errors.values()):
        again = "Once they answer, `emrctl up` goes on where it stopped."
    return NodesFailedError(doing, failures, hint=again)
