"""What may be done, as IAM's documents: for exactly the buckets and keys that the spec names."""

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


def document(statements: list[Statement]) -> str:
    """The statements as one policy."""
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def trust(service: str, account: str | None) -> str:
    """`service` may take the role; with `account` only on that account's behalf."""
    statement: Statement = {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": "sts:AssumeRole",
    }
    if account is not None:
        # Else EMR could be led to use this role for a cluster of another account.
        statement["Condition"] = {"StringEquals": {"aws:SourceAccount": account}}
    return document([statement])


def pass_role(arn: str) -> Statement:
    """The managed policy passes `EMR_EC2_DefaultRole` alone: ours must be named."""
    return {
        "Sid": "PassNodeRole",
        "Effect": "Allow",
        "Action": "iam:PassRole",
        "Resource": arn,
        "Condition": {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}},
    }


def nodes(project: ProjectSpec, settings: Settings, bucket: str) -> list[Statement]:
    """The project's bucket, the further ones of the spec, scripts that lie elsewhere, keys."""
    arn = f"arn:aws:s3:::{bucket}"
    lists = [f"s3:{action}" for action in (*_LIST, _LIST_UPLOADS)]
    found = [
        _allow("Bucket", lists, arn),
        _allow("Objects", [f"s3:{action}" for action in _WRITE], f"{arn}/*"),
    ]
    for index, item in enumerate(project.cluster.buckets):
        found += _bucket(f"Bucket{index}", item)
    found += _wheelhouse(project, bucket)
    elsewhere = _objects_elsewhere(project, bucket)
    if elsewhere:
        found.append(_allow("ScriptsAndCertificates", ["s3:GetObject"], elsewhere))
    if project.cluster.limited:
        found += _end_itself(project, settings)
    return [*found, *_node_keys(project, settings)]


def _end_itself(project: ProjectSpec, settings: Settings) -> list[Statement]:
    """A cluster's id is not known before it is there: its stack's tag names it."""
    where = f"{settings['region']}:{settings['account']}"
    if project.cluster.kind == "emr":
        clusters = f"arn:aws:elasticmapreduce:{where}:cluster/*"
        end = _allow("EndItself", ["elasticmapreduce:TerminateJobFlows"], clusters)
        end["Condition"] = _of_the_stack("aws:ResourceTag", project)
        return [end]
    end = _allow("EndItself", ["ec2:TerminateInstances"], f"arn:aws:ec2:{where}:instance/*")
    end["Condition"] = _of_the_stack("ec2:ResourceTag", project)
    # EC2 lets no listing be limited to instances; it can be to the region.
    look = _allow("FindItself", ["ec2:DescribeInstances"], "*")
    look["Condition"] = {"StringEquals": {"ec2:Region": settings["region"]}}
    return [end, look]


def _of_the_stack(tag: str, project: ProjectSpec) -> Statement:
    return {"StringEquals": {f"{tag}/emrctl:stack": project.cluster_stack}}


def _bucket(sid: str, item: BucketSpec) -> list[Statement]:
    arn = f"arn:aws:s3:::{item.name}"
    prefix = item.prefix.strip("/")
    below = f"{prefix}/*" if prefix else "*"
    writes = item.access == "write"
    lists = (*_LIST, _LIST_UPLOADS) if writes else _LIST
    listing = _allow(sid, [f"s3:{action}" for action in lists], arn)
    found = [listing]
    if prefix:
        # No condition of a prefix comes with GetBucketLocation: it would never be allowed.
        listing["Action"] = ["s3:ListBucket"]
        listing["Condition"] = {"StringLike": {"s3:prefix": [prefix, below]}}
        rest = [f"s3:{action}" for action in lists if action != "ListBucket"]
        found.append(_allow(f"{sid}Location", rest, arn))
    objects = [f"s3:{action}" for action in (_WRITE if writes else _READ)]
    return [*found, _allow(f"{sid}Objects", objects, f"{arn}/{below}")]


def _wheelhouse(project: ProjectSpec, bucket: str) -> list[Statement]:
    """What lies in a wheelhouse may be listed; reading it is a matter of objects."""
    place = project.cluster.wheelhouse if project.cluster.kind == "ec2" else None
    if place is None or place.removeprefix("s3://").partition("/")[0] == bucket:
        return []
    name, _, prefix = place.removeprefix("s3://").rstrip("/").partition("/")
    statement = _allow("Wheelhouse", ["s3:ListBucket"], f"arn:aws:s3:::{name}")
    if prefix:
        statement["Condition"] = {"StringLike": {"s3:prefix": [prefix, f"{prefix}/*"]}}
    return [statement]


def _objects_elsewhere(project: ProjectSpec, bucket: str) -> list[str]:
    """Objects outside the project's bucket that the spec names one by one."""
    spec = project.cluster
    uris = [action.script for action in spec.bootstrap if action.script.startswith("s3://")]
    if spec.kind == "emr":
        uris += [spec.security.in_transit] if spec.security.in_transit else []
    elif spec.wheelhouse is not None:
        uris.append(f"{spec.wheelhouse.rstrip('/')}/*")
    paths = dict.fromkeys(uri.removeprefix("s3://") for uri in uris)
    return [f"arn:aws:s3:::{path}" for path in paths if not path.startswith(f"{bucket}/")]


def _node_keys(project: ProjectSpec, settings: Settings) -> list[Statement]:
    spec = project.cluster
    found: list[Statement] = []
    if project.storage.kms_key is not None:
        found.append(_key("Key", project.storage.kms_key, settings))
    for index, item in enumerate(spec.buckets):
        if item.kms_key is not None:
            found.append(_key(f"Bucket{index}Key", item.kms_key, settings))
    if spec.security.disk_key is not None:
        found.append(_allow("DiskKey", list(_DISK_KEY), spec.security.disk_key))
    if spec.kind == "emr" and spec.security.log_key is not None:
        actions = ["kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"]
        found.append(_allow("LogKey", actions, spec.security.log_key))
    return found


def service_keys(project: ProjectSpec) -> list[Statement]:
    """What EMR itself may do with the keys of disks and logs."""
    spec = project.emr.security
    found: list[Statement] = []
    if spec.disk_key is not None:
        grant = _allow("DiskKeyGrant", ["kms:CreateGrant"], spec.disk_key)
        # EC2 attaches encrypted volumes by a grant; nothing else may be granted.
        grant["Condition"] = {"Bool": {"kms:GrantIsForAWSResource": "true"}}
        found += [_allow("DiskKey", list(_DISK_KEY), spec.disk_key), grant]
    if spec.log_key is not None:
        found.append(_allow("LogKey", ["kms:DescribeKey", "kms:GenerateDataKey"], spec.log_key))
    return found


def _key(sid: str, key: str, settings: Settings) -> Statement:
    """The one key of a bucket; an alias is no resource, so it stands in a condition."""
    keys = f"arn:aws:kms:{settings['region']}:{settings['account']}:key"
    alias = key.rpartition(":")[2]
    if not alias.startswith("alias/"):
        return _allow(sid, list(_USE_KEY), key if key.startswith("arn:") else f"{keys}/{key}")
    statement = _allow(sid, list(_USE_KEY), f"{keys}/*")
    statement["Condition"] = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": alias}}
    return statement


def _allow(sid: str, actions: list[str], resource: str | list[str]) -> Statement:
    return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resource}
