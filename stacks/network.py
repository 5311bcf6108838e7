"""The network of a cluster: a VPC of its own, or existing subnets; and its security groups.

Every rule of a security group is a resource of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from emrctl.errors import SpecError
from emrctl.spec import NetworkSpec, ProjectSpec
from stacks import names
from stacks.sdk import ec2
from stacks.sdk import vpc as aws_vpc

# Groups by cluster kind. EMR requires one for each role, and `service-access` in private subnets.
_KIND_GROUPS = {"emr": ("primary", "core", "service-access"), "ec2": ("nodes",)}
# Part of a group's description, which EC2 cannot change: another text would replace the cluster.
_PURPOSES = {
    "primary": "primary nodes of",
    "core": "core nodes of",
    "nodes": "nodes of",
    "service-access": "EMR's own access to",
    "endpoints": "endpoints of",
}
ANYWHERE = "0.0.0.0/0"
_SSH, _HTTPS, _TO_NODES, _TO_SERVICE = 22, 443, 8443, 9443
_INGRESS, _EGRESS = aws_vpc.SecurityGroupIngressRule, aws_vpc.SecurityGroupEgressRule

Groups = Mapping[str, ec2.SecurityGroup]


@dataclass(frozen=True, kw_only=True)
class ClusterNetwork:
    """Subnets and security groups of a cluster.

    `groups` maps a node role to its security group; in private subnets also `service-access`,
    which EMR uses to reach the nodes, and `endpoints`. `dependencies` must exist before nodes
    start.
    """

    vpc_id: pulumi.Input[str]
    subnet_ids: Sequence[pulumi.Input[str]]
    groups: Groups
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
    groups = _declare_groups(project, subnets.vpc_id, tags)
    group_rules = _Rules(groups=groups, tags=tags)
    rules = group_rules.declare(spec, subnets.s3_endpoint)
    if "nodes" in groups and settings.get("ssh_from"):
        rules.append(group_rules.declare_ssh(settings["ssh_from"]))
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
        destination_cidr_block=ANYWHERE,
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
        destination_cidr_block=ANYWHERE,
        nat_gateway_id=nat.id,
    )
    return [association, internet_route, nat_route]


def _declare_groups(
    project: ProjectSpec, vpc_id: pulumi.Input[str], tags: dict[str, str]
) -> Groups:
    """Declare a group per node role, and those for EMR's service access and for endpoints."""
    spec = project.cluster.network
    roles = [r for r in _KIND_GROUPS[project.cluster.kind] if spec.private or r != "service-access"]
    if spec.private and not spec.existing:
        roles.append("endpoints")
    return {
        role: ec2.SecurityGroup(
            role,
            name=f"{project.cluster_stack}-{role}",
            description=f"emrctl: {_PURPOSES[role]} {project.cluster_stack}",
            vpc_id=vpc_id,
            # The groups reference each other, and EMR adds rules of its own: without this none
            # of them could be deleted first.
            revoke_rules_on_delete=True,
            tags=tags | {"Name": f"{project.cluster_stack}-{role}"},
        )
        for role in roles
    }


@dataclass(frozen=True, kw_only=True)
class _Rules:
    """Declares the rules of a cluster's security groups."""

    groups: Groups
    tags: dict[str, str]

    @property
    def nodes(self) -> tuple[str, ...]:
        """The roles of nodes."""
        return tuple(role for role in self.groups if role in {"primary", "core", "nodes"})

    def declare(
        self, spec: NetworkSpec, s3_endpoint: ec2.VpcEndpoint | None
    ) -> list[pulumi.Resource]:
        """Let nodes reach each other and the outside, but nothing outside reach the nodes."""
        rules = [self._ingress(target, source) for target in self.nodes for source in self.nodes]
        access = "service-access"
        if access in self.groups:  # EMR calls the nodes on 8443, the primary calls EMR on 9443
            rules.append(self._ingress(access, "primary", _TO_SERVICE))
            rules += [self._ingress(role, access, _TO_NODES) for role in self.nodes]
            rules += [self._egress(access, role, _TO_NODES) for role in self.nodes]
        if "endpoints" in self.groups:
            rules += [self._ingress("endpoints", role, _HTTPS) for role in self.nodes]
        if spec.private and not spec.nat and s3_endpoint is not None:
            return rules + self._egress_to_endpoints(s3_endpoint)
        return rules + [self._egress_to_anywhere(role) for role in self.nodes]

    def declare_ssh(self, cidr: str) -> pulumi.Resource:
        """Allow SSH to the nodes from `cidr`."""
        text = "SSH from where emrctl runs"
        return self._rule(_INGRESS, "nodes-ssh", "nodes", text, _SSH, cidr_ipv4=cidr)

    def _egress_to_anywhere(self, role: str) -> pulumi.Resource:
        # EMR's service and package repositories have no fixed addresses.
        service = "" if role == "nodes" else "EMR, "
        text = f"All traffic out: {service}package repositories, S3"
        return self._rule(_EGRESS, f"{role}-out", role, text, cidr_ipv4=ANYWHERE)

    def _egress_to_endpoints(self, s3_endpoint: ec2.VpcEndpoint) -> list[pulumi.Resource]:
        """Allow outbound traffic to the cluster's nodes and AWS endpoints only."""
        s3 = {"prefix_list_id": s3_endpoint.prefix_list_id}
        rules: list[pulumi.Resource] = []
        if "service-access" in self.groups:
            rules.append(self._egress("primary", "service-access", _TO_SERVICE))
        for role in self.nodes:
            rules += [self._egress(role, other) for other in self.nodes]
            rules.append(self._egress(role, "endpoints", _HTTPS))
            rules.append(self._rule(_EGRESS, f"{role}-to-s3", role, "To S3", _HTTPS, **s3))
        return rules

    def _ingress(self, role: str, source: str, port: int | None = None) -> pulumi.Resource:
        text = f"{_traffic(port)} from {_label(source)}"
        peer = {"referenced_security_group_id": self.groups[source].id}
        return self._rule(_INGRESS, f"{role}-from-{source}", role, text, port, **peer)

    def _egress(self, role: str, target: str, port: int | None = None) -> pulumi.Resource:
        text = f"{_traffic(port)} to {_label(target)}"
        peer = {"referenced_security_group_id": self.groups[target].id}
        return self._rule(_EGRESS, f"{role}-to-{target}", role, text, port, **peer)

    def _rule(
        self, kind: Any, name: str, role: str, text: str, port: int | None = None, **peer: Any
    ) -> pulumi.Resource:
        """Declare a rule of the group of `role`; without a port it allows all traffic."""
        traffic: dict[str, Any] = {"ip_protocol": "-1"}
        if port is not None:
            traffic = {"ip_protocol": "tcp", "from_port": port, "to_port": port}
        group = self.groups[role].id
        rule: pulumi.Resource = kind(
            name, security_group_id=group, description=text, tags=self.tags, **traffic, **peer
        )
        return rule


def _traffic(port: int | None) -> str:
    return "All traffic" if port is None else f"TCP {port}"


def _label(role: str) -> str:
    return f"{role} nodes" if role in {"primary", "core"} else role.replace("-", " ")
