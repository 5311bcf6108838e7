"""YARN's books, from the resource manager's REST: one application's account, and the cluster's.

On EMR the scheduler looks at memory alone, and books one vcore for each container whatever was
asked: vcores here count containers and never CPU.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from emrctl import redact
from emrctl.metrics.live.rest import Fetch, ask, rows, section
from emrctl.metrics.model import ApplicationAccount, ClusterAccount, NodeAccount, QueueAccount

_ROOT = "/ws/v1/cluster"


@dataclass(frozen=True)
class ResourceManager:
    """YARN's pages as a `live.Manager`; `fetch` takes paths below them."""

    fetch: Fetch

    def application(self, app_id: str) -> ApplicationAccount | None:
        """See `application`."""
        return application(self.fetch, app_id)

    def tagged(self, tag: str) -> ApplicationAccount | None:
        """See `tagged`."""
        return tagged(self.fetch, tag)

    def cluster(self) -> ClusterAccount | None:
        """See `cluster`."""
        return cluster(self.fetch)


def application(fetch: Fetch, app_id: str) -> ApplicationAccount | None:
    """YARN's account of application `app_id`; None where nobody answers or it is forgotten.

    The resource manager forgets finished applications, at the latest when it restarts: ask soon.
    """
    app = section(ask(fetch, f"{_ROOT}/apps/{app_id}"), "app")
    if not app.get("id"):
        return None
    attempts = rows(ask(fetch, f"{_ROOT}/apps/{app_id}/appattempts"), "appAttempts", "appAttempt")
    return _account(app, len(attempts) or None)


def _account(app: dict[str, Any], attempts: int | None) -> ApplicationAccount:
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


def tagged(fetch: Fetch, tag: str) -> ApplicationAccount | None:
    """YARN's account of the newest application that carries `tag`; None where there is none yet.

    Where nobody answers, what `fetch` raises goes on: silence is not an empty list.
    """
    listed = rows(fetch(f"{_ROOT}/apps?applicationTags={tag}"), "apps", "app")
    if not listed:
        return None
    return _account(max(listed, key=lambda app: app.get("startedTime") or 0), None)


def _known(value: Any) -> int | None:
    """A count of YARN's; -1 is its word for what it cannot say."""
    return int(value) if isinstance(value, int | float) and value >= 0 else None


def _preempted(app: dict[str, Any]) -> int:
    names = ("numNonAMContainerPreempted", "numAMContainerPreempted")
    return sum(_known(app.get(name)) or 0 for name in names)


def cluster(fetch: Fetch) -> ClusterAccount | None:
    """The cluster's and the nodes' pages and the leaf queues; None where nobody answers."""
    totals = section(ask(fetch, f"{_ROOT}/metrics"), "clusterMetrics")
    if not totals:
        return None
    listed = rows(ask(fetch, f"{_ROOT}/nodes"), "nodes", "node")
    nodes = tuple(sorted(map(_node, listed), key=lambda node: node.id))
    scheduler = section(ask(fetch, f"{_ROOT}/scheduler"), "scheduler", "schedulerInfo")

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
        nodes_by_state=_states(totals, nodes),
        nodes=nodes,
        scheduler=str(scheduler.get("type", "")),
        queues=tuple(map(_queue, _leaves(scheduler))),
    )


_STATES = {
    "activeNodes": "RUNNING",
    "decommissioningNodes": "DECOMMISSIONING",
    "decommissionedNodes": "DECOMMISSIONED",
    "lostNodes": "LOST",
    "unhealthyNodes": "UNHEALTHY",
    "rebootedNodes": "REBOOTED",
    "shutdownNodes": "SHUTDOWN",
}


def _states(totals: dict[str, Any], nodes: tuple[NodeAccount, ...]) -> dict[str, int]:
    counted = {state: _known(totals.get(name)) or 0 for name, state in _STATES.items()}
    if not any(counted.values()):
        return dict(Counter(node.state for node in nodes))
    return {state: count for state, count in counted.items() if count}


def _node(node: dict[str, Any]) -> NodeAccount:
    use = section(node, "resourceUtilization")
    cpu = use.get("nodeCPUUsage")
    return NodeAccount(
        id=str(node.get("id", "")),
        state=str(node.get("state", "UNKNOWN")),
        memory_used_mb=_known(node.get("usedMemoryMB")) or 0,
        memory_available_mb=_known(node.get("availMemoryMB")) or 0,
        vcores_used=_known(node.get("usedVirtualCores")) or 0,
        vcores_available=_known(node.get("availableVirtualCores")) or 0,
        containers=_known(node.get("numContainers")) or 0,
        physical_memory_used_mb=_known(use.get("nodePhysicalMemoryMB")),
        cpu_used_cores=float(cpu) if isinstance(cpu, int | float) and cpu >= 0 else None,
        health=str(node.get("healthReport") or ""),
    )


def _leaves(queue: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The queues below `queue` that hold applications and no further queues."""
    below = rows(queue, "queues", "queue")
    for child in below:
        if rows(child, "queues", "queue"):
            yield from _leaves(child)
        else:
            yield child


def _queue(queue: dict[str, Any]) -> QueueAccount:
    return QueueAccount(
        name=str(queue.get("queuePath") or queue.get("queueName") or ""),
        capacity_percent=float(queue.get("absoluteCapacity") or 0.0),
        used_percent=float(queue.get("absoluteUsedCapacity") or 0.0),
        pending_apps=_known(queue.get("numPendingApplications")) or 0,
        running_apps=_known(queue.get("numActiveApplications")) or 0,
    )
