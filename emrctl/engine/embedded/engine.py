"""The embedded engine: a Pulumi program brought up in this process, for the local target.

It previews, updates or replaces what differs, goes on after a failure, and deletes in reverse
order. It looks for no drift, imports nothing and keeps no history: the real engine does, and the
embedded one says so.
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
)
from emrctl.engine.checkpoint import Checkpoint, StateFolder
from emrctl.engine.embedded.deployment import Deployment, Desk, Planner, refuse_protected
from emrctl.engine.embedded.evaluate import evaluate
from emrctl.engine.localhost.provider import Provider
from emrctl.engine.localhost.resource_type import OperationCancelledError
from emrctl.engine.outcomes import failed, interrupted, interruptible, other_engine
from emrctl.errors import ProvisioningError


class EmbeddedEngine:
    """An `Engine` whose states lie in `state_folder`, one file for each stack."""

    name = "embedded"

    def __init__(self, target: Target, state_folder: Path) -> None:
        self._target = target
        self._files = StateFolder(state_folder)

    def preview(self, stack: str, program: Program) -> Preview:
        """What `up` would do; nothing is changed, and no lock is taken."""
        stop = threading.Event()
        state = self._current(stack) or self._new(stack)
        planner = Planner(Provider(self._target, stop), state)

        def plan() -> Preview:
            evaluate(program, stack, planner.handle, preview=True)
            for entry in planner.surplus():
                planner.note("delete", entry, entry.id, ())
            return Preview(stack=stack, changes=tuple(planner.changes))

        return interruptible(plan, stop.set)

    def up(self, stack: str, program: Program, report: Report) -> StackResult:
        """The stack is as the program says; what was no longer declared is gone."""
        with self._files.held(stack):
            state = self._current(stack)
            if state is None:
                self._say_gone(stack, report)
                state = self._new(stack)
            stop = threading.Event()
            desk = Desk(state=state, save=self._files.save, report=report, stop=stop)
            work = Deployment(Provider(self._target, stop), desk)
            return self._finish(work, desk, lambda: self._bring_up(work, desk, program))

    def down(self, stack: str, report: Report, *, force: bool = False) -> StackResult:
        """Nothing of the stack is left; what is protected goes only with `force`."""
        with self._files.held(stack):
            state = self._current(stack)
            if state is None:
                self._files.remove(stack)
                return StackResult(stack=stack, outputs={})
            if not force:
                for entry in state.all():
                    refuse_protected(entry, f"the stack {stack} would be deleted")
            stop = threading.Event()
            desk = Desk(state=state, save=self._files.save, report=report, stop=stop)
            work = Deployment(Provider(self._target, stop), desk)
            return self._finish(work, desk, lambda: self._take_down(work, stack))

    def state(self, stack: str) -> StackState | None:
        """What the stack's file says; None where there is none."""
        found = self._files.load(stack)
        if found is None:
            return None
        return StackState(
            stack=stack,
            engine=found.engine,
            identity=found.identity,
            resources=len(found.all()),
            outputs=found.outputs,
            gone=found.identity != self._target.identity,
        )

    def stacks(self) -> tuple[StackState, ...]:
        """Every stack that has a file, by name."""
        found = [self.state(stack) for stack in self._files.stacks()]
        return tuple(state for state in found if state is not None)

    def drift(self, stack: str) -> Preview:
        """It does not look for drift."""
        _refuse(stack, "looks for no drift")

    def refresh(self, stack: str, _report: Report) -> StackResult:
        """It takes nothing over from AWS."""
        _refuse(stack, "refreshes no state")

    def history(self, stack: str) -> tuple[UpdateSummary, ...]:
        """It keeps no history."""
        _refuse(stack, "keeps no history")

    def adopt(
        self, stack: str, _program: Program, _found: ImportedResource, _report: Report
    ) -> StackResult:
        """It takes over nothing that it has not made."""
        _refuse(stack, "imports nothing")

    def export(self, stack: str) -> dict[str, Any]:
        """Its state is no document of Pulumi's."""
        _refuse(stack, "exports no state")

    def _new(self, stack: str) -> Checkpoint:
        return Checkpoint(stack=stack, identity=self._target.identity, engine=self.name)

    def _current(self, stack: str) -> Checkpoint | None:
        """The state, where the AWS on which it was made still is."""
        found = self._files.load(stack)
        if found is None or found.identity != self._target.identity:
            return None
        if found.engine != self.name:
            raise other_engine(stack, found.engine)
        return found

    def _say_gone(self, stack: str, report: Report) -> None:
        if self._files.load(stack) is None:
            return
        message = "it was made on an emulator that runs no more, and is begun anew"
        gone = "pulumi:pulumi:Stack"
        report(Event(operation="delete", type=gone, name=stack, status="done", message=message))

    def _bring_up(self, work: Deployment, desk: Desk, program: Program) -> StackResult:
        state = desk.state
        outputs = evaluate(program, state.stack, work.handle, preview=False)
        if work.errors:
            raise failed(state.stack, work.errors, state.all())
        if desk.stop.is_set():
            raise OperationCancelledError
        work.sweep()
        state.outputs = outputs
        self._files.save(state)
        return StackResult(stack=state.stack, outputs=outputs, changes=work.changes)

    def _take_down(self, work: Deployment, stack: str) -> StackResult:
        work.clear()
        self._files.remove(stack)
        return StackResult(stack=stack, outputs={}, changes=work.changes)

    def _finish(self, work: Deployment, desk: Desk, run: Callable[[], StackResult]) -> StackResult:
        try:
            return interruptible(run, desk.stop.set)
        except (OperationCancelledError, KeyboardInterrupt) as error:
            raise interrupted(desk.state.stack, desk.state.all()) from error
        finally:
            # The serials that an unfinished run gave belong to the next deletion's order.
            if desk.state.all() or work.errors:
                self._files.save(desk.state)


def _refuse(stack: str, what: str) -> NoReturn:
    hint = "The real one does. A stack stays with its engine: `down`, then `up --engine pulumi`."
    raise ProvisioningError(f"stack {stack}: the embedded engine {what}", hint=hint)
