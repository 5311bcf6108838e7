"""Nodes of an EMR cluster: instance groups, instance fleets and managed scaling."""

from __future__ import annotations

from typing import Any

import pulumi

from emrctl.spec import ClusterSpec, FleetSpec, FleetTypeSpec, GroupSpec, ScalingSpec
from emrctl.spec.nodes import VolumesSpec
from stacks.names import format_bid
from stacks.sdk import emr

_UNITS = {"instances": "Instances", "vcpus": "VCPU", "fleet_units": "InstanceFleetUnits"}
_ON_TIMEOUT = {"on_demand": "SWITCH_TO_ON_DEMAND", "terminate": "TERMINATE_CLUSTER"}
_FLEET_CAPACITIES = ["targetOnDemandCapacity", "targetSpotCapacity"]


def cluster_arguments(spec: ClusterSpec) -> dict[str, Any]:
    """Return the arguments of `emr.Cluster` for its primary and core nodes."""
    if spec.fleets is None:
        return {
            "master_instance_group": _group(spec.primary),
            "core_instance_group": _group(spec.core),
        }
    return {
        "master_instance_fleet": _fleet("primary", spec.fleets.primary),
        "core_instance_fleet": _fleet("core", spec.fleets.core),
    }


def scaled_properties(spec: ClusterSpec) -> list[str]:
    """Return the properties of `emr.Cluster` that managed scaling changes."""
    if spec.scaling is None:
        return []
    if spec.fleets is None:
        return ["coreInstanceGroup.instanceCount"]
    return [f"coreInstanceFleet.{name}" for name in _FLEET_CAPACITIES]


def declare_task_nodes(spec: ClusterSpec, cluster: emr.Cluster) -> None:
    """Declare task groups or the task fleet, and the limits of managed scaling."""
    scaled = spec.scaling is not None
    for group in spec.task:
        emr.InstanceGroup(
            f"task-{group.name}",
            cluster_id=cluster.id,
            name=group.name,
            opts=pulumi.ResourceOptions(ignore_changes=["instanceCount"] if scaled else []),
            **_group(group),
        )
    if spec.fleets is not None and spec.fleets.task is not None:
        emr.InstanceFleet(
            "task-fleet",
            cluster_id=cluster.id,
            opts=pulumi.ResourceOptions(ignore_changes=_FLEET_CAPACITIES if scaled else []),
            **_fleet("task", spec.fleets.task),
        )
    if spec.scaling is not None:
        limits = _compute_limits(spec.scaling, fleets=spec.fleets is not None)
        emr.ManagedScalingPolicy("scaling", cluster_id=cluster.id, compute_limits=[limits])


def _group(spec: GroupSpec) -> dict[str, Any]:
    return {
        "instance_type": spec.type,
        "instance_count": spec.count,
        "ebs_configs": [_ebs_config(spec)],
        **({} if spec.bid_usd is None else {"bid_price": format_bid(spec.bid_usd)}),
    }


def _ebs_config(spec: VolumesSpec) -> dict[str, Any]:
    return {
        "size": spec.volume_gb,
        "type": spec.volume_type,
        "volumes_per_instance": spec.volumes,
    }


def _fleet(name: str, spec: FleetSpec) -> dict[str, Any]:
    return {
        "name": name,
        "instance_type_configs": [_type_config(item, spot=spec.spot > 0) for item in spec.types],
        "target_on_demand_capacity": spec.on_demand,
        "target_spot_capacity": spec.spot,
        "launch_specifications": _launch_specifications(spec),
    }


def _type_config(item: FleetTypeSpec, *, spot: bool) -> dict[str, Any]:
    config: dict[str, Any] = {
        "instance_type": item.type,
        "weighted_capacity": item.weight,
        "ebs_configs": [_ebs_config(item)],
    }
    if spot and item.bid_usd is not None:
        config["bid_price"] = format_bid(item.bid_usd)
    elif spot:
        config["bid_price_as_percentage_of_on_demand_price"] = item.bid_percent or 100
    return config


def _launch_specifications(spec: FleetSpec) -> dict[str, Any]:
    specifications: dict[str, Any] = {}
    if spec.on_demand:
        # EMR's only strategy for on-demand instances.
        specifications["on_demand_specifications"] = [{"allocation_strategy": "lowest-price"}]
    if spec.spot:
        specifications["spot_specifications"] = [
            {
                "allocation_strategy": spec.spot_strategy,
                "timeout_action": _ON_TIMEOUT[spec.on_timeout],
                "timeout_duration_minutes": spec.timeout_min,
            }
        ]
    return specifications


def _compute_limits(spec: ScalingSpec, *, fleets: bool) -> dict[str, Any]:
    unit = spec.unit or ("fleet_units" if fleets else "instances")
    return {
        "unit_type": _UNITS[unit],
        "minimum_capacity_units": spec.minimum,
        "maximum_capacity_units": spec.maximum,
        "maximum_ondemand_capacity_units": spec.max_on_demand,
        "maximum_core_capacity_units": spec.max_core,
    }
