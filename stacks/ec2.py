"""A cluster of plain EC2 instances: one primary and its workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from emrctl.spec import Ec2ClusterSpec, MachineSpec, ProjectSpec
from emrctl.spec.ec2 import NOBODY
from stacks import names
from stacks.network import Network
from stacks.sdk import ec2

PRIMARY, WORKER = "primary", "worker"
# What EC2 alone decides, and changes when an instance is stopped: no reason to replace it.
_ITS_OWN = ["associatePublicIpAddress"]


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What the instances stand on; `settings` hold their images and the key that opens them."""

    network: Network
    profile: pulumi.Input[str]
    ready: tuple[pulumi.Resource, ...]
    bucket: str
    settings: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Machines:
    """The instances that were declared."""

    primary: ec2.Instance
    workers: tuple[ec2.Instance, ...]
    key_name: pulumi.Input[str]


def cluster(project: ProjectSpec, ground: Ground) -> Machines:
    """The primary and as many workers as the spec asks for; they outlive what runs on them."""
    spec = project.ec2
    common = {
        **_place(project, ground),
        **_hardened(),
        "iam_instance_profile": ground.profile,
        "key_name": _key(project, ground.settings),
    }
    primary = _instance(project, ground, PRIMARY, spec.primary, common)
    workers = [
        _instance(project, ground, f"{WORKER}-{number}", spec.worker, common)
        for number in range(1, spec.worker.count + 1)
    ]
    return Machines(primary=primary, workers=tuple(workers), key_name=common["key_name"])


def _instance(
    project: ProjectSpec, ground: Ground, name: str, spec: MachineSpec, common: Mapping[str, Any]
) -> ec2.Instance:
    marks = names.tags(project, project.cluster_stack) | {"Name": f"{project.cluster_stack}-{name}"}
    role = PRIMARY if name == PRIMARY else WORKER
    # By it the next `up` knows that the image is still the one that was asked for.
    image = project.ec2.image(spec.type)
    return ec2.Instance(
        name,
        ami=ground.settings[f"image_{role}"],
        instance_type=spec.type,
        root_block_device=_disk(project.ec2, spec, marks),
        instance_market_options=_market(spec),
        tags=marks | _marks(project, ground, name, role) | {"emrctl:image": image},
        opts=pulumi.ResourceOptions(
            # Two at once would cost twice; and a new type in place would want a stop, which no
            # spot instance takes.
            delete_before_replace=True,
            replace_on_changes=["instanceType"],
            ignore_changes=_ITS_OWN,
            depends_on=[*ground.network.ready, *ground.ready],
        ),
        **common,
    )


def _marks(project: ProjectSpec, ground: Ground, name: str, role: str) -> dict[str, str]:
    """What an instance says of itself to those who ask AWS."""
    spec = project.ec2
    found = {"emrctl:role": role, "emrctl:node": name}
    if spec.limited:
        # Seconds from the beginning: a moment would differ with every evaluation.
        found["emrctl:ttl-s"] = str(spec.ttl_s)
    if spec.ssh == NOBODY:
        # Whoever knows the instance alone would wait for a port that nobody may reach.
        found["emrctl:ssh"] = NOBODY
    if role == PRIMARY:
        found |= {"emrctl:bucket": ground.bucket, "emrctl:spark": spec.spark}
    return found


def _place(project: ProjectSpec, ground: Ground) -> dict[str, Any]:
    spec, place = project.ec2, ground.network
    found: dict[str, Any] = {
        "subnet_id": place.subnet_ids[0],
        "vpc_security_group_ids": [place.groups["nodes"].id],
        "associate_public_ip_address": not spec.network.private,
    }
    if spec.placement is not None:
        group = ec2.PlacementGroup(
            "placement",
            name=project.cluster_stack,
            strategy=spec.placement,
            tags=names.tags(project, project.cluster_stack),
        )
        found["placement_group"] = group.name
    return found


def _hardened() -> dict[str, Any]:
    """The metadata service answers tokens alone, and nobody further away than the node itself."""
    return {
        "ebs_optimized": True,
        "metadata_options": {
            "http_endpoint": "enabled",
            "http_tokens": "required",
            "http_put_response_hop_limit": 1,
        },
    }


def _disk(cluster: Ec2ClusterSpec, spec: MachineSpec, marks: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "volume_size": spec.root_gb,
        "volume_type": spec.root_type,
        "encrypted": True,
        "delete_on_termination": True,
        "tags": marks,
    }
    key = cluster.security.disk_key
    return found if key is None else found | {"kms_key_id": key}


def _market(spec: MachineSpec) -> dict[str, Any] | None:
    """Spot instances are asked for once: a lasting request would make new ones after the end."""
    if not spec.spot:
        return None
    options: dict[str, Any] = {
        "spot_instance_type": "one-time",
        "instance_interruption_behavior": "terminate",
    }
    if spec.bid_usd is not None:
        options["max_price"] = f"{spec.bid_usd:.5f}".rstrip("0").rstrip(".")
    return {"market_type": "spot", "spot_options": options}


def _key(project: ProjectSpec, settings: Mapping[str, str]) -> pulumi.Input[str]:
    """The name of the key pair: the spec's own, or the one whose private half emrctl keeps."""
    if project.ec2.key_pair is not None:
        return project.ec2.key_pair
    made = ec2.KeyPair(
        "key",
        key_name=project.cluster_stack,
        public_key=settings["public_key"],
        tags=names.tags(project, project.cluster_stack),
        opts=pulumi.ResourceOptions(delete_before_replace=True),
    )
    name: pulumi.Output[str] = made.key_name
    return name
