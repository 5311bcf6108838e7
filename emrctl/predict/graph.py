"""The work of a run as its event log shows it: jobs, stages, tasks, waiting times and executors.

All times are seconds since the start of the application.
"""

from __future__ import annotations

import bisect
import itertools
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import mean, median

from emrctl.aws.spark_conf import SparkConf
from emrctl.metrics.model import JobMetrics, RunMetrics, StageMetrics, TaskMetrics
from emrctl.predict import allocation, host, overheads
from emrctl.predict.allocation import Allocation
from emrctl.predict.host import Demand
from emrctl.predict.overheads import IdleTime, ObservedTask, Overheads

StageKey = tuple[int, int]
# Moments this close are the same for a driver.
_SAME_S = 0.01
# Smaller factors occur without other executors.
_CLEAR_SLOWDOWN = 1.3
# A local cluster ran on another machine if the cores that it shows differ by this factor.
_OTHER_HOST = 2.5


@dataclass(kw_only=True)
class StageWork:
    """One stage attempt.

    It becomes ready when its parents and `delay_s` have passed, and completes `tail_s` after its
    last task. `tasks_s` are the times of its partitions on a warm executor; the first tasks on an
    executor take `executor_s` longer, the first of the stage on an executor `stage_s`;
    `own_extra_s` has both times of tasks that were first ones in the run.
    """

    key: StageKey
    job: int
    parents: tuple[StageKey, ...]
    delay_s: float
    tail_s: float
    tasks_s: list[float]
    executor_s: float = 0.0
    stage_s: float = 0.0
    own_extra_s: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    writes_shuffle: bool = False
    demand: Demand = field(default_factory=Demand)


@dataclass(kw_only=True)
class JobWork:
    """One job, started `delay_s` after `jobs_before` jobs have completed.

    The count describes a sequential driver, thread pools of any size and joins of threads.
    """

    id: int
    jobs_before: int
    delay_s: float
    tail_s: float
    pool: str
    stages: list[StageKey] = field(default_factory=list)


@dataclass(kw_only=True)
class WorkGraph:
    """The work of an application, and how it was executed.

    `executors` is the peak number of executors at a time, `cores` the cores of one executor,
    `arrivals_s` when executors registered. `host_cores` is the number of cores that executors share
    while they start, if all are on one host and it is known.
    """

    jobs: list[JobWork]
    stages: dict[StageKey, StageWork]
    overheads: Overheads
    executors: int
    cores: int
    task_cpus: int
    arrivals_s: list[float]
    fair: bool
    allocation: Allocation | None
    in_job_s: float
    wall_s: float
    tail_s: float
    host_cores: float | None = None

    def start_factor(self, executors: int) -> float:
        """Return how much longer that many executors take to start than those of the run."""
        if self.host_cores is None:
            return 1.0
        return max(executors / self.host_cores, 1) / max(self.executors / self.host_cores, 1)


def build(
    run: RunMetrics, jobs: Iterable[JobMetrics], tasks: Iterable[TaskMetrics]
) -> WorkGraph | None:
    """Return the work of an application; None if the log has no complete job with tasks."""
    complete = sorted(
        (job for job in jobs if job.completed_ms is not None), key=lambda job: job.submitted_ms
    )
    observed = [_observed(task) for task in tasks if task.reason != "Resubmitted"]
    if not complete or not observed or run.start_ms is None:
        return None
    return _Builder(run, complete, observed).graph()


def _observed(task: TaskMetrics) -> ObservedTask:
    return ObservedTask(
        stage=(task.stage, task.stage_attempt),
        index=task.index,
        executor=task.executor,
        launched_s=task.launched_ms / 1000,
        finished_s=task.finished_ms / 1000,
        run_s=task.executor_run_time_ms / 1000,
        deserialize_s=task.deserialize_time_ms / 1000,
        deserialize_cpu_s=task.deserialize_cpu_time_ns / 1e9,
        run_cpu_s=task.executor_cpu_time_ns / 1e9,
        succeeded=task.status == "SUCCESS",
        speculative=task.speculative,
        writes_shuffle=task.shuffle_write_bytes > 0,
    )


class _Builder:
    """Derives the graph from the records of a log; times are seconds since 1970 until `graph`."""

    def __init__(
        self, run: RunMetrics, jobs: Sequence[JobMetrics], tasks: list[ObservedTask]
    ) -> None:
        self._run = run
        self._jobs = jobs
        self._tasks: defaultdict[StageKey, list[ObservedTask]] = defaultdict(list)
        for task in sorted(tasks, key=lambda task: task.launched_s):
            self._tasks[task.stage].append(task)
        self._start_s = (run.start_ms or 0) / 1000
        self._conf = SparkConf(run.environment)
        self._task_cpus = self._conf.task_cpus
        self._python = _is_python(run)
        self._rows = [row for row in run.busy_rows if row.id in {task.executor for task in tasks}]
        cores = max((row.cores for row in self._rows), default=0)
        self._cores = cores or self._task_cpus * _most_parallel(tasks)
        self._added = {row.id: (row.added_ms or run.start_ms or 0) / 1000 for row in run.busy_rows}
        self._slots = slots = max(self._cores // self._task_cpus, 1)
        changes = [(at_s, slots) for at_s in self._added.values()]
        changes += [
            (row.removed_ms / 1000, -slots) for row in run.busy_rows if row.removed_ms is not None
        ]
        self._idle = IdleTime(changes, tasks)
        first_job = (jobs[0].submitted_ms / 1000, (jobs[0].completed_ms or 0) / 1000)
        self._allocation = allocation.read(
            self._conf,
            (first_job[0] - self._start_s, first_job[1] - self._start_s),
            [at_s - self._start_s for at_s in self._added.values()],
        )

    def graph(self) -> WorkGraph:
        """Return the graph with times relative to the start of the application."""
        run, ends = self._run, sorted((job.completed_ms or 0) / 1000 for job in self._jobs)
        fitted, host_cores = self._fit()
        jobs = [self._job(job, ends) for job in self._jobs]
        stages = self._stages(jobs, fitted)
        end_s = (run.end_ms / 1000) if run.end_ms else ends[-1]
        spans = sorted(
            (job.submitted_ms / 1000, (job.completed_ms or 0) / 1000) for job in self._jobs
        )
        return WorkGraph(
            jobs=jobs,
            stages=stages,
            overheads=fitted,
            executors=self._peak(),
            cores=self._cores,
            task_cpus=self._task_cpus,
            arrivals_s=sorted(at - self._start_s for at in self._added.values()),
            fair=self._conf.text("spark.scheduler.mode").upper() == "FAIR",
            allocation=self._allocation,
            in_job_s=union_s(spans),
            wall_s=max(end_s - self._start_s, 0.0),
            tail_s=max(end_s - ends[-1], 0.0),
            host_cores=host_cores,
        )

    def _fit(self) -> tuple[Overheads, float | None]:
        """Return the overheads without waits for a core, and the cores of the host if it is shared.

        The overheads with waits tell how much the first tasks computed; then the waits are known.
        """
        groups = list(self._tasks.values())
        tasks = [task for group in groups for task in group]
        fitted = overheads.fit(tasks, self._slots, python=self._python)
        cores = self._host_cores(fitted.slowdown)
        if cores is None:
            return fitted, None
        launches: list[tuple[float, float]] = []
        if (settings := self._allocation) is not None:
            # The fastest executor did not wait for a core.
            least_s = min((wait for _, wait in settings.requests), default=settings.latency_s)
            self._allocation = replace(settings, latency_s=least_s)
            launches = [(self._start_s + at_s, least_s) for at_s, _ in settings.requests]
        needs = [(group, host.demand(group, python=self._python)) for group in groups]
        host.remove_waits(needs, fitted, cores, launches)
        return overheads.fit(tasks, self._slots, python=self._python), cores

    def _peak(self) -> int:
        """Return the most executors at a time; one that is being replaced counts once."""
        limit = self._conf.number("spark.dynamicAllocation.maxExecutors")
        peak = max(self._run.peak_executors, 1)
        return min(peak, limit) if limit and self._allocation else peak

    def _host_cores(self, slowdown: float) -> float | None:
        """Return the cores of the only host, from the slowdown of executors that shared them.

        Executors of Spark's local cluster and on loopback addresses are on the machine that reads
        their log, unless the slowdown shows another.
        """
        hosts = {row.host for row in self._run.busy_rows}
        is_local = all(host == "localhost" or host.startswith("127.") for host in hosts)
        is_local = is_local or self._conf.text("spark.master").startswith("local-cluster")
        if len(hosts) != 1 and not is_local:
            return None
        executors = self._peak()
        observed = max(executors / slowdown, 1.0)
        is_clear = executors > 1 and slowdown > _CLEAR_SLOWDOWN
        if not is_local:
            return observed if is_clear else None
        here = os.cpu_count() or 1
        if executors <= here and not is_clear:
            return here
        return here if 1 / _OTHER_HOST < observed / here < _OTHER_HOST else observed

    def _job(self, job: JobMetrics, ends: list[float]) -> JobWork:
        start_s = job.submitted_ms / 1000
        before = bisect.bisect_right(ends, start_s)
        if before and ends[before - 1] == start_s == (job.completed_ms or 0) / 1000:
            before -= 1  # a job without duration does not wait for itself
        trigger_s = ends[before - 1] if before else self._start_s
        return JobWork(
            id=job.id,
            jobs_before=before,
            delay_s=max(start_s - trigger_s, 0.0),
            tail_s=0.0,
            pool=job.pool,
        )

    def _stages(self, jobs: list[JobWork], fitted: Overheads) -> dict[StageKey, StageWork]:
        """Return the stages that ran, and assign them to their jobs."""
        rows = {(row.id, row.attempt): row for row in self._run.stages}
        ran = [key for key in sorted(self._tasks) if key in rows]
        attempts: defaultdict[int, list[StageKey]] = defaultdict(list)
        for key in ran:
            attempts[key[0]].append(key)
        stages: dict[StageKey, StageWork] = {}
        waits: dict[StageKey, tuple[float, bool]] = {}
        for key in ran:
            job = self._job_of(key, rows[key])
            if job is None:
                continue
            parents = [
                attempts[parent][-1] for parent in job.parents.get(key[0], ()) if attempts[parent]
            ]
            parents += [other for other in attempts[key[0]] if other[1] < key[1]]
            ready_s = max([job.submitted_ms / 1000, *(self._end_of(rows[p]) for p in parents)])
            if self._end_of(rows[key]) < ready_s:  # parents were computed again later
                parents, ready_s = [], job.submitted_ms / 1000
            waits[key] = self._wait_s(key, ready_s)
            stages[key] = self._stage(key, job, rows[key], tuple(parents), fitted)
        known = [wait_s for wait_s, blocked in waits.values() if not blocked]
        typical_s = median(known) if known else 0.0
        by_id = {job.id: job for job in jobs}
        for key, stage in stages.items():
            wait_s, blocked = waits[key]
            stage.delay_s = max(wait_s, typical_s) if blocked else wait_s
            stage.parents = tuple(parent for parent in stage.parents if parent in stages)
            by_id[stage.job].stages.append(key)
        for job_metrics in self._jobs:
            self._set_tail(by_id[job_metrics.id], job_metrics, rows)
        return stages

    def _set_tail(
        self, job: JobWork, metrics: JobMetrics, rows: Mapping[StageKey, StageMetrics]
    ) -> None:
        """Set the time from a job's last stage to its end; of a job without stages, all of it."""
        last_s = max(
            (self._end_of(rows[key]) for key in job.stages), default=metrics.submitted_ms / 1000
        )
        job.tail_s = max((metrics.completed_ms or 0) / 1000 - last_s, 0.0)

    def _job_of(self, key: StageKey, row: StageMetrics) -> JobMetrics | None:
        """Return the first job that contains the stage and was active when it was submitted."""
        jobs = [job for job in self._jobs if key[0] in job.parents]
        at_ms = row.submitted_ms or self._tasks[key][0].launched_s * 1000
        active = [job for job in jobs if job.submitted_ms <= at_ms <= (job.completed_ms or 0)]
        return next(iter(active or jobs), None)

    def _end_of(self, row: StageMetrics) -> float:
        if row.completed_ms is not None:
            return row.completed_ms / 1000
        return max(task.finished_s for task in self._tasks[row.id, row.attempt])

    def _wait_s(self, key: StageKey, ready_s: float) -> tuple[float, bool]:
        """Return how long a slot was free before the first task of a ready stage.

        The second value is whether the stage also waited for a slot.
        """
        first_s = self._tasks[key][0].launched_s
        free_s = max(self._idle.before(first_s) - self._idle.before(ready_s), 0.0)
        return free_s, first_s - ready_s - free_s > _SAME_S

    def _stage(
        self,
        key: StageKey,
        job: JobMetrics,
        row: StageMetrics,
        parents: tuple[StageKey, ...],
        fitted: Overheads,
    ) -> StageWork:
        tasks = self._tasks[key]
        by_index: defaultdict[int, list[ObservedTask]] = defaultdict(list)
        for task in tasks:
            by_index[task.index].append(task)
        last_s = max(task.finished_s for task in tasks)
        cold = [fitted.split(task)[0] for task in tasks if task.first_on_executor]
        first = [fitted.split(task)[1] for task in tasks if task.first_of_stage]
        executor_s = mean(cold) if cold else fitted.executor_s
        stage_s = mean(first) if first else fitted.of_stage(key)
        firsts = [by_index[index][0] for index in sorted(by_index)]
        return StageWork(
            key=key,
            job=job.id,
            parents=parents,
            delay_s=0.0,
            tail_s=max(self._end_of(row) - last_s, 0.0),
            tasks_s=[_partition_s(by_index[index], fitted) for index in sorted(by_index)],
            executor_s=executor_s,
            stage_s=stage_s,
            own_extra_s={
                position: fitted.as_first(task, (executor_s, stage_s))
                for position, task in enumerate(firsts)
            },
            writes_shuffle=any(task.writes_shuffle for task in tasks),
            demand=host.demand(tasks, python=self._python),
        )


def _is_python(run: RunMetrics) -> bool:
    """Return whether the application is a Python program, as far as the log shows it."""
    return any(word.endswith((".py", ".zip")) for word in run.program[:1]) or any(
        key.startswith(("spark.pyspark.", "spark.submit.pyFiles", "spark.yarn.isPython"))
        for key in run.environment
    )


def _most_parallel(tasks: Iterable[ObservedTask]) -> int:
    """Return the most tasks that an executor ran at a time."""
    changes: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)
    for task in tasks:
        changes[task.executor] += [(task.launched_s, 1), (task.finished_s, -1)]
    sums = (itertools.accumulate(change for _, change in sorted(c)) for c in changes.values())
    return max(1, *(max(counts) for counts in sums))


def _partition_s(attempts: list[ObservedTask], fitted: Overheads) -> float:
    """Return the time that one partition occupies a slot.

    Failed attempts are repeated by the replay. Of speculative copies the successful one counts,
    from the launch of the original.
    """
    winners = [task for task in attempts if task.succeeded]
    if winners and winners[0].speculative:
        return max(winners[0].finished_s - min(task.launched_s for task in attempts), 0.0)
    counted = [
        task for task in attempts if not task.speculative and (task.succeeded or not winners)
    ]
    failed = [task for task in attempts if winners and not task.succeeded and not task.speculative]
    failed = [task for task in failed if task.finished_s <= winners[0].launched_s]
    return sum(max(task.duration_s - sum(fitted.split(task)), 0.0) for task in (*failed, *counted))


def union_s(spans: Iterable[tuple[float, float]]) -> float:
    """Return the length of the union of intervals, sorted by their start."""
    total, reached = 0.0, float("-inf")
    for start, end in spans:
        total += max(end - max(start, reached), 0.0)
        reached = max(reached, end)
    return total
