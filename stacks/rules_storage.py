"""Rules of the bucket."""

from __future__ import annotations

import json
from collections.abc import Iterator

from stacks.rules import Resources, listed, rule

_ACCESS = {
    "blockPublicAcls": "CKV_AWS_53",
    "blockPublicPolicy": "CKV_AWS_54",
    "ignorePublicAcls": "CKV_AWS_55",
    "restrictPublicBuckets": "CKV_AWS_56",
}


def _has_all(found: Resources, kind: str) -> Iterator[str]:
    """Each bucket has a resource of `kind` that speaks of it."""
    spoken = {item.inputs.get("bucket") for item in found.of(kind)}
    for item in found.of("Bucket"):
        if item.inputs.get("bucket") not in spoken:
            yield f"{item.name} has no {kind}"


@rule("public access is blocked in all four ways", *_ACCESS.values(), "CKV2_AWS_6", "S3.8")
def _blocked(found: Resources) -> Iterator[str]:
    yield from _has_all(found, "BucketPublicAccessBlock")
    for item in found.of("BucketPublicAccessBlock"):
        yield from (f"{item.name}: {key} is off" for key in _ACCESS if not item.inputs.get(key))


@rule("no public reading or writing by ACL", "CKV_AWS_20", "CKV_AWS_57", "S3.2", "S3.3")
def _no_public_acl(found: Resources) -> Iterator[str]:
    for item in (*found.of("Bucket"), *found.of("BucketAcl")):
        if str(item.inputs.get("acl", "private")).startswith("public"):
            yield f"{item.name}: {item.inputs['acl']}"


@rule("ACLs are off", "CKV2_AWS_65", "S3.12")
def _no_acls(found: Resources) -> Iterator[str]:
    yield from _has_all(found, "BucketOwnershipControls")
    for item in found.of("BucketOwnershipControls"):
        if item.inputs["rule"].get("objectOwnership") != "BucketOwnerEnforced":
            yield f"{item.name}: {item.inputs['rule']}"


@rule("objects are encrypted", "CKV_AWS_19", "S3.4")
def _encrypted(found: Resources) -> Iterator[str]:
    yield from _has_all(found, "BucketServerSideEncryptionConfiguration")


@rule("objects are encrypted with a key of KMS", "CKV_AWS_145", "S3.17")
def _kms(found: Resources) -> Iterator[str]:
    for item in found.of("BucketServerSideEncryptionConfiguration"):
        defaults = [each["applyServerSideEncryptionByDefault"] for each in item.inputs["rules"]]
        if any(each["sseAlgorithm"] != "aws:kms" for each in defaults):
            yield f"{item.name}: {defaults[0]['sseAlgorithm']}"


@rule("versions are kept", "CKV_AWS_21", "S3.14")
def _versioned(found: Resources) -> Iterator[str]:
    yield from _has_all(found, "BucketVersioning")
    for item in found.of("BucketVersioning"):
        status = item.inputs["versioningConfiguration"]["status"]
        if status != "Enabled":
            yield f"{item.name}: {status}"


@rule("what is old expires", "CKV2_AWS_61", "S3.13", "S3.10")
def _expires(found: Resources) -> Iterator[str]:
    yield from _has_all(found, "BucketLifecycleConfiguration")


@rule("unfinished uploads expire", "CKV_AWS_300")
def _uploads(found: Resources) -> Iterator[str]:
    for item in found.of("BucketLifecycleConfiguration"):
        if not any("abortIncompleteMultipartUpload" in each for each in item.inputs["rules"]):
            yield f"{item.name}: no rule aborts them"


@rule("what comes without TLS is denied", "CKV_AWS_379", "S3.5")
def _tls(found: Resources) -> Iterator[str]:
    yield from _has_all(found, "BucketPolicy")
    for item in found.of("BucketPolicy"):
        if not any(_denies_plain(each) for each in json.loads(item.inputs["policy"])["Statement"]):
            yield f"{item.name}: plain HTTP is not denied"


def _denies_plain(statement: dict[str, object]) -> bool:
    condition = statement.get("Condition")
    return statement["Effect"] == "Deny" and condition == {"Bool": {"aws:SecureTransport": "false"}}


@rule("the bucket's policy lets in nobody else", "CKV_AWS_70", "S3.6")
def _nobody_else(found: Resources) -> Iterator[str]:
    for item in found.of("BucketPolicy"):
        for each in json.loads(item.inputs["policy"])["Statement"]:
            if each["Effect"] == "Allow" and "*" in listed(each["Principal"]):
                yield f"{item.name}: allows everybody"


@rule("who used the bucket is logged", "CKV_AWS_18", "S3.9")
def _logged(found: Resources) -> Iterator[str]:
    yield from _has_all(found, "BucketLogging")


@rule("the bucket is copied to another region", "CKV_AWS_144")
def _replicated(found: Resources) -> Iterator[str]:
    yield from _has_all(found, "BucketReplicationConfig")


@rule("changes of the bucket are told to somebody", "CKV2_AWS_62")
def _told(found: Resources) -> Iterator[str]:
    yield from _has_all(found, "BucketNotification")
