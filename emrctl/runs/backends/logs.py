"""A step's logs as they lie on S3, in the layout that EMR has and emrctl's own clusters share."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from typing import TYPE_CHECKING

from emrctl.aws.listing import objects
from emrctl.runs.backends.base import LogFile

if TYPE_CHECKING:
    from emrctl.aws.target import Target

_GZIP = b"\x1f\x8b"


def root_of(log_uri: str, cluster_id: str) -> tuple[str, str]:
    """Bucket and prefix, without a slash at its end, of a cluster's logs."""
    _, _, rest = log_uri.partition("://")
    bucket, _, prefix = rest.partition("/")
    return bucket, f"{prefix.rstrip('/')}/{cluster_id}".lstrip("/")


def below(target: Target, place: tuple[str, str], folder: str) -> Iterator[LogFile]:
    """Every log below the bucket's prefix, which ends in a slash, under names in `folder`."""
    bucket, prefix = place
    s3 = target.client("s3")
    for item in objects(s3, bucket, prefix):
        key = item["Key"]
        body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        # The suffix can be missing or wrong: the bytes tell.
        text = gzip.decompress(body) if body.startswith(_GZIP) else body
        name = key.removeprefix(prefix).removesuffix(".gz")
        yield LogFile(name=f"{folder}/{name}", uri=f"s3://{bucket}/{key}", text=text)
