"""Discover network resources with emrctl's tags, and what EMR left behind in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from emrctl.aws.listing import tags
from emrctl.aws.target import Target
from emrctl.cleanup.resources import PROJECT, STACK, AwsResource
from emrctl.cost import extra_usd

PROJECT_TAG_FILTER = {"Name": "tag-key", "Values": [PROJECT]}
_GONE = frozenset({"deleted", "deleting", "failed"})
# EMR creates these groups for clusters that name no groups of their own, and does not delete them.
_EMR_GROUPS = "ElasticMapReduce-"


@dataclass(frozen=True)
class _Ec2Listing:
    """How EC2 lists one kind: `Describe<items>` returns `items`, with these keys.

    `price` is the name of the resource in the table of prices, empty if it is free.
    """

    kind: str
    items: str
    id: str
    created: str = ""
    price: str = ""
    filters: str = "Filters"


_SECURITY_GROUPS = _Ec2Listing("security group", "SecurityGroups", "GroupId")
_INTERFACES = _Ec2Listing("network interface", "NetworkInterfaces", "NetworkInterfaceId")
_LISTINGS = (
    _Ec2Listing("NAT gateway", "NatGateways", "NatGatewayId", "CreateTime", "nat", "Filter"),
    _Ec2Listing("endpoint", "VpcEndpoints", "VpcEndpointId", "CreationTimestamp", "endpoint"),
    _Ec2Listing("address", "Addresses", "AllocationId", price="public_ipv4"),
    _SECURITY_GROUPS,
    _Ec2Listing("internet gateway", "InternetGateways", "InternetGatewayId"),
    _Ec2Listing("subnet", "Subnets", "SubnetId"),
    _Ec2Listing("route table", "RouteTables", "RouteTableId"),
    _Ec2Listing("VPC", "Vpcs", "VpcId"),
    _Ec2Listing("key pair", "KeyPairs", "KeyName", "CreateTime"),
    _Ec2Listing("placement group", "PlacementGroups", "GroupName"),
)


def list_network(target: Target) -> Iterator[AwsResource]:
    """Yield network resources with emrctl's tags, and what EMR left behind in their VPCs."""
    vpcs: dict[str, AwsResource] = {}
    for ec2_listing in _LISTINGS:
        if ec2_listing.kind in target.unsupported_resources:
            continue
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
    detached = {"Name": "status", "Values": ["available"]}
    leftovers = [
        (_SECURITY_GROUPS, item)
        for item in _describe(target, _SECURITY_GROUPS, [in_vpcs])
        if item["GroupName"].startswith(_EMR_GROUPS) and PROJECT not in tags(item)
    ]
    leftovers += [
        (_INTERFACES, item) for item in _describe(target, _INTERFACES, [in_vpcs, detached])
    ]
    for ec2_listing, item in leftovers:
        vpc = vpcs[item["VpcId"]]
        resource = _resource(target, ec2_listing, item)
        yield replace(resource, project=vpc.project, stack=vpc.stack)


def _describe(
    target: Target, ec2_listing: _Ec2Listing, filters: Sequence[Any]
) -> Iterator[dict[str, Any]]:
    from botocore import xform_name

    ec2, request = target.client("ec2"), {ec2_listing.filters: list(filters)}
    operation = xform_name(f"Describe{ec2_listing.items}")
    if ec2.can_paginate(operation):
        pages = ec2.get_paginator(operation).paginate(**request)
    else:
        pages = [getattr(ec2, operation)(**request)]
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
