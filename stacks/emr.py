"""The EMR cluster, its nodes and its security configuration."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import pulumi

from emrctl.aws import releases
from emrctl.aws.s3 import LOG_PREFIX, event_log_conf
from emrctl.aws.spark_conf import VERSION_PROPERTY
from emrctl.spec import (
    ClusterSpec,
    FleetSpec,
    FleetTypeSpec,
    GroupSpec,
    ProjectSpec,
    ScalingSpec,
)
from emrctl.spec.instance_groups import VolumesSpec
from stacks import gpu, iam, names
from stacks.network import ClusterNetwork
from stacks.sdk import emr

_UNITS = {"instances": "Instances", "vcpus": "VCPU", "fleet_units": "InstanceFleetUnits"}
_ON_TIMEOUT = {"on_demand": "SWITCH_TO_ON_DEMAND", "terminate": "TERMINATE_CLUSTER"}
_FLEET_CAPACITIES = ["targetOnDemandCapacity", "targetSpotCapacity"]


def declare_cluster(
    project: ProjectSpec,
    settings: Mapping[str, str],
    network: ClusterNetwork,
    bucket: str,
    scripts: Mapping[str, pulumi.Input[str]],
) -> dict[str, Any]:
    """Declare a cluster that keeps running without steps, and its roles; return the outputs."""
    spec = project.emr
    statements = iam.emr_node_statements(project, settings, bucket)
    profile = iam.declare_node_profile(project, settings, statements)
    service_role, service_policies = iam.declare_service_role(project, settings, profile)
    cluster = emr.Cluster(
        "cluster",
        name=project.cluster_stack,
        release_label=spec.release,
        applications=releases.release(spec.release).default_applications,
        service_role=service_role,
        ec2_attributes=_ec2_attributes(spec, network, profile),
        security_configuration=_security_configuration(project),
        bootstrap_actions=_bootstrap_actions(project, scripts),
        configurations_json=json.dumps(_configurations(project, bucket)),
        custom_ami_id=spec.ami,
        ebs_root_volume_size=spec.root_volume_gb,
        log_uri=f"s3://{bucket}/{LOG_PREFIX}",
        log_encryption_kms_key_id=spec.security.log_key,
        step_concurrency_level=spec.step_concurrency,
        auto_termination_policy={"idle_timeout": spec.idle_timeout_s},
        termination_protection=spec.termination_protection,
        keep_job_flow_alive_when_no_steps=True,
        visible_to_all_users=True,
        placement_group_configs=_placement(spec),
        tags=_cluster_tags(project),
        opts=pulumi.ResourceOptions(
            # Steps are added through EMR's API; a change of this property replaces the cluster.
            ignore_changes=["steps", *_scaled_properties(spec)],
            # Two clusters at the same time would cost twice and have the same name.
            delete_before_replace=True,
            depends_on=[*network.dependencies, *profile.dependencies, *service_policies],
        ),
        **_node_arguments(spec),
    )
    _declare_task_nodes(spec, cluster)
    return {
        "cluster_id": cluster.id,
        "cluster_arn": cluster.arn,
        "primary_dns": cluster.master_public_dns,
        "log_uri": cluster.log_uri,
        "instance_profile": profile.name,
    }


def _cluster_tags(project: ProjectSpec) -> dict[str, str]:
    """Return the cluster's tags; EMR copies them to its instances and volumes."""
    tags = names.stack_tags(project, project.cluster_stack)
    tags |= {"Name": project.cluster_stack, "emrctl:spec-hash": names.spec_hash(project)}
    if project.cluster.limited:
        # A duration: an absolute time would differ with every evaluation.
        tags["emrctl:ttl-s"] = str(project.cluster.ttl_s)
    return tags


def _placement(spec: ClusterSpec) -> list[dict[str, str]] | None:
    if spec.placement is None:
        return None
    return [{"instance_role": "MASTER", "placement_strategy": spec.placement.upper()}]


def _bootstrap_actions(
    project: ProjectSpec, scripts: Mapping[str, pulumi.Input[str]]
) -> list[dict[str, Any]]:
    return [
        {
            "name": action.name or PurePosixPath(action.script).stem,
            "path": scripts[action.script],
            "args": list(action.args),
        }
        for action in project.bootstrap_actions
    ]


def _configurations(project: ProjectSpec, bucket: str) -> list[dict[str, Any]]:
    """Return EMR's classifications: emrctl's, GPUs, overridden by the user's settings."""
    event_log = event_log_conf(bucket)
    event_log["spark.history.fs.logDirectory"] = event_log["spark.eventLog.dir"]
    if project.emr.spark is not None:
        event_log[VERSION_PROPERTY] = project.emr.spark
    own = [{"Classification": "spark-defaults", "Properties": event_log}]
    own += gpu.configurations(project.emr) if project.emr.gpu else []
    return _merged([*own, *(item.as_emr() for item in project.emr.configurations)])


def _merged(items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Merge classifications of the same name: EMR rejects a name that occurs twice.

    The properties of later ones replace those of earlier ones.
    """
    merged: dict[str, dict[str, Any]] = {}
    for item in items:
        name = item["Classification"]
        earlier = merged.get(name, {"Properties": {}})
        inner = [*earlier.get("Configurations", ()), *item.get("Configurations", ())]
        nested = {"Configurations": _merged(inner)} if inner else {}
        properties = {**earlier["Properties"], **item["Properties"]}
        merged[name] = {"Classification": name, "Properties": properties, **nested}
    return list(merged.values())


def _ec2_attributes(
    spec: ClusterSpec, network: ClusterNetwork, profile: iam.NodeProfile
) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "instance_profile": profile.profile,
        "emr_managed_master_security_group": network.groups["primary"].id,
        "emr_managed_slave_security_group": network.groups["core"].id,
    }
    if spec.fleets is None:
        attributes["subnet_id"] = network.subnet_ids[0]
    else:  # EMR chooses the subnet with the most capacity
        attributes["subnet_ids"] = list(network.subnet_ids)
    if "service-access" in network.groups:
        attributes["service_access_security_group"] = network.groups["service-access"].id
    if spec.key_pair is not None:
        attributes["key_name"] = spec.key_pair
    return attributes


def _node_arguments(spec: ClusterSpec) -> dict[str, Any]:
    """Return the arguments of `emr.Cluster` for its primary and core nodes."""
    if spec.fleets is None:
        return {
            "master_instance_group": _group(spec.primary),
            "core_instance_group": _group(spec.core),
        }
    return {
        "master_instance_fleet": _fleet("primary", spec.fleets.primary),
        "core_instance_fleet": _fleet("core", spec.fleets.core),
    }


def _scaled_properties(spec: ClusterSpec) -> list[str]:
    """Return the properties of `emr.Cluster` that managed scaling changes."""
    if spec.scaling is None:
        return []
    if spec.fleets is None:
        return ["coreInstanceGroup.instanceCount"]
    return [f"coreInstanceFleet.{name}" for name in _FLEET_CAPACITIES]


def _declare_task_nodes(spec: ClusterSpec, cluster: emr.Cluster) -> None:
    """Declare task groups or the task fleet, and the limits of managed scaling."""
    scaled = spec.scaling is not None
    # The provider creates a group of 1 instance for a count of 0.
    for group in spec.declared_tasks:
        emr.InstanceGroup(
            f"task-{group.name}",
            cluster_id=cluster.id,
            name=group.name,
            opts=pulumi.ResourceOptions(ignore_changes=["instanceCount"] if scaled else []),
            **_group(group),
        )
    if spec.fleets is not None and spec.fleets.task is not None:
        emr.InstanceFleet(
            "task-fleet",
            cluster_id=cluster.id,
            opts=pulumi.ResourceOptions(ignore_changes=_FLEET_CAPACITIES if scaled else []),
            **_fleet("task", spec.fleets.task),
        )
    if spec.scaling is not None:
        limits = _compute_limits(spec.scaling, fleets=spec.fleets is not None)
        emr.ManagedScalingPolicy("scaling", cluster_id=cluster.id, compute_limits=[limits])


def _group(spec: GroupSpec) -> dict[str, Any]:
    return {
        "instance_type": spec.type,
        "instance_count": spec.count,
        "ebs_configs": [_ebs_config(spec)],
        **({} if spec.bid_usd is None else {"bid_price": names.format_bid(spec.bid_usd)}),
    }


def _ebs_config(spec: VolumesSpec) -> dict[str, Any]:
    return {
        "size": spec.volume_gb,
        "type": spec.volume_type,
        "volumes_per_instance": spec.volumes,
    }


def _fleet(name: str, spec: FleetSpec) -> dict[str, Any]:
    # EMR can change the capacities of a task fleet, and nothing else: it is prepared for both
    # markets.
    markets = {"on_demand", "spot"} if name == "task" else spec.markets
    return {
        "name": name,
        "instance_type_configs": [
            _type_config(item, spot="spot" in markets) for item in spec.types
        ],
        "target_on_demand_capacity": spec.on_demand,
        "target_spot_capacity": spec.spot,
        "launch_specifications": _launch_specifications(spec, markets),
    }


def _type_config(item: FleetTypeSpec, *, spot: bool) -> dict[str, Any]:
    config: dict[str, Any] = {
        "instance_type": item.type,
        "weighted_capacity": item.weight,
        "ebs_configs": [_ebs_config(item)],
    }
    if spot and item.bid_usd is not None:
        config["bid_price"] = names.format_bid(item.bid_usd)
        # The provider adds its default of 100 % otherwise, and EMR rejects both together.
        config["bid_price_as_percentage_of_on_demand_price"] = 0
    elif spot:
        config["bid_price_as_percentage_of_on_demand_price"] = item.bid_percent or 100
    return config


def _launch_specifications(spec: FleetSpec, markets: set[str]) -> dict[str, Any]:
    specifications: dict[str, Any] = {}
    if "on_demand" in markets:
        # EMR's only strategy for on-demand instances.
        specifications["on_demand_specifications"] = [{"allocation_strategy": "lowest-price"}]
    if "spot" in markets:
        specifications["spot_specifications"] = [
            {
                "allocation_strategy": spec.spot_strategy,
                "timeout_action": _ON_TIMEOUT[spec.on_timeout],
                "timeout_duration_minutes": spec.timeout_min,
            }
        ]
    return specifications


def _compute_limits(spec: ScalingSpec, *, fleets: bool) -> dict[str, Any]:
    unit = spec.unit or ("fleet_units" if fleets else "instances")
    return {
        "unit_type": _UNITS[unit],
        "minimum_capacity_units": spec.minimum,
        "maximum_capacity_units": spec.maximum,
        "maximum_ondemand_capacity_units": spec.max_on_demand,
        "maximum_core_capacity_units": spec.max_core,
    }


def _security_configuration(project: ProjectSpec) -> pulumi.Input[str]:
    """Return the name of the spec's security configuration, or declare one.

    The name of a declared one contains a hash of its content: EMR cannot change a security
    configuration in place, and a new name replaces the cluster that uses it.
    """
    existing = project.emr.security.configuration
    if existing is not None:
        return existing
    text = json.dumps(_security_document(project))
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    configuration = emr.SecurityConfiguration(
        "security", name=f"{project.cluster_stack}-{digest}", configuration=text
    )
    name: pulumi.Output[str] = configuration.name
    return name


def _security_document(project: ProjectSpec) -> dict[str, Any]:
    document: dict[str, Any] = {
        "InstanceMetadataServiceConfiguration": {
            "MinimumInstanceMetadataServiceVersion": 2,
            "HttpPutResponseHopLimit": 1,
        }
    }
    spec = project.emr.security
    if spec.at_rest or spec.in_transit:
        encryption: dict[str, Any] = {
            "EnableAtRestEncryption": spec.at_rest,
            "EnableInTransitEncryption": spec.in_transit is not None,
        }
        if spec.at_rest:
            encryption["AtRestEncryptionConfiguration"] = _at_rest(project)
        if spec.in_transit:
            certificates = {"CertificateProviderType": "PEM", "S3Object": spec.in_transit}
            encryption["InTransitEncryptionConfiguration"] = {
                "TLSCertificateConfiguration": certificates
            }
        document["EncryptionConfiguration"] = encryption
    return document


def _at_rest(project: ProjectSpec) -> dict[str, Any]:
    key, disk_key = project.storage.kms_key, project.emr.security.disk_key
    s3: dict[str, Any] = {"EncryptionMode": "SSE-S3"}
    if key is not None:
        s3 = {"EncryptionMode": "SSE-KMS", "AwsKmsKey": key}
    configuration: dict[str, Any] = {"S3EncryptionConfiguration": s3}
    if disk_key is not None:
        configuration["LocalDiskEncryptionConfiguration"] = {
            "EncryptionKeyProviderType": "AwsKms",
            "AwsKmsKey": disk_key,
            "EnableEbsEncryption": True,
        }
    return configuration
