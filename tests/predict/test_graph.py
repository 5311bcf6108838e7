"""Parts of the graph of work, and replays of graphs by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from emrctl.metrics.model import JobMetrics, RunMetrics, TaskMetrics
from emrctl.predict import graph as graphs
from emrctl.predict import schedule
from emrctl.predict.allocation import Allocation
from emrctl.predict.graph import JobWork, StageWork, WorkGraph
from emrctl.predict.host import Demand
from emrctl.predict.overheads import ObservedTask, Overheads


def graph(*jobs: list[float], pause_s: float = 0.0, **more: Any) -> WorkGraph:
    """Return jobs of one stage with tasks of these times, one after the other."""
    stages = {
        (n, 0): StageWork(key=(n, 0), job=n, parents=(), delay_s=0.0, tail_s=0.0, tasks_s=tasks_s)
        for n, tasks_s in enumerate(jobs)
    }
    works = [
        JobWork(id=n, jobs_before=n, delay_s=pause_s * n, tail_s=0.0, pool="", stages=[(n, 0)])
        for n in range(len(jobs))
    ]
    fields: dict[str, Any] = {
        "executors": 1,
        "cores": 1,
        "task_cpus": 1,
        "arrivals_s": [0.0],
        "fair": False,
        "allocation": None,
        "in_job_s": 1.0,
        "wall_s": 1.0,
        "tail_s": 0.0,
    }
    return WorkGraph(jobs=works, stages=stages, **{"overheads": Overheads(), **fields, **more})


@pytest.mark.parametrize(
    ("spans", "length"),
    [
        ([], 0),
        ([(1, 3)], 2),
        ([(0, 2), (1, 3), (5, 6)], 4),
        ([(0, 10), (2, 3), (4, 11)], 11),
        ([(0, 1), (1, 2)], 2),
    ],
)
def test_union_counts_common_time_once(spans: list[tuple[float, float]], length: float) -> None:
    assert graphs.union_s(spans) == length


def task(launched_s: float, finished_s: float, **more: Any) -> ObservedTask:
    fields: dict[str, Any] = {"stage": (0, 0), "index": 0, "executor": "1", "run_s": 0.0}
    return ObservedTask(launched_s=launched_s, finished_s=finished_s, **(fields | more))


def test_most_parallel_tasks_are_those_of_one_executor() -> None:
    assert graphs._most_parallel([task(0, 1), task(1, 2)]) == 1
    assert graphs._most_parallel([task(0, 2), task(1, 3), task(1, 4, executor="2")]) == 2
    assert graphs._most_parallel([task(0, 9), task(1, 3), task(2, 4), task(5, 6)]) == 3


@pytest.mark.parametrize(
    ("attempts", "seconds"),
    [
        ([task(0, 3)], 3),
        # A failed attempt is repeated.
        ([task(0, 2, succeeded=False), task(2, 5)], 5),
        ([task(0, 2, succeeded=False), task(3, 5)], 4),
        # Nothing succeeded: all attempts.
        ([task(0, 2, succeeded=False), task(2, 5, succeeded=False)], 5),
        # It ended after the other one was launched: it ran beside it.
        ([task(0, 4, succeeded=False), task(3, 5)], 2),
        # The copy won, 1 s after it was launched and 4 s after the original.
        ([task(3, 4, speculative=True), task(0, 5, succeeded=False)], 4),
        # The copy lost.
        ([task(0, 5), task(3, 5, speculative=True, succeeded=False)], 5),
    ],
)
def test_partition_takes_the_time_of_its_attempts(
    attempts: list[ObservedTask], seconds: float
) -> None:
    assert graphs._partition_s(attempts, Overheads()) == seconds


def test_partition_is_without_the_time_of_first_tasks() -> None:
    fitted = Overheads(executor_s=2, stage_s=1)
    first = task(0, 10, first_on_executor=True, first_of_stage=True)
    assert graphs._partition_s([first], fitted) == 7


@pytest.mark.parametrize(
    ("own", "executors", "factor"),
    [(8, 16, 2), (8, 8, 1), (8, 4, 0.5), (8, 1, 0.5), (2, 8, 2), (2, 4, 1), (2, 1, 1)],
)
def test_start_factor_is_that_of_the_shared_cores(own: int, executors: int, factor: float) -> None:
    work = graph([1.0], executors=own, host_cores=4.0)
    assert work.start_factor(executors) == factor
    assert dataclasses.replace(work, host_cores=None).start_factor(executors) == 1


JOB = JobMetrics(id=0, submitted_ms=0, completed_ms=9)
TASK = TaskMetrics(stage=0, id=0, launched_ms=0, finished_ms=9, duration_ms=9)


@pytest.mark.parametrize(
    ("run", "job", "row"),
    [
        (RunMetrics(), JOB, TASK),
        (RunMetrics(start_ms=0), dataclasses.replace(JOB, completed_ms=None), TASK),
        (RunMetrics(start_ms=0), JOB, dataclasses.replace(TASK, reason="Resubmitted")),
    ],
)
def test_log_without_start_complete_job_or_task_has_no_work(
    run: RunMetrics, job: JobMetrics, row: TaskMetrics
) -> None:
    assert graphs.build(run, [job], [row]) is None
    assert graphs.build(RunMetrics(start_ms=0), [JOB], [TASK]) is not None


@pytest.mark.parametrize(
    ("run", "python"),
    [
        (RunMetrics(), False),
        (RunMetrics(program=("job.py", "a.jar")), True),
        (RunMetrics(program=("job.zip",)), True),
        (RunMetrics(program=("a.jar", "job.py")), False),
        (RunMetrics(environment={"spark.yarn.isPython": "true"}), True),
        (RunMetrics(environment={"spark.master": "yarn"}), False),
    ],
)
def test_python_is_known_from_program_or_properties(run: RunMetrics, python: bool) -> None:
    assert graphs._is_python(run) is python


# Replays


def in_job_s(work: WorkGraph, executors: int = 1, cores: int = 1) -> float:
    return schedule.replay(work, executors, cores).in_job_s


@pytest.mark.parametrize(("between_s", "seconds"), [(0, 2), (0.5, 2.5), (-0.25, 1.75), (-5, 1)])
def test_slot_is_filled_after_the_time_between_tasks(between_s: float, seconds: float) -> None:
    work = graph([1.0, 1.0], overheads=Overheads(between_s=between_s))
    assert in_job_s(work) == pytest.approx(seconds)


def test_first_task_of_each_slot_takes_the_additional_times() -> None:
    work = graph([1.0] * 4)
    stage = work.stages[0, 0]
    stage.executor_s, stage.stage_s = 2.0, 1.0
    assert in_job_s(work) == 4 + 3
    assert in_job_s(work, executors=2) == 2 + 3
    assert in_job_s(work, cores=2) == 2 + 3
    stage.own_extra_s = {0: (0.5, 0.25)}
    assert in_job_s(work) == 4 + 0.75
    # 4 executors share 2 cores for 0.75 s and three times 3 s.
    shared = dataclasses.replace(work, host_cores=2.0)
    assert in_job_s(shared, executors=4) == pytest.approx(1 + (0.75 + 3 * 3) / 2)


def test_tasks_that_compute_share_the_cores_of_their_host() -> None:
    shared = dataclasses.replace(graph([1.0] * 4), host_cores=2.0)
    assert in_job_s(shared, executors=4) == 1
    shared.stages[0, 0].demand = Demand(task_s=0.2, share=0.5)
    assert in_job_s(shared, executors=2) == pytest.approx(2)
    assert in_job_s(shared, executors=4) == pytest.approx(2 * 0.6 + 0.4)
    # What each task takes at least is for warm tasks on cores of their own.
    assert schedule.critical_path_s(shared) == pytest.approx(1)


def test_second_stage_on_an_executor_has_no_time_of_the_executor() -> None:
    work = graph([1.0, 1.0], [1.0, 1.0])
    for stage in work.stages.values():
        stage.executor_s, stage.stage_s = 2.0, 1.0
    assert in_job_s(work) == (4 + 1) + (2 + 1)


def test_executors_arrive_as_observed_and_further_ones_at_the_same_interval() -> None:
    # 12 tasks of 1 s: two until 6 s, two a second from then on, three from 8 s on.
    work = graph([1.0] * 12, executors=2, arrivals_s=[4.0, 6.0])
    work.jobs[0].delay_s = 4.0
    assert in_job_s(work, executors=2) == 7
    assert in_job_s(work, executors=3) == 6


def test_executors_that_were_there_before_the_first_job_are_all_there() -> None:
    work = graph([1.0] * 8, executors=2, arrivals_s=[3.0, 5.0])
    work.jobs[0].delay_s = 5.0
    assert in_job_s(work, executors=8) == 1
    work.jobs[0].delay_s = 4.9
    assert in_job_s(work, executors=8) > 1


ALLOCATION = Allocation(
    initial=1,
    minimum=1,
    backlog_s=1.0,
    sustained_s=1.0,
    idle_s=5.0,
    tracks_shuffle=True,
    latency_s=2.0,
)


@pytest.mark.parametrize(
    ("changes", "writes_shuffle", "seconds", "executors"),
    [
        # The second executor runs from 3 s on: 0-4, 3-7, 4-8 and 7-11. The first one is idle from
        # 8 s on and removed after 13 s; the job that starts at 21 s takes as long as the first.
        ({}, False, 11 + 11, 3),
        # Both are still there, or kept: 21-25 and 25-29.
        ({"idle_s": 20.0}, False, 11 + 8, 2),
        ({"minimum": 2}, False, 11 + 8, 2),
        ({}, True, 11 + 8, 2),
        ({"tracks_shuffle": False}, True, 11 + 11, 3),
        # Requests after 2 s, and executors 1 s later: the same.
        ({"backlog_s": 2.0, "latency_s": 1.0}, False, 11 + 11, 3),
    ],
)
def test_idle_executors_are_removed_and_requested_again(
    changes: dict[str, Any], writes_shuffle: bool, seconds: float, executors: int
) -> None:
    allocation = dataclasses.replace(ALLOCATION, **changes)
    work = graph([4.0] * 4, [4.0] * 4, pause_s=10.0, allocation=allocation)
    for stage in work.stages.values():
        stage.writes_shuffle = writes_shuffle
    times = schedule.replay(work, 2, 1)
    assert (times.in_job_s, times.most_executors) == (seconds, executors)


def test_requests_double_while_tasks_wait() -> None:
    """One, two and four executors after 1, 2 and 3 s; they register 2 s later."""
    work = graph([100.0] * 9, allocation=ALLOCATION)
    times = schedule.replay(work, 8, 1)
    # The first one runs two tasks; all others were there after 5 s.
    assert (times.in_job_s, times.most_executors) == (200, 8)
    fewer = schedule.replay(graph([100.0] * 3, allocation=ALLOCATION), 8, 1)
    assert (fewer.in_job_s, fewer.most_executors) == (104, 3)


def test_no_skew_spreads_the_work_over_the_slots_of_all_executors() -> None:
    assert schedule.no_skew_s(graph([12.0, 0.0]), 2, 3) == pytest.approx(2)
    assert schedule.no_skew_s(graph([12.0], task_cpus=3), 2, 6) == pytest.approx(3)
    assert schedule.no_skew_s(graph([12.0], task_cpus=8), 2, 6) == pytest.approx(6)
