"""The S3 bucket of a project, for runs, logs, code and data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pulumi

from emrctl.aws.s3 import LOG_PREFIX, PRIVATE_PREFIX
from emrctl.spec import ProjectSpec, StorageSpec
from stacks import names
from stacks.sdk import s3


def declare_bucket(project: ProjectSpec, settings: Mapping[str, str]) -> s3.Bucket:
    """Declare a private, encrypted, TLS-only bucket that is protected from deletion."""
    bucket = s3.Bucket(
        "bucket",
        bucket=names.bucket_name(project, settings),
        tags=names.stack_tags(project, project.storage_stack),
        opts=pulumi.ResourceOptions(protect=True),
    )
    access = _block_public_access(bucket)
    _encrypt(bucket, project.storage)
    s3.BucketPolicy(
        "tls-only",
        bucket=bucket.bucket,
        policy=bucket.arn.apply(_tls_only_policy),
        # S3 rejects concurrent changes of a bucket's access settings.
        opts=pulumi.ResourceOptions(depends_on=access),
    )
    _expire_objects(bucket, project.storage)
    if project.storage.access_logs is not None:
        s3.BucketLogging(
            "access-logs",
            bucket=bucket.bucket,
            target_bucket=project.storage.access_logs,
            target_prefix=f"{project.project}/",
        )
    return bucket


def _block_public_access(bucket: s3.Bucket) -> list[pulumi.Resource]:
    """Block public access by policy and ACL, and disable ACLs."""
    block = s3.BucketPublicAccessBlock(
        "public-access",
        bucket=bucket.bucket,
        block_public_acls=True,
        block_public_policy=True,
        ignore_public_acls=True,
        restrict_public_buckets=True,
    )
    ownership = s3.BucketOwnershipControls(
        "ownership",
        bucket=bucket.bucket,
        rule={"object_ownership": "BucketOwnerEnforced"},
        opts=pulumi.ResourceOptions(depends_on=[block]),
    )
    return [block, ownership]


def _encrypt(bucket: s3.Bucket, spec: StorageSpec) -> None:
    default: dict[str, Any] = {"sse_algorithm": "AES256"}
    if spec.kms_key is not None:
        default = {"sse_algorithm": "aws:kms", "kms_master_key_id": spec.kms_key}
    rule: dict[str, Any] = {"apply_server_side_encryption_by_default": default}
    if spec.kms_key is not None:
        # Without a bucket key every object costs a KMS request.
        rule["bucket_key_enabled"] = True
    s3.BucketServerSideEncryptionConfiguration("encryption", bucket=bucket.bucket, rules=[rule])


def _tls_only_policy(arn: str) -> str:
    statement = {
        "Sid": "EnforceTLS",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [arn, f"{arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _expire_objects(bucket: s3.Bucket, spec: StorageSpec) -> None:
    """Expire logs, private objects, old versions and incomplete uploads; keep everything else."""
    versioning = s3.BucketVersioning(
        "versioning",
        bucket=bucket.bucket,
        versioning_configuration={"status": "Enabled" if spec.versioning else "Suspended"},
    )
    days = spec.expire_logs_days
    uploads = {"days_after_initiation": spec.expire_uploads_days}
    s3.BucketLifecycleConfiguration(
        "lifecycle",
        bucket=bucket.bucket,
        rules=[
            _lifecycle_rule("logs", LOG_PREFIX, {"expiration": {"days": days}}),
            _lifecycle_rule(
                "old-versions", "", {"noncurrent_version_expiration": {"noncurrent_days": days}}
            ),
            # emrctl deletes them when a run has finished, unless no client is left to do it.
            _lifecycle_rule(
                "private",
                PRIVATE_PREFIX,
                {
                    "expiration": {"days": 1},
                    "noncurrent_version_expiration": {"noncurrent_days": 1},
                },
            ),
            _lifecycle_rule(
                "unfinished-uploads", "", {"abort_incomplete_multipart_upload": uploads}
            ),
        ],
        opts=pulumi.ResourceOptions(depends_on=[versioning]),
    )


def _lifecycle_rule(id_: str, prefix: str, action: dict[str, Any]) -> dict[str, Any]:
    return {"id": id_, "status": "Enabled", "filter": {"prefix": prefix}, **action}
