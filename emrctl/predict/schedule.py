"""Replays a graph of work on other numbers of executors, as Spark's scheduler would run it."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from emrctl.predict.allocation import Allocation
from emrctl.predict.graph import JobWork, StageKey, StageWork, WorkGraph, union_s
from emrctl.predict.host import SharedCores
from emrctl.predict.overheads import Overheads


@dataclass(frozen=True)
class Schedule:
    """Times of a replayed application in seconds."""

    in_job_s: float
    wall_s: float
    most_executors: int


def replay(graph: WorkGraph, executors: int, cores: int) -> Schedule:
    """Return the times on that many executors of that many cores."""
    slots = max(cores // graph.task_cpus, 1)
    return _Simulation(graph, executors, slots).run()


def critical_path_s(graph: WorkGraph) -> float:
    """Return the in-job time with a slot for each task from the start, on warm executors."""
    widest = sum(len(stage.tasks_s) for stage in graph.stages.values())
    return _Simulation(_idealized(graph), 1, max(widest, 1)).run().in_job_s


def no_skew_s(graph: WorkGraph, executors: int, cores: int) -> float:
    """Return the in-job time if the work of each stage was spread evenly over all slots."""
    slots = executors * max(cores // graph.task_cpus, 1)
    even = _idealized(graph)
    for key, stage in even.stages.items():
        share_s = sum(stage.tasks_s) / slots
        even.stages[key] = replace(stage, tasks_s=[share_s] * slots)
    return _Simulation(even, 1, slots).run().in_job_s


def one_core_s(graph: WorkGraph) -> float:
    """Return the in-job time on a single slot, on a warm executor."""
    return _Simulation(_idealized(graph), 1, 1).run().in_job_s


def _idealized(graph: WorkGraph) -> WorkGraph:
    """Return the graph with executors from the start and without first tasks."""
    return replace(
        graph,
        stages={
            key: replace(stage, executor_s=0.0, stage_s=0.0, own_extra_s={})
            for key, stage in graph.stages.items()
        },
        overheads=Overheads(),
        arrivals_s=[0.0],
        allocation=None,
        host_cores=None,
    )


@dataclass(slots=True)
class _Executor:
    number: int
    free: int
    warm: bool = False
    launched: int = 0
    has_shuffle: bool = False
    removed: bool = False
    idle_since_s: float = 0.0


class _Stage:
    """State of a stage during the replay."""

    def __init__(self, work: StageWork, pool: str) -> None:
        self.work = work
        self.pool = pool
        self.order = (work.job, *work.key)
        self.waiting_for = len(work.parents)
        self.next_task = 0
        self.unfinished = len(work.tasks_s)
        self.warm_on: set[int] = set()
        self.launched_on: dict[int, int] = {}

    @property
    def pending(self) -> int:
        """Number of tasks that are not launched yet."""
        return len(self.work.tasks_s) - self.next_task


class _Simulation:
    """An event loop over the events of the driver, the executors and the tasks."""

    def __init__(self, graph: WorkGraph, executors: int, slots: int) -> None:
        self._graph = graph
        self._limit = executors
        self._slots = slots
        self._start_factor = graph.start_factor(executors)
        self._host: SharedCores[tuple[Callable[..., None], tuple[Any, ...]]] | None = None
        if graph.host_cores is not None:
            self._host = SharedCores(graph.host_cores)
        self._plans = 0
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._numbers = itertools.count()
        self._now = 0.0
        self._executors: list[_Executor] = []
        self._free: deque[_Executor] = deque()
        self._ready: list[_Stage] = []
        self._running: dict[str, int] = {}
        pools = {job.id: job.pool or "default" for job in graph.jobs}
        self._stages = {key: _Stage(work, pools[work.job]) for key, work in graph.stages.items()}
        self._children: dict[StageKey, list[StageKey]] = {key: [] for key in graph.stages}
        for key, work in graph.stages.items():
            for parent in work.parents:
                self._children[parent].append(key)
        self._waiting_jobs = sorted(graph.jobs, key=lambda job: (job.jobs_before, job.id))
        self._started: dict[int, float] = {}
        self._unfinished_stages = {job.id: len(job.stages) for job in graph.jobs}
        self._jobs = {job.id: job for job in graph.jobs}
        self._spans: list[tuple[float, float]] = []
        self._allocator = (
            _Allocator(self, graph.allocation) if graph.allocation is not None else None
        )

    # Events

    def at(self, time_s: float, action: Callable[..., None], *arguments: Any) -> None:
        """Call `action` at that time."""
        heapq.heappush(
            self._events, (max(time_s, self._now), next(self._numbers), action, arguments)
        )

    def run(self) -> Schedule:
        """Run until all jobs have completed."""
        add = self.add_executor if self._allocator is None else self._allocator.executor_arrives
        for time_s in self._arrivals():
            self.at(time_s, add)
        self._start_jobs()
        while self._events and len(self._spans) < len(self._jobs):
            self._now, _, action, arguments = heapq.heappop(self._events)
            action(*arguments)
            if not self._events or self._events[0][0] > self._now:
                self._assign()
        end_s = max((end for _, end in self._spans), default=0.0)
        return Schedule(
            in_job_s=union_s(sorted(self._spans)),
            wall_s=end_s + self._graph.tail_s,
            most_executors=len(self._executors),
        )

    def _arrivals(self) -> list[float]:
        """Return when executors register: as observed, then at the average observed interval.

        If all observed executors were there before the first job, all others are, too. Waiting
        times of the first job are as long as executors on a shared host take to start.
        """
        observed = self._graph.arrivals_s
        count = self._limit
        if self._allocator is not None:
            count = min(self._allocator.settings.initial, self._limit)
            self._allocator.requested = count
        first_job_s = min(
            (job.delay_s for job in self._graph.jobs if not job.jobs_before), default=0
        )
        peak = observed[: self._graph.executors]
        if self._allocator is None and peak[-1] <= first_job_s:
            return [0.0] * count
        interval_s = (peak[-1] - peak[0]) / (len(peak) - 1) if len(peak) > 1 else 0.0
        more = [peak[-1] + interval_s * (k + 1) for k in range(count - len(peak))]
        return [
            at_s + max(at_s - first_job_s, 0.0) * (self._start_factor - 1)
            for at_s in (*peak[:count], *more)
        ]

    def add_executor(self) -> None:
        """Register an executor."""
        executor = _Executor(len(self._executors), self._slots, idle_since_s=self._now)
        self._executors.append(executor)
        self._free.extend([executor] * self._slots)
        if self._allocator is not None:
            self._allocator.executor_is_idle(executor)

    # Jobs and stages

    def _start_jobs(self) -> None:
        while self._waiting_jobs and self._waiting_jobs[0].jobs_before <= len(self._spans):
            job = self._waiting_jobs.pop(0)
            self.at(self._now + job.delay_s, self._start_job, job)

    def _start_job(self, job: JobWork) -> None:
        self._started[job.id] = self._now
        for key in job.stages:
            if not self._stages[key].waiting_for:
                self.at(self._now + self._graph.stages[key].delay_s, self._stage_is_ready, key)
        if not job.stages:
            self.at(self._now + job.tail_s, self._end_job, job)

    def _stage_is_ready(self, key: StageKey) -> None:
        stage = self._stages[key]
        if not stage.unfinished:
            self.at(self._now, self._end_stage, key)
            return
        self._ready.append(stage)
        self._ready.sort(key=lambda item: item.order)
        if self._allocator is not None:
            self._allocator.backlog_starts()

    def _end_stage(self, key: StageKey) -> None:
        for child in self._children[key]:
            stage = self._stages[child]
            stage.waiting_for -= 1
            if not stage.waiting_for and stage.work.job in self._started:
                self.at(self._now + stage.work.delay_s, self._stage_is_ready, child)
        job = self._jobs[self._graph.stages[key].job]
        self._unfinished_stages[job.id] -= 1
        if not self._unfinished_stages[job.id]:
            self.at(self._now + job.tail_s, self._end_job, job)

    def _end_job(self, job: JobWork) -> None:
        self._spans.append((self._started[job.id], self._now))
        self._start_jobs()

    # Tasks

    def _assign(self) -> None:
        while self._free and self._ready:
            executor = self._free.popleft()
            if executor.removed:
                continue
            stage = self._next_stage()
            if stage is None:
                self._free.appendleft(executor)
                return
            self._launch(stage, executor)

    def _next_stage(self) -> _Stage | None:
        """Return the stage of the next task: by job, or of the pool with the fewest tasks."""
        if not self._graph.fair:
            return self._ready[0]
        return min(self._ready, key=self._fair_order)

    def _fair_order(self, stage: _Stage) -> tuple[int, str, tuple[int, ...]]:
        """Return the key of Spark's fair scheduler without weights: running tasks, then names."""
        return self._running.get(stage.pool, 0), stage.pool, stage.order

    def _launch(self, stage: _Stage, executor: _Executor) -> None:
        work = stage.work
        duration_s = work.tasks_s[stage.next_task]
        extra_s = work.own_extra_s.get(stage.next_task, (work.executor_s, work.stage_s))
        # A slot may be filled before its task has ended: of each slot only one task is a first one.
        first_s = 0.0
        if not executor.warm and executor.launched < self._slots:
            first_s += extra_s[0]
        launched = stage.launched_on.get(executor.number, 0)
        if executor.number not in stage.warm_on and launched < self._slots:
            first_s += extra_s[1]
        executor.launched += 1
        stage.launched_on[executor.number] = launched + 1
        stage.next_task += 1
        executor.free -= 1
        self._running[stage.pool] = self._running.get(stage.pool, 0) + 1
        if not stage.pending:
            self._ready.remove(stage)
        cpu_s = work.demand.of(duration_s)
        self.compute(cpu_s + first_s, self._run_task, duration_s - cpu_s, stage, executor)

    def _run_task(self, duration_s: float, stage: _Stage, executor: _Executor) -> None:
        """End the task after that time, and free its slot around its end."""
        end_s, between_s = self._now + duration_s, self._graph.overheads.between_s
        self.at(end_s, self._end_task, stage, executor)
        self.at(end_s + max(between_s, -duration_s), self._free_slot, stage, executor)

    def compute(self, cpu_s: float, action: Callable[..., None], *arguments: Any) -> None:
        """Call `action` after so much time on a core: of a shared host, or of its own."""
        if self._host is None:
            self.at(self._now + cpu_s, action, *arguments)
        else:
            self._host.start(self._now, cpu_s, (action, arguments))
            self._expect_computed(self._host)

    def _expect_computed(self, host: SharedCores[Any]) -> None:
        """Plan the next end of computing on the shared host; earlier plans become void."""
        self._plans += 1
        if (next_s := host.next_s()) is not None:
            self.at(next_s, self._computed, host, self._plans)

    def _computed(self, host: SharedCores[Any], plan: int) -> None:
        if plan == self._plans:
            for action, arguments in list(host.finished(self._now)):
                action(*arguments)
            self._expect_computed(host)

    def _free_slot(self, stage: _Stage, executor: _Executor) -> None:
        self._running[stage.pool] -= 1
        executor.free += 1
        self._free.append(executor)
        if executor.free == self._slots and self._allocator is not None:
            executor.idle_since_s = self._now
            self._allocator.executor_is_idle(executor)

    def _end_task(self, stage: _Stage, executor: _Executor) -> None:
        executor.warm = True
        executor.has_shuffle = executor.has_shuffle or stage.work.writes_shuffle
        stage.warm_on.add(executor.number)
        stage.unfinished -= 1
        if not stage.unfinished:
            self.at(self._now + stage.work.tail_s, self._end_stage, stage.work.key)

    # For dynamic allocation

    @property
    def now_s(self) -> float:
        """The current time."""
        return self._now

    @property
    def limit(self) -> int:
        """The largest number of executors."""
        return self._limit

    @property
    def slots(self) -> int:
        """Number of tasks that an executor runs at a time."""
        return self._slots

    @property
    def executors(self) -> Sequence[_Executor]:
        """All executors so far, removed ones included."""
        return self._executors

    def tasks(self) -> tuple[int, int]:
        """Return the number of pending tasks and of running tasks."""
        return sum(stage.pending for stage in self._ready), sum(self._running.values())


class _Allocator:
    """Spark's dynamic allocation: doubling requests while tasks wait, removal of idle executors."""

    def __init__(self, simulation: _Simulation, settings: Allocation) -> None:
        self.settings = settings
        self._simulation = simulation
        self._next_request = 1
        #: Executors that are requested and have not registered.
        self.requested = 0
        self._timer = False

    def backlog_starts(self) -> None:
        """Start the timer of the backlog, unless it is running."""
        if not self._timer:
            self._timer = True
            at_s = self._simulation.now_s + self.settings.backlog_s
            self._simulation.at(at_s, self._on_backlog)

    def _on_backlog(self) -> None:
        simulation = self._simulation
        pending, running = simulation.tasks()
        if not pending:
            self._timer, self._next_request = False, 1
            return
        active = sum(not item.removed for item in simulation.executors) + self.requested
        needed = min(math.ceil((pending + running) / simulation.slots), simulation.limit)
        count = max(min(self._next_request, needed - active), 0)
        self._next_request *= 2
        self.requested += count
        for _ in range(count):
            simulation.compute(self.settings.latency_s, self.executor_arrives)
        simulation.at(simulation.now_s + self.settings.sustained_s, self._on_backlog)

    def executor_arrives(self) -> None:
        """Register a requested executor."""
        self.requested -= 1
        self._simulation.add_executor()

    def executor_is_idle(self, executor: _Executor) -> None:
        """Remove the executor if it is still idle after the time-out."""
        at_s = self._simulation.now_s + self.settings.idle_s
        self._simulation.at(at_s, self._remove, executor, self._simulation.now_s)

    def _remove(self, executor: _Executor, idle_since_s: float) -> None:
        idle = executor.free == self._simulation.slots and executor.idle_since_s == idle_since_s
        kept = executor.has_shuffle and self.settings.tracks_shuffle
        active = sum(not item.removed for item in self._simulation.executors)
        if idle and not kept and not executor.removed and active > max(self.settings.minimum, 0):
            executor.removed = True
