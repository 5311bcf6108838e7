"""A standalone cluster of EC2 instances: one primary and its workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from emrctl.aws.s3 import LOG_PREFIX
from emrctl.spec import Ec2ClusterSpec, MachineSpec, ProjectSpec
from emrctl.spec.ec2 import NO_SSH
from stacks import iam, names
from stacks.network import ClusterNetwork
from stacks.sdk import ec2

PRIMARY, WORKER = "primary", "worker"


def declare_instances(
    project: ProjectSpec,
    settings: Mapping[str, str],
    network: ClusterNetwork,
    bucket: str,
    _scripts: Mapping[str, pulumi.Input[str]],
) -> dict[str, Any]:
    """Declare the primary and the workers with their role and key pair; return the outputs.

    Scripts are not declared: emrctl runs them over SSH.
    """
    spec = project.ec2
    statements = iam.ec2_node_statements(project, settings, bucket)
    profile = iam.declare_node_profile(project, settings, statements)
    key_name = _declare_key_pair(project, settings)
    common: dict[str, Any] = {
        "iam_instance_profile": profile.name,
        "key_name": key_name,
        "subnet_id": network.subnet_ids[0],
        "vpc_security_group_ids": [network.groups["nodes"].id],
        "associate_public_ip_address": not spec.network.private,
        "placement_group": _declare_placement_group(project),
        "ebs_optimized": True,
        # IMDSv2 only, and reachable from the instance alone.
        "metadata_options": {
            "http_endpoint": "enabled",
            "http_tokens": "required",
            "http_put_response_hop_limit": 1,
        },
    }
    depends_on = [*network.dependencies, *profile.dependencies]
    primary, *workers = (
        _declare_instance(project, settings, bucket, name, common, depends_on)
        for name in (PRIMARY, *(f"{WORKER}-{n}" for n in range(1, spec.worker.count + 1)))
    )
    return {
        "cluster_id": primary.id,
        "cluster_arn": primary.arn,
        "primary_dns": primary.private_dns if spec.network.private else primary.public_dns,
        "log_uri": f"s3://{bucket}/{LOG_PREFIX}",
        "instance_profile": profile.name,
        "key_pair": key_name,
        "worker_ids": [worker.id for worker in workers],
    }


def _declare_instance(
    project: ProjectSpec,
    settings: Mapping[str, str],
    bucket: str,
    name: str,
    common: Mapping[str, Any],
    depends_on: Sequence[pulumi.Resource],
) -> ec2.Instance:
    role = PRIMARY if name == PRIMARY else WORKER
    spec = project.ec2.primary if role == PRIMARY else project.ec2.worker
    tags = names.stack_tags(project, project.cluster_stack)
    tags |= {"Name": f"{project.cluster_stack}-{name}"}
    return ec2.Instance(
        name,
        ami=settings[f"image_{role}"],
        instance_type=spec.type,
        root_block_device=_root_volume(project.ec2, spec, tags),
        instance_market_options=_market_options(spec),
        tags=tags | _instance_tags(project.ec2, spec, name, role, bucket),
        opts=pulumi.ResourceOptions(
            # Two instances at the same time would cost twice. Changing the type in place needs a
            # stop, which EC2 does not support for one-time spot instances.
            delete_before_replace=True,
            replace_on_changes=["instanceType"],
            # EC2 changes it when the instance is stopped.
            ignore_changes=["associatePublicIpAddress"],
            depends_on=depends_on,
        ),
        **common,
    )


def _instance_tags(
    cluster: Ec2ClusterSpec, spec: MachineSpec, name: str, role: str, bucket: str
) -> dict[str, str]:
    """Return the tags from which emrctl reads an instance's role and settings."""
    tags = {
        "emrctl:role": role,
        "emrctl:node": name,
        # The spec's image setting, so that the next `up` keeps the image it was resolved to.
        "emrctl:image": cluster.image(spec.type),
    }
    if cluster.limited:
        # A duration: an absolute time would differ with every evaluation.
        tags["emrctl:ttl-s"] = str(cluster.ttl_s)
    if cluster.ssh == NO_SSH:
        # Clients that only see the instance must not wait for a closed SSH port.
        tags["emrctl:ssh"] = NO_SSH
    if role == PRIMARY:
        tags |= {"emrctl:bucket": bucket, "emrctl:spark": cluster.spark}
    return tags


def _declare_placement_group(project: ProjectSpec) -> pulumi.Input[str] | None:
    if project.ec2.placement is None:
        return None
    group = ec2.PlacementGroup(
        "placement",
        name=project.cluster_stack,
        strategy=project.ec2.placement,
        tags=names.stack_tags(project, project.cluster_stack),
    )
    name: pulumi.Output[str] = group.name
    return name


def _root_volume(
    cluster: Ec2ClusterSpec, spec: MachineSpec, tags: dict[str, str]
) -> dict[str, Any]:
    volume: dict[str, Any] = {
        "volume_size": spec.root_gb,
        "volume_type": spec.root_type,
        "encrypted": True,
        "delete_on_termination": True,
        "tags": tags,
    }
    if cluster.security.disk_key is not None:
        volume["kms_key_id"] = cluster.security.disk_key
    return volume


def _market_options(spec: MachineSpec) -> dict[str, Any] | None:
    """Return a one-time spot request: a persistent one would launch instances after a delete."""
    if not spec.spot:
        return None
    options: dict[str, Any] = {
        "spot_instance_type": "one-time",
        "instance_interruption_behavior": "terminate",
    }
    if spec.bid_usd is not None:
        options["max_price"] = names.format_bid(spec.bid_usd)
    return {"market_type": "spot", "spot_options": options}


def _declare_key_pair(project: ProjectSpec, settings: Mapping[str, str]) -> pulumi.Input[str]:
    """Return the name of the spec's key pair, or of a new one for emrctl's public key."""
    if project.ec2.key_pair is not None:
        return project.ec2.key_pair
    pair = ec2.KeyPair(
        "key",
        key_name=project.cluster_stack,
        public_key=settings["public_key"],
        tags=names.stack_tags(project, project.cluster_stack),
        opts=pulumi.ResourceOptions(delete_before_replace=True),
    )
    name: pulumi.Output[str] = pair.key_name
    return name
