"""Runs with stages, for tests of comparisons."""

from __future__ import annotations

from typing import Any

from emrctl.metrics.model import Quantiles, RunMetrics, StageMetrics


def stage(id_: int, begin_s: float, end_s: float, name: str = "", **figures: Any) -> StageMetrics:
    """Return a complete stage whose first task starts at its submission."""
    times = {
        "submitted_ms": int(begin_s * 1000),
        "first_task_ms": int(begin_s * 1000),
        "completed_ms": int(end_s * 1000),
    }
    ran_ms = figures.pop("task_time_ms", int((end_s - begin_s) * 1000))
    work = {"task_time_ms": ran_ms, "executor_run_time_ms": ran_ms}
    defaults = {"status": "COMPLETE", "tasks": 8, "tasks_ok": 8, "job": id_}
    values: dict[str, Any] = {**times, **work, **defaults, **figures}
    return StageMetrics(id=id_, name=name or f"stage {chr(97 + id_)}", **values)


def run(*stages: StageMetrics, end_s: float = 100.0, app: str = "app") -> RunMetrics:
    """Return an application that started at 0 s."""
    return RunMetrics(app_id=app, start_ms=0, end_ms=int(end_s * 1000), stages=stages)


def spread(median_ms: int, max_ms: int) -> Quantiles:
    """Return quantiles of task durations."""
    return Quantiles(min=1, p25=median_ms, median=median_ms, p75=median_ms, max=max_ms)
