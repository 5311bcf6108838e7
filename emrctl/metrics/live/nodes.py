"""A cluster's nodes over time: samples taken while a run is watched, thinned to a fixed number.

Memory is what YARN allocated and CPU what the machines used: EMR's scheduler counts one vcore per
container regardless of the request, so vcores do not show CPU use.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from emrctl.metrics.model import ClusterAccount, NodeAccount, QueueAccount, Record

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
    """Means and peaks of one node over the samples; None if not measured."""

    id: str
    samples: int = 0
    memory_total_mb: int = 0
    memory_used_mb_mean: float = 0.0
    memory_used_mb_peak: int = 0
    physical_memory_mb_peak: int | None = None
    cpu_cores_mean: float | None = None
    cpu_cores_peak: float | None = None
    lost_ms: int | None = None


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
            samples.append(NodeSample.from_json(json.loads(line)))
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
    return samples


def use(samples: Sequence[NodeSample]) -> tuple[NodeUse, ...]:
    """Return the use of each node over all samples, without nodes lost before the first one.

    YARN keeps listing nodes that have left the cluster.
    """
    by_node: dict[str, list[tuple[int, NodeAccount]]] = {}
    for item in samples:
        for node in item.nodes:
            by_node.setdefault(node.id, []).append((item.at_ms, node))
    present = {name: seen for name, seen in by_node.items() if seen[0][1].state not in _GONE}
    return tuple(_use(name, present[name]) for name in sorted(present))


def _use(name: str, seen: list[tuple[int, NodeAccount]]) -> NodeUse:
    nodes = [node for _, node in seen]
    cpu = [node.cpu_used_cores for node in nodes if node.cpu_used_cores is not None]
    physical = [n.physical_memory_used_mb for n in nodes if n.physical_memory_used_mb is not None]
    return NodeUse(
        id=name,
        samples=len(nodes),
        memory_total_mb=max(node.memory_used_mb + node.memory_available_mb for node in nodes),
        memory_used_mb_mean=round(sum(node.memory_used_mb for node in nodes) / len(nodes), 1),
        memory_used_mb_peak=max(node.memory_used_mb for node in nodes),
        physical_memory_mb_peak=max(physical, default=None),
        cpu_cores_mean=round(sum(cpu) / len(cpu), 3) if cpu else None,
        cpu_cores_peak=max(cpu, default=None),
        lost_ms=next((at for at, node in seen if node.state in _GONE), None),
    )
