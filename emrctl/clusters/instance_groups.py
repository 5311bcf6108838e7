"""Instance groups and fleets of a running EMR cluster, in the form of its spec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from emrctl.spec import ClusterSpec, FleetSpec, FleetTypeSpec
from emrctl.spec.instance_groups import FleetsSpec, TaskSpec

ROLES = ("primary", "core", "task")
_BY_TYPE = dict(zip(("MASTER", "CORE", "TASK"), ROLES, strict=True))

Group = Mapping[str, Any]


def role_of(group: Group) -> str:
    """Return the role of the nodes of a group or fleet: primary, core or task."""
    return _BY_TYPE[group.get("InstanceGroupType") or group["InstanceFleetType"]]


def observed_spec(spec: ClusterSpec, release: str, groups: Sequence[Group]) -> ClusterSpec:
    """Return the spec with the observed release, and groups or fleets.

    `groups` are items of ListInstanceGroups or ListInstanceFleets. Those that EMR has emptied are
    omitted; volumes, which emrctl does not read, are those of the spec.
    """
    observed: dict[str, Any] = {"release": release}
    if any("InstanceFleetType" in group for group in groups):
        fleets = {role_of(group): group for group in groups}
        return spec.model_copy(update=observed | {"fleets": _fleets(spec.fleets, fleets)})
    for group in groups:
        if role_of(group) != "task":
            own = getattr(spec, role_of(group))
            observed[role_of(group)] = own.model_copy(update=_group(group))
    tasks = tuple(
        _task(spec, group)
        for group in groups
        if role_of(group) == "task" and group["RequestedInstanceCount"]
    )
    return spec.model_copy(update=observed | {"fleets": None, "task": tasks})


def _group(group: Group) -> dict[str, Any]:
    bid = group.get("BidPrice")
    return {
        "type": group["InstanceType"],
        "count": group["RequestedInstanceCount"],
        "bid_usd": None if bid is None else float(bid),
    }


def _task(spec: ClusterSpec, group: Group) -> TaskSpec:
    name = group.get("Name", "")
    own = next((item for item in spec.task if item.name == name), TaskSpec())
    return own.model_copy(update={"name": name, **_group(group)})


def _fleets(spec: FleetsSpec | None, groups: Mapping[str, Group]) -> FleetsSpec:
    primary, core = (
        _fleet(getattr(spec, role, None), groups[role]) for role in ("primary", "core")
    )
    task = groups.get("task", {})
    units = task.get("TargetOnDemandCapacity", 0) + task.get("TargetSpotCapacity", 0)
    own = spec.task if spec else None
    return FleetsSpec.model_construct(
        primary=primary, core=core, task=_fleet(own, task) if units else None
    )


def _fleet(spec: FleetSpec | None, group: Group) -> FleetSpec:
    own = {item.type: item for item in spec.types} if spec else {}
    types = tuple(
        _fleet_type(own.get(item["InstanceType"], FleetTypeSpec()), item)
        for item in group["InstanceTypeSpecifications"]
    )
    targets = {"on_demand": group["TargetOnDemandCapacity"], "spot": group["TargetSpotCapacity"]}
    if spec is not None:
        return spec.model_copy(update={"types": types, **targets})
    return FleetSpec.model_construct(types=types, **targets)


def _fleet_type(own: FleetTypeSpec, item: Group) -> FleetTypeSpec:
    update: dict[str, Any] = {
        "type": item["InstanceType"],
        "weight": item.get("WeightedCapacity", 1),
        "bid_usd": None,
        "bid_percent": item.get("BidPriceAsPercentageOfOnDemandPrice"),
    }
    if "BidPrice" in item:
        update |= {"bid_usd": float(item["BidPrice"]), "bid_percent": None}
    return own.model_copy(update=update)
