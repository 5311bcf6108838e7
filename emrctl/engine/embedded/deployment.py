"""One evaluation of a program against a stack's state: what differs, and how it is made so."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from emrctl.aws.errors import RejectedRequestError
from emrctl.engine.base import Event, Operation, Report, ResourceChange
from emrctl.engine.checkpoint import Checkpoint, ResourceState
from emrctl.engine.embedded.evaluate import DeclaredResource, RegisteredResource
from emrctl.engine.localhost.provider import Provider, short
from emrctl.engine.localhost.resource_type import OperationCancelledError
from emrctl.errors import CredentialsError, EmrctlError, ProvisioningError

# What a change of a resource that ended by itself names as its cause.
ENDED = "state"


@dataclass(frozen=True, kw_only=True)
class PlannedChange:
    """What is to happen to a declared resource, why, and with which inputs."""

    operation: Operation
    inputs: dict[str, Any]
    keys: tuple[str, ...] = ()
    delete_first: bool = False


class Planner:
    """Decides what would happen to each resource, and does nothing."""

    def __init__(self, provider: Provider, state: Checkpoint) -> None:
        self._provider = provider
        self._state = state
        self._lock = threading.Lock()
        self.changes: list[ResourceChange] = []
        self.seen: set[str] = set()

    def handle(self, declared: DeclaredResource) -> RegisteredResource | None:
        """The resource as it would be: what is not known yet stays unknown."""
        self.checked(declared)
        entry = self._state.entries.get(declared.urn)
        decision = self.decide(declared, entry)
        self.note(decision.operation, declared, entry.id if entry else None, decision.keys)
        if entry is None or decision.operation in {"create", "replace"}:
            return RegisteredResource(id=None, outputs=declared.inputs)
        return RegisteredResource(id=entry.id, outputs={**entry.outputs, **decision.inputs})

    def checked(self, declared: DeclaredResource) -> None:
        """Every input is one that the local target has; `ProvisioningError` names the first."""
        with self._lock:
            self.seen.add(declared.urn)
        for key, why in self._provider.check(declared.type, declared.inputs):
            msg = f"{short(declared.type)} '{declared.name}': {key}: {why}"
            raise ProvisioningError(msg, hint="Take it out of the spec, or use `target: aws`.")

    def decide(self, declared: DeclaredResource, entry: ResourceState | None) -> PlannedChange:
        """What brings `entry`, what stands, to what is declared."""
        if entry is None or entry.id is None:
            return PlannedChange(operation="create", inputs=declared.inputs)
        if self._provider.ended(entry.type, entry.id, entry.inputs):
            return PlannedChange(operation="create", inputs=declared.inputs, keys=(ENDED,))
        ignored = {key: entry.inputs[key] for key in declared.ignore_changes & set(entry.inputs)}
        kept = {k: v for k, v in declared.inputs.items() if k not in declared.ignore_changes}
        return self._compare(declared, entry, kept | ignored)

    def _compare(
        self, declared: DeclaredResource, entry: ResourceState, inputs: dict[str, Any]
    ) -> PlannedChange:
        found = self._provider.diff(declared.type, entry.inputs, inputs)
        if found.replaces:
            refuse_protected(entry, f"{found.replaces[0]} cannot be changed in place")
            first = declared.delete_first or found.delete_first
            keys = found.replaces
            return PlannedChange(operation="replace", inputs=inputs, keys=keys, delete_first=first)
        if entry.status == "updating":
            # Nobody knows how far it came: all that can be put in place is put once more.
            keys = tuple(sorted(self._provider.updatable(declared.type, inputs)))
            return PlannedChange(operation="update", inputs=inputs, keys=keys)
        if found.keys:
            return PlannedChange(operation="update", inputs=inputs, keys=found.keys)
        return PlannedChange(
            operation="create" if entry.status == "settling" else "same", inputs=inputs
        )

    def note(
        self,
        operation: Operation,
        what: DeclaredResource | ResourceState,
        id_: str | None,
        keys: tuple[str, ...],
    ) -> None:
        """The plan holds the change."""
        change = ResourceChange(
            operation=operation, type=what.type, name=what.name, id=id_, keys=keys
        )
        with self._lock:
            self.changes.append(change)

    def surplus(self) -> list[ResourceState]:
        """What stands and is not declared, in the order in which it may be deleted."""
        kept = {id(self._state.entries.get(urn)) for urn in self.seen}
        return [entry for entry in self._state.all() if id(entry) not in kept]


@dataclass(frozen=True, kw_only=True)
class Desk:
    """What a deployment writes on: the state, who is told, and the flag that ends it."""

    state: Checkpoint
    save: Callable[[Checkpoint], None]
    report: Report
    stop: threading.Event


class Deployment:
    """Makes each resource as it is declared; remembers every id the moment it is known."""

    def __init__(self, provider: Provider, desk: Desk) -> None:
        self._provider = provider
        self._desk = desk
        self._lock = threading.RLock()
        self._plan = Planner(provider, desk.state)
        self._failed: set[str] = set()
        self.errors: list[EmrctlError] = []

    @property
    def changes(self) -> tuple[ResourceChange, ...]:
        """What was done."""
        return tuple(self._plan.changes)

    def handle(self, declared: DeclaredResource) -> RegisteredResource | None:
        """The resource stands as declared; None where it or what it needs could not be made."""
        if self._desk.stop.is_set() or declared.dependencies & self._failed:
            self._failed.add(declared.urn)
            return None
        try:
            return self._bring(declared)
        except OperationCancelledError:
            self._failed.add(declared.urn)
        except EmrctlError as error:
            self._failed.add(declared.urn)
            self.errors.append(error)
        return None

    def sweep(self) -> None:
        """What is no longer declared, or was replaced, is deleted."""
        surplus = self._plan.surplus()
        for entry in surplus:
            refuse_protected(entry, "it is no longer declared")
        for entry in surplus:
            self.remove(entry)

    def clear(self) -> None:
        """Everything is deleted, what depends on others first."""
        for entry in self._desk.state.all():
            self.remove(entry)

    def remove(self, entry: ResourceState) -> None:
        """`entry` is gone, from AWS and from the state."""
        if self._desk.stop.is_set():
            raise OperationCancelledError
        id_ = entry.id or self._found(entry)
        with self._told("delete", entry):
            if id_ is not None:
                self._provider.delete(entry.type, id_, entry.inputs)
        with self._saved() as state:
            state.forget(entry)
        self._plan.note("delete", entry, id_, ())

    def _bring(self, declared: DeclaredResource) -> RegisteredResource:
        self._plan.checked(declared)
        entry = self._desk.state.entries.get(declared.urn)
        decision = self._plan.decide(declared, entry)
        if decision.operation == "same" and entry is not None:
            done = entry
        else:
            with self._told(decision.operation, declared):
                done = self._change(declared, entry, decision)
        with self._lock:
            done.serial, done.protect = self._desk.state.next_serial(), declared.protect
        self._plan.note(decision.operation, declared, done.id, decision.keys)
        return RegisteredResource(id=done.id, outputs=done.outputs)

    def _change(
        self, declared: DeclaredResource, entry: ResourceState | None, decision: PlannedChange
    ) -> ResourceState:
        if entry is not None and decision.operation == "update":
            return self._update(entry, decision)
        if entry is not None and entry.id is not None and decision.keys == (ENDED,):
            entry = None
        elif entry is not None and decision.operation == "replace":
            self._set_aside(entry, decision)
            entry = None
        return self._create(declared, entry, decision)

    def _update(self, entry: ResourceState, decision: PlannedChange) -> ResourceState:
        with self._saved():
            entry.status = "updating"
        id_, keys = str(entry.id), frozenset(decision.keys)
        outputs = self._provider.update(entry.type, id_, decision.inputs, keys)
        with self._saved():
            entry.status, entry.inputs, entry.outputs = "done", decision.inputs, outputs
        return entry

    def _set_aside(self, entry: ResourceState, decision: PlannedChange) -> None:
        """The old one goes now where two cannot be, else when all that is new stands."""
        if decision.delete_first:
            self._provider.delete(entry.type, str(entry.id), entry.inputs)
        with self._saved() as state:
            state.forget(entry)
            if not decision.delete_first:
                state.leftovers.append(entry)

    def _create(
        self, declared: DeclaredResource, entry: ResourceState | None, decision: PlannedChange
    ) -> ResourceState:
        """A new resource, or one whose creation was cut off, brought to its end."""
        id_ = None if entry is None else entry.id or self._found(entry)
        if entry is None or id_ is None:
            entry = self._intend(declared, decision)
            id_ = self._ask(entry)
        with self._saved():
            entry.id, entry.status = id_, "settling"
        outputs = self._provider.settle(entry.type, id_, entry.inputs)
        with self._saved():
            entry.status, entry.outputs = "done", outputs
        return entry

    def _intend(self, declared: DeclaredResource, decision: PlannedChange) -> ResourceState:
        with self._saved() as state:
            entry = ResourceState(
                urn=declared.urn,
                type=declared.type,
                name=declared.name,
                serial=state.next_serial(),
                protect=declared.protect,
                inputs=decision.inputs,
            )
            state.entries[declared.urn] = entry
        return entry

    def _ask(self, entry: ResourceState) -> str:
        """The id that AWS gives; what it refuses was never begun."""
        try:
            return self._provider.create(entry.type, entry.inputs)
        except (RejectedRequestError, CredentialsError):
            with self._saved() as state:
                state.forget(entry)
            raise

    def _found(self, entry: ResourceState) -> str | None:
        """The id of what a create without an answer left, unless it is another entry's."""
        found = self._provider.find(entry.type, entry.inputs)
        known = self._desk.state.ids()
        return None if found is None or (entry.type, found) in known else found

    @contextlib.contextmanager
    def _saved(self) -> Iterator[Checkpoint]:
        """What is done to the state inside is on disk afterwards."""
        with self._lock:
            yield self._desk.state
            self._desk.save(self._desk.state)

    @contextlib.contextmanager
    def _told(self, operation: Operation, what: DeclaredResource | ResourceState) -> Iterator[None]:
        began = time.monotonic()
        event = Event(operation=operation, type=what.type, name=what.name, status="started")
        self._tell(event)
        try:
            yield
        except (EmrctlError, OperationCancelledError) as error:
            took = time.monotonic() - began
            self._tell(_ended(event, "failed", took, str(error) or "interrupted"))
            raise
        self._tell(_ended(event, "done", time.monotonic() - began, ""))

    def _tell(self, event: Event) -> None:
        with self._lock:
            self._desk.report(event)


def refuse_protected(entry: ResourceState, why: str) -> None:
    """`ProvisioningError` where `entry` is protected: `why` would have deleted it."""
    if entry.protect:
        msg = f"{short(entry.type)} {entry.id} is protected: {why}"
        raise ProvisioningError(msg, hint="`emrctl down --storage` deletes it.")


def _ended(event: Event, status: Any, seconds: float, message: str) -> Event:
    return Event(
        operation=event.operation,
        type=event.type,
        name=event.name,
        status=status,
        seconds=seconds,
        message=message,
    )
