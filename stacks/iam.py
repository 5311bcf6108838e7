"""Who EMR is in the account, and what its nodes may do there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from emrctl.specs import ProjectSpec
from stacks import names
from stacks.sdk import iam

SERVICE_POLICY = "arn:aws:iam::aws:policy/service-role/AmazonEMRServicePolicy_v2"

Statement = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Roles:
    """What the cluster acts as; `ready` is what gives the roles their rights."""

    service: iam.Role
    profile: iam.InstanceProfile
    ready: tuple[pulumi.Resource, ...]


def roles(project: ProjectSpec, settings: Mapping[str, str], bucket: str) -> Roles:
    """A role for EMR itself and one for its nodes, each with no more than it needs."""
    marks = names.tags(project, project.cluster_stack)
    nodes = _node_role(project, marks)
    service = iam.Role(
        "service-role",
        name=f"{project.cluster_stack}-service",
        description=f"emrctl: EMR itself, for {project.cluster_stack}",
        assume_role_policy=_trust("elasticmapreduce.amazonaws.com", settings["account"]),
        tags=marks,
    )
    profile = iam.InstanceProfile("instance-profile", name=nodes.name, role=nodes.name, tags=marks)
    data = iam.RolePolicy(
        "node-data",
        role=nodes.name,
        name="bucket",
        policy=_document(_data_statements(project, settings, bucket)),
    )
    return Roles(service=service, profile=profile, ready=(data, *_service_rights(service, nodes)))


def _node_role(project: ProjectSpec, marks: dict[str, str]) -> iam.Role:
    """EMR takes an instance profile only under the name of its role: both are called this."""
    return iam.Role(
        "node-role",
        name=f"{project.cluster_stack}-nodes",
        description=f"emrctl: the nodes of {project.cluster_stack}",
        assume_role_policy=_trust("ec2.amazonaws.com", None),
        tags=marks,
    )


def _service_rights(service: iam.Role, nodes: iam.Role) -> tuple[pulumi.Resource, ...]:
    managed = iam.RolePolicyAttachment(
        "service-policy", role=service.name, policy_arn=SERVICE_POLICY
    )
    passing = iam.RolePolicy(
        "pass-role",
        role=service.name,
        name="pass-role",
        policy=nodes.arn.apply(lambda arn: _document([_pass_role(arn)])),
    )
    return managed, passing


def _pass_role(arn: str) -> Statement:
    """The managed policy passes `EMR_EC2_DefaultRole` alone: ours must be named."""
    return {
        "Sid": "PassNodeRole",
        "Effect": "Allow",
        "Action": "iam:PassRole",
        "Resource": arn,
        "Condition": {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}},
    }


def _trust(service: str, account: str | None) -> str:
    statement: Statement = {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": "sts:AssumeRole",
    }
    if account is not None:
        # Else EMR could be led to use this role for a cluster of another account.
        statement["Condition"] = {"StringEquals": {"aws:SourceAccount": account}}
    return _document([statement])


def _data_statements(
    project: ProjectSpec, settings: Mapping[str, str], bucket: str
) -> list[Statement]:
    arn = f"arn:aws:s3:::{bucket}"
    list_actions = ["ListBucket", "GetBucketLocation", "ListBucketMultipartUploads"]
    object_actions = [
        "GetObject",
        "PutObject",
        "DeleteObject",
        "AbortMultipartUpload",
        "ListMultipartUploadParts",
    ]
    statements = [
        _allow("Bucket", [f"s3:{action}" for action in list_actions], arn),
        _allow("Objects", [f"s3:{action}" for action in object_actions], f"{arn}/*"),
    ]
    key = project.storage.kms_key
    return statements if key is None else [*statements, _key_statement(key, settings)]


def _key_statement(key: str, settings: Mapping[str, str]) -> Statement:
    """The one key of the bucket; an alias is no resource, so it stands in a condition."""
    keys = f"arn:aws:kms:{settings['region']}:{settings['account']}:key"
    actions = ["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey"]
    alias = key.rpartition(":")[2]
    if not alias.startswith("alias/"):
        return _allow("Key", actions, key if key.startswith("arn:") else f"{keys}/{key}")
    statement = _allow("Key", actions, f"{keys}/*")
    statement["Condition"] = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": alias}}
    return statement


def _allow(sid: str, actions: list[str], resource: str) -> Statement:
    return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resource}


def _document(statements: list[Statement]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})
