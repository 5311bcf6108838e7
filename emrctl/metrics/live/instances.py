"""A cluster's instances and their lives: which were there when, what a run's time of them cost."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from emrctl.aws.listing import instances, tags
from emrctl.metrics.model import Record
from emrctl.metrics.timeline import Span, overlap

Price = Callable[[str, bool], float]
"""US dollars an hour of an instance type, with EMR's fee; True for spot."""


_MOMENT = re.compile(r"\((\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (?:GMT|UTC)\)")


@dataclass(frozen=True, kw_only=True)
class Instance(Record):
    """One instance of a cluster, from its creation to its end; `group` is a group's or fleet's."""

    id: str
    ec2_id: str = ""
    type: str = ""
    spot: bool = False
    group: str = ""
    state: str = ""
    created_ms: int | None = None
    ready_ms: int | None = None
    ended_ms: int | None = None


def read(emr: Any, cluster_id: str) -> tuple[Instance, ...]:
    """All instances that the cluster ever had, the ended ones too; `emr` is a boto3 client.

    EMR forgets a cluster's instances two months after its end.
    """
    pages = emr.get_paginator("list_instances").paginate(ClusterId=cluster_id)
    found = (_instance(item) for page in pages for item in page["Instances"])
    return tuple(sorted(found, key=lambda item: (item.created_ms or 0, item.id)))


def read_machines(ec2: Any, primary_id: str) -> tuple[Instance, ...]:
    """The instances of a cluster of EC2 instances, those of its stack; `ec2` is a boto3 client.

    EC2 forgets an instance an hour after its end. One that was stopped counts from its last start.
    """
    [primary] = instances(ec2, InstanceIds=[primary_id])
    stack = {"Name": "tag:emrctl:stack", "Values": [tags(primary)["emrctl:stack"]]}
    found = map(_machine, instances(ec2, Filters=[stack]))
    return tuple(sorted(found, key=lambda item: (item.created_ms or 0, item.id)))


def _machine(item: dict[str, Any]) -> Instance:
    launched = _ms(item.get("LaunchTime"))
    return Instance(
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
    """When it was stopped or ended: EC2 says so only in words, `… (2026-11-20 13:05:10 GMT)`."""
    if item["State"]["Name"] in {"pending", "running"}:
        return None
    found = _MOMENT.search(item.get("StateTransitionReason", ""))
    if found is None:
        return None
    moment = datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    return _ms(moment)


def _instance(item: dict[str, Any]) -> Instance:
    status = item.get("Status", {})
    timeline = status.get("Timeline", {})
    return Instance(
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


def hours(instance: Instance, span: Span) -> float:
    """Hours of `span` in which the instance was there and paid for: from when it was ready."""
    begin = instance.ready_ms if instance.ready_ms is not None else instance.created_ms
    if begin is None:
        return 0.0
    return overlap(span, (begin, max(begin, instance.ended_ms or span[1]))) / 3_600_000


def cost_usd(instances: Iterable[Instance], span: Span, price: Price) -> float | None:
    """What the instances cost during `span`; None where there are none, or one has no price."""
    from emrctl.errors import SpecError

    shares = [(item, hours(item, span)) for item in instances]
    if not shares:
        return None
    try:
        return sum(share * price(item.type, item.spot) for item, share in shares if share)
    except SpecError:
        return None
