"""The engine interface: its arguments, results, events and errors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from emrctl.errors import EmrctlError, ProvisioningError

if TYPE_CHECKING:
    from emrctl.engine.checkpoint import ResourceState

T = TypeVar("T")
Operation = Literal["create", "update", "replace", "delete", "import", "same"]
Program = Callable[[], None]

RESUME_HINT = (
    "Run the same command again; it continues from where it stopped. "
    "`emrctl down` deletes the stack."
)


@dataclass(frozen=True, kw_only=True)
class ResourceChange:
    """An operation on one resource; `keys` are the properties that differ."""

    operation: Operation
    type: str
    name: str
    id: str | None = None
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Preview:
    """The changes of a stack in the order of their execution, and its price.

    Prices are US dollars an hour on AWS: instances, EMR's fee, disks and addresses. `prices` is the
    region and date of the price list.
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
    """Progress of an operation on one resource; `seconds` is set when it has ended."""

    operation: Operation
    type: str
    name: str
    status: Literal["started", "done", "failed"]
    seconds: float | None = None
    message: str = ""


Report = Callable[[Event], None]


@dataclass(frozen=True, kw_only=True)
class StackResult:
    """Outputs and changes of a stack after an update."""

    stack: str
    outputs: Mapping[str, Any]
    changes: tuple[ResourceChange, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StackState:
    """The recorded state of a stack.

    `identity` is that of the target. `gone`: the target was an emulator that was stopped, so none
    of the resources exist.
    """

    stack: str
    engine: str
    identity: str
    resources: int
    outputs: Mapping[str, Any] = field(default_factory=dict)
    gone: bool = False


@dataclass(frozen=True, kw_only=True)
class ImportedResource:
    """An existing resource, with the type and name that the program declares for it."""

    type: str
    name: str
    id: str


@dataclass(frozen=True, kw_only=True)
class UpdateSummary:
    """One update in a stack's history.

    Times are ISO 8601 in UTC; `ended` is None if the update was killed.
    """

    kind: str
    result: str
    started: str
    ended: str | None
    changes: Mapping[str, int]


class Engine(Protocol):
    """Evaluates a Pulumi program against the state of a stack.

    Raises `ProvisioningError` with the name of the failed resource; the state keeps the resources
    created before it, and the next `up` continues. Raises `StackLockedError` if another process is
    updating the stack. An engine that does not override an operation does not support it.
    """

    name: str

    def preview(self, stack: str, program: Program) -> Preview:
        """Return the changes that `up` would make."""

    def up(self, stack: str, program: Program, report: Report) -> StackResult:
        """Create, update and delete resources until the stack matches the program."""

    def down(self, stack: str, report: Report, *, force: bool = False) -> StackResult:
        """Delete all resources of the stack, protected ones only with `force`.

        A stack that does not exist is no error.
        """

    def state(self, stack: str) -> StackState | None:
        """Return the recorded state; None if the stack does not exist."""

    def stacks(self) -> tuple[StackState, ...]:
        """Return the recorded state of every stack."""

    def drift(self, stack: str) -> Preview:
        """Return the differences of AWS from the state: `update` (changed) and `delete`."""
        raise _unsupported(self.name, stack, "drift detection")

    def refresh(self, stack: str, report: Report) -> StackResult:  # noqa: ARG002
        """Update the state to match AWS; the next `up` makes AWS match the program."""
        raise _unsupported(self.name, stack, "refresh")

    def history(self, stack: str) -> tuple[UpdateSummary, ...]:
        """Return all updates of the stack, the latest first."""
        raise _unsupported(self.name, stack, "history")

    def import_resource(
        self,
        stack: str,
        program: Program,  # noqa: ARG002
        resource: ImportedResource,  # noqa: ARG002
        report: Report,  # noqa: ARG002
    ) -> StackResult:
        """Import an existing resource that the program declares into the stack.

        Its properties stay unchanged until the next `up`.
        """
        raise _unsupported(self.name, stack, "import")

    def export(self, stack: str) -> dict[str, Any]:
        """Return the stack's state as a document for `pulumi stack import`."""
        raise _unsupported(self.name, stack, "export")


def _unsupported(engine: str, stack: str, feature: str) -> ProvisioningError:
    msg = f"stack {stack}: the {engine} engine does not support {feature}"
    hint = "Run `emrctl down`, then `emrctl up --engine pulumi`."
    return ProvisioningError(msg, hint=hint)


class StackInterruptedError(ProvisioningError):
    """The user pressed Ctrl-C during an update."""

    exit_code = 130


def run_interruptibly(work: Callable[[], T], cancel: Callable[[], None]) -> T:
    """Run `work` in a thread and return its result; Ctrl-C calls `cancel` and waits for its end.

    In the main thread Ctrl-C could strike between AWS's response and saving it.
    """
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as error:  # noqa: BLE001  # raised by result.result()
            result.set_exception(error)

    thread = threading.Thread(target=run, name="emrctl-stack", daemon=True)
    thread.start()
    interrupted = False
    while True:
        try:
            thread.join()
            break
        except KeyboardInterrupt:
            interrupted = True
            cancel()
    if interrupted and result.exception() is None:
        raise KeyboardInterrupt
    return result.result()


def update_failed(
    stack: str, errors: list[EmrctlError], resources: Iterable[ResourceState]
) -> EmrctlError:
    """Return the first error with the stack's name, the number of others and of resources."""
    first = errors[0]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    first.message = f"stack {stack}: {first.message}{more}; {_existing(resources)}"
    first.args = (first.message,)
    first.hint = first.hint or RESUME_HINT
    return first


def update_interrupted(stack: str, resources: Iterable[ResourceState]) -> StackInterruptedError:
    """Return the error for an update ended by Ctrl-C, with the existing resources."""
    return StackInterruptedError(
        f"stack {stack}: interrupted; {_existing(resources)}", hint=RESUME_HINT
    )


def other_engine(stack: str, engine: str) -> ProvisioningError:
    """Return the error for a stack that was created by another engine."""
    msg = f"stack {stack} was created by the engine '{engine}'"
    return ProvisioningError(msg, hint=f"Use `--engine {engine}`.")


def _existing(resources: Iterable[ResourceState]) -> str:
    existing = [resource for resource in resources if resource.id is not None]
    ids = [str(item.id) for item in existing if item.type == "aws:emr/cluster:Cluster"]
    clusters = f", including cluster {', '.join(ids)}" if ids else ""
    return f"{len(existing)} of its resources exist{clusters}"
