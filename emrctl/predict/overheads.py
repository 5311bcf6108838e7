"""Times that depend on the number of executors: first tasks of executors and stages, free slots.

The first tasks of an executor load classes and start Python; the first tasks of a stage on an
executor fetch its code. More executors have more first tasks. Both effects are estimated from
the difference to the other tasks of the same stages, and from what is usual.
"""

from __future__ import annotations

import bisect
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median, variance
from typing import NamedTuple

_MAX_SHARE = 0.9
# A single first task that runs even longer than the others has more data.
_LARGEST_OF_ONE_S = 3.0
# Standard error of a difference to a single task, as a share.
_LEAST_ERROR = 0.3
# An executor's first task takes this multiple of its CPU time to load classes if it has a core:
# class files are read, and other threads compile.
_USUAL_LOAD_RATIO = 1.6
# From this number of values on, the median deviation is used; of a normal distribution the
# standard deviation is this multiple of it.
_ROBUST, _SD_PER_MAD = 5, 1.4826
# Scheduling and deserialization of a warm task, where the log has none.
_USUAL_OVERHEAD_S = 0.02


@dataclass(eq=False, slots=True)
class ObservedTask:
    """One task attempt; times in seconds since 1970.

    `waited_s` is the part of its time in which it waited for a core of its host, if known.
    """

    stage: tuple[int, int]
    index: int
    executor: str
    launched_s: float
    finished_s: float
    run_s: float
    deserialize_s: float = 0.0
    deserialize_cpu_s: float = 0.0
    run_cpu_s: float = 0.0
    waited_s: float = 0.0
    succeeded: bool = True
    speculative: bool = False
    writes_shuffle: bool = False
    first_on_executor: bool = field(default=False)
    first_of_stage: bool = field(default=False)

    @property
    def duration_s(self) -> float:
        """Time from launch to finish, without waits for a core."""
        return max(self.finished_s - self.launched_s - self.waited_s, 0.0)

    @property
    def overhead_s(self) -> float:
        """Time besides the run time: scheduling, deserialization, fetching the result."""
        return max(self.duration_s - self.run_s, 0.0)

    def wait(self, waited_s: float, factor: float) -> None:
        """Take so much of its time as a wait for a core; what Spark itself did took `factor`."""
        overhead_s = self.overhead_s / factor
        self.waited_s += waited_s
        self.run_s = max(self.duration_s - overhead_s, 0.0)


class _RunPrior(NamedTuple):
    """Expected additional run time as a multiple of the additional overhead, and its spread.

    From first tasks of recorded jobs on local clusters: starting Python takes longer than loading
    the classes of Spark.
    """

    multiple: float
    spread: float
    least_s: float

    def of(self, overhead_s: float) -> tuple[float, float]:
        """Return the expected time and its standard deviation."""
        return self.multiple * overhead_s, max(self.spread * overhead_s, self.least_s)


_PYTHON, _JVM = _RunPrior(1.5, 1.0, 0.1), _RunPrior(0.4, 0.4, 0.1)
# The first task of a stage on an executor fetches its code; the first that writes a shuffle loads
# more classes, in the run time.
_STAGE_PRIOR, _SHUFFLE_PRIOR = _RunPrior(0.5, 1.0, 0.02), _RunPrior(4.0, 2.0, 0.05)


@dataclass(frozen=True)
class Overheads:
    """Additional time of the first tasks on an executor and of a stage, and between two tasks.

    `stages_s` is the second by stage, where it was observed, `stage_s` is for the other stages.
    `between_s` is the time from the finish of a task to the launch of the next one in its slot. It
    may be negative: the driver fills a slot before it has processed the result. `executor_error_s`
    is the standard error of `executor_s`. `slowdown` is how much longer first tasks took to load
    classes than on a core of their own, at least 1: executors that start together on a host share
    its cores.
    """

    executor_s: float = 0.0
    stage_s: float = 0.0
    stages_s: Mapping[tuple[int, int], float] = field(default_factory=dict)
    between_s: float = 0.0
    executor_error_s: float = 0.0
    slowdown: float = 1.0

    def of_stage(self, stage: tuple[int, int]) -> float:
        """Return the additional time of the first tasks of a stage on an executor."""
        return self.stages_s.get(stage, self.stage_s)

    def split(self, task: ObservedTask) -> tuple[float, float]:
        """Return the additional time in an observed task: of the executor, and of the stage."""
        executor_s = self.executor_s if task.first_on_executor else 0.0
        stage_s = self.of_stage(task.stage) if task.first_of_stage else 0.0
        share = min(_MAX_SHARE * task.duration_s / ((executor_s + stage_s) or 1.0), 1.0)
        return share * executor_s, share * stage_s

    def as_first(self, task: ObservedTask, usual_s: tuple[float, float]) -> tuple[float, float]:
        """Return the additional times of a task as a first one: its own, or else the usual ones."""
        own_s = self.split(task)
        return (
            own_s[0] if task.first_on_executor else usual_s[0],
            own_s[1] if task.first_of_stage else usual_s[1],
        )


def fit(tasks: Sequence[ObservedTask], slots: int, *, python: bool) -> Overheads:
    """Mark first tasks in `tasks`, and estimate the overheads.

    `slots` is per executor; `python` means that tasks may start Python.
    """
    by_executor: defaultdict[str, list[ObservedTask]] = defaultdict(list)
    for task in sorted(tasks, key=lambda task: task.launched_s):
        by_executor[task.executor].append(task)
    for group in by_executor.values():
        _mark_first(group, slots)
    done = [task for task in tasks if task.succeeded]
    warm = [task for task in done if not task.first_on_executor]
    stage_s, _ = _effect(warm, "first_of_stage", _STAGE_PRIOR)
    executor_s, error_s = _effect(done, "first_on_executor", _PYTHON if python else _JVM)
    gaps = [gap for group in by_executor.values() for gap in _gaps(group, slots)]
    return Overheads(
        executor_s=max(executor_s - stage_s, 0.0),
        stage_s=max(stage_s, 0.0),
        stages_s={
            stage: max(_effect(group, "first_of_stage", _stage_prior(group))[0], 0.0)
            for stage, group in _by_stage(warm).items()
            if len({task.first_of_stage for task in group}) == 2
        },
        between_s=median(gaps) if gaps else 0.0,
        executor_error_s=error_s,
        slowdown=_slowdown(task for task in done if task.first_on_executor),
    )


def _stage_prior(tasks: Iterable[ObservedTask]) -> _RunPrior:
    return _SHUFFLE_PRIOR if any(task.writes_shuffle for task in tasks) else _STAGE_PRIOR


def _slowdown(first_tasks: Iterable[ObservedTask]) -> float:
    ratios = [
        task.deserialize_s / task.deserialize_cpu_s
        for task in first_tasks
        if task.deserialize_cpu_s > 0
    ]
    return max(median(ratios) / _USUAL_LOAD_RATIO, 1.0) if ratios else 1.0


def _mark_first(tasks: Sequence[ObservedTask], slots: int) -> None:
    """Mark the tasks that were launched before any other had finished: on the executor, of a stage.

    `tasks` are those of one executor by launch. At most `slots` are first ones: the next launch is
    often logged before the finish that made room for it.
    """
    first_finish_s = min(task.finished_s for task in tasks)
    for task in tasks[:slots]:
        task.first_on_executor = task.launched_s < first_finish_s
    for group in _by_stage(tasks).values():
        finish_s = min(task.finished_s for task in group)
        for task in group[:slots]:
            task.first_of_stage = task.launched_s < finish_s


def _effect(tasks: Sequence[ObservedTask], flag: str, prior: _RunPrior) -> tuple[float, float]:
    """Return how much longer the tasks with `flag` take than others, and its standard error.

    The difference of the overheads within stages, plus that of the run times. Run times also differ
    by their data: their difference is combined with `prior`.
    """
    groups = [_split(group, flag) for group in _by_stage(tasks).values()]
    both = [(first, rest) for first, rest in groups if first and rest]
    if not both:  # stages of first tasks only: compare with other stages
        first, rest = _split(tasks, flag)
        if not first:
            return 0.0, 0.0
        usual_s = median(task.overhead_s for task in rest) if rest else _USUAL_OVERHEAD_S
        overhead_s = max(median(task.overhead_s for task in first) - usual_s, 0.0)
        run_s, error_s = 0.0, math.inf
    else:
        overhead_s, _ = _difference(_columns(both, "overhead_s"))
        run_s, error_s = _difference(_columns(both, "run_s"))
        count = sum(len(first) for first, _ in both)
        error_s = max(error_s, _LEAST_ERROR * abs(run_s) / math.sqrt(count))
        if count == 1 and run_s > _LARGEST_OF_ONE_S:
            error_s = math.inf
    expected_s, spread_s = prior.of(max(overhead_s, 0.0))
    weight = spread_s**2 / (spread_s**2 + error_s**2) if error_s < math.inf else 0.0
    combined_s = expected_s + weight * (run_s - expected_s)
    return overhead_s + combined_s, spread_s * math.sqrt(1 - weight)


def _by_stage(tasks: Iterable[ObservedTask]) -> dict[tuple[int, int], list[ObservedTask]]:
    stages: defaultdict[tuple[int, int], list[ObservedTask]] = defaultdict(list)
    for task in tasks:
        stages[task.stage].append(task)
    return stages


def _split(
    tasks: Sequence[ObservedTask], flag: str
) -> tuple[list[ObservedTask], list[ObservedTask]]:
    """Return the tasks with `flag`, and the others."""
    first = [task for task in tasks if getattr(task, flag)]
    return first, [task for task in tasks if not getattr(task, flag)]


def _columns(
    groups: Sequence[tuple[list[ObservedTask], list[ObservedTask]]], name: str
) -> list[tuple[list[float], list[float]]]:
    return [
        ([getattr(t, name) for t in first], [getattr(t, name) for t in rest])
        for first, rest in groups
    ]


def _difference(groups: Sequence[tuple[list[float], list[float]]]) -> tuple[float, float]:
    """Return the mean difference of medians, weighted by size, and its standard error."""
    total, weight, squares = 0.0, 0.0, 0.0
    for first, rest in groups:
        size = 1 / (1 / len(first) + 1 / len(rest))
        total += size * (median(first) - median(rest))
        spread = _variance(rest) if len(rest) > 1 else (median(first) - rest[0]) ** 2
        squares += size * spread * (1 + 2 / len(rest)) ** 2
        weight += size
    return total / weight, (squares**0.5) / weight


def _variance(values: Sequence[float]) -> float:
    """Return the variance; of many values without regard to single long tasks."""
    if len(values) < _ROBUST:
        return variance(values)
    middle = median(values)
    return (_SD_PER_MAD * median(abs(value - middle) for value in values)) ** 2


def _gaps(tasks: Sequence[ObservedTask], slots: int) -> Iterator[float]:
    """Yield the times between a finish and the next launch within a stage, in any slot."""
    for group in _by_stage(tasks).values():
        finishes = sorted(task.finished_s for task in group)
        for finish_s, task in zip(finishes, group[slots:], strict=False):
            yield task.launched_s - finish_s


class IdleTime:
    """The time in which at least one slot was free, up to any moment."""

    def __init__(self, slots: Iterable[tuple[float, int]], tasks: Iterable[ObservedTask]) -> None:
        changes = [*slots]
        for task in tasks:
            changes += [(task.launched_s, -1), (task.finished_s, 1)]
        self._times: list[float] = []
        self._idle_s: list[float] = []
        self._free: list[int] = []
        total_s, free = 0.0, 0
        for time_s, change in sorted(changes):
            if self._times and free > 0:
                total_s += time_s - self._times[-1]
            free += change
            self._times.append(time_s)
            self._idle_s.append(total_s)
            self._free.append(free)

    def before(self, time_s: float) -> float:
        """Return the idle time before `time_s`."""
        at = bisect.bisect_right(self._times, time_s) - 1
        if at < 0:
            return 0.0
        more_s = time_s - self._times[at] if self._free[at] > 0 else 0.0
        return self._idle_s[at] + more_s
