"""The figures of a run that a comparison contains, each with its unit and source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from emrctl.compare.records import RunRecord
from emrctl.metrics.model import RunMetrics
from emrctl.metrics.task_figures import FIGURES as TASK_FIGURES
from emrctl.metrics.task_figures import TaskFigure
from emrctl.metrics.timeline import core_seconds, peak_cores

MAX_RESULT_FIGURES = 24
RESULT_PREFIX = "result."


@dataclass(frozen=True)
class Figure:
    """A number of each run; `unit` is s, B, MB·s, vcore·s, %, USD, x or empty."""

    key: str
    label: str
    unit: str
    of: Callable[[RunRecord], float | None]


def busy_percent(run: RunMetrics) -> float | None:
    """Return task time divided by the executors' cores x lifetime, in percent."""
    available_s = core_seconds(run)
    return 100 * run.task_time_ms / 1000 / available_s if available_s else None


def imbalance(run: RunMetrics) -> float | None:
    """Return the maximum of completed tasks per executor divided by their mean; 1 is even."""
    counts = [row.complete_tasks for row in run.busy_rows]
    total = sum(counts)
    return max(counts) * len(counts) / total if total else None


def containers(run: RunMetrics) -> int | None:
    """Return the number of YARN containers; estimated from executors if YARN has no count."""
    if run.yarn is None:
        return None
    if run.yarn.containers is not None:
        return run.yarn.containers
    return 1 + sum(not row.is_driver for row in run.executors)


def _gc_percent(run: RunMetrics) -> float | None:
    total_ms = run.executor_run_time_ms
    return 100 * run.jvm_gc_time_ms / total_ms if total_ms else None


def _application_s(run: RunMetrics) -> float | None:
    return None if run.duration_ms is None else run.duration_ms / 1000


def _of_metrics(get: Callable[[RunMetrics], float | None]) -> Callable[[RunRecord], float | None]:
    return lambda record: None if record.metrics is None else get(record.metrics)


def _of_yarn(name: str) -> Callable[[RunRecord], float | None]:
    def get(run: RunMetrics) -> float | None:
        value: float | None = None if run.yarn is None else getattr(run.yarn, name)
        return value

    return _of_metrics(get)


def _from_task_figure(figure: TaskFigure) -> Figure:
    if figure.name.endswith("_ms"):
        seconds = _of_metrics(lambda run: getattr(run, figure.name) / 1000)
        return Figure(figure.compared, figure.label, "s", seconds)
    value = _of_metrics(lambda run: getattr(run, figure.name))
    return Figure(figure.compared, figure.label, "B", value)


_TASK_FIGURES = [_from_task_figure(figure) for figure in TASK_FIGURES if figure.compared]
FIGURES: tuple[Figure, ...] = (
    Figure("duration_s", "duration", "s", lambda record: record.duration_s),
    Figure("published_s", "published duration", "s", lambda record: record.published_s),
    Figure("application_s", "Spark application", "s", _of_metrics(_application_s)),
    Figure("executors", "executors (peak)", "", _of_metrics(lambda run: run.peak_executors)),
    Figure("cores", "executor cores (peak)", "", _of_metrics(peak_cores)),
    Figure("tasks", "tasks succeeded", "", _of_metrics(lambda run: run.tasks_ok)),
    Figure("failed_tasks", "tasks failed", "", _of_metrics(lambda run: run.tasks_failed)),
    Figure("task_time_s", "task time", "s", _of_metrics(lambda run: run.task_time_ms / 1000)),
    *(figure for figure in _TASK_FIGURES if figure.unit == "s"),
    Figure("gc_percent", "GC time / executor run time", "%", _of_metrics(_gc_percent)),
    Figure("busy_percent", "executor cores busy", "%", _of_metrics(busy_percent)),
    Figure("imbalance", "most tasks on one executor / mean", "x", _of_metrics(imbalance)),
    *(figure for figure in _TASK_FIGURES if figure.unit == "B"),
    Figure("yarn_memory_mb_s", "YARN memory", "MB·s", _of_yarn("memory_mb_seconds")),
    Figure(
        "yarn_vcore_s",
        "YARN vcores (1 per container with memory scheduling: no CPU use)",
        "vcore·s",
        _of_yarn("vcore_seconds"),
    ),
    Figure("yarn_containers", "YARN containers", "", _of_metrics(containers)),
    Figure("cost_usd", "cost on AWS (estimated)", "USD", lambda record: record.cost_usd),
)


def result_figures(records: tuple[RunRecord, ...]) -> tuple[Figure, ...]:
    """Return the numbers that differ between the jobs' results, by dotted name.

    Accuracies are included even if equal.
    """
    values: dict[str, list[float | None]] = {}
    results = [dict(_numbers(record.result or {})) for record in records]
    for numbers in results:
        values |= {name: [other.get(name) for other in results] for name in numbers}
    names = [name for name, row in values.items() if "accuracy" in name or len(set(row)) > 1]
    return tuple(_result_figure(name) for name in names[:MAX_RESULT_FIGURES])


def has_result(record: RunRecord, name: str) -> bool:
    """Return whether the result of the run's job has a number with that dotted name."""
    return any(name == key for key, _ in _numbers(record.result or {}))


def _result_figure(name: str) -> Figure:
    return Figure(
        RESULT_PREFIX + name,
        name,
        "",
        lambda record: dict(_numbers(record.result or {})).get(name),
    )


def _numbers(document: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in document.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{name}", value
