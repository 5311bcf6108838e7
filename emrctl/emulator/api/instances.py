"""EMR API operations on instance groups, fleets, instances, and scaling and idle policies."""

from __future__ import annotations

from typing import Any

from emrctl.emulator.api import responses
from emrctl.emulator.api.clusters import check_type, new_group
from emrctl.emulator.api.service import CLOSED, ApiError, Operation, Request, find, invalid
from emrctl.emulator.cluster import model
from emrctl.emulator.cluster.model import InstanceGroup


def _list_instance_groups(request: Request) -> dict[str, Any]:
    cluster = request.cluster
    if cluster.has_fleets:
        raise invalid("Instance fleets and instance groups are mutually exclusive.")
    rows = [responses.group(one, cluster) for one in cluster.groups]
    return request.page("InstanceGroups", rows)


def _list_instance_fleets(request: Request) -> dict[str, Any]:
    cluster = request.cluster
    if not cluster.has_fleets:
        raise invalid("Instance fleets and instance groups are mutually exclusive.")
    return request.page("InstanceFleets", [responses.fleet(one, cluster) for one in cluster.groups])


def _add_instance_groups(request: Request) -> dict[str, Any]:
    """Add groups; their nodes start in the background."""
    cluster = request.cluster
    groups = [new_group(one) for one in request.members["InstanceGroups"]]
    with cluster.changed:
        if not cluster.active:
            raise ApiError(CLOSED)
        for group in groups:
            check_type(group.instance_type)
            if group.role != "TASK" and any(g.role == group.role for g in cluster.groups):
                raise ApiError(f"The cluster has a {group.role} instance group already.")
        if cluster.state not in (model.RUNNING, model.WAITING):
            raise ApiError(f"Instance groups cannot be added while it is {cluster.state}.")
        cluster.groups += groups
    for group in groups:
        request.service.resize(cluster, group, group.count)
        group.state = group.state if group.count else model.RUNNING
    ids = [group.id for group in groups]
    return {"JobFlowId": cluster.id, "InstanceGroupIds": ids, "ClusterArn": cluster.arn}


def _modify_instance_groups(request: Request) -> dict[str, Any]:
    for change in request.members.get("InstanceGroups", []):
        cluster, group = request.service.group(change["InstanceGroupId"])
        if "Configurations" in change:
            raise invalid("The local EMR does not reconfigure running instance groups.")
        if "InstanceCount" in change:
            _check_count(group, int(change["InstanceCount"]))
            request.service.resize(cluster, group, int(change["InstanceCount"]))
    return {}


def _modify_instance_fleet(request: Request) -> dict[str, Any]:
    change = request.members["InstanceFleet"]
    cluster, group = request.service.group(change["InstanceFleetId"])
    names = ("TargetOnDemandCapacity", "TargetSpotCapacity")
    group.request |= {name: change[name] for name in names if name in change}
    count = sum(int(group.request.get(name, 0)) for name in names)
    _check_count(group, count)
    request.service.resize(cluster, group, count)
    return {}


def _check_count(group: InstanceGroup, count: int) -> None:
    if group.role == model.MASTER and count != group.count:
        raise ApiError("The master instance group cannot be resized.")
    if count < 0 or (group.role == "CORE" and count < 1):
        raise ApiError(f"A {group.role} instance group cannot have {count} instances.")


def _list_instances(request: Request) -> dict[str, Any]:
    """Return the instances, including terminated ones."""
    cluster, ask = request.cluster, request.members
    owner = ask.get("InstanceGroupId") or ask.get("InstanceFleetId")
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
            setattr(request.cluster, field, None)
        return {}

    return operation


def _put_auto_termination_policy(request: Request) -> dict[str, Any]:
    policy = {"IdleTimeout": 3600} | request.members.get("AutoTerminationPolicy", {})
    if not 60 <= policy["IdleTimeout"] <= 604_800:
        raise ApiError("IdleTimeout must be between 60 and 604800 seconds.")
    with request.cluster.changing():
        request.cluster.auto_termination = policy
    return {}


def _put_managed_scaling_policy(request: Request) -> dict[str, Any]:
    """Store the policy: the local EMR does not scale."""
    request.cluster.managed_scaling = request.members["ManagedScalingPolicy"]
    return {}


def _put_auto_scaling_policy(request: Request) -> dict[str, Any]:
    """Store the policy: the local EMR does not scale."""
    cluster, group = request.service.group(request.members["InstanceGroupId"])
    policy = request.members["AutoScalingPolicy"] | {"Status": {"State": "ATTACHED"}}
    group.auto_scaling = policy
    return {
        "ClusterId": cluster.id,
        "InstanceGroupId": group.id,
        "AutoScalingPolicy": policy,
        "ClusterArn": cluster.arn,
    }


def _remove_auto_scaling_policy(request: Request) -> dict[str, Any]:
    _, group = request.service.group(request.members["InstanceGroupId"])
    group.auto_scaling = None
    return {}


OPERATIONS: dict[str, Operation] = {
    "ListInstanceGroups": _list_instance_groups,
    "ListInstanceFleets": _list_instance_fleets,
    "AddInstanceGroups": _add_instance_groups,
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
