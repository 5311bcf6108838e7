"""Instance groups and fleets in requests, with EMR's limits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from emrctl.aws import instance_types, rules
from emrctl.emulator.api.service import ApiError
from emrctl.emulator.cluster import model
from emrctl.emulator.cluster.model import InstanceGroup
from emrctl.errors import SpecError

_MAX_TASK_GROUPS = 48
_MAX_VOLUMES = 25
# EMR's types of EBS volumes, and the members of VolumeSpecification that only some have.
_VOLUME_TYPES: Mapping[str, tuple[str, ...]] = {
    "gp3": ("Iops", "Throughput"),
    "gp2": (),
    "io1": ("Iops",),
    "st1": (),
    "sc1": (),
    "standard": (),
}
# EMR's limits of a fleet's types, without and with an allocation strategy.
_MAX_TYPES, _MAX_TYPES_WITH_STRATEGY = 5, 30


def requested_groups(instances: Mapping[str, Any]) -> list[InstanceGroup]:
    """Return the groups or fleets of `Instances` of RunJobFlow; raise EMR's error."""
    plain = any(name in instances for name in ("MasterInstanceType", "SlaveInstanceType"))
    ways = [bool(instances.get(name)) for name in ("InstanceGroups", "InstanceFleets")]
    if sum([*ways, plain]) > 1:
        raise ApiError(
            "Please configure instances using one and only one of the following: instance groups; "
            "instance fleets; instance count, master and slave instance type."
        )
    if instances.get("InstanceFleets"):
        groups = [new_fleet(one) for one in instances["InstanceFleets"]]
    elif instances.get("InstanceGroups"):
        groups = [new_group(one) for one in instances["InstanceGroups"]]
    else:
        groups = _plain(instances)
    check_roles(groups, fleets=bool(instances.get("InstanceFleets")))
    check_total(groups)
    return groups


def check_roles(groups: Sequence[InstanceGroup], *, fleets: bool) -> None:
    """Raise EMR's error unless there is one master and at most one core group."""
    primaries = [group for group in groups if group.role == model.MASTER]
    if len(primaries) != 1 or primaries[0].count not in (1, 3):
        raise ApiError("A cluster needs exactly one master instance group of 1 or 3 instances.")
    if sum(group.role == "CORE" for group in groups) > 1:
        raise ApiError("A cluster has at most one core instance group.")
    limit = 1 if fleets else _MAX_TASK_GROUPS
    if sum(group.role == "TASK" for group in groups) > limit:
        noun = "instance fleet" if fleets else "instance groups"
        raise ApiError(f"A cluster has at most {limit} task {noun}.")


def check_total(groups: Iterable[InstanceGroup]) -> None:
    """Raise an error if the groups have more instances than the local EMR supports."""
    check_instances(sum(group.count for group in groups))


def check_instances(total: int) -> None:
    """Raise an error if a cluster of so many instances is not supported by the local EMR."""
    if total > model.MAX_INSTANCES:
        raise ApiError(
            f"The local EMR runs at most {model.MAX_INSTANCES} instances in a cluster, not {total}."
        )


def new_group(ask: dict[str, Any]) -> InstanceGroup:
    """Return the requested instance group; raise EMR's error."""
    role, count = ask["InstanceRole"], ask["InstanceCount"]
    if count < (0 if role == "TASK" else 1):
        raise ApiError(f"A {role} instance group cannot have {count} instances.")
    check_type(ask["InstanceType"])
    _check_bid(ask)
    _check_volumes(ask)
    check_classifications(ask.get("Configurations", []))
    group = InstanceGroup(role=role, instance_type=ask["InstanceType"], count=count, request=ask)
    if "AutoScalingPolicy" in ask:
        if role == model.MASTER:
            raise ApiError("The master instance group cannot have an automatic scaling policy.")
        check_auto_scaling(ask["AutoScalingPolicy"])
        group.auto_scaling = attached(ask["AutoScalingPolicy"])
    return group


def attached(policy: dict[str, Any]) -> dict[str, Any]:
    """Return an automatic scaling policy with its status."""
    return policy | {"Status": {"State": "ATTACHED"}}


def new_fleet(ask: dict[str, Any]) -> InstanceGroup:
    """Return the requested instance fleet; raise EMR's error."""
    configs = ask.get("InstanceTypeConfigs") or []
    if not configs:
        raise ApiError("An instance fleet needs InstanceTypeConfigs.")
    for config in configs:
        # Terraform sends the default percentage beside BidPrice.
        percentage = config.get("BidPriceAsPercentageOfOnDemandPrice", 100)
        if "BidPrice" in config and percentage != 100:
            raise ApiError("BidPrice and BidPriceAsPercentageOfOnDemandPrice exclude each other.")
        check_type(config["InstanceType"])
        _check_bid(config)
        _check_volumes(config)
        check_classifications(config.get("Configurations", []))
    role, targets = ask["InstanceFleetType"], [ask.get(name, 0) for name in model.TARGETS.values()]
    capacity = sum(targets)
    _check_types(role, configs, ask.get("LaunchSpecifications", {}))
    if capacity == 0 and role != "TASK":
        raise ApiError(f"The {role} instance fleet needs a target capacity of at least 1.")
    if role == model.MASTER and capacity != 1:
        raise ApiError("The master instance fleet needs a target capacity of 1.")
    # The most instances: those of the type with the least weight. The primary fleet has no weights.
    weight = 1 if role == model.MASTER else min(one.get("WeightedCapacity", 1) for one in configs)
    return InstanceGroup(
        id=model.new_id("if-"),
        role=role,
        instance_type=configs[0]["InstanceType"],
        count=sum(-(-units // weight) for units in targets),
        request=ask,
    )


def _check_types(
    role: str, configs: Sequence[Mapping[str, Any]], launch: Mapping[str, Any]
) -> None:
    """Raise EMR's error for a fleet's weights, number of types or launch specifications."""
    for config in configs:
        weight = config.get("WeightedCapacity", 1)
        if weight < 1 or (role == model.MASTER and weight != 1):
            needed = "1 in a master instance fleet" if role == model.MASTER else "at least 1"
            raise ApiError(f"WeightedCapacity must be {needed}, not {weight}.")
    if again := rules.repeated(config["InstanceType"] for config in configs):
        raise ApiError(f"The instance type '{again[1]}' is given twice in an instance fleet.")
    specifications = [one for one in launch.values() if isinstance(one, dict)]
    strategic = any("AllocationStrategy" in one for one in specifications)
    limit = _MAX_TYPES_WITH_STRATEGY if strategic else _MAX_TYPES
    if len(configs) > limit:
        hint = "" if strategic else " without an allocation strategy"
        raise ApiError(f"An instance fleet has at most {limit} instance types{hint}.")
    for one in specifications:
        if not 5 <= one.get("TimeoutDurationMinutes", 5) <= 1440:
            raise ApiError("TimeoutDurationMinutes must be between 5 and 1440.")
        if one.get("BlockDurationMinutes", 60) not in range(60, 361, 60):
            raise ApiError("BlockDurationMinutes must be 60, 120, 180, 240, 300 or 360.")


def _plain(instances: Mapping[str, Any]) -> list[InstanceGroup]:
    primary = instances.get("MasterInstanceType")
    if not primary:
        raise ApiError("Instances needs InstanceGroups, InstanceFleets or MasterInstanceType.")
    total = instances.get("InstanceCount", 1)
    if total < 1:
        raise ApiError(f"InstanceCount must be at least 1, not {total}.")
    worker = instances.get("SlaveInstanceType", primary)
    return [
        new_group({"InstanceRole": role, "InstanceType": instance_type, "InstanceCount": count})
        for role, instance_type, count in ((model.MASTER, primary, 1), ("CORE", worker, total - 1))
        if count > 0
    ]


def check_type(name: str) -> None:
    """Raise EMR's error if YARN's memory on that instance type is unknown."""
    try:
        instance_types.emr_type(name)
    except SpecError as error:
        raise ApiError(f"The local EMR: {error.message}. {error.hint}") from error


def check_classifications(items: Sequence[Mapping[str, Any]]) -> None:
    """Raise EMR's error for a classification without name or given twice at one level."""
    if not all(item.get("Classification") for item in items):
        raise ApiError("A configuration needs a Classification.")
    again = rules.repeated(item["Classification"] for item in items)
    if again:
        raise ApiError(f"The classification '{again[1]}' is given twice.")
    for item in items:
        check_classifications(item.get("Configurations", []))


def check_auto_scaling(policy: Mapping[str, Any]) -> None:
    """Raise EMR's error for an automatic scaling policy with impossible limits or rules."""
    low, high = (policy["Constraints"][name] for name in ("MinCapacity", "MaxCapacity"))
    if not 0 <= low <= high:
        raise ApiError(
            f"MinCapacity ({low}) must be at least 0 and at most MaxCapacity ({high}) "
            "in an automatic scaling policy."
        )
    if not policy["Rules"]:
        raise ApiError("An automatic scaling policy needs at least one rule.")
    if again := rules.repeated(rule["Name"] for rule in policy["Rules"]):
        raise ApiError(f"Two rules of an automatic scaling policy have the name '{again[1]}'.")
    for rule in policy["Rules"]:
        _check_rule(rule)


def _check_rule(rule: Mapping[str, Any]) -> None:
    alarm = rule["Trigger"]["CloudWatchAlarmDefinition"]
    action = rule["Action"]["SimpleScalingPolicyConfiguration"]
    period = alarm["Period"]
    if period <= 0 or period % 60:
        raise ApiError(f"Period must be a multiple of 60 seconds, not {period}.")
    if alarm.get("EvaluationPeriods", 1) < 1:
        raise ApiError("EvaluationPeriods must be at least 1.")
    if action.get("CoolDown", 0) < 0:
        raise ApiError("CoolDown must be at least 0 seconds.")
    exact = action.get("AdjustmentType") == "EXACT_CAPACITY"
    if exact and action["ScalingAdjustment"] < 0:
        raise ApiError("ScalingAdjustment must be positive with EXACT_CAPACITY.")


def _check_bid(ask: Mapping[str, Any]) -> None:
    bid = ask.get("BidPrice")
    try:
        valid = bid is None or 0 < float(bid) < float("inf")
    except ValueError:
        valid = False
    if not valid:
        raise ApiError(f"BidPrice '{bid}' is not a positive number of US dollars per hour.")


def _check_volumes(ask: Mapping[str, Any]) -> None:
    total = 0
    for one in ask.get("EbsConfiguration", {}).get("EbsBlockDeviceConfigs", []):
        volume = one["VolumeSpecification"]
        volumes, type_ = one.get("VolumesPerInstance", 1), volume["VolumeType"]
        if volumes < 1 or volume["SizeInGB"] < 1:
            raise ApiError("VolumesPerInstance and SizeInGB of EBS volumes must be at least 1.")
        if type_ not in _VOLUME_TYPES:
            accepted = ", ".join(_VOLUME_TYPES)
            raise ApiError(f"The EBS volume type '{type_}' is not supported: use {accepted}.")
        if "Iops" not in volume and type_ == "io1":
            raise ApiError("EBS volumes of type io1 need Iops.")
        for member in ("Iops", "Throughput"):
            if member in volume and member not in _VOLUME_TYPES[type_]:
                raise ApiError(f"{member} is not supported for EBS volumes of type {type_}.")
        total += volumes
    if total > _MAX_VOLUMES:
        raise ApiError(f"An instance has at most {_MAX_VOLUMES} EBS volumes, not {total}.")
