"""AWS's lists as they are worked with: tags as a mapping, EC2's instances of all pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def tags(item: Mapping[str, Any], key: str = "Tags") -> dict[str, str]:
    """An item's tags as a mapping; a tag without a value has an empty one."""
    return {tag["Key"]: tag.get("Value", "") for tag in item.get(key) or ()}


def instances(ec2: Any, **asked: Any) -> Iterator[dict[str, Any]]:
    """EC2's description of each instance asked for, with its account as `OwnerId`.

    `ec2` is a boto3 client, `asked` are the arguments of its `describe_instances`.
    """
    for page in ec2.get_paginator("describe_instances").paginate(**asked):
        for reservation in page["Reservations"]:
            for item in reservation["Instances"]:
                yield {"OwnerId": reservation.get("OwnerId", ""), **item}
