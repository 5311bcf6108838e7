"""Who EMR is in the account, and what its nodes may do there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from emrctl.spec import ProjectSpec
from stacks import names, policies
from stacks.sdk import iam

_AWS = "arn:aws:iam::aws:policy"
SERVICE_POLICY = f"{_AWS}/service-role/AmazonEMRServicePolicy_v2"
PLACEMENT_POLICY = f"{_AWS}/AmazonElasticMapReducePlacementGroupPolicy"
SESSION_POLICY = f"{_AWS}/AmazonSSMManagedInstanceCore"


@dataclass(frozen=True, kw_only=True)
class Roles:
    """What the cluster acts as; `ready` is what gives the roles their rights.

    `service` and `profile` are names where they exist already, else addresses.
    """

    service: pulumi.Input[str]
    profile: pulumi.Input[str]
    profile_name: pulumi.Input[str]
    ready: tuple[pulumi.Resource, ...]


@dataclass(frozen=True, kw_only=True)
class _Nodes:
    profile: pulumi.Input[str]
    name: pulumi.Input[str]
    role_arn: pulumi.Output[str]
    ready: tuple[pulumi.Resource, ...] = ()


def roles(project: ProjectSpec, settings: Mapping[str, str], bucket: str) -> Roles:
    """A role for EMR itself and one for its nodes, each with no more than it needs."""
    marks = names.tags(project, project.cluster_stack)
    spec = project.cluster.roles
    nodes = _of_nodes(project, settings, bucket)
    if spec.service is not None:
        service, ready = spec.service, nodes.ready
    else:
        made = _service(project, settings, marks)
        service, ready = made.arn, (*nodes.ready, *_service_rights(project, made, nodes))
    return Roles(service=service, profile=nodes.profile, profile_name=nodes.name, ready=ready)


def of_nodes(
    project: ProjectSpec, settings: Mapping[str, str], bucket: str
) -> tuple[pulumi.Input[str], tuple[pulumi.Resource, ...]]:
    """The instance profile of nodes by its name, and what gives it its rights."""
    found = _of_nodes(project, settings, bucket)
    return found.name, found.ready


def _of_nodes(project: ProjectSpec, settings: Mapping[str, str], bucket: str) -> _Nodes:
    name = project.cluster.roles.instance_profile
    if name is None:
        marks = names.tags(project, project.cluster_stack)
        return _nodes(project, settings, bucket, marks)
    # EMR takes an instance profile only under the name of its role.
    arn = f"arn:aws:iam::{settings['account']}:role/{name}"
    return _Nodes(profile=name, name=name, role_arn=pulumi.Output.from_input(arn))


def _nodes(
    project: ProjectSpec, settings: Mapping[str, str], bucket: str, marks: dict[str, str]
) -> _Nodes:
    """EMR takes an instance profile only under the name of its role: both are called the same."""
    role = iam.Role(
        "node-role",
        name=f"{project.cluster_stack}-nodes",
        description=f"emrctl: the nodes of {project.cluster_stack}",
        assume_role_policy=policies.trust("ec2.amazonaws.com", None),
        permissions_boundary=project.cluster.roles.permissions_boundary,
        tags=marks,
    )
    profile = iam.InstanceProfile("instance-profile", name=role.name, role=role.name, tags=marks)
    data = iam.RolePolicy(
        "node-data",
        role=role.name,
        name="bucket",
        policy=policies.document(policies.nodes(project, settings, bucket)),
    )
    ready: tuple[pulumi.Resource, ...] = (data,)
    if project.cluster.roles.ssm:
        ready = (data, _attached("node-sessions", role, SESSION_POLICY))
    return _Nodes(profile=profile.arn, name=profile.name, role_arn=role.arn, ready=ready)


def _service(project: ProjectSpec, settings: Mapping[str, str], marks: dict[str, str]) -> iam.Role:
    return iam.Role(
        "service-role",
        name=f"{project.cluster_stack}-service",
        description=f"emrctl: EMR itself, for {project.cluster_stack}",
        assume_role_policy=policies.trust("elasticmapreduce.amazonaws.com", settings["account"]),
        permissions_boundary=project.cluster.roles.permissions_boundary,
        tags=marks,
    )


def _service_rights(
    project: ProjectSpec, service: iam.Role, nodes: _Nodes
) -> tuple[pulumi.Resource, ...]:
    passing = iam.RolePolicy(
        "pass-role",
        role=service.name,
        name="pass-role",
        policy=nodes.role_arn.apply(lambda arn: policies.document([policies.pass_role(arn)])),
    )
    found: list[pulumi.Resource] = [_attached("service-policy", service, SERVICE_POLICY), passing]
    if project.cluster.placement is not None:
        found.append(_attached("placement-policy", service, PLACEMENT_POLICY))
    keys = policies.service_keys(project)
    if keys:
        text = policies.document(keys)
        found.append(iam.RolePolicy("service-keys", role=service.name, name="keys", policy=text))
    return tuple(found)


def _attached(name: str, role: iam.Role, policy: str) -> iam.RolePolicyAttachment:
    return iam.RolePolicyAttachment(name, role=role.name, policy_arn=policy)
