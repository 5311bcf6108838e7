"""EMR API operations on clusters."""

from __future__ import annotations

import time
from typing import Any

from emrctl.aws import listing
from emrctl.emulator.api import checks, groups, responses, steps
from emrctl.emulator.api.service import ApiError, Operation, Request, find, opened
from emrctl.emulator.cluster import model
from emrctl.emulator.cluster.model import EmulatedCluster, Termination

_PROTECTED = "Could not shut down one or more job flows since they are termination protected."


def _run_job_flow(request: Request) -> dict[str, Any]:
    from moto.core import DEFAULT_ACCOUNT_ID

    ask = request.members
    instances = ask["Instances"]
    checks.remove_passwords(ask)
    requested = groups.requested_groups(instances)
    # EMR turns both on for a cluster with three primary nodes.
    several = any(one.role == model.MASTER and one.count > 1 for one in requested)
    cluster = EmulatedCluster(
        request=ask,
        region=request.region,
        account=DEFAULT_ACCOUNT_ID,
        groups=requested,
        tags={},
        keep_alive=several or bool(instances.get("KeepJobFlowAliveWhenNoSteps", False)),
        protected=several or bool(instances.get("TerminationProtected", False)),
        replace_unhealthy=bool(instances.get("UnhealthyNodeReplacement", False)),
        visible=bool(ask.get("VisibleToAllUsers", True)),
        concurrency=int(ask.get("StepConcurrencyLevel", 1)),
        auto_termination=None
        if ask.get("AutoTerminationPolicy") is None
        else checks.DEFAULT_AUTO_TERMINATION | ask["AutoTerminationPolicy"],
        managed_scaling=ask.get("ManagedScalingPolicy"),
    )
    checks.check_cluster(request.service, cluster)
    checks.check_execution_role(request.service, cluster, ask.get("StepExecutionRoleArn"))
    cluster.tags = listing.tags(ask)
    cluster.steps = steps.new_steps(cluster, ask.get("Steps", []), ask.get("StepExecutionRoleArn"))
    request.service.begin(cluster)
    return {"JobFlowId": cluster.id, "ClusterArn": cluster.arn}


def _describe_cluster(request: Request) -> dict[str, Any]:
    return {"Cluster": responses.describe_cluster(request.cluster)}


def _list_clusters(request: Request) -> dict[str, Any]:
    """Return the clusters of the region, newest first."""
    ask = request.members
    after, before = ask.get("CreatedAfter", 0), ask.get("CreatedBefore", time.time() + 1)
    clusters = [
        one
        for one in find(request.clusters, state=ask.get("ClusterStates"))
        if float(after) <= one.timeline.created <= float(before)
    ]
    clusters.sort(key=lambda one: one.timeline.created, reverse=True)
    return request.page("Clusters", [responses.cluster_summary(one) for one in clusters])


def _list_bootstrap_actions(request: Request) -> dict[str, Any]:
    rows = []
    for one in request.cluster.request.get("BootstrapActions", []):
        script = one["ScriptBootstrapAction"]
        row = {"Name": one["Name"], "ScriptPath": script["Path"], "Args": script.get("Args", [])}
        rows.append(row)
    return request.page("BootstrapActions", rows)


def _terminate_job_flows(request: Request) -> dict[str, Any]:
    """Terminate the unprotected clusters, then raise if any is protected."""
    checks.check_id_lists(request.members)
    clusters = [request.service.cluster(one) for one in request.members["JobFlowIds"]]
    termination = Termination(code="USER_REQUEST", message="Terminated by user request (local)")
    for cluster in clusters:
        if cluster.active and not cluster.protected:
            request.service.controllers[cluster.id].terminate(termination)
    if any(cluster.protected and cluster.active for cluster in clusters):
        raise ApiError(_PROTECTED)
    return {}


def _modify_cluster(request: Request) -> dict[str, Any]:
    cluster = request.cluster
    level = request.members.get("StepConcurrencyLevel", cluster.concurrency)
    checks.check_concurrency(level)
    with cluster.changing():
        opened(cluster)
        if level != 1:
            checks.check_feature(cluster, "StepConcurrencyLevel")
        cluster.concurrency = level
    return {"StepConcurrencyLevel": level}


def _add_tags(request: Request) -> dict[str, Any]:
    cluster, tags = request.cluster, request.members["Tags"]
    checks.check_tags(tags)
    with cluster.changing():
        opened(cluster)
        merged = cluster.tags | listing.tags({"Tags": tags})
        checks.check_tags([{"Key": key, "Value": value} for key, value in merged.items()])
        cluster.tags = merged
    return {}


def _remove_tags(request: Request) -> dict[str, Any]:
    cluster = request.cluster
    with cluster.changing():
        opened(cluster)
        for key in request.members["TagKeys"]:
            cluster.tags.pop(key, None)
    return {}


def _setter(field: str, key: str) -> Operation:
    """Return the operation that sets one field of several clusters."""

    def operation(request: Request) -> dict[str, Any]:
        clusters = [opened(request.service.cluster(one)) for one in request.members["JobFlowIds"]]
        for cluster in clusters:
            with cluster.changing():
                setattr(cluster, field, bool(request.members[key]))
        return {}

    return operation


OPERATIONS: dict[str, Operation] = {
    "RunJobFlow": _run_job_flow,
    "DescribeCluster": _describe_cluster,
    "ListClusters": _list_clusters,
    "ListBootstrapActions": _list_bootstrap_actions,
    "TerminateJobFlows": _terminate_job_flows,
    "ModifyCluster": _modify_cluster,
    "AddTags": _add_tags,
    "RemoveTags": _remove_tags,
    "SetTerminationProtection": _setter("protected", "TerminationProtected"),
    "SetVisibleToAllUsers": _setter("visible", "VisibleToAllUsers"),
    "SetKeepJobFlowAliveWhenNoSteps": _setter("keep_alive", "KeepJobFlowAliveWhenNoSteps"),
    "SetUnhealthyNodeReplacement": _setter("replace_unhealthy", "UnhealthyNodeReplacement"),
}
