"""The EMR cluster."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import pulumi

from emrctl.aws.s3 import LOG_PREFIX, event_log_conf
from emrctl.spec import ClusterSpec, ProjectSpec
from stacks import emr_nodes, iam, names, policies
from stacks.emr_security import security_configuration
from stacks.network import ClusterNetwork
from stacks.sdk import emr

APPLICATIONS = ["Hadoop", "Spark"]


def declare_cluster(
    project: ProjectSpec,
    settings: Mapping[str, str],
    network: ClusterNetwork,
    bucket: str,
    scripts: Mapping[str, pulumi.Input[str]],
) -> dict[str, Any]:
    """Declare a cluster that keeps running without steps, and its roles; return the outputs."""
    spec = project.emr
    statements = policies.emr_node_statements(project, settings, bucket)
    profile = iam.declare_node_profile(project, settings, statements)
    service_role, service_policies = iam.declare_service_role(project, settings, profile)
    cluster = emr.Cluster(
        "cluster",
        name=project.cluster_stack,
        release_label=spec.release,
        applications=APPLICATIONS,
        service_role=service_role,
        ec2_attributes=_ec2_attributes(spec, network, profile),
        security_configuration=security_configuration(project),
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
            ignore_changes=["steps", *emr_nodes.scaled_properties(spec)],
            # Two clusters at the same time would cost twice and have the same name.
            delete_before_replace=True,
            depends_on=[*network.dependencies, *profile.dependencies, *service_policies],
        ),
        **emr_nodes.cluster_arguments(spec),
    )
    emr_nodes.declare_task_nodes(spec, cluster)
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
    """Return EMR's classifications: event logs on S3, overridden by the user's settings."""
    items = [item.as_emr() for item in project.emr.configurations]
    event_log = event_log_conf(bucket)
    event_log["spark.history.fs.logDirectory"] = event_log["spark.eventLog.dir"]
    defaults: dict[str, Any] = {"Classification": "spark-defaults", "Properties": event_log}
    for item in items:
        # EMR rejects a classification that occurs twice.
        if item["Classification"] == "spark-defaults":
            defaults = {**item, "Properties": {**defaults["Properties"], **item["Properties"]}}
    others = [item for item in items if item["Classification"] != "spark-defaults"]
    return [defaults, *others]


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
