"""Discover network resources with emrctl's tags, and what EMR left behind in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from emrctl.aws.listing import tags
from emrctl.cleanup.resources import PROJECT, STACK, AwsResource
from emrctl.cost import extra_usd

if TYPE_CHECKING:
    from emrctl.aws.target import Target

PROJECT_TAG_FILTER = {"Name": "tag-key", "Values": [PROJECT]}
_GONE = frozenset({"deleted", "deleting", "failed"})
# EMR creates these groups for clusters that name no groups of their own, and does not delete them.
_EMR_GROUPS = "ElasticMapReduce-"


@dataclass(frozen=True, kw_only=True)
class _Ec2Listing:
    """How EC2 lists one kind: operation, key of the list, id, creation time, price, filters.

    `aws_only` kinds are not supported on localhost and cannot be listed there.
    """

    kind: str
    operation: str
    items: str
    id: str
    created: str = ""
    price: str = ""
    filters: str = "Filters"
    aws_only: bool = False


_LISTINGS = (
    _Ec2Listing(
        kind="NAT gateway",
        operation="describe_nat_gateways",
        items="NatGateways",
        id="NatGatewayId",
        created="CreateTime",
        price="nat",
        filters="Filter",
    ),
    _Ec2Listing(
        kind="endpoint",
        operation="describe_vpc_endpoints",
        items="VpcEndpoints",
        id="VpcEndpointId",
        created="CreationTimestamp",
        price="endpoint",
    ),
    _Ec2Listing(
        kind="address",
        operation="describe_addresses",
        items="Addresses",
        id="AllocationId",
        price="public_ipv4",
    ),
    _Ec2Listing(
        kind="security group",
        operation="describe_security_groups",
        items="SecurityGroups",
        id="GroupId",
    ),
    _Ec2Listing(
        kind="internet gateway",
        operation="describe_internet_gateways",
        items="InternetGateways",
        id="InternetGatewayId",
    ),
    _Ec2Listing(kind="subnet", operation="describe_subnets", items="Subnets", id="SubnetId"),
    _Ec2Listing(
        kind="route table",
        operation="describe_route_tables",
        items="RouteTables",
        id="RouteTableId",
    ),
    _Ec2Listing(kind="VPC", operation="describe_vpcs", items="Vpcs", id="VpcId"),
    _Ec2Listing(
        kind="key pair",
        operation="describe_key_pairs",
        items="KeyPairs",
        id="KeyName",
        created="CreateTime",
    ),
    _Ec2Listing(
        kind="placement group",
        operation="describe_placement_groups",
        items="PlacementGroups",
        id="GroupName",
        aws_only=True,
    ),
)


def list_network(target: Target) -> Iterator[AwsResource]:
    """Yield network resources with emrctl's tags, and what EMR left behind in their VPCs."""
    vpcs: dict[str, AwsResource] = {}
    for ec2_listing in (one for one in _LISTINGS if not (one.aws_only and target.is_local)):
        for item in _describe(target, ec2_listing, [PROJECT_TAG_FILTER]):
            resource = _resource(target, ec2_listing, item)
            # A VPC's default group exists as long as the VPC and cannot be deleted alone.
            if resource.kind == "security group" and resource.name == "default":
                continue
            if resource.kind == "VPC":
                vpcs[resource.id] = resource
            yield resource
    if vpcs:
        yield from _leftovers(target, vpcs)


def _leftovers(target: Target, vpcs: dict[str, AwsResource]) -> Iterator[AwsResource]:
    """Yield security groups that EMR created in the VPCs, and detached network interfaces."""
    in_vpcs = {"Name": "vpc-id", "Values": sorted(vpcs)}
    groups = next(one for one in _LISTINGS if one.kind == "security group")
    interfaces = _Ec2Listing(
        kind="network interface",
        operation="describe_network_interfaces",
        items="NetworkInterfaces",
        id="NetworkInterfaceId",
    )
    detached = {"Name": "status", "Values": ["available"]}
    leftovers = [
        (groups, item)
        for item in _describe(target, groups, [in_vpcs])
        if item["GroupName"].startswith(_EMR_GROUPS) and PROJECT not in tags(item)
    ]
    leftovers += [(interfaces, item) for item in _describe(target, interfaces, [in_vpcs, detached])]
    for ec2_listing, item in leftovers:
        vpc = vpcs[item["VpcId"]]
        resource = _resource(target, ec2_listing, item)
        yield replace(resource, project=vpc.project, stack=vpc.stack)


def _describe(
    target: Target, ec2_listing: _Ec2Listing, filters: Sequence[Any]
) -> Iterator[dict[str, Any]]:
    ec2, request = target.client("ec2"), {ec2_listing.filters: list(filters)}
    if ec2.can_paginate(ec2_listing.operation):
        pages = ec2.get_paginator(ec2_listing.operation).paginate(**request)
    else:
        pages = [getattr(ec2, ec2_listing.operation)(**request)]
    for page in pages:
        for item in page[ec2_listing.items]:
            if str(item.get("State", "")).lower() not in _GONE:
                yield item


def _resource(target: Target, ec2_listing: _Ec2Listing, item: dict[str, Any]) -> AwsResource:
    resource = tagged_resource(target, ec2_listing.kind, str(item[ec2_listing.id]), tags(item))
    free = not ec2_listing.price or item.get("VpcEndpointType") == "Gateway"
    return replace(
        resource,
        name=str(item.get("GroupName") or resource.name),
        state=str(item.get("State", "")),
        created=item.get(ec2_listing.created) if ec2_listing.created else None,
        hourly_usd=0.0 if free else extra_usd(ec2_listing.price),
    )


def tagged_resource(target: Target, kind: str, id_: str, tags: dict[str, str]) -> AwsResource:
    """Return a resource of the target's region with the project, stack and name in its tags."""
    return AwsResource(
        kind=kind,
        id=id_,
        region=target.region,
        project=tags.get(PROJECT, ""),
        stack=tags.get(STACK, ""),
        name=tags.get("Name", ""),
    )
