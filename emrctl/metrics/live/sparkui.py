"""Progress of a running application from Spark's REST API.

Served by the driver, YARN's proxy or the history server.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from emrctl import redact
from emrctl.metrics.live.rest import Fetch, fetch_or_none, rows, section
from emrctl.metrics.model import ExecutorMetrics
from emrctl.metrics.record import Record


@dataclass(frozen=True, kw_only=True)
class JobProgress(Record):
    """Counts over the jobs submitted so far; Spark does not know later jobs.

    Skipped stages and tasks count as done. `executors` is the number of active executors without
    the driver; `stages_running` has the names of the active stages.
    """

    jobs_done: int = 0
    jobs_total: int = 0
    stages_done: int = 0
    stages_total: int = 0
    tasks_done: int = 0
    tasks_total: int = 0
    tasks_active: int = 0
    tasks_failed: int = 0
    executors: int = 0
    stages_running: tuple[str, ...] = ()


def progress(fetch: Fetch, app_id: str) -> JobProgress | None:
    """Return the progress of `app_id`; None if Spark does not answer.

    `fetch` takes paths below the UI's address, or the proxy's `/proxy/<app id>`.
    """
    root = _root(fetch, app_id)
    jobs = fetch_or_none(fetch, f"{root}/jobs")
    if not isinstance(jobs, list):
        return None
    stages = rows(fetch_or_none(fetch, f"{root}/stages?status=active"))
    executors = rows(fetch_or_none(fetch, f"{root}/executors"))
    job_rows = rows(jobs)
    return JobProgress(
        jobs_done=sum(job.get("status") != "RUNNING" for job in job_rows),
        jobs_total=len(job_rows),
        stages_done=sum(map(_stages_done, job_rows)),
        stages_total=sum(len(job.get("stageIds") or ()) for job in job_rows),
        tasks_done=_total(job_rows, ("numCompletedTasks", "numSkippedTasks")),
        tasks_total=_total(job_rows, ("numTasks",)),
        tasks_active=_total(job_rows, ("numActiveTasks",)),
        tasks_failed=_total(job_rows, ("numFailedTasks",)),
        executors=sum(row.get("id") != "driver" and row.get("isActive", True) for row in executors),
        stages_running=tuple(redact.text(str(stage.get("name", ""))) for stage in stages),
    )


@dataclass(frozen=True, kw_only=True)
class LiveStage(Record):
    """An active stage; `median_ms` is over completed tasks, `longest_ms` over all.

    `slowest_on` is the executor of the longest running task.
    """

    id: int
    attempt: int = 0
    name: str = ""
    tasks: int = 0
    done: int = 0
    active: int = 0
    failed: int = 0
    median_ms: int | None = None
    longest_ms: int | None = None
    slowest_on: str | None = None

    @property
    def skew(self) -> float | None:
        """Ratio of the longest task's duration to the median."""
        if not self.median_ms or self.longest_ms is None:
            return None
        return self.longest_ms / self.median_ms


@dataclass(frozen=True, kw_only=True)
class SparkState(Record):
    """Progress, active stages and executors of a running application."""

    progress: JobProgress = field(default_factory=JobProgress)
    stages: tuple[LiveStage, ...] = ()
    executors: tuple[ExecutorMetrics, ...] = ()


def state(fetch: Fetch, app_id: str) -> SparkState | None:
    """Return the state of the application; None if Spark does not answer."""
    progress_now = progress(fetch, app_id)
    if progress_now is None:
        return None
    root = _root(fetch, app_id)
    stages = rows(fetch_or_none(fetch, f"{root}/stages?status=active"))
    executors = rows(fetch_or_none(fetch, f"{root}/allexecutors"))
    return SparkState(
        progress=progress_now,
        stages=tuple(_live_stage(fetch, root, stage) for stage in stages[:_STAGES]),
        executors=tuple(map(_executor, executors)),
    )


def _live_stage(fetch: Fetch, root: str, stage: dict[str, Any]) -> LiveStage:
    path = f"{root}/stages/{stage.get('stageId')}/{stage.get('attemptId', 0)}"
    summary = section(fetch_or_none(fetch, f"{path}/taskSummary?quantiles=0.5,1.0"))
    times = summary.get("duration") or summary.get("executorRunTime") or [None, None]
    median, longest = _whole(times[0]), _whole(times[-1])
    running = rows(fetch_or_none(fetch, f"{path}/taskList?status=running&sortBy=-runtime&length=1"))
    slowest = running[0] if running else {}
    both = [item for item in (longest, _whole(slowest.get("duration"))) if item is not None]
    return LiveStage(
        id=int(stage.get("stageId") or 0),
        attempt=int(stage.get("attemptId") or 0),
        name=redact.text(str(stage.get("name", ""))),
        tasks=int(stage.get("numTasks") or 0),
        done=int(stage.get("numCompleteTasks") or 0),
        active=int(stage.get("numActiveTasks") or 0),
        failed=int(stage.get("numFailedTasks") or 0),
        median_ms=median,
        longest_ms=max(both, default=None),
        slowest_on=str(slowest["executorId"]) if slowest.get("executorId") else None,
    )


def _executor(row: dict[str, Any]) -> ExecutorMetrics:
    peaks = section(row, "peakMemoryMetrics")
    figures: dict[str, Any] = {name: int(row.get(key) or 0) for name, key in _EXECUTOR.items()}
    return ExecutorMetrics(
        id=str(row.get("id", "")),
        host=str(row.get("hostPort", "")).rpartition(":")[0],
        active=bool(row.get("isActive", True)),
        excluded=bool(row.get("isExcluded", False)),
        peak_memory={name: value for name, value in peaks.items() if isinstance(value, int)},
        **figures,
    )


_STAGES = 5
_EXECUTOR = {
    "rdd_blocks": "rddBlocks",
    "storage_used_bytes": "memoryUsed",
    "storage_total_bytes": "maxMemory",
    "disk_used_bytes": "diskUsed",
    "cores": "totalCores",
    "active_tasks": "activeTasks",
    "failed_tasks": "failedTasks",
    "complete_tasks": "completedTasks",
    "total_tasks": "totalTasks",
    "task_time_ms": "totalDuration",
    "gc_time_ms": "totalGCTime",
    "input_bytes": "totalInputBytes",
    "shuffle_read_bytes": "totalShuffleRead",
    "shuffle_write_bytes": "totalShuffleWrite",
}


def _whole(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) else None


def _root(fetch: Fetch, app_id: str) -> str:
    """Return the application's path, with its last attempt if the history server has several."""
    root = f"/api/v1/applications/{app_id}"
    document = fetch_or_none(fetch, root)
    attempts = rows(document, "attempts")
    numbers = [str(item["attemptId"]) for item in attempts if item.get("attemptId")]
    return f"{root}/{max(numbers, key=_numeric)}" if numbers else root


def _numeric(attempt: str) -> tuple[int, str]:
    return (int(attempt) if attempt.isdecimal() else 0, attempt)


def _total(jobs: Iterable[dict[str, Any]], names: tuple[str, ...]) -> int:
    return sum(int(job.get(name) or 0) for job in jobs for name in names)


def _stages_done(job: dict[str, Any]) -> int:
    """Count the stages of `job` that are complete; retried stages count once."""
    done = _total([job], ("numCompletedStages", "numSkippedStages"))
    return min(done, len(job.get("stageIds") or ()))
