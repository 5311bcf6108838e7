"""Executor cores and running tasks of a run over time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate, pairwise

from emrctl.aws.spark_conf import SparkConf
from emrctl.metrics.model import ExecutorMetrics, RunMetrics, StageMetrics

Span = tuple[int, int]


def last_known_ms(run: RunMetrics) -> int | None:
    """Return the end of the application; if unknown, the last known time."""
    if run.end_ms is not None:
        return run.end_ms
    times = [stage.completed_ms for stage in run.stages if stage.completed_ms is not None]
    times += [row.removed_ms for row in run.executors if row.removed_ms is not None]
    return max(times, default=None)


def span_of(row: ExecutorMetrics, run: RunMetrics) -> Span | None:
    """Return when the executor was added and removed; the last known time if it was not."""
    last = row.removed_ms if row.removed_ms is not None else last_known_ms(run)
    if row.added_ms is None or last is None:
        return None
    return row.added_ms, max(row.added_ms, last)


def lifetime_s(row: ExecutorMetrics, run: RunMetrics) -> float:
    """Return the lifetime of the executor in seconds."""
    span = span_of(row, run)
    return 0.0 if span is None else (span[1] - span[0]) / 1000


def core_seconds(run: RunMetrics) -> float:
    """Return the sum of cores x lifetime of the executors, used or not."""
    return sum(row.cores * lifetime_s(row, run) for row in run.busy_rows)


def slot_seconds(run: RunMetrics) -> float:
    """Return the sum of task slots x lifetime of the executors, used or not."""
    slots = SparkConf(run.environment).slots
    return sum(slots(row.cores) * lifetime_s(row, run) for row in run.busy_rows)


def peak_cores(run: RunMetrics) -> int:
    """Return the maximum number of executor cores at one time."""
    changes = []
    for row in run.busy_rows:
        changes.append((row.added_ms or 0, row.cores))
        if row.removed_ms is not None:
            changes.append((row.removed_ms, -row.cores))
    cores = peak = 0
    for _, change in sorted(changes):
        cores += change
        peak = max(peak, cores)
    return peak


class Area:
    """The integral over time of a sum of spans with heights."""

    def __init__(self, spans: Iterable[tuple[Span, float]]) -> None:
        steps: dict[int, float] = {}
        for (begin, end), height in spans:
            steps[begin] = steps.get(begin, 0.0) + height
            steps[end] = steps.get(end, 0.0) - height
        self._times = sorted(steps)
        self._heights = list(accumulate(steps[at] for at in self._times))
        widths = (later - at for at, later in pairwise(self._times))
        areas = (width * height for width, height in zip(widths, self._heights, strict=False))
        self._areas = [0.0, *accumulate(areas)]

    def within(self, span: Span) -> float:
        """Return height x milliseconds within `span`."""
        return self._until(span[1]) - self._until(span[0]) if span[1] > span[0] else 0.0

    def _until(self, moment: int) -> float:
        at = bisect_right(self._times, moment) - 1
        if at < 0:
            return 0.0
        return self._areas[at] + (moment - self._times[at]) * self._heights[at]


def slots_held(run: RunMetrics) -> Area:
    """Return the number of tasks that can run at once over time."""
    slots = SparkConf(run.environment).slots
    spans = ((span_of(row, run), slots(row.cores)) for row in run.busy_rows)
    return Area((span, count) for span, count in spans if span is not None)


def work_done(run: RunMetrics) -> Area:
    """Return the running tasks over time, assumed constant within each stage."""
    spans = ((working(stage), stage.task_time_ms) for stage in run.stages)
    return Area(
        (span, work / (span[1] - span[0]))
        for span, work in spans
        if span is not None and span[1] > span[0]
    )


def working(stage: StageMetrics) -> Span | None:
    """Return the span from a stage's first task to its end; None if one is unknown."""
    begin = stage.first_task_ms
    if begin is None or stage.completed_ms is None:
        return None
    return begin, max(begin, stage.completed_ms)


def overlap(one: Span, other: Span) -> int:
    """Return the milliseconds that two spans share."""
    return max(0, min(one[1], other[1]) - max(one[0], other[0]))


def merged(spans: Iterable[Span]) -> list[Span]:
    """Return the sorted union of spans."""
    union: list[Span] = []
    for begin, end in sorted(spans):
        if union and begin <= union[-1][1]:
            union[-1] = (union[-1][0], max(end, union[-1][1]))
        else:
            union.append((begin, end))
    return union
