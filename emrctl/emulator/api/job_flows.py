"""DescribeJobFlows: the clusters as EMR's API described them before 2013."""

from __future__ import annotations

import time
from typing import Any

from emrctl.emulator.api import responses
from emrctl.emulator.api.service import Operation, Request, find
from emrctl.emulator.cluster import model
from emrctl.emulator.cluster.model import EmulatedCluster, EmulatedStep, InstanceGroup, Timeline

_TWO_MONTHS_S = 61 * 86_400
_STATES = {
    model.TERMINATING: "SHUTTING_DOWN",
    model.TERMINATED: "COMPLETED",
    model.TERMINATED_WITH_ERRORS: "FAILED",
    model.CANCEL_PENDING: model.RUNNING,
}


def _describe_job_flows(request: Request) -> dict[str, Any]:
    """Return at most 512 clusters of the region, created in the last two months."""
    ask, now = request.members, time.time()
    after = ask.get("CreatedAfter", now - _TWO_MONTHS_S)
    before = ask.get("CreatedBefore", now + 1)
    for cluster_id in ask.get("JobFlowIds", []):
        request.service.cluster(cluster_id)
    states = ask.get("JobFlowStates")
    rows = [
        _job_flow(one)
        for one in find(request.clusters, id=ask.get("JobFlowIds"))
        if after <= one.timeline.created <= before
        and (not states or _STATES.get(one.state, one.state) in states)
    ]
    return {"JobFlows": rows[-512:][::-1]}


def _job_flow(cluster: EmulatedCluster) -> dict[str, Any]:
    described = responses.describe_cluster(cluster)
    echoed = ("LogUri", "ServiceRole", "AutoScalingRole", "VisibleToAllUsers", "ScaleDownBehavior")
    actions = cluster.request.get("BootstrapActions", [])
    return responses.present(
        {
            "JobFlowId": cluster.id,
            "Name": cluster.name,
            "JobFlowRole": cluster.request.get("JobFlowRole"),
            **{name: described.get(name) for name in echoed},
            "ExecutionStatusDetail": _status(cluster.state, cluster.timeline, cluster.message),
            "Instances": _instances(cluster, described),
            "Steps": [_step(one) for one in cluster.steps],
            "BootstrapActions": [{"BootstrapActionConfig": one} for one in actions],
        }
    )


def _status(state: str, times: Timeline, message: str) -> dict[str, Any]:
    return responses.present(
        {
            "State": _STATES.get(state, state),
            "CreationDateTime": times.created,
            "StartDateTime": times.ready,
            "EndDateTime": times.ended,
            "LastStateChangeReason": message or None,
        }
    )


def _instances(cluster: EmulatedCluster, described: dict[str, Any]) -> dict[str, Any]:
    asked, primary = cluster.request["Instances"], cluster.primary
    worker = next((one for one in cluster.groups if one.role == "CORE"), primary.group)
    return responses.present(
        {
            "MasterInstanceType": primary.instance_type,
            "MasterPublicDnsName": primary.public_dns,
            "MasterInstanceId": primary.ec2_id,
            "SlaveInstanceType": worker.instance_type,
            "InstanceCount": sum(one.count for one in cluster.groups),
            "InstanceGroups": [_group(one, cluster) for one in cluster.groups],
            "NormalizedInstanceHours": described["NormalizedInstanceHours"],
            "Ec2KeyName": asked.get("Ec2KeyName"),
            "Ec2SubnetId": cluster.subnet,
            "KeepJobFlowAliveWhenNoSteps": cluster.keep_alive,
            "TerminationProtected": cluster.protected,
        }
    )


def _group(group: InstanceGroup, cluster: EmulatedCluster) -> dict[str, Any]:
    row = responses.group(group, cluster)
    return {
        "InstanceGroupId": group.id,
        "Name": row["Name"],
        "Market": row["Market"],
        "InstanceRole": group.role,
        "InstanceType": group.instance_type,
        "InstanceRequestCount": row["RequestedInstanceCount"],
        "InstanceRunningCount": row["RunningInstanceCount"],
        "State": group.state,
        "CreationDateTime": group.timeline.created,
    }


def _step(step: EmulatedStep) -> dict[str, Any]:
    config = {
        "Name": step.name,
        "ActionOnFailure": step.action_on_failure,
        "HadoopJarStep": step.jar,
    }
    return {
        "StepConfig": config,
        "ExecutionStatusDetail": _status(step.state, step.timeline, step.message),
    }


OPERATIONS: dict[str, Operation] = {"DescribeJobFlows": _describe_job_flows}
