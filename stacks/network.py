"""Where the nodes stand: in a VPC of their own, or in subnets that exist already."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi

from emrctl.errors import SpecError
from emrctl.spec import NetworkSpec, ProjectSpec
from stacks import endpoints, groups, names
from stacks.sdk import ec2

NODES_BITS = 20


@dataclass(frozen=True, kw_only=True)
class Network:
    """Where the nodes stand; `ready` is what must exist before they start.

    `groups` are those of the nodes by their role, and the one through which EMR reaches them in
    private subnets, `service-access`.
    """

    vpc_id: pulumi.Input[str]
    subnet_ids: Sequence[pulumi.Input[str]]
    groups: Mapping[str, ec2.SecurityGroup]
    ready: tuple[pulumi.Resource, ...]


@dataclass(frozen=True, kw_only=True)
class _Place:
    vpc_id: pulumi.Input[str]
    subnet_ids: Sequence[pulumi.Input[str]]
    storage: ec2.VpcEndpoint | None = None
    ready: tuple[pulumi.Resource, ...] = ()


def network(project: ProjectSpec, settings: Mapping[str, str]) -> Network:
    """Subnets, the ways out of them, and groups that can be torn down."""
    spec = project.cluster.network
    marks = names.tags(project, project.cluster_stack)
    place = _existing(spec) if spec.existing else _own(project, settings["region"], marks)
    made = groups.groups(project, place.vpc_id, marks)
    rules = groups.rules(spec, made, place.storage, marks)
    if "nodes" in made and settings.get("ssh_from"):
        rules.append(groups.ssh(made, settings["ssh_from"], marks))
    reached: list[pulumi.Resource] = []
    if "endpoints" in made:
        subnet, group = place.subnet_ids[0], made["endpoints"]
        where = endpoints.Where(vpc_id=place.vpc_id, subnet_id=subnet, group_id=group.id)
        reached = endpoints.interfaces(project, settings["region"], where, marks)
    return Network(
        vpc_id=place.vpc_id,
        subnet_ids=place.subnet_ids,
        groups=made,
        ready=(*place.ready, *rules, *reached),
    )


def _existing(spec: NetworkSpec) -> _Place:
    if not isinstance(spec.subnets, tuple) or not isinstance(spec.vpc, str):
        msg = "network.subnets and network.vpc are tags that nobody has looked up"
        raise SpecError(msg, hint="Give their ids, or run `emrctl up`, which looks them up.")
    return _Place(vpc_id=spec.vpc, subnet_ids=spec.subnets)


def _own(project: ProjectSpec, region: str, marks: dict[str, str]) -> _Place:
    """A VPC with one subnet for the nodes, from which S3 is reached inside AWS."""
    spec = project.cluster.network
    own = ec2.Vpc(
        "vpc",
        cidr_block=spec.cidr,
        enable_dns_hostnames=True,  # EMR's daemons find one another by name
        enable_dns_support=True,
        tags=marks | {"Name": project.cluster_stack},
    )
    subnet = _subnet("subnet", project, own, marks)
    table, joined = _table("", own, subnet, marks)
    if spec.private:
        out = _nat(project, own, table, marks) if spec.nat else []
    else:
        out = [_to_internet("", own, table, marks)]
    storage = endpoints.storage(own, region, table, marks)
    if spec.close_default_group:
        # Adopted, not made: AWS gives every VPC one that lets its members talk.
        ec2.DefaultSecurityGroup("default-group", vpc_id=own.id, tags=marks)
    ready = (*out, joined, storage)
    return _Place(vpc_id=own.id, subnet_ids=(subnet.id,), storage=storage, ready=ready)


def _subnet(
    name: str, project: ProjectSpec, own: ec2.Vpc, marks: dict[str, str], index: int = 0
) -> ec2.Subnet:
    spec = project.cluster.network
    return ec2.Subnet(
        name,
        vpc_id=own.id,
        cidr_block=_subnet_cidr(spec.cidr, index),
        availability_zone=spec.zone,
        map_public_ip_on_launch=not spec.private,
        tags=marks | {"Name": project.cluster_stack},
    )


def _subnet_cidr(cidr: str, index: int) -> str:
    """A subnet of the VPC's range, of at most 4,096 addresses."""
    try:
        whole = ipaddress.ip_network(cidr)
    except ValueError as error:
        hint = "Write network.cidr as 10.42.0.0/16."
        raise SpecError(f"'{cidr}' is no range of addresses: {error}", hint=hint) from error
    found = list(whole.subnets(new_prefix=max(NODES_BITS, whole.prefixlen)))
    if index >= len(found):
        msg = f"network.cidr {cidr} has no room for a second subnet, which network.nat needs"
        raise SpecError(msg, hint=f"Take a larger one: 10.42.0.0/16, at most /{NODES_BITS - 1}.")
    return str(found[index])


def _table(
    prefix: str, own: ec2.Vpc, subnet: ec2.Subnet, marks: dict[str, str]
) -> tuple[ec2.RouteTable, ec2.RouteTableAssociation]:
    table = ec2.RouteTable(f"{prefix}routes", vpc_id=own.id, tags=marks)
    joined = ec2.RouteTableAssociation(
        f"{prefix}subnet-routes", subnet_id=subnet.id, route_table_id=table.id
    )
    return table, joined


def _to_internet(
    prefix: str, own: ec2.Vpc, table: ec2.RouteTable, marks: dict[str, str]
) -> ec2.Route:
    gateway = ec2.InternetGateway("gateway", vpc_id=own.id, tags=marks)
    return ec2.Route(
        f"{prefix}default-route",
        route_table_id=table.id,
        destination_cidr_block="0.0.0.0/0",
        gateway_id=gateway.id,
    )


def _nat(
    project: ProjectSpec, own: ec2.Vpc, table: ec2.RouteTable, marks: dict[str, str]
) -> list[pulumi.Resource]:
    """A way out that is no way in: package repositories are reached, nodes are not."""
    outside = _subnet("public-subnet", project, own, marks, index=1)
    public, joined = _table("public-", own, outside, marks)
    way = _to_internet("public-", own, public, marks)
    address = ec2.Eip("nat-address", domain="vpc", tags=marks)
    nat = ec2.NatGateway(
        "nat",
        allocation_id=address.id,
        subnet_id=outside.id,
        tags=marks,
        opts=pulumi.ResourceOptions(depends_on=[way]),
    )
    route = ec2.Route(
        "default-route",
        route_table_id=table.id,
        destination_cidr_block="0.0.0.0/0",
        nat_gateway_id=nat.id,
    )
    return [joined, way, route]
