"""EMR API operations on clusters and steps."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from emrctl.aws import instance_types, listing, rules
from emrctl.emulator.api import responses
from emrctl.emulator.api.service import (
    CLOSED,
    ApiError,
    Operation,
    Request,
    check_network,
    find,
    invalid,
)
from emrctl.emulator.cluster import model
from emrctl.emulator.cluster.model import EmulatedCluster, EmulatedStep, InstanceGroup, Termination
from emrctl.errors import SpecError

_PROTECTED = "Could not shut down one or more job flows since they are termination protected."
_MAX_ACTIVE_STEPS = 256
_MAX_STEP_CHARACTERS = 10_240
_TOO_MANY_STEPS = (
    "Maximum number of active steps(State = 'Running', 'Pending' or 'Cancel_Pending') "
    "for cluster exceeded."
)


def _run_job_flow(request: Request) -> dict[str, Any]:
    from moto.core import DEFAULT_ACCOUNT_ID

    ask = request.members
    instances = ask["Instances"]
    cluster = EmulatedCluster(
        request=ask,
        region=request.region,
        account=DEFAULT_ACCOUNT_ID,
        groups=_groups(instances),
        tags=listing.tags(ask) | {model.LOCAL_TAG: "true"},
        keep_alive=bool(instances.get("KeepJobFlowAliveWhenNoSteps", False)),
        protected=bool(instances.get("TerminationProtected", False)),
        replace_unhealthy=bool(instances.get("UnhealthyNodeReplacement", False)),
        visible=bool(ask.get("VisibleToAllUsers", True)),
        concurrency=int(ask.get("StepConcurrencyLevel", 1)),
        auto_termination=ask.get("AutoTerminationPolicy"),
        managed_scaling=ask.get("ManagedScalingPolicy"),
    )
    _validate(cluster)
    cluster.steps = _new_steps(cluster, ask.get("Steps", []))
    request.service.begin(cluster)
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
    for config in configs:
        if {"BidPrice", "BidPriceAsPercentageOfOnDemandPrice"} <= config.keys():
            raise ApiError("BidPrice and BidPriceAsPercentageOfOnDemandPrice exclude each other.")
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
    worker = instances.get("SlaveInstanceType", primary)
    workers = int(instances.get("InstanceCount", 1)) - 1
    return [
        new_group({"InstanceRole": role, "InstanceType": instance_type, "InstanceCount": count})
        for role, instance_type, count in ((model.MASTER, primary, 1), ("CORE", worker, workers))
        if count > 0
    ]


def _validate(cluster: EmulatedCluster) -> None:
    if not cluster.request.get("ReleaseLabel"):
        raise ApiError("ReleaseLabel is required by the local EMR.")
    _check_release(cluster)
    _check_tags(cluster.tags)
    _check_classifications(cluster.request.get("Configurations", []))
    if len(cluster.request.get("BootstrapActions", [])) > 16:
        raise ApiError("A cluster has at most 16 bootstrap actions.")
    check_network(cluster)
    for group in cluster.groups:
        check_type(group.instance_type)


def _check_release(cluster: EmulatedCluster) -> None:
    from moto.emr.models import emr_backends

    labels = emr_backends[cluster.account][cluster.region].list_release_labels()
    label = str(cluster.request["ReleaseLabel"])
    if fault := rules.release_fault(label, labels):
        raise ApiError(f"The supplied release label is invalid: {label}. {fault}.")


def _check_tags(tags: dict[str, str]) -> None:
    for key, value in tags.items():
        if fault := rules.tag_key_fault(key) or rules.tag_value_fault(value):
            raise ApiError(f"The tag '{key}' is not valid: {fault}.")


def _check_classifications(items: list[dict[str, Any]]) -> None:
    """Raise EMR's error for a classification that is given twice at one level."""
    again = rules.repeated(item["Classification"] for item in items)
    if again:
        raise ApiError(f"The classification '{again[1]}' is given twice.")
    for item in items:
        _check_classifications(item.get("Configurations", []))


def check_type(name: str) -> None:
    """Raise EMR's error if YARN's memory on that instance type is unknown."""
    try:
        instance_types.emr_type(name)
    except SpecError as error:
        raise ApiError(f"The local EMR: {error.message}. {error.hint}") from error


def _describe_cluster(request: Request) -> dict[str, Any]:
    return {"Cluster": responses.describe_cluster(request.cluster)}


def _list_clusters(request: Request) -> dict[str, Any]:
    """Return the clusters of the region, newest first."""
    ask = request.members
    after, before = ask.get("CreatedAfter", 0), ask.get("CreatedBefore", time.time() + 1)
    clusters = [
        one
        for one in find([*request.service.clusters.values()], state=ask.get("ClusterStates"))
        if one.region == request.region and float(after) <= one.timeline.created <= float(before)
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
    clusters = [request.service.cluster(one) for one in request.members["JobFlowIds"]]
    termination = Termination(code="USER_REQUEST", message="Terminated by user request (local)")
    for cluster in clusters:
        if not cluster.protected:
            request.service.controllers[cluster.id].terminate(termination)
    if any(cluster.protected and cluster.active for cluster in clusters):
        raise ApiError(_PROTECTED)
    return {}


def _modify_cluster(request: Request) -> dict[str, Any]:
    cluster = request.cluster
    level = int(request.members.get("StepConcurrencyLevel", cluster.concurrency))
    if not 1 <= level <= 256:
        raise ApiError("StepConcurrencyLevel must be between 1 and 256.")
    with cluster.changing():
        cluster.concurrency = level
    return {"StepConcurrencyLevel": level}


def _add_tags(request: Request) -> dict[str, Any]:
    request.cluster.tags |= listing.tags(request.members)
    return {}


def _remove_tags(request: Request) -> dict[str, Any]:
    for key in request.members["TagKeys"]:
        request.cluster.tags.pop(key, None)
    return {}


def _setter(field: str, key: str) -> Operation:
    """Return the operation that sets one field of several clusters."""

    def operation(request: Request) -> dict[str, Any]:
        for cluster in [request.service.cluster(one) for one in request.members["JobFlowIds"]]:
            with cluster.changing():
                setattr(cluster, field, bool(request.members[key]))
        return {}

    return operation


def _describe_job_flows(_: Request) -> dict[str, Any]:
    raise invalid("DescribeJobFlows is deprecated. Use ListClusters and DescribeCluster.")


# -- steps


def _add_job_flow_steps(request: Request) -> dict[str, Any]:
    cluster = request.cluster
    with cluster.changing():
        if not cluster.active:
            raise ApiError(CLOSED)
        steps = _new_steps(cluster, request.members["Steps"])
        cluster.steps += steps
    return {"StepIds": [step.id for step in steps]}


def _new_steps(cluster: EmulatedCluster, requests: Sequence[dict[str, Any]]) -> list[EmulatedStep]:
    """Return the requested steps; raises EMR's error if one of them is not allowed."""
    active = sum(1 for step in cluster.steps if step.unfinished)
    if active + len(requests) > _MAX_ACTIVE_STEPS:
        raise ApiError(_TOO_MANY_STEPS)
    return [_new_step(cluster, one) for one in requests]


def _new_step(cluster: EmulatedCluster, ask: dict[str, Any]) -> EmulatedStep:
    jar = ask["HadoopJarStep"]
    action = ask.get("ActionOnFailure", "TERMINATE_CLUSTER")
    if cluster.concurrency > 1 and action != "CONTINUE":
        raise ApiError(
            f"ActionOnFailure {action} is not allowed if StepConcurrencyLevel is greater than 1."
        )
    if _characters(jar) > _MAX_STEP_CHARACTERS:
        raise ApiError(
            f"Step '{ask['Name']}' is too long: "
            f"a step has at most {_MAX_STEP_CHARACTERS} characters."
        )
    return EmulatedStep(name=ask["Name"], action_on_failure=action, jar=jar)


def _characters(value: Any) -> int:
    """Return the total length of the strings in a JSON value."""
    if isinstance(value, dict | list):
        items = value.values() if isinstance(value, dict) else value
        return sum(_characters(one) for one in items)
    return len(value) if isinstance(value, str) else 0


def _describe_step(request: Request) -> dict[str, Any]:
    step = request.cluster.step(request.members["StepId"])
    if step is None:
        raise invalid("Step id is not valid.")
    return {"Step": responses.step_summary(step)}


def _list_steps(request: Request) -> dict[str, Any]:
    """Return the steps, newest first."""
    ask = request.members
    if len(ask.get("StepIds", [])) > 10:
        raise invalid("StepIds has at most 10 ids.")
    steps = find(request.cluster.steps[::-1], id=ask.get("StepIds"), state=ask.get("StepStates"))
    return request.page("Steps", [responses.step_summary(step) for step in steps])


def _cancel_steps(request: Request) -> dict[str, Any]:
    """Return for each step whether it can be cancelled."""
    rows = []
    for step_id in request.members["StepIds"]:
        problem = _cancel_step(request, step_id)
        row = {"StepId": step_id, "Status": "FAILED" if problem else "SUBMITTED"}
        rows.append(row | ({"Reason": problem} if problem else {}))
    return {"CancelStepsInfoList": rows}


def _cancel_step(request: Request, step_id: str) -> str:
    cluster, step = request.cluster, request.cluster.step(step_id)
    if step is None:
        return "Step id is not valid."
    with cluster.changed:
        if step.state not in (model.PENDING, model.RUNNING):
            return f"Step is in state {step.state} and cannot be cancelled."
        kill = request.members.get("StepCancellationOption") == "TERMINATE_PROCESS"
        request.service.controllers[cluster.id].cancel_step(step, kill=kill)
    return ""


OPERATIONS: dict[str, Operation] = {
    "RunJobFlow": _run_job_flow,
    "DescribeCluster": _describe_cluster,
    "ListClusters": _list_clusters,
    "ListBootstrapActions": _list_bootstrap_actions,
    "TerminateJobFlows": _terminate_job_flows,
    "ModifyCluster": _modify_cluster,
    "AddTags": _add_tags,
    "RemoveTags": _remove_tags,
    "DescribeJobFlows": _describe_job_flows,
    "SetTerminationProtection": _setter("protected", "TerminationProtected"),
    "SetVisibleToAllUsers": _setter("visible", "VisibleToAllUsers"),
    "SetKeepJobFlowAliveWhenNoSteps": _setter("keep_alive", "KeepJobFlowAliveWhenNoSteps"),
    "SetUnhealthyNodeReplacement": _setter("replace_unhealthy", "UnhealthyNodeReplacement"),
    "AddJobFlowSteps": _add_job_flow_steps,
    "DescribeStep": _describe_step,
    "ListSteps": _list_steps,
    "CancelSteps": _cancel_steps,
}
