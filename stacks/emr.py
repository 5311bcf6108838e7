"""The EMR cluster itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pulumi

from emrctl.spec import BootstrapSpec, ClusterSpec, ProjectSpec
from stacks import names, nodes, security
from stacks.iam import Roles
from stacks.network import Network
from stacks.sdk import emr

APPLICATIONS = ["Hadoop", "Spark"]
LOGS = "logs/"
EVENT_LOGS = "eventlogs/"


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a cluster stands in: its network, its roles, its bucket and its staged scripts."""

    network: Network
    roles: Roles
    bucket: str
    scripts: Mapping[str, pulumi.Input[str]]


def cluster(project: ProjectSpec, around: Surroundings) -> emr.Cluster:
    """Primary and worker nodes as the spec asks for them; they outlive their steps."""
    spec = project.emr
    marks = names.tags(project, project.cluster_stack)
    made = emr.Cluster(
        "cluster",
        name=project.cluster_stack,
        release_label=spec.release,
        applications=APPLICATIONS,
        service_role=around.roles.service,
        ec2_attributes=_ec2_attributes(spec, around),
        security_configuration=security.configuration(project),
        bootstrap_actions=[
            _bootstrap(action, around.scripts) for action in project.bootstrap_actions
        ],
        configurations_json=json.dumps(configurations(project, around.bucket)),
        custom_ami_id=spec.ami,
        ebs_root_volume_size=spec.root_volume_gb,
        log_uri=f"s3://{around.bucket}/{LOGS}",
        log_encryption_kms_key_id=spec.security.log_key,
        step_concurrency_level=spec.step_concurrency,
        auto_termination_policy={"idle_timeout": spec.idle_timeout_s},
        termination_protection=spec.termination_protection,
        keep_job_flow_alive_when_no_steps=True,
        visible_to_all_users=True,
        placement_group_configs=_placement(spec),
        tags=marks | _marks(project),
        opts=_options(spec, around),
        **nodes.of_cluster(spec),
    )
    nodes.beside(spec, made)
    return made


def _marks(project: ProjectSpec) -> dict[str, str]:
    """Tags of the cluster alone; EMR gives them to its instances and volumes too."""
    found = {"Name": project.cluster_stack, "emrctl:spec-hash": names.spec_hash(project)}
    if project.cluster.limited:
        # Seconds from the cluster's own beginning: a moment would differ with every evaluation.
        found["emrctl:ttl-s"] = str(project.cluster.ttl_s)
    return found


def _options(spec: ClusterSpec, around: Surroundings) -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions(
        # Steps come over EMR's API; as a property they would replace the cluster.
        ignore_changes=["steps", *nodes.scaled_by_emr(spec)],
        # Two clusters at once would cost twice, and share one name.
        delete_before_replace=True,
        depends_on=[*around.network.ready, *around.roles.ready],
    )


def _placement(spec: ClusterSpec) -> list[dict[str, str]] | None:
    if spec.placement is None:
        return None
    return [{"instance_role": "MASTER", "placement_strategy": spec.placement.upper()}]


def configurations(project: ProjectSpec, bucket: str) -> list[dict[str, Any]]:
    """EMR's classifications: event logs on S3, and on top what the user sets."""
    given = [item.as_emr() for item in project.emr.configurations]
    defaults: dict[str, Any] = {
        "Classification": "spark-defaults",
        "Properties": _event_log(f"s3://{bucket}/{EVENT_LOGS}"),
    }
    for item in given:
        # EMR refuses a classification that is given twice.
        if item["Classification"] == "spark-defaults":
            defaults = {**item, "Properties": {**defaults["Properties"], **item["Properties"]}}
    others = [item for item in given if item["Classification"] != "spark-defaults"]
    return [defaults, *others]


def _event_log(uri: str) -> dict[str, str]:
    return {
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": uri,
        "spark.eventLog.rolling.enabled": "true",
        "spark.eventLog.compress": "true",
        "spark.eventLog.compression.codec": "zstd",
        "spark.history.fs.logDirectory": uri,
    }


def _bootstrap(action: BootstrapSpec, scripts: Mapping[str, pulumi.Input[str]]) -> dict[str, Any]:
    return {
        "name": action.name or PurePosixPath(action.script).stem,
        "path": scripts[action.script],
        "args": list(action.args),
    }


def _ec2_attributes(spec: ClusterSpec, around: Surroundings) -> dict[str, Any]:
    place = around.network
    found: dict[str, Any] = {
        "instance_profile": around.roles.profile,
        "emr_managed_master_security_group": place.groups["primary"].id,
        "emr_managed_slave_security_group": place.groups["core"].id,
    }
    if spec.fleets is None:
        found["subnet_id"] = place.subnet_ids[0]
    else:  # EMR chooses the one with the most to offer
        found["subnet_ids"] = list(place.subnet_ids)
    if "service-access" in place.groups:
        found["service_access_security_group"] = place.groups["service-access"].id
    if spec.key_pair is not None:
        found["key_name"] = spec.key_pair
    return found
