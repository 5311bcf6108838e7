"""One evaluation of a program against a stack's state: planning and executing its changes."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emrctl.aws.errors import RejectedRequestError
from emrctl.engine.base import Event, Operation, Report, ResourceChange
from emrctl.engine.checkpoint import Checkpoint, ResourceState, StateFileError
from emrctl.engine.localhost.provider import Provider, short
from emrctl.engine.localhost.resource_type import OperationCancelledError
from emrctl.errors import (
    EmrctlError,
    ProvisioningError,
    UnavailableError,
    UsageError,
)

# The property that differs if a resource was terminated or deleted outside of the stack.
STATE_KEY = "state"
_ATTEMPTS = 5


@dataclass(frozen=True, kw_only=True)
class DeclaredResource:
    """A resource as declared by the program; inputs have Pulumi's camelCase names."""

    urn: str
    type: str
    name: str
    inputs: dict[str, Any]
    dependencies: frozenset[str]
    protect: bool
    ignore_changes: frozenset[str]
    delete_first: bool


@dataclass(frozen=True, kw_only=True)
class RegisteredResource:
    """The result of registering a declared resource; `id` is None in a preview of its creation."""

    id: str | None
    outputs: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class PlannedChange:
    """The operation planned for a declared resource, its inputs and the keys that differ."""

    operation: Operation
    inputs: dict[str, Any]
    keys: tuple[str, ...] = ()
    delete_first: bool = False


class Planner:
    """Plans the operation on each declared resource."""

    def __init__(self, provider: Provider, state: Checkpoint) -> None:
        self._provider = provider
        self._state = state
        self._lock = threading.Lock()
        self.changes: list[ResourceChange] = []
        self._declared: set[str] = set()

    def handle(self, declared: DeclaredResource) -> RegisteredResource | None:
        """Plan a declared resource and return its expected outputs."""
        self.check(declared)
        entry = self._state.entries.get(declared.urn)
        change = self.plan(declared, entry)
        self.record(change.operation, declared, entry.id if entry else None, change.keys)
        if entry is None or change.operation in {"create", "replace"}:
            return RegisteredResource(id=None, outputs=declared.inputs)
        return RegisteredResource(id=entry.id, outputs={**entry.outputs, **change.inputs})

    def check(self, declared: DeclaredResource) -> None:
        """Raise `ProvisioningError` for the first input that localhost does not support."""
        with self._lock:
            self._declared.add(declared.urn)
        for key, why in self._provider.check(declared.type, declared.inputs):
            msg = f"{short(declared.type)} '{declared.name}': {key}: {why}"
            raise ProvisioningError(msg, hint="Remove it from the spec, or use `target: aws`.")

    def plan(self, declared: DeclaredResource, entry: ResourceState | None) -> PlannedChange:
        """Return the change from the recorded to the declared resource."""
        if entry is None or entry.id is None:
            return PlannedChange(operation="create", inputs=declared.inputs)
        if self._provider.is_terminated(entry.type, entry.id, entry.inputs):
            return PlannedChange(operation="create", inputs=declared.inputs, keys=(STATE_KEY,))
        inputs = declared.inputs
        for path in declared.ignore_changes:
            inputs = _with_recorded(inputs, entry.inputs, path.split("."))
        diff = self._provider.diff(declared.type, entry.inputs, inputs)
        if diff.replaces:
            check_unprotected(entry, f"{diff.replaces[0]} cannot be changed in place")
            return PlannedChange(
                operation="replace",
                inputs=inputs,
                keys=diff.replaces,
                delete_first=declared.delete_first or diff.delete_first,
            )
        if entry.status == "updating":
            # An interrupted update may have set any of the inputs: set all of them again.
            keys = tuple(sorted(self._provider.updatable(declared.type, inputs)))
            return PlannedChange(operation="update", inputs=inputs, keys=keys)
        if diff.keys:
            return PlannedChange(operation="update", inputs=inputs, keys=diff.keys)
        operation: Operation = "create" if entry.status == "settling" else "same"
        return PlannedChange(operation=operation, inputs=inputs)

    def record(
        self,
        operation: Operation,
        resource: DeclaredResource | ResourceState,
        id_: str | None,
        keys: tuple[str, ...],
    ) -> None:
        """Add a change to `changes`."""
        change = ResourceChange(
            operation=operation, type=resource.type, name=resource.name, id=id_, keys=keys
        )
        with self._lock:
            self.changes.append(change)

    def surplus(self) -> list[ResourceState]:
        """Return the recorded resources that are not declared, in the order of deletion."""
        kept = {id(self._state.entries.get(urn)) for urn in self._declared}
        return [entry for entry in self._state.all() if id(entry) not in kept]


def _with_recorded(
    inputs: Mapping[str, Any], recorded: Mapping[str, Any], path: Sequence[str]
) -> dict[str, Any]:
    """Return the inputs with the recorded value at a path such as `coreInstanceGroup.count`."""
    key, *rest = path
    kept = {name: value for name, value in inputs.items() if name != key}
    if key not in recorded or (rest and key not in inputs):
        return kept
    new, old = inputs.get(key), recorded[key]
    if rest and isinstance(new, Mapping) and isinstance(old, Mapping):
        return kept | {key: _with_recorded(new, old, rest)}
    return kept | {key: new if rest else old}


class StackUpdate:
    """Executes the changes and saves the state after each step.

    `save` writes the state, `stop` cancels the deployment.
    """

    def __init__(
        self,
        provider: Provider,
        state: Checkpoint,
        save: Callable[[Checkpoint], None],
        report: Report,
        stop: threading.Event,
    ) -> None:
        self._provider = provider
        self.state = state
        self._save = save
        self._report = report
        self.stop = stop
        self._lock = threading.RLock()
        self._planner = Planner(provider, state)
        self._failed: set[str] = set()
        self.errors: list[EmrctlError] = []

    @property
    def changes(self) -> tuple[ResourceChange, ...]:
        """The executed changes."""
        return tuple(self._planner.changes)

    def handle(self, declared: DeclaredResource) -> RegisteredResource | None:
        """Create or update a declared resource; return None if it or a dependency failed."""
        if self.stop.is_set() or declared.dependencies & self._failed:
            self._failed.add(declared.urn)
            return None
        try:
            return self._deploy(declared)
        except OperationCancelledError:
            self._failed.add(declared.urn)
        except EmrctlError as error:
            self._failed.add(declared.urn)
            self.errors.append(error)
        return None

    def delete_surplus(self) -> None:
        """Delete the resources that are no longer declared or were replaced."""
        surplus = self._planner.surplus()
        for entry in surplus:
            check_unprotected(entry, "it is no longer declared")
        for entry in surplus:
            self._delete(entry)

    def delete_all(self) -> None:
        """Delete all resources, dependents first."""
        for entry in self.state.all():
            self._delete(entry)

    def _delete(self, entry: ResourceState) -> None:
        if self.stop.is_set():
            raise OperationCancelledError
        id_ = entry.id or self._find(entry)
        with self._reported("delete", entry):
            if id_ is not None:
                self._provider.delete(entry.type, id_, entry.inputs)
        # A full disk must not keep resources alive; deleting them again later does no harm.
        with contextlib.suppress(StateFileError), self._saved() as state:
            state.remove(entry)
        self._planner.record("delete", entry, id_, ())

    def _deploy(self, declared: DeclaredResource) -> RegisteredResource:
        self._planner.check(declared)
        entry = self.state.entries.get(declared.urn)
        change = self._planner.plan(declared, entry)
        if change.operation != "same" or entry is None:
            with self._reported(change.operation, declared):
                entry = self._apply(declared, entry, change)
        with self._lock:
            entry.serial, entry.protect = self.state.next_serial(), declared.protect
        self._planner.record(change.operation, declared, entry.id, change.keys)
        return RegisteredResource(id=entry.id, outputs=entry.outputs)

    def _apply(
        self, declared: DeclaredResource, entry: ResourceState | None, change: PlannedChange
    ) -> ResourceState:
        if entry is not None and change.operation == "update":
            return self._update(entry, change)
        if entry is not None and entry.id is not None and change.keys == (STATE_KEY,):
            entry = None
        elif entry is not None and change.operation == "replace":
            self._set_aside(entry, change)
            entry = None
        return self._create(declared, entry, change)

    def _update(self, entry: ResourceState, change: PlannedChange) -> ResourceState:
        with self._saved():
            entry.status = "updating"
        id_, keys = str(entry.id), frozenset(change.keys)
        outputs = self._provider.update(entry.type, id_, change.inputs, keys)
        with self._saved():
            entry.status, entry.inputs, entry.outputs = "done", change.inputs, outputs
        return entry

    def _set_aside(self, entry: ResourceState, change: PlannedChange) -> None:
        """Delete a replaced resource now if both cannot coexist, else keep it as a leftover."""
        if change.delete_first:
            self._provider.delete(entry.type, str(entry.id), entry.inputs)
        with self._saved() as state:
            state.remove(entry)
            if not change.delete_first:
                state.leftovers.append(entry)

    def _create(
        self, declared: DeclaredResource, entry: ResourceState | None, change: PlannedChange
    ) -> ResourceState:
        """Create a resource, or complete a creation that was interrupted."""
        id_ = None if entry is None else entry.id or self._find(entry)
        if entry is None or id_ is None:
            entry = ResourceState(
                urn=declared.urn,
                type=declared.type,
                name=declared.name,
                serial=0,
                protect=declared.protect,
                inputs=change.inputs,
            )
            with self._saved() as state:
                entry.serial = state.next_serial()
                state.entries[declared.urn] = entry
            id_ = self._request(entry)
        with self._saved():
            entry.id, entry.status = id_, "settling"
        outputs = self._provider.settle(entry.type, id_, entry.inputs)
        with self._saved():
            entry.status, entry.outputs = "done", outputs
        return entry

    def _request(self, entry: ResourceState) -> str:
        """Request the creation and return the id; remove the entry if AWS rejects the request.

        A request whose response was lost may have been executed: look for the resource before the
        request is repeated. So does the next update after credentials have expired, possibly
        between the requests of one creation.
        """
        for attempt in range(_ATTEMPTS):
            try:
                return self._provider.create(entry.type, entry.inputs)
            except (RejectedRequestError, UsageError):
                with self._saved() as state:
                    state.remove(entry)
                raise
            except UnavailableError:
                id_ = self._find(entry)
                if id_ is not None:
                    return id_
                if attempt == _ATTEMPTS - 1:
                    raise
        raise AssertionError

    def _find(self, entry: ResourceState) -> str | None:
        """Return the id of the resource of an interrupted creation, unless another entry has it."""
        id_ = self._provider.find(entry.type, entry.inputs)
        return None if id_ is None or (entry.type, id_) in self.state.ids() else id_

    @contextlib.contextmanager
    def _saved(self) -> Iterator[Checkpoint]:
        """Save the state at the end of the block."""
        with self._lock:
            yield self.state
            self._save(self.state)

    @contextlib.contextmanager
    def _reported(
        self, operation: Operation, resource: DeclaredResource | ResourceState
    ) -> Iterator[None]:
        began = time.monotonic()
        event = Event(operation=operation, type=resource.type, name=resource.name, status="started")
        self._send(event)
        try:
            yield
        except (EmrctlError, OperationCancelledError) as error:
            seconds, message = time.monotonic() - began, str(error) or "interrupted"
            failed = dataclasses.replace(event, status="failed", seconds=seconds, message=message)
            self._send(failed)
            raise
        self._send(dataclasses.replace(event, status="done", seconds=time.monotonic() - began))

    def _send(self, event: Event) -> None:
        with self._lock:
            self._report(event)


def check_unprotected(entry: ResourceState, why: str) -> None:
    """Raise `ProvisioningError` if `entry` is protected; `why` is the reason for deleting it."""
    if entry.protect:
        msg = f"{short(entry.type)} {entry.id} is protected: {why}"
        raise ProvisioningError(msg, hint="`emrctl down --storage` deletes it.")
