from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from emrctl.compare.alignment import stages
from emrctl.compare.stage_figures import Clock, duration_s, stage_figures
from emrctl.compare.stages import Reason, StageComparison, compare_stages
from emrctl.metrics.model import RunMetrics
from tests.compare.stage_runs import run, spread, stage


def compared(one: RunMetrics, two: RunMetrics) -> StageComparison:
    comparison = compare_stages([one], [two])
    assert comparison is not None
    return comparison


def reasons(one: RunMetrics, two: RunMetrics) -> dict[str, Reason]:
    (change,) = compared(one, two).changes
    return {reason.label: reason for reason in change.reasons}


def test_changes_and_driver_add_up_to_the_difference() -> None:
    one = run(stage(0, 0, 10), stage(1, 5, 20), stage(2, 25, 30), end_s=40)
    two = run(stage(0, 0, 30), stage(1, 5, 20), end_s=35)
    comparison = compared(one, two)
    driver_s = comparison.driver_s[1] - comparison.driver_s[0]
    assert comparison.driver_s == (15.0, 5.0)
    assert comparison.seconds == -5.0
    assert sum(change.seconds for change in comparison.changes) + driver_s == pytest.approx(-5.0)


def test_time_of_parallel_stages_is_shared() -> None:
    comparison = compared(run(stage(0, 0, 10), stage(1, 0, 20)), run(stage(0, 0, 10)))
    seconds = {
        change.name: change.reference.seconds for change in comparison.changes if change.reference
    }
    assert seconds == {"stage a": 5.0, "stage b": 15.0}


def test_waiting_counts_only_while_no_tasks_run() -> None:
    late = replace(stage(1, 0, 30), first_task_ms=20_000)
    clock = Clock(run(stage(0, 0, 10), late, end_s=30))
    assert [clock.seconds(item) for item in stages(run(stage(0, 0, 10), late))] == [
        (0.0, 10.0),
        (10.0, 10.0),
    ]


def test_changes_are_ordered_by_their_part_of_the_difference() -> None:
    one = run(stage(0, 0, 10), stage(1, 10, 20), stage(2, 20, 30))
    two = run(stage(0, 0, 11), stage(1, 11, 41), stage(2, 41, 45))
    comparison = compared(one, two)
    assert [(change.name, change.seconds) for change in comparison.changes] == [
        ("stage b", 20.0),
        ("stage c", -6.0),
        ("stage a", 1.0),
    ]


def test_stage_of_one_run_contributes_all_its_time() -> None:
    comparison = compared(run(stage(0, 0, 10)), run(stage(0, 0, 10), stage(1, 10, 17)))
    change = comparison.changes[0]
    assert (change.name, change.reference_id, change.other_id) == ("stage b", None, 1)
    assert (change.reference, change.seconds, change.reasons) == (None, 7.0, ())


def test_reasons_split_the_change_exactly() -> None:
    one = run(stage(0, 0, 10, task_time_ms=40_000, jvm_gc_time_ms=1_000))
    two = run(stage(0, 0, 30, task_time_ms=60_000, jvm_gc_time_ms=21_000, tasks=2))
    found = reasons(one, two)
    gc, parallel = found["garbage collection"], found["tasks at once"]
    assert (gc.reference, gc.other) == (1.0, 21.0)
    assert (parallel.reference, parallel.other) == (4.0, 2.0)
    # 20 s more work at 1 / 4 and 1 / 2; 50 s of work, half as many tasks at once.
    assert gc.seconds == pytest.approx(7.5)
    assert parallel.seconds == pytest.approx(12.5)
    assert list(found) == ["tasks at once", "garbage collection", "tasks"]


def test_reasons_name_delay_fetch_wait_overhead_and_lost_work() -> None:
    one = run(stage(0, 0, 10))
    slow = stage(0, 0, 60, fetch_wait_time_ms=9_000, failed_time_ms=10_000)
    two = run(replace(slow, first_task_ms=20_000, executor_run_time_ms=50_000))
    found = reasons(one, two)
    assert found["waiting for the first task"].seconds == pytest.approx(20.0)
    assert found["waiting for shuffle data"].other == 9.0
    assert found["scheduling and deserialising tasks"].other == 10.0
    assert found["failed and killed tasks"].other == 10.0


def test_reasons_name_skew_spill_and_bytes() -> None:
    one = run(stage(0, 0, 10, duration_ms_quantiles=spread(100, 120), input_bytes=10 << 20))
    changed: dict[str, Any] = {
        "disk_spilled_bytes": 5 << 30,
        "input_bytes": 100 << 20,
        "shuffle_read_bytes": 900,
    }
    two = run(stage(0, 0, 20, duration_ms_quantiles=spread(100, 900), **changed))
    found = reasons(one, two)
    assert found["longest task / median"].other == 9.0
    assert found["spilled to disk"].other == 5 << 30
    assert found["input"].reference == 10 << 20
    assert "shuffle read" not in found


def test_equal_stages_have_no_reasons() -> None:
    one = run(stage(0, 0, 10, duration_ms_quantiles=spread(0, 0)))
    assert reasons(one, one) == {}


def test_skew_of_few_tasks_is_unknown() -> None:
    (change,) = compared(run(stage(0, 0, 1, tasks_ok=3)), run(stage(0, 0, 1))).changes
    assert change.reference is not None
    assert math.isnan(change.reference.skew)


def test_attempts_of_a_retried_stage_are_added() -> None:
    one = run(stage(0, 0, 10))
    two = run(stage(0, 0, 10), stage(0, 12, 22, attempt=1))
    (change,) = compared(one, two).changes
    assert (change.seconds, change.other and change.other.attempts) == (10.0, 2)
    assert "attempts" in {reason.label for reason in change.reasons}


def test_repeats_are_averaged_and_overlap_is_marked() -> None:
    one = [run(stage(0, 0, seconds), end_s=20) for seconds in (9, 10, 11)]
    two = [run(stage(0, 0, seconds), end_s=20) for seconds in (10, 12)]
    comparison = compare_stages(one, two)
    assert comparison is not None
    (change,) = comparison.changes
    assert (change.seconds, change.overlap, comparison.repeats) == (1.0, True, (3, 2))
    faster = compare_stages(one, [run(stage(0, 0, 1)), run(stage(0, 0, 2))])
    assert faster is not None
    assert not faster.changes[0].overlap


def test_many_repeats_are_limited_to_those_near_the_median() -> None:
    one = [run(stage(0, 0, 1), end_s=seconds) for seconds in range(2, 102)]
    comparison = compare_stages(one, one)
    assert comparison is not None
    assert comparison.repeats == (9, 9)
    assert comparison.total_s == (52.0, 52.0)


@pytest.mark.parametrize(
    "runs", [[], [RunMetrics()], [run()], [RunMetrics(stages=(stage(0, 0, 1),))]]
)
def test_runs_without_times_or_stages_are_not_compared(runs: list[RunMetrics]) -> None:
    assert compare_stages([run(stage(0, 0, 1))], runs) is None
    assert compare_stages(runs, [run(stage(0, 0, 1))]) is None


def test_stage_without_end_lasts_until_the_application_ends() -> None:
    open_ended = replace(stage(0, 0, 1), completed_ms=None)
    (change,) = compared(run(stage(0, 0, 1)), run(open_ended, end_s=50)).changes
    assert change.seconds == 49.0


def test_times_outside_the_application_are_clipped() -> None:
    comparison = compared(run(stage(0, 0, 1), end_s=10), run(stage(0, -5, 500), end_s=10))
    assert comparison.changes[0].seconds == 9.0
    assert comparison.driver_s == (9.0, 0.0)


def test_duration_of_an_application_without_times_is_zero() -> None:
    assert duration_s(RunMetrics()) == 0
    assert duration_s(RunMetrics(start_ms=5_000, end_ms=2_000)) == 0
    assert Clock(RunMetrics()).driver_s == 0


def test_clock_does_not_depend_on_the_time_of_the_start() -> None:
    late = replace(stage(1, 3, 30), first_task_ms=20_000)
    at_zero = run(stage(0, 2, 10), late, end_s=35)
    moved = tuple(
        replace(
            item,
            submitted_ms=(item.submitted_ms or 0) + 7_000,
            first_task_ms=(item.first_task_ms or 0) + 7_000,
            completed_ms=(item.completed_ms or 0) + 7_000,
        )
        for item in at_zero.stages
    )
    later = replace(at_zero, start_ms=7_000, end_ms=42_000, stages=moved)
    # 8 s of the first stage, 10 s of waiting and 10 s of the second; 2 + 5 s of the driver.
    for metrics in (at_zero, later):
        clock = Clock(metrics)
        assert [clock.seconds(item) for item in stages(metrics)] == [(0, 8), (10, 10)]
        assert (clock.driver_s, duration_s(metrics)) == (7, 35)


def test_tasks_at_once_are_the_mean_while_tasks_run() -> None:
    late = replace(stage(0, 0, 10, task_time_ms=24_000), first_task_ms=2_000)
    clock = Clock(run(late, end_s=10))
    figures = stage_figures(stages(run(late))[0], clock)
    assert (figures.seconds, figures.delay_s, figures.parallel) == (10, 2, 3)
    assert replace(figures, seconds=2.0).parallel == 0


def shown(one: dict[str, Any], two: dict[str, Any]) -> set[str]:
    """Return the labels of the reasons for stages of 10 s with these figures."""
    return set(reasons(run(stage(0, 0, 10, **one)), run(stage(0, 0, 10, **two))))


@pytest.mark.parametrize(
    ("one", "two", "label", "listed"),
    [
        # A tenth more; bytes from 1 MiB on.
        ({"tasks": 100}, {"tasks": 110}, "tasks", False),
        ({"tasks": 100}, {"tasks": 111}, "tasks", True),
        ({"tasks": 111}, {"tasks": 100}, "tasks", True),
        ({}, {"input_bytes": (1 << 20) - 1}, "input", False),
        ({}, {"input_bytes": 1 << 20}, "input", True),
        # The longest task takes 1.5 x the median in one of them.
        (
            {"duration_ms_quantiles": spread(100, 100)},
            {"duration_ms_quantiles": spread(100, 149)},
            "longest task / median",
            False,
        ),
        (
            {"duration_ms_quantiles": spread(100, 100)},
            {"duration_ms_quantiles": spread(100, 150)},
            "longest task / median",
            True,
        ),
        # 5 % of the longer stage, one task at a time.
        ({}, {"jvm_gc_time_ms": 499}, "garbage collection", False),
        ({}, {"jvm_gc_time_ms": 500}, "garbage collection", True),
    ],
)
def test_reasons_are_changes_of_a_noticeable_size(
    one: dict[str, Any], two: dict[str, Any], label: str, listed: bool
) -> None:
    assert (label in shown(one, two)) is listed


def test_skew_needs_four_tasks() -> None:
    two: dict[str, Any] = {"tasks_ok": 4, "duration_ms_quantiles": spread(100, 300)}
    [change] = compared(run(stage(0, 0, 10, **two)), run(stage(0, 0, 10, **two))).changes
    assert change.reference is not None
    assert change.reference.skew == 3
    three = {**two, "tasks_ok": 3}
    [change] = compared(run(stage(0, 0, 10, **three)), run(stage(0, 0, 10, **three))).changes
    assert change.reference is not None
    assert math.isnan(change.reference.skew)
