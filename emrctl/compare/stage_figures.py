"""Figures of a stage over all its attempts, and its share of the application's duration.

The time of an application is divided completely: time in which tasks run is shared equally by the
stages that run them, time in which stages only wait for their first task by those stages, and the
rest is the driver's. Differences of stages therefore add up to that of the applications.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from emrctl.compare import alignment
from emrctl.compare.alignment import Stage
from emrctl.metrics.model import RunMetrics
from emrctl.metrics.timeline import Span, last_known_ms, working

_SKEW_LEAST_TASKS = 4


@dataclass(frozen=True, kw_only=True)
class StageFigures:
    """Figures of one stage with all its attempts: means over the repeats that ran it.

    `seconds` is its share of the application's duration, of which it waited `delay_s` for its
    first task. The other times are sums over tasks: `overhead_s` is scheduling, deserialisation
    and sending results, `lost_s` that of failed and killed tasks. `skew` is the longest task
    divided by the median, NaN for fewer than 4 tasks.
    """

    seconds: float
    delay_s: float
    task_time_s: float
    gc_s: float
    fetch_wait_s: float
    overhead_s: float
    lost_s: float
    tasks: float
    attempts: float
    skew: float
    spill_bytes: float
    input_bytes: float
    shuffle_read_bytes: float
    shuffle_write_bytes: float
    output_bytes: float

    @property
    def parallel(self) -> float:
        """Mean number of tasks at once in the stage's share of the time."""
        running_s = self.seconds - self.delay_s
        return self.task_time_s / running_s if running_s > 0 else 0.0


def span(run: RunMetrics) -> Span | None:
    """Return start and end of the application; None if one is not known."""
    end = last_known_ms(run)
    return None if run.start_ms is None or end is None else (run.start_ms, max(run.start_ms, end))


def duration_s(run: RunMetrics) -> float:
    """Return the duration of the application, 0 if it is not known."""
    begin, end = span(run) or (0, 0)
    return (end - begin) / 1000


class Clock:
    """Divides the duration of an application among its stages and the driver."""

    def __init__(self, run: RunMetrics) -> None:
        self.span = span(run) or (0, 0)
        steps: dict[int, list[int]] = {self.span[0]: [0, 0], self.span[1]: [0, 0]}
        for stage in alignment.stages(run):
            for waiting, busy in self.spans(stage):
                for at, (begin, end) in enumerate((waiting, busy)):
                    steps.setdefault(begin, [0, 0])[at] += 1
                    steps.setdefault(end, [0, 0])[at] -= 1
        self._times = sorted(steps)
        waiting_counts = list(accumulate(steps[at][0] for at in self._times))
        busy_counts = list(accumulate(steps[at][1] for at in self._times))
        widths = [later - at for at, later in pairwise(self._times)]
        states = list(zip(widths, waiting_counts, busy_counts, strict=False))
        self._busy = _running(width / busy if busy else 0.0 for width, _, busy in states)
        self._waiting = _running(
            width / waiting if waiting and not busy else 0.0 for width, waiting, busy in states
        )
        self.driver_s = sum(width for width, waiting, busy in states if not waiting + busy) / 1000

    def spans(self, stage: Stage) -> Iterable[tuple[Span, Span]]:
        """Yield the time before the first task, and that from the first task, of each attempt."""
        for attempt in stage.attempts:
            end = self.span[1] if attempt.completed_ms is None else attempt.completed_ms
            busy = working(attempt) or (attempt.first_task_ms or end, end)
            begin = busy[0] if attempt.submitted_ms is None else attempt.submitted_ms
            times = [min(max(at, self.span[0]), self.span[1]) for at in (begin, *busy)]
            times = list(accumulate(times, max))
            yield (times[0], times[1]), (times[1], times[2])

    def seconds(self, stage: Stage) -> tuple[float, float]:
        """Return the seconds that the stage waited for its first task, and those that it ran."""
        pairs = list(self.spans(stage))
        waited = sum(self._within(self._waiting, waiting) for waiting, _ in pairs)
        return waited / 1000, sum(self._within(self._busy, busy) for _, busy in pairs) / 1000

    def _within(self, integral: Sequence[float], span: Span) -> float:
        begin, end = (bisect_right(self._times, at) - 1 for at in span)
        return integral[end] - integral[begin]


def _running(values: Iterable[float]) -> list[float]:
    return [0.0, *accumulate(values)]


def stage_figures(stage: Stage, clock: Clock) -> StageFigures:
    """Return the figures of a stage in the run of `clock`."""
    delay_s, running_s = clock.seconds(stage)

    def total(name: str) -> float:
        return float(sum(getattr(attempt, name) for attempt in stage.attempts))

    run_time_s = total("executor_run_time_ms") / 1000
    task_time_s = total("task_time_ms") / 1000
    return StageFigures(
        seconds=delay_s + running_s,
        delay_s=delay_s,
        task_time_s=task_time_s,
        gc_s=total("jvm_gc_time_ms") / 1000,
        fetch_wait_s=total("fetch_wait_time_ms") / 1000,
        # A source without run times has no overhead either.
        overhead_s=max(0.0, task_time_s - run_time_s) if run_time_s else 0.0,
        lost_s=(total("failed_time_ms") + total("killed_time_ms")) / 1000,
        tasks=stage.tasks,
        attempts=len(stage.attempts),
        skew=_skew(stage),
        spill_bytes=total("disk_spilled_bytes"),
        input_bytes=total("input_bytes"),
        shuffle_read_bytes=total("shuffle_read_bytes"),
        shuffle_write_bytes=total("shuffle_write_bytes"),
        output_bytes=total("output_bytes"),
    )


def _skew(stage: Stage) -> float:
    last = max(stage.attempts, key=lambda attempt: attempt.tasks_ok)
    spread = last.duration_ms_quantiles
    if spread is None or last.tasks_ok < _SKEW_LEAST_TASKS or not spread.median:
        return math.nan
    return spread.max / spread.median
