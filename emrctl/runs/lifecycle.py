"""A run from submission to metrics: submit, refresh, wait, cancel.

Every step is written to the store before the next is taken: a killed client loses nothing, and
the next command that looks at the run goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from emrctl import redact
from emrctl.aws.polling import Backoff
from emrctl.aws.s3 import prepare_event_logs
from emrctl.errors import NotFoundError, UnavailableError, UsageError, WaitTimeoutError
from emrctl.runs import collect, pull, sizing, staging, store
from emrctl.runs.backends import spark_submit
from emrctl.runs.backends.base import Step, StepSpec
from emrctl.runs.progress import Progress, Watcher
from emrctl.runs.store import ClusterFacts, Run, TrialFacts
from emrctl.spec import SparkSettings

if TYPE_CHECKING:
    from emrctl.clusters.model import Cluster
    from emrctl.runs.workspace import Workspace

RUN_PLACEHOLDER, BUCKET_PLACEHOLDER = "{run}", "{bucket}"
# How long a lost submission is looked for before the run counts as lost.
_ORPHAN_S = 120.0


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be submitted: a job's name, its arguments and what stands around them."""

    job: str
    arguments: Sequence[str] = ()
    settings: SparkSettings = field(default_factory=SparkSettings)
    environment: Mapping[str, str] = field(default_factory=dict)
    py_files: Sequence[str] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    trial: TrialFacts | None = None


def submit(workspace: Workspace, order: Order, cluster: Cluster | None = None) -> Run:
    """The order's step waits or runs on the cluster, and the store has its run.

    `UsageError` where one executor is larger than any node; more executors than there is room
    for are a warning on the run.
    """
    place = cluster or workspace.cluster()
    job = staging.find_job(order.job, workspace.config)
    settings = job.spec.settings.merged(order.settings)
    asked = sizing.request(place, settings)
    staged = staging.stage_job(workspace.target, place.bucket, job, order.py_files)
    environment = {**job.spec.env, **order.environment}
    run = _new_run(workspace, order, place, job)
    arguments = _arguments(job, order.arguments, run)
    program = spark_submit.Program(
        script=staged.script,
        py_files=staged.py_files,
        arguments=arguments,
        environment=environment,
    )
    run = replace(
        run,
        arguments=redact.arguments(arguments),
        environment=redact.mapping(environment),
        code=(staged.script, *staged.py_files),
        warnings=(asked.warning,) if asked.warning else (),
    )
    conf = {**sizing.own_conf(place, run), **asked.conf}
    command = spark_submit.command(program, settings, conf, asked.master)
    return _add_step(workspace, place, run, command)


def refresh(workspace: Workspace, run: Run) -> Run:
    """The run as it is now; pulled and finished in the store once its step has ended."""
    if run.finished:
        return run
    target = workspace.target_or_none
    if target is None or target.identity != run.identity:
        return _lost(workspace, run, "the emulator that ran it is gone")
    if run.step_id is None:
        return _adopt(workspace, run)
    return _taken(workspace, run, _step(workspace, run))


def refresh_all(workspace: Workspace) -> list[Run]:
    """Every run of the store, oldest first, those that had not finished looked after.

    A cluster is asked once for all of its runs; where it cannot be asked now they stay as they
    are.
    """
    found = list(workspace.store.all())
    seen = _steps_seen(workspace, [run for run in found if not run.finished])
    return [_looked_after(workspace, run, seen) for run in found]


def wait(
    workspace: Workspace,
    run: Run,
    report: Callable[[Run, Progress], None],
    timeout_s: float | None = None,
) -> Run:
    """The run once it has finished; `WaitTimeoutError` after `timeout_s` seconds.

    Throttling and a network that is away for minutes do not end it.
    """
    end = None if timeout_s is None else time.monotonic() + timeout_s
    watcher, pace = Watcher(workspace), Backoff(workspace.target.poll_s)
    while not (run := _looked_at(workspace, run, pace)).finished:
        report(run, watcher.look(run))
        if end is not None and time.monotonic() > end:
            raise WaitTimeoutError(
                f"run {run.id} is {run.state} after {timeout_s:.0f} s",
                hint=f"Go on waiting with `emrctl wait {run.id}`.",
            )
        pace.wait()
    return run


def cancel(workspace: Workspace, run: Run) -> Run:
    """The run's step is asked to end; the run as it is then."""
    run = refresh(workspace, run)
    if run.finished:
        return run
    if run.step_id is None:
        raise NotFoundError(f"run {run.id} has no step yet", hint="Try again in a moment.")
    workspace.backend(run.cluster.id, run.cluster.log_uri).cancel(run.step_id)
    return refresh(workspace, run)


def shown_settings(job: staging.Job, order: Order) -> dict[str, Any]:
    """The settings in force for the order, as a run's record shows them: secrets left out."""
    shown = job.spec.settings.merged(order.settings).as_dict()
    return shown | {"conf": redact.mapping(shown["conf"])} if "conf" in shown else shown


def expanded(arguments: Sequence[str], run: Run) -> tuple[str, ...]:
    """`arguments` with `{run}` as the run's own prefix and `{bucket}` as its bucket's name."""
    places = {RUN_PLACEHOLDER: run.prefix, BUCKET_PLACEHOLDER: run.bucket}
    return tuple(
        functools.reduce(lambda text, name: text.replace(name, places[name]), places, item)
        for item in arguments
    )


def _new_run(workspace: Workspace, order: Order, place: Cluster, job: staging.Job) -> Run:
    return Run(
        id=store.new_id(job.name),
        job=job.name,
        project=workspace.project.project,
        target=workspace.target.kind,
        identity=workspace.target.identity,
        bucket=place.bucket,
        cluster=_facts(place),
        created=datetime.now(UTC).isoformat(timespec="milliseconds"),
        settings=shown_settings(job, order),
        tags={**job.spec.tags, **order.tags},
        trial=order.trial,
    )


def _facts(place: Cluster) -> ClusterFacts:
    return ClusterFacts(
        name=place.name,
        id=place.id,
        release=place.spec.release,
        primary_type=place.spec.primary_group.type,
        core_type=place.spec.core_group.type,
        core_count=place.spec.core_group.count,
        hourly_usd=place.hourly_usd,
        primary_dns=place.primary_dns,
        log_uri=place.log_uri,
    )


def _arguments(job: staging.Job, given: Sequence[str], run: Run) -> tuple[str, ...]:
    found = [*job.spec.args, *given]
    if job.gallery and not any(_is_output(item) for item in found):
        found += ["--output", f"{RUN_PLACEHOLDER}/output"]
    return expanded(found, run)


def _is_output(argument: str) -> bool:
    return argument == "--output" or argument.startswith("--output=")


def _add_step(workspace: Workspace, place: Cluster, run: Run, command: tuple[str, ...]) -> Run:
    prepare_event_logs(workspace.target, place.bucket)
    workspace.store.save(run)
    backend = workspace.backend(place.id, place.log_uri)
    try:
        step_id = backend.submit(StepSpec(name=run.step_name, arguments=command))
    except UsageError as error:
        workspace.store.save(replace(run, state="FAILED", failure=error.message))
        raise
    run = replace(run, state="PENDING", step_id=step_id)
    workspace.store.save(run)
    return run


def _adopt(workspace: Workspace, run: Run) -> Run:
    """A run whose client died between the record and EMR's answer finds its step by name."""
    step = workspace.backend(run.cluster.id, run.cluster.log_uri).find(run.step_name)
    if step is not None:
        run = replace(run, step_id=step.id, state=step.state)
        workspace.store.save(run)
        return refresh(workspace, run) if step.finished else run
    age = datetime.now(UTC) - datetime.fromisoformat(run.created)
    if age.total_seconds() < _ORPHAN_S:
        return run
    return _lost(workspace, run, "its step never reached the cluster")


def _looked_at(workspace: Workspace, run: Run, pace: Backoff) -> Run:
    """The run as it is now; as it was where nobody could say, as long as that may pass."""
    try:
        seen = refresh(workspace, run)
    except UnavailableError as error:
        error.hint = f"The step goes on. Wait again with `emrctl wait {run.id}`."
        pace.failed(error)
        return run
    pace.succeeded(changed=seen.state != run.state)
    return seen


def _taken(workspace: Workspace, run: Run, step: Step | None) -> Run:
    """The run as its step says; pulled and finished in the store where that has ended."""
    if step is None:
        return _lost(workspace, run, "its cluster does not know the step")
    if step.finished:
        return pull.finish(workspace, replace(run, started=_iso(step.started)), step)
    started = _iso(step.started)
    if (run.state, run.started) != (step.state, started):
        run = replace(run, state=step.state, started=started)
        workspace.store.save(run)
    return run


_Steps = Mapping[str, Mapping[str, Step] | None]


def _steps_seen(workspace: Workspace, found: Sequence[Run]) -> _Steps:
    """The steps of these runs by cluster: none where it is not known, None where nobody says."""
    target = workspace.target_or_none
    wanted: dict[str, list[str]] = {}
    logs: dict[str, str | None] = {}
    for run in found:
        if target is not None and run.identity == target.identity and run.step_id is not None:
            wanted.setdefault(run.cluster.id, []).append(run.step_id)
            logs[run.cluster.id] = run.cluster.log_uri
    seen: dict[str, Mapping[str, Step] | None] = {}
    for cluster_id, step_ids in wanted.items():
        try:
            seen[cluster_id] = workspace.backend(cluster_id, logs[cluster_id]).steps(step_ids)
        except NotFoundError:
            seen[cluster_id] = {}
        except UnavailableError:
            seen[cluster_id] = None
    return seen


def _looked_after(workspace: Workspace, run: Run, seen: _Steps) -> Run:
    if run.finished:
        return run
    if run.step_id is None or run.cluster.id not in seen:
        with contextlib.suppress(UnavailableError):
            return refresh(workspace, run)
        return run
    steps = seen[run.cluster.id]
    return run if steps is None else _taken(workspace, run, steps.get(run.step_id))


def _step(workspace: Workspace, run: Run) -> Step | None:
    try:
        return workspace.backend(run.cluster.id, run.cluster.log_uri).step(str(run.step_id))
    except NotFoundError:
        return None


def _lost(workspace: Workspace, run: Run, why: str) -> Run:
    lost = replace(run, state="LOST", failure=why)
    workspace.store.save(lost)
    return lost


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="milliseconds")


def describe(workspace: Workspace, run: Run) -> dict[str, Any]:
    """A run with its metrics and its job's result, as one JSON document."""
    found = asdict(run) | {"duration_s": run.duration_s, "cost_usd": run.cost_usd}
    found["location"] = workspace.store.location(run.id)
    for name in ("metrics", "result"):
        found[name] = workspace.store.get_json(run.id, f"{name}.json")
    found["nodes"] = collect.nodes_used(workspace, run)
    found["findings"] = _findings(found["metrics"])
    return found


def _findings(metrics: dict[str, Any] | None) -> list[dict[str, Any]]:
    if metrics is None:
        return []
    from emrctl.metrics.findings import rules
    from emrctl.metrics.model import RunMetrics

    return [item.to_json() for item in rules.of(RunMetrics.from_json(metrics))]
