"""The cluster's nodes as the provider wants them: groups, fleets, what scales them."""

from __future__ import annotations

from typing import Any

import pulumi

from emrctl.spec import ClusterSpec, FleetSpec, FleetTypeSpec, GroupSpec, ScalingSpec, TaskSpec
from emrctl.spec.nodes import VolumesSpec
from stacks.sdk import emr

_UNITS = {"instances": "Instances", "vcpus": "VCPU", "fleet_units": "InstanceFleetUnits"}
_ON_TIMEOUT = {"on_demand": "SWITCH_TO_ON_DEMAND", "terminate": "TERMINATE_CLUSTER"}


def of_cluster(spec: ClusterSpec) -> dict[str, Any]:
    """The arguments that give a cluster its primary and core nodes."""
    if spec.fleets is None:
        return {
            "master_instance_group": _group(spec.primary),
            "core_instance_group": _group(spec.core),
        }
    return {
        "master_instance_fleet": _fleet("primary", spec.fleets.primary),
        "core_instance_fleet": _fleet("core", spec.fleets.core),
    }


def scaled_by_emr(spec: ClusterSpec) -> list[str]:
    """The properties that managed scaling changes behind the program's back."""
    if spec.scaling is None:
        return []
    if spec.fleets is None:
        return ["coreInstanceGroup.instanceCount"]
    return [f"coreInstanceFleet.target{kind}Capacity" for kind in ("OnDemand", "Spot")]


def beside(spec: ClusterSpec, made: emr.Cluster) -> None:
    """Task nodes, and the limits between which EMR scales."""
    for group in spec.task:
        _task_group(group, made, scaled=spec.scaling is not None)
    if spec.fleets is not None and spec.fleets.task is not None:
        _task_fleet(spec.fleets.task, made, scaled=spec.scaling is not None)
    if spec.scaling is not None:
        limits = _limits(spec.scaling, fleets=spec.fleets is not None)
        emr.ManagedScalingPolicy("scaling", cluster_id=made.id, compute_limits=[limits])


def _group(spec: GroupSpec) -> dict[str, Any]:
    return {
        "instance_type": spec.type,
        "instance_count": spec.count,
        "ebs_configs": [_disk(spec)],
        **({} if spec.bid_usd is None else {"bid_price": _price(spec.bid_usd)}),
    }


def _disk(spec: VolumesSpec) -> dict[str, Any]:
    return {
        "size": spec.volume_gb,
        "type": spec.volume_type,
        "volumes_per_instance": spec.volumes,
    }


def _price(usd: float) -> str:
    """As EMR takes it: a string of dollars, without an exponent."""
    return f"{usd:.5f}".rstrip("0").rstrip(".")


def _fleet(name: str, spec: FleetSpec) -> dict[str, Any]:
    return {
        "name": name,
        "instance_type_configs": [_type(item, spot=spec.spot > 0) for item in spec.types],
        "target_on_demand_capacity": spec.on_demand,
        "target_spot_capacity": spec.spot,
        "launch_specifications": _launch(spec),
    }


def _type(item: FleetTypeSpec, *, spot: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "instance_type": item.type,
        "weighted_capacity": item.weight,
        "ebs_configs": [_disk(item)],
    }
    if spot and item.bid_usd is not None:
        found["bid_price"] = _price(item.bid_usd)
    elif spot:
        percent = item.bid_percent or 100
        found["bid_price_as_percentage_of_on_demand_price"] = percent
    return found


def _launch(spec: FleetSpec) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if spec.on_demand:
        # The one strategy that EMR has for on-demand instances.
        found["on_demand_specifications"] = [{"allocation_strategy": "lowest-price"}]
    if spec.spot:
        found["spot_specifications"] = [
            {
                "allocation_strategy": spec.spot_strategy,
                "timeout_action": _ON_TIMEOUT[spec.on_timeout],
                "timeout_duration_minutes": spec.timeout_min,
            }
        ]
    return found


def _task_group(spec: TaskSpec, made: emr.Cluster, *, scaled: bool) -> None:
    emr.InstanceGroup(
        f"task-{spec.name}",
        cluster_id=made.id,
        name=spec.name,
        opts=pulumi.ResourceOptions(ignore_changes=["instanceCount"] if scaled else []),
        **_group(spec),
    )


def _task_fleet(spec: FleetSpec, made: emr.Cluster, *, scaled: bool) -> None:
    targets = ["targetOnDemandCapacity", "targetSpotCapacity"]
    emr.InstanceFleet(
        "task-fleet",
        cluster_id=made.id,
        opts=pulumi.ResourceOptions(ignore_changes=targets if scaled else []),
        **_fleet("task", spec),
    )


def _limits(spec: ScalingSpec, *, fleets: bool) -> dict[str, Any]:
    unit = spec.unit or ("fleet_units" if fleets else "instances")
    return {
        "unit_type": _UNITS[unit],
        "minimum_capacity_units": spec.minimum,
        "maximum_capacity_units": spec.maximum,
        "maximum_ondemand_capacity_units": spec.max_on_demand,
        "maximum_core_capacity_units": spec.max_core,
    }
