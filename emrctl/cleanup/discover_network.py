"""What of networks carries emrctl's tags, and what EMR left in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from emrctl.aws.listing import tags
from emrctl.cleanup.resources import PROJECT, STACK, Thing
from emrctl.cost.resource import beside

if TYPE_CHECKING:
    from emrctl.aws.target import Target

TAGGED = {"Name": "tag-key", "Values": [PROJECT]}
_GONE = frozenset({"deleted", "deleting", "failed"})
# EMR makes these where a cluster names no groups of its own, and leaves them behind.
_EMR_GROUPS = "ElasticMapReduce-"


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """How EC2 lists one kind of thing: operation, list in the answer, id, creation, price.

    What is `aws_alone` is not to be had on localhost, and cannot be listed there.
    """

    kind: str
    operation: str
    items: str
    id: str
    created: str = ""
    extra: str = ""
    filters: str = "Filters"
    aws_alone: bool = False


_KINDS = (
    _Kind(
        kind="NAT gateway",
        operation="describe_nat_gateways",
        items="NatGateways",
        id="NatGatewayId",
        created="CreateTime",
        extra="nat",
        filters="Filter",
    ),
    _Kind(
        kind="endpoint",
        operation="describe_vpc_endpoints",
        items="VpcEndpoints",
        id="VpcEndpointId",
        created="CreationTimestamp",
        extra="endpoint",
    ),
    _Kind(
        kind="address",
        operation="describe_addresses",
        items="Addresses",
        id="AllocationId",
        extra="public_ipv4",
    ),
    _Kind(
        kind="security group",
        operation="describe_security_groups",
        items="SecurityGroups",
        id="GroupId",
    ),
    _Kind(
        kind="internet gateway",
        operation="describe_internet_gateways",
        items="InternetGateways",
        id="InternetGatewayId",
    ),
    _Kind(kind="subnet", operation="describe_subnets", items="Subnets", id="SubnetId"),
    _Kind(
        kind="route table",
        operation="describe_route_tables",
        items="RouteTables",
        id="RouteTableId",
    ),
    _Kind(kind="VPC", operation="describe_vpcs", items="Vpcs", id="VpcId"),
    _Kind(
        kind="key pair",
        operation="describe_key_pairs",
        items="KeyPairs",
        id="KeyName",
        created="CreateTime",
    ),
    _Kind(
        kind="placement group",
        operation="describe_placement_groups",
        items="PlacementGroups",
        id="GroupName",
        aws_alone=True,
    ),
)


def listed(target: Target) -> Iterator[Thing]:
    """Networks with emrctl's tags, part by part, and EMR's leftovers in them."""
    vpcs: dict[str, Thing] = {}
    for kind in (one for one in _KINDS if target.kind == "aws" or not one.aws_alone):
        for item in _items(target, kind, [TAGGED]):
            found = _found(target, kind, item)
            # AWS keeps a VPC's default group as long as the VPC: neither can be had alone.
            if found.kind == "security group" and found.name == "default":
                continue
            if found.kind == "VPC":
                vpcs[found.id] = found
            yield found
    if vpcs:
        yield from _leftovers(target, vpcs)


def _leftovers(target: Target, vpcs: dict[str, Thing]) -> Iterator[Thing]:
    """Groups that EMR made in our VPCs, and interfaces that nothing uses any more."""
    here = {"Name": "vpc-id", "Values": sorted(vpcs)}
    groups = next(kind for kind in _KINDS if kind.kind == "security group")
    for item in _items(target, groups, [here]):
        tagged = PROJECT in tags(item)
        if item["GroupName"].startswith(_EMR_GROUPS) and not tagged:
            yield replace(_found(target, groups, item), **_belongs(vpcs[item["VpcId"]]))
    loose = {"Name": "status", "Values": ["available"]}
    interfaces = _Kind(
        kind="network interface",
        operation="describe_network_interfaces",
        items="NetworkInterfaces",
        id="NetworkInterfaceId",
    )
    for item in _items(target, interfaces, [here, loose]):
        yield replace(_found(target, interfaces, item), **_belongs(vpcs[item["VpcId"]]))


def _belongs(vpc: Thing) -> dict[str, Any]:
    return {"project": vpc.project, "stack": vpc.stack}


def _items(target: Target, kind: _Kind, filters: Sequence[Any]) -> Iterator[dict[str, Any]]:
    ec2, asked = target.client("ec2"), {kind.filters: list(filters)}
    if ec2.can_paginate(kind.operation):
        for page in ec2.get_paginator(kind.operation).paginate(**asked):
            yield from _there(page[kind.items])
    else:
        yield from _there(getattr(ec2, kind.operation)(**asked)[kind.items])


def _there(items: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    return (item for item in items if str(item.get("State", "")).lower() not in _GONE)


def _found(target: Target, kind: _Kind, item: dict[str, Any]) -> Thing:
    own = thing(target, kind.kind, str(item[kind.id]), tags(item))
    free = not kind.extra or item.get("VpcEndpointType") == "Gateway"
    return replace(
        own,
        name=str(item.get("GroupName") or own.name),
        state=str(item.get("State", "")),
        created=item.get(kind.created) if kind.created else None,
        hourly_usd=0.0 if free else beside(kind.extra),
    )


def thing(target: Target, kind: str, id_: str, tags: dict[str, str]) -> Thing:
    """A thing of the target's region, by its tags."""
    return Thing(
        kind=kind,
        id=id_,
        region=target.region,
        project=tags.get(PROJECT, ""),
        stack=tags.get(STACK, ""),
        name=tags.get("Name", ""),
    )
