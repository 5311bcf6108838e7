"""A cluster's nodes over time: samples of their use, and instances with their cost during a run.

Samples are taken while a run is watched, and thinned to a fixed number. CPU and physical memory are
those of the processes in YARN's containers: EMR's scheduler counts one vcore per container
regardless of the request, so vcores do not show CPU use.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from emrctl.aws.listing import EC2_STARTED, instances, tags
from emrctl.metrics.model import ClusterAccount, NodeAccount, QueueAccount
from emrctl.metrics.record import Record
from emrctl.metrics.timeline import Span, overlap

# Above twice this number every second sample is dropped and the interval doubles.
_MAX_SAMPLES = 256
_GONE = frozenset({"LOST", "UNHEALTHY", "SHUTDOWN", "DECOMMISSIONED", "REBOOTED"})


@dataclass(frozen=True, kw_only=True)
class NodeSample(Record):
    """Nodes and queues at one time."""

    at_ms: int
    containers_pending: int = 0
    nodes: tuple[NodeAccount, ...] = ()
    queues: tuple[QueueAccount, ...] = ()


@dataclass(frozen=True, kw_only=True)
class NodeUse(Record):
    """Means and peaks of one node over the samples; None if not measured.

    `memory_used_mb_mean` and `_peak` are YARN's allocation.
    """

    id: str
    samples: int = 0
    memory_total_mb: int = 0
    memory_used_mb_mean: float = 0.0
    memory_used_mb_peak: int = 0
    physical_memory_mb_peak: int | None = None
    cpu_cores_mean: float | None = None
    cpu_cores_peak: float | None = None
    lost_ms: int | None = None


@dataclass(frozen=True, kw_only=True)
class NodeHistory(Record):
    """One node at the times `at_ms` of its samples; None where a value is not measured."""

    id: str
    cores: int
    memory_total_mb: int
    at_ms: tuple[int, ...]
    cpu_cores: tuple[float | None, ...]
    physical_mb: tuple[int | None, ...]
    allocated_mb: tuple[int, ...]


def sample(at_ms: int, account: ClusterAccount) -> NodeSample:
    """Return the cluster's account as a sample."""
    return NodeSample(
        at_ms=at_ms,
        containers_pending=account.containers_pending,
        nodes=account.nodes,
        queues=account.queues,
    )


class Samples:
    """Samples in order of time, at even intervals and limited in number."""

    def __init__(self, interval_ms: int, earlier: Iterable[NodeSample] = ()) -> None:
        self.taken = list(earlier)
        self._interval_ms = interval_ms
        self._thin()

    def due(self, at_ms: int) -> bool:
        """Return whether the interval since the last sample has passed."""
        return not self.taken or at_ms - self.taken[-1].at_ms >= self._interval_ms

    def add(self, item: NodeSample) -> None:
        """Add a sample."""
        self.taken.append(item)
        self._thin()

    def _thin(self) -> None:
        while len(self.taken) > 2 * _MAX_SAMPLES:
            self.taken = self.taken[::2]
            self._interval_ms *= 2

    def lines(self) -> bytes:
        """Return the samples as JSON lines."""
        return b"".join(json.dumps(item.to_json()).encode() + b"\n" for item in self.taken)


def read(lines: bytes | None) -> list[NodeSample]:
    """Parse what `Samples.lines` wrote; truncated lines are skipped."""
    samples = []
    for line in (lines or b"").splitlines():
        try:
            samples.append(msgspec.json.decode(line, type=NodeSample))
        except (ValueError, RecursionError, msgspec.MsgspecError):
            continue
    return samples


def histories(samples: Sequence[NodeSample]) -> tuple[NodeHistory, ...]:
    """Return each node over time, without nodes lost before the first sample."""
    return tuple(
        NodeHistory(
            id=name,
            cores=max(node.vcores_total for _, node in seen),
            memory_total_mb=max(node.memory_total_mb for _, node in seen),
            at_ms=tuple(at for at, _ in seen),
            cpu_cores=tuple(node.cpu_cores for _, node in seen),
            physical_mb=tuple(node.physical_mb for _, node in seen),
            allocated_mb=tuple(node.memory_used_mb for _, node in seen),
        )
        for name, seen in _present(samples)
    )


def use(samples: Sequence[NodeSample]) -> tuple[NodeUse, ...]:
    """Return the use of each node over all samples, without nodes lost before the first one."""
    return tuple(_use(name, seen) for name, seen in _present(samples))


def _present(samples: Sequence[NodeSample]) -> list[tuple[str, list[tuple[int, NodeAccount]]]]:
    """Return the samples of each node. YARN keeps listing nodes that have left the cluster."""
    by_node: dict[str, list[tuple[int, NodeAccount]]] = {}
    for item in samples:
        for node in item.nodes:
            by_node.setdefault(node.id, []).append((item.at_ms, node))
    return sorted(item for item in by_node.items() if item[1][0][1].state not in _GONE)


def _use(name: str, seen: list[tuple[int, NodeAccount]]) -> NodeUse:
    nodes = [node for _, node in seen]
    cpu = [node.cpu_cores for node in nodes if node.cpu_cores is not None]
    physical = [node.physical_mb for node in nodes if node.physical_mb is not None]
    return NodeUse(
        id=name,
        samples=len(nodes),
        memory_total_mb=max(node.memory_total_mb for node in nodes),
        memory_used_mb_mean=round(sum(node.memory_used_mb for node in nodes) / len(nodes), 1),
        memory_used_mb_peak=max(node.memory_used_mb for node in nodes),
        physical_memory_mb_peak=max(physical, default=None),
        cpu_cores_mean=round(sum(cpu) / len(cpu), 3) if cpu else None,
        cpu_cores_peak=max(cpu, default=None),
        lost_ms=next((at for at, node in seen if node.state in _GONE), None),
    )


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
