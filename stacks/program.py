"""The two stacks of a project: its bucket, and a cluster that works on it.

`settings` holds `account` and `region`. The engine says which AWS that is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi

from emrctl import costs
from emrctl.specs import ProjectSpec
from stacks import emr, iam, network
from stacks.storage import bucket


def storage(project: ProjectSpec, settings: Mapping[str, str]) -> None:
    """Declare the bucket and export its name."""
    made = bucket(project, settings)
    pulumi.export("bucket", made.bucket)
    pulumi.export("bucket_arn", made.arn)
    pulumi.export("region", settings["region"])


def cluster(
    project: ProjectSpec,
    settings: Mapping[str, str],
    stored: Mapping[str, Any],
    scripts: Mapping[str, pulumi.Input[str]],
) -> None:
    """Declare the cluster with its network and roles, and export how to reach it.

    `stored` are the outputs of `storage`; `scripts` maps each bootstrap script of the spec to
    where it lies on S3.
    """
    name = str(stored["bucket"])
    place = network.network(project, settings)
    roles = iam.roles(project, settings, name)
    around = emr.Surroundings(network=place, roles=roles, bucket=name, scripts=scripts)
    made = emr.cluster(project, around)
    cost = costs.estimate(project)
    outputs = {
        "bucket": name,
        "cluster_id": made.id,
        "cluster_arn": made.arn,
        "primary_dns": made.master_public_dns,
        "log_uri": made.log_uri,
        "event_log_uri": f"s3://{name}/{emr.EVENT_LOGS}",
        "vpc_id": place.vpc_id,
        "subnet_id": place.subnet_ids[0],
        "instance_profile": roles.profile_name,
        "hourly_usd": round(cost.ec2_usd + cost.emr_usd, 4),
    }
    for key, value in outputs.items():
        pulumi.export(key, value)
