"""The two stacks of a project: its bucket, and a cluster that works on it.

`settings` holds `account` and `region`, for EC2 instances also `image_primary`, `image_worker`,
`public_key` and `ssh_from` (see `emrctl.clusters.ec2_inputs`). The engine says which AWS that is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi

from emrctl.cost import estimate
from emrctl.spec import ProjectSpec
from stacks import ec2, emr, iam, network
from stacks.storage import bucket as made_bucket


def storage(project: ProjectSpec, settings: Mapping[str, str]) -> None:
    """Declare the bucket and export its name."""
    made = made_bucket(project, settings)
    pulumi.export("bucket", made.bucket)
    pulumi.export("bucket_arn", made.arn)
    pulumi.export("region", settings["region"])


def cluster(
    project: ProjectSpec,
    settings: Mapping[str, str],
    stored: Mapping[str, Any],
    scripts: Mapping[str, pulumi.Input[str]],
) -> None:
    """Declare the cluster of the spec's kind with its network and roles, and how to reach it.

    `stored` are the outputs of `storage`; `scripts` maps each bootstrap script of the spec to
    where it lies on S3.
    """
    name = str(stored["bucket"])
    place = network.network(project, settings)
    common = {
        "bucket": name,
        "event_log_uri": f"s3://{name}/{emr.EVENT_LOGS}",
        "vpc_id": place.vpc_id,
        "subnet_id": place.subnet_ids[0],
        "hourly_usd": round(estimate.estimate(project).instances_usd, 4),
    }
    if project.cluster.kind == "ec2":
        outputs = _machines(project, settings, place, name)
    else:
        outputs = _emr(project, settings, place, name, scripts)
    for key, value in {**common, **outputs}.items():
        pulumi.export(key, value)


def _emr(
    project: ProjectSpec,
    settings: Mapping[str, str],
    place: network.Network,
    bucket: str,
    scripts: Mapping[str, pulumi.Input[str]],
) -> dict[str, Any]:
    roles = iam.roles(project, settings, bucket)
    around = emr.Surroundings(network=place, roles=roles, bucket=bucket, scripts=scripts)
    made = emr.cluster(project, around)
    return {
        "cluster_id": made.id,
        "cluster_arn": made.arn,
        "primary_dns": made.master_public_dns,
        "log_uri": made.log_uri,
        "instance_profile": roles.profile_name,
    }


def _machines(
    project: ProjectSpec, settings: Mapping[str, str], place: network.Network, bucket: str
) -> dict[str, Any]:
    profile, ready = iam.of_nodes(project, settings, bucket)
    ground = ec2.Ground(
        network=place, profile=profile, ready=ready, bucket=bucket, settings=settings
    )
    made = ec2.cluster(project, ground)
    private = project.cluster.network.private
    return {
        "cluster_id": made.primary.id,
        "cluster_arn": made.primary.arn,
        "primary_dns": made.primary.private_dns if private else made.primary.public_dns,
        "log_uri": f"s3://{bucket}/{emr.LOGS}",
        "instance_profile": profile,
        "key_pair": made.key_name,
        "worker_ids": [worker.id for worker in made.workers],
    }
