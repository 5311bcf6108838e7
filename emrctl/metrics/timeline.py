"""What a run held and used over its time: moments, cores and work, from its record."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate, pairwise

from emrctl.metrics.model import ExecutorMetrics, RunMetrics, StageMetrics

Span = tuple[int, int]


def last_known_ms(run: RunMetrics) -> int | None:
    """The application's end; where it is not known, the last moment that the log tells of."""
    if run.end_ms is not None:
        return run.end_ms
    moments = [stage.completed_ms for stage in run.stages if stage.completed_ms is not None]
    moments += [row.removed_ms for row in run.executors if row.removed_ms is not None]
    return max(moments, default=None)


def span_of(row: ExecutorMetrics, run: RunMetrics) -> Span | None:
    """From the executor's coming to its going, or to the last that is known."""
    last = row.removed_ms if row.removed_ms is not None else last_known_ms(run)
    if row.added_ms is None or last is None:
        return None
    return row.added_ms, max(row.added_ms, last)


def lifetime_s(row: ExecutorMetrics, run: RunMetrics) -> float:
    """Seconds that the executor was there."""
    span = span_of(row, run)
    return 0.0 if span is None else (span[1] - span[0]) / 1000


def core_seconds(run: RunMetrics) -> float:
    """Cores x lifetime over the executors: what the run held, used or not."""
    return sum(row.cores * lifetime_s(row, run) for row in run.busy_rows)


def peak_cores(run: RunMetrics) -> int:
    """Most executor cores alive at one time."""
    changes = []
    for row in run.busy_rows:
        changes.append((row.added_ms or 0, row.cores))
        if row.removed_ms is not None:
            changes.append((row.removed_ms, -row.cores))
    alive = peak = 0
    for _, change in sorted(changes):
        alive += change
        peak = max(peak, alive)
    return peak


class Area:
    """What pieces of time hold, each as high as it says, summed over any span in little time."""

    def __init__(self, pieces: Iterable[tuple[Span, float]]) -> None:
        steps: dict[int, float] = {}
        for (begin, end), height in pieces:
            steps[begin] = steps.get(begin, 0.0) + height
            steps[end] = steps.get(end, 0.0) - height
        self._times = sorted(steps)
        self._heights = list(accumulate(steps[at] for at in self._times))
        widths = (later - at for at, later in pairwise(self._times))
        areas = (width * height for width, height in zip(widths, self._heights, strict=False))
        self._areas = [0.0, *accumulate(areas)]

    def within(self, span: Span) -> float:
        """Height x milliseconds in `span`."""
        return self._until(span[1]) - self._until(span[0]) if span[1] > span[0] else 0.0

    def _until(self, moment: int) -> float:
        at = bisect_right(self._times, moment) - 1
        if at < 0:
            return 0.0
        return self._areas[at] + (moment - self._times[at]) * self._heights[at]


def cores_held(run: RunMetrics) -> Area:
    """Executor cores that were there, over the time."""
    spans = ((span_of(row, run), row.cores) for row in run.busy_rows)
    return Area((span, cores) for span, cores in spans if span is not None)


def work_done(run: RunMetrics) -> Area:
    """Tasks at work over the time, as if each stage's were spread evenly over it."""
    spans = ((working(stage), stage.task_time_ms) for stage in run.stages)
    return Area(
        (span, work / (span[1] - span[0]))
        for span, work in spans
        if span is not None and span[1] > span[0]
    )


def working(stage: StageMetrics) -> Span | None:
    """From the stage's first task to its end; None of one that had no task or has no end."""
    begin = stage.first_task_ms
    if begin is None or stage.completed_ms is None:
        return None
    return begin, max(begin, stage.completed_ms)


def overlap(one: Span, other: Span) -> int:
    """Milliseconds that both have."""
    return max(0, min(one[1], other[1]) - max(one[0], other[0]))


def merged(spans: Iterable[Span]) -> list[Span]:
    """The same time without overlaps, in order."""
    found: list[Span] = []
    for begin, end in sorted(spans):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((begin, end))
    return found
