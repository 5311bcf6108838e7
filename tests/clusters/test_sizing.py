"""Executors of a step against the resources of YARN and of standalone workers."""

from __future__ import annotations

import re
from typing import Any

import pytest

from emrctl.aws import instance_types
from emrctl.clusters.sizing import (
    StandaloneWorkers,
    allocate,
    container_capacity,
)
from emrctl.errors import UsageError
from emrctl.spec import ClusterSpec, GroupSpec, SparkSettings
from emrctl.spec.emr import Classification
from emrctl.spec.instance_groups import (
    FleetSpec,
    FleetsSpec,
    FleetTypeSpec,
    ScalingSpec,
    TaskSpec,
)

CLUSTER = ClusterSpec(core=GroupSpec(type="m5.xlarge", count=2))
TWO = StandaloneWorkers(count=2, cores=4, memory_mb=15_360)


# --- YARN -----------------------------------------------------------------------------------------


def test_container_capacity_warns_if_not_all_executors_fit() -> None:
    fit = container_capacity(
        CLUSTER, SparkSettings(executors=5, executor_cores=2, executor_memory="4743M")
    )
    assert (fit.executor_mb, fit.first_mb, fit.room) == (5632, 896, 4)
    assert fit.warning is not None
    assert fit.warning.startswith(
        "5 executors requested, room for 4 beside the application master's"
    )


@pytest.mark.parametrize(
    ("scaling", "most_nodes"),
    [
        (ScalingSpec(maximum=3), 3),
        (ScalingSpec(maximum=12, unit="vcpus"), 3),
        (ScalingSpec(maximum=9, max_core=3), 3),
        (ScalingSpec(maximum=1), 2),
    ],
)
def test_container_capacity_counts_nodes_that_managed_scaling_may_add(
    scaling: ScalingSpec, most_nodes: int
) -> None:
    spec = CLUSTER.model_copy(update={"scaling": scaling})
    sizes: dict[str, Any] = {"executor_cores": 2, "executor_memory": "4743M"}
    fit = container_capacity(spec, SparkSettings(executors=2 * most_nodes + 1, **sizes))
    assert (fit.room, fit.most_nodes, fit.most_room) == (4, most_nodes, 2 * most_nodes)
    assert f"room for {2 * most_nodes} beside" in str(fit.warning)
    assert f"{most_nodes} nodes of" in str(fit.warning)
    assert ("the maximum of managed scaling" in str(fit.warning)) == (most_nodes > 2)
    assert (
        container_capacity(spec, SparkSettings(executors=2 * most_nodes, **sizes)).warning is None
    )


def test_container_capacity_counts_units_of_scaled_fleet() -> None:
    types = (FleetTypeSpec(type="m5.2xlarge", weight=8), FleetTypeSpec(type="m5.xlarge", weight=4))
    fleets = FleetsSpec(
        core=FleetSpec(types=types, on_demand=8), task=FleetSpec(types=types, spot=4)
    )
    spec = ClusterSpec(fleets=fleets, scaling=ScalingSpec(maximum=16, max_core=8))
    assert container_capacity(spec, SparkSettings()).most_nodes == 4


def test_container_capacity_counts_task_nodes_by_their_type() -> None:
    tasks = (
        TaskSpec(count=3),
        TaskSpec(name="big", type="m5.2xlarge"),
        TaskSpec(name="no", count=0),
    )
    sizes: dict[str, Any] = {"executor_cores": 2, "executor_memory": "4743M"}
    spec = CLUSTER.model_copy(update={"task": tasks})
    fit = container_capacity(spec, SparkSettings(executors=15, **sizes))
    assert (fit.nodes, fit.task_nodes, fit.room) == (2, 4, 3 + 1 + 3 * 2 + 4)
    assert "room for 14 beside" in str(fit.warning)
    assert "2 nodes of 12288 MB, 4 task nodes)" in str(fit.warning)
    assert container_capacity(spec, SparkSettings(executors=14, **sizes)).warning is None


def test_container_capacity_has_one_executor_for_each_gpu() -> None:
    spec = ClusterSpec(core=GroupSpec(type="g4dn.2xlarge", count=2), gpu=True)
    asked = SparkSettings(executors=4, executor_memory="2g")
    fit = container_capacity(spec, asked)
    assert (fit.gpus, fit.room) == (1, 2)
    assert fit.warning is not None
    assert "nodes of 24576 MB and 1 GPU" in fit.warning
    without = SparkSettings(
        executors=4, executor_memory="2g", conf={"spark.executor.resource.gpu.amount": "0"}
    )
    assert container_capacity(spec, without).warning is None


def test_container_capacity_in_cluster_mode_includes_driver() -> None:
    asked = SparkSettings(executors=4, executor_memory="4743M", deploy_mode="cluster")
    fit = container_capacity(CLUSTER, asked)
    assert (fit.first, fit.room) == ("driver", 3)


def test_container_capacity_default_executor_fits_once_per_node() -> None:
    fit = container_capacity(CLUSTER, SparkSettings())
    assert (fit.executor_mb, fit.room, fit.warning) == (11264, 2, None)


def test_container_capacity_rejects_executor_larger_than_node() -> None:
    with pytest.raises(UsageError, match=r"14,?688 MB|14688 MB") as caught:
        container_capacity(CLUSTER, SparkSettings(executor_memory="12g", memory_overhead="2400m"))
    assert "12288 MB" in str(caught.value)
    assert "--executor-memory" in caught.value.hint


NODE_MB = 12_288
TOO_LARGE: tuple[dict[str, object], ...] = (
    {"executor_memory": "12g"},
    {"executor_memory": "12g", "memory_overhead": "2400m"},
    {"executor_memory": "12GB", "memory_overhead": "2048"},
    {"conf": {"spark.executor.memory": "12288"}},
    {"conf": {"spark.executor.memory": "10g", "spark.executor.memoryOverhead": "4gb"}},
    {
        "executor_memory": "10g",
        "conf": {"spark.memory.offHeap.enabled": "true", "spark.memory.offHeap.size": "2147483648"},
    },
    {"executor_memory": "8g", "conf": {"spark.executor.pyspark.memory": "4g"}},
    {"deploy_mode": "cluster", "driver_memory": "12g"},
    {"conf": {"spark.submit.deployMode": "cluster", "spark.driver.memory": "12g"}},
    {
        "deploy_mode": "cluster",
        "driver_memory": "8g",
        "conf": {"spark.driver.memoryOverhead": "6g"},
    },
    {"conf": {"spark.yarn.am.memory": "12g"}},
)


@pytest.mark.parametrize("values", TOO_LARGE)
def test_container_capacity_hint_is_accepted(values: dict[str, Any]) -> None:
    """The largest size in the hint fits, and one MB of a unit of YARN more does not."""
    with pytest.raises(UsageError) as caught:
        container_capacity(CLUSTER, SparkSettings.model_validate(values))
    match = re.fullmatch(r"Set (\S+)(?: (\S+)=| )(\d+)m at most\.", caught.value.hint)
    assert match is not None, caught.value.hint
    for size_mb in (int(match[3]), int(match[3]) + 32):
        conf = {**values.get("conf", {}), **({match[2]: f"{size_mb}m"} if match[2] else {})}
        flag = {} if match[2] else {match[1][2:].replace("-", "_"): f"{size_mb}m"}
        settings = SparkSettings.model_validate({**values, **flag, "conf": conf})
        if size_mb == int(match[3]):
            container_capacity(CLUSTER, settings)
        else:
            with pytest.raises(UsageError):
                container_capacity(CLUSTER, settings)


def test_container_capacity_without_room_for_heap_names_what_to_reduce() -> None:
    settings = SparkSettings(conf={"spark.executor.memoryOverhead": "12g"})
    with pytest.raises(UsageError) as caught:
        container_capacity(CLUSTER, settings)
    assert caught.value.hint == "Reduce spark.executor.memoryOverhead (12288 MB)."


def test_container_capacity_hint_is_no_heap_that_spark_rejects() -> None:
    settings = SparkSettings(executor_memory="4g", memory_overhead="11900m")
    with pytest.raises(UsageError) as caught:
        container_capacity(CLUSTER, settings)
    assert caught.value.hint == "Reduce spark.executor.memoryOverhead (11900 MB)."


def test_container_capacity_reads_cluster_configuration() -> None:
    defaults = {"spark.executor.memory": "5g", "spark.executor.instances": "9"}
    item = Classification(classification="spark-defaults", properties=defaults)
    cluster = CLUSTER.model_copy(update={"configurations": (item,)})
    fit = container_capacity(cluster, SparkSettings())
    assert (fit.executor_mb, fit.requested) == (6080, 9)
    assert container_capacity(cluster, SparkSettings(executor_memory="2g")).executor_mb == 2432
    properties = {"maximizeResourceAllocation": "true"}
    maximize = Classification(classification="spark", properties=properties)
    whole = CLUSTER.model_copy(update={"configurations": (maximize,)})
    fit = container_capacity(whole, SparkSettings())
    assert (fit.executor_mb, fit.requested, fit.warning) == (11264, 2, None)


def test_container_capacity_warns_if_no_executor_fits_beside_the_driver() -> None:
    group = CLUSTER.core_group.model_copy(update={"count": 1})
    cluster = CLUSTER.model_copy(update={"core": group})
    large = SparkSettings(deploy_mode="cluster", executor_memory="9486m")
    fit = container_capacity(cluster, large)
    assert (fit.first_mb, fit.executor_mb, fit.node_mb, fit.room) == (2432, 11264, 12288, 0)
    assert fit.warning is not None
    assert fit.warning.startswith(
        "no executor (11264 MB) fits beside the driver's container (2432 MB) on 1 nodes of 12288 MB"
    )
    smaller = SparkSettings(deploy_mode="cluster", executor_memory="4g")
    assert container_capacity(cluster, smaller).warning is None
    assert container_capacity(cluster, SparkSettings()).warning is None


def test_container_capacity_fits_default_executor_beside_the_driver_as_emr() -> None:
    group = CLUSTER.core_group.model_copy(update={"count": 1})
    cluster = CLUSTER.model_copy(update={"core": group})
    fit = container_capacity(cluster, SparkSettings(deploy_mode="cluster"))
    assert (fit.first_mb, fit.executor_mb, fit.room, fit.warning) == (2432, 9856, 1, None)
    off = {"spark.yarn.heterogeneousExecutors.enabled": "false"}
    item = Classification(classification="spark-defaults", properties=off)
    fixed = cluster.model_copy(update={"configurations": (item,)})
    assert container_capacity(fixed, SparkSettings(deploy_mode="cluster")).room == 0


def test_option_overrides_conf_as_in_spark_submit() -> None:
    conf = {"spark.executor.memory": "1g", "spark.executor.memoryOverhead": "2g"}
    settings = SparkSettings(executor_memory="4g", memory_overhead="1g", conf=conf)
    assert settings.properties()["spark.executor.memory"] == "4g"
    # Without an option of its own the overhead is a property, which --conf overrides.
    assert container_capacity(CLUSTER, settings).executor_mb == 6144


def test_task_cpus_above_executor_cores_are_rejected() -> None:
    settings = SparkSettings(executor_cores=2, conf={"spark.task.cpus": "4"})
    for check in (lambda: container_capacity(CLUSTER, settings), lambda: allocate(TWO, settings)):
        with pytest.raises(UsageError, match=r"spark\.task\.cpus is 4") as caught:
            check()
        assert caught.value.hint == "Set --executor-cores to 4 at least."


def test_container_capacity_rejects_large_driver_in_cluster_mode_only() -> None:
    huge = SparkSettings(driver_memory="20g", deploy_mode="cluster")
    with pytest.raises(UsageError, match="the driver needs"):
        container_capacity(CLUSTER, huge)
    assert container_capacity(CLUSTER, SparkSettings(driver_memory="20g")).room == 2


@pytest.mark.parametrize(
    ("name", "memory_mb"),
    [("m5.xlarge", 9486), ("r5.xlarge", 18971), ("m4.large", 4743)],
)
def test_default_executor_memory_equals_emr_documentation(name: str, memory_mb: int) -> None:
    assert instance_types.instance_type(name).executor_memory_mb == memory_mb


# --- standalone -----------------------------------------------------------------------------------


def test_standalone_workers_reserve_one_gib() -> None:
    assert StandaloneWorkers.of("m5.xlarge", 2) == TWO


@pytest.mark.parametrize(
    ("settings", "cores", "heap_mb", "room"),
    [
        ({}, 4, 12_934, 2),
        ({"executors": 2}, 4, 12_934, 2),
        ({"executors": 4}, 2, 6_467, 4),
        ({"executors": 5}, 1, 3_233, 8),
        ({"executors": 99}, 1, 3_233, 8),
        ({"executor_cores": 2}, 2, 6_467, 4),
        ({"executor_cores": 3}, 3, 12_934, 2),
        ({"executor_memory": "8g"}, 4, 8_192, 2),
        ({"executor_cores": 1, "executor_memory": "8g"}, 1, 8_192, 2),
        ({"conf": {"spark.executor.instances": "4", "spark.executor.memory": "2GB"}}, 2, 2_048, 4),
        ({"conf": {"spark.executor.cores": "2", "spark.executor.memory": "1g"}}, 2, 1_024, 4),
    ],
)
def test_allocate_divides_cores_and_memory(
    settings: dict[str, object], cores: int, heap_mb: int, room: int
) -> None:
    found = allocate(TWO, SparkSettings.model_validate(settings))
    assert (found.cores, found.heap_mb, found.room) == (cores, heap_mb, room)


def test_conf_limits_executors_by_cores() -> None:
    asked = SparkSettings(executors=5, executor_cores=1, executor_memory="2g")
    assert allocate(TWO, asked).conf(asked) == {
        "spark.executor.cores": "1",
        "spark.executor.memory": "2048m",
        "spark.cores.max": "5",
    }
    whole = SparkSettings()
    assert "spark.cores.max" not in allocate(TWO, whole).conf(whole)


def test_conf_with_dynamic_allocation_sets_initial_executors() -> None:
    asked = SparkSettings(executors=2, dynamic_allocation=True)
    found = allocate(TWO, asked).conf(asked)
    assert found["spark.dynamicAllocation.initialExecutors"] == "2"
    assert "spark.cores.max" not in found


def test_allocate_warns_if_not_all_executors_fit() -> None:
    found = allocate(TWO, SparkSettings(executors=9))
    assert found.warning == (
        "9 executors requested, room for 8 (1 core and 3233 MB each, "
        "2 workers of 4 cores and 15360 MB)"
    )
    assert allocate(TWO, SparkSettings(executors=8)).warning is None


@pytest.mark.parametrize(
    ("settings", "flag"),
    [({"executor_cores": 5}, "--executor-cores"), ({"executor_memory": "16g"}, "15360m")],
)
def test_allocate_rejects_executor_larger_than_worker(
    settings: dict[str, object], flag: str
) -> None:
    with pytest.raises(UsageError) as caught:
        allocate(TWO, SparkSettings.model_validate(settings))
    assert flag in caught.value.hint
