"""How far a running application is, from Spark's own REST.

The driver's own, the same through YARN's proxy, or the history server's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from emrctl import redact
from emrctl.metrics.live.rest import Fetch, ask, rows, section
from emrctl.metrics.model import ExecutorMetrics, Record


@dataclass(frozen=True, kw_only=True)
class Progress(Record):
    """Counts over the jobs begun so far; what later jobs will add, Spark itself cannot know.

    Skipped stages and tasks, whose output was there already, count as done. `executors` is the
    number of live ones without the driver; `stages_running` names the stages at work.
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


def progress(fetch: Fetch, app_id: str) -> Progress | None:
    """The progress of `app_id`; None where Spark does not answer (yet, or any more).

    `fetch` takes paths below the UI's address, or the proxy's `/proxy/<app id>`.
    """
    root = _root(fetch, app_id)
    jobs = ask(fetch, f"{root}/jobs")
    if not isinstance(jobs, list):
        return None
    stages = rows(ask(fetch, f"{root}/stages?status=active"))
    executors = rows(ask(fetch, f"{root}/executors"))
    known = rows(jobs)
    return Progress(
        jobs_done=sum(job.get("status") != "RUNNING" for job in known),
        jobs_total=len(known),
        stages_done=sum(map(_stages_done, known)),
        stages_total=sum(len(job.get("stageIds") or ()) for job in known),
        tasks_done=_total(known, ("numCompletedTasks", "numSkippedTasks")),
        tasks_total=_total(known, ("numTasks",)),
        tasks_active=_total(known, ("numActiveTasks",)),
        tasks_failed=_total(known, ("numFailedTasks",)),
        executors=sum(row.get("id") != "driver" and row.get("isActive", True) for row in executors),
        stages_running=tuple(redact.text(str(stage.get("name", ""))) for stage in stages),
    )


@dataclass(frozen=True, kw_only=True)
class LiveStage(Record):
    """A stage at work; `median_ms` is of the tasks that are done, `longest_ms` of all.

    `slowest_on` is the executor of the longest that is still at work.
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
        """How many times the median task the longest takes so far."""
        if not self.median_ms or self.longest_ms is None:
            return None
        return self.longest_ms / self.median_ms


@dataclass(frozen=True, kw_only=True)
class State(Record):
    """All that Spark's pages tell of an application at work."""

    progress: Progress = field(default_factory=Progress)
    stages: tuple[LiveStage, ...] = ()
    executors: tuple[ExecutorMetrics, ...] = ()


def state(fetch: Fetch, app_id: str) -> State | None:
    """The application as its pages show it; None where Spark does not answer."""
    counted = progress(fetch, app_id)
    if counted is None:
        return None
    root = _root(fetch, app_id)
    stages = rows(ask(fetch, f"{root}/stages?status=active"))
    executors = rows(ask(fetch, f"{root}/allexecutors"))
    return State(
        progress=counted,
        stages=tuple(_live_stage(fetch, root, stage) for stage in stages[:_STAGES]),
        executors=tuple(map(_executor, executors)),
    )


def _live_stage(fetch: Fetch, root: str, stage: dict[str, Any]) -> LiveStage:
    path = f"{root}/stages/{stage.get('stageId')}/{stage.get('attemptId', 0)}"
    summary = section(ask(fetch, f"{path}/taskSummary?quantiles=0.5,1.0"))
    times = summary.get("duration") or summary.get("executorRunTime") or [None, None]
    median, longest = _whole(times[0]), _whole(times[-1])
    running = rows(ask(fetch, f"{path}/taskList?status=running&sortBy=-runtime&length=1"))
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
    figures: dict[str, Any] = {ours: int(row.get(key) or 0) for ours, key in _EXECUTOR.items()}
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
    """The application's path; with its last attempt where the history server keeps several."""
    root = f"/api/v1/applications/{app_id}"
    document = ask(fetch, root)
    attempts = rows(document, "attempts")
    numbers = [str(item["attemptId"]) for item in attempts if item.get("attemptId")]
    return f"{root}/{max(numbers, key=_numeric)}" if numbers else root


def _numeric(attempt: str) -> tuple[int, str]:
    return (int(attempt) if attempt.isdecimal() else 0, attempt)


def _total(jobs: Iterable[dict[str, Any]], names: tuple[str, ...]) -> int:
    return sum(int(job.get(name) or 0) for job in jobs for name in names)


def _stages_done(job: dict[str, Any]) -> int:
    """Stages of `job` that need no more work; retried ones count once."""
    done = _total([job], ("numCompletedStages", "numSkippedStages"))
    return min(done, len(job.get("stageIds") or ()))
