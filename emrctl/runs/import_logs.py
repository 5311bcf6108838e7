"""Event logs that emrctl did not make, taken into the store as finished runs.

Logs are read side by side over the cores, each in a process of its own; what is in the store
already is left as it is.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emrctl.errors import EmrctlError, UsageError
from emrctl.metrics.eventlog import layout, reader
from emrctl.metrics.eventlog.layout import EventLogFile
from emrctl.metrics.model import RunMetrics
from emrctl.runs.store import IMPORTED, ClusterFacts, Run, Store

if TYPE_CHECKING:
    from emrctl.runs.workspace import Workspace

# What a run of emrctl's own is compared by, and Spark's names for it.
_SETTINGS = {
    "executors": "spark.executor.instances",
    "executor_cores": "spark.executor.cores",
    "executor_memory": "spark.executor.memory",
    "driver_memory": "spark.driver.memory",
    "partitions": "spark.default.parallelism",
    "min_executors": "spark.dynamicAllocation.minExecutors",
    "max_executors": "spark.dynamicAllocation.maxExecutors",
    "deploy_mode": "spark.submit.deployMode",
}
_CONF = re.compile(
    r"spark\.(sql\.(shuffle|adaptive|files|autoBroadcast)|memory|dynamicAllocation|speculation)"
)
_COPIERS = 8


@dataclass(frozen=True)
class Taken:
    """What came of one log: the run, or why there is none; `known` were there before."""

    name: str
    run: Run | None = None
    known: bool = False
    reason: str = ""


@dataclass(frozen=True)
class _Read:
    """What one log holds, or why it holds nothing."""

    runs: tuple[RunMetrics, ...] = ()
    reason: str = ""


def take(workspace: Workspace, parts: Sequence[EventLogFile], *, remote: bool) -> Iterator[Taken]:
    """Every event log among `parts` is in the store; what came of each, in their order.

    `remote` parts are copied to this machine first.
    """
    logs = layout.group_files(parts)
    with tempfile.TemporaryDirectory(prefix="emrctl-") as folder:
        if remote:
            logs = _copied(logs, Path(folder))
        for log, read in zip(logs, _read_all(logs), strict=True):
            yield from _stored(workspace, log, read)


def _copied(
    logs: tuple[tuple[EventLogFile, ...], ...], folder: Path
) -> tuple[tuple[EventLogFile, ...], ...]:
    places = {part.name: folder / str(at) for at, part in enumerate(sum(logs, ()))}

    def copy(part: EventLogFile) -> EventLogFile:
        with part.open() as source, places[part.name].open("wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
        return replace(layout.list_files(places[part.name])[0], name=part.name)

    with ThreadPoolExecutor(_COPIERS) as copiers:
        found = dict(zip(places, copiers.map(copy, sum(logs, ())), strict=True))
    return tuple(tuple(found[part.name] for part in log) for log in logs)


def _read_all(logs: tuple[tuple[EventLogFile, ...], ...]) -> Iterator[_Read]:
    workers = min(len(logs), os.cpu_count() or 1)
    if workers < 2:
        yield from map(_read, logs)
        return
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield from pool.map(_read, logs)


def _read(log: tuple[EventLogFile, ...]) -> _Read:
    try:
        return _Read(reader.read_logs(log))
    except UsageError as error:
        return _Read(reason=str(error))


def _stored(workspace: Workspace, log: tuple[EventLogFile, ...], read: _Read) -> Iterator[Taken]:
    name = log[0].name
    if not read.runs:
        yield Taken(name, reason=read.reason)
    for metrics in read.runs:
        if metrics.start_ms is None:
            yield Taken(name, reason="the application's start is not in the log")
            continue
        run = _run(workspace, metrics)
        known = workspace.store.get_json(run.id, "run.json") is not None
        if not known:
            _save(workspace.store, run, metrics, log if len(read.runs) == 1 else ())
        yield Taken(name, run, known)


def _save(store: Store, run: Run, metrics: RunMetrics, log: tuple[EventLogFile, ...]) -> None:
    """The run's own record comes last: an import that was killed is simply done again."""
    import json

    for part in log:
        with part.open() as stream:
            store.put(run.id, f"eventlog/{_safe(part.name)}", stream.read())
    document = json.dumps(metrics.to_json(), ensure_ascii=False)
    store.put(run.id, "metrics.json", document.encode(errors="replace"))
    store.save(run)


def _safe(name: str) -> str:
    """The name without what would lead out of the run's folder."""
    return "/".join(step for step in name.split("/") if step not in {"", ".", ".."})


def _run(workspace: Workspace, metrics: RunMetrics) -> Run:
    failure = _failure(metrics)
    job = _word(metrics.app_name or "imported")
    return Run(
        id=_id(metrics, job),
        job=job,
        project=workspace.project.project,
        target=IMPORTED,
        identity=IMPORTED,
        bucket="",
        cluster=_cluster(metrics),
        created=_iso(metrics.start_ms) or "",
        state="FAILED" if failure else "COMPLETED",
        settings=_settings(metrics),
        application_id=metrics.app_id,
        started=_iso(metrics.start_ms),
        ended=_iso(metrics.end_ms),
        failure=failure,
    )


def _failure(metrics: RunMetrics) -> str | None:
    """Why the run counts as failed; an event log does not say it of the application itself."""
    if metrics.end_ms is None:
        return "the application's end is not in the log"
    if metrics.jobs_failed:
        reasons = (stage.failure_reason for stage in metrics.stages if stage.failure_reason)
        first = next(reasons, "").partition("\n")[0]
        return f"{metrics.jobs_failed} of {metrics.jobs} jobs failed: {first}".rstrip(": ")
    return None


def _cluster(metrics: RunMetrics) -> ClusterFacts:
    """As much as a log tells of where it was made: nothing of prices."""
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
    known = metrics.environment
    found: dict[str, Any] = {name: known[key] for name, key in _SETTINGS.items() if key in known}
    conf = {key: value for key, value in known.items() if _CONF.match(key)}
    return found | ({"conf": conf} if conf else {})


def _id(metrics: RunMetrics, job: str) -> str:
    """The same for the same attempt of the same application, whoever imports it."""
    moment = datetime.fromtimestamp((metrics.start_ms or 0) / 1000, UTC)
    key = f"{metrics.app_id} {metrics.app_attempt} {metrics.start_ms}"
    digest = hashlib.sha256(key.encode(errors="replace")).hexdigest()[:8]
    return f"{moment:%Y%m%d-%H%M%S}{moment.microsecond // 1000:03d}-{job}-{digest}"


def _word(name: str) -> str:
    word = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:24]
    return word.strip("-") or "imported"


def _iso(moment_ms: int | None) -> str | None:
    if moment_ms is None:
        return None
    try:
        moment = datetime.fromtimestamp(moment_ms / 1000, UTC)
    except (OverflowError, OSError, ValueError) as error:
        raise EmrctlError(f"{moment_ms} is no moment in time") from error
    return moment.isoformat(timespec="milliseconds")
