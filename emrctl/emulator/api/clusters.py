"""EMR API operations on clusters.

Each takes the service, the request's region and the request, and returns the response.
"""

from __future__ import annotations

import time
from typing import Any

from emrctl.aws import instance_types, listing
from emrctl.emulator.api import ec2_records, responses
from emrctl.emulator.api.service import ApiError, Operation, Service, find, invalid, page
from emrctl.emulator.api.steps import add_steps, new_steps
from emrctl.emulator.cluster import model
from emrctl.emulator.cluster.model import EmulatedCluster, InstanceGroup, Termination
from emrctl.errors import SpecError

_PROTECTED = "Could not shut down one or more job flows since they are termination protected."


def run_job_flow(service: Service, region: str, ask: dict[str, Any]) -> dict[str, Any]:
    """RunJobFlow: create a cluster in state STARTING."""
    from moto.core import DEFAULT_ACCOUNT_ID

    instances = ask["Instances"]
    cluster = EmulatedCluster(request=ask, region=region, account=DEFAULT_ACCOUNT_ID)
    cluster.groups = _groups(instances)
    cluster.tags = listing.tags(ask)
    cluster.tags[model.LOCAL_TAG] = "true"
    cluster.keep_alive = bool(instances.get("KeepJobFlowAliveWhenNoSteps", False))
    cluster.protected = bool(instances.get("TerminationProtected", False))
    cluster.replace_unhealthy = bool(instances.get("UnhealthyNodeReplacement", False))
    cluster.visible = bool(ask.get("VisibleToAllUsers", True))
    cluster.concurrency = int(ask.get("StepConcurrencyLevel", 1))
    cluster.auto_termination = ask.get("AutoTerminationPolicy")
    cluster.managed_scaling = ask.get("ManagedScalingPolicy")
    _validate(cluster)
    cluster.steps = new_steps(cluster, ask.get("Steps", []))
    service.begin(cluster)
    return {"JobFlowId": cluster.id, "ClusterArn": cluster.arn}


def _groups(instances: dict[str, Any]) -> list[InstanceGroup]:
    if instances.get("InstanceFleets"):
        groups = [_fleet(one) for one in instances["InstanceFleets"]]
    elif instances.get("InstanceGroups"):
        groups = [new_group(one) for one in instances["InstanceGroups"]]
    else:
        groups = _plain(instances)
    primaries = [group for group in groups if group.role == model.MASTER]
    if len(primaries) != 1 or primaries[0].count not in (1, 3):
        raise ApiError("A cluster needs exactly one master instance group of 1 or 3 instances.")
    if sum(1 for group in groups if group.role == "CORE") > 1:
        raise ApiError("A cluster has at most one core instance group.")
    return groups


def new_group(ask: dict[str, Any]) -> InstanceGroup:
    """Return the requested instance group."""
    return InstanceGroup(
        role=ask["InstanceRole"],
        instance_type=ask["InstanceType"],
        count=int(ask["InstanceCount"]),
        request=ask,
    )


def _fleet(ask: dict[str, Any]) -> InstanceGroup:
    configs = ask.get("InstanceTypeConfigs") or []
    if not configs:
        raise ApiError("An instance fleet needs InstanceTypeConfigs.")
    capacity = int(ask.get("TargetOnDemandCapacity", 0)) + int(ask.get("TargetSpotCapacity", 0))
    weight = int(configs[0].get("WeightedCapacity", 1)) or 1
    return InstanceGroup(
        role=ask["InstanceFleetType"],
        instance_type=configs[0]["InstanceType"],
        count=-(-capacity // weight),
        request=ask,
    )


def _plain(instances: dict[str, Any]) -> list[InstanceGroup]:
    primary = instances.get("MasterInstanceType")
    if not primary:
        raise ApiError("Instances needs InstanceGroups, InstanceFleets or MasterInstanceType.")
    workers = int(instances.get("InstanceCount", 1)) - 1
    primary_group = {"InstanceRole": model.MASTER, "InstanceType": primary, "InstanceCount": 1}
    groups = [new_group(primary_group)]
    if workers > 0:
        kind = instances.get("SlaveInstanceType", primary)
        groups.append(
            new_group({"InstanceRole": "CORE", "InstanceType": kind, "InstanceCount": workers})
        )
    return groups


def _validate(cluster: EmulatedCluster) -> None:
    if not cluster.request.get("ReleaseLabel"):
        raise ApiError("ReleaseLabel is required by the local EMR.")
    if len(cluster.request.get("BootstrapActions", [])) > 16:
        raise ApiError("A cluster has at most 16 bootstrap actions.")
    if not ec2_records.check_subnet(cluster):
        raise ApiError("The subnet does not exist.")
    unknown = ec2_records.check_security_groups(cluster)
    if unknown:
        raise ApiError(f"The security group '{unknown}' does not exist.")
    for group in cluster.groups:
        check_type(group.instance_type)


def check_type(name: str) -> None:
    """Raise EMR's error if YARN's memory on that instance type is unknown."""
    try:
        instance_types.emr_type(name)
    except SpecError as error:
        raise ApiError(f"The local EMR: {error.message}. {error.hint}") from error


def describe_cluster(service: Service, region: str, ask: dict[str, Any]) -> dict[str, Any]:
    """DescribeCluster."""
    del region
    return {"Cluster": responses.describe_cluster(service.cluster(ask["ClusterId"]))}


def list_clusters(service: Service, region: str, ask: dict[str, Any]) -> dict[str, Any]:
    """ListClusters: newest first."""
    after, before = ask.get("CreatedAfter", 0), ask.get("CreatedBefore", time.time() + 1)
    clusters = [
        one
        for one in find([*service.clusters.values()], state=ask.get("ClusterStates"))
        if one.region == region and float(after) <= one.timeline.created <= float(before)
    ]
    clusters.sort(key=lambda one: one.timeline.created, reverse=True)
    return page("Clusters", [responses.cluster_summary(one) for one in clusters], ask)


def list_bootstrap_actions(service: Service, region: str, ask: dict[str, Any]) -> dict[str, Any]:
    """ListBootstrapActions."""
    del region
    actions = service.cluster(ask["ClusterId"]).request.get("BootstrapActions", [])
    rows = []
    for one in actions:
        script = one["ScriptBootstrapAction"]
        row = {"Name": one["Name"], "ScriptPath": script["Path"], "Args": script.get("Args", [])}
        rows.append(row)
    return page("BootstrapActions", rows, ask)


def terminate_job_flows(service: Service, region: str, ask: dict[str, Any]) -> dict[str, Any]:
    """TerminateJobFlows: terminate the unprotected clusters, then raise if any is protected."""
    del region
    clusters = [service.cluster(one) for one in ask["JobFlowIds"]]
    termination = Termination(code="USER_REQUEST", message="Terminated by user request (local)")
    for cluster in clusters:
        if not cluster.protected:
            service.controller(cluster.id).terminate(termination)
    if any(cluster.protected and cluster.active for cluster in clusters):
        raise ApiError(_PROTECTED)
    return {}


def modify_cluster(service: Service, region: str, ask: dict[str, Any]) -> dict[str, Any]:
    """ModifyCluster: change StepConcurrencyLevel."""
    del region
    cluster = service.cluster(ask["ClusterId"])
    level = int(ask.get("StepConcurrencyLevel", cluster.concurrency))
    if not 1 <= level <= 256:
        raise ApiError("StepConcurrencyLevel must be between 1 and 256.")
    with cluster.changed:
        cluster.concurrency = level
        cluster.changed.notify_all()
    return {"StepConcurrencyLevel": level}


def add_tags(service: Service, region: str, ask: dict[str, Any]) -> dict[str, Any]:
    """AddTags."""
    del region
    cluster = service.cluster(ask["ResourceId"])
    cluster.tags |= listing.tags(ask)
    return {}


def remove_tags(service: Service, region: str, ask: dict[str, Any]) -> dict[str, Any]:
    """RemoveTags."""
    del region
    cluster = service.cluster(ask["ResourceId"])
    for key in ask["TagKeys"]:
        cluster.tags.pop(key, None)
    return {}


def setter(field: str, key: str) -> Operation:
    """Return the operation that sets one field of several clusters."""

    def operation(service: Service, region: str, ask: dict[str, Any]) -> dict[str, Any]:
        del region
        for cluster in [service.cluster(one) for one in ask["JobFlowIds"]]:
            with cluster.changed:
                setattr(cluster, field, bool(ask[key]))
                cluster.changed.notify_all()
        return {}

    return operation


def describe_job_flows(service: Service, region: str, ask: dict[str, Any]) -> dict[str, Any]:
    """DescribeJobFlows: deprecated on AWS, not supported here."""
    del service, region, ask
    raise invalid("DescribeJobFlows is deprecated. Use ListClusters and DescribeCluster.")


OPERATIONS: dict[str, Operation] = {
    "RunJobFlow": run_job_flow,
    "DescribeCluster": describe_cluster,
    "ListClusters": list_clusters,
    "ListBootstrapActions": list_bootstrap_actions,
    "TerminateJobFlows": terminate_job_flows,
    "ModifyCluster": modify_cluster,
    "AddTags": add_tags,
    "RemoveTags": remove_tags,
    "AddJobFlowSteps": add_steps,
    "DescribeJobFlows": describe_job_flows,
    "SetTerminationProtection": setter("protected", "TerminationProtected"),
    "SetVisibleToAllUsers": setter("visible", "VisibleToAllUsers"),
    "SetKeepJobFlowAliveWhenNoSteps": setter("keep_alive", "KeepJobFlowAliveWhenNoSteps"),
    "SetUnhealthyNodeReplacement": setter("replace_unhealthy", "UnhealthyNodeReplacement"),
}
