"""States of submitted runs: refresh, wait, cancel, describe.

Every change is stored before the next action, so a client can be killed at any time and the next
command continues.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from emrctl.aws.polling import Backoff
from emrctl.errors import NotFoundError, UnavailableError, WaitTimeoutError
from emrctl.runs.record import ClusterFacts, Run
from emrctl.runs.store import RunFiles

if TYPE_CHECKING:
    from emrctl.runs.backends.base import Step
    from emrctl.runs.progress import Progress
    from emrctl.runs.workspace import Workspace

# A run without a step counts as lost after this time.
_NO_STEP_TIMEOUT_S = 120.0
_StepsByCluster = Mapping[str, "Mapping[str, Step] | None"]


def refresh(workspace: Workspace, run: Run) -> Run:
    """Return the run in its current state; pull its logs and metrics once its step has ended."""
    if run.finished:
        return run
    target = workspace.target_or_none
    if target is None or target.identity != run.identity or not target.is_running:
        return _save_lost(workspace, run, "its emulator was stopped")
    backend = workspace.backend(run.cluster)
    if run.step_id is None:
        return _find_step(workspace, run, backend.find(run.step_name))
    try:
        return _update(workspace, run, backend.step(run.step_id))
    except NotFoundError:
        return _update(workspace, run, None)


def refresh_all(workspace: Workspace, runs: Sequence[Run] | None = None) -> list[Run]:
    """Return runs, by default all, in their current state, with one request per cluster.

    Runs of a cluster that does not respond are returned as stored.
    """
    if runs is None:
        runs = workspace.store.all()
    steps = _list_steps(workspace, [run for run in runs if not run.finished])
    return [_refresh_from(workspace, run, steps) for run in runs]


def wait(
    workspace: Workspace,
    run: Run,
    report: Callable[[Run, Progress], None],
    timeout_s: float | None = None,
) -> Run:
    """Return the run once it has finished; `WaitTimeoutError` after `timeout_s` seconds.

    Throttling and network failures of some minutes are retried.
    """
    from emrctl.runs.progress import Watcher

    end = None if timeout_s is None else time.monotonic() + timeout_s
    watcher, backoff = Watcher(workspace), Backoff(workspace.target.poll_s)
    while not (run := poll(workspace, run, backoff)).finished:
        report(run, watcher.look(run))
        if end is not None and time.monotonic() > end:
            raise WaitTimeoutError(
                f"run {run.id} is {run.state} after {timeout_s:.0f} s",
                hint=f"Continue with `emrctl wait {run.id}`; `emrctl cancel {run.id}` ends it.",
            )
        backoff.wait()
    return run


def cancel(workspace: Workspace, run: Run) -> Run:
    """Request the cancellation of the run's step and return the refreshed run."""
    run = refresh(workspace, run)
    if run.finished:
        return run
    if run.step_id is None:
        raise NotFoundError(f"run {run.id} has no step yet", hint="Retry in a moment.")
    workspace.backend(run.cluster).cancel(run.step_id)
    return refresh(workspace, run)


def describe(workspace: Workspace, run: Run) -> dict[str, Any]:
    """Return a run with its metrics, its job's result and findings as a JSON document.

    `rules` has the kinds of findings that were checked and not found (`clean`), and why others
    could not be checked (`unchecked`).
    """
    from emrctl.runs import collect

    document = asdict(run) | {"duration_s": run.duration_s, "cost_usd": run.cost_usd}
    files = workspace.store.files(run.id)
    document["location"] = files.location()
    document["metrics"] = files.read_json(RunFiles.METRICS)
    document["result"] = files.read_json(RunFiles.RESULT)
    document["nodes"] = collect.nodes_used(workspace, run)
    report = _report(workspace, document["metrics"])
    document["findings"] = report.pop("findings", [])
    document["rules"] = report
    return document


def _report(workspace: Workspace, metrics: dict[str, Any] | None) -> dict[str, Any]:
    if metrics is None:
        return {}
    from emrctl.metrics import findings
    from emrctl.metrics.model import RunMetrics

    return findings.check(RunMetrics.from_json(metrics), workspace.project.findings).to_json()


def poll(workspace: Workspace, run: Run, backoff: Backoff) -> Run:
    """Return the run in its current state; as it is if EMR does not respond for a while."""
    try:
        refreshed = refresh(workspace, run)
    except UnavailableError as error:
        error.hint = f"The step continues. Wait again with `emrctl wait {run.id}`."
        backoff.failed(error)
        return run
    backoff.succeeded(changed=refreshed.state != run.state)
    return refreshed


def _find_step(workspace: Workspace, run: Run, step: Step | None) -> Run:
    """Update a run whose client was killed before it stored the id of the step."""
    if step is not None:
        run = replace(run, step_id=step.id, state=step.state)
        workspace.store.save(run)
        return refresh(workspace, run) if step.finished else run
    age = datetime.now(UTC) - datetime.fromisoformat(run.created)
    if age.total_seconds() < _NO_STEP_TIMEOUT_S:
        return run
    return _save_lost(workspace, run, "its step was not submitted")


def _update(workspace: Workspace, run: Run, step: Step | None) -> Run:
    """Store the state of the run's step; pull logs and metrics if the step has ended."""
    from emrctl.runs import pull
    from emrctl.runs.backends.base import to_iso

    if step is None:
        return _save_lost(workspace, run, "its cluster has no such step")
    started = to_iso(step.started)
    if step.finished:
        return pull.finish(workspace, replace(run, started=started), step)
    if (run.state, run.started) != (step.state, started):
        run = replace(run, state=step.state, started=started)
        workspace.store.save(run)
    return run


def _save_lost(workspace: Workspace, run: Run, why: str) -> Run:
    lost = replace(run, state="LOST", failure=why)
    workspace.store.save(lost)
    return lost


def _list_steps(workspace: Workspace, runs: Sequence[Run]) -> _StepsByCluster:
    """Return the steps of the runs by cluster: {} if it does not exist, None if unavailable."""
    target = workspace.target_or_none
    clusters: dict[str, ClusterFacts] = {}
    step_ids: dict[str, list[str]] = {}
    for run in runs:
        if target is not None and run.identity == target.identity and run.step_id is not None:
            clusters[run.cluster.id] = run.cluster
            step_ids.setdefault(run.cluster.id, []).append(run.step_id)
    steps: dict[str, Mapping[str, Step] | None] = {}
    for cluster_id, ids in step_ids.items():
        try:
            steps[cluster_id] = workspace.backend(clusters[cluster_id]).steps(ids)
        except NotFoundError:
            steps[cluster_id] = {}
        except UnavailableError:
            steps[cluster_id] = None
    return steps


def _refresh_from(workspace: Workspace, run: Run, steps: _StepsByCluster) -> Run:
    if run.finished:
        return run
    if run.step_id is None or run.cluster.id not in steps:
        with contextlib.suppress(UnavailableError):
            return refresh(workspace, run)
        return run
    listed = steps[run.cluster.id]
    return run if listed is None else _update(workspace, run, listed.get(run.step_id))
