"""S3 resource types: a bucket and its settings."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from emrctl.aws.errors import RejectedRequestError, get_or_none
from emrctl.engine.localhost.resource_type import (
    Aws,
    Inputs,
    Outputs,
    ResourceType,
    tag_list,
    user_tags,
)

_NO_BUCKET = ("404", "NoSuchBucket")


def _create(aws: Aws, inputs: Inputs) -> str:
    name = str(inputs["bucket"])
    if _find(aws, inputs) is not None:
        # In us-east-1 creating an existing bucket succeeds, and `down` would delete it.
        msg = f"the bucket '{name}' exists already, but is not part of the stack"
        hint = "Set another storage.bucket, or import it: `emrctl import`."
        raise RejectedRequestError(msg, hint=hint)
    extra = {}
    if aws.target.region != "us-east-1":
        extra = {"CreateBucketConfiguration": {"LocationConstraint": aws.target.region}}
    aws.client("s3").create_bucket(Bucket=name, **extra)
    _tag(aws, name, inputs)
    return name


def _find(aws: Aws, inputs: Inputs) -> str | None:
    name = str(inputs["bucket"])
    response = get_or_none(lambda: aws.client("s3").head_bucket(Bucket=name), *_NO_BUCKET)
    return None if response is None else name


def _read(aws: Aws, name: str, _inputs: Inputs) -> Outputs | None:
    if _find(aws, {"bucket": name}) is None:
        return None
    region = aws.target.region
    return {
        "arn": f"arn:aws:s3:::{name}",
        "bucketDomainName": f"{name}.s3.amazonaws.com",
        "bucketRegionalDomainName": f"{name}.s3.{region}.amazonaws.com",
        "region": region,
    }


def _observe(aws: Aws, name: str, _inputs: Inputs) -> Outputs:
    s3 = aws.client("s3")
    response = get_or_none(lambda: s3.get_bucket_tagging(Bucket=name), "NoSuchTagSet")
    return {"bucket": name, "tags": user_tags(response or {}, "TagSet")}


def _update(aws: Aws, name: str, inputs: Inputs, keys: frozenset[str]) -> None:
    if "tags" in keys:
        _tag(aws, name, inputs)


def _tag(aws: Aws, name: str, inputs: Inputs) -> None:
    tags = {"TagSet": tag_list(inputs.get("tags"))}
    aws.client("s3").put_bucket_tagging(Bucket=name, Tagging=tags)


def _delete(aws: Aws, name: str, _inputs: Inputs) -> None:
    get_or_none(lambda: aws.client("s3").delete_bucket(Bucket=name), *_NO_BUCKET)


@dataclass(frozen=True, kw_only=True)
class BucketSetting:
    """A setting of a bucket: operations of S3's API, and conversions from and to inputs."""

    put: str
    arguments: Callable[[Inputs], dict[str, Any]]
    get: str
    delete: str | None
    # Error code of `get` if the bucket does not have the setting.
    missing: str = ""
    inputs: Callable[[dict[str, Any]], Outputs] | None = None


def _put(setting: BucketSetting, aws: Aws, inputs: Inputs) -> str:
    name = str(inputs["bucket"])
    getattr(aws.client("s3"), setting.put)(Bucket=name, **setting.arguments(inputs))
    return name


def _replace(
    setting: BucketSetting, aws: Aws, _name: str, inputs: Inputs, _keys: frozenset[str]
) -> None:
    _put(setting, aws, inputs)


def _get(setting: BucketSetting, aws: Aws, name: str, _inputs: Inputs) -> Outputs | None:
    call = functools.partial(getattr(aws.client("s3"), setting.get), Bucket=name)
    return None if get_or_none(call, *_NO_BUCKET, setting.missing) is None else {}


def _observe_setting(setting: BucketSetting, aws: Aws, name: str, _inputs: Inputs) -> Outputs:
    if setting.inputs is None:
        return {}
    return setting.inputs(getattr(aws.client("s3"), setting.get)(Bucket=name))


def _remove(setting: BucketSetting, aws: Aws, name: str, _inputs: Inputs) -> None:
    if setting.delete is not None:
        call = functools.partial(getattr(aws.client("s3"), setting.delete), Bucket=name)
        get_or_none(call, *_NO_BUCKET, setting.missing)


def _setting_type(setting: BucketSetting, *keys: str) -> ResourceType:
    return ResourceType(
        create=functools.partial(_put, setting),
        read=functools.partial(_get, setting),
        update=functools.partial(_replace, setting),
        delete=functools.partial(_remove, setting),
        observe=functools.partial(_observe_setting, setting),
        # Resumes an interrupted creation.
        find=lambda aws, inputs: _put(setting, aws, inputs),
        updates=frozenset(keys),
        replaces=frozenset({"bucket"}),
        unique=("bucket",),
    )


def _pascal(value: Any) -> Any:
    """Convert Pulumi's names to those of S3's API: `noncurrentDays` to NoncurrentDays."""
    if isinstance(value, dict):
        return {
            _SPECIAL_NAMES.get(key, key[:1].upper() + key[1:]): _pascal(v)
            for key, v in value.items()
        }
    return [_pascal(item) for item in value] if isinstance(value, list) else value


_SPECIAL_NAMES = {
    "id": "ID",
    "sseAlgorithm": "SSEAlgorithm",
    "kmsMasterKeyId": "KMSMasterKeyID",
    "applyServerSideEncryptionByDefault": "ApplyServerSideEncryptionByDefault",
}
_BLOCKS = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")


def _versioning(inputs: Inputs) -> dict[str, Any]:
    return {"VersioningConfiguration": _pascal(inputs["versioningConfiguration"])}


def _versioning_inputs(response: dict[str, Any]) -> Outputs:
    return {"versioningConfiguration": {"status": response.get("Status", "Disabled")}}


def _public_access_inputs(response: dict[str, Any]) -> Outputs:
    current = response["PublicAccessBlockConfiguration"]
    return {key: current.get(key[:1].upper() + key[1:], False) for key in _BLOCKS}


def _encryption(inputs: Inputs) -> dict[str, Any]:
    return {"ServerSideEncryptionConfiguration": {"Rules": _pascal(inputs["rules"])}}


def _lifecycle(inputs: Inputs) -> dict[str, Any]:
    return {"LifecycleConfiguration": {"Rules": _pascal(inputs["rules"])}}


def _public_access(inputs: Inputs) -> dict[str, Any]:
    blocks = {key: bool(inputs.get(key)) for key in _BLOCKS}
    return {"PublicAccessBlockConfiguration": _pascal(blocks)}


def _ownership(inputs: Inputs) -> dict[str, Any]:
    return {"OwnershipControls": {"Rules": [_pascal(inputs["rule"])]}}


def _policy(inputs: Inputs) -> dict[str, Any]:
    policy = inputs["policy"]
    return {"Policy": policy if isinstance(policy, str) else json.dumps(policy)}


RESOURCE_TYPES = {
    "aws:s3/bucket:Bucket": ResourceType(
        create=_create,
        read=_read,
        update=_update,
        delete=_delete,
        find=_find,
        observe=_observe,
        updates=frozenset({"tags", "forceDestroy"}),
        replaces=frozenset({"bucket"}),
        unique=("bucket",),
    ),
    "aws:s3/bucketVersioning:BucketVersioning": _setting_type(
        # Versioning cannot be removed from a bucket.
        BucketSetting(
            put="put_bucket_versioning",
            arguments=_versioning,
            get="get_bucket_versioning",
            delete=None,
            inputs=_versioning_inputs,
        ),
        "versioningConfiguration",
    ),
    (
        "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
    ): _setting_type(
        BucketSetting(
            put="put_bucket_encryption",
            arguments=_encryption,
            get="get_bucket_encryption",
            delete="delete_bucket_encryption",
            missing="ServerSideEncryptionConfigurationNotFoundError",
        ),
        "rules",
    ),
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": _setting_type(
        BucketSetting(
            put="put_public_access_block",
            arguments=_public_access,
            get="get_public_access_block",
            delete="delete_public_access_block",
            missing="NoSuchPublicAccessBlockConfiguration",
            inputs=_public_access_inputs,
        ),
        *_BLOCKS,
    ),
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": _setting_type(
        BucketSetting(
            put="put_bucket_ownership_controls",
            arguments=_ownership,
            get="get_bucket_ownership_controls",
            delete="delete_bucket_ownership_controls",
            missing="OwnershipControlsNotFoundError",
        ),
        "rule",
    ),
    "aws:s3/bucketPolicy:BucketPolicy": _setting_type(
        BucketSetting(
            put="put_bucket_policy",
            arguments=_policy,
            get="get_bucket_policy",
            delete="delete_bucket_policy",
            missing="NoSuchBucketPolicy",
        ),
        "policy",
    ),
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": _setting_type(
        BucketSetting(
            put="put_bucket_lifecycle_configuration",
            arguments=_lifecycle,
            get="get_bucket_lifecycle_configuration",
            delete="delete_bucket_lifecycle",
            missing="NoSuchLifecycleConfiguration",
        ),
        "rules",
    ),
}
