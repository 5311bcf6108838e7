"""IAM roles: EMR's service role and the instance profile of the nodes."""

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
class NodeProfile:
    """The instance profile of the nodes.

    `profile` is an ARN, or the name of an existing profile. `dependencies` are the policies that
    must be attached before nodes start.
    """

    profile: pulumi.Input[str]
    name: pulumi.Input[str]
    role_arn: pulumi.Output[str]
    dependencies: tuple[pulumi.Resource, ...] = ()


def declare_node_profile(
    project: ProjectSpec, settings: Mapping[str, str], statements: list[policies.Statement]
) -> NodeProfile:
    """Return the spec's instance profile, or declare a role with these statements and its profile.

    EMR requires an instance profile to have the name of its role.
    """
    spec = project.cluster.roles
    if spec.instance_profile is not None:
        arn = f"arn:aws:iam::{settings['account']}:role/{spec.instance_profile}"
        name = spec.instance_profile
        return NodeProfile(profile=name, name=name, role_arn=pulumi.Output.from_input(arn))
    role = iam.Role(
        "node-role",
        name=f"{project.cluster_stack}-nodes",
        description=f"emrctl: nodes of {project.cluster_stack}",
        assume_role_policy=policies.trust_policy("ec2.amazonaws.com", None),
        permissions_boundary=spec.permissions_boundary,
        tags=names.stack_tags(project, project.cluster_stack),
    )
    profile = iam.InstanceProfile(
        "instance-profile",
        name=role.name,
        role=role.name,
        tags=names.stack_tags(project, project.cluster_stack),
    )
    attached: list[pulumi.Resource] = [
        iam.RolePolicy(
            "node-data",
            role=role.name,
            name="bucket",
            policy=policies.policy_document(statements),
        )
    ]
    if spec.ssm:
        attached.append(_attach("node-sessions", role, SESSION_POLICY))
    return NodeProfile(
        profile=profile.arn, name=profile.name, role_arn=role.arn, dependencies=tuple(attached)
    )


def declare_service_role(
    project: ProjectSpec, settings: Mapping[str, str], nodes: NodeProfile
) -> tuple[pulumi.Input[str], list[pulumi.Resource]]:
    """Return the spec's service role, or declare one; and the policies attached to it."""
    spec = project.cluster.roles
    if spec.service is not None:
        return spec.service, []
    role = iam.Role(
        "service-role",
        name=f"{project.cluster_stack}-service",
        description=f"emrctl: EMR service role of {project.cluster_stack}",
        assume_role_policy=policies.trust_policy(
            "elasticmapreduce.amazonaws.com", settings["account"]
        ),
        permissions_boundary=spec.permissions_boundary,
        tags=names.stack_tags(project, project.cluster_stack),
    )
    attached: list[pulumi.Resource] = [
        _attach("service-policy", role, SERVICE_POLICY),
        iam.RolePolicy(
            "pass-role",
            role=role.name,
            name="pass-role",
            policy=nodes.role_arn.apply(
                lambda arn: policies.policy_document([policies.pass_role_statement(arn)])
            ),
        ),
    ]
    if project.cluster.placement is not None:
        attached.append(_attach("placement-policy", role, PLACEMENT_POLICY))
    statements = policies.service_key_statements(project)
    if statements:
        text = policies.policy_document(statements)
        attached.append(iam.RolePolicy("service-keys", role=role.name, name="keys", policy=text))
    return role.arn, attached


def _attach(name: str, role: iam.Role, policy: str) -> iam.RolePolicyAttachment:
    return iam.RolePolicyAttachment(name, role=role.name, policy_arn=policy)
