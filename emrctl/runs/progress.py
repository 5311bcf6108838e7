"""What a run is doing now, from its manager's and Spark's REST; silence of either is no fault.

While a run is watched, samples of the cluster's nodes go into the store with it: YARN itself keeps
none.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emrctl.runs.sources import places

if TYPE_CHECKING:
    from emrctl.metrics.live.nodes import Samples
    from emrctl.metrics.live.snapshot import LiveSnapshot, RunWatch
    from emrctl.runs.store import Run
    from emrctl.runs.workspace import Workspace

# Pages are asked at most this often, however often the step's state is.
_INTERVAL_S = 1.0
# Nodes are sampled no more often than that, and on AWS not at every look either.
_SAMPLE_S = 2.0
NODES = "nodes.jsonl"


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
        # Now, and not at the first look: a Ctrl-C in the middle of an import that makes dataclasses
        # ends Python by the signal, whatever exit code is asked for.
        from emrctl.metrics.live import nodes, standalone, yarn  # noqa: F401

        self._workspace = workspace
        self._seen = Progress()
        self._not_before = 0.0
        self._watch: RunWatch | None = None
        self._samples: Samples | None = None

    def look(self, run: Run) -> Progress:
        """What is known now; what was known before where nothing new could be read."""
        now = time.monotonic()
        if run.state != "RUNNING" or now < self._not_before:
            return self._seen
        self._not_before = now + _INTERVAL_S
        watch = self._watching(run)
        application = watch.application()
        if application is None:
            return self._seen
        spark = watch.spark() if application.state == "RUNNING" else None
        seen = spark.progress if spark is not None else None
        self._sample(run)
        self._seen = Progress(
            application_id=application.application_id,
            application_state=application.state,
            containers=application.running_containers or 0,
            executors=seen.executors if seen else None,
            stages_done=seen.stages_done if seen else None,
            stages_total=seen.stages_total if seen else None,
            tasks_done=seen.tasks_done if seen else None,
            tasks_total=seen.tasks_total if seen else None,
        )
        return self._seen

    def whole(self, run: Run) -> LiveSnapshot:
        """Everything that EMR, YARN and Spark tell of the run; a sample of it is stored.

        Of a finished run what was stored of YARN's account is all that there is.
        """
        if run.finished:
            return self._ended(run)
        found = self._watching(run).snapshot(run.id, run.state)
        if found.cluster is not None:
            self._sample(run)
        return found

    def _ended(self, run: Run) -> LiveSnapshot:
        from emrctl.metrics.live.snapshot import LiveSnapshot
        from emrctl.metrics.model import ApplicationAccount

        known = self._workspace.store.get_json(run.id, "yarn.json") or {}
        account = known.get("application")
        return LiveSnapshot(
            run=run.id,
            state=run.state,
            at_ms=int(time.time() * 1000),
            application=ApplicationAccount.from_json(account) if account else None,
        )

    def _watching(self, run: Run) -> RunWatch:
        if self._watch is None:
            from emrctl.metrics.live.snapshot import RunWatch

            self._watch = RunWatch(places(self._workspace, run), run.application_tag)
        return self._watch

    def _sample(self, run: Run) -> None:
        """The nodes' state goes into the store, where the last sample is old enough."""
        from emrctl.metrics.live import nodes

        at_ms = int(time.time() * 1000)
        if self._samples is not None and not self._samples.due(at_ms):
            return
        account = self._watching(run).cluster()
        if account is None or not account.nodes:
            return
        store = self._workspace.store
        if self._samples is None:
            interval_s = max(_SAMPLE_S, self._workspace.target.poll_s)
            known = nodes.read(store.get(run.id, NODES))
            self._samples = nodes.Samples(round(interval_s * 1000), known)
        self._samples.add(nodes.sample(at_ms, account))
        store.put(run.id, NODES, self._samples.lines())
