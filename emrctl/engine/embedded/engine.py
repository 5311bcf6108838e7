"""The embedded engine: deploys a Pulumi program in this process, on localhost.

It previews, updates, replaces, resumes after a failure and deletes in reverse order. Drift,
refresh, import, history and export need Pulumi's engine.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from emrctl.aws.target import Target
from emrctl.engine.base import (
    Event,
    ImportedResource,
    Preview,
    Program,
    Report,
    StackResult,
    StackState,
    UpdateSummary,
    other_engine,
    run_interruptibly,
    update_failed,
    update_interrupted,
)
from emrctl.engine.checkpoint import Checkpoint, StateFolder
from emrctl.engine.embedded.deployment import Planner, StackUpdate, check_unprotected
from emrctl.engine.embedded.evaluate import evaluate
from emrctl.engine.localhost.provider import Provider
from emrctl.engine.localhost.resource_type import OperationCancelledError
from emrctl.errors import ProvisioningError


class EmbeddedEngine:
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

    def drift(self, stack: str) -> Preview:
        """Raise `ProvisioningError`: not supported."""
        _unsupported(stack, "drift detection")

    def refresh(self, stack: str, _report: Report) -> StackResult:
        """Raise `ProvisioningError`: not supported."""
        _unsupported(stack, "refresh")

    def history(self, stack: str) -> tuple[UpdateSummary, ...]:
        """Raise `ProvisioningError`: not supported."""
        _unsupported(stack, "history")

    def import_resource(
        self, stack: str, _program: Program, _resource: ImportedResource, _report: Report
    ) -> StackResult:
        """Raise `ProvisioningError`: not supported."""
        _unsupported(stack, "import")

    def export(self, stack: str) -> dict[str, Any]:
        """Raise `ProvisioningError`: not supported."""
        _unsupported(stack, "export")

    def _new(self, stack: str) -> Checkpoint:
        return Checkpoint(stack=stack, identity=self._target.identity, engine=self.name)

    def _load(self, stack: str) -> Checkpoint | None:
        """Return the stack's state; None if it does not exist or its emulator was stopped."""
        state = self._files.load(stack)
        if state is None or state.identity != self._target.identity:
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
        gone=state.identity != target.identity,
    )


def stopped_emulator_event(stack: str) -> Event:
    """Return the event for a stack whose emulator was stopped: it is created again."""
    message = "its emulator was stopped; creating a new stack"
    root = "pulumi:pulumi:Stack"
    return Event(operation="delete", type=root, name=stack, status="done", message=message)


def _unsupported(stack: str, feature: str) -> NoReturn:
    msg = f"stack {stack}: the embedded engine does not support {feature}"
    hint = "Run `emrctl down`, then `emrctl up --engine pulumi`."
    raise ProvisioningError(msg, hint=hint)
