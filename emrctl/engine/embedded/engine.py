"""The embedded engine: deploys a Pulumi program in this process, on localhost.

It previews, updates, replaces, resumes after a failure and deletes in reverse order. Drift,
refresh, import, history and export need Pulumi's engine. A program is evaluated with the SDK's mock
monitor, which passes each declared resource to a function and returns its result to the program: no
Pulumi engine, plugin or socket is involved.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from emrctl.aws.target import Target
from emrctl.engine.base import (
    Engine,
    Event,
    Preview,
    Program,
    Report,
    StackResult,
    StackState,
    other_engine,
    run_interruptibly,
    update_failed,
    update_interrupted,
)
from emrctl.engine.checkpoint import Checkpoint, StateFolder
from emrctl.engine.embedded.deployment import (
    DeclaredResource,
    Planner,
    RegisteredResource,
    StackUpdate,
    check_unprotected,
)
from emrctl.engine.localhost.provider import Provider
from emrctl.engine.localhost.resource_type import OperationCancelledError

PROJECT = "emrctl"
# The SDK's value for an output that is not known yet.
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"

Properties = dict[str, Any]
Handle = Callable[[DeclaredResource], RegisteredResource | None]


class EmbeddedEngine(Engine):
    """An `Engine` with one state file per stack in `state_folder`."""

    name = "embedded"

    def __init__(self, target: Target, state_folder: Path) -> None:
        self._target = target
        self._files = StateFolder(state_folder)

    def preview(self, stack: str, program: Program) -> Preview:
        """Return the changes that `up` would make; no lock is taken."""
        stop = threading.Event()
        state = self._load(stack) or self._new(stack)
        planner = Planner(Provider(self._target, stop), state)

        def plan() -> Preview:
            evaluate(program, stack, planner.handle, preview=True)
            for entry in planner.surplus():
                planner.record("delete", entry, entry.id, ())
            return Preview(stack=stack, changes=tuple(planner.changes))

        return run_interruptibly(plan, stop.set)

    def up(self, stack: str, program: Program, report: Report) -> StackResult:
        """Create, update and delete resources until the stack matches the program."""
        with self._files.locked(stack):
            state = self._load(stack)
            if state is None:
                if self._files.load(stack) is not None:
                    report(stopped_emulator_event(stack))
                state = self._new(stack)
            deployment = self._deployment(state, report)

            def run() -> StackResult:
                outputs = evaluate(program, stack, deployment.handle, preview=False)
                if deployment.errors:
                    raise update_failed(stack, deployment.errors, state.all())
                if deployment.stop.is_set():
                    raise OperationCancelledError
                deployment.delete_surplus()
                state.outputs = outputs
                self._files.save(state)
                return StackResult(stack=stack, outputs=outputs, changes=deployment.changes)

            return self._run(deployment, run)

    def down(self, stack: str, report: Report, *, force: bool = False) -> StackResult:
        """Delete all resources of the stack, protected ones only with `force`."""
        with self._files.locked(stack):
            state = self._load(stack)
            if state is None:
                self._files.remove(stack)
                return StackResult(stack=stack, outputs={})
            if not force:
                for entry in state.all():
                    check_unprotected(entry, f"the stack {stack} would be deleted")
            deployment = self._deployment(state, report)

            def run() -> StackResult:
                deployment.delete_all()
                self._files.remove(stack)
                return StackResult(stack=stack, outputs={}, changes=deployment.changes)

            return self._run(deployment, run)

    def state(self, stack: str) -> StackState | None:
        """Return the recorded state; None if the stack does not exist."""
        state = self._files.load(stack)
        return None if state is None else summarize(state, self._target)

    def stacks(self) -> tuple[StackState, ...]:
        """Return the recorded state of every stack, by name."""
        states = [self.state(stack) for stack in self._files.stacks()]
        return tuple(state for state in states if state is not None)

    def _new(self, stack: str) -> Checkpoint:
        return Checkpoint(
            stack=stack, identity=self._target.stack_identity(stack), engine=self.name
        )

    def _load(self, stack: str) -> Checkpoint | None:
        """Return the stack's state; None if it does not exist or its emulator was stopped."""
        state = self._files.load(stack)
        if state is None or state.is_gone(self._target):
            return None
        if state.engine != self.name:
            raise other_engine(stack, state.engine)
        return state

    def _deployment(self, state: Checkpoint, report: Report) -> StackUpdate:
        stop = threading.Event()
        provider = Provider(self._target, stop)
        return StackUpdate(provider, state, self._files.save, report, stop)

    def _run(self, deployment: StackUpdate, run: Callable[[], StackResult]) -> StackResult:
        state = deployment.state
        try:
            return run_interruptibly(run, deployment.stop.set)
        except (OperationCancelledError, KeyboardInterrupt) as error:
            raise update_interrupted(state.stack, state.all()) from error
        finally:
            # Serials that a failed run has assigned determine the order of the next deletion.
            if state.all() or deployment.errors:
                self._files.save(state)


def summarize(state: Checkpoint, target: Target) -> StackState:
    """Return the summary of a stack's state."""
    return StackState(
        stack=state.stack,
        engine=state.engine,
        identity=state.identity,
        resources=len(state.all()),
        outputs=state.outputs,
        gone=state.is_gone(target),
    )


def stopped_emulator_event(stack: str) -> Event:
    """Return the event for a stack whose emulator was stopped: it is created again."""
    message = "its emulator was stopped; creating a new stack"
    root = "pulumi:pulumi:Stack"
    return Event(operation="delete", type=root, name=stack, status="done", message=message)


def evaluate(program: Program, stack: str, handle: Handle, *, preview: bool) -> Properties:
    """Run `program`, call `handle` for each resource it declares, and return its outputs.

    Independent resources are handled concurrently in threads. If `handle` returns None, the
    resource has failed: its outputs stay unknown and the program continues. Must not be called in a
    thread with a running event loop.
    """
    return contextvars.copy_context().run(_evaluate, program, stack, handle, preview)


def _evaluate(program: Program, stack: str, handle: Handle, preview: bool) -> Properties:
    from pulumi.runtime import settings
    from pulumi.runtime.mocks import MockEngine
    from pulumi.runtime.stack import run_in_stack

    monitor = _monitor(handle)
    runtime = settings.Settings(
        project=PROJECT,
        stack=stack,
        monitor=monitor,
        engine=MockEngine(None),
        dry_run=preview,
        organization="organization",
    )
    settings.configure(runtime)
    settings.set_root_resource(None)  # type: ignore[arg-type]  # that of an earlier evaluation
    asyncio.run(run_in_stack(program))
    outputs: Properties = monitor.outputs
    return outputs


def _monitor(handle: Handle) -> Any:
    """Return the SDK's mock monitor with support for resource options and failures."""
    from google.protobuf import empty_pb2  # type: ignore[import-untyped]
    from pulumi.runtime.mocks import MockMonitor, Mocks
    from pulumi.runtime.proto import resource_pb2

    class Monitor(MockMonitor):
        outputs: Properties = {}  # noqa: RUF012  # replaced, never changed

        def RegisterResource(self, request: Any) -> Any:  # noqa: N802
            urn = self.make_urn(request.parent, request.type, request.name)
            response = resource_pb2.RegisterResourceResponse(urn=urn)
            if not request.custom:
                return response
            result = handle(_declared(request, urn))
            if result is None:
                response.result = resource_pb2.Result.FAIL
                return response
            response.id = result.id or ""
            response.object.update(result.outputs)
            return response

        def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802
            if "pulumi:pulumi:Stack" in request.urn:
                outputs = from_struct(request.outputs).items()
                self.outputs = {key: value for key, value in outputs if not has_unknown(value)}
            return empty_pb2.Empty()

    def reject(_self: Any, args: Any) -> Any:
        msg = f"the embedded engine does not support {args.token}"
        raise NotImplementedError(msg)

    return Monitor(type("NoCalls", (Mocks,), {"call": reject, "new_resource": reject})())


def _declared(request: Any, urn: str) -> DeclaredResource:
    return DeclaredResource(
        urn=urn,
        type=request.type,
        name=request.name,
        inputs=from_struct(request.object),
        dependencies=frozenset(request.dependencies),
        protect=request.protect,
        ignore_changes=frozenset(request.ignoreChanges),
        delete_first=request.deleteBeforeReplace,
    )


def from_struct(struct: Any) -> Properties:
    """Convert a protobuf struct to a dict; whole numbers become int, which boto3 requires."""
    from google.protobuf import json_format

    properties: Properties = _integers(json_format.MessageToDict(struct))
    return properties


def to_struct(properties: Mapping[str, Any]) -> Any:
    """Convert a mapping to a protobuf struct."""
    from google.protobuf import struct_pb2

    struct = struct_pb2.Struct()
    struct.update(properties)
    return struct


def has_unknown(value: Any) -> bool:
    """Whether `value` is or contains an output that is not known yet."""
    if isinstance(value, Mapping):
        return any(has_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(has_unknown(item) for item in value)
    return bool(value == UNKNOWN)


def _integers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _integers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_integers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
