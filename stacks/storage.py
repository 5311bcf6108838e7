"""The bucket of a project: runs, logs, code and data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pulumi

from emrctl.spec import ProjectSpec, StorageSpec
from stacks import names
from stacks.sdk import s3


def bucket(project: ProjectSpec, settings: Mapping[str, str]) -> s3.Bucket:
    """A bucket that is private, encrypted, reached over TLS alone, and hard to delete."""
    made = s3.Bucket(
        "bucket",
        bucket=names.bucket(project, settings),
        tags=names.tags(project, project.storage_stack),
        opts=pulumi.ResourceOptions(protect=True),
    )
    access = _private(made)
    _encrypted(made, project.storage)
    s3.BucketPolicy(
        "tls-only",
        bucket=made.bucket,
        policy=made.arn.apply(_tls_only),
        # S3 refuses two changes of one bucket's access at the same time.
        opts=pulumi.ResourceOptions(depends_on=access),
    )
    _kept(made, project.storage)
    if project.storage.access_logs is not None:
        s3.BucketLogging(
            "access-logs",
            bucket=made.bucket,
            target_bucket=project.storage.access_logs,
            target_prefix=f"{project.project}/",
        )
    return made


def _private(made: s3.Bucket) -> list[pulumi.Resource]:
    """No public access by policy or ACL, and no ACLs at all."""
    block = s3.BucketPublicAccessBlock(
        "public-access",
        bucket=made.bucket,
        block_public_acls=True,
        block_public_policy=True,
        ignore_public_acls=True,
        restrict_public_buckets=True,
    )
    ownership = s3.BucketOwnershipControls(
        "ownership",
        bucket=made.bucket,
        rule={"object_ownership": "BucketOwnerEnforced"},
        opts=pulumi.ResourceOptions(depends_on=[block]),
    )
    return [block, ownership]


def _encrypted(made: s3.Bucket, spec: StorageSpec) -> None:
    default: dict[str, Any] = {"sse_algorithm": "AES256"}
    if spec.kms_key is not None:
        default = {"sse_algorithm": "aws:kms", "kms_master_key_id": spec.kms_key}
    rule: dict[str, Any] = {"apply_server_side_encryption_by_default": default}
    if spec.kms_key is not None:
        # One data key for many objects: without it every small object costs a KMS request.
        rule["bucket_key_enabled"] = True
    s3.BucketServerSideEncryptionConfiguration("encryption", bucket=made.bucket, rules=[rule])


def _tls_only(arn: str) -> str:
    statement = {
        "Sid": "EnforceTLS",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [arn, f"{arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _kept(made: s3.Bucket, spec: StorageSpec) -> None:
    """Old versions, logs and unfinished uploads go after their days; all else stays."""
    versioning = s3.BucketVersioning(
        "versioning",
        bucket=made.bucket,
        versioning_configuration={"status": "Enabled" if spec.versioning else "Suspended"},
    )
    s3.BucketLifecycleConfiguration(
        "lifecycle",
        bucket=made.bucket,
        rules=[*_log_rules(spec), _upload_rule(spec)],
        opts=pulumi.ResourceOptions(depends_on=[versioning]),
    )


def _log_rules(spec: StorageSpec) -> list[dict[str, Any]]:
    days = spec.expire_logs_days
    return [
        {
            "id": "logs",
            "status": "Enabled",
            "filter": {"prefix": "logs/"},
            "expiration": {"days": days},
        },
        {
            "id": "old-versions",
            "status": "Enabled",
            "filter": {"prefix": ""},
            "noncurrent_version_expiration": {"noncurrent_days": days},
        },
    ]


def _upload_rule(spec: StorageSpec) -> dict[str, Any]:
    return {
        "id": "unfinished-uploads",
        "status": "Enabled",
        "filter": {"prefix": ""},
        "abort_incomplete_multipart_upload": {"days_after_initiation": spec.expire_uploads_days},
    }
