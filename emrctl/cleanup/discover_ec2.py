"""EC2 instances as things: primaries stand for their clusters, and workers beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from emrctl.aws.listing import tags
from emrctl.cleanup.discover_network import thing
from emrctl.cleanup.resources import CLUSTER, Thing, expiry
from emrctl.clusters.ec2 import first_made
from emrctl.cost.resource import instance, total

if TYPE_CHECKING:
    from emrctl.aws.target import Target

ROLE_TAG = "emrctl:role"
INSTANCE = "instance"


def machine(target: Target, item: dict[str, Any], disks: Mapping[str, float]) -> Thing:
    """An instance; one that stands still costs no more than its disks."""
    marks, state = tags(item), item["State"]["Name"]
    cost: float | None = 0.0
    if state not in {"stopping", "stopped"}:
        spot = item.get("InstanceLifecycle") == "spot"
        cost = instance(item["InstanceType"], target.region, emr=False, spot=spot)
    primary = marks.get(ROLE_TAG) == "primary"
    own = thing(target, CLUSTER if primary else INSTANCE, item["InstanceId"], marks)
    made = first_made(item)
    return replace(
        own,
        name=own.stack if primary else own.name,
        state=state,
        created=made,
        expires=expiry(marks, made),
        hourly_usd=total([cost, disks.get(item["InstanceId"], 0.0)]),
    )
