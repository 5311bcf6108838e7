"""What a run held and used over its time: moments, cores and work, from its record."""

from __future__ import annotations

from collections.abc import Iterable

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


def cores_within(run: RunMetrics, span: Span) -> float:
    """Executor cores that were there in `span`, on average over it."""
    length = span[1] - span[0]
    if length <= 0:
        return 0.0
    spans = ((row.cores, span_of(row, run)) for row in run.busy_rows)
    return sum(cores * overlap(span, own) for cores, own in spans if own is not None) / length


def work_ms_within(run: RunMetrics, span: Span) -> float:
    """Task time in `span`, as if each stage's were spread evenly over the stage."""
    found = 0.0
    for stage in run.stages:
        own = working(stage)
        if own is not None and own[1] > own[0]:
            found += stage.task_time_ms * overlap(span, own) / (own[1] - own[0])
    return found


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
