"""What a run is doing now, from YARN's and Spark's REST; silence of either is no fault."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emrctl.store import Run
    from emrctl.workspace import Workspace

# A page that does not answer is left alone for a while: each try costs a time-out.
_SILENCE_S = 20.0
# Pages are asked at most this often, however often the step's state is.
_INTERVAL_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Figures of the running application; None where nobody could say."""

    application_id: str | None = None
    application_state: str | None = None
    containers: int | None = None
    executors: int | None = None
    stages_done: int | None = None
    stages_total: int | None = None
    tasks_done: int | None = None
    tasks_total: int | None = None


class Watcher:
    """Looks at one run's application, not too often, and keeps what it saw last."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._seen = Progress()
        self._not_before = 0.0

    def look(self, run: Run) -> Progress:
        """What is known now; what was known before where nothing new could be read."""
        now = time.monotonic()
        if run.state != "RUNNING" or now < self._not_before:
            return self._seen
        self._not_before = now + _INTERVAL_S
        try:
            self._seen = self._read(run)
        except (OSError, ValueError, KeyError, TypeError):
            self._not_before = now + _SILENCE_S
        return self._seen

    def _read(self, run: Run) -> Progress:
        target = self._workspace.target
        yarn = target.page(run.cluster.id, run.cluster.primary_dns, "yarn")
        tag = run.application_tag.lower()
        apps = target.fetch(f"{yarn}/ws/v1/cluster/apps?applicationTags={tag}")["apps"] or {}
        found = apps.get("app") or []
        if not found:
            return self._seen
        app = max(found, key=lambda item: item["startedTime"])
        spark = self._spark(run, str(app["id"])) if app["state"] == "RUNNING" else {}
        return Progress(
            application_id=str(app["id"]),
            application_state=str(app["state"]),
            containers=max(0, int(app["runningContainers"])),
            **spark,
        )

    def _spark(self, run: Run, application_id: str) -> dict[str, Any]:
        from emrctl.metrics import sparkui

        target = self._workspace.target
        base = target.page(run.cluster.id, run.cluster.primary_dns, "proxy")
        try:
            seen = sparkui.progress(
                lambda path: target.fetch(f"{base}/{application_id}{path}"), application_id
            )
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        if seen is None:
            return {}
        return {
            "executors": seen.executors,
            "stages_done": seen.stages_done,
            "stages_total": seen.stages_total,
            "tasks_done": seen.tasks_done,
            "tasks_total": seen.tasks_total,
        }
