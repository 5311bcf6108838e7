"""The network of a cluster: a VPC of its own, or existing subnets; and its security groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi

from emrctl.errors import SpecError
from emrctl.spec import NetworkSpec, ProjectSpec
from stacks import names, security_groups
from stacks.sdk import ec2


@dataclass(frozen=True, kw_only=True)
class ClusterNetwork:
    """Subnets and security groups of a cluster.

    `groups` maps a node role to its security group; in private subnets also `service-access`,
    which EMR uses to reach the nodes, and `endpoints`. `dependencies` must exist before nodes
    start.
    """

    vpc_id: pulumi.Input[str]
    subnet_ids: Sequence[pulumi.Input[str]]
    groups: Mapping[str, ec2.SecurityGroup]
    dependencies: tuple[pulumi.Resource, ...]


@dataclass(frozen=True, kw_only=True)
class _Subnets:
    vpc_id: pulumi.Input[str]
    subnet_ids: Sequence[pulumi.Input[str]]
    s3_endpoint: ec2.VpcEndpoint | None = None
    dependencies: tuple[pulumi.Resource, ...] = ()


def declare_network(project: ProjectSpec, settings: Mapping[str, str]) -> ClusterNetwork:
    """Declare the subnets, routes, endpoints and security groups that the spec asks for."""
    spec, region = project.cluster.network, settings["region"]
    tags = names.stack_tags(project, project.cluster_stack)
    subnets = _existing_subnets(spec) if spec.existing else _declare_vpc(project, region, tags)
    groups = security_groups.declare_groups(project, subnets.vpc_id, tags)
    rules = security_groups.declare_rules(spec, groups, subnets.s3_endpoint, tags)
    if "nodes" in groups and settings.get("ssh_from"):
        rules.append(security_groups.declare_ssh_rule(groups, settings["ssh_from"], tags))
    endpoints: list[pulumi.Resource] = []
    if "endpoints" in groups:
        endpoints = [
            ec2.VpcEndpoint(
                f"endpoint-{service}",
                vpc_id=subnets.vpc_id,
                service_name=f"com.amazonaws.{region}.{service}",
                vpc_endpoint_type="Interface",
                private_dns_enabled=True,
                subnet_ids=[subnets.subnet_ids[0]],
                security_group_ids=[groups["endpoints"].id],
                tags=tags | {"Name": f"{project.cluster_stack}-{service}"},
            )
            for service in project.endpoint_services
        ]
    return ClusterNetwork(
        vpc_id=subnets.vpc_id,
        subnet_ids=subnets.subnet_ids,
        groups=groups,
        dependencies=(*subnets.dependencies, *rules, *endpoints),
    )


def _existing_subnets(spec: NetworkSpec) -> _Subnets:
    if not isinstance(spec.subnets, tuple) or not isinstance(spec.vpc, str):
        msg = "network.subnets and network.vpc must be ids: their tags are not resolved"
        raise SpecError(msg, hint="Set the ids, or run `emrctl up`, which resolves tags.")
    return _Subnets(vpc_id=spec.vpc, subnet_ids=spec.subnets)


def _declare_vpc(project: ProjectSpec, region: str, tags: dict[str, str]) -> _Subnets:
    """Declare a VPC with one subnet for the nodes and an S3 gateway endpoint, which is free."""
    spec = project.cluster.network
    vpc = ec2.Vpc(
        "vpc",
        cidr_block=spec.cidr,
        enable_dns_hostnames=True,  # EMR's daemons address one another by host name
        enable_dns_support=True,
        tags=tags | {"Name": project.cluster_stack},
    )
    subnet = _declare_subnet("subnet", project, vpc, tags)
    table, association = _declare_route_table("", vpc, subnet, tags)
    if not spec.private:
        routes: list[pulumi.Resource] = [_declare_internet_route("", vpc, table, tags)]
    else:
        routes = _declare_nat(project, vpc, table, tags) if spec.nat else []
    s3_endpoint = ec2.VpcEndpoint(
        "s3",
        vpc_id=vpc.id,
        service_name=f"com.amazonaws.{region}.s3",
        vpc_endpoint_type="Gateway",
        route_table_ids=[table.id],
        tags=tags,
    )
    if spec.close_default_group:
        # Adopts the default group of the VPC, which otherwise lets its members communicate.
        ec2.DefaultSecurityGroup("default-group", vpc_id=vpc.id, tags=tags)
    return _Subnets(
        vpc_id=vpc.id,
        subnet_ids=(subnet.id,),
        s3_endpoint=s3_endpoint,
        dependencies=(*routes, association, s3_endpoint),
    )


def _declare_subnet(
    name: str, project: ProjectSpec, vpc: ec2.Vpc, tags: dict[str, str], index: int = 0
) -> ec2.Subnet:
    spec = project.cluster.network
    return ec2.Subnet(
        name,
        vpc_id=vpc.id,
        cidr_block=names.subnet_cidrs(spec)[index],
        availability_zone=spec.zone,
        map_public_ip_on_launch=not spec.private,
        tags=tags | {"Name": project.cluster_stack},
    )


def _declare_route_table(
    prefix: str, vpc: ec2.Vpc, subnet: ec2.Subnet, tags: dict[str, str]
) -> tuple[ec2.RouteTable, ec2.RouteTableAssociation]:
    table = ec2.RouteTable(f"{prefix}routes", vpc_id=vpc.id, tags=tags)
    association = ec2.RouteTableAssociation(
        f"{prefix}subnet-routes", subnet_id=subnet.id, route_table_id=table.id
    )
    return table, association


def _declare_internet_route(
    prefix: str, vpc: ec2.Vpc, table: ec2.RouteTable, tags: dict[str, str]
) -> ec2.Route:
    gateway = ec2.InternetGateway("gateway", vpc_id=vpc.id, tags=tags)
    return ec2.Route(
        f"{prefix}default-route",
        route_table_id=table.id,
        destination_cidr_block=security_groups.ANYWHERE,
        gateway_id=gateway.id,
    )


def _declare_nat(
    project: ProjectSpec, vpc: ec2.Vpc, table: ec2.RouteTable, tags: dict[str, str]
) -> list[pulumi.Resource]:
    """Declare a NAT gateway in a public subnet: outbound connections only."""
    public_subnet = _declare_subnet("public-subnet", project, vpc, tags, index=1)
    public_table, association = _declare_route_table("public-", vpc, public_subnet, tags)
    internet_route = _declare_internet_route("public-", vpc, public_table, tags)
    address = ec2.Eip("nat-address", domain="vpc", tags=tags)
    nat = ec2.NatGateway(
        "nat",
        allocation_id=address.id,
        subnet_id=public_subnet.id,
        tags=tags,
        opts=pulumi.ResourceOptions(depends_on=[internet_route]),
    )
    nat_route = ec2.Route(
        "default-route",
        route_table_id=table.id,
        destination_cidr_block=security_groups.ANYWHERE,
        nat_gateway_id=nat.id,
    )
    return [association, internet_route, nat_route]
