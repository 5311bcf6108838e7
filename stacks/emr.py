"""The EMR cluster itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pulumi

from emrctl.specs import BootstrapSpec, GroupSpec, ProjectSpec
from stacks import names
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
    """One primary node and the core nodes that the spec asks for; they outlive their steps."""
    spec = project.cluster
    marks = names.tags(project, project.cluster_stack)
    return emr.Cluster(
        "cluster",
        name=project.cluster_stack,
        release_label=spec.release,
        applications=APPLICATIONS,
        service_role=around.roles.service.arn,
        ec2_attributes=_ec2_attributes(around),
        security_configuration=_security(project).name,
        master_instance_group=_group(spec.primary),
        core_instance_group=_group(spec.core),
        bootstrap_actions=[_bootstrap(action, around.scripts) for action in spec.bootstrap],
        configurations_json=json.dumps(configurations(project, around.bucket)),
        log_uri=f"s3://{around.bucket}/{LOGS}",
        step_concurrency_level=spec.step_concurrency,
        auto_termination_policy={"idle_timeout": spec.idle_timeout_s},
        termination_protection=spec.termination_protection,
        keep_job_flow_alive_when_no_steps=True,
        visible_to_all_users=True,
        tags=marks | {"Name": project.cluster_stack, "emrctl:spec-hash": names.spec_hash(project)},
        opts=_options(around),
    )


def _options(around: Surroundings) -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions(
        # Steps come over EMR's API; as a property they would replace the cluster.
        ignore_changes=["steps"],
        # Two clusters at once would cost twice, and share one name.
        delete_before_replace=True,
        depends_on=[*around.network.ready, *around.roles.ready],
    )


def configurations(project: ProjectSpec, bucket: str) -> list[dict[str, Any]]:
    """EMR's classifications: event logs on S3, and on top what the user sets."""
    given = [item.as_emr() for item in project.cluster.configurations]
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


def _group(spec: GroupSpec) -> dict[str, Any]:
    disk = {"size": spec.volume_gb, "type": "gp3", "volumes_per_instance": 1}
    return {"instance_type": spec.type, "instance_count": spec.count, "ebs_configs": [disk]}


def _bootstrap(action: BootstrapSpec, scripts: Mapping[str, pulumi.Input[str]]) -> dict[str, Any]:
    return {
        "name": action.name or PurePosixPath(action.script).stem,
        "path": scripts[action.script],
        "args": list(action.args),
    }


def _ec2_attributes(around: Surroundings) -> dict[str, Any]:
    return {
        "subnet_id": around.network.subnet.id,
        "instance_profile": around.roles.profile.arn,
        "emr_managed_master_security_group": around.network.primary.id,
        "emr_managed_slave_security_group": around.network.core.id,
    }


def _security(project: ProjectSpec) -> emr.SecurityConfiguration:
    """Nodes answer the metadata service's second version alone.

    The name holds a hash: EMR changes no security configuration in place, and a new name
    replaces the cluster that used the old one.
    """
    metadata = {"MinimumInstanceMetadataServiceVersion": 2, "HttpPutResponseHopLimit": 1}
    document = json.dumps({"InstanceMetadataServiceConfiguration": metadata})
    digest = hashlib.sha256(document.encode()).hexdigest()[:8]
    return emr.SecurityConfiguration(
        "security", name=f"{project.cluster_stack}-{digest}", configuration=document
    )
