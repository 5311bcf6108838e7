"""Existing subnets: free addresses, tags, routes and DNS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from emrctl.aws.errors import get_or_none
from emrctl.aws.listing import tags
from emrctl.provision.preflight.finding import (
    PreflightCheck,
    PreflightContext,
    PreflightFinding,
    error,
    warning,
)

_SPARE_ADDRESSES = 5
_MANAGED_TAG = "for-use-with-amazon-emr-managed-policies"
_DNS = {"enableDnsSupport": "dns-support", "enableDnsHostnames": "dns-hostnames"}


def _check_subnets(context: PreflightContext) -> Iterator[PreflightFinding]:
    subnets = _describe_subnets(context)
    if subnets is None:
        names = ", ".join(context.cluster.network.subnets)
        hint = "Check network.subnets and the region."
        yield error("subnets", f"{names}: not all of them are in {context.region}", hint)
    for subnet in subnets or ():
        yield from _addresses(context, subnet)
        yield from _routes(context, subnet)


def _check_emr_subnets(context: PreflightContext) -> Iterator[PreflightFinding]:
    """Check what only EMR needs: the tag for its service role, and DNS in the VPC."""
    subnets = _describe_subnets(context)
    for subnet in subnets or ():
        name = subnet["SubnetId"]
        if context.emr.roles.service is None and tags(subnet).get(_MANAGED_TAG) != "true":
            tag = f"Key={_MANAGED_TAG},Value=true"
            hint = f"Run `aws ec2 create-tags --resources {name} --tags {tag}`."
            yield error("subnets", f"{name} lacks the tag that EMR's service role requires", hint)
    if subnets:
        yield from _dns(context, str(context.cluster.network.vpc))


def _describe_subnets(context: PreflightContext) -> list[dict[str, Any]] | None:
    """Return the existing subnets of the spec; None if one does not exist."""
    network = context.cluster.network
    if not network.existing:
        return []
    call = partial(context.client("ec2").describe_subnets, SubnetIds=list(network.subnets))
    answer = get_or_none(call, "InvalidSubnetID.NotFound")
    return None if answer is None else list(answer["Subnets"])


def _addresses(context: PreflightContext, subnet: Mapping[str, Any]) -> Iterator[PreflightFinding]:
    name, spec = subnet["SubnetId"], context.cluster
    if subnet["VpcId"] != spec.network.vpc:
        what = f"{name} is in {subnet['VpcId']}, not in {spec.network.vpc}"
        yield error("subnets", what, "Change or omit network.vpc.")
    nodes, free = spec.nodes_at_most, subnet["AvailableIpAddressCount"]
    what = f"{name} has {free} free addresses, and the cluster may have {nodes} nodes"
    if free < nodes:
        yield error("subnets", what, "Use a larger subnet, or fewer nodes.")
    elif free < nodes + _SPARE_ADDRESSES:
        yield warning("subnets", what, "A node that is being replaced keeps its address a while.")


def _routes(context: PreflightContext, subnet: Mapping[str, Any]) -> Iterator[PreflightFinding]:
    name, private = subnet["SubnetId"], context.cluster.network.private
    routes = _route_table(context, subnet)
    default = [route for route in routes if route.get("DestinationCidrBlock") == "0.0.0.0/0"]
    internet = any(str(route.get("GatewayId", "")).startswith("igw-") for route in default)
    s3 = any(str(route.get("GatewayId", "")).startswith("vpce-") for route in routes)
    if not private and not internet:
        hint = "Add a route for 0.0.0.0/0 to an internet gateway, or set network.private."
        yield error("subnets", f"{name} has no route to an internet gateway", hint)
    elif private and internet:
        what = f"{name} has a route to an internet gateway, and network.private is true"
        yield warning("subnets", what, "Nodes get no public address and cannot use the gateway.")
    elif private and not (default or s3):
        hint = "Add a gateway endpoint for S3 to its route table, or a NAT gateway."
        yield error("subnets", f"{name} has no route to S3", hint)


def _route_table(context: PreflightContext, subnet: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the routes of the subnet's own table, or of its VPC's main table."""
    ec2 = context.client("ec2")
    own = [{"Name": "association.subnet-id", "Values": [subnet["SubnetId"]]}]
    main = [
        {"Name": "vpc-id", "Values": [subnet["VpcId"]]},
        {"Name": "association.main", "Values": ["true"]},
    ]
    for filters in (own, main):
        tables = ec2.describe_route_tables(Filters=filters)["RouteTables"]
        if tables:
            return [route for table in tables for route in table.get("Routes", [])]
    return []


def _dns(context: PreflightContext, vpc: str) -> Iterator[PreflightFinding]:
    ec2 = context.client("ec2")
    for attribute, flag in _DNS.items():
        call = partial(ec2.describe_vpc_attribute, VpcId=vpc, Attribute=attribute)
        answer = get_or_none(call, "InvalidVpcID.NotFound")
        if answer is not None and not answer[f"{attribute[:1].upper()}{attribute[1:]}"]["Value"]:
            hint = f"Run `aws ec2 modify-vpc-attribute --vpc-id {vpc} --enable-{flag}`."
            yield error("subnets", f"{vpc} has {attribute} off, and EMR needs it", hint)


CHECKS = (
    PreflightCheck(about="subnets", check=_check_subnets),
    PreflightCheck(about="subnets", check=_check_emr_subnets, kind="emr"),
)
