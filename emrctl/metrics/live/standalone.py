"""The books of Spark's standalone master, from its `/json/`: one application, and the cluster.

The master knows no tags: an application is found by its name, which carries the run's. It books
cores and memory and measures nothing; what it has forgotten only the event log tells.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from emrctl.metrics.live.rest import Fetch, ask, rows
from emrctl.metrics.model import ApplicationAccount, ClusterAccount, NodeAccount

_PAGE = "/json/"
# The master's words for an application's state, in YARN's; the second says how it ended.
_STATES = {
    "WAITING": ("ACCEPTED", "UNDEFINED"),
    "RUNNING": ("RUNNING", "UNDEFINED"),
    "FINISHED": ("FINISHED", "SUCCEEDED"),
    "FAILED": ("FAILED", "FAILED"),
    "KILLED": ("KILLED", "KILLED"),
}
# The same for a worker's.
_NODE_STATES = {"ALIVE": "RUNNING", "DEAD": "LOST", "DECOMMISSIONED": "DECOMMISSIONED"}


@dataclass(frozen=True)
class Master:
    """A standalone master's page as a `live.Manager`; `fetch` takes paths below its address."""

    fetch: Fetch

    def application(self, app_id: str) -> ApplicationAccount | None:
        """The account of `app_id`; None where nobody answers or the master forgot it."""
        found = [app for app in _applications(ask(self.fetch, _PAGE)) if app.get("id") == app_id]
        return _account(found[0]) if found else None

    def tagged(self, tag: str) -> ApplicationAccount | None:
        """The account of the newest application whose name holds `tag`; None where there is none.

        Where a program gave itself another name, the only one at work is meant: steps of a
        cluster that runs one at a time are told apart by that.
        """
        document = self.fetch(_PAGE)
        found = [app for app in _applications(document) if tag in str(app.get("name")).lower()]
        if not found:
            active = rows(document, "activeapps")
            found = active if len(active) == 1 and not _is_ours(active[0]) else []
        return _account(max(found, key=lambda app: app.get("starttime") or 0)) if found else None

    def cluster(self) -> ClusterAccount | None:
        """The master's own page; None where nobody answers."""
        document = ask(self.fetch, _PAGE)
        return _cluster(document) if isinstance(document, dict) and document.get("url") else None


def _is_ours(app: dict[str, Any]) -> bool:
    """Whether the application's name says which run it is of."""
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
