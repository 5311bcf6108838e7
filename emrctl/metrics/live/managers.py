"""Accounts of applications and the cluster, from YARN or from Spark's standalone master.

EMR's scheduler considers memory only and counts one vcore per container regardless of the request:
vcores of YARN are numbers of containers, not CPU. A standalone master has no tags, so an
application is found by the run's tag in its name; it counts allocated cores and memory and measures
no use.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from emrctl import redact
from emrctl.metrics.live.rest import Fetch, fetch_or_none, rows, section
from emrctl.metrics.model import ApplicationAccount, ClusterAccount, NodeAccount, QueueAccount

_YARN_ROOT = "/ws/v1/cluster"


@dataclass(frozen=True)
class ResourceManager:
    """YARN's ResourceManager; `fetch` takes paths below its address."""

    fetch: Fetch

    def application(self, app_id: str) -> ApplicationAccount | None:
        """Return the account of `app_id`; None if YARN does not answer or has removed it.

        YARN removes finished applications, at the latest when the ResourceManager restarts.
        """
        path = f"{_YARN_ROOT}/apps/{app_id}"
        app = section(fetch_or_none(self.fetch, path), "app")
        if not app.get("id"):
            return None
        attempts = fetch_or_none(self.fetch, f"{path}/appattempts")
        return _yarn_account(app, len(rows(attempts, "appAttempts", "appAttempt")) or None)

    def tagged(self, tag: str) -> ApplicationAccount | None:
        """Return the account of the newest application with `tag`; None without one.

        Errors of `fetch` are raised, since no answer does not mean no application.
        """
        apps = rows(self.fetch(f"{_YARN_ROOT}/apps?applicationTags={tag}"), "apps", "app")
        newest = max(apps, key=lambda app: app.get("startedTime") or 0, default=None)
        return _yarn_account(newest, None) if newest is not None else None

    def cluster(self) -> ClusterAccount | None:
        """Return totals, nodes and leaf queues; None if YARN does not answer."""
        totals = section(fetch_or_none(self.fetch, f"{_YARN_ROOT}/metrics"), "clusterMetrics")
        if not totals:
            return None
        node_rows = rows(fetch_or_none(self.fetch, f"{_YARN_ROOT}/nodes"), "nodes", "node")
        nodes = tuple(sorted(map(_node, node_rows), key=lambda node: node.id))
        scheduler = fetch_or_none(self.fetch, f"{_YARN_ROOT}/scheduler")
        return _yarn_cluster(totals, nodes, section(scheduler, "scheduler", "schedulerInfo"))


def _yarn_account(app: dict[str, Any], attempts: int | None) -> ApplicationAccount:
    return ApplicationAccount(
        application_id=str(app["id"]),
        state=str(app.get("state", "UNKNOWN")),
        final_status=str(app.get("finalStatus", "UNDEFINED")),
        queue=str(app.get("queue", "")),
        user=str(app.get("user", "")),
        elapsed_ms=_known(app.get("elapsedTime")),
        memory_mb_seconds=_known(app.get("memorySeconds")),
        vcore_seconds=_known(app.get("vcoreSeconds")),
        containers=_known(app.get("totalAllocatedContainers")),
        running_containers=_known(app.get("runningContainers")),
        preempted=_preempted(app),
        attempts=attempts,
        diagnostics=redact.text(str(app.get("diagnostics") or "").strip()),
        am_host=str(app.get("amHostHttpAddress") or "").partition(":")[0],
    )


def _known(value: Any) -> int | None:
    """Return a count of YARN; None for -1, which means unknown."""
    return int(value) if isinstance(value, int | float) and value >= 0 else None


def _preempted(app: dict[str, Any]) -> int:
    names = ("numNonAMContainerPreempted", "numAMContainerPreempted")
    return sum(_known(app.get(name)) or 0 for name in names)


def _yarn_cluster(
    totals: dict[str, Any], nodes: tuple[NodeAccount, ...], scheduler: dict[str, Any]
) -> ClusterAccount:
    def count(name: str) -> int:
        return _known(totals.get(name)) or 0

    return ClusterAccount(
        apps_submitted=count("appsSubmitted"),
        apps_pending=count("appsPending"),
        apps_running=count("appsRunning"),
        apps_completed=count("appsCompleted"),
        apps_failed=count("appsFailed"),
        apps_killed=count("appsKilled"),
        containers_allocated=count("containersAllocated"),
        containers_pending=count("containersPending"),
        memory_used_mb=count("allocatedMB"),
        memory_total_mb=count("totalMB"),
        vcores_used=count("allocatedVirtualCores"),
        vcores_total=count("totalVirtualCores"),
        nodes_by_state=_nodes_by_state(totals, nodes),
        nodes=nodes,
        scheduler=str(scheduler.get("type", "")),
        queues=tuple(map(_queue, _leaf_queues(scheduler))),
    )


_NODE_STATES = {
    "activeNodes": "RUNNING",
    "decommissioningNodes": "DECOMMISSIONING",
    "decommissionedNodes": "DECOMMISSIONED",
    "lostNodes": "LOST",
    "unhealthyNodes": "UNHEALTHY",
    "rebootedNodes": "REBOOTED",
    "shutdownNodes": "SHUTDOWN",
}


def _nodes_by_state(totals: dict[str, Any], nodes: tuple[NodeAccount, ...]) -> dict[str, int]:
    counted = {state: _known(totals.get(name)) or 0 for name, state in _NODE_STATES.items()}
    if not any(counted.values()):
        return dict(Counter(node.state for node in nodes))
    return {state: count for state, count in counted.items() if count}


def _node(node: dict[str, Any]) -> NodeAccount:
    use = section(node, "resourceUtilization")
    return NodeAccount(
        id=str(node.get("id", "")),
        state=str(node.get("state", "UNKNOWN")),
        memory_used_mb=_known(node.get("usedMemoryMB")) or 0,
        memory_available_mb=_known(node.get("availMemoryMB")) or 0,
        vcores_used=_known(node.get("usedVirtualCores")) or 0,
        vcores_available=_known(node.get("availableVirtualCores")) or 0,
        containers=_known(node.get("numContainers")) or 0,
        physical_memory_used_mb=_known(use.get("nodePhysicalMemoryMB")),
        cpu_used_cores=_cores(use.get("nodeCPUUsage")),
        containers_memory_mb=_known(use.get("aggregatedContainersPhysicalMemoryMB")),
        containers_cpu_cores=_cores(use.get("containersCPUUsage")),
        health=str(node.get("healthReport") or ""),
    )


def _cores(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and value >= 0 else None


def _leaf_queues(queue: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the leaf queues below `queue`."""
    for child in rows(queue, "queues", "queue"):
        if rows(child, "queues", "queue"):
            yield from _leaf_queues(child)
        else:
            yield child


def _queue(queue: dict[str, Any]) -> QueueAccount:
    return QueueAccount(
        name=str(queue.get("queuePath") or queue.get("queueName") or ""),
        capacity_percent=_percent(queue.get("absoluteCapacity")),
        used_percent=_percent(queue.get("absoluteUsedCapacity")),
        pending_apps=_known(queue.get("numPendingApplications")) or 0,
        running_apps=_known(queue.get("numActiveApplications")) or 0,
    )


def _percent(value: Any) -> float:
    """Return a percentage; YARN returns NaN for a queue without capacity."""
    number = float(value or 0.0)
    return number if math.isfinite(number) else 0.0


_PAGE = "/json/"
# The master's application states as YARN's state and final status.
_APPLICATION_STATES = {
    "WAITING": ("ACCEPTED", "UNDEFINED"),
    "RUNNING": ("RUNNING", "UNDEFINED"),
    "FINISHED": ("FINISHED", "SUCCEEDED"),
    "FAILED": ("FAILED", "FAILED"),
    "KILLED": ("KILLED", "KILLED"),
}
# The master's worker states as YARN's node states.
_WORKER_STATES = {"ALIVE": "RUNNING", "DEAD": "LOST", "DECOMMISSIONED": "DECOMMISSIONED"}


@dataclass(frozen=True)
class Master:
    """Spark's standalone master; `fetch` takes paths below its address."""

    fetch: Fetch

    def application(self, app_id: str) -> ApplicationAccount | None:
        """Return the account of `app_id`; None if the master does not answer or has removed it."""
        matches = [
            app
            for app in _applications(fetch_or_none(self.fetch, _PAGE))
            if app.get("id") == app_id
        ]
        return _standalone_account(matches[0]) if matches else None

    def tagged(self, tag: str) -> ApplicationAccount | None:
        """Return the account of the newest application with `tag` in its name; None without one.

        If the program set another name, the only active application is used: a cluster that runs
        one step at a time has no other.
        """
        document = self.fetch(_PAGE)
        matches = [app for app in _applications(document) if tag in str(app.get("name")).lower()]
        if not matches:
            active = rows(document, "activeapps")
            matches = active if len(active) == 1 and not _has_run_tag(active[0]) else []
        newest = max(matches, key=lambda app: app.get("starttime") or 0, default=None)
        return _standalone_account(newest) if newest is not None else None

    def cluster(self) -> ClusterAccount | None:
        """Return the cluster's account; None if the master does not answer."""
        document = fetch_or_none(self.fetch, _PAGE)
        known = isinstance(document, dict) and document.get("url")
        return _standalone_cluster(document) if known else None


def _has_run_tag(app: dict[str, Any]) -> bool:
    """Return whether the application's name has a run's tag."""
    return "emrctl-" in str(app.get("name"))


def _applications(document: Any) -> list[dict[str, Any]]:
    return rows(document, "activeapps") + rows(document, "completedapps")


def _standalone_account(app: dict[str, Any]) -> ApplicationAccount:
    state, final = _APPLICATION_STATES.get(str(app.get("state")), ("UNKNOWN", "UNDEFINED"))
    duration = app.get("duration")
    return ApplicationAccount(
        application_id=str(app["id"]),
        state=state,
        final_status=final,
        user=str(app.get("user", "")),
        elapsed_ms=int(duration) if isinstance(duration, int | float) else None,
    )


def _standalone_cluster(document: dict[str, Any]) -> ClusterAccount:
    nodes = tuple(sorted(map(_worker, rows(document, "workers")), key=lambda node: node.id))
    active, ended = rows(document, "activeapps"), rows(document, "completedapps")
    states = Counter(str(app.get("state")) for app in (*active, *ended))
    return ClusterAccount(
        apps_submitted=len(active) + len(ended),
        apps_pending=states["WAITING"],
        apps_running=states["RUNNING"],
        apps_completed=states["FINISHED"],
        apps_failed=states["FAILED"],
        apps_killed=states["KILLED"],
        memory_used_mb=int(document.get("memoryused") or 0),
        memory_total_mb=int(document.get("memory") or 0),
        vcores_used=int(document.get("coresused") or 0),
        vcores_total=int(document.get("cores") or 0),
        nodes_by_state=dict(Counter(node.state for node in nodes)),
        nodes=nodes,
        scheduler="standalone",
    )


def _worker(worker: dict[str, Any]) -> NodeAccount:
    state = str(worker.get("state", "UNKNOWN"))
    alive = state == "ALIVE"
    return NodeAccount(
        id=f"{worker.get('host', '')}:{worker.get('port', '')}",
        state=_WORKER_STATES.get(state, state),
        memory_used_mb=int(worker.get("memoryused") or 0),
        memory_available_mb=int(worker.get("memoryfree") or 0) if alive else 0,
        vcores_used=int(worker.get("coresused") or 0),
        vcores_available=int(worker.get("coresfree") or 0) if alive else 0,
    )


ClusterManager = ResourceManager | Master
