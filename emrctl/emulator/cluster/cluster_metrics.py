"""EMR's cluster metrics for CloudWatch: samples of YARN, HDFS and the cluster, by minute.

EMR writes a point every five minutes. Clusters on localhost are short: a point covers one minute,
with samples when the cluster is ready, every few seconds while a step runs, and after each step.
"""

from __future__ import annotations

import logging
import math
import re
import threading
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from emrctl.emulator.cluster import scaling
from emrctl.emulator.cluster.model import RUNNING, EmulatedCluster, InstanceGroup

_log = logging.getLogger(__name__)

NAMESPACE = "AWS/ElasticMapReduce"
MINUTE_S = 60
CHECK_S = 5.0
# About 1.5 KB each: a week of one cluster.
_MAX_MINUTES = 10_000

# EMR's names, and those of the ResourceManager's /ws/v1/cluster/metrics.
_YARN = {
    "AppsSubmitted": "appsSubmitted",
    "AppsPending": "appsPending",
    "AppsRunning": "appsRunning",
    "AppsCompleted": "appsCompleted",
    "AppsFailed": "appsFailed",
    "AppsKilled": "appsKilled",
    "ContainerAllocated": "containersAllocated",
    "ContainerReserved": "containersReserved",
    "ContainerPending": "containersPending",
    "MemoryTotalMB": "totalMB",
    "MemoryAvailableMB": "availableMB",
    "MemoryAllocatedMB": "allocatedMB",
    "MemoryReservedMB": "reservedMB",
    "MRTotalNodes": "totalNodes",
    "MRActiveNodes": "activeNodes",
    "MRLostNodes": "lostNodes",
    "MRUnhealthyNodes": "unhealthyNodes",
    "MRDecommissionedNodes": "decommissionedNodes",
    "MRRebootedNodes": "rebootedNodes",
}
# EMR's names, and those of the NameNode's MBeans.
_HDFS = {
    "MissingBlocks": "MissingReplicatedBlocks",
    "CorruptBlocks": "CorruptReplicatedBlocks",
    "UnderReplicatedBlocks": "UnderReplicatedBlocks",
    "PendingDeletionBlocks": "PendingDeletionBlocks",
    "DfsPendingReplicationBlocks": "PendingReplicationBlocks",
    "TotalLoad": "TotalLoad",
}
# Units of managed scaling policies, and what EMR calls them in metrics of their clusters.
_SCALING_UNITS = {"Instances": "Nodes", "VCPU": "VCPU", "InstanceFleetUnits": "Units"}
_UNITS = {
    "IsIdle": "None",
    **dict.fromkeys(
        ("YARNMemoryAvailablePercentage", "HDFSUtilization", "LiveDataNodes"), "Percent"
    ),
    **dict.fromkeys((*_YARN, *_HDFS, "CapacityRemainingGB", "ContainerPendingRatio"), "Count"),
    **{
        f"{role}Nodes{state}": "Count"
        for role in ("Core", "Task")
        for state in ("Running", "Pending")
    },
    **{
        f"{role}{unit}{state}": "Count"
        for role in ("Total", "Core", "Task")
        for unit in _SCALING_UNITS.values()
        for state in ("Requested", "Running")
    },
}
METRICS = tuple(_UNITS)
_INDEX = {name: index for index, name in enumerate(METRICS)}


def unit(name: str) -> str:
    """Return the unit of a metric, as CloudWatch calls it."""
    return _UNITS[name]


def metric_values(
    cluster: EmulatedCluster, yarn: Mapping[str, float], hdfs: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Return the metrics of the cluster now.

    `yarn` are the ResourceManager's, `hdfs` the NameNode's; {} or None if unknown.
    A ResourceManager that has just started counts nodes before their memory.
    """
    known = yarn if yarn.get("totalMB") else {}
    values = {name: float(known[key]) for name, key in _YARN.items() if key in known}
    if "ContainerPending" in values:
        # EMR's definition: the number of pending containers if none is allocated.
        allocated = values["ContainerAllocated"]
        values["ContainerPendingRatio"] = values["ContainerPending"] / (allocated or 1)
    if "MemoryTotalMB" in values:
        share = values["MemoryAvailableMB"] / values["MemoryTotalMB"]
        values["YARNMemoryAvailablePercentage"] = 100 * share
    for role in ("Core", "Task"):
        groups = [group for group in cluster.groups if group.role == role.upper()]
        running = sum(n.state == RUNNING and n.group in groups for n in cluster.nodes)
        values[f"{role}NodesRunning"] = running
        values[f"{role}NodesPending"] = max(0, sum(group.count for group in groups) - running)
    values |= _scaling_values(cluster) | _hdfs_values(hdfs or {})
    busy = any(step.unfinished for step in cluster.steps) or values.get("AppsRunning", 0) > 0
    values["IsIdle"] = 0.0 if busy else 1.0
    return values


def _hdfs_values(hdfs: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics of HDFS; LiveDataNodes is the share of those that have registered."""
    values = {name: float(hdfs[key]) for name, key in _HDFS.items() if key in hdfs}
    if hdfs.get("CapacityTotal"):
        values["CapacityRemainingGB"] = hdfs["CapacityRemaining"] / 2**30
        values["HDFSUtilization"] = 100 * hdfs["CapacityUsed"] / hdfs["CapacityTotal"]
    nodes = hdfs.get("NumLiveDataNodes", 0) + hdfs.get("NumDeadDataNodes", 0)
    if nodes:
        values["LiveDataNodes"] = 100 * hdfs["NumLiveDataNodes"] / nodes
    return values


def _scaling_values(cluster: EmulatedCluster) -> dict[str, float]:
    """Return the requested and running capacity of a cluster with managed scaling."""
    if cluster.managed_scaling is None:
        return {}
    unit = cluster.managed_scaling["ComputeLimits"]["UnitType"]
    values = dict.fromkeys(("TotalRequested", "TotalRunning"), 0.0)
    for role in ("Core", "Task"):
        groups = [group for group in cluster.groups if group.role == role.upper()]
        running = [n for n in cluster.nodes if n.state == RUNNING and n.group in groups]
        requested = sum(_requested_units(group, cluster, unit) for group in groups)
        values[f"{role}Requested"] = requested
        values[f"{role}Running"] = sum(
            scaling.units(node.instance_type, node.units, unit) for node in running
        )
        values["TotalRequested"] += requested
        values["TotalRunning"] += values[f"{role}Running"]
    state = re.compile("(?=Requested|Running)")
    return {state.sub(_SCALING_UNITS[unit], name): value for name, value in values.items()}


def _requested_units(group: InstanceGroup, cluster: EmulatedCluster, unit: str) -> int:
    """Return the units that are requested; those of a fleet's missing nodes by its first type."""
    if unit == "InstanceFleetUnits":
        return sum(group.targets.values())
    types = [node.instance_type for node in cluster.staying_nodes(group)[: group.count]]
    types += [group.instance_type] * (group.count - len(types))
    return sum(scaling.units(name, group.weight(name), unit) for name in types)


@dataclass(frozen=True)
class MetricPoint:
    """Statistics of one metric in the minute that begins at `at`, in epoch seconds."""

    at: int
    count: float
    sum: float
    minimum: float
    maximum: float


class _Minute:
    """Counts, sums, minima and maxima of all metrics in one minute."""

    __slots__ = ("counts", "maxima", "minima", "sums")

    def __init__(self) -> None:
        size = len(METRICS)
        self.counts, self.sums = array("d", [0.0] * size), array("d", [0.0] * size)
        self.minima, self.maxima = array("d", [math.inf] * size), array("d", [-math.inf] * size)

    def add(self, index: int, value: float) -> None:
        self.counts[index] += 1
        self.sums[index] += value
        self.minima[index] = min(self.minima[index], value)
        self.maxima[index] = max(self.maxima[index], value)


@dataclass(eq=False)
class MetricStore:
    """Metrics of clusters by minute; above `limit` minutes in all, the oldest are dropped."""

    limit: int = _MAX_MINUTES
    _clusters: dict[str, dict[int, _Minute]] = field(default_factory=dict)
    _regions: dict[str, str] = field(default_factory=dict)
    _order: deque[tuple[str, int]] = field(default_factory=deque)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, cluster: EmulatedCluster, at: float, values: Mapping[str, float]) -> None:
        """Add one sample of each metric."""
        minute = int(at) // MINUTE_S * MINUTE_S
        with self._lock:
            self._regions[cluster.id] = cluster.region
            minutes = self._clusters.setdefault(cluster.id, {})
            if minute not in minutes:
                minutes[minute] = _Minute()
                self._order.append((cluster.id, minute))
            for name, value in values.items():
                minutes[minute].add(_INDEX[name], value)
            while len(self._order) > self.limit:
                self._drop_oldest()

    def _drop_oldest(self) -> None:
        cluster_id, minute = self._order.popleft()
        del self._clusters[cluster_id][minute]
        if not self._clusters[cluster_id]:
            del self._clusters[cluster_id], self._regions[cluster_id]

    def points(
        self, region: str, cluster_id: str, name: str, start: float, end: float
    ) -> list[MetricPoint]:
        """Return the points of a metric from `start` until before `end`, in order of time."""
        if self._regions.get(cluster_id) != region or name not in _INDEX:
            return []
        index = _INDEX[name]
        with self._lock:
            minutes = sorted(self._clusters.get(cluster_id, {}).items())
        return [
            MetricPoint(
                at, one.counts[index], one.sums[index], one.minima[index], one.maxima[index]
            )
            for at, one in minutes
            if start <= at < end and one.counts[index]
        ]

    def names(self, region: str) -> Iterator[tuple[str, str]]:
        """Yield the id of each cluster of the region with each of its metrics."""
        with self._lock:
            ids = [one for one, its_region in self._regions.items() if its_region == region]
        for cluster_id in ids:
            minutes = list(self._clusters.get(cluster_id, {}).values())
            for name, index in _INDEX.items():
                if any(one.counts[index] for one in minutes):
                    yield cluster_id, name


class MetricRuntime(Protocol):
    """Runs the YARN and HDFS of clusters."""

    def yarn_metrics(self, cluster: EmulatedCluster) -> Mapping[str, float]:
        """Return `clusterMetrics` of the ResourceManager; {} if it does not answer."""

    def hdfs_metrics(self, cluster: EmulatedCluster) -> Mapping[str, float]:
        """Return the numbers of the NameNode's MBeans of states; {} if HDFS is not running."""


@dataclass(kw_only=True)
class MetricSampler:
    """Samples the metrics of a cluster."""

    cluster: EmulatedCluster
    runtime: MetricRuntime
    store: MetricStore
    clock: Callable[[], float] = time.time
    last_minute: int = 0

    def check(self) -> None:
        """Sample if it is due."""
        if self.due():
            self.sample()

    def due(self) -> bool:
        """Whether another minute has begun or a step is running."""
        busy = any(step.running for step in self.cluster.steps)
        return busy or int(self.clock()) // MINUTE_S != self.last_minute

    def sample(self) -> None:
        """Store the metrics of the cluster now; errors are logged."""
        try:
            yarn = self.runtime.yarn_metrics(self.cluster)
            hdfs = self.runtime.hdfs_metrics(self.cluster)
            values = metric_values(self.cluster, yarn, hdfs)
        except Exception:  # noqa: BLE001
            _log.exception("could not sample the metrics of %s", self.cluster.id)
            return
        at = self.clock()
        if yarn.get("totalMB"):
            # Otherwise YARN has just started: the first minute would have no memory.
            self.last_minute = int(at) // MINUTE_S
        self.store.add(self.cluster, at, values)
