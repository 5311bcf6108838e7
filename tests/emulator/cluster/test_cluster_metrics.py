from __future__ import annotations

import pytest

from emrctl.emulator.cluster import cluster_metrics, model
from emrctl.emulator.cluster.cluster_metrics import MetricSampler, MetricStore, metric_values
from emrctl.emulator.cluster.model import EmulatedCluster, EmulatedStep
from tests.emulator.fake_runtime import FakeRuntime

YARN = {
    "appsRunning": 1.0,
    "containersAllocated": 0.0,
    "containersPending": 3.0,
    "totalMB": 24576.0,
    "availableMB": 6144.0,
    "lostNodes": 1.0,
    "totalVirtualCores": 8.0,
}


def test_metric_values_follow_emrs_definitions(cluster: EmulatedCluster) -> None:
    cluster.nodes[1].state = model.RUNNING
    cluster.groups[1].count = 3
    values = metric_values(cluster, YARN)
    assert (values["CoreNodesRunning"], values["CoreNodesPending"]) == (1, 2)
    assert (values["TaskNodesRunning"], values["TaskNodesPending"]) == (0, 0)
    assert values["YARNMemoryAvailablePercentage"] == 25
    assert values["ContainerPendingRatio"] == 3
    assert metric_values(cluster, YARN | {"containersAllocated": 2})["ContainerPendingRatio"] == 1.5
    assert (values["MRLostNodes"], values["IsIdle"]) == (1, 0)
    assert set(values) < set(cluster_metrics.METRICS)


def test_metric_values_of_hdfs_are_shares_and_counts_of_name_node(
    cluster: EmulatedCluster,
) -> None:
    name_node = {
        "CapacityTotal": 800,
        "CapacityUsed": 200,
        "CapacityRemaining": 7 * 2**30,
        "NumLiveDataNodes": 3,
        "NumDeadDataNodes": 1,
        "MissingReplicatedBlocks": 2,
        "CorruptReplicatedBlocks": 1,
        "PendingReplicationBlocks": 4,
    }
    values = metric_values(cluster, {}, name_node)
    assert (values["HDFSUtilization"], values["LiveDataNodes"]) == (25, 75)
    assert (values["MissingBlocks"], values["CorruptBlocks"]) == (2, 1)
    assert (values["DfsPendingReplicationBlocks"], values["CapacityRemainingGB"]) == (4, 7)
    assert [cluster_metrics.unit(name) for name in ("LiveDataNodes", "MissingBlocks")] == [
        "Percent",
        "Count",
    ]
    assert not {"HDFSUtilization", "LiveDataNodes", "MissingBlocks"} & set(
        metric_values(cluster, {}, {})
    )


def test_sampler_stores_metrics_of_hdfs(cluster: EmulatedCluster) -> None:
    store, runtime = MetricStore(), FakeRuntime(hdfs={"MissingReplicatedBlocks": 5})
    sampler = MetricSampler(cluster=cluster, runtime=runtime, store=store, clock=lambda: 60)
    sampler.sample()
    [point] = store.points(cluster.region, cluster.id, "MissingBlocks", 0, 120)
    assert point.maximum == 5


@pytest.mark.parametrize(
    ("unit", "name", "factor"), [("Instances", "Nodes", 1), ("VCPU", "VCPU", 4)]
)
def test_metric_values_of_managed_scaling_are_in_its_units(
    cluster: EmulatedCluster, unit: str, name: str, factor: int
) -> None:
    assert "TotalNodesRequested" not in metric_values(cluster, {})
    cluster.managed_scaling = {"ComputeLimits": {"UnitType": unit}}
    cluster.nodes[1].state = model.RUNNING
    cluster.groups[1].count = 3
    values = metric_values(cluster, {})
    assert (values[f"Total{name}Requested"], values[f"Total{name}Running"]) == (3 * factor, factor)
    assert (values[f"Core{name}Requested"], values[f"Core{name}Running"]) == (3 * factor, factor)
    assert (values[f"Task{name}Requested"], values[f"Task{name}Running"]) == (0, 0)


def test_cluster_is_idle_without_applications_and_steps(cluster: EmulatedCluster) -> None:
    assert metric_values(cluster, {})["IsIdle"] == 1
    assert metric_values(cluster, YARN | {"appsRunning": 0})["IsIdle"] == 1
    step = EmulatedStep(name="a", action_on_failure="CONTINUE", jar={})
    cluster.steps.append(step)
    assert metric_values(cluster, {})["IsIdle"] == 0
    step.state = model.COMPLETED
    assert metric_values(cluster, {})["IsIdle"] == 1


def test_store_has_one_point_per_minute_and_drops_the_oldest(cluster: EmulatedCluster) -> None:
    store = MetricStore(limit=3)
    for at, value in ((60, 1.0), (65, 3.0), (119.9, 2.0), (120, 5.0), (180, 6.0), (240, 7.0)):
        store.add(cluster, at, {"AppsRunning": value})
    points = store.points("us-east-1", cluster.id, "AppsRunning", 0, 1000)
    assert [(one.at, one.sum) for one in points] == [(120, 5), (180, 6), (240, 7)]
    store = MetricStore()
    for at, value in ((60, 1.0), (65, 3.0), (119.9, 2.0)):
        store.add(cluster, at, {"AppsRunning": value})
    [point] = store.points("us-east-1", cluster.id, "AppsRunning", 0, 1000)
    assert (point.count, point.sum, point.minimum, point.maximum) == (3, 6, 1, 3)
    assert store.points("eu-west-1", cluster.id, "AppsRunning", 0, 1000) == []
    assert store.points("us-east-1", cluster.id, "AppsPending", 0, 1000) == []
    assert list(store.names("us-east-1")) == [(cluster.id, "AppsRunning")]


@pytest.mark.parametrize(("second", "due"), [(119, False), (120, True)])
def test_sampler_samples_each_minute_and_while_a_step_runs(
    cluster: EmulatedCluster, second: int, due: bool
) -> None:
    now = [60.0]
    sampler = MetricSampler(
        cluster=cluster,
        runtime=FakeRuntime(yarn={**YARN}),
        store=MetricStore(),
        clock=lambda: now[0],
    )
    sampler.sample()
    now[0] = second
    assert sampler.due() is due
    cluster.steps.append(EmulatedStep(name="a", action_on_failure="CONTINUE", jar={}))
    cluster.steps[0].state = model.RUNNING
    assert sampler.due()


def test_sampler_samples_again_until_yarn_knows_its_memory(cluster: EmulatedCluster) -> None:
    runtime = FakeRuntime(yarn=YARN | {"totalMB": 0.0})
    sampler = MetricSampler(
        cluster=cluster,
        runtime=runtime,
        store=MetricStore(),
        clock=lambda: 61.0,
    )
    sampler.sample()
    assert sampler.due()
    runtime.yarn = YARN
    sampler.sample()
    assert not sampler.due()
    [point] = sampler.store.points("us-east-1", cluster.id, "MemoryTotalMB", 0, 100)
    assert (point.minimum, point.count) == (24576, 1)


def test_failed_sample_is_logged(
    cluster: EmulatedCluster, caplog: pytest.LogCaptureFixture
) -> None:
    store = MetricStore()
    runtime = FakeRuntime(yarn={"totalMB": 1, "availableMB": "many"})  # type: ignore[dict-item]
    sampler = MetricSampler(cluster=cluster, runtime=runtime, store=store)
    sampler.sample()
    assert "could not sample the metrics" in caplog.text
    assert list(store.names("us-east-1")) == []
