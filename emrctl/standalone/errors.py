"""Errors of nodes, each with the last lines of its output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emrctl.errors import EmrctlError, HostKeyError, ProvisioningError, UnreachableError

_NO_SPACE = ("No space left on device", "Disk quota exceeded", "[Errno 28]")
_SHOWN_LINES = 5


@dataclass(frozen=True, kw_only=True)
class NodeFailure:
    """What failed on one node; `lines` are the last of its output."""

    node: str
    id: str
    what: str
    lines: Sequence[str] = ()
    hint: str = ""

    def __str__(self) -> str:
        """Return the node's name and id, the failure and the last lines of output."""
        output = "".join(f"\n    {line}" for line in self.lines[-_SHOWN_LINES:])
        return f"{self.node} ({self.id}): {self.what}{output}"


class NodesFailedError(ProvisioningError):
    """An operation failed on some nodes; `failures` has them by name."""

    def __init__(self, action: str, failures: Mapping[str, NodeFailure], *, hint: str = "") -> None:
        """Describe the failures of `action`; their own hints take precedence over `hint`."""
        self.failures = dict(failures)
        nodes = f"{len(failures)} nodes" if len(failures) > 1 else next(iter(failures))
        details = "".join(f"\n  {failure}" for failure in failures.values())
        hints = dict.fromkeys(item.hint for item in failures.values() if item.hint)
        super().__init__(f"{action} failed on {nodes}:{details}", hint=" ".join(hints) or hint)


class ScriptFailedError(ProvisioningError):
    """A script failed on a node; `lines` are the last of its output."""

    def __init__(self, script: str, code: int, lines: Sequence[str]) -> None:
        """Describe the exit code, and a full disk if the output mentions one."""
        self.lines = tuple(lines)
        full = any(word in line for line in lines for word in _NO_SPACE)
        ended = "timed out" if code == 124 else f"ended with exit code {code}"
        why = ": its disk is full" if full else ""
        hint = "Set a larger root_gb; `emrctl up` then replaces the node." if full else ""
        super().__init__(f"{script} {ended}{why}", hint=hint)


def combine(action: str, errors: Mapping[tuple[str, str], EmrctlError]) -> EmrctlError:
    """Return one error for those of several nodes, by name and id; host key errors come first."""
    for (name, _), error in errors.items():
        if isinstance(error, HostKeyError):
            return HostKeyError(f"{name}: {error.message}", hint=error.hint)
    failures = {
        name: NodeFailure(
            node=name,
            id=id_,
            what=error.message,
            lines=error.lines if isinstance(error, ScriptFailedError) else (),
            hint=error.hint,
        )
        for (name, id_), error in errors.items()
    }
    hint = (
        "Run `emrctl up` again to continue; --replace NAME replaces a worker, --give-up "
        "terminates those that fail."
    )
    if all(isinstance(error, UnreachableError) for error in errors.values()):
        hint = "Run `emrctl up` again once they accept connections."
    return NodesFailedError(action, failures, hint=hint)
