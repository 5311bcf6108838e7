"""The stacks of a project: one for its bucket, and one for each cluster.

`settings` holds `account` and `region`; clusters of EC2 instances also need `image_primary`,
`image_worker`, `public_key` and `ssh_from` (see `emrctl.clusters.program_inputs`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi

from emrctl.aws.s3 import EVENT_LOG_PREFIX
from emrctl.spec import ProjectSpec
from stacks import ec2, emr
from stacks.network import declare_network
from stacks.storage import declare_bucket


def declare_storage(project: ProjectSpec, settings: Mapping[str, str]) -> None:
    """Declare the bucket and export its name, ARN and region."""
    bucket = declare_bucket(project, settings)
    pulumi.export("bucket", bucket.bucket)
    pulumi.export("bucket_arn", bucket.arn)
    pulumi.export("region", settings["region"])


def declare_cluster(
    project: ProjectSpec,
    settings: Mapping[str, str],
    bucket: str,
    scripts: Mapping[str, pulumi.Input[str]],
) -> None:
    """Declare a cluster with its network and roles, and export how to reach it.

    `bucket` is the name of the storage stack's bucket. `scripts` maps each bootstrap script of the
    spec to its S3 URI.
    """
    network = declare_network(project, settings)
    outputs: dict[str, Any] = {
        "bucket": bucket,
        "event_log_uri": f"s3://{bucket}/{EVENT_LOG_PREFIX}",
        "vpc_id": network.vpc_id,
        "subnet_id": network.subnet_ids[0],
    }
    declare = {"emr": emr.declare_cluster, "ec2": ec2.declare_instances}[project.cluster.kind]
    outputs |= declare(project, settings, network, bucket, scripts)
    for key, value in outputs.items():
        pulumi.export(key, value)
