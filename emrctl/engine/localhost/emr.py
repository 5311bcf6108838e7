"""EMR's resource types: a cluster and its security configuration."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from emrctl.aws.errors import get_or_none
from emrctl.engine.localhost.resource_type import (
    Aws,
    Inputs,
    Outputs,
    ResourceType,
    pairs,
    tags_of,
)
from emrctl.errors import ProvisioningError

ACTIVE = ("STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING")
READY = ("RUNNING", "WAITING")
ENDED = ("TERMINATED", "TERMINATED_WITH_ERRORS")
_CHANGING = ("PROVISIONING", "BOOTSTRAPPING", "RECONFIGURING", "RESIZING")
_UNKNOWN = "InvalidRequestException"
_NODE = re.compile(r"\((i-[0-9a-z]+)\).*bootstrap action (\d+)")


def describe(aws: Aws, id_: str) -> dict[str, Any] | None:
    """What EMR says of a cluster; None where it knows none of that id."""
    found = get_or_none(lambda: aws.client("emr").describe_cluster(ClusterId=id_), _UNKNOWN)
    return None if found is None else found["Cluster"]


def _create(aws: Aws, inputs: Inputs) -> str:
    made = aws.client("emr").run_job_flow(
        Name=inputs["name"],
        ReleaseLabel=inputs["releaseLabel"],
        Applications=[{"Name": name} for name in inputs["applications"]],
        ServiceRole=inputs["serviceRole"],
        JobFlowRole=str(inputs["ec2Attributes"]["instanceProfile"]).rpartition("/")[2],
        Instances=_instances(inputs),
        BootstrapActions=[_bootstrap(item) for item in inputs.get("bootstrapActions", [])],
        Configurations=json.loads(inputs.get("configurationsJson") or "[]"),
        VisibleToAllUsers=True,
        Tags=pairs(inputs.get("tags")),
        **_optional(inputs),
    )
    return str(made["JobFlowId"])


def _instances(inputs: Inputs) -> dict[str, Any]:
    place = inputs["ec2Attributes"]
    return {
        "InstanceGroups": [
            _group("MASTER", inputs["masterInstanceGroup"]),
            _group("CORE", inputs["coreInstanceGroup"]),
        ],
        "Ec2SubnetId": place["subnetId"],
        "EmrManagedMasterSecurityGroup": place["emrManagedMasterSecurityGroup"],
        "EmrManagedSlaveSecurityGroup": place["emrManagedSlaveSecurityGroup"],
        "KeepJobFlowAliveWhenNoSteps": inputs.get("keepJobFlowAliveWhenNoSteps", True),
        "TerminationProtected": inputs.get("terminationProtection", False),
    }


def _group(role: str, inputs: Inputs) -> dict[str, Any]:
    disks = [
        {
            "VolumeSpecification": {"VolumeType": disk["type"], "SizeInGB": disk["size"]},
            "VolumesPerInstance": disk.get("volumesPerInstance", 1),
        }
        for disk in inputs.get("ebsConfigs", [])
    ]
    return {
        "Name": role.lower(),
        "InstanceRole": role,
        "InstanceType": inputs["instanceType"],
        "InstanceCount": inputs.get("instanceCount", 1),
        "Market": "ON_DEMAND",
        **({"EbsConfiguration": {"EbsBlockDeviceConfigs": disks}} if disks else {}),
    }


def _bootstrap(item: Inputs) -> dict[str, Any]:
    script = {"Path": item["path"], "Args": list(item.get("args", []))}
    return {"Name": item["name"], "ScriptBootstrapAction": script}


def _optional(inputs: Inputs) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, name in (
        ("logUri", "LogUri"),
        ("securityConfiguration", "SecurityConfiguration"),
        ("stepConcurrencyLevel", "StepConcurrencyLevel"),
    ):
        if inputs.get(key):
            found[name] = inputs[key]
    policy = inputs.get("autoTerminationPolicy")
    if policy:
        found["AutoTerminationPolicy"] = {"IdleTimeout": policy["idleTimeout"]}
    return found


def _find(aws: Aws, inputs: Inputs) -> str | None:
    """A cluster of the stack that runs: it has the name and the stack's tag."""
    emr = aws.client("emr")
    mark = ("emrctl:stack", inputs.get("tags", {}).get("emrctl:stack"))
    for page in emr.get_paginator("list_clusters").paginate(ClusterStates=list(ACTIVE)):
        for item in page["Clusters"]:
            if item["Name"] != inputs["name"]:
                continue
            tags = (describe(aws, item["Id"]) or {}).get("Tags", [])
            if mark in {(tag["Key"], tag["Value"]) for tag in tags}:
                return str(item["Id"])
    return None


def _settle(aws: Aws, id_: str, _inputs: Inputs) -> None:
    """The cluster takes steps; `ProvisioningError` says why where it ended instead."""
    while True:
        cluster = describe(aws, id_) or {"Status": {"State": "TERMINATED"}}
        state = cluster["Status"]["State"]
        if state in READY:
            return
        if state in ENDED:
            raise ProvisioningError(_failure(id_, cluster), hint=_what_to_do(cluster))
        aws.pause()


def _failure(id_: str, cluster: Mapping[str, Any]) -> str:
    """State, reason, what EMR says in detail, and where the log of it lies."""
    status = cluster["Status"]
    reason = status.get("StateChangeReason", {})
    words = [f"cluster {id_} is {status['State']}"]
    if reason:
        words.append(f"{reason.get('Code', '')}: {reason.get('Message', '')}".strip(": "))
    details = status.get("ErrorDetails", [])
    words += [f"{item.get('ErrorCode', '')}: {item.get('ErrorMessage', '')}" for item in details]
    log = _log_key(id_, cluster)
    return "; ".join(words) + (f" (log: {log})" if log else "")


def _log_key(id_: str, cluster: Mapping[str, Any]) -> str | None:
    """Where EMR puts the standard error of the bootstrap action that its message names."""
    message = cluster["Status"].get("StateChangeReason", {}).get("Message", "")
    found, root = _NODE.search(message), str(cluster.get("LogUri") or "")
    if found is None or not root:
        return None
    base = re.sub(r"^s3n:", "s3:", root).rstrip("/")
    return f"{base}/{id_}/node/{found[1]}/bootstrap-actions/{found[2]}/stderr.gz"


def _what_to_do(cluster: Mapping[str, Any]) -> str:
    code = cluster["Status"].get("StateChangeReason", {}).get("Code", "")
    if code == "BOOTSTRAP_FAILURE":
        return "Mend the bootstrap script, then run `emrctl up` again: it makes a new cluster."
    if code == "VALIDATION_ERROR":
        return "Change what EMR refuses in emrctl.yaml, then run `emrctl up` again."
    return "Run `emrctl up` again: it makes a new cluster."


def _read(aws: Aws, id_: str, _inputs: Inputs) -> Outputs | None:
    cluster = describe(aws, id_)
    if cluster is None or cluster["Status"]["State"] in ENDED:
        return None
    return {
        "arn": cluster["ClusterArn"],
        "clusterState": cluster["Status"]["State"],
        "masterPublicDns": cluster.get("MasterPublicDnsName", ""),
    }


def _observe(aws: Aws, id_: str, inputs: Inputs) -> Outputs:
    """What an update can change, as it is now."""
    cluster = describe(aws, id_) or {}
    count = _core(aws, id_)["RequestedInstanceCount"]
    return {
        "coreInstanceGroup": {**inputs.get("coreInstanceGroup", {}), "instanceCount": count},
        "stepConcurrencyLevel": cluster.get("StepConcurrencyLevel", 1),
        "terminationProtection": cluster.get("TerminationProtected", False),
        "tags": tags_of(cluster.get("Tags")),
    }


def _update(aws: Aws, id_: str, inputs: Inputs, keys: frozenset[str]) -> None:
    emr = aws.client("emr")
    if "terminationProtection" in keys:
        wanted = bool(inputs.get("terminationProtection"))
        emr.set_termination_protection(JobFlowIds=[id_], TerminationProtected=wanted)
    if "stepConcurrencyLevel" in keys:
        level = inputs.get("stepConcurrencyLevel", 1)
        emr.modify_cluster(ClusterId=id_, StepConcurrencyLevel=level)
    if "autoTerminationPolicy" in keys:
        _put_auto_termination(aws, id_, int(inputs["autoTerminationPolicy"]["idleTimeout"]))
    if "tags" in keys:
        _retag(aws, id_, inputs)
    if "coreInstanceGroup.instanceCount" in keys:
        _resize(aws, id_, int(inputs["coreInstanceGroup"]["instanceCount"]))


def _put_auto_termination(aws: Aws, id_: str, idle_s: int) -> None:
    policy = {"IdleTimeout": idle_s}
    aws.client("emr").put_auto_termination_policy(ClusterId=id_, AutoTerminationPolicy=policy)


def _retag(aws: Aws, id_: str, inputs: Inputs) -> None:
    emr, tags = aws.client("emr"), inputs.get("tags", {})
    old = {tag["Key"] for tag in (describe(aws, id_) or {}).get("Tags", [])}
    if old - set(tags):
        emr.remove_tags(ResourceId=id_, TagKeys=sorted(old - set(tags)))
    if tags:
        emr.add_tags(ResourceId=id_, Tags=pairs(tags))


def _resize(aws: Aws, id_: str, count: int) -> None:
    """The core group has `count` nodes that run."""
    group = _core(aws, id_)
    aws.client("emr").modify_instance_groups(
        ClusterId=id_,
        InstanceGroups=[{"InstanceGroupId": group["Id"], "InstanceCount": count}],
    )
    while True:
        group = _core(aws, id_)
        state = group["Status"]["State"]
        if state == "RUNNING" and group["RunningInstanceCount"] == count:
            return
        if state not in {"RUNNING", *_CHANGING}:
            why = group["Status"].get("StateChangeReason", {}).get("Message", "")
            msg = f"the core group of {id_} is {state}, asked for {count} nodes; {why}"
            raise ProvisioningError(msg, hint="Ask for another core.count, then `emrctl up`.")
        aws.pause()


def _core(aws: Aws, id_: str) -> dict[str, Any]:
    groups = aws.client("emr").list_instance_groups(ClusterId=id_)["InstanceGroups"]
    found: dict[str, Any] = next(item for item in groups if item["InstanceGroupType"] == "CORE")
    return found


def _delete(aws: Aws, id_: str, _inputs: Inputs) -> None:
    """The cluster has ended; the nodes no longer hold the network."""
    cluster = describe(aws, id_)
    if cluster is None or cluster["Status"]["State"] in ENDED:
        return
    if cluster.get("TerminationProtected"):
        hint = "Set cluster.termination_protection: false, run `emrctl up`, then this again."
        raise ProvisioningError(f"cluster {id_} is protected against termination", hint=hint)
    aws.client("emr").terminate_job_flows(JobFlowIds=[id_])
    while cluster is not None and cluster["Status"]["State"] not in ENDED:
        aws.pause()
        cluster = describe(aws, id_)


def _create_security(aws: Aws, inputs: Inputs) -> str:
    aws.client("emr").create_security_configuration(
        Name=inputs["name"], SecurityConfiguration=inputs["configuration"]
    )
    return str(inputs["name"])


def _find_security(aws: Aws, inputs: Inputs) -> str | None:
    name = str(inputs["name"])
    return None if _read_security(aws, name, inputs) is None else name


def _read_security(aws: Aws, name: str, _inputs: Inputs) -> Outputs | None:
    emr = aws.client("emr")
    found = get_or_none(lambda: emr.describe_security_configuration(Name=name), _UNKNOWN)
    return None if found is None else {"creationDate": str(found["CreationDateTime"])}


def _delete_security(aws: Aws, name: str, _inputs: Inputs) -> None:
    get_or_none(lambda: aws.client("emr").delete_security_configuration(Name=name), _UNKNOWN)


RESOURCE_TYPES = {
    "aws:emr/securityConfiguration:SecurityConfiguration": ResourceType(
        create=_create_security,
        read=_read_security,
        delete=_delete_security,
        find=_find_security,
        replaces=frozenset({"name", "configuration"}),
        unique=("name",),
    ),
    "aws:emr/cluster:Cluster": ResourceType(
        create=_create,
        read=_read,
        update=_update,
        delete=_delete,
        settle=_settle,
        find=_find,
        observe=_observe,
        mortal=True,
        updates=frozenset(
            {
                "autoTerminationPolicy",
                "coreInstanceGroup.instanceCount",
                "stepConcurrencyLevel",
                "tags",
                "terminationProtection",
            }
        ),
        replaces=frozenset(
            {
                "applications",
                "bootstrapActions",
                "configurationsJson",
                "coreInstanceGroup.ebsConfigs",
                "coreInstanceGroup.instanceType",
                "ec2Attributes",
                "keepJobFlowAliveWhenNoSteps",
                "logUri",
                "masterInstanceGroup",
                "name",
                "releaseLabel",
                "securityConfiguration",
                "serviceRole",
                "visibleToAllUsers",
            }
        ),
    ),
}
