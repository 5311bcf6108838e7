"""Savings of findings by a replay without them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from emrctl.metrics import findings
from emrctl.metrics.eventlog.layout import list_files
from emrctl.metrics.findings import Finding
from emrctl.metrics.model import RunMetrics, StageMetrics
from emrctl.predict import history, savings
from emrctl.predict.graph import JobWork, StageWork, WorkGraph
from emrctl.predict.overheads import Overheads
from tests.event_logs import RECORDED


def graph(*tasks_s: float, delay_s: float = 0.0) -> WorkGraph:
    """Return two jobs of one stage with these tasks, on one executor of two cores."""
    stages = {
        (number, 0): StageWork(
            key=(number, 0), job=number, parents=(), delay_s=0.0, tail_s=0.0, tasks_s=[*tasks_s]
        )
        for number in (0, 1)
    }
    jobs = [
        JobWork(id=n, jobs_before=n, delay_s=delay_s, tail_s=0.0, pool="", stages=[(n, 0)])
        for n in (0, 1)
    ]
    return WorkGraph(
        jobs=jobs,
        stages=stages,
        overheads=Overheads(),
        executors=1,
        cores=2,
        task_cpus=1,
        arrivals_s=[0.0],
        fair=False,
        allocation=None,
        in_job_s=10.0,
        wall_s=10.0,
        tail_s=0.0,
    )


def saved(kind: str, work: WorkGraph, stages: tuple[int, ...] = (0,), **stage: Any) -> float | None:
    run = RunMetrics(stages=tuple(StageMetrics(id=number, **stage) for number in (0, 1)))
    found = Finding(kind=kind, evidence="", advice="", stages=stages)
    [item] = savings.replayed([found], run, work)
    return item.replayed_s


def test_skew_is_spread_evenly_over_the_tasks_of_its_stages() -> None:
    assert saved("data_skew", graph(1, 1, 1, 9)) == pytest.approx(10 - 6)
    assert saved("data_skew", graph(1, 1, 1, 9), stages=(0, 1)) == pytest.approx(20 - 12)


def test_straggler_is_limited_to_the_third_quartile() -> None:
    assert saved("straggler", graph(1, 1, 1, 1, 1, 1, 1, 9)) == pytest.approx(12 - 4)


def test_few_partitions_are_divided_into_two_waves() -> None:
    assert saved("few_partitions", graph(8)) == pytest.approx(8 - 4)


def test_waiting_and_collection_are_left_out() -> None:
    times: dict[str, Any] = {"executor_run_time_ms": 8_000}
    waiting = saved("shuffle_bound", graph(4, 4), fetch_wait_time_ms=6_000, **times)
    assert waiting == pytest.approx(3)
    assert saved("gc", graph(4, 4), jvm_gc_time_ms=4_400, **times) == pytest.approx(2)


def test_waiting_saves_no_more_than_the_stage() -> None:
    times: dict[str, Any] = {"executor_run_time_ms": 1_000}
    assert saved("shuffle_bound", graph(4, 4), fetch_wait_time_ms=2_000, **times) == 4
    assert saved("gc", graph(4, 4), jvm_gc_time_ms=49, **times) == 0
    assert saved("shuffle_bound", graph(4, 4), fetch_wait_time_ms=3) == 4  # without run time


def test_slow_host_is_limited_to_the_median() -> None:
    assert saved("slow_host", graph(1, 2, 3, 8, 9)) == pytest.approx(13 - 7)


def test_small_tasks_become_three_waves_of_their_run_time() -> None:
    # 6 of 8 s on two slots; at most the time of the tasks.
    assert saved("small_tasks", graph(*[0.5] * 16), executor_run_time_ms=6_000) == 1
    assert saved("many_partitions", graph(4, 4), executor_run_time_ms=9_000) == 0


@pytest.mark.parametrize("kind", ["python_udf", "text_format"])
def test_slow_formats_and_functions_take_half(kind: str) -> None:
    assert saved(kind, graph(4, 4)) == pytest.approx(2)


@pytest.mark.parametrize(("kind", "seconds"), [("slow_ramp", 4), ("cold_start", 9)])
def test_executors_that_came_late_are_there_at_once(kind: str, seconds: float) -> None:
    # Two executors of one slot register at 5 s and 13 s.
    late = dataclasses.replace(graph(4, 4), executors=2, cores=1, arrivals_s=[5.0, 13.0])
    assert saved(kind, late) == pytest.approx(seconds)


def test_pauses_within_the_driver_and_its_end_are_left_out() -> None:
    work = dataclasses.replace(graph(4, 4), tail_s=3.0)
    for stage in work.stages.values():
        stage.delay_s = 1.0
    assert saved("driver_bound", work) == pytest.approx(2 + 3)


def test_finding_without_stages_changes_all_stages() -> None:
    assert saved("few_partitions", graph(8), stages=()) == pytest.approx(2 * 4)


def test_pauses_of_the_driver_are_left_out_after_the_first_job() -> None:
    assert saved("driver_bound", graph(4, 4, delay_s=5)) == pytest.approx(5)


def test_other_kinds_are_not_replayed() -> None:
    assert saved("memory_unused", graph(4)) is None


@pytest.mark.parametrize(
    ("log", "kind"),
    [
        ("few_partitions", "few_partitions"),
        ("skew_not_split", "data_skew"),
        ("slow_host", "slow_host"),
        ("small_tasks", "small_tasks"),
        ("gc", "gc"),
        ("cold_start", "cold_start"),
        ("slow_ramp", "slow_ramp"),
    ],
)
def test_estimates_of_recorded_logs_are_within_a_factor_of_two(log: str, kind: str) -> None:
    run, work = history.read_any(list_files(RECORDED / f"{log}.ill.zstd"))
    assert work is not None
    [item] = [i for i in savings.replayed(findings.diagnose(run), run, work) if i.kind == kind]
    assert item.replayed_s is not None
    assert item.seconds / 2 <= item.replayed_s <= item.seconds * 2


def test_log_without_completed_jobs_has_no_work() -> None:
    assert history.read_any(list_files(RECORDED / "dropped_events.ill.zstd"))[1] is None
