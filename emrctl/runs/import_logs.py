"""Import of event logs from elsewhere as finished runs.

Logs are read in parallel, one process per core. A run that is already in the store is changed only
if its log has grown since, e.g. an `.inprogress` log that is finished now.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from emrctl.errors import EmrctlError, UsageError
from emrctl.metrics.configuration import configuration
from emrctl.metrics.eventlog import layout, reader, redaction
from emrctl.metrics.eventlog.layout import EventLogFile
from emrctl.metrics.model import RunMetrics
from emrctl.paths import temporary_folder
from emrctl.runs.record import IMPORTED, ClusterFacts, Run
from emrctl.runs.store import RunFiles
from emrctl.runs.workspace import Workspace
from emrctl.spec import SparkSettings

_COPY_THREADS = 8


@dataclass(frozen=True)
class ImportedLog:
    """One log's run, or the reason why it has none.

    `known` if the run was in the store before, `grown` if it was replaced by this longer log.
    """

    name: str
    run: Run | None = None
    known: bool = False
    grown: bool = False
    reason: str = ""


def import_files(
    workspace: Workspace, files: Sequence[EventLogFile], *, remote: bool
) -> Iterator[ImportedLog]:
    """Import the event logs among `files`, in their order; copy `remote` ones first."""
    logs = layout.group_files(files)
    with temporary_folder() as folder:
        if remote:
            logs = _copy_files(logs, folder)
        for log, (runs, reason) in zip(logs, _read_all(logs), strict=True):
            yield from _import_log(workspace, log, runs, reason)


_Log = tuple[EventLogFile, ...]


def _copy_files(logs: tuple[_Log, ...], folder: Path) -> tuple[_Log, ...]:
    files = [file for log in logs for file in log]
    paths = {file.name: folder / str(index) for index, file in enumerate(files)}

    def copy(file: EventLogFile) -> EventLogFile:
        path = paths[file.name]
        with file.open() as source, path.open("wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
        return replace(layout.list_files(path)[0], name=file.name)

    with ThreadPoolExecutor(_COPY_THREADS) as threads:
        copies = dict(zip(paths, threads.map(copy, files), strict=True))
    return tuple(tuple(copies[file.name] for file in log) for log in logs)


def _read_all(logs: tuple[_Log, ...]) -> Iterator[tuple[tuple[RunMetrics, ...], str]]:
    workers = min(len(logs), os.cpu_count() or 1)
    if workers < 2:
        yield from map(_read, logs)
        return
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield from pool.map(_read, logs)


def _read(log: _Log) -> tuple[tuple[RunMetrics, ...], str]:
    """Return the metrics of the log's applications, or the reason why it cannot be read."""
    try:
        return reader.read_logs(log), ""
    except UsageError as error:
        return (), str(error)


def _import_log(
    workspace: Workspace, log: _Log, runs: tuple[RunMetrics, ...], reason: str
) -> Iterator[ImportedLog]:
    name = log[0].name
    if not runs:
        yield ImportedLog(name, reason=reason)
    for metrics in runs:
        if metrics.start_ms is None:
            yield ImportedLog(name, reason="the log has no start of the application")
            continue
        run = run_of(metrics, workspace.project.project)
        known = workspace.store.find(run.id) is not None
        grown = known and _grown(workspace.store.files(run.id), metrics)
        if grown or not known:
            if known:  # records of finished runs are not changed
                workspace.store.files(run.id).delete(RunFiles.RECORD)
            _store(workspace, run, metrics, log if len(runs) == 1 else ())
        yield ImportedLog(name, workspace.store.load(run.id), known, grown)


def _grown(files: RunFiles, metrics: RunMetrics) -> bool:
    """Return whether these metrics contain more of the application than the stored ones."""
    stored = files.load(RunFiles.METRICS, RunMetrics)
    return stored is None or _progress(metrics) > _progress(stored)


def _progress(metrics: RunMetrics) -> tuple[int, ...]:
    tasks = metrics.tasks_ok + metrics.tasks_failed + metrics.tasks_killed
    ended = metrics.jobs_succeeded + metrics.jobs_failed
    finished = metrics.end_ms is not None
    events = (metrics.jobs, ended, len(metrics.stages), len(metrics.executors), len(metrics.sql))
    return (finished, metrics.complete, tasks, *events)


def _store(workspace: Workspace, run: Run, metrics: RunMetrics, log: _Log) -> None:
    """Store a run and its log, in place of an earlier import of the same application attempt."""
    files = workspace.store.files(run.id)
    names = []
    for file in log:
        with redaction.stored_form(file) as (name, stream):
            names.append(_safe_name(name))
            files.write(names[-1], stream, RunFiles.EVENT_LOG)
    for name in files.names(RunFiles.EVENT_LOG):
        if name not in names:
            files.delete(name, RunFiles.EVENT_LOG)
    files.write_json(RunFiles.METRICS, metrics.to_json())
    # Last, so that an interrupted import is repeated.
    workspace.store.save(run)


def _safe_name(name: str) -> str:
    """Return the name without parts that lead out of the run's folder."""
    return "/".join(part for part in name.split("/") if part not in {"", ".", ".."})


def run_of(metrics: RunMetrics, project: str) -> Run:
    """Return the finished run of an event log with the start of its application."""
    failure = _failure(metrics)
    job = _job_name(metrics.app_name or "imported")
    return Run(
        id=_id(metrics, job),
        job=job,
        project=project,
        target=IMPORTED,
        identity=IMPORTED,
        bucket="",
        cluster=_cluster(metrics),
        created=_iso(metrics.start_ms) or "",
        state="FAILED" if failure else "COMPLETED",
        settings=_settings(metrics),
        arguments=metrics.program[1:],
        code=metrics.program[:1],
        application_id=metrics.app_id,
        started=_iso(metrics.start_ms),
        ended=_iso(metrics.end_ms),
        failure=failure,
    )


def _failure(metrics: RunMetrics) -> str | None:
    """Return why the run failed; event logs have no state of the application itself."""
    if metrics.end_ms is None:
        return "the log has no end of the application"
    if metrics.jobs_failed:
        reasons = (stage.failure_reason for stage in metrics.stages if stage.failure_reason)
        first = next(reasons, "").partition("\n")[0]
        return f"{metrics.jobs_failed} of {metrics.jobs} jobs failed: {first}".rstrip(": ")
    return None


def _cluster(metrics: RunMetrics) -> ClusterFacts:
    """Return the facts in the log, which has neither instance types nor prices."""
    hosts = {row.host for row in metrics.executors if not row.is_driver}
    return ClusterFacts(
        name=metrics.environment.get("spark.master", ""),
        id="",
        release=f"Spark {metrics.spark_version or '?'}",
        primary_type="",
        core_type="",
        core_count=len(hosts),
        hourly_usd=0.0,
    )


def _settings(metrics: RunMetrics) -> dict[str, Any]:
    """Return the settings in the log; `conf` has the properties that are not another setting."""
    conf = configuration(metrics.environment)
    settings: dict[str, Any] = {
        name: conf.pop(option.properties[0])
        for name, option in SparkSettings.options().items()
        if option.properties and option.properties[0] in conf
    }
    return settings | ({"conf": conf} if conf else {})


def _id(metrics: RunMetrics, job: str) -> str:
    """Return an id that is the same for each import of the same application attempt."""
    moment = datetime.fromtimestamp((metrics.start_ms or 0) / 1000, UTC)
    key = f"{metrics.app_id} {metrics.app_attempt} {metrics.start_ms}"
    digest = hashlib.sha256(key.encode(errors="replace")).hexdigest()[:8]
    return f"{moment:%Y%m%d-%H%M%S}{moment.microsecond // 1000:03d}-{job}-{digest}"


def _job_name(name: str) -> str:
    word = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:24]
    return word.strip("-") or "imported"


def _iso(moment_ms: int | None) -> str | None:
    if moment_ms is None:
        return None
    try:
        moment = datetime.fromtimestamp(moment_ms / 1000, UTC)
    except (OverflowError, OSError, ValueError) as error:
        raise EmrctlError(f"{moment_ms} is not a valid time in ms") from error
    return moment.isoformat(timespec="milliseconds")
