"""EMR API operations on instance groups, fleets, instances, and scaling and idle policies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from emrctl.emulator.api import checks, groups, responses
from emrctl.emulator.api.service import ApiError, Operation, Request, find, invalid, opened
from emrctl.emulator.cluster import model
from emrctl.emulator.cluster.model import EmulatedCluster, InstanceGroup
from emrctl.emulator.cluster.shrinking import DECOMMISSIONING_TIMEOUT_S, Shrinking
from emrctl.emulator.hadoop import hadoop_conf

_EXCLUSIVE = "Instance fleets and instance groups are mutually exclusive."
_MANAGED = "A cluster with managed scaling cannot have an automatic scaling policy."


def _list_instance_groups(request: Request) -> dict[str, Any]:
    cluster = request.cluster
    if cluster.has_fleets:
        raise invalid(_EXCLUSIVE)
    rows = [responses.group(one, cluster) for one in cluster.groups]
    return request.page("InstanceGroups", rows)


def _list_instance_fleets(request: Request) -> dict[str, Any]:
    cluster = request.cluster
    if not cluster.has_fleets:
        raise invalid(_EXCLUSIVE)
    return request.page("InstanceFleets", [responses.fleet(one, cluster) for one in cluster.groups])


def _add_instance_groups(request: Request) -> dict[str, Any]:
    """Add groups; their nodes start in the background."""
    cluster = request.cluster
    if cluster.has_fleets:
        raise ApiError(_EXCLUSIVE)
    new = [groups.new_group(one) for one in request.members["InstanceGroups"]]
    if cluster.managed_scaling is not None and any(one.auto_scaling for one in new):
        raise ApiError(_MANAGED)
    _add(request, new)
    ids = [group.id for group in new]
    return {"JobFlowId": cluster.id, "InstanceGroupIds": ids, "ClusterArn": cluster.arn}


def _add_instance_fleet(request: Request) -> dict[str, Any]:
    """Add a fleet; its nodes start in the background."""
    cluster = request.cluster
    if not cluster.has_fleets:
        raise invalid(_EXCLUSIVE)
    fleet = groups.new_fleet(request.members["InstanceFleet"])
    _add(request, [fleet])
    return {"ClusterId": cluster.id, "InstanceFleetId": fleet.id, "ClusterArn": cluster.arn}


def _add(request: Request, new: Sequence[InstanceGroup]) -> None:
    cluster = request.cluster
    with cluster.changing():
        opened(cluster)
        for group in new:
            if group.role != "TASK" and any(g.role == group.role for g in cluster.groups):
                raise ApiError(f"The cluster has a {group.role} instance group already.")
        groups.check_roles([*cluster.groups, *new], fleets=cluster.has_fleets)
        groups.check_total([*cluster.groups, *new])
        if cluster.state not in (model.RUNNING, model.WAITING):
            raise ApiError(f"Instance groups cannot be added while it is {cluster.state}.")
        cluster.groups += new
    for group in new:
        request.service.resize(cluster, group, group.targets)


def _modify_instance_groups(request: Request) -> dict[str, Any]:
    changes = []
    for change in request.members.get("InstanceGroups", []):
        group_id, cluster_id = change["InstanceGroupId"], request.members.get("ClusterId")
        cluster, group = request.service.group(group_id, cluster_id)
        if cluster.has_fleets:
            raise invalid(_EXCLUSIVE)
        if "Configurations" in change:
            _check_reconfiguration(cluster, group, change)
        removed = change.get("EC2InstanceIdsToTerminate", [])
        _check_removed(cluster, group, removed)
        if removed or "InstanceCount" in change:
            staying = {node.ec2_id for node in cluster.staying_nodes(group)}
            count = change.get("InstanceCount", group.count - len(staying.intersection(removed)))
            _check_count(cluster, group, count)
            changes.append((cluster, group, count, _shrinking(cluster, change)))
    for cluster, group, count, shrinking in changes:
        request.service.resize(cluster, group, {group.market: count}, shrinking)
    for change in request.members.get("InstanceGroups", []):
        cluster, group = request.service.group(change["InstanceGroupId"])
        if "Configurations" in change:
            request.service.reconfigure(cluster, group, change)
        if "ShrinkPolicy" in change:
            group.request = group.request | {"ShrinkPolicy": change["ShrinkPolicy"]}
    return {}


def _check_reconfiguration(
    cluster: EmulatedCluster, group: InstanceGroup, change: Mapping[str, Any]
) -> None:
    groups.check_classifications(change["Configurations"])
    if "InstanceCount" in change or change.get("EC2InstanceIdsToTerminate"):
        raise ApiError("An instance group cannot be resized and reconfigured in one request.")
    opened(cluster)
    checks.check_feature(cluster, "Reconfiguration")
    if cluster.state not in (model.RUNNING, model.WAITING) or group.state != model.RUNNING:
        raise ApiError(
            f"The instance group '{group.id}' cannot be reconfigured while it is {group.state} and "
            f"its cluster is {cluster.state}."
        )


def _check_removed(cluster: EmulatedCluster, group: InstanceGroup, ids: Sequence[str]) -> None:
    nodes = {node.ec2_id for node in cluster.active_nodes if node.group is group}
    for ec2_id in ids:
        if ec2_id not in nodes:
            raise ApiError(f"The instance '{ec2_id}' does not belong to group '{group.id}'.")


def _shrinking(cluster: EmulatedCluster, change: Mapping[str, Any]) -> Shrinking:
    """Return which instances to remove first and EMR's decommissioning timeout."""
    policy = change.get("ShrinkPolicy", {})
    instances = policy.get("InstanceResizePolicy", {})
    timeout = hadoop_conf.classification(cluster, "yarn-site").get(
        "yarn.resourcemanager.decommissioning.timeout", ""
    )
    default = int(timeout) if timeout.isdecimal() else DECOMMISSIONING_TIMEOUT_S
    return Shrinking(
        remove=instances.get("InstancesToTerminate", []),
        keep=instances.get("InstancesToProtect", []),
        at_once=change.get("EC2InstanceIdsToTerminate", []),
        timeout_s=policy.get("DecommissionTimeout", default),
    )


def _modify_instance_fleet(request: Request) -> dict[str, Any]:
    change = request.members["InstanceFleet"]
    cluster, group = request.service.group(change["InstanceFleetId"], request.cluster.id)
    if not cluster.has_fleets:
        raise invalid(_EXCLUSIVE)
    request.service.check_resizable(cluster, group)
    names = (*model.TARGETS.values(), "ResizeSpecifications", "InstanceTypeConfigs")
    ask = group.request | {name: change[name] for name in names if name in change}
    asked = groups.new_fleet(ask)
    if group.role == model.MASTER:
        raise ApiError("The master instance fleet cannot be resized.")
    others = sum(one.count for one in cluster.groups if one is not group)
    groups.check_instances(others + asked.count)
    asked.on_demand_for_spot = min(group.on_demand_for_spot, ask.get("TargetSpotCapacity", 0))
    with cluster.changing():
        group.request, group.on_demand_for_spot = ask, asked.on_demand_for_spot
    request.service.resize(cluster, group, asked.targets)
    return {}


def _check_count(cluster: EmulatedCluster, group: InstanceGroup, count: int) -> None:
    if group.role == model.MASTER and count != group.count:
        raise ApiError("The master instance group cannot be resized.")
    if count < 0 or (group.role == "CORE" and count < 1):
        raise ApiError(f"A {group.role} instance group cannot have {count} instances.")
    others = sum(one.count for one in cluster.groups if one is not group)
    groups.check_instances(others + count)


def _list_instances(request: Request) -> dict[str, Any]:
    """Return the instances, including terminated ones."""
    cluster, ask = request.cluster, request.members
    others = "InstanceGroup" if cluster.has_fleets else "InstanceFleet"
    if any(name.startswith(others) for name in ask):
        raise invalid(_EXCLUSIVE)
    owner = ask.get("InstanceGroupId") or ask.get("InstanceFleetId")
    if owner:
        request.service.group(owner, cluster.id)
    roles = ask.get("InstanceGroupTypes") or ask.get("InstanceFleetType")
    requested_roles = [roles] if isinstance(roles, str) else roles
    rows = [
        responses.instance(node, cluster)
        for node in find(cluster.nodes, state=ask.get("InstanceStates"))
        if (not owner or node.group.id == owner)
        and (not requested_roles or node.group.role in requested_roles)
    ]
    return request.page("Instances", rows, size=2000)


def _getter(field: str, key: str) -> Operation:
    """Return the operation that returns a policy of a cluster; empty without one."""

    def operation(request: Request) -> dict[str, Any]:
        policy = getattr(request.cluster, field)
        return {key: policy} if policy else {}

    return operation


def _remover(field: str) -> Operation:
    """Return the operation that removes a policy of a cluster."""

    def operation(request: Request) -> dict[str, Any]:
        with request.cluster.changing():
            setattr(request.open_cluster, field, None)
        return {}

    return operation


def _put_auto_termination_policy(request: Request) -> dict[str, Any]:
    policy = checks.DEFAULT_AUTO_TERMINATION | request.members.get("AutoTerminationPolicy", {})
    checks.check_auto_termination(policy)
    checks.check_feature(request.open_cluster, "AutoTerminationPolicy")
    return _put(request, "auto_termination", policy)


def _put_managed_scaling_policy(request: Request) -> dict[str, Any]:
    policy = request.members["ManagedScalingPolicy"]
    checks.check_managed_scaling(request.cluster, policy)
    checks.check_feature(request.open_cluster, "ManagedScalingPolicy")
    return _put(request, "managed_scaling", policy)


def _put(request: Request, field: str, policy: dict[str, Any]) -> dict[str, Any]:
    with request.cluster.changing():
        setattr(request.open_cluster, field, policy)
    return {}


def _put_auto_scaling_policy(request: Request) -> dict[str, Any]:
    """Store the policy, which the cluster's `AutoScaler` applies."""
    cluster, group = _scaled_group(request)
    groups.check_auto_scaling(request.members["AutoScalingPolicy"])
    if group.role == model.MASTER:
        raise ApiError("The master instance group cannot be resized.")
    if cluster.has_fleets:
        raise ApiError("An instance fleet cannot have an automatic scaling policy.")
    if cluster.managed_scaling is not None:
        raise ApiError(_MANAGED)
    policy = groups.attached(request.members["AutoScalingPolicy"])
    group.auto_scaling = policy
    return {
        "ClusterId": cluster.id,
        "InstanceGroupId": group.id,
        "AutoScalingPolicy": policy,
        "ClusterArn": cluster.arn,
    }


def _scaled_group(request: Request) -> tuple[EmulatedCluster, InstanceGroup]:
    return request.service.group(request.members["InstanceGroupId"], request.open_cluster.id)


def _remove_auto_scaling_policy(request: Request) -> dict[str, Any]:
    _, group = _scaled_group(request)
    group.auto_scaling = None
    return {}


OPERATIONS: dict[str, Operation] = {
    "ListInstanceGroups": _list_instance_groups,
    "ListInstanceFleets": _list_instance_fleets,
    "AddInstanceGroups": _add_instance_groups,
    "AddInstanceFleet": _add_instance_fleet,
    "ModifyInstanceGroups": _modify_instance_groups,
    "ModifyInstanceFleet": _modify_instance_fleet,
    "ListInstances": _list_instances,
    "PutAutoTerminationPolicy": _put_auto_termination_policy,
    "GetAutoTerminationPolicy": _getter("auto_termination", "AutoTerminationPolicy"),
    "RemoveAutoTerminationPolicy": _remover("auto_termination"),
    "PutManagedScalingPolicy": _put_managed_scaling_policy,
    "GetManagedScalingPolicy": _getter("managed_scaling", "ManagedScalingPolicy"),
    "RemoveManagedScalingPolicy": _remover("managed_scaling"),
    "PutAutoScalingPolicy": _put_auto_scaling_policy,
    "RemoveAutoScalingPolicy": _remove_auto_scaling_policy,
}
