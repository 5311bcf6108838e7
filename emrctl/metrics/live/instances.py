"""A cluster's instances over time, and their cost during a run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from emrctl.aws.listing import EC2_STARTED, instances, tags
from emrctl.metrics.model import Record
from emrctl.metrics.timeline import Span, overlap

Price = Callable[[str, bool], float | None]
"""Returns USD per hour of an instance type, None if unknown; the flag is True for spot."""

_MOMENT = re.compile(r"\((\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (?:GMT|UTC)\)")


@dataclass(frozen=True, kw_only=True)
class InstanceUse(Record):
    """One instance of a cluster with its times; `group` is the id of its group or fleet."""

    id: str
    ec2_id: str = ""
    type: str = ""
    spot: bool = False
    group: str = ""
    state: str = ""
    created_ms: int | None = None
    ready_ms: int | None = None
    ended_ms: int | None = None


def list_emr_instances(emr: Any, cluster_id: str) -> tuple[InstanceUse, ...]:
    """Return all instances of the cluster, including terminated ones; `emr` is a boto3 client.

    EMR keeps them for two months after the cluster has terminated.
    """
    pages = emr.get_paginator("list_instances").paginate(ClusterId=cluster_id)
    uses = (_emr_instance(item) for page in pages for item in page["Instances"])
    return tuple(sorted(uses, key=lambda item: (item.created_ms or 0, item.id)))


def list_ec2_instances(ec2: Any, primary_id: str) -> tuple[InstanceUse, ...]:
    """Return the instances of an EC2 cluster's stack; `ec2` is a boto3 client.

    EC2 keeps an instance for an hour after its termination. One that was stopped counts from its
    last start.
    """
    [primary] = instances(ec2, InstanceIds=[primary_id])
    stack = {"Name": "tag:emrctl:stack", "Values": [tags(primary)["emrctl:stack"]]}
    uses = map(_ec2_instance, instances(ec2, Filters=[stack]))
    return tuple(sorted(uses, key=lambda item: (item.created_ms or 0, item.id)))


def _ec2_instance(item: dict[str, Any]) -> InstanceUse:
    launched = _ms(item.get("LaunchTime"))
    return InstanceUse(
        id=str(item["InstanceId"]),
        ec2_id=str(item["InstanceId"]),
        type=str(item.get("InstanceType", "")),
        spot=item.get("InstanceLifecycle") == "spot",
        group=tags(item).get("emrctl:role", ""),
        state=str(item["State"]["Name"]).upper(),
        created_ms=launched,
        ready_ms=launched,
        ended_ms=_ended_ms(item),
    )


def _ended_ms(item: dict[str, Any]) -> int | None:
    """When it was stopped or terminated: EC2 has it only in text, `… (2026-11-20 13:05:10 GMT)`."""
    if item["State"]["Name"] in EC2_STARTED:
        return None
    match = _MOMENT.search(item.get("StateTransitionReason", ""))
    if match is None:
        return None
    moment = datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    return _ms(moment)


def _emr_instance(item: dict[str, Any]) -> InstanceUse:
    status = item.get("Status", {})
    timeline = status.get("Timeline", {})
    return InstanceUse(
        id=str(item.get("Id", "")),
        ec2_id=str(item.get("Ec2InstanceId", "")),
        type=str(item.get("InstanceType", "")),
        spot=item.get("Market") == "SPOT",
        group=str(item.get("InstanceGroupId") or item.get("InstanceFleetId") or ""),
        state=str(status.get("State", "")),
        created_ms=_ms(timeline.get("CreationDateTime")),
        ready_ms=_ms(timeline.get("ReadyDateTime")),
        ended_ms=_ms(timeline.get("EndDateTime")),
    )


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else round(moment.timestamp() * 1000)


def hours(instance: InstanceUse, span: Span) -> float:
    """Return the billed hours of the instance in `span`: from when it was ready."""
    begin = instance.ready_ms if instance.ready_ms is not None else instance.created_ms
    if begin is None:
        return 0.0
    return overlap(span, (begin, max(begin, instance.ended_ms or span[1]))) / 3_600_000


def cost_usd(instances: Iterable[InstanceUse], span: Span, price: Price) -> float | None:
    """Return the cost of the instances in `span`; None without instances or a price."""
    shares = [(item, hours(item, span)) for item in instances]
    if not shares:
        return None
    total = 0.0
    for item, share in shares:
        hourly_usd = price(item.type, item.spot) if share else 0.0
        if hourly_usd is None:
            return None
        total += share * hourly_usd
    return total
