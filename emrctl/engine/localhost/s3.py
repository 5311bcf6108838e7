"""S3 resource types: a bucket and its settings."""

from __future__ import annotations

from dataclasses import dataclass

from emrctl.aws.errors import RejectedRequestError, get_or_none
from emrctl.engine.localhost.resource_type import (
    ApiResource,
    Aws,
    Inputs,
    Outputs,
    ResourceType,
    tag_list,
    user_tags,
)

_PROJECT_TAG = "emrctl:project"
_NO_BUCKET = ("404", "NoSuchBucket")
_BLOCKS = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
_PUBLIC_ACCESS = {
    f"{name[:1].lower()}{name[1:]}": f"PublicAccessBlockConfiguration.{name}" for name in _BLOCKS
}


class _Bucket(ApiResource):
    """A bucket with tags."""

    def create(self, aws: Aws, inputs: Inputs) -> str:
        """Create the bucket; raise `RejectedRequestError` if it exists.

        A bucket that a stopped emulator has left is added to the stack if it is the project's.
        """
        name = str(inputs["bucket"])
        if self._is_of_earlier_emulator(aws, name, inputs):
            return name
        if self.describe(aws, name) is not None:
            # In us-east-1 creating an existing bucket succeeds, and `down` would delete it.
            msg = f"the bucket '{name}' exists already, but is not part of the stack"
            hint = "Set storage.bucket to another name, or delete the bucket."
            raise RejectedRequestError(msg, hint=hint)
        extra = {}
        if aws.target.region != "us-east-1":
            extra = {"CreateBucketConfiguration": {"LocationConstraint": aws.target.region}}
        self.call(aws, 0, Bucket=name, **extra)
        return name

    def settle(self, aws: Aws, id_: str, inputs: Inputs) -> None:
        """Tag the bucket, which the stack has already if the tags are rejected."""
        self.update(aws, id_, inputs, frozenset({"tags"}))

    def read(self, aws: Aws, id_: str, _inputs: Inputs) -> Outputs | None:
        if self.describe(aws, id_) is None:
            return None
        region = aws.target.region
        return {
            "arn": f"arn:aws:s3:::{id_}",
            "bucketDomainName": f"{id_}.s3.amazonaws.com",
            "bucketRegionalDomainName": f"{id_}.s3.{region}.amazonaws.com",
            "region": region,
        }

    def observe(self, aws: Aws, id_: str, _inputs: Inputs) -> Outputs:
        s3 = aws.client("s3")
        response = get_or_none(lambda: s3.get_bucket_tagging(Bucket=id_), "NoSuchTagSet")
        return {"bucket": id_, "tags": user_tags(response or {}, "TagSet")}

    def update(self, aws: Aws, id_: str, inputs: Inputs, keys: frozenset[str]) -> None:
        if "tags" in keys:
            tags = {"TagSet": tag_list(inputs.get("tags"))}
            aws.client("s3").put_bucket_tagging(Bucket=id_, Tagging=tags)

    def _is_of_earlier_emulator(self, aws: Aws, name: str, inputs: Inputs) -> bool:
        """Return whether the bucket is this project's and existed before the emulator started."""
        buckets = aws.client("s3").list_buckets()["Buckets"]
        created = {item["Name"]: item["CreationDate"] for item in buckets}
        if name not in created or created[name].timestamp() >= aws.target.started:
            return False
        project = self.observe(aws, name, inputs)["tags"].get(_PROJECT_TAG)
        return project is not None and project == (inputs.get("tags") or {}).get(_PROJECT_TAG)


@dataclass(frozen=True, kw_only=True)
class _BucketSetting(ApiResource):
    """A setting of a bucket, whose name is the resource's id."""

    service: str = "s3"
    key: tuple[str, ...] = ("Bucket",)
    unique: tuple[str, ...] = ("bucket",)

    def find(self, aws: Aws, inputs: Inputs) -> str:
        """Set it again: this resumes an interrupted creation."""
        return self.create(aws, inputs)


class _Versioning(_BucketSetting):
    """The versioning of a bucket, which cannot be removed from it."""

    def observe(self, aws: Aws, id_: str, _inputs: Inputs) -> Outputs:
        current = self.describe(aws, id_) or {}
        return {"versioningConfiguration": {"status": current.get("Status", "Disabled")}}

    def delete(self, aws: Aws, id_: str, inputs: Inputs) -> None:
        """Do nothing: the bucket keeps its versioning."""


class _PublicAccessBlock(_BucketSetting):
    """The blocks of public access to a bucket."""

    def observe(self, aws: Aws, id_: str, _inputs: Inputs) -> Outputs:
        current = (self.describe(aws, id_) or {})["PublicAccessBlockConfiguration"]
        names = zip(_PUBLIC_ACCESS, _BLOCKS, strict=True)
        return {key: current.get(name, False) for key, name in names}


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:s3/bucket:Bucket": _Bucket(
        service="s3",
        operations=("create_bucket", "head_bucket", "delete_bucket"),
        arguments={"bucket": "Bucket"},
        key=("Bucket",),
        missing=_NO_BUCKET,
        updates=frozenset({"tags", "forceDestroy"}),
        unique=("bucket",),
    ),
    "aws:s3/bucketVersioning:BucketVersioning": _Versioning(
        operations=("put_bucket_versioning", "get_bucket_versioning", ""),
        arguments={
            "bucket": "Bucket",
            "versioningConfiguration": "VersioningConfiguration",
        },
        missing=_NO_BUCKET,
        updates=frozenset({"versioningConfiguration"}),
    ),
    (
        "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
    ): _BucketSetting(
        operations=("put_bucket_encryption", "get_bucket_encryption", "delete_bucket_encryption"),
        arguments={"bucket": "Bucket", "rules": "ServerSideEncryptionConfiguration.Rules"},
        missing=(*_NO_BUCKET, "ServerSideEncryptionConfigurationNotFoundError"),
        updates=frozenset({"rules"}),
    ),
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": _PublicAccessBlock(
        operations=(
            "put_public_access_block",
            "get_public_access_block",
            "delete_public_access_block",
        ),
        arguments={"bucket": "Bucket", **_PUBLIC_ACCESS},
        missing=(*_NO_BUCKET, "NoSuchPublicAccessBlockConfiguration"),
        updates=frozenset(_PUBLIC_ACCESS),
    ),
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": _BucketSetting(
        operations=(
            "put_bucket_ownership_controls",
            "get_bucket_ownership_controls",
            "delete_bucket_ownership_controls",
        ),
        arguments={"bucket": "Bucket", "rule": "OwnershipControls.Rules[]"},
        missing=(*_NO_BUCKET, "OwnershipControlsNotFoundError"),
        updates=frozenset({"rule"}),
    ),
    "aws:s3/bucketPolicy:BucketPolicy": _BucketSetting(
        operations=("put_bucket_policy", "get_bucket_policy", "delete_bucket_policy"),
        arguments={"bucket": "Bucket", "policy": "Policy"},
        missing=(*_NO_BUCKET, "NoSuchBucketPolicy"),
        updates=frozenset({"policy"}),
    ),
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": _BucketSetting(
        operations=(
            "put_bucket_lifecycle_configuration",
            "get_bucket_lifecycle_configuration",
            "delete_bucket_lifecycle",
        ),
        arguments={"bucket": "Bucket", "rules": "LifecycleConfiguration.Rules"},
        missing=(*_NO_BUCKET, "NoSuchLifecycleConfiguration"),
        updates=frozenset({"rules"}),
    ),
}
