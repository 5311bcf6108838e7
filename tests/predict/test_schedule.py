"""Replays of small logs, against schedules computed by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from emrctl.predict import schedule
from tests.predict.logs import LogWriter, ms, one_stage


@pytest.mark.parametrize(
    ("executors", "in_job_s"),
    # Tasks in order of 2, 4, 2, 1, 3: on two slots 0-2, 0-4, 2-4, then 4-5 and 4-7.
    [(1, 12), (2, 7), (3, 5), (5, 4), (50, 4)],
)
def test_replay_of_one_stage_fills_slots_in_order(
    tmp_path: Path, executors: int, in_job_s: float
) -> None:
    _, graph = one_stage([2, 4, 2, 1, 3]).read(tmp_path)
    times = schedule.replay(graph, executors, 1)
    assert times.in_job_s == pytest.approx(in_job_s)
    assert times.wall_s == pytest.approx(10 + in_job_s + 2)


def test_replay_at_observed_count_returns_observed_times(tmp_path: Path) -> None:
    _, graph = one_stage([2, 4, 2, 1, 3], executors=(0.0, 0.0)).read(tmp_path)
    assert graph.executors == 2
    assert schedule.replay(graph, 2, 1).in_job_s == pytest.approx(graph.in_job_s)


def test_replay_with_more_cores_runs_more_tasks_at_a_time(tmp_path: Path) -> None:
    _, graph = one_stage([1.0] * 8).read(tmp_path)
    assert schedule.replay(graph, 2, 4).in_job_s == pytest.approx(1)


def test_replay_observes_cpus_per_task(tmp_path: Path) -> None:
    log = LogWriter((0.0,), 4, spark_task_cpus="2")
    log.job_start(0, 1, {0: ()})
    log.stage(0, 1, 3, [("0", 1, 2), ("0", 1, 2), ("0", 2, 3), ("0", 2, 3)])
    log.job_end(0, 3)
    log.end(3)
    _, graph = log.read(tmp_path)
    assert schedule.replay(graph, 1, 4).in_job_s == pytest.approx(2)
    assert schedule.replay(graph, 2, 4).in_job_s == pytest.approx(1)


def join_log() -> LogWriter:
    """Stages of 4 and 6 seconds of work, then one of 2 that reads both."""
    log = LogWriter((0.0, 0.0))
    log.job_start(0, 1, {0: (), 1: (), 2: (0, 1)})
    log.stage(0, 1, 3, [("0", 1, 3), ("1", 1, 3)])
    log.stage(1, 1, 6, [("0", 3, 6), ("1", 3, 6)])
    log.stage(2, 6, 7, [("0", 6, 7), ("1", 6, 7)])
    log.job_end(0, 7.5)
    log.end(8)
    return log


def test_replay_releases_a_stage_after_all_parents(tmp_path: Path) -> None:
    _, graph = join_log().read(tmp_path)
    # The parents run at the same time on four slots: 3 s, 1 s for the join, 0.5 s for the driver.
    assert schedule.replay(graph, 4, 1).in_job_s == pytest.approx(4.5)
    assert schedule.replay(graph, 2, 1).in_job_s == pytest.approx(6.5)
    assert schedule.replay(graph, 1, 1).in_job_s == pytest.approx(12.5)
    assert schedule.critical_path_s(graph) == pytest.approx(4.5)
    assert schedule.one_core_s(graph) == pytest.approx(12.5)


def test_no_skew_spreads_each_stage_evenly(tmp_path: Path) -> None:
    _, graph = one_stage([1.0, 9.0, 1.0, 1.0]).read(tmp_path)
    assert schedule.replay(graph, 4, 1).in_job_s == pytest.approx(9)
    assert schedule.no_skew_s(graph, 4, 1) == pytest.approx(3)


def test_replay_keeps_the_time_of_the_driver_between_jobs(tmp_path: Path) -> None:
    log = LogWriter()
    log.job_start(0, 5, {0: ()})
    log.stage(0, 5, 9, [("0", 5, 7), ("0", 7, 9)])
    log.job_end(0, 9)
    log.job_start(1, 12, {1: ()})
    log.stage(1, 12, 16, [("0", 12, 14), ("0", 14, 16)])
    log.job_end(1, 16)
    log.end(17)
    _, graph = log.read(tmp_path)
    times = schedule.replay(graph, 2, 1)
    assert times.in_job_s == pytest.approx(4)
    assert times.wall_s == pytest.approx(5 + 2 + 3 + 2 + 1)


def test_replay_of_a_thread_pool_starts_a_job_when_any_has_ended(tmp_path: Path) -> None:
    # Two threads, one executor; the third job starts when the first has ended.
    log = LogWriter()
    log.job_start(0, 1, {0: ()})
    log.job_start(1, 1, {1: ()})
    log.stage(0, 1, 3, [("0", 1, 2), ("0", 2, 3)])
    log.job_end(0, 3)
    log.job_start(2, 3, {2: ()})
    log.stage(1, 1, 7, [("0", 3, 5), ("0", 5, 7)])
    log.job_end(1, 7)
    log.stage(2, 3, 8, [("0", 7, 8)])
    log.job_end(2, 8)
    log.end(8)
    _, graph = log.read(tmp_path)
    assert schedule.replay(graph, 1, 1).in_job_s == pytest.approx(7)
    # Both jobs at once; the third follows the shorter one: 1 + 1 s, within the 2 s of the longer.
    assert schedule.replay(graph, 4, 1).in_job_s == pytest.approx(2)


@pytest.mark.parametrize(
    ("mode", "end_s"),
    # The third job starts 3 s after the first one has ended. FIFO: the first job takes both slots
    # and ends after 2 s. FAIR: both jobs have a slot and end after 4 s.
    [("FIFO", 6), ("FAIR", 8)],
)
def test_replay_serves_pools_by_scheduler_mode(tmp_path: Path, mode: str, end_s: float) -> None:
    log = LogWriter((0.0,), spark_scheduler_mode=mode)
    log.job_start(0, 1, {0: ()}, pool="a")
    log.job_start(1, 1, {1: ()}, pool="b")
    log.stage(0, 1, 5, [("0", 1 + i, 2 + i) for i in range(4)])
    log.job_end(0, 5)
    log.job_start(2, 8, {2: ()}, pool="a")
    log.stage(1, 1, 9, [("0", 5 + i, 6 + i) for i in range(4)])
    log.job_end(1, 9)
    log.stage(2, 8, 10, [("0", 9, 10)])
    log.job_end(2, 10)
    log.end(10)
    _, graph = log.read(tmp_path)
    assert schedule.replay(graph, 2, 1).wall_s == pytest.approx(1 + end_s)


def test_replay_waits_for_executors_as_observed_and_extrapolates_arrivals(tmp_path: Path) -> None:
    # The second executor registers 2 s after the first, after the job has started.
    log = LogWriter((4.0, 6.0))
    log.job_start(0, 4, {0: ()})
    rows = [("0", 4, 5), ("0", 5, 6), ("0", 6, 7), ("1", 6, 7), ("0", 7, 8), ("1", 7, 8)]
    log.stage(0, 4, 8, rows)
    log.job_end(0, 8)
    log.end(8)
    _, graph = log.read(tmp_path)
    assert schedule.replay(graph, 2, 1).in_job_s == pytest.approx(4)
    # A third one would come at 8 s, too late for the six tasks.
    assert schedule.replay(graph, 3, 1).in_job_s == pytest.approx(4)
    assert schedule.replay(graph, 1, 1).in_job_s == pytest.approx(6)


def test_replay_repeats_failed_attempts_and_ignores_losing_copies(tmp_path: Path) -> None:
    log = LogWriter((0.0, 0.0))
    log.job_start(0, 1, {0: ()})
    log.event(
        "StageSubmitted",
        {"Stage Info": {"Stage ID": 0, "Stage Attempt ID": 0, "Number of Tasks": 2}},
    )
    log.task(0, 0, "0", (1, 2), reason="ExceptionFailure")
    log.task(0, 0, "0", (2, 5))
    log.task(0, 1, "1", (1, 4))
    log.task(0, 1, "0", (3, 4), reason="TaskKilled", speculative=True)
    log.event("StageCompleted", {"Stage Info": {"Stage ID": 0, "Completion Time": 0}})
    log.job_end(0, 5)
    log.end(5)
    _, graph = log.read(tmp_path)
    [stage] = graph.stages.values()
    assert stage.tasks_s == pytest.approx([4, 3])


def dynamic_log() -> LogWriter:
    """One executor from the start; a job of 40 s of work; further ones come 3 s after a request."""
    conf = {
        "spark_dynamicAllocation_enabled": "true",
        "spark_dynamicAllocation_minExecutors": "1",
        "spark_dynamicAllocation_executorIdleTimeout": "5s",
    }
    log = LogWriter((0.0, 14.0), 1, **conf)
    log.job_start(0, 10, {0: ()})
    rows = [("0", 10 + 4 * i, 14 + 4 * i) for i in range(6)]
    rows += [("1", 14 + 4 * i, 18 + 4 * i) for i in range(4)]
    log.stage(0, 10, 34, rows)
    log.job_end(0, 34)
    log.end(34)
    return log


def test_replay_of_dynamic_allocation_adds_executors_for_a_backlog(tmp_path: Path) -> None:
    _, graph = dynamic_log().read(tmp_path)
    assert graph.allocation is not None
    assert graph.allocation.latency_s == pytest.approx(3)
    assert schedule.replay(graph, 1, 1).in_job_s == pytest.approx(40)
    # One more after 1 + 3 s: six tasks on the first, four on the second.
    assert schedule.replay(graph, 2, 1).in_job_s == pytest.approx(24)
    # Requests of 1, 2 and 4 after 1, 2 and 3 s arrive after 4, 5 and 6 s. The last of ten tasks
    # starts after 8 s.
    eight = schedule.replay(graph, 8, 1)
    assert eight.in_job_s == pytest.approx(12)
    assert eight.most_executors == 8


def first_task_log(**conf: str) -> LogWriter:
    """Tasks of 1 s; the first one has 0.8 s of overhead, and 2.2 s of run time."""
    log = LogWriter((0.0,), 1, **conf)
    log.job_start(0, 1, {0: ()})
    info = {"Stage ID": 0, "Stage Attempt ID": 0, "Number of Tasks": 12}
    log.event("StageSubmitted", {"Stage Info": info | {"Submission Time": ms(1)}})
    log.task(0, 0, "0", (1, 4), overhead_s=0.8)
    for index in range(1, 12):
        log.task(0, index, "0", (3 + index, 4 + index))
    log.event("StageCompleted", {"Stage Info": info | {"Completion Time": ms(15)}})
    log.job_end(0, 15)
    log.end(15)
    return log


def test_first_tasks_of_an_executor_are_slower_on_each_executor(tmp_path: Path) -> None:
    _, graph = first_task_log(spark_pyspark_python="python3").read(tmp_path)
    assert graph.overheads.executor_s == pytest.approx(2, abs=0.1)
    assert schedule.replay(graph, 1, 1).in_job_s == pytest.approx(14, abs=0.01)
    # Three tasks on each executor, the first one 2 s longer.
    assert schedule.replay(graph, 4, 1).in_job_s == pytest.approx(5, abs=0.1)


def test_task_launched_just_before_a_finish_is_no_first_task(tmp_path: Path) -> None:
    log = LogWriter((0.0,), 1, spark_pyspark_python="python3")
    log.job_start(0, 1, {0: ()})
    info = {"Stage ID": 0, "Stage Attempt ID": 0, "Number of Tasks": 12}
    log.event("StageSubmitted", {"Stage Info": info | {"Submission Time": ms(1)}})
    log.task(0, 0, "0", (1, 4), overhead_s=0.8)
    for index in range(1, 12):  # the driver logs each launch 5 ms before the finish
        log.task(0, index, "0", (2.995 + index, 4 + index))
    log.event("StageCompleted", {"Stage Info": info | {"Completion Time": ms(15)}})
    log.job_end(0, 15)
    log.end(15)
    _, graph = log.read(tmp_path)
    assert graph.overheads.executor_s == pytest.approx(2, abs=0.1)
    assert schedule.replay(graph, 1, 1).in_job_s == pytest.approx(14, abs=0.05)
    assert schedule.replay(graph, 4, 1).in_job_s == pytest.approx(5, abs=0.1)


def test_first_tasks_of_each_stage_have_their_own_time(tmp_path: Path) -> None:
    log = LogWriter((0.0,), 1)
    log.job_start(0, 1, {0: (), 1: (0,), 2: (1,)})
    at_s = 1.0
    for stage, first_s in enumerate((1.0, 1.9, 1.1)):
        tasks = [("0", at_s, at_s + first_s, first_s - 1)]
        tasks += [("0", at_s + first_s + k, at_s + first_s + k + 1, 0.0) for k in range(7)]
        log.stage(stage, at_s, at_s + first_s + 7, tasks)
        at_s += first_s + 7
    log.job_end(0, at_s)
    log.end(at_s)
    _, graph = log.read(tmp_path)
    assert graph.overheads.of_stage((1, 0)) == pytest.approx(0.9, abs=0.05)
    assert graph.overheads.of_stage((2, 0)) == pytest.approx(0.1, abs=0.05)


def test_first_tasks_of_the_jvm_are_expected_to_be_faster(tmp_path: Path) -> None:
    _, python = first_task_log(spark_pyspark_python="python3").read(tmp_path)
    _, jvm = first_task_log().read(tmp_path)
    assert 0.8 < jvm.overheads.executor_s < python.overheads.executor_s


def test_single_long_first_task_is_skew(tmp_path: Path) -> None:
    _, graph = one_stage([9.0, *([1.0] * 11)]).read(tmp_path)
    assert graph.overheads.executor_s == 0
    assert schedule.replay(graph, 4, 1).in_job_s == pytest.approx(9)


def shared_host_log(executors: int, slowdown: float, **conf: str) -> LogWriter:
    """Executors that start at 2 s on one host; each runs a task of 1 s, the first one longer."""
    log = LogWriter([2.0] * executors, 1, spark_pyspark_python="python3", **conf)
    log.job_start(0, 1, {0: ()})
    info = {"Stage ID": 0, "Stage Attempt ID": 0, "Number of Tasks": 5 * executors}
    log.event("StageSubmitted", {"Stage Info": info | {"Submission Time": ms(1)}})
    first_s = 2 + 1 + 1.0 * slowdown
    for index in range(executors):
        load_s = (0.4 * slowdown, 0.25)
        span = (2, first_s)
        log.task(0, index, str(index), span, overhead_s=load_s[0], load_s=load_s)
    for index in range(executors, 5 * executors):
        launched_s = first_s + index // executors - 1
        log.task(0, index, str(index % executors), (launched_s, launched_s + 1))
    log.event("StageCompleted", {"Stage Info": info | {"Completion Time": ms(first_s + 4)}})
    log.job_end(0, first_s + 4)
    log.end(first_s + 4)
    return log


def test_executors_that_share_a_host_start_faster_if_there_are_fewer(tmp_path: Path) -> None:
    _, graph = shared_host_log(4, slowdown=2.0).read(tmp_path)
    assert graph.overheads.slowdown == pytest.approx(2.0)
    assert graph.host_cores == pytest.approx(2.0)
    assert graph.start_factor(8) == pytest.approx(2.0)
    assert graph.start_factor(2) == graph.start_factor(1) == pytest.approx(0.5)
    # 2 s for classes in each first task: half of it was a wait for a core.
    assert graph.overheads.executor_s == pytest.approx(1.0, abs=0.01)
    # One executor registers 0.5 s after the start of the job instead of 1 s, then 20 tasks follow.
    # Four at a time, the 0.08 s that each Python worker computes took twice as long.
    assert schedule.replay(graph, 1, 1).in_job_s == pytest.approx(20.5 + 1 - 20 * 0.08, abs=0.3)


def test_executor_that_is_alone_on_its_host_is_not_slowed_down_by_others(tmp_path: Path) -> None:
    _, graph = shared_host_log(1, slowdown=2.0).read(tmp_path)
    assert graph.host_cores is None
    assert graph.start_factor(8) == 1


@pytest.mark.parametrize(
    ("executors", "slowdown", "cores"),
    [
        (1, 3.0, 4),  # the only executor had to wait for something else
        (2, 1.0, 4),
        (8, 1.0, 4),  # first tasks that do not show it
        (8, 2.0, 4),
        (8, 4.0, 4),
        (8, 8.0, 1),  # a smaller machine
        (16, 1.0, 16),  # a larger one
    ],
)
def test_local_cluster_shares_the_cores_of_this_machine_unless_the_log_shows_another(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    executors: int,
    slowdown: float,
    cores: int,
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    log = shared_host_log(executors, slowdown=slowdown, spark_master="local-cluster[2,1,512]")
    _, graph = log.read(tmp_path)
    assert graph.host_cores == pytest.approx(cores)


@pytest.mark.parametrize(
    ("hosts", "cores"),
    [
        (("localhost", "localhost"), 4),
        (("127.4.0.1", "127.4.0.2"), 4),
        (("127.4.0.1", "10.0.0.2"), None),
        (("10.0.0.2", "10.0.0.2"), None),
    ],
)
def test_executors_on_loopback_addresses_share_the_cores_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hosts: tuple[str, str], cores: int | None
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    log = shared_host_log(2, slowdown=1.0)
    added = [line for line in log.lines if line["Event"] == "SparkListenerExecutorAdded"]
    for line, host in zip(added, hosts, strict=True):
        line["Executor Info"]["Host"] = host
    assert log.read(tmp_path)[1].host_cores == cores
