"""The VPC that a cluster gets of its own, and who may talk to whom inside it."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from emrctl.errors import SpecError
from emrctl.specs import ProjectSpec
from stacks import names
from stacks.sdk import ec2, vpc

NODES_BITS = 20


@dataclass(frozen=True, kw_only=True)
class Network:
    """Where the nodes stand; `ready` is what must exist before they start."""

    vpc: ec2.Vpc
    subnet: ec2.Subnet
    primary: ec2.SecurityGroup
    core: ec2.SecurityGroup
    ready: tuple[pulumi.Resource, ...]


def network(project: ProjectSpec, settings: Mapping[str, str]) -> Network:
    """A VPC with one public subnet, S3 reached inside AWS, and groups that can be torn down."""
    marks = names.tags(project, project.cluster_stack)
    own = ec2.Vpc(
        "vpc",
        cidr_block=project.cluster.network.cidr,
        enable_dns_hostnames=True,  # EMR's daemons find one another by name
        enable_dns_support=True,
        tags=marks | {"Name": project.cluster_stack},
    )
    subnet = ec2.Subnet(
        "subnet",
        vpc_id=own.id,
        cidr_block=_subnet_cidr(project.cluster.network.cidr),
        availability_zone=project.cluster.network.zone,
        map_public_ip_on_launch=True,
        tags=marks | {"Name": project.cluster_stack},
    )
    routes = _routes(own, subnet, settings["region"], marks)
    groups = {role: _group(project, role, own, marks) for role in ("primary", "core")}
    return Network(
        vpc=own,
        subnet=subnet,
        primary=groups["primary"],
        core=groups["core"],
        ready=(*routes, *_rules(groups, marks)),
    )


def _subnet_cidr(cidr: str) -> str:
    """The first subnet of the VPC's range, of at most 4,096 addresses."""
    try:
        whole = ipaddress.ip_network(cidr)
    except ValueError as error:
        hint = "Write network.cidr as 10.42.0.0/16."
        raise SpecError(f"'{cidr}' is no range of addresses: {error}", hint=hint) from error
    return str(next(whole.subnets(new_prefix=max(NODES_BITS, whole.prefixlen))))


def _routes(
    own: ec2.Vpc, subnet: ec2.Subnet, region: str, marks: dict[str, str]
) -> tuple[pulumi.Resource, ...]:
    """Everything goes through the internet gateway, but S3 stays inside AWS."""
    gateway = ec2.InternetGateway("gateway", vpc_id=own.id, tags=marks)
    table = ec2.RouteTable("routes", vpc_id=own.id, tags=marks)
    default = ec2.Route(
        "default-route",
        route_table_id=table.id,
        destination_cidr_block="0.0.0.0/0",
        gateway_id=gateway.id,
    )
    joined = ec2.RouteTableAssociation(
        "subnet-routes", subnet_id=subnet.id, route_table_id=table.id
    )
    endpoint = ec2.VpcEndpoint(
        "s3",
        vpc_id=own.id,
        service_name=f"com.amazonaws.{region}.s3",
        vpc_endpoint_type="Gateway",
        route_table_ids=[table.id],
        tags=marks,
    )
    return default, joined, endpoint


def _group(
    project: ProjectSpec, role: str, own: ec2.Vpc, marks: dict[str, str]
) -> ec2.SecurityGroup:
    name = f"{project.cluster_stack}-{role}"
    return ec2.SecurityGroup(
        role,
        name=name,
        description=f"emrctl: {role} nodes of {project.cluster_stack}",
        vpc_id=own.id,
        # The two groups name each other, and EMR adds rules: neither could be deleted first.
        revoke_rules_on_delete=True,
        tags=marks | {"Name": name},
    )


def _rules(groups: Mapping[str, ec2.SecurityGroup], marks: dict[str, str]) -> list[pulumi.Resource]:
    """The nodes reach one another and the outside; nobody outside reaches them."""
    rules: list[pulumi.Resource] = [
        vpc.SecurityGroupIngressRule(
            f"{target}-from-{source}",
            security_group_id=groups[target].id,
            referenced_security_group_id=groups[source].id,
            ip_protocol="-1",
            description=f"All traffic from {source} nodes",
            tags=marks,
        )
        for target in groups
        for source in groups
    ]
    rules += [
        vpc.SecurityGroupEgressRule(
            f"{role}-out",
            security_group_id=group.id,
            cidr_ipv4="0.0.0.0/0",
            ip_protocol="-1",
            # EMR's service and package repositories have no fixed addresses to name instead.
            description="All traffic out: EMR, package repositories, S3",
            tags=marks,
        )
        for role, group in groups.items()
    ]
    return rules
