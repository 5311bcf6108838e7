"""Buckets, objects and keys that the spec names."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from emrctl import bundled
from emrctl.aws.errors import error_code, get_or_none
from emrctl.aws.listing import tags
from emrctl.provision.preflight.finding import Finding, Look, Topic, error, warning

_GONE = ("404", "NoSuchBucket", "NoSuchKey", "NotFound")
_NOT_MINE = ("403", "AccessDenied", "Forbidden")


def _bucket(look: Look) -> Iterator[Finding]:
    """The project's bucket is free, or ours already."""
    name, another = _name(look), "Set storage.bucket to another name."
    state = _head(look, name)
    if state == "free":
        return
    if state == "theirs":
        yield error("bucket", f"somebody else has the bucket name {name}", another)
        return
    if state != look.target.region:
        hint = f"Set `region: {state}`, or storage.bucket to another name."
        yield error("bucket", f"the bucket {name} is in {state}", hint)
        return
    s3 = look.client("s3")
    found = get_or_none(lambda: s3.get_bucket_tagging(Bucket=name), "NoSuchTagSet") or {}
    if tags(found, "TagSet").get("emrctl:project") != look.project.project:
        hint = "Run `emrctl import` to manage it, or set storage.bucket to another name."
        yield error("bucket", f"the bucket {name} is the account's, but not emrctl's", hint)


def _name(look: Look) -> str:
    bundled.import_stacks()
    from stacks import names

    return names.bucket_name(look.project, {"account": look.account, "region": look.target.region})


def _head(look: Look, name: str) -> str:
    """`free`, `theirs`, or the region that the bucket is in."""
    from botocore.exceptions import ClientError

    try:
        answer = look.client("s3").head_bucket(Bucket=name)
    except ClientError as failure:
        if error_code(failure) in _GONE:
            return "free"
        if error_code(failure) in _NOT_MINE:
            return "theirs"
        headers = failure.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        if "x-amz-bucket-region" not in headers:
            raise
        return str(headers["x-amz-bucket-region"])
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return str(answer.get("BucketRegion") or headers.get("x-amz-bucket-region", look.target.region))


def _others(look: Look) -> Iterator[Finding]:
    """Further buckets that the nodes are to reach, and the one for access logs."""
    wanted = {item.name: "cluster.buckets" for item in look.cluster.buckets}
    if look.project.storage.access_logs:
        wanted[look.project.storage.access_logs] = "storage.access_logs"
    for name, key in wanted.items():
        state = _head(look, name)
        if state == "free":
            yield error("buckets", f"there is no bucket {name}", f"Look at {key}.")
        elif state == "theirs":
            hint = "Another account's bucket must name the nodes' role in its policy."
            yield warning("buckets", f"the caller may not look at the bucket {name}", hint)


def _objects(look: Look) -> Iterator[Finding]:
    """Scripts and certificates that lie on S3 already."""
    spec = look.cluster
    uris = {item.script: "bootstrap script" for item in spec.bootstrap}
    if spec.kind == "emr" and spec.security.in_transit:
        uris[spec.security.in_transit] = "archive of certificates"
    s3 = look.client("s3")
    for uri, what in uris.items():
        if not uri.startswith("s3://"):
            continue
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        asked = {"Bucket": bucket, "Key": key}
        if get_or_none(partial(s3.head_object, **asked), *_GONE) is None:
            hint = "Put it there, or look at the address."
            yield error("objects on S3", f"the {what} {uri} is not there", hint)


def _keys(look: Look) -> Iterator[Finding]:
    """Keys that encrypt are there and enabled."""
    spec = look.cluster
    wanted = {
        "storage.kms_key": look.project.storage.kms_key,
        "security.disk_key": spec.security.disk_key,
        "security.log_key": spec.security.log_key if spec.kind == "emr" else None,
        **{f"the key of bucket {item.name}": item.kms_key for item in look.cluster.buckets},
    }
    for where, key in wanted.items():
        if key is not None:
            yield from _key(look, where, key)


def _key(look: Look, where: str, key: str) -> Iterator[Finding]:
    kms = look.client("kms")
    found: Any = get_or_none(lambda: kms.describe_key(KeyId=key), "NotFoundException")
    if found is None:
        hint = f"Look at {where}: a key belongs to one region."
        yield error("keys", f"there is no key {key} in {look.target.region}", hint)
    elif found["KeyMetadata"]["KeyState"] != "Enabled":
        state = found["KeyMetadata"]["KeyState"]
        yield error("keys", f"{where} {key} is {state}", "Enable it, or take another.")


TOPICS = (
    Topic(about="bucket", check=_bucket),
    Topic(about="buckets", check=_others),
    Topic(about="objects on S3", check=_objects),
    Topic(about="keys", check=_keys),
)
