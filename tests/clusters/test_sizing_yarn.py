"""What fits on a cluster, in YARN's own arithmetic."""

from __future__ import annotations

import pytest

from emrctl.aws import instance_types
from emrctl.clusters import sizing_yarn
from emrctl.errors import UsageError
from emrctl.spec import ClusterSpec, GroupSpec, SparkSettings

CLUSTER = ClusterSpec(core=GroupSpec(type="m5.xlarge", count=2))


def test_the_lecture_asked_for_five_and_got_four() -> None:
    fit = sizing_yarn.check(
        CLUSTER, SparkSettings(executors=5, executor_cores=2, executor_memory="4743M")
    )
    assert (fit.executor_mb, fit.first_mb, fit.room) == (5632, 896, 4)
    assert fit.warning is not None
    assert fit.warning.startswith("asked 5 executors, room for 4 beside the application master's")


def test_in_cluster_mode_the_driver_takes_an_executors_place() -> None:
    asked = SparkSettings(executors=4, executor_memory="4743M", deploy_mode="cluster")
    fit = sizing_yarn.check(CLUSTER, asked)
    assert (fit.first, fit.room) == ("driver", 3)


def test_emrs_default_executor_fits_once_on_a_node() -> None:
    fit = sizing_yarn.check(CLUSTER, SparkSettings())
    assert (fit.executor_mb, fit.room, fit.warning) == (11264, 2, None)


def test_a_container_larger_than_any_node_is_refused_with_the_numbers() -> None:
    with pytest.raises(UsageError, match=r"14,?688 MB|14688 MB") as caught:
        sizing_yarn.check(CLUSTER, SparkSettings(executor_memory="12g", memory_overhead="2400m"))
    assert "12288 MB" in str(caught.value)
    assert "--executor-memory" in caught.value.hint


def test_the_hint_names_the_largest_heap_that_fits() -> None:
    largest = sizing_yarn.largest_memory_mb(12288)
    assert instance_types.container_mb(largest) <= 12288 < instance_types.container_mb(largest + 32)


def test_a_driver_too_large_is_refused_in_cluster_mode_only() -> None:
    huge = SparkSettings(driver_memory="20g", deploy_mode="cluster")
    with pytest.raises(UsageError, match="the driver needs"):
        sizing_yarn.check(CLUSTER, huge)
    assert sizing_yarn.check(CLUSTER, SparkSettings(driver_memory="20g")).room == 2


@pytest.mark.parametrize(
    ("name", "memory_mb"),
    [("m5.xlarge", 9486), ("r5.xlarge", 18971), ("m4.large", 4743)],
)
def test_default_executors_are_the_ones_emr_publishes(name: str, memory_mb: int) -> None:
    assert instance_types.instance_type(name).executor_memory_mb == memory_mb
