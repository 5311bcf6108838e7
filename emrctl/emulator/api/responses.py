"""Render the model as EMR API responses."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import Any

from emrctl.aws import instance_types, releases
from emrctl.emulator.cluster.model import (
    ON_DEMAND,
    SPOT,
    EmulatedCluster,
    EmulatedNode,
    EmulatedStep,
    InstanceGroup,
    Timeline,
)
from emrctl.emulator.hadoop import spark_install
from emrctl.errors import SpecError

HADOOP_VERSION = "3.3.6"
# EMR's bid of a fleet's type without one.
DEFAULT_BID_PERCENTAGE = 100.0


def present(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the items that are not None: EMR omits unknown members."""
    return {key: value for key, value in answer.items() if value is not None}


def _timeline(times: Timeline, ready: str = "ReadyDateTime") -> dict[str, float]:
    return present(
        {"CreationDateTime": times.created, ready: times.ready, "EndDateTime": times.ended}
    )


def _status(state: str, times: Timeline, message: str, code: str = "") -> dict[str, Any]:
    reason = {key: text for key, text in (("Code", code), ("Message", message)) if text}
    return {"State": state, "StateChangeReason": reason, "Timeline": _timeline(times)}


def cluster_summary(cluster: EmulatedCluster) -> dict[str, Any]:
    """One row of ListClusters."""
    status = _status(cluster.state, cluster.timeline, cluster.message, cluster.code)
    return {
        "Id": cluster.id,
        "Name": cluster.name,
        "Status": status | ({"ErrorDetails": list(cluster.details)} if cluster.details else {}),
        "NormalizedInstanceHours": _normalized_hours(cluster),
        "ClusterArn": cluster.arn,
    }


# Members of RunJobFlow that DescribeCluster returns unchanged.
_ECHOED = (
    *("AutoScalingRole", "CustomAmiId", "EbsRootVolumeIops", "EbsRootVolumeSize"),
    *("EbsRootVolumeThroughput", "KerberosAttributes", "LogEncryptionKmsKeyId"),
    *("OSReleaseLabel", "ReleaseLabel", "RepoUpgradeOnBoot", "SecurityConfiguration"),
    "ServiceRole",
)


def describe_cluster(cluster: EmulatedCluster) -> dict[str, Any]:
    """`Cluster` of DescribeCluster."""
    asked = cluster.request
    return cluster_summary(cluster) | present(
        {
            **{name: asked.get(name) for name in _ECHOED},
            "Ec2InstanceAttributes": _ec2_attributes(cluster),
            "InstanceCollectionType": "INSTANCE_FLEET" if cluster.has_fleets else "INSTANCE_GROUP",
            "LogUri": _log_uri(asked.get("LogUri")),
            "AutoTerminate": not cluster.keep_alive,
            "TerminationProtected": cluster.protected,
            "UnhealthyNodeReplacement": cluster.replace_unhealthy,
            "VisibleToAllUsers": cluster.visible,
            "Applications": _applications(cluster),
            "Tags": [{"Key": key, "Value": value} for key, value in cluster.tags.items()],
            "MasterPublicDnsName": cluster.primary.public_dns,
            "Configurations": asked.get("Configurations", []),
            "ScaleDownBehavior": asked.get("ScaleDownBehavior", "TERMINATE_AT_TASK_COMPLETION"),
            "StepConcurrencyLevel": cluster.concurrency,
            "PlacementGroups": [
                {"PlacementStrategy": "SPREAD"} | one
                for one in asked.get("PlacementGroupConfigs", [])
            ],
        }
    )


def _log_uri(uri: str | None) -> str | None:
    """Return the log URI as EMR does: scheme s3n and a trailing slash."""
    return f"s3n://{uri.split('://', 1)[-1].rstrip('/')}/" if uri else None


def _applications(cluster: EmulatedCluster) -> list[dict[str, Any]]:
    """Return the applications; Hadoop and Spark with the versions that run on localhost."""
    versions = {"Hadoop": HADOOP_VERSION, "Spark": spark_install.of(cluster).version}
    release = releases.release(cluster.request["ReleaseLabel"])
    default = [{"Name": name} for name in release.default_applications[:1]]
    applications = cluster.request.get("Applications") or default
    return [{"Version": versions.get(one["Name"], "")} | one for one in applications]


def _ec2_attributes(cluster: EmulatedCluster) -> dict[str, Any]:
    asked = cluster.request["Instances"]
    primary, worker, service = cluster.security_groups
    return present(
        {
            "Ec2KeyName": asked.get("Ec2KeyName"),
            "Ec2SubnetId": cluster.subnet,
            "RequestedEc2SubnetIds": asked.get("Ec2SubnetIds"),
            "Ec2AvailabilityZone": cluster.zone,
            "IamInstanceProfile": cluster.request.get("JobFlowRole"),
            "EmrManagedMasterSecurityGroup": primary,
            "EmrManagedSlaveSecurityGroup": worker,
            "ServiceAccessSecurityGroup": service,
            "AdditionalMasterSecurityGroups": asked.get("AdditionalMasterSecurityGroups", []),
            "AdditionalSlaveSecurityGroups": asked.get("AdditionalSlaveSecurityGroups", []),
        }
    )


def _normalized_hours(cluster: EmulatedCluster) -> int:
    """EMR's unit of size and time: 8 for each hour of an xlarge, hours rounded up."""
    total = 0
    for node in cluster.nodes:
        with contextlib.suppress(SpecError):
            size = instance_types.instance_type(node.instance_type)
            began = node.timeline.ready
            if began is not None:
                seconds = (node.timeline.ended or time.time()) - began
                total += 2 * size.vcpus * max(1, -int(-seconds // 3600))
    return total


def group(one: InstanceGroup, cluster: EmulatedCluster) -> dict[str, Any]:
    """One row of ListInstanceGroups."""
    mine = [node for node in cluster.nodes if node.group is one]
    asked = one.request
    return present(
        {
            "Id": one.id,
            "Name": asked.get("Name", one.role.title()),
            "Market": asked.get("Market", "ON_DEMAND"),
            "InstanceGroupType": one.role,
            "BidPrice": asked.get("BidPrice"),
            "InstanceType": one.instance_type,
            "RequestedInstanceCount": one.count,
            "RunningInstanceCount": sum(1 for node in mine if node.state == "RUNNING"),
            "Status": _status(one.state, one.timeline, one.reason or cluster.message, one.code),
            "Configurations": one.requested_configurations,
            "ConfigurationsVersion": one.configurations_version,
            "LastSuccessfullyAppliedConfigurations": one.requested_configurations
            if one.applied_configurations is None
            else one.applied_configurations,
            "LastSuccessfullyAppliedConfigurationsVersion": one.applied_version,
            "EbsBlockDevices": _ebs(asked.get("EbsConfiguration", {})),
            "EbsOptimized": asked.get("EbsConfiguration", {}).get("EbsOptimized"),
            "ShrinkPolicy": asked.get("ShrinkPolicy", {}),
            "AutoScalingPolicy": one.auto_scaling,
            "CustomAmiId": asked.get("CustomAmiId"),
        }
    )


def _ebs(asked: Mapping[str, Any]) -> list[dict[str, Any]]:
    devices: list[dict[str, Any]] = []
    for one in asked.get("EbsBlockDeviceConfigs", []):
        for _ in range(one.get("VolumesPerInstance", 1)):
            device = f"/dev/sd{chr(ord('b') + len(devices))}"
            devices.append({"VolumeSpecification": one["VolumeSpecification"], "Device": device})
    return devices


def fleet(one: InstanceGroup, cluster: EmulatedCluster) -> dict[str, Any]:
    """One row of ListInstanceFleets."""
    asked = one.request
    running = [n for n in cluster.nodes if n.group is one and n.state == "RUNNING"]
    specifications = [_type_specification(one) for one in asked.get("InstanceTypeConfigs", [])]
    return present(
        {
            "Id": one.id,
            "Name": asked.get("Name", one.role.title()),
            "Status": _status(one.state, one.timeline, one.reason, one.code),
            "InstanceFleetType": one.role,
            "TargetOnDemandCapacity": asked.get("TargetOnDemandCapacity", 0),
            "TargetSpotCapacity": asked.get("TargetSpotCapacity", 0),
            "ProvisionedOnDemandCapacity": sum(n.units for n in running if n.market == ON_DEMAND),
            "ProvisionedSpotCapacity": sum(n.units for n in running if n.market == SPOT),
            "InstanceTypeSpecifications": specifications,
            "LaunchSpecifications": asked.get("LaunchSpecifications"),
            "ResizeSpecifications": asked.get("ResizeSpecifications"),
            "Context": asked.get("Context"),
        }
    )


def _type_specification(config: dict[str, Any]) -> dict[str, Any]:
    """The answer's form of a type of a fleet, with the volumes of its EbsConfiguration."""
    volumes = config.get("EbsConfiguration", {})
    rest = {name: value for name, value in config.items() if name != "EbsConfiguration"}
    defaults = present({"WeightedCapacity": 1, "EbsOptimized": volumes.get("EbsOptimized")})
    if "BidPrice" not in config:
        defaults["BidPriceAsPercentageOfOnDemandPrice"] = DEFAULT_BID_PERCENTAGE
    return defaults | {"EbsBlockDevices": _ebs(volumes)} | rest


def instance(node: EmulatedNode, cluster: EmulatedCluster) -> dict[str, Any]:
    """One row of ListInstances."""
    owner = "InstanceFleetId" if cluster.has_fleets else "InstanceGroupId"
    return {
        "Id": node.id,
        "Ec2InstanceId": node.ec2_id,
        "PublicDnsName": node.public_dns,
        "PublicIpAddress": node.public_ip,
        "PrivateDnsName": node.private_dns,
        "PrivateIpAddress": node.private_ip,
        "Status": _status(node.state, node.timeline, node.reason, node.code),
        owner: node.group.id,
        "Market": node.market,
        "InstanceType": node.instance_type,
        "EbsVolumes": [],
    }


def step(one: EmulatedStep) -> dict[str, Any]:
    """`Step` of DescribeStep."""
    return step_summary(one) | present({"ExecutionRoleArn": one.execution_role})


def step_summary(step: EmulatedStep) -> dict[str, Any]:
    """One row of ListSteps."""
    config = {
        "Jar": step.jar["Jar"],
        "Properties": step.properties,
        "MainClass": step.jar.get("MainClass"),
        "Args": step.args,
    }
    status = _status(step.state, step.timeline, step.message) | {
        "Timeline": _timeline(step.timeline, ready="StartDateTime")
    }
    return {
        "Id": step.id,
        "Name": step.name,
        "Config": present(config),
        "ActionOnFailure": step.action_on_failure,
        "Status": status | ({"FailureDetails": step.failure} if step.failure else {}),
        **step.monitoring,
    }
