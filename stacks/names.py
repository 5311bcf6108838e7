"""Names, tags and address ranges of resources. Imports no Pulumi."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Mapping

from emrctl.errors import SpecError
from emrctl.spec import NetworkSpec, ProjectSpec

MANAGED_POLICIES = "for-use-with-amazon-emr-managed-policies"
_KIND_TAGS: dict[str, dict[str, str]] = {"emr": {MANAGED_POLICIES: "true"}, "ec2": {}}
_SUBNET_PREFIX = 20


def bucket_name(project: ProjectSpec, settings: Mapping[str, str]) -> str:
    """Return `storage.bucket`, or a default name that is unique per account and region."""
    if project.storage.bucket is not None:
        return project.storage.bucket
    return f"{project.project}-emrctl-{settings['account']}-{settings['region']}"


def stack_tags(project: ProjectSpec, stack: str) -> dict[str, str]:
    """Return the user's tags merged with emrctl's own, by which it finds its resources.

    `cluster.tags` are not applied to the storage stack. EMR resources carry the tag that
    AmazonEMRServicePolicy_v2 requires.
    """
    own = {"emrctl:project": project.project, "emrctl:stack": stack}
    if stack == project.storage_stack:
        return {**project.tags, **own, MANAGED_POLICIES: "true"}
    return {**project.tags, **project.cluster.tags, **own, **_KIND_TAGS[project.cluster.kind]}


def spec_hash(project: ProjectSpec) -> str:
    """Return 12 hex digits that identify the cluster's spec."""
    return hashlib.sha256(project.cluster.model_dump_json().encode()).hexdigest()[:12]


def format_bid(usd: float) -> str:
    """Format a spot price as EC2 and EMR expect it: decimal dollars, no exponent."""
    return f"{usd:.5f}".rstrip("0").rstrip(".")


def subnet_cidrs(network: NetworkSpec) -> list[str]:
    """Return the ranges of the nodes' subnet and, with NAT, of the public subnet.

    Each has at most 4,096 addresses. `SpecError` if the VPC's range is invalid or too small.
    """
    try:
        vpc = ipaddress.ip_network(network.cidr)
    except ValueError as error:
        msg = f"network.cidr '{network.cidr}' is not a CIDR range: {error}"
        raise SpecError(msg, hint="Set network.cidr to a range such as 10.42.0.0/16.") from error
    subnets = vpc.subnets(new_prefix=max(_SUBNET_PREFIX, vpc.prefixlen))
    count = 2 if network.nat else 1
    cidrs = [str(subnet) for subnet, _ in zip(subnets, range(count), strict=False)]
    if len(cidrs) < count:
        msg = (
            f"network.cidr {network.cidr} has no room for a second subnet, which network.nat needs"
        )
        hint = f"Set a larger range, such as 10.42.0.0/16; the smallest is /{_SUBNET_PREFIX - 1}."
        raise SpecError(msg, hint=hint)
    return cidrs
