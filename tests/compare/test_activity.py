from __future__ import annotations

import io
from dataclasses import replace

import pytest

from emrctl.compare import activity
from emrctl.metrics.eventlog.layout import EventLogFile
from emrctl.metrics.model import ExecutorMetrics, RunMetrics
from tests.compare import comparisons
from tests.compare.stage_runs import run, stage

WORKER = ExecutorMetrics(id="1", cores=2, added_ms=0, task_time_ms=40_000)


def test_read_returns_the_mean_tasks_in_each_bin() -> None:
    metrics = replace(run(stage(0, 0, 25), stage(1, 50, 100)), executors=(WORKER,))
    found = activity.read(metrics, lambda: comparisons.event_log(metrics))
    assert found is not None
    (item,) = found.executors
    quarter = activity.BINS // 4
    assert item.load[:quarter] == pytest.approx([0.5] * quarter)
    assert item.load[quarter : 2 * quarter] == pytest.approx([0.0] * quarter)
    assert item.load[2 * quarter :] == pytest.approx([0.5] * 2 * quarter)
    assert (item.busy, item.idle_s, found.busy) == pytest.approx((0.2, 80.0, 0.2))


def test_read_without_readable_log_has_lifetimes_only() -> None:
    metrics = replace(run(end_s=10), executors=(replace(WORKER, removed_ms=5_000),))
    damaged = (EventLogFile("app", lambda: io.BytesIO(b"\x00not a log")),)
    for log in (tuple, lambda: damaged):
        found = activity.read(metrics, log)
        assert found is not None
        assert (found.executors[0].end_s, found.executors[0].load) == (5.0, ())


@pytest.mark.parametrize(
    "metrics",
    [RunMetrics(), RunMetrics(start_ms=0, end_ms=0), RunMetrics(start_ms=0, end_ms=9)],
)
def test_read_of_run_without_times_or_executors_is_none(metrics: RunMetrics) -> None:
    assert activity.read(metrics, tuple) is None


def test_executor_without_tasks_is_idle() -> None:
    idle = replace(WORKER, id="2", task_time_ms=0)
    metrics = replace(run(stage(0, 0, 50)), executors=(WORKER, idle))
    log = comparisons.event_log(replace(metrics, executors=(WORKER,)))
    found = activity.read(metrics, lambda: log)
    assert found is not None
    assert set(found.executors[1].load) == {0.0}
    assert found.executors[1].idle_s == 100.0


def test_times_of_executors_are_relative_to_the_start_of_the_application() -> None:
    row = replace(WORKER, added_ms=7_000, removed_ms=12_000, task_time_ms=4_000)
    metrics = RunMetrics(start_ms=5_000, end_ms=25_000, executors=(row,))
    found = activity.read(metrics, tuple)
    assert found is not None
    (item,) = found.executors
    assert (item.begin_s, item.end_s, found.end_s) == (2, 7, 20)
    assert (item.slots, item.busy, item.idle_s) == (2, 0.4, 3)
