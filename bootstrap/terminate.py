#!/usr/bin/env python3
"""Every instance of a stack is told to terminate, the caller's own among them.

    terminate.py REGION STACK

What belongs to the stack is what has its tag `emrctl:stack`. Exit code 1 where EC2 refuses.
"""

from __future__ import annotations

import sys
from typing import Any

STANDING = ["pending", "running", "stopping", "stopped"]


def main(region: str, stack: str) -> None:
    """All of them in one call: whichever makes it does not go before the others."""
    import boto3

    ec2 = boto3.client("ec2", region_name=region)
    filters: Any = [
        {"Name": "tag:emrctl:stack", "Values": [stack]},
        {"Name": "instance-state-name", "Values": STANDING},
    ]
    pages = ec2.get_paginator("describe_instances").paginate(Filters=filters)
    ids = [
        instance["InstanceId"]
        for page in pages
        for reservation in page["Reservations"]
        for instance in reservation["Instances"]
    ]
    print(f"terminate.py: {stack}: {', '.join(ids) or 'no instance is left'}", flush=True)
    if ids:
        ec2.terminate_instances(InstanceIds=ids)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: terminate.py REGION STACK")
    main(*sys.argv[1:])
