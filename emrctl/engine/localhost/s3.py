"""S3's resource types: a bucket, and what is set on it."""

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
    pairs,
    tags_of,
)

_GONE = ("404", "NoSuchBucket")


def _create(aws: Aws, inputs: Inputs) -> str:
    name = str(inputs["bucket"])
    if _find(aws, inputs) is not None:
        # In us-east-1 creating one's own bucket again succeeds: `down` would delete the user's.
        msg = f"the bucket '{name}' exists, and no stack here made it"
        hint = "Name another in emrctl.yaml (storage.bucket), or take it over: `emrctl import`."
        raise RejectedRequestError(msg, hint=hint)
    extra = {}
    if aws.target.region != "us-east-1":
        extra = {"CreateBucketConfiguration": {"LocationConstraint": aws.target.region}}
    aws.client("s3").create_bucket(Bucket=name, **extra)
    _tag(aws, name, inputs)
    return name


def _find(aws: Aws, inputs: Inputs) -> str | None:
    name = str(inputs["bucket"])
    found = get_or_none(lambda: aws.client("s3").head_bucket(Bucket=name), *_GONE)
    return None if found is None else name


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
    found = get_or_none(lambda: aws.client("s3").get_bucket_tagging(Bucket=name), "NoSuchTagSet")
    return {"bucket": name, "tags": tags_of((found or {}).get("TagSet"))}


def _update(aws: Aws, name: str, inputs: Inputs, keys: frozenset[str]) -> None:
    if "tags" in keys:
        _tag(aws, name, inputs)


def _tag(aws: Aws, name: str, inputs: Inputs) -> None:
    tags = {"TagSet": pairs(inputs.get("tags"))}
    aws.client("s3").put_bucket_tagging(Bucket=name, Tagging=tags)


def _delete(aws: Aws, name: str, _inputs: Inputs) -> None:
    get_or_none(lambda: aws.client("s3").delete_bucket(Bucket=name), *_GONE)


@dataclass(frozen=True, kw_only=True)
class BucketSetting:
    """Something that is put on a bucket as a whole; `take` gives put's arguments."""

    put: str
    take: Callable[[Inputs], dict[str, Any]]
    get: str
    drop: str | None
    missing: str = ""
    give: Callable[[dict[str, Any]], Outputs] | None = None


def _put(setting: BucketSetting, aws: Aws, inputs: Inputs) -> str:
    name = str(inputs["bucket"])
    getattr(aws.client("s3"), setting.put)(Bucket=name, **setting.take(inputs))
    return name


def _replace(
    setting: BucketSetting, aws: Aws, _name: str, inputs: Inputs, _keys: frozenset[str]
) -> None:
    _put(setting, aws, inputs)


def _get(setting: BucketSetting, aws: Aws, name: str, _inputs: Inputs) -> Outputs | None:
    call = functools.partial(getattr(aws.client("s3"), setting.get), Bucket=name)
    return None if get_or_none(call, *_GONE, setting.missing) is None else {}


def _look(setting: BucketSetting, aws: Aws, name: str, _inputs: Inputs) -> Outputs:
    if setting.give is None:
        return {}
    return setting.give(getattr(aws.client("s3"), setting.get)(Bucket=name))


def _drop(setting: BucketSetting, aws: Aws, name: str, _inputs: Inputs) -> None:
    if setting.drop is not None:
        call = functools.partial(getattr(aws.client("s3"), setting.drop), Bucket=name)
        get_or_none(call, *_GONE, setting.missing)


def _set_on_bucket(setting: BucketSetting, *keys: str) -> ResourceType:
    return ResourceType(
        create=functools.partial(_put, setting),
        read=functools.partial(_get, setting),
        update=functools.partial(_replace, setting),
        delete=functools.partial(_drop, setting),
        observe=functools.partial(_look, setting),
        # Putting it once more is all that an interrupted create needs.
        find=lambda aws, inputs: _put(setting, aws, inputs),
        updates=frozenset(keys),
        replaces=frozenset({"bucket"}),
        unique=("bucket",),
    )


def _pascal(value: Any) -> Any:
    """Pulumi's names as S3's API has them: `noncurrentDays` is NoncurrentDays, `id` is ID."""
    if isinstance(value, dict):
        return {_ODD.get(key, key[:1].upper() + key[1:]): _pascal(v) for key, v in value.items()}
    return [_pascal(item) for item in value] if isinstance(value, list) else value


_ODD = {
    "id": "ID",
    "sseAlgorithm": "SSEAlgorithm",
    "kmsMasterKeyId": "KMSMasterKeyID",
    "applyServerSideEncryptionByDefault": "ApplyServerSideEncryptionByDefault",
}
_BLOCKS = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")


def _versioning(inputs: Inputs) -> dict[str, Any]:
    return {"VersioningConfiguration": _pascal(inputs["versioningConfiguration"])}


def _versioned(found: dict[str, Any]) -> Outputs:
    return {"versioningConfiguration": {"status": found.get("Status", "Disabled")}}


def _blocked(found: dict[str, Any]) -> Outputs:
    now = found["PublicAccessBlockConfiguration"]
    return {key: now.get(key[:1].upper() + key[1:], False) for key in _BLOCKS}


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
    "aws:s3/bucketVersioning:BucketVersioning": _set_on_bucket(
        # Versioning cannot be taken away again; it goes with the bucket.
        BucketSetting(
            put="put_bucket_versioning",
            take=_versioning,
            get="get_bucket_versioning",
            drop=None,
            give=_versioned,
        ),
        "versioningConfiguration",
    ),
    (
        "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
    ): _set_on_bucket(
        BucketSetting(
            put="put_bucket_encryption",
            take=_encryption,
            get="get_bucket_encryption",
            drop="delete_bucket_encryption",
            missing="ServerSideEncryptionConfigurationNotFoundError",
        ),
        "rules",
    ),
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": _set_on_bucket(
        BucketSetting(
            put="put_public_access_block",
            take=_public_access,
            get="get_public_access_block",
            drop="delete_public_access_block",
            missing="NoSuchPublicAccessBlockConfiguration",
            give=_blocked,
        ),
        *_BLOCKS,
    ),
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": _set_on_bucket(
        BucketSetting(
            put="put_bucket_ownership_controls",
            take=_ownership,
            get="get_bucket_ownership_controls",
            drop="delete_bucket_ownership_controls",
            missing="OwnershipControlsNotFoundError",
        ),
        "rule",
    ),
    "aws:s3/bucketPolicy:BucketPolicy": _set_on_bucket(
        BucketSetting(
            put="put_bucket_policy",
            take=_policy,
            get="get_bucket_policy",
            drop="delete_bucket_policy",
            missing="NoSuchBucketPolicy",
        ),
        "policy",
    ),
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": _set_on_bucket(
        BucketSetting(
            put="put_bucket_lifecycle_configuration",
            take=_lifecycle,
            get="get_bucket_lifecycle_configuration",
            drop="delete_bucket_lifecycle",
            missing="NoSuchLifecycleConfiguration",
        ),
        "rules",
    ),
}
