"""Who may talk to whom: security groups that can be torn down, every rule a resource."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi

from emrctl.spec import NetworkSpec, ProjectSpec
from stacks.sdk import ec2, vpc

# The nodes of a cluster by its kind: EMR wants a group for each role.
NODES = {"emr": ("primary", "core"), "ec2": ("nodes",)}
ANYWHERE = "0.0.0.0/0"
_SSH, _HTTPS, _TO_NODES, _TO_SERVICE = 22, 443, 8443, 9443

Groups = Mapping[str, ec2.SecurityGroup]


def groups(
    project: ProjectSpec, vpc_id: pulumi.Input[str], marks: dict[str, str]
) -> dict[str, ec2.SecurityGroup]:
    """EMR's primaries and workers each have a group; in private subnets EMR's own access too.

    EC2 instances share one. Endpoints have a group where emrctl makes them.
    """
    spec, kind = project.cluster.network, project.cluster.kind
    wanted = {role: "nodes of" if role == "nodes" else f"{role} nodes of" for role in NODES[kind]}
    if spec.private and kind == "emr":
        wanted["service-access"] = "EMR's own access to"
    if spec.private and not spec.existing:
        wanted["endpoints"] = "endpoints of"
    return {role: _group(project, (role, what), vpc_id, marks) for role, what in wanted.items()}


def _group(
    project: ProjectSpec,
    kind: tuple[str, str],
    vpc_id: pulumi.Input[str],
    marks: dict[str, str],
) -> ec2.SecurityGroup:
    role, what = kind
    name = f"{project.cluster_stack}-{role}"
    return ec2.SecurityGroup(
        role,
        name=name,
        description=f"emrctl: {what} {project.cluster_stack}",
        vpc_id=vpc_id,
        # The groups name each other, and EMR adds rules: none could be deleted first.
        revoke_rules_on_delete=True,
        tags=marks | {"Name": name},
    )


def rules(
    spec: NetworkSpec, made: Groups, storage: ec2.VpcEndpoint | None, marks: dict[str, str]
) -> list[pulumi.Resource]:
    """The nodes reach one another and the outside; nobody outside reaches them."""
    nodes = _nodes(made)
    found: list[pulumi.Resource] = [
        _in(f"{target}-from-{source}", made, (target, source), marks)
        for target in nodes
        for source in nodes
    ]
    if "service-access" in made:
        found += _service_access(made, marks)
    if "endpoints" in made:
        found += [
            _in(f"endpoints-from-{role}", made, ("endpoints", role), marks, _HTTPS)
            for role in nodes
        ]
    closed = spec.private and not spec.nat and storage is not None
    return found + (_inside(made, storage, marks) if closed else _outside(made, marks))


def ssh(made: Groups, source: str, marks: dict[str, str]) -> pulumi.Resource:
    """Whoever is in the range `source` may log in to the nodes, and do nothing else."""
    rule: pulumi.Resource = vpc.SecurityGroupIngressRule(
        "nodes-ssh",
        security_group_id=made["nodes"].id,
        cidr_ipv4=source,
        description="SSH from where emrctl runs",
        tags=marks,
        **_ports(_SSH),
    )
    return rule


def _nodes(made: Groups) -> tuple[str, ...]:
    return tuple(role for role in made if role in {"primary", "core", "nodes"})


def _service_access(made: Groups, marks: dict[str, str]) -> list[pulumi.Resource]:
    """EMR asks the nodes on 8443 and is asked by the primary on 9443."""
    access = "service-access"
    return [
        _in(f"{access}-from-primary", made, (access, "primary"), marks, _TO_SERVICE),
        *(
            _in(f"{role}-from-{access}", made, (role, access), marks, _TO_NODES)
            for role in _nodes(made)
        ),
        *(
            _out(f"{access}-to-{role}", made, (access, role), marks, _TO_NODES)
            for role in _nodes(made)
        ),
    ]


def _outside(made: Groups, marks: dict[str, str]) -> list[pulumi.Resource]:
    return [
        vpc.SecurityGroupEgressRule(
            f"{role}-out",
            security_group_id=made[role].id,
            cidr_ipv4=ANYWHERE,
            ip_protocol="-1",
            # EMR's service and package repositories have no fixed addresses to name instead.
            description=(
                "All traffic out: package repositories, S3"
                if role == "nodes"
                else "All traffic out: EMR, package repositories, S3"
            ),
            tags=marks,
        )
        for role in _nodes(made)
    ]


def _inside(
    made: Groups, storage: ec2.VpcEndpoint | None, marks: dict[str, str]
) -> list[pulumi.Resource]:
    """Out goes what AWS's own endpoints take, and nothing else."""
    found: list[pulumi.Resource] = []
    if "service-access" in made:
        pair = ("primary", "service-access")
        found.append(_out("primary-to-service-access", made, pair, marks, _TO_SERVICE))
    for role in _nodes(made):
        found += [_out(f"{role}-to-{other}", made, (role, other), marks) for other in _nodes(made)]
        found.append(_out(f"{role}-to-endpoints", made, (role, "endpoints"), marks, _HTTPS))
        if storage is not None:
            found.append(
                vpc.SecurityGroupEgressRule(
                    f"{role}-to-s3",
                    security_group_id=made[role].id,
                    prefix_list_id=storage.prefix_list_id,
                    description="To S3",
                    tags=marks,
                    **_ports(_HTTPS),
                )
            )
    return found


def _in(
    name: str, made: Groups, pair: tuple[str, str], marks: dict[str, str], port: int | None = None
) -> pulumi.Resource:
    target, source = pair
    rule: pulumi.Resource = vpc.SecurityGroupIngressRule(
        name,
        security_group_id=made[target].id,
        referenced_security_group_id=made[source].id,
        description=f"{_what(port)} from {_who(source)}",
        tags=marks,
        **_ports(port),
    )
    return rule


def _out(
    name: str, made: Groups, pair: tuple[str, str], marks: dict[str, str], port: int | None = None
) -> pulumi.Resource:
    source, target = pair
    rule: pulumi.Resource = vpc.SecurityGroupEgressRule(
        name,
        security_group_id=made[source].id,
        referenced_security_group_id=made[target].id,
        description=f"{_what(port)} to {_who(target)}",
        tags=marks,
        **_ports(port),
    )
    return rule


def _ports(port: int | None) -> dict[str, Any]:
    if port is None:
        return {"ip_protocol": "-1"}
    return {"ip_protocol": "tcp", "from_port": port, "to_port": port}


def _what(port: int | None) -> str:
    return "All traffic" if port is None else f"TCP {port}"


def _who(role: str) -> str:
    return f"{role} nodes" if role in NODES["emr"] else role.replace("-", " ")
