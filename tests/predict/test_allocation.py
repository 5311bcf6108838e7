"""Settings of dynamic allocation, and the time in which executors registered."""

from __future__ import annotations

import pytest

from emrctl.aws.spark_conf import SparkConf
from emrctl.predict import allocation
from emrctl.predict.allocation import Allocation

ON = {"spark.dynamicAllocation.enabled": "true"}
JOB_S = (10.0, 200.0)


def read(*registered_s: float, **more: str) -> Allocation:
    names = {f"spark.dynamicAllocation.{name}": value for name, value in more.items()}
    found = allocation.read(SparkConf({**ON, **names}), JOB_S, registered_s)
    assert found is not None
    return found


def test_fixed_number_of_executors_is_no_allocation() -> None:
    assert allocation.read(SparkConf({}), JOB_S, [0.0]) is None


def test_read_returns_the_defaults_of_spark() -> None:
    assert read() == Allocation(
        initial=0,
        minimum=0,
        backlog_s=1.0,
        sustained_s=1.0,
        idle_s=60.0,
        tracks_shuffle=True,
        latency_s=3.0,
    )


def test_read_returns_the_properties_of_the_run() -> None:
    found = read(
        minExecutors="2",
        initialExecutors="3",
        schedulerBacklogTimeout="4s",
        executorIdleTimeout="5min",
    )
    assert (found.initial, found.minimum) == (3, 2)
    assert (found.backlog_s, found.sustained_s, found.idle_s) == (4, 4, 300)
    assert read(sustainedSchedulerBacklogTimeout="7").sustained_s == 7
    service = SparkConf({**ON, "spark.shuffle.service.enabled": "true"})
    of_service = allocation.read(service, JOB_S, [])
    assert of_service is not None
    assert not of_service.tracks_shuffle


@pytest.mark.parametrize(
    ("registered_s", "latency_s"),
    [
        # Requests after 1, 2, 2 and 3 s: 3.0, 3.5, 4.0 and 3.5 s later.
        ([0.0, 14.0, 15.5, 16.0, 16.5], 3.5),
        ([16.0, 0.0, 14.0], 3.5),
        ([0.0, 10.5], 0.2),
        ([0.0, 95.0], 60.0),
        # None within the job: from the first one, requested at any time before the job.
        ([2.0, 10.0], 1.0),
        ([1.5, 200.0], 0.75),
        ([10.0, 12.0], 1.0),
        ([8.0], 3.0),
        ([14.5], 3.5),
    ],
)
def test_latency_is_the_median_time_from_request_to_registration(
    registered_s: list[float], latency_s: float
) -> None:
    assert read(*registered_s).latency_s == pytest.approx(latency_s)


def test_requests_double_and_have_their_own_latencies() -> None:
    requests = list(read(0.0, 14.0, 15.5, 16.0, 16.5).requests)
    assert requests == [(11, 3.0), (12, 3.5), (12, 4.0), (13, 3.5)]
    assert not read(0.0, 200.0).requests


def test_latency_ignores_the_initial_executors() -> None:
    assert read(0.0, 11.5, 15.0, initialExecutors="2").latency_s == pytest.approx(4)
