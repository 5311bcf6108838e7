"""Instance groups, instance fleets and managed scaling of an EMR cluster."""

from __future__ import annotations

from typing import Any

import pytest

from tests.stacks.conftest import Evaluate, pets

FLEETS: dict[str, Any] = {
    "core": {
        "types": [
            {"type": "r5.xlarge", "volume_gb": 100, "volumes": 2},
            {"type": "r5.2xlarge", "weight": 2, "bid_percent": 60},
            {"type": "m5.2xlarge", "bid_usd": 0.2},
        ],
        "on_demand": 2,
        "spot": 6,
        "timeout_min": 15,
    },
    "task": {"types": [{}], "spot": 3, "on_timeout": "terminate"},
}


def test_cluster_nodes_match_spec(cluster: Evaluate) -> None:
    spec = pets(core={"type": "r5.xlarge", "count": 7, "volume_gb": 128})
    inputs = cluster(spec)["cluster"].inputs
    assert inputs["masterInstanceGroup"]["instanceCount"] == 1
    core = inputs["coreInstanceGroup"]
    assert (core["instanceType"], core["instanceCount"]) == ("r5.xlarge", 7)
    assert core["ebsConfigs"] == [{"size": 128, "type": "gp3", "volumesPerInstance": 1}]


def test_instance_group_with_bid_and_volumes(cluster: Evaluate) -> None:
    core = {"bid_usd": 0.12, "volumes": 3, "volume_gb": 200, "volume_type": "st1"}
    group = cluster(pets(core=core))["cluster"].inputs["coreInstanceGroup"]
    assert group["bidPrice"] == "0.12"
    assert group["ebsConfigs"] == [{"size": 200, "type": "st1", "volumesPerInstance": 3}]
    assert "bidPrice" not in cluster(pets())["cluster"].inputs["coreInstanceGroup"]


def test_task_groups_are_separate_resources(cluster: Evaluate) -> None:
    tasks = [{"count": 4, "bid_usd": 0.08}, {"name": "big", "type": "r5.2xlarge"}]
    resources = cluster(pets(task=tasks))
    first, second = resources["task-task"].inputs, resources["task-big"].inputs
    assert (first["clusterId"], first["instanceCount"], first["bidPrice"]) == (
        "id-cluster",
        4,
        "0.08",
    )
    assert (second["name"], second["instanceType"]) == ("big", "r5.2xlarge")
    assert resources["task-task"].ignore_changes == frozenset()


def test_fleet_with_several_types_uses_both_markets(cluster: Evaluate) -> None:
    inputs = cluster(pets(fleets=FLEETS))["cluster"].inputs
    assert "coreInstanceGroup" not in inputs
    assert "masterInstanceGroup" not in inputs
    core = inputs["coreInstanceFleet"]
    assert (core["targetOnDemandCapacity"], core["targetSpotCapacity"]) == (2, 6)
    default, percent, bid = core["instanceTypeConfigs"]
    assert default["bidPriceAsPercentageOfOnDemandPrice"] == 100
    assert default["ebsConfigs"][0] == {"size": 100, "type": "gp3", "volumesPerInstance": 2}
    assert (percent["weightedCapacity"], percent["bidPriceAsPercentageOfOnDemandPrice"]) == (2, 60)
    assert bid["bidPrice"] == "0.2"
    launch = core["launchSpecifications"]
    assert launch["onDemandSpecifications"] == [{"allocationStrategy": "lowest-price"}]
    assert launch["spotSpecifications"] == [
        {
            "allocationStrategy": "capacity-optimized",
            "timeoutAction": "SWITCH_TO_ON_DEMAND",
            "timeoutDurationMinutes": 15,
        }
    ]
    primary = inputs["masterInstanceFleet"]
    assert (primary["targetOnDemandCapacity"], primary["targetSpotCapacity"]) == (1, 0)
    assert "bidPrice" not in primary["instanceTypeConfigs"][0]


def test_task_fleet_is_separate_resource(cluster: Evaluate) -> None:
    task = cluster(pets(fleets=FLEETS))["task-fleet"].inputs
    assert (task["clusterId"], task["targetSpotCapacity"]) == ("id-cluster", 3)
    spot = task["launchSpecifications"]["spotSpecifications"][0]
    assert spot["timeoutAction"] == "TERMINATE_CLUSTER"


def test_fleet_gets_all_subnets(cluster: Evaluate) -> None:
    network = {"subnets": ["subnet-1", "subnet-2"], "vpc": "vpc-1"}
    inputs = cluster(pets(fleets=FLEETS, network=network))["cluster"].inputs
    assert inputs["ec2Attributes"]["subnetIds"] == ["subnet-1", "subnet-2"]
    assert "subnetId" not in inputs["ec2Attributes"]


@pytest.mark.parametrize(
    ("spec", "unit", "ignored"),
    [
        ({}, "Instances", {"coreInstanceGroup.instanceCount"}),
        (
            {"fleets": FLEETS},
            "InstanceFleetUnits",
            {
                "coreInstanceFleet.targetOnDemandCapacity",
                "coreInstanceFleet.targetSpotCapacity",
            },
        ),
    ],
)
def test_managed_scaling_ignores_core_capacity(
    cluster: Evaluate, spec: dict[str, Any], unit: str, ignored: set[str]
) -> None:
    limits = {"minimum": 2, "maximum": 20, "max_on_demand": 5, "max_core": 4}
    resources = cluster(pets(scaling=limits, **spec))
    assert resources["cluster"].ignore_changes == {"steps"} | ignored
    assert resources["scaling"].inputs["computeLimits"] == [
        {
            "unitType": unit,
            "minimumCapacityUnits": 2,
            "maximumCapacityUnits": 20,
            "maximumOndemandCapacityUnits": 5,
            "maximumCoreCapacityUnits": 4,
        }
    ]


def test_managed_scaling_ignores_task_capacity(cluster: Evaluate) -> None:
    groups = cluster(pets(task=[{}], scaling={"maximum": 9, "unit": "vcpus"}))
    assert groups["task-task"].ignore_changes == {"instanceCount"}
    assert groups["scaling"].inputs["computeLimits"][0]["unitType"] == "VCPU"
    fleets = cluster(pets(fleets=FLEETS, scaling={"maximum": 9}))
    assert fleets["task-fleet"].ignore_changes == {
        "targetOnDemandCapacity",
        "targetSpotCapacity",
    }
