"""Instance fleets of the cluster stack."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from emrctl.errors import ProvisioningError
from tests.engine.conftest import STACK, Work, made

CORE = {
    "types": [
        {"type": "r5.xlarge", "bid_usd": 0.2, "volumes": 2},
        {"type": "m5.2xlarge", "weight": 2, "bid_percent": 60},
    ],
    "on_demand": 1,
    "spot": 3,
    "timeout_min": 15,
}
TASK = {"types": [{}], "spot": 2, "on_timeout": "terminate"}


def fleets(work: Work) -> dict[str, dict[str, Any]]:
    """Return the fleets of the only cluster by name."""
    (id_,) = work.clusters()
    found = work.target.client("emr").list_instance_fleets(ClusterId=id_)["InstanceFleets"]
    return {item["Name"]: item for item in found}


def targets(work: Work, name: str) -> tuple[int, int]:
    """Return the On-Demand and Spot targets of a fleet, which are provisioned."""
    fleet = fleets(work)[name]
    names = [f"{market}Capacity" for market in ("OnDemand", "Spot")]
    requested, provisioned = (
        tuple(int(fleet[f"{kind}{name}"]) for name in names) for kind in ("Target", "Provisioned")
    )
    assert all(has >= needs for has, needs in zip(provisioned, requested, strict=True))
    return requested[0], requested[1]


def test_up_creates_fleets_of_both_markets(emulated: Work) -> None:
    id_ = emulated.up(fleets={"core": CORE, "task": TASK}).outputs["cluster_id"]
    assert emulated.preview(fleets={"core": CORE, "task": TASK}).empty
    assert (targets(emulated, "primary"), targets(emulated, "task")) == ((1, 0), (0, 2))
    assert targets(emulated, "core") == (1, 3)
    first, second = fleets(emulated)["core"]["InstanceTypeSpecifications"]
    assert (first["BidPrice"], len(first["EbsBlockDevices"])) == ("0.2", 2)
    assert "BidPriceAsPercentageOfOnDemandPrice" not in first
    assert second["BidPriceAsPercentageOfOnDemandPrice"] == 60
    assert second["WeightedCapacity"] == 2
    assert fleets(emulated)["core"]["LaunchSpecifications"] == {
        "OnDemandSpecification": {"AllocationStrategy": "lowest-price"},
        "SpotSpecification": {
            "AllocationStrategy": "capacity-optimized",
            "TimeoutAction": "SWITCH_TO_ON_DEMAND",
            "TimeoutDurationMinutes": 15,
        },
    }
    emr = emulated.target.client("emr")
    cluster = emr.describe_cluster(ClusterId=id_)["Cluster"]
    assert cluster["InstanceCollectionType"] == "INSTANCE_FLEET"
    subnet = emulated.engine.state(STACK)
    assert subnet is not None
    attributes = cluster["Ec2InstanceAttributes"]
    assert attributes["RequestedEc2SubnetIds"] == [subnet.outputs["subnet_id"]]
    spot = emr.list_instances(ClusterId=id_, InstanceFleetType="TASK")["Instances"]
    assert Counter(one["Market"] for one in spot) == {"SPOT": 2}


def test_up_task_fleet_is_added_resized_and_emptied_in_place(emulated: Work) -> None:
    before = emulated.up(fleets={"core": CORE}).outputs["cluster_id"]
    for task, change, target in (
        (TASK, "create", (0, 2)),
        (TASK | {"on_demand": 1, "spot": 4}, "update", (1, 4)),
        (TASK | {"on_demand": 2, "spot": 0}, "update", (2, 0)),
        (None, "delete", (0, 0)),
    ):
        assert made(emulated.up(fleets={"core": CORE, "task": task}))["task-fleet"] == change
        assert targets(emulated, "task") == target
        assert emulated.clusters() == [before]
    with pytest.raises(ProvisioningError, match="has the task fleet if-") as caught:
        emulated.up(fleets={"core": CORE, "task": TASK})
    assert "emrctl down" in caught.value.hint
    assert made(emulated.preview(fleets={"core": CORE})) == {"cluster": "update"}  # its tags


def test_up_task_fleet_of_other_types_is_rejected_before_any_change(emulated: Work) -> None:
    before = {"core": CORE, "task": TASK}
    id_ = emulated.up(fleets=before).outputs["cluster_id"]
    after = {"core": CORE, "task": TASK | {"types": [{"type": "r5.xlarge"}]}}
    for act in (emulated.preview, emulated.up):
        with pytest.raises(ProvisioningError, match="instanceTypeConfigs cannot be changed") as e:
            act(fleets=after)
        assert "emrctl down" in e.value.hint
    emulated.up(fleets=before)
    assert emulated.clusters() == [id_]
    assert targets(emulated, "task") == (0, 2)


def test_up_core_capacity_changed_replaces_cluster_with_task_fleet(emulated: Work) -> None:
    before = emulated.up(fleets={"core": CORE, "task": TASK}).outputs["cluster_id"]
    after = {"core": CORE | {"spot": 4}, "task": TASK | {"types": [{"type": "r5.xlarge"}]}}
    plan = emulated.preview(fleets=after)
    (cluster,) = [item for item in plan.changes if item.name == "cluster"]
    assert cluster.keys == ("coreInstanceFleet.targetSpotCapacity",)
    assert (cluster.operation, made(plan)["task-fleet"]) == ("replace", "replace")
    assert emulated.up(fleets=after).outputs["cluster_id"] != before
    assert (targets(emulated, "core"), targets(emulated, "task")) == ((1, 4), (0, 2))
    assert set(made(emulated.down()).values()) == {"delete"}
    assert emulated.clusters() == []
