"""The figures of one run that a comparison sets side by side, each with its unit and its source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from emrctl.compare.records import RunRecord
from emrctl.metrics.model import RunMetrics
from emrctl.metrics.timeline import core_seconds, peak_cores

MAX_RESULT_FIGURES = 24


@dataclass(frozen=True)
class Figure:
    """A number that a run has; `unit` is one of s, B, MB·s, vcore·s, %, USD, x or empty."""

    key: str
    label: str
    unit: str
    of: Callable[[RunRecord], float | None]


def busy_percent(run: RunMetrics) -> float | None:
    """Share of the executors' core time in which tasks ran: task time / (cores x lifetime)."""
    held = core_seconds(run)
    return 100 * run.task_time_ms / 1000 / held if held else None


def imbalance(run: RunMetrics) -> float | None:
    """Most tasks on one executor over the mean: 1 is even, the executor count is one for all."""
    done = [row.complete_tasks for row in run.busy_rows]
    total = sum(done)
    return max(done) * len(done) / total if total else None


def containers(run: RunMetrics) -> int | None:
    """YARN containers over the run: YARN's count, else executors and the application master."""
    if run.yarn is None:
        return None
    if run.yarn.containers is not None:
        return run.yarn.containers
    return 1 + sum(not row.is_driver for row in run.executors)


def _gc_percent(run: RunMetrics) -> float | None:
    whole = run.executor_run_time_ms
    return 100 * run.jvm_gc_time_ms / whole if whole else None


def _of(take: Callable[[RunMetrics], float | None]) -> Callable[[RunRecord], float | None]:
    return lambda record: None if record.metrics is None else take(record.metrics)


def _yarn(name: str) -> Callable[[RunRecord], float | None]:
    def take(run: RunMetrics) -> float | None:
        value: float | None = None if run.yarn is None else getattr(run.yarn, name)
        return value

    return _of(take)


def _app_s(run: RunMetrics) -> float | None:
    return None if run.duration_ms is None else run.duration_ms / 1000


FIGURES: tuple[Figure, ...] = (
    Figure("duration_s", "duration", "s", lambda record: record.duration_s),
    Figure("published_s", "published duration", "s", lambda record: record.published_s),
    Figure("application_s", "Spark application", "s", _of(_app_s)),
    Figure("executors", "executors (peak)", "", _of(lambda run: run.peak_executors)),
    Figure("cores", "executor cores (peak)", "", _of(peak_cores)),
    Figure("tasks", "tasks succeeded", "", _of(lambda run: run.tasks_ok)),
    Figure("failed_tasks", "tasks failed", "", _of(lambda run: run.tasks_failed)),
    Figure("task_time_s", "task time", "s", _of(lambda run: run.task_time_ms / 1000)),
    Figure("gc_time_s", "GC time", "s", _of(lambda run: run.jvm_gc_time_ms / 1000)),
    Figure("gc_percent", "GC, of executor run time", "%", _of(_gc_percent)),
    Figure("busy_percent", "executor cores busy", "%", _of(busy_percent)),
    Figure("imbalance", "most tasks on one executor / mean", "x", _of(imbalance)),
    Figure("input_bytes", "input", "B", _of(lambda run: run.input_bytes)),
    Figure("output_bytes", "output", "B", _of(lambda run: run.output_bytes)),
    Figure("shuffle_read_bytes", "shuffle read", "B", _of(lambda run: run.shuffle_read_bytes)),
    Figure("shuffle_write_bytes", "shuffle write", "B", _of(lambda run: run.shuffle_write_bytes)),
    Figure(
        "memory_spilled_bytes", "spilled, in memory", "B", _of(lambda r: r.memory_spilled_bytes)
    ),
    Figure("disk_spilled_bytes", "spilled, on disk", "B", _of(lambda run: run.disk_spilled_bytes)),
    Figure("yarn_memory_mb_s", "YARN memory", "MB·s", _yarn("memory_mb_seconds")),
    Figure(
        "yarn_vcore_s",
        "YARN vcores (1 per container by memory scheduling: no CPU use)",
        "vcore·s",
        _yarn("vcore_seconds"),
    ),
    Figure("yarn_containers", "YARN containers", "", _of(containers)),
    Figure("cost_usd", "cost on AWS (estimated)", "USD", lambda record: record.cost_usd),
)


def result_figures(records: tuple[RunRecord, ...]) -> tuple[Figure, ...]:
    """The numbers that the jobs themselves reported, by dotted name, in the order of appearance.

    Only what differs between the runs, and accuracies always: that they are equal is an answer.
    """
    values: dict[str, list[float | None]] = {}
    reported = [dict(_numbers(record.result or {})) for record in records]
    for numbers in reported:
        values |= {name: [other.get(name) for other in reported] for name in numbers}
    shown = [name for name, seen in values.items() if "accuracy" in name or len(set(seen)) > 1]
    return tuple(_result_figure(name) for name in shown[:MAX_RESULT_FIGURES])


def has_result(record: RunRecord, name: str) -> bool:
    """Whether the run's job reported a number of that dotted name."""
    return any(name == key for key, _ in _numbers(record.result or {}))


def _result_figure(name: str) -> Figure:
    return Figure(
        f"result.{name}", name, "", lambda record: dict(_numbers(record.result or {})).get(name)
    )


def _numbers(document: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in document.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{name}", value
