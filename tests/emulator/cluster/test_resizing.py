"""Nodes that join and leave a cluster: lost and failed ones, managed scaling while it runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from emrctl.aws.target import Target
from emrctl.emulator.api.service import Service
from emrctl.emulator.cluster.model import EmulatedCluster
from emrctl.emulator.faults import Capacity
from emrctl.errors import UsageError
from tests.emulator.cluster.conftest import BUSY, Group
from tests.emulator.conftest import Await, Emr, add, state, status
from tests.emulator.fake_runtime import FakeRuntime

pytestmark = pytest.mark.usefixtures("frequent_scaling")


Put = Callable[..., None]


@pytest.fixture
def put(emr: Emr, waiting: str) -> Put:
    def put_policy(low: int, high: int, **more: Any) -> None:
        limits = {
            "UnitType": "Instances",
            "MinimumCapacityUnits": low,
            "MaximumCapacityUnits": high,
        }
        emr.put_managed_scaling_policy(
            ClusterId=waiting, ManagedScalingPolicy={"ComputeLimits": limits | more}
        )

    return put_policy


def test_managed_scaling_grows_and_shrinks_during_step(
    emr: Emr, group: Group, waiting: str, runtime: FakeRuntime, put: Put, until: Await
) -> None:
    runtime.pause = True
    step = add(emr, waiting, "run")
    until(lambda: state(emr, waiting), "RUNNING")
    busy = group.ids()
    runtime.nodes = dict.fromkeys(busy, BUSY)
    runtime.pending = (3, 3 * 12288)
    put(1, 4)
    until(group.counts, ("RUNNING", 4, 4))
    runtime.pending = (0, 0)
    until(group.counts, ("RUNNING", 2, 2))
    # Nodes with containers are never removed.
    assert group.ids() == busy
    assert status(emr, waiting, step)["State"] == "RUNNING"
    runtime.pause, runtime.nodes = False, {}
    until(group.counts, ("RUNNING", 1, 1))
    until(lambda: status(emr, waiting, step)["State"], "COMPLETED")


def test_managed_scaling_pulls_manual_size_into_limits(
    group: Group, runtime: FakeRuntime, put: Put, until: Await
) -> None:
    put(2, 3)
    group.resize(5)
    until(group.counts, ("RUNNING", 2, 2))


def test_managed_scaling_of_fleet_changes_its_target(
    emr: Emr, request_body: dict[str, Any], runtime: FakeRuntime, until: Await
) -> None:
    config = {"InstanceType": "m5.xlarge", "WeightedCapacity": 2}
    request_body["Instances"]["InstanceGroups"] = []
    request_body["Instances"]["InstanceFleets"] = [
        {
            "InstanceFleetType": "MASTER",
            "TargetOnDemandCapacity": 1,
            "InstanceTypeConfigs": [{"InstanceType": "m5.xlarge"}],
        },
        {"InstanceFleetType": "CORE", "TargetSpotCapacity": 2, "InstanceTypeConfigs": [config]},
    ]
    limits = {
        "UnitType": "InstanceFleetUnits",
        "MinimumCapacityUnits": 2,
        "MaximumCapacityUnits": 7,
    }
    request_body["ManagedScalingPolicy"] = {"ComputeLimits": limits}
    cluster = emr.run_job_flow(**request_body)["JobFlowId"]
    runtime.pending = (9, 9 * 12288)

    def fleet() -> tuple[int, int]:
        row = emr.list_instance_fleets(ClusterId=cluster)["InstanceFleets"][1]
        return row["TargetSpotCapacity"], row["ProvisionedSpotCapacity"]

    until(fleet, (6, 6))
    runtime.pending = (0, 0)
    until(fleet, (2, 2))


def test_group_is_suspended_after_repeated_failures_and_keeps_its_requested_size(
    group: Group, runtime: FakeRuntime, put: Put, until: Await
) -> None:
    runtime.failing_workers = 100
    runtime.nodes = dict.fromkeys(group.ids(), BUSY)
    runtime.pending = (1, 12288)
    before = len(runtime.bootstrapped)
    put(1, 4)
    until(group.counts, ("SUSPENDED", 3, 2))
    reason = group()["Status"]["StateChangeReason"]["Message"]
    assert reason.startswith("bootstrap action 1 on i-")
    gone = group.instances("TERMINATED")
    assert {one["Status"]["StateChangeReason"]["Code"] for one in gone} == {"BOOTSTRAP_FAILURE"}
    # Managed scaling does not try again at once, although containers are pending.
    evaluations = runtime.evaluations
    until(lambda: runtime.evaluations > evaluations + 3, True)
    assert len(runtime.bootstrapped) - before == len(gone) == 3
    runtime.failing_workers, runtime.pending = 0, (0, 0)
    group.resize(3)
    until(group.counts, ("RUNNING", 3, 3))


def test_node_that_fails_while_it_is_removed_is_not_replaced(
    group: Group, runtime: FakeRuntime, until: Await, monkeypatch: pytest.MonkeyPatch
) -> None:
    resized = threading.Event()

    def fail(_: Any, __: Any, nodes: Any) -> dict[Any, Exception]:
        resized.wait()
        return {node: RuntimeError("no space left on device") for node in nodes}

    monkeypatch.setattr(FakeRuntime, "bootstrap", fail)
    group.resize(3)
    group.resize(2)
    resized.set()
    until(lambda: len(group.ids("TERMINATED")), 1)
    until(group.counts, ("RUNNING", 2, 2))
    assert len(group.instances("TERMINATED", "RUNNING", "BOOTSTRAPPING")) == 3


def test_managed_scaling_does_not_retry_missing_capacity_at_once(
    group: Group, service: Service, runtime: FakeRuntime, put: Put, until: Await
) -> None:
    service.faults.add(Capacity(times=None))
    runtime.nodes = dict.fromkeys(group.ids(), BUSY)
    runtime.pending = (1, 12288)
    put(1, 4)
    until(group.counts, ("SUSPENDED", 3, 2))
    service.faults.clear()
    evaluations = runtime.evaluations
    until(lambda: runtime.evaluations > evaluations + 3, True)
    assert group.counts() == ("SUSPENDED", 3, 2)


def test_lost_node_is_replaced_with_unhealthy_node_replacement(
    emr: Emr, group: Group, waiting: str, service: Service, runtime: FakeRuntime, until: Await
) -> None:
    emr.set_unhealthy_node_replacement(JobFlowIds=[waiting], UnhealthyNodeReplacement=True)
    first, second = group.ids()
    service.lose_node(waiting, second, spot_interruption=False)
    [gone] = group.instances("TERMINATED")
    reason = gone["Status"]["StateChangeReason"]
    assert reason == {"Code": "INSTANCE_FAILURE", "Message": f"Instance {second} failed (local)"}
    until(group.counts, ("RUNNING", 2, 2))
    until(lambda: runtime.removed, [second])
    assert group.ids()[0] == first
    assert second not in group.ids()


def test_lost_node_is_missing_without_replacement(
    emr: Emr, group: Group, waiting: str, service: Service, until: Await
) -> None:
    first, second = group.ids()
    service.lose_node(waiting, first, spot_interruption=False)
    assert group.counts() == ("RUNNING", 2, 1)
    assert group.ids() == [second]
    # A resize to the same size adds it again.
    group.resize(2)
    until(group.counts, ("RUNNING", 2, 2))


def test_cluster_terminates_without_workers_or_primary(
    emr: Emr, group: Group, waiting: str, service: Service, until: Await
) -> None:
    for ec2_id in group.ids():
        service.lose_node(waiting, ec2_id, spot_interruption=False)
    until(lambda: state(emr, waiting), "TERMINATED_WITH_ERRORS")
    [detail] = emr.describe_cluster(ClusterId=waiting)["Cluster"]["Status"]["ErrorDetails"]
    assert detail["ErrorCode"] == "INSTANCE_FAILURE_NO_SLAVE_LEFT"


def test_instance_of_lost_node_is_terminated_if_its_daemons_cannot_be_stopped(
    group: Group,
    mocked: Target,
    waiting: str,
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    until: Await,
) -> None:
    def fail(*_: object) -> None:
        raise OSError("the node has no folder")

    monkeypatch.setattr(service.runtime, "remove_nodes", fail)
    lost = group.ids()[0]
    service.lose_node(waiting, lost, spot_interruption=False)

    def ec2_state() -> str:
        found = mocked.client("ec2").describe_instances(InstanceIds=[lost])
        return str(found["Reservations"][0]["Instances"][0]["State"]["Name"])

    until(ec2_state, "terminated")


def test_lost_primary_terminates_cluster(
    emr: Emr, waiting: str, service: Service, until: Await
) -> None:
    primary = service.clusters[waiting].primary.ec2_id
    service.lose_node(waiting, primary, spot_interruption=False)
    until(lambda: state(emr, waiting), "TERMINATED_WITH_ERRORS")
    [detail] = emr.describe_cluster(ClusterId=waiting)["Cluster"]["Status"]["ErrorDetails"]
    assert detail["ErrorCode"] == "INSTANCE_FAILURE_MASTER_FAILED"


@pytest.fixture
def primaries(
    emr: Emr, mocked: Target, request_body: dict[str, Any], service: Service, until: Await
) -> EmulatedCluster:
    """A cluster with three primary nodes that is not protected, and not kept alive by request."""
    request_body["Instances"]["InstanceGroups"][0]["InstanceCount"] = 3
    request_body["Instances"]["KeepJobFlowAliveWhenNoSteps"] = False
    cluster_id = emr.run_job_flow(**request_body)["JobFlowId"]
    until(lambda: state(emr, cluster_id), "WAITING")
    return service.clusters[cluster_id]


def test_cluster_with_three_primaries_is_kept_alive_and_protected(
    emr: Emr, primaries: EmulatedCluster
) -> None:
    row = emr.describe_cluster(ClusterId=primaries.id)["Cluster"]
    assert (row["AutoTerminate"], row["TerminationProtected"]) == (False, True)


@pytest.mark.parametrize("leads", [True, False])
def test_one_of_three_primaries_is_replaced(
    emr: Emr,
    primaries: EmulatedCluster,
    service: Service,
    runtime: FakeRuntime,
    until: Await,
    leads: bool,
) -> None:
    first, second, third = (node.ec2_id for node in primaries.nodes[:3])
    lost, leader = (first, second) if leads else (third, first)
    service.lose_node(primaries.id, lost, spot_interruption=False)

    def group() -> tuple[str, int]:
        row = emr.list_instance_groups(ClusterId=primaries.id)["InstanceGroups"][0]
        return row["Status"]["State"], row["RunningInstanceCount"]

    until(group, ("RUNNING", 3))
    until(lambda: runtime.removed, [lost])
    until(lambda: runtime.leaders, [leader] if leads else [])
    assert primaries.primary.ec2_id == leader
    assert state(emr, primaries.id) == "WAITING"


def test_cluster_terminates_if_two_of_three_primaries_fail(
    emr: Emr,
    primaries: EmulatedCluster,
    service: Service,
    until: Await,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replaced = threading.Event()
    monkeypatch.setattr(FakeRuntime, "bootstrap", lambda *_: replaced.wait() and {})
    first, second, _ = (node.ec2_id for node in primaries.nodes[:3])
    service.lose_node(primaries.id, first, spot_interruption=False)
    service.lose_node(primaries.id, second, spot_interruption=False)
    until(lambda: state(emr, primaries.id), "TERMINATED_WITH_ERRORS")
    replaced.set()


@pytest.mark.parametrize("capacity", [True, False])
def test_spot_interruption_replaces_node_if_there_is_capacity(
    emr: Emr, waiting: str, service: Service, until: Await, capacity: bool
) -> None:
    task = {
        "InstanceRole": "TASK",
        "InstanceType": "m5.xlarge",
        "InstanceCount": 1,
        "Market": "SPOT",
    }
    [group_id] = emr.add_instance_groups(JobFlowId=waiting, InstanceGroups=[task])[
        "InstanceGroupIds"
    ]

    def group() -> tuple[str, int]:
        rows = emr.list_instance_groups(ClusterId=waiting)["InstanceGroups"]
        row = next(one for one in rows if one["Id"] == group_id)
        return row["Status"]["State"], row["RunningInstanceCount"]

    until(group, ("RUNNING", 1))
    [node] = [one.ec2_id for one in service.clusters[waiting].nodes if one.group.id == group_id]
    if not capacity:
        service.faults.add(Capacity())
    service.lose_node(waiting, node, spot_interruption=True)
    until(group, ("RUNNING", 1) if capacity else ("SUSPENDED", 0))
    [gone] = emr.list_instances(ClusterId=waiting, InstanceStates=["TERMINATED"])["Instances"]
    reason = gone["Status"]["StateChangeReason"]
    assert (gone["Ec2InstanceId"], reason["Code"]) == (node, "INSTANCE_FAILURE")
    assert reason["Message"].startswith("Server.SpotInstanceTermination")


def test_spot_interruption_of_on_demand_instance_is_rejected(
    group: Group, waiting: str, service: Service
) -> None:
    with pytest.raises(UsageError, match="is not a Spot instance"):
        service.lose_node(waiting, group.ids()[0], spot_interruption=True)
    with pytest.raises(UsageError, match="has no instance i-none"):
        service.lose_node(waiting, "i-none", spot_interruption=False)
