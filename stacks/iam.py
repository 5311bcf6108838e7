"""IAM roles: EMR's service role and the instance profile of the nodes; and their policies.

Policies are limited to the buckets and KMS keys that the spec names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from emrctl.spec import BucketSpec, ProjectSpec
from emrctl.spec.jobs import parameter_name
from stacks import names
from stacks.sdk import iam

_AWS = "arn:aws:iam::aws:policy"
SERVICE_POLICY = f"{_AWS}/service-role/AmazonEMRServicePolicy_v2"
PLACEMENT_POLICY = f"{_AWS}/AmazonElasticMapReducePlacementGroupPolicy"
SESSION_POLICY = f"{_AWS}/AmazonSSMManagedInstanceCore"
_READ = ("GetObject",)
_LIST = ("ListBucket", "GetBucketLocation")
_LIST_UPLOADS = "ListBucketMultipartUploads"
_WRITE = (
    "GetObject",
    "PutObject",
    "DeleteObject",
    "AbortMultipartUpload",
    "ListMultipartUploadParts",
)
_USE_KEY = ("kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey")
_DISK_KEY = (
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
)

Statement = dict[str, Any]
Settings = Mapping[str, str]


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
    project: ProjectSpec, settings: Settings, statements: list[Statement]
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
        assume_role_policy=_trust_policy("ec2.amazonaws.com", None),
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
            policy=_policy_document(statements),
        )
    ]
    if spec.ssm:
        attached.append(_attach("node-sessions", role, SESSION_POLICY))
    return NodeProfile(
        profile=profile.arn, name=profile.name, role_arn=role.arn, dependencies=tuple(attached)
    )


def declare_service_role(
    project: ProjectSpec, settings: Settings, nodes: NodeProfile
) -> tuple[pulumi.Input[str], list[pulumi.Resource]]:
    """Return the spec's service role, or declare one; and the policies attached to it."""
    spec = project.cluster.roles
    if spec.service is not None:
        return spec.service, []
    role = iam.Role(
        "service-role",
        name=f"{project.cluster_stack}-service",
        description=f"emrctl: EMR service role of {project.cluster_stack}",
        assume_role_policy=_trust_policy("elasticmapreduce.amazonaws.com", settings["account"]),
        permissions_boundary=spec.permissions_boundary,
        tags=names.stack_tags(project, project.cluster_stack),
    )
    attached: list[pulumi.Resource] = [
        _attach("service-policy", role, SERVICE_POLICY),
        iam.RolePolicy(
            "pass-role",
            role=role.name,
            name="pass-role",
            policy=nodes.role_arn.apply(lambda arn: _policy_document([_pass_role_statement(arn)])),
        ),
    ]
    if project.cluster.placement is not None:
        attached.append(_attach("placement-policy", role, PLACEMENT_POLICY))
    statements = _service_key_statements(project)
    if statements:
        text = _policy_document(statements)
        attached.append(iam.RolePolicy("service-keys", role=role.name, name="keys", policy=text))
    return role.arn, attached


def _attach(name: str, role: iam.Role, policy: str) -> iam.RolePolicyAttachment:
    return iam.RolePolicyAttachment(name, role=role.name, policy_arn=policy)


def _policy_document(statements: list[Statement]) -> str:
    """Render the statements as a policy document."""
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def _trust_policy(service: str, account: str | None) -> str:
    """Allow `service` to assume the role, on behalf of `account` only where it is set."""
    statement: Statement = {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": "sts:AssumeRole",
    }
    if account is not None:
        # Prevents the confused deputy: EMR using this role for a cluster of another account.
        statement["Condition"] = {"StringEquals": {"aws:SourceAccount": account}}
    return _policy_document([statement])


def _pass_role_statement(arn: str) -> Statement:
    """Allow passing the node role: the managed policy allows `EMR_EC2_DefaultRole` only."""
    return {
        "Sid": "PassNodeRole",
        "Effect": "Allow",
        "Action": "iam:PassRole",
        "Resource": arn,
        "Condition": {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}},
    }


def emr_node_statements(project: ProjectSpec, settings: Settings, bucket: str) -> list[Statement]:
    """Allow EMR's nodes to use the spec's buckets and keys and to terminate their cluster."""
    security = project.emr.security
    statements = _data_statements(project, bucket, security.in_transit)
    if project.emr.limited:
        arn = f"arn:aws:elasticmapreduce:{settings['region']}:{settings['account']}:cluster/*"
        terminate = _allow("TerminateCluster", ["elasticmapreduce:TerminateJobFlows"], arn)
        stack = _if_equals("aws:ResourceTag/emrctl:stack", project.cluster_stack)
        statements.append(terminate | stack)
    statements += _key_statements(project, settings)
    if security.log_key is not None:
        actions = ["kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"]
        statements.append(_allow("LogKey", actions, security.log_key))
    return statements + _secret_statements(project, settings)


def ec2_node_statements(project: ProjectSpec, settings: Settings, bucket: str) -> list[Statement]:
    """Allow EC2 instances to use the spec's buckets and keys and to terminate their stack."""
    wheelhouse = project.ec2.wheelhouse
    wheels = None if wheelhouse is None else f"{wheelhouse.rstrip('/')}/*"
    statements = _data_statements(project, bucket, wheels)
    if wheelhouse is not None:
        statements += _list_statements(wheelhouse, bucket)
    if project.ec2.limited:
        arn = f"arn:aws:ec2:{settings['region']}:{settings['account']}:instance/*"
        terminate = _allow("TerminateInstances", ["ec2:TerminateInstances"], arn)
        stack = _if_equals("ec2:ResourceTag/emrctl:stack", project.cluster_stack)
        # EC2 does not support resource-level permissions here; the region can be limited.
        describe = _allow("DescribeInstances", ["ec2:DescribeInstances"], "*")
        region = _if_equals("ec2:Region", settings["region"])
        statements += [terminate | stack, describe | region]
    statements += _key_statements(project, settings)
    return statements + _secret_statements(project, settings)


def _secret_statements(project: ProjectSpec, settings: Settings) -> list[Statement]:
    """Allow reading the secrets of the jobs in emrctl.yaml, and no others."""
    sources = sorted(
        {s.partition("#")[0] for job in project.jobs.values() for s in job.secrets.values()}
    )
    where = f"{settings['region']}:{settings['account']}"
    parameters: list[str] = []
    secrets: list[str] = []
    for source in sources:
        parameter = parameter_name(source)
        if source.startswith("arn:"):
            (secrets if parameter is None else parameters).append(source)
        elif parameter is not None:
            parameters.append(f"arn:aws:ssm:{where}:parameter/{parameter.lstrip('/')}")
        else:  # Secrets Manager adds a hyphen and six random characters to the name
            secrets.append(f"arn:aws:secretsmanager:{where}:secret:{source}-??????")
    statements = []
    if secrets:
        statements.append(_allow("Secrets", ["secretsmanager:GetSecretValue"], secrets))
    if parameters:
        statements.append(_allow("Parameters", ["ssm:GetParameter"], parameters))
    return statements


def _if_equals(key: str, value: str) -> Statement:
    return {"Condition": {"StringEquals": {key: value}}}


def _data_statements(project: ProjectSpec, bucket: str, objects: str | None) -> list[Statement]:
    """Allow the project's bucket, further buckets, and scripts and `objects` outside of these."""
    spec = project.cluster
    arn = f"arn:aws:s3:::{bucket}"
    lists = [f"s3:{action}" for action in (*_LIST, _LIST_UPLOADS)]
    statements = [
        _allow("Bucket", lists, arn),
        _allow("Objects", [f"s3:{action}" for action in _WRITE], f"{arn}/*"),
    ]
    for index, item in enumerate(spec.buckets):
        statements += _bucket_statements(f"Bucket{index}", item)
    uris = [action.script for action in spec.bootstrap if action.script.startswith("s3://")]
    paths = dict.fromkeys(uri.removeprefix("s3://") for uri in (*uris, objects) if uri)
    arns = [f"arn:aws:s3:::{path}" for path in paths if not path.startswith(f"{bucket}/")]
    if arns:
        statements.append(_allow("ScriptsAndCertificates", ["s3:GetObject"], arns))
    return statements


def _key_statements(project: ProjectSpec, settings: Settings) -> list[Statement]:
    """Allow the KMS keys of the buckets and of the disks."""
    statements: list[Statement] = []
    if project.storage.kms_key is not None:
        statements.append(_bucket_key("Key", project.storage.kms_key, settings))
    for index, item in enumerate(project.cluster.buckets):
        if item.kms_key is not None:
            statements.append(_bucket_key(f"Bucket{index}Key", item.kms_key, settings))
    disk_key = project.cluster.security.disk_key
    if disk_key is not None:
        statements.append(_allow("DiskKey", list(_DISK_KEY), disk_key))
    return statements


def _bucket_statements(sid: str, item: BucketSpec) -> list[Statement]:
    arn = f"arn:aws:s3:::{item.name}"
    prefix = item.prefix.strip("/")
    pattern = f"{prefix}/*" if prefix else "*"
    writes = item.access == "write"
    lists = (*_LIST, _LIST_UPLOADS) if writes else _LIST
    listing = _allow(sid, [f"s3:{action}" for action in lists], arn)
    statements = [listing]
    if prefix:
        # GetBucketLocation requests have no s3:prefix: with the condition they would be denied.
        listing["Action"] = ["s3:ListBucket"]
        listing["Condition"] = {"StringLike": {"s3:prefix": [prefix, pattern]}}
        others = [f"s3:{action}" for action in lists if action != "ListBucket"]
        statements.append(_allow(f"{sid}Location", others, arn))
    objects = [f"s3:{action}" for action in (_WRITE if writes else _READ)]
    return [*statements, _allow(f"{sid}Objects", objects, f"{arn}/{pattern}")]


def _list_statements(wheelhouse: str, bucket: str) -> list[Statement]:
    """Allow listing a wheelhouse outside the project's bucket."""
    name, _, prefix = wheelhouse.removeprefix("s3://").rstrip("/").partition("/")
    if name == bucket:
        return []
    statement = _allow("Wheelhouse", ["s3:ListBucket"], f"arn:aws:s3:::{name}")
    if prefix:
        statement["Condition"] = {"StringLike": {"s3:prefix": [prefix, f"{prefix}/*"]}}
    return [statement]


def _service_key_statements(project: ProjectSpec) -> list[Statement]:
    """Return what EMR's service role may do with the KMS keys of disks and logs."""
    spec = project.emr.security
    statements: list[Statement] = []
    if spec.disk_key is not None:
        grant = _allow("DiskKeyGrant", ["kms:CreateGrant"], spec.disk_key)
        # EC2 needs a grant to attach encrypted volumes; no other grants are allowed.
        grant["Condition"] = {"Bool": {"kms:GrantIsForAWSResource": "true"}}
        statements += [_allow("DiskKey", list(_DISK_KEY), spec.disk_key), grant]
    if spec.log_key is not None:
        statements.append(
            _allow("LogKey", ["kms:DescribeKey", "kms:GenerateDataKey"], spec.log_key)
        )
    return statements


def _bucket_key(sid: str, key: str, settings: Settings) -> Statement:
    """Allow using a bucket's KMS key; an alias is not a resource, so it becomes a condition."""
    keys = f"arn:aws:kms:{settings['region']}:{settings['account']}:key"
    alias = key.rpartition(":")[2]
    if not alias.startswith("alias/"):
        return _allow(sid, list(_USE_KEY), key if key.startswith("arn:") else f"{keys}/{key}")
    statement = _allow(sid, list(_USE_KEY), f"{keys}/*")
    statement["Condition"] = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": alias}}
    return statement


def _allow(sid: str, actions: list[str], resource: str | list[str]) -> Statement:
    return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resource}
