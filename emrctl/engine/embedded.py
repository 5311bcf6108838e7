"""The embedded engine: a Pulumi program brought up in this process, for the local target.

It previews, updates or replaces what differs, goes on after a failure, and deletes in reverse
order. It looks for no drift, imports nothing and keeps no history: the real engine does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

from emrctl.engine.base import Event, Outcome, Plan, Program, Report, StackState
from emrctl.engine.deployment import Deployment, Desk, Planner, refuse_protected
from emrctl.engine.kind import StoppedError
from emrctl.engine.local_aws import Provider, short
from emrctl.engine.monitor import evaluate
from emrctl.engine.statefile import State, StateFolder
from emrctl.errors import EmrctlError, ProvisioningError
from emrctl.target import Target

T = TypeVar("T")

_AGAIN = "Run the same command again: it goes on where it stopped. `emrctl down` takes it down."


class StackInterruptedError(ProvisioningError):
    """Somebody pressed Ctrl-C; the message says what stands."""

    exit_code = 130


class EmbeddedEngine:
    """An `Engine` whose states lie in `state_folder`, one file for each stack."""

    name = "embedded"

    def __init__(self, target: Target, state_folder: Path) -> None:
        self._target = target
        self._files = StateFolder(state_folder)

    def preview(self, stack: str, program: Program) -> Plan:
        """What `up` would do; nothing is changed, and no lock is taken."""
        stop = threading.Event()
        state = self._current(stack) or self._new(stack)
        planner = Planner(Provider(self._target, stop), state)

        def plan() -> Plan:
            evaluate(program, stack, planner.handle, preview=True)
            for entry in planner.surplus():
                planner.note("delete", entry, entry.id, ())
            return Plan(stack=stack, changes=tuple(planner.changes))

        return _interruptible(plan, stop)

    def up(self, stack: str, program: Program, report: Report) -> Outcome:
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

    def down(self, stack: str, report: Report, *, force: bool = False) -> Outcome:
        """Nothing of the stack is left; what is protected goes only with `force`."""
        with self._files.held(stack):
            state = self._current(stack)
            if state is None:
                self._files.remove(stack)
                return Outcome(stack=stack, outputs={})
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

    def _new(self, stack: str) -> State:
        return State(stack=stack, identity=self._target.identity, engine=self.name)

    def _current(self, stack: str) -> State | None:
        """The state, where the AWS on which it was made still is."""
        found = self._files.load(stack)
        if found is None or found.identity != self._target.identity:
            return None
        if found.engine != self.name:
            msg = f"stack {stack} was begun by the engine '{found.engine}'"
            raise ProvisioningError(msg, hint=f"Go on with it: `--engine {found.engine}`.")
        return found

    def _say_gone(self, stack: str, report: Report) -> None:
        if self._files.load(stack) is None:
            return
        message = "it was made on an emulator that runs no more, and is begun anew"
        gone = "pulumi:pulumi:Stack"
        report(Event(operation="delete", type=gone, name=stack, status="done", message=message))

    def _bring_up(self, work: Deployment, desk: Desk, program: Program) -> Outcome:
        state = desk.state
        outputs = evaluate(program, state.stack, work.handle, preview=False)
        if work.errors:
            raise _failed(state, work.errors)
        if desk.stop.is_set():
            raise StoppedError
        work.sweep()
        state.outputs = outputs
        self._files.save(state)
        return Outcome(stack=state.stack, outputs=outputs, changes=work.changes)

    def _take_down(self, work: Deployment, stack: str) -> Outcome:
        work.clear()
        self._files.remove(stack)
        return Outcome(stack=stack, outputs={}, changes=work.changes)

    def _finish(self, work: Deployment, desk: Desk, run: Callable[[], Outcome]) -> Outcome:
        try:
            return _interruptible(run, desk.stop)
        except (StoppedError, KeyboardInterrupt) as error:
            raise _interrupted(desk.state) from error
        finally:
            # The serials that an unfinished run gave belong to the next deletion's order.
            if desk.state.all() or work.errors:
                self._files.save(desk.state)


def _interruptible(work: Callable[[], T], stop: threading.Event) -> T:
    """What `work` gives, in a thread: Ctrl-C raises the flag and lets it end in order.

    In this thread Ctrl-C could strike between AWS's answer and its being written down.
    """
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as error:  # noqa: BLE001  # raised again where it is waited for
            result.set_exception(error)

    thread = threading.Thread(target=run, name="emrctl-stack", daemon=True)
    thread.start()
    try:
        thread.join()
    except KeyboardInterrupt:
        stop.set()
        thread.join()
        if result.exception() is None:
            raise
    return result.result()


def _failed(state: State, errors: list[EmrctlError]) -> EmrctlError:
    """The first failure with the stack's name; the others are counted."""
    first = errors[0]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    first.message = f"stack {state.stack}: {first.message}{more}; {_standing(state)}"
    first.args = (first.message,)
    first.hint = first.hint or _AGAIN
    return first


def _interrupted(state: State) -> StackInterruptedError:
    message = f"stack {state.stack}: interrupted; {_standing(state)}"
    return StackInterruptedError(message, hint=_AGAIN)


def _standing(state: State) -> str:
    entries = [entry for entry in state.all() if entry.id is not None]
    clusters = [str(entry.id) for entry in entries if short(entry.type) == "emr.Cluster"]
    names = f", cluster {', '.join(clusters)} among them" if clusters else ""
    return f"{len(entries)} of its resources stand{names}"
