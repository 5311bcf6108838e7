"""EMR API operations on instance groups, fleets, instances and scaling policies."""

from __future__ import annotations

from typing import Any

from emrctl.emulator.api import responses
from emrctl.emulator.api.clusters import check_type, new_group
from emrctl.emulator.api.service import CLOSED, ApiError, Operation, Service, find, invalid, page
from emrctl.emulator.cluster import model
from emrctl.emulator.cluster.model import EmulatedCluster, InstanceGroup


def list_instance_groups(service: Service, region: str, ask: dict[str, Any]) -> dict[str, Any]:
    """ListInstanceGroups; an error if the cluster has fleets."""
    del region
    cluster = service.cluster(ask["ClusterId"])
    if _has_fleets(cluster):
        raise invalid("Instance fleets and instance groups are mutually exclusive.")
    return page("InstanceGroups", [responses.group(one, cluster) for one in cluster.groups], ask)


def list_instance_fleets(service: Service, region: str, ask: dict[str, Any]) -> dict[str, Any]:
    """ListInstanceFleets; an error if the cluster has groups."""
    del region
    cluster = service.cluster(ask["ClusterId"])
    if not _has_fleets(cluster):
        raise invalid("Instance fleets and instance groups are mutually exclusive.")
    return page("InstanceFleets", [responses.fleet(one, cluster) for one in cluster.groups], ask)


def _has_fleets(cluster: EmulatedCluster) -> bool:
    return "InstanceFleets" in cluster.request["Instances"]


def add_instance_groups(service: Service, region: str, ask: dict[str, Any]) -> dict[str, Any]:
    """AddInstanceGroups: add groups; their nodes start in the background."""
    del region
    cluster = service.cluster(ask["JobFlowId"])
    groups = [new_group(one) for one in ask["InstanceGroups"]]
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
        service.resize(cluster, group, group.count)
        group.state = group.state if group.count else model.RUNNING
    ids = [group.id for group in groups]
    return {"JobFlowId": cluster.id, "InstanceGroupIds": ids, "ClusterArn": cluster.arn}


def modify_instance_groups(service: Service, region: str, ask: dict[str, Any]) -> dict[str, Any]:
    """ModifyInstanceGroups: change counts; reconfiguration is not supported."""
    del region
    for one in ask.get("InstanceGroups", []):
        cluster, group = service.group(one["InstanceGroupId"])
        if "Configurations" in one:
            raise invalid("The local EMR does not reconfigure running instance groups.")
        if "InstanceCount" in one:
            _check_count(group, int(one["InstanceCount"]))
            service.resize(cluster, group, int(one["InstanceCount"]))
    return {}


def modify_instance_fleet(service: Service, region: str, ask: dict[str, Any]) -> dict[str, Any]:
    """ModifyInstanceFleet: change target capacities."""
    del region
    change = ask["InstanceFleet"]
    cluster, group = service.group(change["InstanceFleetId"])
    names = ("TargetOnDemandCapacity", "TargetSpotCapacity")
    group.request |= {name: change[name] for name in names if name in change}
    count = sum(int(group.request.get(name, 0)) for name in names)
    _check_count(group, count)
    service.resize(cluster, group, count)
    return {}


def _check_count(group: InstanceGroup, count: int) -> None:
    if group.role == model.MASTER and count != group.count:
        raise ApiError("The master instance group cannot be resized.")
    if count < 0 or (group.role == "CORE" and count < 1):
        raise ApiError(f"A {group.role} instance group cannot have {count} instances.")


def list_instances(service: Service, region: str, ask: dict[str, Any]) -> dict[str, Any]:
    """ListInstances: includes terminated instances."""
    del region
    cluster = service.cluster(ask["ClusterId"])
    owner = ask.get("InstanceGroupId") or ask.get("InstanceFleetId")
    roles = ask.get("InstanceGroupTypes") or ask.get("InstanceFleetType")
    wanted_roles = [roles] if isinstance(roles, str) else roles
    rows = [
        node
        for node in find(cluster.nodes, state=ask.get("InstanceStates"))
        if (not owner or node.group.id == owner)
        and (not wanted_roles or node.group.role in wanted_roles)
    ]
    return page("Instances", [responses.instance(node, cluster) for node in rows], ask, size=2000)


def put_auto_termination(service: Service, region: str, ask: dict[str, Any]) -> dict[str, Any]:
    """PutAutoTerminationPolicy: terminate the cluster after that idle time."""
    del region
    cluster = service.cluster(ask["ClusterId"])
    policy = {"IdleTimeout": 3600} | ask.get("AutoTerminationPolicy", {})
    if not 60 <= policy["IdleTimeout"] <= 604_800:
        raise ApiError("IdleTimeout must be between 60 and 604800 seconds.")
    with cluster.changed:
        cluster.auto_termination = policy
        cluster.changed.notify_all()
    return {}


def get_auto_termination(service: Service, region: str, ask: dict[str, Any]) -> dict[str, Any]:
    """GetAutoTerminationPolicy: empty without one."""
    del region
    policy = service.cluster(ask["ClusterId"]).auto_termination
    return {"AutoTerminationPolicy": policy} if policy else {}


def remove_auto_termination(service: Service, region: str, ask: dict[str, Any]) -> dict[str, Any]:
    """RemoveAutoTerminationPolicy."""
    del region
    cluster = service.cluster(ask["ClusterId"])
    with cluster.changed:
        cluster.auto_termination = None
        cluster.changed.notify_all()
    return {}


def put_managed_scaling(service: Service, region: str, ask: dict[str, Any]) -> dict[str, Any]:
    """PutManagedScalingPolicy: stored and returned; the local EMR does not scale."""
    del region
    service.cluster(ask["ClusterId"]).managed_scaling = ask["ManagedScalingPolicy"]
    return {}


def get_managed_scaling(service: Service, region: str, ask: dict[str, Any]) -> dict[str, Any]:
    """GetManagedScalingPolicy: empty without one."""
    del region
    policy = service.cluster(ask["ClusterId"]).managed_scaling
    return {"ManagedScalingPolicy": policy} if policy else {}


def remove_managed_scaling(service: Service, region: str, ask: dict[str, Any]) -> dict[str, Any]:
    """RemoveManagedScalingPolicy."""
    del region
    service.cluster(ask["ClusterId"]).managed_scaling = None
    return {}


def put_auto_scaling(service: Service, region: str, ask: dict[str, Any]) -> dict[str, Any]:
    """PutAutoScalingPolicy: stored and returned; the local EMR does not scale."""
    del region
    cluster, group = service.group(ask["InstanceGroupId"])
    group.auto_scaling = ask["AutoScalingPolicy"] | {"Status": {"State": "ATTACHED"}}
    return {
        "ClusterId": cluster.id,
        "InstanceGroupId": group.id,
        "AutoScalingPolicy": group.auto_scaling,
        "ClusterArn": cluster.arn,
    }


def remove_auto_scaling(service: Service, region: str, ask: dict[str, Any]) -> dict[str, Any]:
    """RemoveAutoScalingPolicy."""
    del region
    service.group(ask["InstanceGroupId"])[1].auto_scaling = None
    return {}


OPERATIONS: dict[str, Operation] = {
    "ListInstanceGroups": list_instance_groups,
    "ListInstanceFleets": list_instance_fleets,
    "AddInstanceGroups": add_instance_groups,
    "ModifyInstanceGroups": modify_instance_groups,
    "ModifyInstanceFleet": modify_instance_fleet,
    "ListInstances": list_instances,
    "PutAutoTerminationPolicy": put_auto_termination,
    "GetAutoTerminationPolicy": get_auto_termination,
    "RemoveAutoTerminationPolicy": remove_auto_termination,
    "PutManagedScalingPolicy": put_managed_scaling,
    "GetManagedScalingPolicy": get_managed_scaling,
    "RemoveManagedScalingPolicy": remove_managed_scaling,
    "PutAutoScalingPolicy": put_auto_scaling,
    "RemoveAutoScalingPolicy": remove_auto_scaling,
}
