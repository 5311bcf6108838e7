"""States of clusters and instances, tags, and paginated lists of instances and objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

# States of EMR clusters.
EMR_ACTIVE = ("STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING")
EMR_READY = ("RUNNING", "WAITING")
EMR_TERMINATING = "TERMINATING"
EMR_TERMINATED = ("TERMINATED", "TERMINATED_WITH_ERRORS")

# States of EC2 instances.
EC2_STARTED = ("pending", "running")
EC2_STOPPED = ("stopping", "stopped")
EC2_EXISTING = (*EC2_STARTED, *EC2_STOPPED)
EC2_TERMINATING = "shutting-down"
EC2_TERMINATED = "terminated"
EC2_GONE = (EC2_TERMINATING, EC2_TERMINATED)


def tags(item: Mapping[str, Any], key: str = "Tags") -> dict[str, str]:
    """Return an item's tags as a mapping; a tag without a value has the value ""."""
    return {tag["Key"]: tag.get("Value") or "" for tag in item.get(key) or ()}


def instances(ec2: Any, **arguments: Any) -> Iterator[dict[str, Any]]:
    """Yield the instances that `describe_instances` returns, with the account as `OwnerId`."""
    for page in ec2.get_paginator("describe_instances").paginate(**arguments):
        for reservation in page["Reservations"]:
            for item in reservation["Instances"]:
                yield {"OwnerId": reservation.get("OwnerId", ""), **item}


def objects(s3: Any, bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
    """Yield S3's description of each object whose key starts with `prefix`.

    Folder markers (empty objects of S3's console and of Hadoop's S3A since 3.4) are skipped. `s3`
    is a boto3 client.
    """
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        yield from (item for item in page.get("Contents", ()) if not item["Key"].endswith("/"))
