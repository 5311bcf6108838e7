"""IAM policy documents, limited to the buckets and KMS keys that the spec names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from emrctl.spec import BucketSpec, ProjectSpec

Statement = dict[str, Any]
Settings = Mapping[str, str]

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


def policy_document(statements: list[Statement]) -> str:
    """Render the statements as a policy document."""
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def trust_policy(service: str, account: str | None) -> str:
    """Allow `service` to assume the role, on behalf of `account` only where it is set."""
    statement: Statement = {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": "sts:AssumeRole",
    }
    if account is not None:
        # Prevents the confused deputy: EMR using this role for a cluster of another account.
        statement["Condition"] = {"StringEquals": {"aws:SourceAccount": account}}
    return policy_document([statement])


def pass_role_statement(arn: str) -> Statement:
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
    return statements


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
    return statements + _key_statements(project, settings)


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


def service_key_statements(project: ProjectSpec) -> list[Statement]:
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
