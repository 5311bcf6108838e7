"""States of submitted runs: refresh, wait, cancel, describe.

Every change is stored before the next action, so a client can be killed at any time and the next
command continues.

A cluster reports most states. Some are inferred: LOST from a step that is not found, INTERRUPTED
from an unfinished step on a terminated cluster. An inferred state replaces only the state that it
was inferred from, and what a cluster reports later replaces it: a client may have been suspended
before it added the step, or an emulator may run again.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from emrctl.aws import errors
from emrctl.aws.polling import Backoff
from emrctl.aws.s3 import split_uri
from emrctl.errors import EmrctlError, NotFoundError, UnavailableError, WaitTimeoutError
from emrctl.runs.record import IMPORTED, LOST, CheckedOutput, ClusterFacts, Run
from emrctl.runs.store import RunFiles

if TYPE_CHECKING:
    from emrctl.runs.backends.base import Step
    from emrctl.runs.progress import Progress
    from emrctl.runs.workspace import Workspace

# A run without a step counts as lost after this time.
_NO_STEP_TIMEOUT_S = 120.0
# For this time after the submission, listing runs looks again for what was inferred.
_RECHECK_S = 14 * 86_400.0
_LOGGER = logging.getLogger("emrctl")
_StepsByCluster = Mapping[str, "Mapping[str, Step] | None"]


def refresh(workspace: Workspace, run: Run) -> Run:
    """Return the run in its current state; pull its logs and metrics once its step has ended.

    A final state that was inferred is returned as stored if the cluster does not respond.
    """
    if run.settled or run.target == IMPORTED:
        return run
    target = workspace.target_or_none
    if target is None or target.lasting_identity != run.identity or not target.is_running:
        return _lose(workspace, run, "its emulator was stopped")
    try:
        return _observe(workspace, run)
    except EmrctlError:
        if run.finished:
            return run
        raise


def _observe(workspace: Workspace, run: Run) -> Run:
    """Return the run in the state that its cluster reports."""
    backend, step = workspace.backend(run.cluster), None
    with contextlib.suppress(NotFoundError):
        step = backend.find(run.step_name) if run.step_id is None else backend.step(run.step_id)
    update = _find_step if run.step_id is None else _update
    return update(workspace, run, step)


def refresh_all(workspace: Workspace, runs: Sequence[Run] | None = None) -> list[Run]:
    """Return runs, by default all, in their current state, with one request per cluster.

    Runs of a cluster that does not respond are returned as stored. So are final states that were
    inferred long ago, or on EC2, where looking again takes a connection to each primary.
    """
    if runs is None:
        runs = workspace.store.all()
    steps = _list_steps(workspace, [run for run in runs if _may_change(run)])
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


def request_stop(workspace: Workspace, run: Run) -> Run:
    """Ask the job of a run to stop, and return the refreshed run.

    Create the object `stop` in the job's output; the job must look for it, like `streaming`.
    """
    from emrctl.runs import pull

    run = refresh(workspace, run)
    if not run.finished:
        bucket, key = split_uri(f"{pull.output_uri(run)}/stop")
        with errors.translated(f"writing s3://{bucket}/{key}"):
            workspace.target.client("s3").put_object(Bucket=bucket, Key=key, Body=b"")
    return run


def describe(workspace: Workspace, run: Run) -> dict[str, Any]:
    """Return a run with its metrics, its job's result, output and findings as a JSON document.

    `rules` has the kinds of findings that were checked and not found (`clean`), and why others
    could not be checked (`unchecked`).
    """
    from emrctl.metrics import findings
    from emrctl.metrics.model import RunMetrics
    from emrctl.runs import collect

    document = asdict(run) | {"duration_s": run.duration_s, "cost_usd": run.cost_usd}
    files = workspace.store.files(run.id)
    document["location"] = files.location()
    metrics = files.load(RunFiles.METRICS, RunMetrics)
    document["metrics"] = None if metrics is None else metrics.to_json()
    document["result"] = files.read_json(RunFiles.RESULT)
    output = files.load(RunFiles.CHECK, dict[str, CheckedOutput]) or {}
    document["output"] = {name: asdict(item) for name, item in output.items()}
    document["nodes"] = collect.nodes_used(workspace, run)
    report = (
        {} if metrics is None else findings.check(metrics, workspace.project.findings).to_json()
    )
    document["findings"] = report.pop("findings", [])
    document["rules"] = report
    return document


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
    """Update a run whose client did not store the id of the step."""
    if step is not None:
        run = replace(_reopened(run), step_id=step.id, state="PENDING")
        workspace.store.save(run)
        return _update(workspace, run, step)
    age = datetime.now(UTC) - datetime.fromisoformat(run.created)
    if age.total_seconds() < _NO_STEP_TIMEOUT_S:
        return run
    return _lose(workspace, run, "its step was not submitted")


def _update(workspace: Workspace, run: Run, step: Step | None) -> Run:
    """Store the state of the run's step; pull logs and metrics if the step has ended."""
    from emrctl.runs import pull
    from emrctl.runs.backends.base import to_iso

    if step is None:
        return _lose(workspace, run, "its cluster has no such step")
    if run.finished and step.inferred and run.state == step.state:
        return run
    started = to_iso(step.started)
    if step.finished:
        run = replace(_reopened(run), started=started)
        return pull.finish(workspace, run, step, functools.partial(_check_output, workspace))
    if (run.state, run.started) != (step.state, started):
        run = replace(_reopened(run), state=step.state, started=started)
        workspace.store.save(run)
    return run


def _check_output(workspace: Workspace, run: Run) -> tuple[str, ...]:
    """Check the outputs of a run, large ones by another run, which is waited for."""
    if not run.check_output:
        return ()
    from emrctl.runs import output_check

    def finished(check: Run) -> Run:
        return wait(workspace, check, lambda _run, _progress: None)

    return output_check.save(workspace, run, finished)


def _reopened(run: Run) -> Run:
    """Return the run without what was inferred about its end."""
    if not run.finished:
        return run
    return replace(run, inferred=False, ended=None, failure=None, failure_log=None)


def _lose(workspace: Workspace, run: Run, why: str) -> Run:
    """Store that the run is lost, unless another client has stored another state meanwhile."""
    if run.finished:
        return run
    stored = workspace.store.find(run.id)
    if stored is not None and (stored.state, stored.step_id) != (run.state, run.step_id):
        return stored
    lost = replace(run, state=LOST, inferred=True, failure=why)
    workspace.store.save(lost)
    return lost


def _may_change(run: Run) -> bool:
    """Return whether a listing asks the cluster for the run's state."""
    if not run.finished:
        return True
    if run.settled or run.target == IMPORTED or run.cluster.id.startswith("i-"):
        return False
    age = datetime.now(UTC) - datetime.fromisoformat(run.created)
    return age.total_seconds() < _RECHECK_S


def _list_steps(workspace: Workspace, runs: Sequence[Run]) -> _StepsByCluster:
    """Return the steps of the runs by cluster: {} if it does not exist, None if unavailable."""
    target = workspace.target_or_none
    clusters: dict[str, ClusterFacts] = {}
    step_ids: dict[str, list[str]] = {}
    for run in runs:
        if (
            target is not None
            and run.identity == target.lasting_identity
            and run.step_id is not None
        ):
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
        except EmrctlError as error:
            _LOGGER.warning("warning: runs on cluster %s are as stored: %s", cluster_id, error)
            steps[cluster_id] = None
    return steps


def _refresh_from(workspace: Workspace, run: Run, steps: _StepsByCluster) -> Run:
    if not _may_change(run):
        return run
    try:
        if run.step_id is None or run.cluster.id not in steps:
            return refresh(workspace, run)
        listed = steps[run.cluster.id]
        return run if listed is None else _update(workspace, run, listed.get(run.step_id))
    except UnavailableError:
        return run
    except EmrctlError as error:
        _LOGGER.warning("warning: run %s is %s as stored: %s", run.id, run.state, error)
        return run
