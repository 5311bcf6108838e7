"""What every engine takes and gives: stacks, plans, events, outcomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Operation = Literal["create", "update", "replace", "delete", "import", "same"]
Program = Callable[[], None]


@dataclass(frozen=True, kw_only=True)
class ResourceChange:
    """What happens to one resource; `keys` are the properties that differ."""

    operation: Operation
    type: str
    name: str
    id: str | None = None
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Preview:
    """All changes of one stack in the order in which they would be made.

    What the stack costs an hour on AWS, in US dollars, stands apart for instances, for EMR's fee
    and for disks and addresses; `prices` says of where and when the prices are.
    """

    stack: str
    changes: tuple[ResourceChange, ...]
    ec2_usd: float = 0.0
    emr_usd: float = 0.0
    other_usd: float = 0.0
    prices: str = ""

    @property
    def empty(self) -> bool:
        """Whether nothing would change."""
        return all(change.operation == "same" for change in self.changes)


@dataclass(frozen=True, kw_only=True)
class Event:
    """One step of one resource on its way, as it happens; `seconds` once it is done."""

    operation: Operation
    type: str
    name: str
    status: Literal["started", "done", "failed"]
    seconds: float | None = None
    message: str = ""


Report = Callable[[Event], None]


@dataclass(frozen=True, kw_only=True)
class StackResult:
    """What a stack holds after `up` or `down`: its outputs and what was changed."""

    stack: str
    outputs: Mapping[str, Any]
    changes: tuple[ResourceChange, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StackState:
    """What is known of a stack without asking AWS.

    `identity` is the target's it was made on; `gone` says that this was an emulator that runs no
    more, so that nothing of the stack exists.
    """

    stack: str
    engine: str
    identity: str
    resources: int
    outputs: Mapping[str, Any] = field(default_factory=dict)
    gone: bool = False


@dataclass(frozen=True, kw_only=True)
class ImportedResource:
    """A resource that exists on AWS, under the type and name by which the program declares it."""

    type: str
    name: str
    id: str


@dataclass(frozen=True, kw_only=True)
class UpdateSummary:
    """One change of a stack that is over: what was done, when, and how it ended.

    Times are as ISO 8601 has them, in UTC; `ended` is None where it was cut off.
    """

    kind: str
    result: str
    started: str
    ended: str | None
    changes: Mapping[str, int]


class Engine(Protocol):
    """Evaluates a Pulumi program against the state of a stack.

    `ProvisioningError` names the resource that failed; what was made before it stays in the
    state, and the next `up` goes on from there. `StackLockedError` says who holds the stack.
    """

    name: str

    def preview(self, stack: str, program: Program) -> Preview:
        """What `up` would do; nothing is changed."""

    def up(self, stack: str, program: Program, report: Report) -> StackResult:
        """The stack is as the program says."""

    def down(self, stack: str, report: Report, *, force: bool = False) -> StackResult:
        """Nothing of the stack is left; what is protected goes only with `force`.

        No error where there was nothing.
        """

    def state(self, stack: str) -> StackState | None:
        """What is known of the stack; None where it never was."""

    def stacks(self) -> tuple[StackState, ...]:
        """Every stack this engine has a state of."""

    def drift(self, stack: str) -> Preview:
        """Where AWS is no longer as the state says: `update` differs, `delete` is gone."""

    def refresh(self, stack: str, report: Report) -> StackResult:
        """The state is as AWS is; the next `up` brings AWS back to the program."""

    def history(self, stack: str) -> tuple[UpdateSummary, ...]:
        """All that was done to the stack, the last first."""

    def adopt(
        self, stack: str, program: Program, found: ImportedResource, report: Report
    ) -> StackResult:
        """The stack holds a resource that exists and that its program declares.

        What differs from the program stays as it is until the next `up`.
        """

    def export(self, stack: str) -> dict[str, Any]:
        """The stack's whole state as a document."""
