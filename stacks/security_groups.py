"""Security groups of a cluster; every rule is a resource of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi

from emrctl.spec import NetworkSpec, ProjectSpec
from stacks.sdk import ec2, vpc

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

Groups = Mapping[str, ec2.SecurityGroup]


def declare_groups(
    project: ProjectSpec, vpc_id: pulumi.Input[str], tags: dict[str, str]
) -> dict[str, ec2.SecurityGroup]:
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


def declare_rules(
    spec: NetworkSpec, groups: Groups, s3_endpoint: ec2.VpcEndpoint | None, tags: dict[str, str]
) -> list[pulumi.Resource]:
    """Let nodes reach each other and the outside, but nothing outside reach the nodes."""
    nodes = _node_roles(groups)
    rules = [_ingress(groups, target, source, tags) for target in nodes for source in nodes]
    if "service-access" in groups:  # EMR calls the nodes on 8443, the primary calls EMR on 9443
        access = "service-access"
        rules.append(_ingress(groups, access, "primary", tags, _TO_SERVICE))
        rules += [_ingress(groups, role, access, tags, _TO_NODES) for role in nodes]
        rules += [_egress(groups, access, role, tags, _TO_NODES) for role in nodes]
    if "endpoints" in groups:
        rules += [_ingress(groups, "endpoints", role, tags, _HTTPS) for role in nodes]
    if spec.private and not spec.nat and s3_endpoint is not None:
        return rules + _egress_to_endpoints(groups, s3_endpoint, tags)
    return rules + _egress_to_anywhere(groups, tags)


def declare_ssh_rule(groups: Groups, cidr: str, tags: dict[str, str]) -> pulumi.Resource:
    """Allow SSH to the nodes from `cidr`."""
    rule: pulumi.Resource = vpc.SecurityGroupIngressRule(
        "nodes-ssh",
        security_group_id=groups["nodes"].id,
        cidr_ipv4=cidr,
        description="SSH from where emrctl runs",
        tags=tags,
        **_ports(_SSH),
    )
    return rule


def _node_roles(groups: Groups) -> tuple[str, ...]:
    return tuple(role for role in groups if role in {"primary", "core", "nodes"})


def _egress_to_anywhere(groups: Groups, tags: dict[str, str]) -> list[pulumi.Resource]:
    return [
        vpc.SecurityGroupEgressRule(
            f"{role}-out",
            security_group_id=groups[role].id,
            cidr_ipv4=ANYWHERE,
            ip_protocol="-1",
            # EMR's service and package repositories have no fixed addresses.
            description=(
                "All traffic out: package repositories, S3"
                if role == "nodes"
                else "All traffic out: EMR, package repositories, S3"
            ),
            tags=tags,
        )
        for role in _node_roles(groups)
    ]


def _egress_to_endpoints(
    groups: Groups, s3_endpoint: ec2.VpcEndpoint, tags: dict[str, str]
) -> list[pulumi.Resource]:
    """Allow outbound traffic to the cluster's nodes and AWS endpoints only."""
    nodes = _node_roles(groups)
    rules: list[pulumi.Resource] = []
    if "service-access" in groups:
        rules.append(_egress(groups, "primary", "service-access", tags, _TO_SERVICE))
    for role in nodes:
        rules += [_egress(groups, role, other, tags) for other in nodes]
        rules.append(_egress(groups, role, "endpoints", tags, _HTTPS))
        rules.append(
            vpc.SecurityGroupEgressRule(
                f"{role}-to-s3",
                security_group_id=groups[role].id,
                prefix_list_id=s3_endpoint.prefix_list_id,
                description="To S3",
                tags=tags,
                **_ports(_HTTPS),
            )
        )
    return rules


def _ingress(
    groups: Groups, target: str, source: str, tags: dict[str, str], port: int | None = None
) -> pulumi.Resource:
    rule: pulumi.Resource = vpc.SecurityGroupIngressRule(
        f"{target}-from-{source}",
        security_group_id=groups[target].id,
        referenced_security_group_id=groups[source].id,
        description=f"{_traffic(port)} from {_label(source)}",
        tags=tags,
        **_ports(port),
    )
    return rule


def _egress(
    groups: Groups, source: str, target: str, tags: dict[str, str], port: int | None = None
) -> pulumi.Resource:
    rule: pulumi.Resource = vpc.SecurityGroupEgressRule(
        f"{source}-to-{target}",
        security_group_id=groups[source].id,
        referenced_security_group_id=groups[target].id,
        description=f"{_traffic(port)} to {_label(target)}",
        tags=tags,
        **_ports(port),
    )
    return rule


def _ports(port: int | None) -> dict[str, Any]:
    if port is None:
        return {"ip_protocol": "-1"}
    return {"ip_protocol": "tcp", "from_port": port, "to_port": port}


def _traffic(port: int | None) -> str:
    return "All traffic" if port is None else f"TCP {port}"


def _label(role: str) -> str:
    return f"{role} nodes" if role in {"primary", "core"} else role.replace("-", " ")
