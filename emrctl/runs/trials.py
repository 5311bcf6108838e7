"""Runs the trials of a source, one after another or several at once, in one client.

The source decides which trial is next, so that an experiment and a search run in the same way. A
run is stored before its step is submitted: a client that is killed at any time loses no trial, and
the next one waits for the run that exists instead of starting another.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from emrctl.aws.polling import Backoff
from emrctl.clusters import sizing
from emrctl.clusters.model import Cluster
from emrctl.errors import EmrctlError, ProvisioningError, UnavailableError, UsageError
from emrctl.runs import lifecycle
from emrctl.runs.progress import Progress, Watcher
from emrctl.runs.record import Run, TrialFacts, new_id
from emrctl.runs.submission import Submission, find_job, submit
from emrctl.runs.trial_clusters import TrialClusters
from emrctl.runs.workspace import Workspace
from emrctl.spec.factors import Configuration

# Submissions of a trial whose step is not added: its client was killed, or AWS does not respond.
_ATTEMPTS = 3


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One repeat of a configuration, `number` of `total`, counted from 1.

    `run` is its unfinished run if a client was killed. The run is cancelled after `limit_s` seconds
    of its step.
    """

    facts: TrialFacts
    configuration: Configuration
    submission: Submission
    number: int
    total: int
    run: Run | None = None
    limit_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Use:
    """Runs of an experiment, the time in which at least one was running, and its cost.

    Runs at the same time on one cluster cost it once. Clusters without a running step are not
    included.
    """

    runs: int = 0
    seconds: float = 0.0
    usd: float = 0.0

    @classmethod
    def of(cls, runs: Iterable[Run]) -> Use:
        """Return the use of runs; unfinished ones until now."""
        count, clusters = 0, defaultdict[str, list[tuple[float, float]]](list)
        prices: dict[str, float] = {}
        for run in runs:
            count += 1
            if run.started is not None:
                start = datetime.fromisoformat(run.started)
                end = datetime.fromisoformat(run.ended) if run.ended else datetime.now(UTC)
                span = (start.timestamp(), end.timestamp())
                clusters[run.cluster.id].append(span)
                prices[run.cluster.id] = run.cluster.hourly_usd
        usd = sum(prices[name] * _covered_s(spans) / 3600 for name, spans in clusters.items())
        every = [span for spans in clusters.values() for span in spans]
        return cls(runs=count, seconds=_covered_s(every), usd=usd)


def _covered_s(spans: Sequence[tuple[float, float]]) -> float:
    total, end = 0.0, float("-inf")
    for first, last in sorted(spans):
        total += max(0.0, last - max(first, end))
        end = max(end, last)
    return total


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """Numbers of completed and failed trials and of those left, and their expected duration.

    `left_s` is for one trial after another; None if no trial has completed.
    """

    done: int
    failed: int
    left: int
    left_s: float | None
    use: Use


class TrialSource(Protocol):
    """Trials to run, and what becomes of them."""

    def next(self) -> Trial | None:
        """Return the next trial to start; None if there is none before another one finishes."""

    def finished(self, trial: Trial, run: Run) -> None:
        """Record the finished run of a trial."""

    def failed(self, trial: Trial, error: EmrctlError) -> None:
        """Record a trial that could not be submitted, or whose cluster could not be created."""

    def outlook(self) -> Outlook:
        """Return what is done and left."""


class TrialReport(Protocol):
    """What is reported while trials run."""

    def note(self, text: str) -> None:
        """Report an event."""

    def started(self, trial: Trial, run: Run) -> None:
        """Report a submitted run, or one that continues."""

    def progress(self, running: Sequence[tuple[Trial, Run, Progress]], outlook: Outlook) -> None:
        """Report the state of the unfinished runs."""

    def finished(self, trial: Trial, run: Run, outlook: Outlook) -> None:
        """Report a finished run."""


class NoTrialReport:
    """A `TrialReport` that ignores everything."""

    def note(self, text: str) -> None:
        """Ignore an event."""

    def started(self, trial: Trial, run: Run) -> None:
        """Ignore a submitted run."""

    def progress(self, running: Sequence[tuple[Trial, Run, Progress]], outlook: Outlook) -> None:
        """Ignore the state of the unfinished runs."""

    def finished(self, trial: Trial, run: Run, outlook: Outlook) -> None:
        """Ignore a finished run."""


@dataclass
class _Active:
    trial: Trial
    run: Run
    watcher: Watcher
    backoff: Backoff
    attempt: int = 1
    cancelled: bool = False


@dataclass
class TrialRunner:
    """Runs trials on `clusters`, at most `parallel` at a time and no more than there is room for.

    Several steps run at once only on a cluster with such a `step_concurrency`.
    """

    workspace: Workspace
    clusters: TrialClusters
    report: TrialReport
    parallel: int = 1
    _active: list[_Active] = field(default_factory=list)
    _pending: Trial | None = None
    _failed_clusters: dict[str, EmrctlError] = field(default_factory=dict)
    _limited: bool = False

    def run(self, source: TrialSource) -> None:
        """Run the trials of `source` until it has no more; then delete the created cluster."""
        pause = Backoff(self.workspace.target.poll_s)
        try:
            while self._start(source) or self._active:
                if self._poll(source):
                    pause.succeeded(changed=True)
                    continue
                running = [
                    (item.trial, item.run, item.watcher.look(item.run)) for item in self._active
                ]
                self.report.progress(running, source.outlook())
                pause.succeeded(changed=False)
                pause.wait()
        finally:
            self.clusters.close()

    def _start(self, source: TrialSource) -> bool:
        """Start trials while there is room; return whether a trial waits for room."""
        while len(self._active) < self.parallel:
            self._pending = trial = self._pending or source.next()
            if trial is None or not self._has_room(trial):
                break
            self._pending = None
            try:
                cluster = self._cluster(trial)
                self._activate(trial, trial.run or self._submit(trial, cluster))
            except UnavailableError:
                raise
            except (ProvisioningError, UsageError) as error:
                self.report.note(f"{trial.facts.cell}: {error}")
                source.failed(trial, error)
        return self._pending is not None

    def _cluster(self, trial: Trial) -> Cluster:
        """Return the trial's cluster; a cluster that could not be created is not tried again."""
        fields = trial.configuration.cluster
        name = self.clusters.project(fields).cluster.name
        if name in self._failed_clusters:
            raise self._failed_clusters[name]
        try:
            return self.clusters.get(fields)
        except ProvisioningError as error:
            self._failed_clusters[name] = error
            raise

    def _has_room(self, trial: Trial) -> bool:
        if not self._active:
            return True
        fields = trial.configuration.cluster
        if not self.clusters.is_current(fields):
            return False
        spec = self.clusters.get(fields).spec
        if len(self._active) >= spec.step_concurrency:
            if not self._limited:
                self._limited = True
                self.report.note(
                    f"cluster.step_concurrency limits parallel trials to {spec.step_concurrency}: "
                    f"set it to {self.parallel} in emrctl.yaml and run `emrctl up`."
                )
            return False
        trials = [*(item.trial for item in self._active), trial]
        config = self.workspace.config
        settings = [
            find_job(item.submission.job, config).spec.settings.merged(item.submission.settings)
            for item in trials
        ]
        return sizing.fit_together(spec, settings)

    def _submit(self, trial: Trial, cluster: Cluster) -> Run:
        """Submit a trial; if EMR does not respond, its stored run is polled for its step."""
        run_id = new_id(trial.submission.job)
        try:
            return submit(self.workspace, trial.submission, cluster, run_id)
        except UnavailableError:
            if run_id not in self.workspace.store.ids():
                raise
            return self.workspace.store.load(run_id)

    def _activate(self, trial: Trial, run: Run, attempt: int = 1) -> None:
        self.report.started(trial, run)
        backoff = Backoff(self.workspace.target.poll_s)
        watcher = Watcher(self.workspace)
        self._active.append(_Active(trial, run, watcher, backoff, attempt))

    def _poll(self, source: TrialSource) -> bool:
        """Poll all runs; return whether one of them finished."""
        for item in self._active:
            item.run = lifecycle.poll(self.workspace, item.run, item.backoff)
            if not item.cancelled and _exceeds(item.run, item.trial.limit_s):
                item.cancelled = True
                self.report.note(f"Run {item.run.id} exceeds {item.trial.limit_s:.0f} s: cancelled")
                item.run = lifecycle.cancel(self.workspace, item.run)
        ended = [item for item in self._active if item.run.finished]
        self._active = [item for item in self._active if not item.run.finished]
        for item in ended:
            if item.run.state == "LOST" and item.run.step_id is None:
                self._resubmit(item)
            else:
                if item.run.state == "INTERRUPTED":
                    self.clusters.forget()
                source.finished(item.trial, item.run)
                self.report.finished(item.trial, item.run, source.outlook())
        return bool(ended)

    def _resubmit(self, item: _Active) -> None:
        """Submit a trial whose step was not added; raise `UnavailableError` after some attempts."""
        if item.attempt == _ATTEMPTS:
            raise UnavailableError(
                f"{item.trial.facts.cell}: no step was added in {_ATTEMPTS} attempts, the last one "
                f"of run {item.run.id}",
                hint="Run the same command again later; it continues with this trial.",
            )
        cluster = self.clusters.get(item.trial.configuration.cluster)
        self._activate(item.trial, self._submit(item.trial, cluster), item.attempt + 1)


def _exceeds(run: Run, limit_s: float | None) -> bool:
    if limit_s is None or run.finished or run.started is None:
        return False
    return (datetime.now(UTC) - datetime.fromisoformat(run.started)).total_seconds() > limit_s
