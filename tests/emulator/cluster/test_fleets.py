"""Instance fleets: types and markets of their instances, with and without capacity."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from emrctl.aws.target import Target
from emrctl.emulator.api.service import Service
from emrctl.emulator.cluster.fleets import preferred_types
from emrctl.emulator.cluster.model import ON_DEMAND, SPOT, InstanceGroup
from emrctl.emulator.faults import Capacity
from emrctl.errors import UsageError
from tests.emulator.cluster.conftest import BUSY
from tests.emulator.conftest import Await, Emr, state
from tests.emulator.fake_runtime import FakeRuntime

_SMALL, _LARGE, _AMD = "m5.xlarge", "m5.2xlarge", "m5a.xlarge"
_TYPES = (
    {"InstanceType": _SMALL, "WeightedCapacity": 4, "Priority": 2.0},
    {"InstanceType": _LARGE, "WeightedCapacity": 8, "Priority": 1.0},
    {"InstanceType": _AMD, "WeightedCapacity": 4},
)
pytestmark = pytest.mark.usefixtures("frequent_scaling")


class Fleet:
    """The core fleet of a cluster, as the EMR API returns it."""

    def __init__(self, emr: Emr, cluster_id: str) -> None:
        self.emr, self.cluster_id = emr, cluster_id

    def __call__(self) -> dict[str, Any]:
        rows = self.emr.list_instance_fleets(ClusterId=self.cluster_id)["InstanceFleets"]
        return next(dict(row) for row in rows if row["InstanceFleetType"] == "CORE")

    def units(self) -> tuple[int, ...]:
        """On-Demand and Spot units: the targets, then those provisioned."""
        row, markets = self(), ("OnDemand", "Spot")
        return tuple(
            row[f"{kind}{market}Capacity"]
            for kind in ("Target", "Provisioned")
            for market in markets
        )

    def nodes(self, *states: str) -> list[tuple[str, str]]:
        rows = self.emr.list_instances(
            ClusterId=self.cluster_id,
            InstanceFleetType="CORE",
            InstanceStates=list(states or ("RUNNING",)),
        )["Instances"]
        return sorted((row["Market"], row["InstanceType"]) for row in rows)

    def modify(self, **change: Any) -> None:
        self.emr.modify_instance_fleet(
            ClusterId=self.cluster_id, InstanceFleet={"InstanceFleetId": self()["Id"]} | change
        )


Create = Callable[..., Fleet]


@pytest.fixture
def create(emr: Emr, request_body: dict[str, Any]) -> Create:
    """Create a cluster with a core fleet; `launch` are its launch specifications."""

    def run(on_demand: int, spot: int, launch: Any = None, **more: Any) -> Fleet:
        primary = {
            "InstanceFleetType": "MASTER",
            "TargetOnDemandCapacity": 1,
            "InstanceTypeConfigs": [{"InstanceType": "m6g.xlarge"}],
        }
        core = {
            "InstanceFleetType": "CORE",
            "TargetOnDemandCapacity": on_demand,
            "TargetSpotCapacity": spot,
            "InstanceTypeConfigs": list(_TYPES),
        } | ({"LaunchSpecifications": launch} if launch else {})
        instances = {"InstanceFleets": [primary, core], "KeepJobFlowAliveWhenNoSteps": True}
        body = request_body | {"Instances": instances} | more
        return Fleet(emr, emr.run_job_flow(**body)["JobFlowId"])

    return run


def _spot(strategy: str | None = None, action: str = "TERMINATE_CLUSTER") -> dict[str, Any]:
    specification = {"TimeoutDurationMinutes": 10, "TimeoutAction": action}
    return {
        "SpotSpecification": specification | ({"AllocationStrategy": strategy} if strategy else {})
    }


@pytest.mark.parametrize(
    ("market", "launch", "expected"),
    [
        # The same price per vCPU of m5.xlarge and m5.2xlarge: the given order.
        (ON_DEMAND, {}, [_AMD, _SMALL, _LARGE]),
        (SPOT, _spot("price-capacity-optimized"), [_AMD, _SMALL, _LARGE]),
        (SPOT, _spot("capacity-optimized-prioritized"), [_LARGE, _SMALL, _AMD]),
        (ON_DEMAND, _spot("capacity-optimized-prioritized"), [_AMD, _SMALL, _LARGE]),
        (
            ON_DEMAND,
            {"OnDemandSpecification": {"AllocationStrategy": "prioritized"}},
            [_LARGE, _SMALL, _AMD],
        ),
    ],
)
def test_preferred_types_follow_priority_or_price_per_unit(
    market: str, launch: Mapping[str, Any], expected: list[str]
) -> None:
    request = {"InstanceTypeConfigs": list(_TYPES), "LaunchSpecifications": launch}
    group = InstanceGroup(role="CORE", instance_type=_SMALL, count=1, request=request)
    assert preferred_types(group, market, "us-east-1") == expected


def test_fleet_fills_each_market_with_next_type_if_first_has_no_capacity(
    create: Create, service: Service, emr: Emr, mocked: Target, until: Await
) -> None:
    service.faults.add(Capacity(instance_type=_AMD))
    service.faults.add(Capacity(instance_type=_SMALL, market="spot"))
    fleet = create(5, 4)
    # 5 units need 2 instances of 4; 4 units one instance of 8.
    until(fleet.units, (5, 4, 8, 8))
    assert fleet.nodes() == [(ON_DEMAND, _SMALL), (ON_DEMAND, _SMALL), (SPOT, _LARGE)]
    assert service.faults.describe() == []
    assert emr.describe_cluster(ClusterId=fleet.cluster_id)["Cluster"]["NormalizedInstanceHours"]
    reservations = mocked.client("ec2").describe_instances()["Reservations"]
    spot = [
        i["InstanceType"] for r in reservations for i in r["Instances"] if "InstanceLifecycle" in i
    ]
    assert spot == [_LARGE]


def test_fleet_without_spot_capacity_switches_to_on_demand(
    create: Create, service: Service, until: Await
) -> None:
    service.faults.add(Capacity(market="spot"))
    fleet = create(4, 8, launch=_spot(action="SWITCH_TO_ON_DEMAND"))
    until(fleet.units, (4, 8, 12, 0))
    assert fleet.nodes() == [(ON_DEMAND, _AMD)] * 3
    # Units that the Spot target gets later are Spot instances; a smaller one removes the others.
    fleet.modify(TargetOnDemandCapacity=4, TargetSpotCapacity=12)
    until(fleet.units, (4, 12, 12, 4))
    fleet.modify(TargetOnDemandCapacity=4, TargetSpotCapacity=0)
    until(fleet.units, (4, 0, 4, 0))


@pytest.mark.parametrize(
    ("market", "action", "code"),
    [
        ("spot", "TERMINATE_CLUSTER", "INSTANCE_FLEET_TIMEOUT"),
        ("", "SWITCH_TO_ON_DEMAND", "INTERNAL_ERROR"),
        ("on-demand", "TERMINATE_CLUSTER", "INTERNAL_ERROR"),
    ],
)
def test_fleet_without_capacity_terminates_cluster(
    create: Create, service: Service, emr: Emr, until: Await, market: str, action: str, code: str
) -> None:
    for name in (_SMALL, _LARGE, _AMD):
        service.faults.add(Capacity(instance_type=name, market=market))
    fleet = create(4, 4, launch=_spot(action=action))
    until(lambda: state(emr, fleet.cluster_id), "TERMINATED_WITH_ERRORS")
    status = emr.describe_cluster(ClusterId=fleet.cluster_id)["Cluster"]["Status"]
    assert status["StateChangeReason"]["Code"] == code
    assert f"EC2 is out of capacity for {_AMD}" in status["StateChangeReason"]["Message"]


def test_modify_instance_fleet_resizes_each_market(
    create: Create, service: Service, until: Await
) -> None:
    fleet = create(8, 8)
    until(fleet.units, (8, 8, 8, 8))
    fleet.modify(TargetOnDemandCapacity=12, TargetSpotCapacity=3)
    # One Spot instance of 4 units stays for a target of 3.
    until(fleet.units, (12, 3, 12, 4))
    assert fleet.nodes("TERMINATED") == [(SPOT, _AMD)]
    large = [{"InstanceType": _LARGE, "WeightedCapacity": 8}]
    fleet.modify(TargetSpotCapacity=12, InstanceTypeConfigs=large)
    until(fleet.units, (12, 12, 12, 12))
    assert fleet.nodes()[-2:] == [(SPOT, _LARGE), (SPOT, _AMD)]


def test_resize_without_capacity_in_one_market_suspends_fleet(
    create: Create, service: Service, until: Await
) -> None:
    fleet = create(4, 4)
    until(fleet.units, (4, 4, 4, 4))
    service.faults.add(Capacity(market="spot"))
    fleet.modify(TargetOnDemandCapacity=8, TargetSpotCapacity=8)
    until(fleet.units, (8, 8, 8, 4))
    assert fleet()["Status"]["State"] == "SUSPENDED"
    fleet.modify(TargetOnDemandCapacity=8, TargetSpotCapacity=8)
    until(fleet.units, (8, 8, 8, 8))
    assert fleet()["Status"]["State"] == "RUNNING"


def test_spot_interruption_of_fleet_replaces_spot_instance_only(
    create: Create, service: Service, until: Await
) -> None:
    fleet = create(4, 4)
    until(fleet.units, (4, 4, 4, 4))
    nodes = {node.market: node for node in service.clusters[fleet.cluster_id].workers}
    with pytest.raises(UsageError, match="is not a Spot instance"):
        service.lose_node(fleet.cluster_id, nodes[ON_DEMAND].ec2_id, spot_interruption=True)
    service.faults.add(Capacity(instance_type=_AMD))
    service.lose_node(fleet.cluster_id, nodes[SPOT].ec2_id, spot_interruption=True)
    until(fleet.nodes, [(ON_DEMAND, _AMD), (SPOT, _SMALL)])
    assert fleet.nodes("TERMINATED") == [(SPOT, _AMD)]


def test_managed_scaling_adds_spot_units_beyond_maximum_of_on_demand(
    create: Create, service: Service, runtime: FakeRuntime, until: Await
) -> None:
    limits = {
        "UnitType": "InstanceFleetUnits",
        "MinimumCapacityUnits": 4,
        "MaximumCapacityUnits": 16,
        "MaximumOnDemandCapacityUnits": 8,
    }
    fleet = create(4, 0, ManagedScalingPolicy={"ComputeLimits": limits})
    until(fleet.units, (4, 0, 4, 0))
    runtime.nodes = {}
    runtime.pending = (9, 9 * 12288)
    until(fleet.units, (8, 8, 8, 8))
    # All instances become idle at the same time: otherwise those that are idle first are removed.
    workers = service.clusters[fleet.cluster_id].workers
    runtime.nodes = {node.ec2_id: BUSY for node in workers}
    until(lambda: service.controllers[fleet.cluster_id].scaler.idle_since, {})
    runtime.nodes = {}
    runtime.pending = (0, 0)
    until(fleet.units, (4, 0, 4, 0))


def test_history_keeps_types_and_markets_of_instances(
    create: Create, service: Service, until: Await, tmp_path: Any
) -> None:
    from emrctl.emulator.cluster.history import ClusterHistory

    fleet = create(4, 4)
    until(fleet.units, (4, 4, 4, 4))
    cluster = service.clusters[fleet.cluster_id]
    ClusterHistory(tmp_path).save(cluster)
    [restored] = ClusterHistory(tmp_path).load()
    assert {(node.market, node.instance_type, node.units) for node in restored.nodes[1:]} == {
        (ON_DEMAND, _AMD, 4),
        (SPOT, _AMD, 4),
    }
