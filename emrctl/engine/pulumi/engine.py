"""Pulumi's own engine through the Automation API, with an inline program.

On AWS it uses the AWS plugin; on localhost the local provider replaces the plugin.
"""

from __future__ import annotations

import contextlib
import dataclasses
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
    other_engine,
    run_interruptibly,
    update_interrupted,
)
from emrctl.engine.checkpoint import Checkpoint, StateFolder
from emrctl.engine.embedded.deployment import STATE_KEY, check_unprotected
from emrctl.engine.embedded.engine import PROJECT, stopped_emulator_event, summarize
from emrctl.engine.localhost.provider import RESOURCE_TYPES, Provider
from emrctl.engine.localhost.resource_type import OperationCancelledError
from emrctl.engine.pulumi.binary import EngineMissingError
from emrctl.engine.pulumi.language_host import import_program
from emrctl.engine.pulumi.output import EventListener, drift
from emrctl.engine.pulumi.session import Session
from emrctl.engine.pulumi.snapshot import (
    ROOT,
    Snapshot,
    find_interrupted_creations,
    interrupted_changes,
)
from emrctl.engine.pulumi.state_backend import StateBackend, backend_exists, ensure_bucket
from emrctl.errors import NotFoundError
from emrctl.paths import temporary_folder


def _no_report(_event: Event) -> None:
    """Discard an event."""


class PulumiEngine:
    """An `Engine` whose state is in `backend`.

    `records` is a folder of the project with the locks of this machine and, for each stack on
    localhost, a record of its engine and emulator.
    """

    name = "pulumi"

    def __init__(self, target: Target, backend: StateBackend, records: Path) -> None:
        self._target = target
        self._backend = backend
        self._files = StateFolder(records)

    def preview(self, stack: str, program: Program) -> Preview:
        """Return the changes that `up` would make; no lock is taken."""
        with self._previewed(stack) as session:
            listener = EventListener(_no_report)
            terminated = self._terminated(session.snapshot())
            options = {"refresh": True} if terminated else {}

            def run() -> Preview:
                session.operate("preview", listener, program, **options)
                return Preview(stack=stack, changes=_mark(listener.planned, terminated))

            return run_interruptibly(run, session.cancel)

    def up(self, stack: str, program: Program, report: Report) -> StackResult:
        """Create, update and delete resources until the stack matches the program."""
        with self._files.locked(stack):
            session = self._open_or_create(stack, report)

            def run() -> tuple[ResourceChange, ...]:
                terminated = self._terminated(self._recover(session, report))
                if terminated:
                    # Removes terminated resources from the state; the program creates them again.
                    options: dict[str, Any] = {"target": list(terminated), "run_program": False}
                    session.operate("refresh", EventListener(_no_report), **options)
                listener = EventListener(report)
                session.operate("up", listener, program)
                return _mark(listener.changes, terminated)

            return self._run(session, run)

    def down(self, stack: str, report: Report, *, force: bool = False) -> StackResult:
        """Delete all resources of the stack, protected ones only with `force`."""
        with self._files.locked(stack):
            session = self._find(stack)
            if session is None:
                self._files.remove(stack)
                return StackResult(stack=stack, outputs={})
            if not force:
                for entry in session.snapshot().entries:
                    check_unprotected(entry, f"the stack {stack} would be deleted")

            def run() -> tuple[ResourceChange, ...]:
                if any(entry.protect for entry in self._recover(session, report).entries):
                    session.run_command("state", "unprotect", "--all", "--yes")
                listener = EventListener(report)
                session.operate("destroy", listener, run_program=False)
                session.remove()
                return tuple(listener.changes)

            return self._run(session, run)

    def drift(self, stack: str) -> Preview:
        """Return the differences of AWS from the state."""
        session, listener = self._open(stack), EventListener(_no_report)

        def run() -> Preview:
            session.operate("preview_refresh", listener, run_program=False)
            return Preview(stack=stack, changes=drift(listener.changes))

        return run_interruptibly(run, session.cancel)

    def refresh(self, stack: str, report: Report) -> StackResult:
        """Update the state to match AWS."""
        with self._files.locked(stack):
            session, listener = self._open(stack), EventListener(report)

            def run() -> tuple[ResourceChange, ...]:
                self._recover(session, report)
                session.operate("refresh", listener, run_program=False)
                return drift(listener.changes)

            return self._run(session, run)

    def history(self, stack: str) -> tuple[UpdateSummary, ...]:
        """Return all updates of the stack, the latest first."""
        return tuple(
            UpdateSummary(
                kind=item["kind"],
                result=item["result"],
                started=item["startTime"],
                ended=item.get("endTime"),
                changes=item.get("resourceChanges") or {},
            )
            for item in self._open(stack).history()
        )

    def import_resource(
        self, stack: str, program: Program, resource: ImportedResource, report: Report
    ) -> StackResult:
        """Import an existing resource that the program declares into the stack."""
        with self._files.locked(stack):
            session, listener = self._open_or_create(stack, report), EventListener(report)

            def run() -> tuple[ResourceChange, ...]:
                self._recover(session, report)
                urn = f"urn:pulumi:{stack}::{PROJECT}::{resource.type}::{resource.name}"
                session.operate("up", listener, import_program(program, resource), target=[urn])
                return tuple(change for change in listener.changes if change.operation != "same")

            return self._run(session, run)

    def export(self, stack: str) -> dict[str, Any]:
        """Return the stack's state as a document for `pulumi stack import`."""
        return {"version": 3, "deployment": self._open(stack).snapshot().document}

    def state(self, stack: str) -> StackState | None:
        """Return the recorded state; None if the stack does not exist."""
        record = self._files.load(stack)
        recorded = None if record is None else summarize(record, self._target)
        if record is not None and (record.engine != self.name or record.is_gone(self._target)):
            return recorded
        if not self._target.shared:
            return recorded
        try:
            session = Session(self._target, self._backend, stack)
        except EngineMissingError:
            return recorded  # so that `emrctl list` needs no engine
        if not backend_exists(self._target, self._backend.url) or not session.exists():
            return None
        return summarize(self._record(stack, session.snapshot()), self._target)

    def stacks(self) -> tuple[StackState, ...]:
        """Return the recorded state of every stack, by name."""
        names = self._files.stacks()
        if self._target.shared:
            with contextlib.suppress(EngineMissingError):
                session = Session(self._target, self._backend, "")
                exists = backend_exists(self._target, self._backend.url)
                names = session.stack_names() if exists else []
        states = [self.state(stack) for stack in names]
        return tuple(state for state in states if state is not None)

    @contextlib.contextmanager
    def _previewed(self, stack: str) -> Iterator[Session]:
        """Open the stack, or a temporary empty one if it does not exist."""
        session = self._find(stack)
        if session is not None:
            yield session
            return
        with temporary_folder() as folder:
            backend = dataclasses.replace(
                self._backend, url=f"file://{folder}", work=folder / "work"
            )
            session = Session(self._target, backend, stack)
            session.create()
            yield session

    def _open(self, stack: str) -> Session:
        session = self._find(stack)
        if session is None:
            hint = "Create it with `emrctl up`."
            raise NotFoundError(f"there is no stack {stack}", hint=hint)
        return session

    def _find(self, stack: str) -> Session | None:
        """Return the stack; None if it does not exist or its emulator was stopped."""
        record = self._files.load(stack)
        if record is not None:
            if record.is_gone(self._target):
                return None
            if record.engine != self.name:
                raise other_engine(stack, record.engine)
        if not backend_exists(self._target, self._backend.url):
            return None
        session = Session(self._target, self._backend, stack)
        return session if session.exists() else None

    def _open_or_create(self, stack: str, report: Report) -> Session:
        """Return the stack; create it if it does not exist or its emulator was stopped."""
        for action in ensure_bucket(self._target, self._backend.url):
            message = f"state bucket {action}"
            report(Event(operation="update", type=ROOT, name=stack, status="done", message=message))
        record = self._files.load(stack)
        if record is not None and record.is_gone(self._target):
            stale = Session(self._target, self._backend, stack)
            if stale.exists():
                stale.remove(force=True)
            self._files.remove(stack)
            report(stopped_emulator_event(stack))
        session = self._find(stack)
        if session is None:
            session = Session(self._target, self._backend, stack)
            session.create()
            self._files.save(self._record(stack, Snapshot({})))
        return session

    def _recover(self, session: Session, report: Report) -> Snapshot:
        """Resolve the pending operations of a killed engine and return the state."""
        snapshot = session.snapshot()
        if not snapshot.pending:
            return snapshot
        provider = Provider(self._target, session.cancelled)
        created = find_interrupted_creations(snapshot, provider, report)
        session.restore(snapshot.without_pending(created))
        urns = [*interrupted_changes(snapshot), *(str(item["urn"]) for item in created)]
        if urns:
            session.operate("refresh", EventListener(report), target=urns, run_program=False)
        return session.snapshot()

    def _terminated(self, snapshot: Snapshot) -> dict[str, str]:
        """Return URN and id of the resources that terminated by themselves."""
        provider = Provider(self._target, threading.Event())
        return {
            entry.urn: str(entry.id)
            for entry in snapshot.entries
            if entry.id and entry.type in RESOURCE_TYPES
            if provider.is_terminated(entry.type, entry.id, entry.inputs)
        }

    def _run(self, session: Session, run: Callable[[], tuple[ResourceChange, ...]]) -> StackResult:
        """Run an update, and save the record whether or not it fails."""
        try:
            changes = run_interruptibly(run, session.cancel)
        except (OperationCancelledError, KeyboardInterrupt) as error:
            raise update_interrupted(session.name, self._save(session).entries) from error
        except BaseException:
            self._save(session)
            raise
        return StackResult(stack=session.name, outputs=self._save(session).outputs, changes=changes)

    def _save(self, session: Session) -> Snapshot:
        if session.removed:
            self._files.remove(session.name)
            return Snapshot({})
        snapshot = session.snapshot()
        self._files.save(self._record(session.name, snapshot))
        return snapshot

    def _record(self, stack: str, snapshot: Snapshot) -> Checkpoint:
        return Checkpoint(
            stack=stack,
            identity=self._target.stack_identity(stack),
            engine=self.name,
            entries={entry.urn: entry for entry in snapshot.entries},
            outputs=snapshot.outputs,
        )


def _mark(changes: list[ResourceChange], terminated: dict[str, str]) -> tuple[ResourceChange, ...]:
    """Set `STATE_KEY` and the old id on the creations that replace terminated resources."""
    ids = {urn.rpartition("::")[2]: id_ for urn, id_ in terminated.items()}
    return tuple(
        dataclasses.replace(change, keys=(STATE_KEY,), id=ids[change.name])
        if change.operation == "create" and change.name in ids
        else change
        for change in changes
    )
