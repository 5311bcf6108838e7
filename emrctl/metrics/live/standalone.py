"""Accounting of Spark's standalone master, from its `/json/` page.

The master has no tags, so an application is found by the run's tag in its name. The master counts
allocated cores and memory and measures no use.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from emrctl.metrics.live.rest import Fetch, fetch_or_none, rows
from emrctl.metrics.model import ApplicationAccount, ClusterAccount, NodeAccount

_PAGE = "/json/"
# The master's application states as YARN's state and final status.
_STATES = {
    "WAITING": ("ACCEPTED", "UNDEFINED"),
    "RUNNING": ("RUNNING", "UNDEFINED"),
    "FINISHED": ("FINISHED", "SUCCEEDED"),
    "FAILED": ("FAILED", "FAILED"),
    "KILLED": ("KILLED", "KILLED"),
}
# The master's worker states as YARN's node states.
_NODE_STATES = {"ALIVE": "RUNNING", "DEAD": "LOST", "DECOMMISSIONED": "DECOMMISSIONED"}


@dataclass(frozen=True)
class Master:
    """A standalone master as a `ClusterManager`; `fetch` takes paths below its address."""

    fetch: Fetch

    def application(self, app_id: str) -> ApplicationAccount | None:
        """Return the account of `app_id`; None if the master does not answer or has removed it."""
        matches = [
            app
            for app in _applications(fetch_or_none(self.fetch, _PAGE))
            if app.get("id") == app_id
        ]
        return _account(matches[0]) if matches else None

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
        return _account(newest) if newest is not None else None

    def cluster(self) -> ClusterAccount | None:
        """Return the cluster's account; None if the master does not answer."""
        document = fetch_or_none(self.fetch, _PAGE)
        return _cluster(document) if isinstance(document, dict) and document.get("url") else None


def _has_run_tag(app: dict[str, Any]) -> bool:
    """Return whether the application's name has a run's tag."""
    return "emrctl-" in str(app.get("name"))


def _applications(document: Any) -> list[dict[str, Any]]:
    return rows(document, "activeapps") + rows(document, "completedapps")


def _account(app: dict[str, Any]) -> ApplicationAccount:
    state, final = _STATES.get(str(app.get("state")), ("UNKNOWN", "UNDEFINED"))
    duration = app.get("duration")
    return ApplicationAccount(
        application_id=str(app["id"]),
        state=state,
        final_status=final,
        user=str(app.get("user", "")),
        elapsed_ms=int(duration) if isinstance(duration, int | float) else None,
    )


def _cluster(document: dict[str, Any]) -> ClusterAccount:
    nodes = tuple(sorted(map(_node, rows(document, "workers")), key=lambda node: node.id))
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


def _node(worker: dict[str, Any]) -> NodeAccount:
    state = str(worker.get("state", "UNKNOWN"))
    alive = state == "ALIVE"
    return NodeAccount(
        id=f"{worker.get('host', '')}:{worker.get('port', '')}",
        state=_NODE_STATES.get(state, state),
        memory_used_mb=int(worker.get("memoryused") or 0),
        memory_available_mb=int(worker.get("memoryfree") or 0) if alive else 0,
        vcores_used=int(worker.get("coresused") or 0),
        vcores_available=int(worker.get("coresfree") or 0) if alive else 0,
    )
