"""Progress of a running step, from the REST APIs of the cluster manager and of Spark.

An API that does not respond is not an error. Samples of the cluster's nodes are stored with the
run, as YARN does not keep any.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emrctl.runs.record import Run
from emrctl.runs.store import RunFiles
from emrctl.runs.workspace import Workspace

if TYPE_CHECKING:
    from emrctl.metrics.live.nodes import NodeSample, Samples
    from emrctl.metrics.live.snapshot import LiveSnapshot, RunWatch
    from emrctl.metrics.live.sparkui import JobProgress
    from emrctl.metrics.model import ApplicationAccount

_MIN_INTERVAL_S = 1.0
_MIN_SAMPLE_INTERVAL_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The running application, and its jobs if Spark responds; None if unknown."""

    application: ApplicationAccount | None = None
    jobs: JobProgress | None = None


class Watcher:
    """Polls the application of one run at limited intervals."""

    def __init__(self, workspace: Workspace) -> None:
        # Import now: a Ctrl-C during an import that creates dataclasses ends Python by the signal,
        # without the exit code.
        from emrctl.metrics.live import managers, nodes  # noqa: F401

        self._workspace = workspace
        self._progress = Progress()
        self._next_poll = 0.0
        self._watch: RunWatch | None = None
        self._samples: Samples | None = None

    def look(self, run: Run) -> Progress:
        """Return the progress; the last known one if the interval is not over or polling fails."""
        now = time.monotonic()
        if run.state != "RUNNING" or now < self._next_poll:
            return self._progress
        self._next_poll = now + _MIN_INTERVAL_S
        watch = self._watch_of(run)
        application = watch.application()
        if application is None:
            return self._progress
        spark = watch.spark() if application.state == "RUNNING" else None
        self._store_sample(run)
        self._progress = Progress(application=application, jobs=spark.progress if spark else None)
        return self._progress

    def snapshot(self, run: Run) -> LiveSnapshot:
        """Return the state of the run on EMR, YARN and Spark, and store a sample of the nodes.

        For a finished run, return YARN's stored account of the application.
        """
        if run.finished:
            return self._final_snapshot(run)
        snapshot = self._watch_of(run).snapshot(run.id, run.state)
        if snapshot.cluster is not None:
            self._store_sample(run)
        return snapshot

    def samples(self, run_id: str) -> list[NodeSample]:
        """Return the samples of the nodes so far; those that are stored if none was taken here."""
        from emrctl.metrics.live import nodes

        if self._samples is not None:
            return self._samples.taken
        return nodes.read(self._workspace.store.files(run_id).find(RunFiles.NODE_SAMPLES))

    def _final_snapshot(self, run: Run) -> LiveSnapshot:
        from emrctl.metrics.live.snapshot import LiveSnapshot
        from emrctl.metrics.model import YarnAccounts

        stored = self._workspace.store.files(run.id).load(RunFiles.YARN, YarnAccounts)
        return LiveSnapshot(
            run=run.id,
            state=run.state,
            at_ms=int(time.time() * 1000),
            application=None if stored is None else stored.application,
        )

    def _watch_of(self, run: Run) -> RunWatch:
        if self._watch is None:
            from emrctl.metrics.live.snapshot import RunWatch

            sources = self._workspace.adapter(run.cluster.id).live_sources(run.cluster)
            self._watch = RunWatch(sources, run.application_tag)
        return self._watch

    def _store_sample(self, run: Run) -> None:
        """Store a sample of the nodes if the last one is old enough."""
        from emrctl.metrics.live import nodes

        at_ms = int(time.time() * 1000)
        if self._samples is not None and not self._samples.due(at_ms):
            return
        account = self._watch_of(run).cluster()
        if account is None or not account.nodes:
            return
        files = self._workspace.store.files(run.id)
        if self._samples is None:
            interval_s = max(_MIN_SAMPLE_INTERVAL_S, self._workspace.target.poll_s)
            stored = nodes.read(files.find(RunFiles.NODE_SAMPLES))
            self._samples = nodes.Samples(round(interval_s * 1000), stored)
        self._samples.add(nodes.sample(at_ms, account))
        files.write(RunFiles.NODE_SAMPLES, self._samples.lines())
