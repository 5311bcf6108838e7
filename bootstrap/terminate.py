#!/usr/bin/env python3
"""Terminate all EC2 instances of a stack, including the caller's.

    terminate.py REGION STACK

The instances are those whose tag `emrctl:stack` is STACK. Exits with 1 if EC2 refuses.
"""

from __future__ import annotations

import sys
from typing import Any

STATES = ["pending", "running", "stopping", "stopped"]


def main(region: str, stack: str) -> None:
    """Terminate them in one call, so that the caller's instance does not end first."""
    import boto3

    ec2 = boto3.client("ec2", region_name=region)
    filters: Any = [
        {"Name": "tag:emrctl:stack", "Values": [stack]},
        {"Name": "instance-state-name", "Values": STATES},
    ]
    pages = ec2.get_paginator("describe_instances").paginate(Filters=filters)
    instance_ids = [
        instance["InstanceId"]
        for page in pages
        for reservation in page["Reservations"]
        for instance in reservation["Instances"]
    ]
    print(f"terminate.py: {stack}: {', '.join(instance_ids) or 'no instances'}", flush=True)
    if instance_ids:
        ec2.terminate_instances(InstanceIds=instance_ids)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: terminate.py REGION STACK")
    main(*sys.argv[1:])
