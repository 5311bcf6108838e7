"""Buckets, objects and KMS keys in the spec."""

from __future__ import annotations

from collections.abc import Iterator

from emrctl import bundled
from emrctl.aws import rules
from emrctl.aws.errors import error_code, get_or_none
from emrctl.aws.listing import tags
from emrctl.aws.s3 import split_uri
from emrctl.provision.preflight.finding import (
    PreflightCheck,
    PreflightContext,
    PreflightFinding,
    error,
    warning,
)

_NOT_FOUND = ("404", "NoSuchBucket", "NoSuchKey", "NotFound")
_FORBIDDEN = ("403", "AccessDenied", "Forbidden")


def _check_bucket(context: PreflightContext) -> Iterator[PreflightFinding]:
    """Check that the project's bucket can be created, or belongs to the project."""
    bundled.import_stacks()
    from stacks.names import bucket_name

    settings = {"account": context.account, "region": context.region}
    name, rename = bucket_name(context.project, settings), "Set storage.bucket to another name."
    region = _bucket_region(context, name)
    if region is None:
        return
    if not region:
        yield error(f"the bucket name {name} is taken by another account", rename)
        return
    if region != context.region:
        hint = f"Set `region: {region}`, or storage.bucket to another name."
        yield error(f"the bucket {name} is in {region}", hint)
        return
    tagging = get_or_none(context.client("s3").get_bucket_tagging, "NoSuchTagSet", Bucket=name)
    if tags(tagging or {}, "TagSet").get("emrctl:project") != context.project.project:
        hint = "Run `emrctl import` to manage it, or set storage.bucket to another name."
        yield error(f"the bucket {name} exists and was not created by emrctl", hint)


def _bucket_region(context: PreflightContext, name: str) -> str | None:
    """Return the bucket's region; None if it does not exist, empty if access is denied."""
    from botocore.exceptions import ClientError

    try:
        answer = context.client("s3").head_bucket(Bucket=name)
    except ClientError as failure:
        if error_code(failure) in _NOT_FOUND:
            return None
        if error_code(failure) in _FORBIDDEN:
            return ""
        headers = failure.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        if "x-amz-bucket-region" not in headers:
            raise
        return str(headers["x-amz-bucket-region"])
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return str(answer.get("BucketRegion") or headers.get("x-amz-bucket-region", context.region))


def _check_other_buckets(context: PreflightContext) -> Iterator[PreflightFinding]:
    """Check the buckets that the nodes may access, and the one for access logs."""
    buckets = {item.name: "cluster.buckets" for item in context.cluster.buckets}
    if context.project.storage.access_logs:
        buckets[context.project.storage.access_logs] = "storage.access_logs"
    for name, key in buckets.items():
        region = _bucket_region(context, name)
        if region is None:
            yield error(f"there is no bucket {name}", f"Check {key}.")
        elif not region:
            hint = "Another account's bucket needs a policy that allows the nodes' role."
            yield warning(f"the caller has no access to the bucket {name}", hint)


def _check_objects(context: PreflightContext) -> Iterator[PreflightFinding]:
    """Check scripts and certificates on S3."""
    spec = context.cluster
    uris = {item.script: "bootstrap script" for item in spec.bootstrap}
    if spec.security.in_transit:
        uris[spec.security.in_transit] = "certificate archive"
    for uri, what in uris.items():
        if uri.startswith("s3://"):
            bucket, key = split_uri(uri)
            request = context.client("s3").head_object
            if get_or_none(request, *_NOT_FOUND, Bucket=bucket, Key=key) is None:
                hint = "Upload it, or correct the URI."
                yield error(f"the {what} {uri} does not exist", hint)
            elif uri != spec.security.in_transit:
                yield from _check_script(context, uri)


def _check_script(context: PreflightContext, uri: str) -> Iterator[PreflightFinding]:
    bucket, key = split_uri(uri)
    request = context.client("s3").get_object
    answer = get_or_none(request, *_FORBIDDEN, Bucket=bucket, Key=key)  # the nodes may have access
    fault = rules.script_fault(answer["Body"].read()) if answer else None
    if fault:
        yield error(f"{uri}:{fault[0]}: {fault[1]}", "Correct the script and upload it again.")


def _check_wheelhouse(context: PreflightContext) -> Iterator[PreflightFinding]:
    uri = context.project.ec2.wheelhouse
    if uri is None:
        return
    bucket, prefix = split_uri(uri.rstrip("/"))
    prefix = f"{prefix}/" if prefix else ""
    s3 = context.client("s3")
    answer = get_or_none(
        s3.list_objects_v2, "NoSuchBucket", Bucket=bucket, Prefix=prefix, MaxKeys=1
    )
    if answer is None or not answer.get("Contents"):
        hint = "Upload the wheels, or omit cluster.wheelhouse."
        yield error(f"{uri} is empty or does not exist", hint)


def _check_keys(context: PreflightContext) -> Iterator[PreflightFinding]:
    """Check that the KMS keys exist and are enabled."""
    spec, kms = context.cluster, context.client("kms")
    keys = {
        "storage.kms_key": context.project.storage.kms_key,
        "security.disk_key": spec.security.disk_key,
        "security.log_key": spec.security.log_key,
        **{f"the key of bucket {item.name}": item.kms_key for item in spec.buckets},
    }
    for setting, key in keys.items():
        if key is None:
            continue
        answer = get_or_none(kms.describe_key, "NotFoundException", KeyId=key)
        if answer is None:
            hint = f"Check {setting}: keys belong to one region."
            yield error(f"there is no key {key} in {context.region}", hint)
        elif (state := answer["KeyMetadata"]["KeyState"]) != "Enabled":
            yield error(f"{setting} {key} is {state}", "Enable it, or use another.")


CHECKS = (
    PreflightCheck(about="bucket", check=_check_bucket),
    PreflightCheck(about="buckets", check=_check_other_buckets),
    PreflightCheck(about="objects on S3", check=_check_objects, needs_account=False),
    PreflightCheck(about="keys", check=_check_keys),
    PreflightCheck(about="wheelhouse", check=_check_wheelhouse, kind="ec2"),
)
