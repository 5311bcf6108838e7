"""First tasks of executors and stages, against differences computed by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from emrctl.predict import overheads
from emrctl.predict.overheads import IdleTime, ObservedTask, Overheads

STAGE = (0, 0)


def task(launched_s: float, finished_s: float, **more: Any) -> ObservedTask:
    fields: dict[str, Any] = {
        "stage": STAGE,
        "index": 0,
        "executor": "1",
        "run_s": finished_s - launched_s,
    }
    return ObservedTask(launched_s=launched_s, finished_s=finished_s, **(fields | more))


def first(run_s: float, overhead_s: float, **more: Any) -> ObservedTask:
    return task(0, run_s + overhead_s, run_s=run_s, first_on_executor=True, **more)


def test_overhead_is_the_time_besides_the_run_time() -> None:
    assert (task(2, 5, run_s=2.5).duration_s, task(2, 5, run_s=2.5).overhead_s) == (3, 0.5)
    assert task(2, 5, run_s=4).overhead_s == 0
    assert task(5, 2, run_s=4).duration_s == 0
    assert not task(0, 1).first_on_executor
    assert not task(0, 1).first_of_stage


@pytest.mark.parametrize(
    ("duration_s", "flags", "parts"),
    [
        (10, {"first_on_executor": True, "first_of_stage": True}, (2, 1)),
        (10, {"first_on_executor": True}, (2, 0)),
        (10, {"first_of_stage": True}, (0, 1)),
        (10, {}, (0, 0)),
        # At most 90 % of the task: 1.8 s in proportion.
        (2, {"first_on_executor": True, "first_of_stage": True}, (1.2, 0.6)),
    ],
)
def test_split_of_a_task_leaves_a_tenth_of_it(
    duration_s: float, flags: dict[str, bool], parts: tuple[float, float]
) -> None:
    fitted = Overheads(executor_s=2, stage_s=7, stages_s={STAGE: 1})
    assert fitted.split(task(0, duration_s, **flags)) == pytest.approx(parts)
    assert fitted.of_stage((1, 0)) == 7


def test_task_as_first_one_has_its_own_times_or_the_usual_ones() -> None:
    fitted = Overheads(executor_s=2, stages_s={STAGE: 1})
    assert fitted.as_first(task(0, 10, first_on_executor=True), (5, 6)) == (2, 6)
    assert fitted.as_first(task(0, 10, first_of_stage=True), (5, 6)) == (5, 1)


def test_overheads_of_no_first_tasks_are_zero() -> None:
    nothing = Overheads()
    assert nothing.split(first(1, 0, first_of_stage=True)) == (0, 0)
    assert (nothing.between_s, nothing.executor_error_s, nothing.slowdown) == (0, 0, 1)
    assert overheads._effect([task(0, 1)], "first_on_executor", overheads._JVM) == (0, 0)


WARM = [task(0, 2) for _ in range(5)]  # 2 s each, without overhead


@pytest.mark.parametrize(
    ("tasks", "effect_s", "error_s"),
    [
        # 1 s of overhead let expect 1.5 s of run time, +- 1 s; 1 s was observed, +- 0.3 s.
        ([first(3, 1), *WARM], 1 + 1.5 - 0.5 / 1.09, math.sqrt(1 - 1 / 1.09)),
        # 3 s were observed, +- 0.9 s.
        ([first(5, 1), *WARM], 1 + 1.5 + 1.5 / 1.81, math.sqrt(1 - 1 / 1.81)),
        # A single one that runs more than 3 s longer has more data.
        ([first(5.1, 1), *WARM], 1 + 1.5, 1),
        # Of four, +- 30 % / 2.
        ([*[first(3, 1)] * 4, *WARM], 1 + 1.5 - 0.5 / 1.0225, math.sqrt(1 - 1 / 1.0225)),
        # No overhead: no run time is expected, +- 0.1 s; 1 s +- 0.3 s were observed.
        ([first(3, 0), *WARM], 0.1, 0.1 * math.sqrt(0.9)),
        # Other stages have warm tasks with 0.2 s of overhead; their run times are not compared.
        ([first(9, 1), task(0, 5, run_s=4.8, stage=(1, 0))], 0.8 + 1.2, 0.8),
        # There are no warm tasks: 0.02 s of overhead are usual.
        ([first(9, 1.02)], 1 + 1.5, 1),
        ([first(9, 0.01)], 0, 0.1),
    ],
)
def test_effect_combines_observed_and_expected_run_times(
    tasks: list[ObservedTask], effect_s: float, error_s: float
) -> None:
    effect = overheads._effect(tasks, "first_on_executor", overheads._PYTHON)
    assert effect == pytest.approx((effect_s, error_s))


def test_difference_is_weighted_by_size() -> None:
    # Weights 3 / 4 and 2 / 3; variances 1 and, from a single other task, the difference squared.
    groups = [([3.0], [1.0, 2.0, 3.0]), ([5.0, 7.0], [4.0])]
    squares = 0.75 * 1 * (5 / 3) ** 2 + 2 / 3 * 4 * 3**2
    expected = ((0.75 * 1 + 2 / 3 * 2) * 12 / 17, math.sqrt(squares) * 12 / 17)
    assert overheads._difference(groups) == pytest.approx(expected)


def test_variance_of_many_values_ignores_single_long_tasks() -> None:
    assert overheads._variance([1, 2, 3, 4]) == pytest.approx(5 / 3)
    assert overheads._variance([1, 2, 3, 4, 100]) == pytest.approx(1.4826**2)


def test_prior_of_run_time_grows_with_the_overhead() -> None:
    assert overheads._PYTHON.of(2) == pytest.approx((3.0, 2.0))
    assert overheads._JVM.of(2) == pytest.approx((0.8, 0.8))
    assert overheads._JVM.of(0.1) == pytest.approx((0.04, 0.1))
    assert overheads._STAGE_PRIOR.of(2) == pytest.approx((1.0, 2.0))
    assert overheads._STAGE_PRIOR.of(0.01) == pytest.approx((0.005, 0.02))
    assert overheads._SHUFFLE_PRIOR.of(0.1) == pytest.approx((0.4, 0.2))


def test_fit_marks_tasks_launched_before_any_has_finished() -> None:
    tasks = [task(0, 4), task(1, 5), task(3, 6), task(4, 8), task(4.1, 9, stage=(1, 0))]
    fitted = overheads.fit(tasks, 2, python=False)
    assert [item.first_on_executor for item in tasks] == [True, True, False, False, False]
    assert [item.first_of_stage for item in tasks] == [True, True, False, False, True]
    # A slot is free at 4 s and 5 s; the third and fourth task were launched at 3 s and 4 s.
    assert fitted.between_s == pytest.approx(-1)


def test_fit_marks_no_task_launched_at_the_first_finish() -> None:
    tasks = [task(0, 2), task(2, 4)]
    overheads.fit(tasks, 2, python=False)
    assert [item.first_on_executor for item in tasks] == [True, False]
    assert [item.first_of_stage for item in tasks] == [True, False]


def test_fit_of_one_stage_has_no_overhead_of_stages() -> None:
    """All first tasks of the stage are first ones of their executor, too."""
    warm = [task(4 + 2 * n, 6 + 2 * n) for n in range(5)]
    fitted = overheads.fit([task(0, 4, run_s=3), *warm], 1, python=True)
    assert fitted.executor_s == pytest.approx(1 + 1.5 - 0.5 / 1.09)
    assert fitted.executor_error_s == pytest.approx(math.sqrt(1 - 1 / 1.09))
    assert (fitted.stage_s, fitted.stages_s, fitted.between_s) == (0, {}, 0)


def test_fit_ignores_failed_tasks() -> None:
    warm = [task(4 + 2 * n, 6 + 2 * n) for n in range(5)]
    failed = overheads.fit([task(0, 4, run_s=3, succeeded=False), *warm], 1, python=True)
    assert (failed.executor_s, failed.executor_error_s) == (0, 0)


@pytest.mark.parametrize(
    ("loads_s", "slowdown"),
    [
        ([(3.2, 1.0)], 2.0),
        ([(3.2, 1.0), (1.6, 1.0), (9.6, 2.0)], 2.0),
        ([(0.4, 1.0)], 1.0),
        ([(3.2, 0.0)], 1.0),
        ([(3.2, 0.5), (3.2, 0.0)], 4.0),
    ],
)
def test_slowdown_is_the_load_time_beyond_1_6_times_its_cpu_time(
    loads_s: list[tuple[float, float]], slowdown: float
) -> None:
    tasks = [task(0, 9, deserialize_s=wall_s, deserialize_cpu_s=cpu_s) for wall_s, cpu_s in loads_s]
    assert overheads._slowdown(tasks) == pytest.approx(slowdown)


@pytest.mark.parametrize(
    ("time_s", "idle_s"),
    [(-1, 0), (0, 0), (0.5, 0.5), (1, 1), (2, 2), (2.5, 2), (3, 2), (3.5, 2.5), (4, 3), (10, 9)],
)
def test_idle_time_is_that_with_a_free_slot(time_s: float, idle_s: float) -> None:
    # Two slots: one is busy from 1 s to 3 s, both from 2 s on, one up to 4 s.
    idle = IdleTime([(0.0, 2)], [task(1, 3), task(2, 4)])
    assert idle.before(time_s) == pytest.approx(idle_s)


def test_idle_time_begins_with_the_first_executor() -> None:
    idle = IdleTime([(5.0, 1), (8.0, -1)], [])
    assert [idle.before(at_s) for at_s in (4, 5, 6, 9)] == [0, 0, 1, 3]
