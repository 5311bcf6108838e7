"""Hand-made records for the tests of rules."""

from __future__ import annotations

from typing import Any

from emrctl.metrics.findings import Finding, diagnose
from emrctl.metrics.model import (
    ExecutorMetrics,
    Quantiles,
    RunMetrics,
    StageMetrics,
    Straggler,
)

MB = 2**20


def even(value: int) -> Quantiles:
    return Quantiles(min=value, p25=value, median=value, p75=value, max=value)


def stage(number: int = 0, **more: Any) -> StageMetrics:
    """Return a stage of 40 tasks of 2 s that kept 8 cores busy for 10 s."""
    fields: dict[str, Any] = {
        "id": number,
        "status": "COMPLETE",
        "name": "count at job.py:1",
        "submitted_ms": 10_000,
        "first_task_ms": 10_000,
        "completed_ms": 20_000,
        "tasks": 40,
        "tasks_ok": 40,
        "task_time_ms": 80_000,
        "executor_run_time_ms": 78_000,
        "duration_ms_quantiles": even(2_000),
    }
    return StageMetrics(**(fields | more))


def worker(name: str, **more: Any) -> ExecutorMetrics:
    fields: dict[str, Any] = {
        "host": f"h{name}",
        "cores": 4,
        "added_ms": 0,
        "task_time_ms": 40_000,
        "complete_tasks": 20,
    }
    return ExecutorMetrics(id=name, **(fields | more))


def run(*stages: StageMetrics, **more: Any) -> RunMetrics:
    """Return a run of 30 s on two executors with four cores."""
    given = stages or (stage(),)
    fields: dict[str, Any] = {
        "start_ms": 0,
        "end_ms": 22_000,
        "duration_ms": 22_000,
        "complete": True,
        "stages": given,
        "executors": (worker("1"), worker("2")),
        "peak_executors": 2,
        "tasks_ok": sum(item.tasks_ok for item in given),
        "executor_run_time_ms": sum(item.executor_run_time_ms for item in given),
        "spark_version": "3.5.6",
    }
    return RunMetrics(**(fields | more))


def only(found: tuple[Finding, ...], kind: str) -> Finding:
    [item] = [item for item in found if item.kind == kind]
    return item


def kinds(record: RunMetrics) -> set[str]:
    return {item.kind for item in diagnose(record)}


def slow(**more: Any) -> StageMetrics:
    """Return a stage that waits 8 s for one task, or for the given tasks."""
    tasks = more.pop("tasks_slow", None) or (Straggler(task=9, executor="1", **more.pop("of", {})),)
    times = Quantiles(min=900, p25=1_000, median=1_000, p75=1_000, max=9_000)
    return stage(
        completed_ms=19_000,
        task_time_ms=30_000,
        duration_ms_quantiles=times,
        stragglers=tasks,
        **more,
    )


LONG = {"duration_ms": 9_000, "run_time_ms": 8_900}
