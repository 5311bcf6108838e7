"""Pulumi's own engine, by its Automation API and an inline program: no language host is needed.

On AWS it works through the AWS plugin; on localhost the local provider stands in for it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from emrctl.aws.target import Target
from emrctl.engine.base import (
    Event,
    ImportedResource,
    Preview,
    Program,
    Report,
    ResourceChange,
    StackResult,
    StackState,
    UpdateSummary,
)
from emrctl.engine.checkpoint import Checkpoint, StateFolder
from emrctl.engine.embedded.deployment import ENDED, refuse_protected
from emrctl.engine.embedded.evaluate import PROJECT
from emrctl.engine.localhost.provider import RESOURCE_TYPES, Provider
from emrctl.engine.localhost.resource_type import OperationCancelledError
from emrctl.engine.outcomes import interrupted, interruptible, other_engine
from emrctl.engine.pulumi.binary import EngineMissingError
from emrctl.engine.pulumi.events import EventListener, drift
from emrctl.engine.pulumi.importing import taking_over
from emrctl.engine.pulumi.pending import adopted, touched
from emrctl.engine.pulumi.session import Session
from emrctl.engine.pulumi.snapshot import ROOT, Snapshot
from emrctl.engine.pulumi.state_backend import StateBackend, is_there, make_safe
from emrctl.errors import NotFoundError


def _nobody(_event: Event) -> None:
    """A report that tells nobody."""


class PulumiEngine:
    """An `Engine` whose states lie in `place`.

    `records` is a folder of the project: there lie who holds a stack on this machine, and for
    every stack on localhost which engine began it and on which emulator.
    """

    name = "pulumi"

    def __init__(self, target: Target, place: StateBackend, records: Path) -> None:
        self._target = target
        self._place = place
        self._files = StateFolder(records)

    def preview(self, stack: str, program: Program) -> Preview:
        """What `up` would do; nothing is changed, and no lock is taken."""
        with self._looked_at(stack) as session:
            heard = EventListener(_nobody)
            ended = self._ended(session.snapshot())

            def plan() -> Preview:
                session.operate("preview", heard, program, **({"refresh": True} if ended else {}))
                return Preview(stack=stack, changes=_named_as_ended(heard.planned, ended))

            return interruptible(plan, session.cancel)

    def up(self, stack: str, program: Program, report: Report) -> StackResult:
        """The stack is as the program says; what was no longer declared is gone."""
        with self._files.held(stack):
            session = self._begun(stack, report)
            return self._finish(session, lambda: self._bring_up(session, program, report))

    def down(self, stack: str, report: Report, *, force: bool = False) -> StackResult:
        """Nothing of the stack is left; what is protected goes only with `force`."""
        with self._files.held(stack):
            session = self._known(stack)
            if session is None:
                self._files.remove(stack)
                return StackResult(stack=stack, outputs={})
            if not force:
                for entry in session.snapshot().entries:
                    refuse_protected(entry, f"the stack {stack} would be deleted")
            return self._finish(session, lambda: self._take_down(session, report))

    def drift(self, stack: str) -> Preview:
        """Where AWS is no longer as the state says; the state stays as it is."""
        with self._opened(stack) as session:
            heard = EventListener(_nobody)

            def look() -> Preview:
                session.operate("preview_refresh", heard, run_program=False)
                return Preview(stack=stack, changes=drift(heard.changes))

            return interruptible(look, session.cancel)

    def refresh(self, stack: str, report: Report) -> StackResult:
        """The state is as AWS is; nothing on AWS is changed."""
        with self._files.held(stack), self._opened(stack) as session:
            heard = EventListener(report)

            def run() -> tuple[ResourceChange, ...]:
                self._settled(session, report)
                session.operate("refresh", heard, run_program=False)
                return drift(heard.changes)

            return self._finish(session, run)

    def history(self, stack: str) -> tuple[UpdateSummary, ...]:
        """All that was done to the stack, the last first."""
        with self._opened(stack) as session:
            return tuple(_past(item) for item in session.history())

    def adopt(
        self, stack: str, program: Program, found: ImportedResource, report: Report
    ) -> StackResult:
        """The stack holds a resource that exists and that its program declares."""
        with self._files.held(stack):
            session = self._begun(stack, report)
            heard = EventListener(report)

            def run() -> tuple[ResourceChange, ...]:
                self._settled(session, report)
                urn = f"urn:pulumi:{stack}::{PROJECT}::{found.type}::{found.name}"
                session.operate("up", heard, taking_over(program, found), target=[urn])
                return tuple(change for change in heard.changes if change.operation != "same")

            return self._finish(session, run)

    def export(self, stack: str) -> dict[str, Any]:
        """The stack's deployment, as `pulumi stack import` takes it back."""
        with self._opened(stack) as session:
            return {"version": 3, "deployment": session.snapshot().document}

    def state(self, stack: str) -> StackState | None:
        """What is known of the stack; None where it never was."""
        record = self._files.load(stack)
        if record is not None and (record.engine != self.name or self._gone(record)):
            return _state(record, gone=self._gone(record))
        if self._target.kind == "local":
            return None if record is None else _state(record, gone=False)
        try:
            session = Session(self._target, self._place, stack)
        except EngineMissingError:
            # What was last seen from here is better than nothing: `list` needs no engine.
            return None if record is None else _state(record, gone=False)
        if not is_there(self._target, self._place.url) or not session.exists():
            return None
        return _state(self._record(stack, session.snapshot()), gone=False)

    def stacks(self) -> tuple[StackState, ...]:
        """Every stack that has a state, by name."""
        names = self._files.stacks()
        if self._target.kind == "aws":
            with contextlib.suppress(EngineMissingError):
                session = Session(self._target, self._place, "")
                names = session.names() if is_there(self._target, self._place.url) else []
        found = [self.state(stack) for stack in names]
        return tuple(state for state in found if state is not None)

    @contextlib.contextmanager
    def _looked_at(self, stack: str) -> Iterator[Session]:
        """The stack, or an empty one of its name that nobody will see."""
        session = self._known(stack)
        if session is not None:
            yield session
            return
        with tempfile.TemporaryDirectory(prefix="emrctl-preview-") as folder:
            place = dataclasses.replace(
                self._place, url=f"file://{folder}", work=Path(folder) / "work"
            )
            session = Session(self._target, place, stack)
            session.create()
            yield session

    @contextlib.contextmanager
    def _opened(self, stack: str) -> Iterator[Session]:
        session = self._known(stack)
        if session is None:
            raise NotFoundError(f"there is no stack {stack}", hint="Make it with `emrctl up`.")
        yield session

    def _known(self, stack: str) -> Session | None:
        """The stack, where it is this engine's and the AWS it was made on still is."""
        record = self._files.load(stack)
        if record is not None:
            if self._gone(record):
                return None
            if record.engine != self.name:
                raise other_engine(stack, record.engine)
        if not is_there(self._target, self._place.url):
            return None
        session = Session(self._target, self._place, stack)
        return session if session.exists() else None

    def _begun(self, stack: str, report: Report) -> Session:
        """The stack, made where it was not, and anew where its emulator runs no more."""
        for words in make_safe(self._target, self._place.url):
            message = f"the bucket of the engine's state: {words}"
            report(Event(operation="update", type=ROOT, name=stack, status="done", message=message))
        record = self._files.load(stack)
        if record is not None and self._gone(record):
            self._forget_gone(stack, report)
        session = self._known(stack)
        if session is None:
            session = Session(self._target, self._place, stack)
            session.create()
            self._files.save(self._record(stack, Snapshot({})))
        return session

    def _forget_gone(self, stack: str, report: Report) -> None:
        session = Session(self._target, self._place, stack)
        if session.exists():
            session.forget(force=True)
        self._files.remove(stack)
        message = "it was made on an emulator that runs no more, and is begun anew"
        report(Event(operation="delete", type=ROOT, name=stack, status="done", message=message))

    def _bring_up(
        self, session: Session, program: Program, report: Report
    ) -> tuple[ResourceChange, ...]:
        ended = self._ended(self._settled(session, report))
        if ended:
            # What ended by itself is taken out of the state: the program makes it anew.
            options: dict[str, Any] = {"target": list(ended), "run_program": False}
            session.operate("refresh", EventListener(_nobody), **options)
        heard = EventListener(report)
        session.operate("up", heard, program)
        return _named_as_ended(heard.changes, ended)

    def _take_down(self, session: Session, report: Report) -> tuple[ResourceChange, ...]:
        if any(entry.protect for entry in self._settled(session, report).entries):
            session.ask("state", "unprotect", "--all", "--yes")
        heard = EventListener(report)
        session.operate("destroy", heard, run_program=False)
        session.forget()
        return tuple(heard.changes)

    def _settled(self, session: Session, report: Report) -> Snapshot:
        """The state, once what a killed engine had begun is found on AWS or was never made."""
        snapshot = session.snapshot()
        if not snapshot.pending:
            return snapshot
        provider = Provider(self._target, session.cancelled)
        made = adopted(snapshot, provider, report)
        session.restore(snapshot.settled(made))
        urns = [*touched(snapshot), *(str(item["urn"]) for item in made)]
        if urns:
            session.operate("refresh", EventListener(report), target=urns, run_program=False)
        return session.snapshot()

    def _ended(self, snapshot: Snapshot) -> dict[str, str]:
        """What ended by itself: the URN and the id of each."""
        provider = Provider(self._target, threading.Event())
        return {
            entry.urn: str(entry.id)
            for entry in snapshot.entries
            if entry.id and entry.type in RESOURCE_TYPES
            if provider.ended(entry.type, entry.id, entry.inputs)
        }

    def _finish(
        self, session: Session, run: Callable[[], tuple[ResourceChange, ...]]
    ) -> StackResult:
        """What `run` did; whatever happened, the record is then what the state says."""
        try:
            changes = interruptible(run, session.cancel)
        except (OperationCancelledError, KeyboardInterrupt) as error:
            raise interrupted(session.name, self._saved(session).entries) from error
        except BaseException:
            self._saved(session)
            raise
        return StackResult(
            stack=session.name, outputs=self._saved(session).outputs, changes=changes
        )

    def _saved(self, session: Session) -> Snapshot:
        if session.forgotten:
            self._files.remove(session.name)
            return Snapshot({})
        snapshot = session.snapshot()
        self._files.save(self._record(session.name, snapshot))
        return snapshot

    def _record(self, stack: str, snapshot: Snapshot) -> Checkpoint:
        entries = {entry.urn: entry for entry in snapshot.entries}
        return Checkpoint(
            stack=stack,
            identity=self._target.identity,
            engine=self.name,
            entries=entries,
            outputs=snapshot.outputs,
        )

    def _gone(self, record: Checkpoint) -> bool:
        return record.identity != self._target.identity


def _state(record: Checkpoint, *, gone: bool) -> StackState:
    return StackState(
        stack=record.stack,
        engine=record.engine,
        identity=record.identity,
        resources=len(record.all()),
        outputs=record.outputs,
        gone=gone,
    )


def _named_as_ended(
    changes: list[ResourceChange], ended: dict[str, str]
) -> tuple[ResourceChange, ...]:
    """What is made anew because it ended by itself says so."""
    names = {urn.rpartition("::")[2]: id_ for urn, id_ in ended.items()}
    return tuple(
        dataclasses.replace(change, keys=(ENDED,), id=names[change.name])
        if change.operation == "create" and change.name in names
        else change
        for change in changes
    )


def _past(item: dict[str, Any]) -> UpdateSummary:
    return UpdateSummary(
        kind=item["kind"],
        result=item["result"],
        started=item["startTime"],
        ended=item.get("endTime"),
        changes=item.get("resourceChanges") or {},
    )
