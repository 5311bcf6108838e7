"""Checks of the store: every problem of a run's files, and repairs that lose no data.

A damaged file is renamed, not deleted. A record is rebuilt from the index, from its own readable
keys or from the event log; metrics are computed from the event log again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import msgspec

from emrctl.errors import DamagedFileError
from emrctl.metrics.live.nodes import NodeSample
from emrctl.metrics.model import RunMetrics, YarnAccounts
from emrctl.runs import documents, import_logs, record, salvage
from emrctl.runs.index import RunIndex
from emrctl.runs.record import CheckedOutput, Run
from emrctl.runs.storage import LocalStorage, is_name
from emrctl.runs.store import RunFiles
from emrctl.runs.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A problem of one file; `repair` is what --repair does, empty if it cannot be repaired."""

    run: str
    file: str
    reason: str
    repair: str = ""
    repaired: bool = False


@dataclass(frozen=True)
class _Found:
    """A problem, and the function that repairs it."""

    problem: Problem
    act: Callable[[], object] | None = None


def check(workspace: Workspace, *, repair: bool = False) -> Iterator[Problem]:
    """Yield every problem of the store; with `repair` after the repair of those that can be."""
    for found in _find(workspace):
        if repair and found.act is not None:
            found.act()
            yield replace(found.problem, repaired=True)
        else:
            yield found.problem


def _find(workspace: Workspace) -> Iterator[_Found]:
    storage = workspace.store.storage
    for key in storage.leftovers(_LEFTOVER_AGE_S):
        problem = Problem(
            run=key.partition("/")[0] if "/" in key else "",
            file=storage.location(key),
            reason="it is left over from an interrupted write",
            repair="delete it",
        )
        yield _Found(problem, lambda key=key: storage.delete(key))  # type: ignore[misc]
    copies = dict[str, Run]()
    if isinstance(storage, LocalStorage):
        entries = RunIndex(storage.path / RunIndex.FILE).load()
        copies = {name: run for name, (_, run) in entries.items()}
    for run_id in storage.folders():
        files = workspace.store.files(run_id)
        yield from _Check(files, workspace.project.project, copies.get(run_id)).run()


@dataclass
class _Check:
    """The check of one run; `copy` is the record in the index."""

    files: RunFiles
    project: str
    copy: Run | None = None
    names: set[str] = field(default_factory=set)
    record: Run | None = None

    DOCUMENTS: ClassVar[Mapping[str, Callable[[bytes], Any]]] = {
        RunFiles.TAGS: lambda body: documents.decode(body, dict[str, str]),
        RunFiles.YARN: lambda body: documents.decode(body, YarnAccounts),
        RunFiles.METRICS: lambda body: documents.decode(body, RunMetrics),
        RunFiles.APPLICATIONS: lambda body: documents.decode(body, dict[str, RunMetrics]),
        RunFiles.INSTANCES: lambda body: documents.decode(body, dict[str, Any]),
        RunFiles.CLOUDWATCH: lambda body: documents.decode(body, dict[str, Any]),
        RunFiles.RESULT: documents.decode_any,
        RunFiles.CHECK: lambda body: documents.decode(body, dict[str, CheckedOutput]),
    }
    FOLDERS: ClassVar = (RunFiles.LOGS.rstrip("/"), RunFiles.EVENT_LOG.rstrip("/"))

    def run(self) -> Iterator[_Found]:
        """Yield the problems of the run; the record comes first, as others depend on it."""
        self.names = set(self.files.storage.names(self.files.run_id))
        own = {RunFiles.RECORD, RunFiles.NODE_SAMPLES, *self.DOCUMENTS, *self.FOLDERS}
        if not self.names & own:
            return  # e.g. the output of a job whose record was never stored
        yield from self._check_record()
        for name, parse in self.DOCUMENTS.items():
            if name in self.names:
                yield from self._check_document(name, parse)
        if RunFiles.NODE_SAMPLES in self.names:
            yield from self._check_samples()

    def _problem(self, name: str, reason: str, repair: str = "") -> Problem:
        file = self.files.location(name)
        return Problem(run=self.files.run_id, file=file, reason=reason, repair=repair)

    def _check_record(self) -> Iterator[_Found]:
        try:
            self.record = self.files.read_record()
        except DamagedFileError as error:
            if error.newer or not error.damaged or self._is_of_other_run():
                yield _Found(self._problem(RunFiles.RECORD, error.reason))
                return
            reason = error.reason
        else:
            if self.record is not None:
                return
            reason = "it does not exist"
        run, source = self._rebuild()
        if run is None:
            yield _Found(self._problem(RunFiles.RECORD, reason))
            return
        self.record = rebuilt = run
        repair = f"rebuild it from {source}"
        problem = self._problem(RunFiles.RECORD, reason, repair)
        yield _Found(problem, lambda: self._write_record(rebuilt))

    def _is_of_other_run(self) -> bool:
        """Return whether the record is whole, and that of another run: the folder is a copy."""
        try:
            body = self.files.read(RunFiles.RECORD) or b""
            other = documents.decode(body, Run)
        except (DamagedFileError, ValueError):
            return False
        return other.id != self.files.run_id and is_name(other.id)

    def _rebuild(self) -> tuple[Run | None, str]:
        """Return the run from the best source that is left, and the name of that."""
        if self.copy is not None:
            return self.copy, "the index"
        try:
            run = salvage.rebuild(self.files.read(RunFiles.RECORD) or b"", self.files.run_id)
        except DamagedFileError:
            run = None
        if run is not None:
            return run, "its readable keys"
        metrics = salvage.read_metrics(self.files, None)
        if metrics is None or metrics.start_ms is None:
            return None, ""
        run = import_logs.run_of(metrics, self.project)
        warning = "its record was lost: this one was rebuilt from the event log"
        return replace(run, id=self.files.run_id, warnings=(warning,)), "the event log"

    def _write_record(self, run: Run) -> None:
        if RunFiles.RECORD in self.names:
            self.files.set_aside(RunFiles.RECORD)
        self.files.write_json(RunFiles.RECORD, record.encode(run, None), indent=1)

    def _check_document(self, name: str, parse: Callable[[bytes], Any]) -> Iterator[_Found]:
        try:
            parse(self.files.read(name) or b"")
        except DamagedFileError as error:
            if not error.damaged:
                yield _Found(self._problem(name, error.reason))
                return
            reason = error.reason
        except ValueError as error:
            reason = str(error)
        else:
            return
        metrics = None
        if name == RunFiles.METRICS:
            application_id = self.record.application_id if self.record else None
            metrics = salvage.read_metrics(self.files, application_id)
        repair = "rename it" if metrics is None else "compute it from the event log again"
        problem = self._problem(name, reason, repair)
        yield _Found(problem, lambda: self._replace_document(name, metrics))

    def _replace_document(self, name: str, metrics: RunMetrics | None) -> None:
        self.files.set_aside(name)
        if metrics is not None:
            self.files.write_json(name, metrics.to_json())

    def _check_samples(self) -> Iterator[_Found]:
        name = RunFiles.NODE_SAMPLES
        try:
            lines = (self.files.read(name) or b"").splitlines(keepends=True)
        except DamagedFileError as error:
            act = (lambda: self.files.set_aside(name)) if error.damaged else None
            repair = "rename it" if error.damaged else ""
            yield _Found(self._problem(name, error.reason, repair), act)
            return
        valid = [line for line in lines if _is_sample(line)]
        if len(valid) < len(lines):
            reason = f"{len(lines) - len(valid)} of {len(lines)} lines are not samples"
            problem = self._problem(name, reason, "rename it and keep the other lines")
            yield _Found(problem, lambda: self._keep_samples(valid))

    def _keep_samples(self, lines: list[bytes]) -> None:
        self.files.set_aside(RunFiles.NODE_SAMPLES)
        self.files.write(RunFiles.NODE_SAMPLES, b"".join(lines))


def _is_sample(line: bytes) -> bool:
    try:
        msgspec.json.decode(line, type=NodeSample)
    except (ValueError, RecursionError, msgspec.MsgspecError):
        return False
    return True


# A younger file may be of a write that continues.
_LEFTOVER_AGE_S = 3600.0
