"""EMR resource types: clusters and security configurations."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from emrctl.aws import listing
from emrctl.aws.errors import get_or_none
from emrctl.aws.listing import EMR_ACTIVE, EMR_READY, EMR_TERMINATED
from emrctl.engine.localhost import instance_fleets, instance_groups
from emrctl.engine.localhost.resource_type import (
    STACK_TAG,
    ApiResource,
    Aws,
    Inputs,
    Outputs,
    ResourceType,
    pascal,
    tag_list,
    user_tags,
)
from emrctl.errors import ProvisioningError

_OPTIONAL = (
    "autoTerminationPolicy",
    "logUri",
    "placementGroupConfigs",
    "securityConfiguration",
    "stepConcurrencyLevel",
)
# With groups one, with fleets several.
_SUBNETS = {"subnetId": "Ec2SubnetId", "subnetIds": "Ec2SubnetIds"}
_NODE = re.compile(r"\((i-[0-9a-z]+)\).*bootstrap action (\d+)")


def describe(aws: Aws, id_: str) -> dict[str, Any] | None:
    """Return EMR's description of a cluster; None if it does not exist."""
    response = get_or_none(
        lambda: aws.client("emr").describe_cluster(ClusterId=id_), instance_groups.UNKNOWN
    )
    return None if response is None else response["Cluster"]


class _Cluster(ResourceType):
    """A cluster of instance groups."""

    def create(self, aws: Aws, inputs: Inputs) -> str:
        response = aws.client("emr").run_job_flow(
            Name=inputs["name"],
            ReleaseLabel=inputs["releaseLabel"],
            Applications=[{"Name": name} for name in inputs["applications"]],
            ServiceRole=inputs["serviceRole"],
            JobFlowRole=str(inputs["ec2Attributes"]["instanceProfile"]).rpartition("/")[2],
            Instances=_instances(inputs),
            BootstrapActions=[_bootstrap(item) for item in inputs.get("bootstrapActions", [])],
            Configurations=json.loads(inputs.get("configurationsJson") or "[]"),
            VisibleToAllUsers=True,
            Tags=tag_list(inputs.get("tags")),
            **pascal({key: inputs[key] for key in _OPTIONAL if inputs.get(key)}),
        )
        return str(response["JobFlowId"])

    def find(self, aws: Aws, inputs: Inputs) -> str | None:
        """Return the id of the active cluster with the name and the stack's tag."""
        emr = aws.client("emr")
        stack = inputs.get("tags", {}).get(STACK_TAG)
        for page in emr.get_paginator("list_clusters").paginate(ClusterStates=list(EMR_ACTIVE)):
            for item in page["Clusters"]:
                if item["Name"] != inputs["name"]:
                    continue
                if stack and listing.tags(describe(aws, item["Id"]) or {}).get(STACK_TAG) == stack:
                    return str(item["Id"])
        return None

    def settle(self, aws: Aws, id_: str, _inputs: Inputs) -> None:
        """Wait until the cluster accepts steps; raise `ProvisioningError` if it terminates."""
        while True:
            cluster = describe(aws, id_) or {"Status": {"State": "TERMINATED"}}
            state = cluster["Status"]["State"]
            if state in EMR_READY:
                return
            if state in EMR_TERMINATED:
                raise ProvisioningError(_failure(id_, cluster), hint=_failure_hint(cluster))
            aws.pause()

    def read(self, aws: Aws, id_: str, _inputs: Inputs) -> Outputs | None:
        cluster = describe(aws, id_)
        if cluster is None or cluster["Status"]["State"] in EMR_TERMINATED:
            return None
        return {
            "arn": cluster["ClusterArn"],
            "clusterState": cluster["Status"]["State"],
            "masterPublicDns": cluster.get("MasterPublicDnsName", ""),
        }

    def observe(self, aws: Aws, id_: str, inputs: Inputs) -> Outputs:
        """Return the current values of the inputs that can be updated in place."""
        cluster = describe(aws, id_) or {}
        core: Outputs = {}
        if "coreInstanceGroup" in inputs:
            group = instance_groups.find_group(aws, id_, "CORE")
            count = {"instanceCount": group["RequestedInstanceCount"]}
            core = {"coreInstanceGroup": {**inputs["coreInstanceGroup"], **count}}
        return {
            **core,
            "stepConcurrencyLevel": cluster.get("StepConcurrencyLevel", 1),
            "terminationProtection": cluster.get("TerminationProtected", False),
            "tags": user_tags(cluster),
        }

    def update(self, aws: Aws, id_: str, inputs: Inputs, keys: frozenset[str]) -> None:
        emr = aws.client("emr")
        if "terminationProtection" in keys:
            protected = bool(inputs.get("terminationProtection"))
            emr.set_termination_protection(JobFlowIds=[id_], TerminationProtected=protected)
        if "stepConcurrencyLevel" in keys:
            level = inputs.get("stepConcurrencyLevel", 1)
            emr.modify_cluster(ClusterId=id_, StepConcurrencyLevel=level)
        if "autoTerminationPolicy" in keys:
            _put_auto_termination(aws, id_, inputs["autoTerminationPolicy"])
        if "tags" in keys:
            _replace_tags(aws, id_, inputs)
        if "coreInstanceGroup.instanceCount" in keys:
            core = instance_groups.find_group(aws, id_, "CORE")["Id"]
            count = int(inputs["coreInstanceGroup"]["instanceCount"])
            instance_groups.resize_group(aws, id_, core, count)

    def delete(self, aws: Aws, id_: str, _inputs: Inputs) -> None:
        """Terminate the cluster and wait: until then its network cannot be deleted."""
        cluster = describe(aws, id_)
        if cluster is None or cluster["Status"]["State"] in EMR_TERMINATED:
            return
        if cluster.get("TerminationProtected"):
            hint = "Set cluster.termination_protection: false, run `emrctl up`, then try again."
            raise ProvisioningError(f"cluster {id_} has termination protection", hint=hint)
        aws.client("emr").terminate_job_flows(JobFlowIds=[id_])
        while cluster is not None and cluster["Status"]["State"] not in EMR_TERMINATED:
            aws.pause()
            cluster = describe(aws, id_)


class _ManagedScalingPolicy(ResourceType):
    """The managed scaling policy of a cluster; its id is the cluster's."""

    def create(self, aws: Aws, inputs: Inputs) -> str:
        given = {k: v for k, v in inputs["computeLimits"][0].items() if v is not None}
        limits = pascal(given)
        # The provider's name of MaximumOnDemandCapacityUnits.
        on_demand = limits.pop("MaximumOndemandCapacityUnits", None)
        if on_demand is not None:
            limits["MaximumOnDemandCapacityUnits"] = on_demand
        aws.client("emr").put_managed_scaling_policy(
            ClusterId=inputs["clusterId"], ManagedScalingPolicy={"ComputeLimits": limits}
        )
        return str(inputs["clusterId"])

    def find(self, aws: Aws, inputs: Inputs) -> str | None:
        id_ = str(inputs["clusterId"])
        return None if self.read(aws, id_, inputs) is None else id_

    def read(self, aws: Aws, id_: str, _inputs: Inputs) -> Outputs | None:
        cluster = describe(aws, id_)
        if cluster is None or cluster["Status"]["State"] in EMR_TERMINATED:
            return None
        policy = aws.client("emr").get_managed_scaling_policy(ClusterId=id_)
        return {} if policy.get("ManagedScalingPolicy") else None

    def delete(self, aws: Aws, id_: str, inputs: Inputs) -> None:
        if self.read(aws, id_, inputs) is not None:
            aws.client("emr").remove_managed_scaling_policy(ClusterId=id_)


def _instances(inputs: Inputs) -> dict[str, Any]:
    attributes = inputs["ec2Attributes"]
    return {
        **_nodes(inputs),
        **{name: attributes[key] for key, name in _SUBNETS.items() if key in attributes},
        "EmrManagedMasterSecurityGroup": attributes["emrManagedMasterSecurityGroup"],
        "EmrManagedSlaveSecurityGroup": attributes["emrManagedSlaveSecurityGroup"],
        "KeepJobFlowAliveWhenNoSteps": inputs.get("keepJobFlowAliveWhenNoSteps", True),
        "TerminationProtected": inputs.get("terminationProtection", False),
    }


def _nodes(inputs: Inputs) -> dict[str, Any]:
    """Return the primary and core nodes as groups or fleets."""
    roles = {"MASTER": "masterInstance", "CORE": "coreInstance"}
    if "coreInstanceFleet" in inputs:
        fleets = [
            instance_fleets.fleet_request(role, inputs[f"{key}Fleet"])
            for role, key in roles.items()
        ]
        return {"InstanceFleets": fleets}
    groups = [
        instance_groups.group_request(role, inputs[f"{key}Group"]) for role, key in roles.items()
    ]
    return {"InstanceGroups": groups}


def _bootstrap(item: Inputs) -> dict[str, Any]:
    script = {"Path": item["path"], "Args": list(item.get("args", []))}
    return {"Name": item["name"], "ScriptBootstrapAction": script}


def _failure(id_: str, cluster: Mapping[str, Any]) -> str:
    """Return state, reason, error details and the URI of the bootstrap action's log."""
    status = cluster["Status"]
    reason = status.get("StateChangeReason", {})
    parts = [f"cluster {id_} is {status['State']}"]
    if reason:
        parts.append(f"{reason.get('Code', '')}: {reason.get('Message', '')}".strip(": "))
    details = status.get("ErrorDetails", [])
    parts += [f"{item.get('ErrorCode', '')}: {item.get('ErrorMessage', '')}" for item in details]
    log = _log_key(id_, cluster)
    return "; ".join(parts) + (f" (log: {log})" if log else "")


def _log_key(id_: str, cluster: Mapping[str, Any]) -> str | None:
    """Return the URI of stderr of the bootstrap action named in EMR's message."""
    message = cluster["Status"].get("StateChangeReason", {}).get("Message", "")
    match, root = _NODE.search(message), str(cluster.get("LogUri") or "")
    if match is None or not root:
        return None
    base = re.sub(r"^s3n:", "s3:", root).rstrip("/")
    return f"{base}/{id_}/node/{match[1]}/bootstrap-actions/{match[2]}/stderr.gz"


def _failure_hint(cluster: Mapping[str, Any]) -> str:
    code = cluster["Status"].get("StateChangeReason", {}).get("Code", "")
    if code == "BOOTSTRAP_FAILURE":
        return "Fix the bootstrap script, then run `emrctl up` again to create a new cluster."
    if code == "VALIDATION_ERROR":
        return "Correct emrctl.yaml, then run `emrctl up` again."
    return "Run `emrctl up` again to create a new cluster."


def _put_auto_termination(aws: Aws, id_: str, policy: Inputs) -> None:
    emr = aws.client("emr")
    emr.put_auto_termination_policy(ClusterId=id_, AutoTerminationPolicy=pascal(policy))


def _replace_tags(aws: Aws, id_: str, inputs: Inputs) -> None:
    emr, tags = aws.client("emr"), inputs.get("tags", {})
    removed = sorted(listing.tags(describe(aws, id_) or {}).keys() - set(tags))
    if removed:
        emr.remove_tags(ResourceId=id_, TagKeys=removed)
    if tags:
        emr.add_tags(ResourceId=id_, Tags=tag_list(tags))


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:emr/managedScalingPolicy:ManagedScalingPolicy": _ManagedScalingPolicy(
        can_terminate=True,
        replaces=frozenset({"clusterId", "computeLimits"}),
        unique=("clusterId",),
    ),
    "aws:emr/securityConfiguration:SecurityConfiguration": ApiResource(
        service="emr",
        operations=(
            "create_security_configuration",
            "describe_security_configuration",
            "delete_security_configuration",
        ),
        arguments={"name": "Name", "configuration": "SecurityConfiguration"},
        key=("Name",),
        missing=(instance_groups.UNKNOWN,),
        unique=("name",),
    ),
    "aws:emr/cluster:Cluster": _Cluster(
        can_terminate=True,
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
                *(f"coreInstanceFleet.{name}" for name in instance_fleets.INPUTS),
                "coreInstanceGroup.bidPrice",
                "coreInstanceGroup.ebsConfigs",
                "coreInstanceGroup.instanceType",
                "ec2Attributes",
                "keepJobFlowAliveWhenNoSteps",
                "logUri",
                "masterInstanceFleet",
                "masterInstanceGroup",
                "name",
                "placementGroupConfigs",
                "releaseLabel",
                "securityConfiguration",
                "serviceRole",
                "visibleToAllUsers",
            }
        ),
    ),
}
