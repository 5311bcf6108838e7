"""Tasks that share the cores of one host: how long they wait, in a log and in a replay.

A task computes first, then it only waits: for its own sleep, its disk or its network. All tasks
that compute have equal shares of the cores (processor sharing).
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from emrctl.predict.overheads import ObservedTask, Overheads

T = TypeVar("T")
# CPU time of a task besides its function: Spark's, and that of a Python worker.
_PYTHON_CPU_S, _JVM_CPU_S = 0.08, 0.01
# Waiting times and the tasks that overlap depend on each other: repeated this often.
_ROUNDS = 4
_MAX_SHARE = 0.9
_SAME_S = 1e-6


class SharedCores(Generic[T]):
    """Cores that all tasks in their computing phase share; times in seconds.

    `start` and `finished` are called with times that never decrease, `finished` at each `next_s`.
    """

    def __init__(self, cores: float) -> None:
        self._cores = cores
        self._computing: list[tuple[float, int, T]] = []
        self._numbers = itertools.count()
        self._now_s = 0.0
        # CPU time that each task of the whole period has got.
        self._share_s = 0.0

    def start(self, now_s: float, cpu_s: float, task: T) -> None:
        """Let a task compute for `cpu_s` of CPU time."""
        self._advance(now_s)
        heapq.heappush(self._computing, (self._share_s + cpu_s, next(self._numbers), task))

    def next_s(self) -> float | None:
        """Return when the next task has its CPU time if no other starts; None without tasks."""
        if not self._computing:
            return None
        missing_s = max(self._computing[0][0] - self._share_s, 0.0)
        return self._now_s + missing_s / self._rate()

    def finished(self, now_s: float) -> Iterator[T]:
        """Remove and yield the tasks that have their CPU time."""
        self._advance(now_s)
        while self._computing and self._computing[0][0] <= self._share_s + _SAME_S:
            yield heapq.heappop(self._computing)[2]

    def _rate(self) -> float:
        return min(self._cores / len(self._computing), 1.0)

    def _advance(self, now_s: float) -> None:
        if self._computing:
            self._share_s += (now_s - self._now_s) * self._rate()
        self._now_s = now_s


class Demand(NamedTuple):
    """CPU time of the tasks of a stage: of each, and as a share of the rest of their time."""

    task_s: float = 0.0
    share: float = 0.0

    def of(self, duration_s: float) -> float:
        """Return the CPU time of a task that takes so long."""
        return min(self.task_s + self.share * max(duration_s - self.task_s, 0.0), duration_s)


def demand(tasks: Sequence[ObservedTask], *, python: bool) -> Demand:
    """Return the demand of the tasks of one stage, the additional time of first tasks left out.

    The CPU time in the log is that of the JVM: what a Python function computes is not in it.
    """
    task_s = _PYTHON_CPU_S if python else _JVM_CPU_S
    warm = [task for task in tasks if not task.first_on_executor] or tasks
    run_s = sum(task.run_s for task in warm)
    cpu_s = sum(min(task.run_cpu_s, task.run_s) for task in warm)
    return Demand(task_s, cpu_s / run_s if run_s > 0 else 0.0)


def remove_waits(
    stages: Sequence[tuple[Sequence[ObservedTask], Demand]],
    fitted: Overheads,
    cores: float,
    launches: Sequence[tuple[float, float]] = (),
) -> None:
    """Set `waited_s` of each task: the time that it waited for a core of its host.

    What first tasks take longer is counted as CPU time. `fitted` is from times with their waits.
    `launches` are the starts of executors beside the tasks: when, and their CPU time.
    """
    of_task = {task: need for tasks, need in stages for task in tasks}
    first_s = {task: sum(fitted.split(task)) for task in of_task}
    phases = {task: _Phase(task.launched_s) for task in of_task}
    others = [_Phase(at_s, cpu_s) for at_s, cpu_s in launches]
    for _ in range(_ROUNDS):
        for task, phase in phases.items():
            warm_s = (task.duration_s - first_s[task]) / phase.factor
            phase.cpu_s = of_task[task].of(warm_s) + first_s[task] / phase.factor
        _share_cores([*phases.values(), *others], cores)
    for task, phase in phases.items():
        wait_s = phase.cpu_s * (phase.factor - 1)
        task.wait(min(wait_s, _MAX_SHARE * task.duration_s), phase.factor)


@dataclass(eq=False, slots=True)
class _Phase:
    """A phase of computing in a log; it takes `factor` times as long as on a core of its own."""

    at_s: float
    cpu_s: float = 0.0
    factor: float = 1.0


def _share_cores(phases: Sequence[_Phase], cores: float) -> None:
    """Set the factor of each phase."""
    ordered = sorted(phases, key=lambda phase: phase.at_s)
    host, origin_s = SharedCores[_Phase](cores), ordered[0].at_s

    def finish(until_s: float) -> None:
        while (at_s := host.next_s()) is not None and at_s <= until_s:
            for phase in host.finished(at_s):
                took_s = at_s + origin_s - phase.at_s
                phase.factor = max(took_s / max(phase.cpu_s, _SAME_S), 1.0)

    for phase in ordered:
        finish(phase.at_s - origin_s)
        host.start(phase.at_s - origin_s, phase.cpu_s, phase)
    finish(math.inf)
