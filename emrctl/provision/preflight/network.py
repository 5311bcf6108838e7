"""Subnets that exist already: routes, free addresses, tags, name service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from emrctl.aws.errors import get_or_none
from emrctl.aws.listing import tags
from emrctl.provision.preflight.finding import (
    ROOM_FOR_ADDRESSES,
    Finding,
    Look,
    Topic,
    error,
    warning,
)

MANAGED = "for-use-with-amazon-emr-managed-policies"


def _subnets(look: Look) -> Iterator[Finding]:
    spec = look.cluster.network
    if not spec.existing:
        return
    found = get_or_none(
        lambda: look.client("ec2").describe_subnets(SubnetIds=list(spec.subnets)),
        "InvalidSubnetID.NotFound",
    )
    if found is None:
        hint = "Look at network.subnets and at the region."
        what = f"{', '.join(spec.subnets)}: not all of them are in {look.target.region}"
        yield error("subnets", what, hint)
        return
    for item in found["Subnets"]:
        yield from _subnet(look, item)
    if look.cluster.kind == "emr":
        yield from _names(look, str(spec.vpc))


def _subnet(look: Look, item: Mapping[str, Any]) -> Iterator[Finding]:
    name, spec = item["SubnetId"], look.cluster
    if item["VpcId"] != spec.network.vpc:
        what = f"{name} is in {item['VpcId']}, not in {spec.network.vpc}"
        yield error("subnets", what, "Look at network.vpc; it may be left out.")
    nodes = spec.nodes_at_most
    free = item["AvailableIpAddressCount"]
    if free < nodes:
        what = f"{name} has {free} free addresses, and the cluster may take {nodes}"
        yield error("subnets", what, "Take a larger subnet, or fewer nodes.")
    elif free < nodes + ROOM_FOR_ADDRESSES:
        what = f"{name} has {free} free addresses for up to {nodes} nodes"
        yield warning("subnets", what, "Nodes that are replaced need addresses for a while.")
    managed = spec.kind == "emr" and spec.roles.service is None
    if managed and tags(item).get(MANAGED) != "true":
        hint = f"`aws ec2 create-tags --resources {name} --tags Key={MANAGED},Value=true`."
        yield error("subnets", f"{name} lacks the tag that EMR's role looks for", hint)
    yield from _routes(look, item)


def _routes(look: Look, item: Mapping[str, Any]) -> Iterator[Finding]:
    name, private = item["SubnetId"], look.cluster.network.private
    routes = _table(look, item)
    out = [route for route in routes if route.get("DestinationCidrBlock") == "0.0.0.0/0"]
    internet = any(str(route.get("GatewayId", "")).startswith("igw-") for route in out)
    s3 = any(str(route.get("GatewayId", "")).startswith("vpce-") for route in routes)
    if not private and not internet:
        hint = "Give its route table 0.0.0.0/0 to an internet gateway, or set network.private."
        yield error("subnets", f"{name} has no route to an internet gateway", hint)
    elif private and internet:
        what = f"{name} has a route to an internet gateway, and network.private is true"
        yield warning("subnets", what, "Nodes get no public address: they use neither.")
    elif private and not (out or s3):
        hint = "Put S3's gateway endpoint into its route table, or a NAT gateway."
        yield error("subnets", f"{name} has no way to S3", hint)


def _table(look: Look, item: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The routes of a subnet: of the table it is joined to, else of its VPC's main one."""
    ec2 = look.client("ec2")
    own = [{"Name": "association.subnet-id", "Values": [item["SubnetId"]]}]
    main = [
        {"Name": "vpc-id", "Values": [item["VpcId"]]},
        {"Name": "association.main", "Values": ["true"]},
    ]
    for filters in (own, main):
        tables = ec2.describe_route_tables(Filters=filters)["RouteTables"]
        if tables:
            return [route for table in tables for route in table.get("Routes", [])]
    return []


def _names(look: Look, vpc: str) -> Iterator[Finding]:
    """EMR's daemons find one another by name."""
    ec2 = look.client("ec2")
    for attribute, key in (
        ("enableDnsSupport", "EnableDnsSupport"),
        ("enableDnsHostnames", "EnableDnsHostnames"),
    ):
        answer = get_or_none(
            partial(ec2.describe_vpc_attribute, VpcId=vpc, Attribute=attribute),
            "InvalidVpcID.NotFound",
        )
        if answer is not None and not answer[key]["Value"]:
            flag = "dns-support" if attribute == "enableDnsSupport" else "dns-hostnames"
            hint = f"`aws ec2 modify-vpc-attribute --vpc-id {vpc} --enable-{flag}`."
            yield error("subnets", f"{vpc} has {attribute} off, and EMR needs it", hint)


TOPICS = (Topic(about="subnets", check=_subnets),)
