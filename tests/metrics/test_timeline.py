"""Executor cores and running tasks over time, against areas computed by hand."""

from __future__ import annotations

from typing import Any

import pytest

from emrctl.metrics import timeline
from emrctl.metrics.model import ExecutorMetrics, RunMetrics, StageMetrics
from emrctl.metrics.timeline import Area


def worker(number: int, added_ms: int | None, removed_ms: int | None, **more: Any) -> Any:
    fields = {"cores": 4, "added_ms": added_ms, "removed_ms": removed_ms, **more}
    return ExecutorMetrics(id=str(number), **fields)


# 4 cores from 1 s to 5 s, 2 from 2 s to the end at 10 s, and the driver, which runs no tasks.
RUN = RunMetrics(
    end_ms=10_000,
    executors=(
        ExecutorMetrics(id="driver", cores=8, added_ms=0),
        worker(1, 1_000, 5_000),
        worker(2, 2_000, None, cores=2),
    ),
)


def test_core_seconds_are_cores_times_lifetime() -> None:
    assert [timeline.lifetime_s(row, RUN) for row in RUN.busy_rows] == [4.0, 8.0]
    assert timeline.core_seconds(RUN) == 4 * 4 + 2 * 8
    two = RunMetrics(end_ms=10_000, executors=RUN.executors, environment={"spark.task.cpus": "2"})
    assert timeline.slot_seconds(two) == 2 * 4 + 1 * 8


def test_span_without_end_of_application_ends_at_the_last_known_time() -> None:
    stages = (StageMetrics(id=0, completed_ms=6_000), StageMetrics(id=1))
    run = RunMetrics(stages=stages, executors=(worker(1, 1_000, 4_000), worker(2, 2_000, None)))
    assert timeline.last_known_ms(run) == 6_000
    assert timeline.last_known_ms(RunMetrics(executors=run.executors)) == 4_000
    assert timeline.last_known_ms(RunMetrics()) is None
    assert [timeline.span_of(row, run) for row in run.executors] == [(1_000, 4_000), (2_000, 6_000)]


@pytest.mark.parametrize(
    ("row", "span"),
    [
        (worker(1, None, 4_000), None),
        (worker(1, 0, 0), (0, 0)),
        (worker(1, 12_000, None), (12_000, 12_000)),  # added after the last known time
    ],
)
def test_span_of_executor_with_unusual_times(
    row: ExecutorMetrics, span: tuple[int, int] | None
) -> None:
    assert timeline.span_of(row, RUN) == span
    assert timeline.lifetime_s(row, RUN) == 0


def test_peak_cores_counts_executors_that_are_replaced_once() -> None:
    assert timeline.peak_cores(RUN) == 6
    replaced = (worker(1, 0, 3_000), worker(2, 3_000, None, cores=3))
    assert timeline.peak_cores(RunMetrics(executors=replaced)) == 4
    assert timeline.peak_cores(RunMetrics(executors=(worker(1, None, None),))) == 4
    assert timeline.peak_cores(RunMetrics()) == 0


@pytest.mark.parametrize(
    ("span", "area"),
    [
        ((0, 100), 2 * 20 + 3 * 20),
        ((10, 20), 2 * 10),
        ((15, 25), 2 * 5 + 5 * 5),
        ((20, 30), 5 * 10),
        ((30, 40), 3 * 10),
        ((35, 36), 3),
        ((0, 10), 0),
        ((40, 90), 0),
        ((25, 25), 0),
        ((30, 20), 0),
    ],
)
def test_area_is_the_integral_within_a_span(span: tuple[int, int], area: float) -> None:
    # Height 2 from 10 to 30 and 3 from 20 to 40.
    assert Area([((10, 30), 2), ((20, 40), 3)]).within(span) == pytest.approx(area)


def test_area_without_spans_is_zero() -> None:
    assert Area([]).within((0, 10)) == 0


def test_area_adds_spans_with_common_ends() -> None:
    area = Area([((0, 10), 1), ((0, 5), 2), ((5, 10), 4)])
    assert area.within((0, 5)) == pytest.approx(15)
    assert area.within((5, 10)) == pytest.approx(25)


def test_slots_held_and_work_done_of_a_run() -> None:
    # 6 s of tasks in 3 s, and stages without a duration or without times.
    stages = (
        StageMetrics(id=0, first_task_ms=2_000, completed_ms=5_000, task_time_ms=6_000),
        StageMetrics(id=1, first_task_ms=7_000, completed_ms=7_000, task_time_ms=6_000),
        StageMetrics(id=2, first_task_ms=7_000, task_time_ms=6_000),
        StageMetrics(id=3, completed_ms=7_000, task_time_ms=6_000),
    )
    run = RunMetrics(
        end_ms=10_000,
        stages=stages,
        executors=(*RUN.executors, worker(3, None, None)),
        environment={"spark.task.cpus": "2"},
    )
    assert timeline.work_done(run).within((0, 10_000)) == pytest.approx(6_000)
    assert timeline.work_done(run).within((2_000, 3_000)) == pytest.approx(2_000)
    # Two slots from 1 s to 5 s, one from 2 s on.
    assert timeline.slots_held(run).within((0, 10_000)) == pytest.approx(2 * 4_000 + 8_000)
    assert timeline.slots_held(run).within((0, 2_000)) == pytest.approx(2_000)


def test_working_span_does_not_end_before_it_begins() -> None:
    early = StageMetrics(id=0, first_task_ms=5_000, completed_ms=4_000)
    assert timeline.working(early) == (5_000, 5_000)


@pytest.mark.parametrize(
    ("other", "shared"), [((0, 10), 0), ((0, 12), 2), ((12, 15), 3), ((18, 30), 2), ((20, 30), 0)]
)
def test_overlap_is_the_shared_time(other: tuple[int, int], shared: int) -> None:
    assert timeline.overlap((10, 20), other) == timeline.overlap(other, (10, 20)) == shared


def test_merged_joins_spans_that_overlap_or_touch() -> None:
    spans = [(20, 25), (0, 5), (5, 8), (6, 7), (10, 12)]
    assert timeline.merged(spans) == [(0, 8), (10, 12), (20, 25)]
    assert timeline.merged([]) == []
