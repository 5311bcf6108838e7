"""Submission of runs: stage the job, store the run's record, add the step."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from emrctl import redact
from emrctl.aws.s3 import event_log_conf, prepare_event_logs
from emrctl.errors import UsageError
from emrctl.runs import staging
from emrctl.runs.backends import spark_submit
from emrctl.runs.backends.base import StepSpec
from emrctl.runs.store import ClusterFacts, Run, TrialFacts, new_id
from emrctl.spec import SparkSettings

if TYPE_CHECKING:
    from emrctl.clusters.model import Cluster
    from emrctl.runs.workspace import Workspace

RUN_PLACEHOLDER, BUCKET_PLACEHOLDER = "{run}", "{bucket}"


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A job's name, arguments, settings and files; `settings` override those of the job."""

    job: str
    arguments: Sequence[str] = ()
    settings: SparkSettings = field(default_factory=SparkSettings)
    environment: Mapping[str, str] = field(default_factory=dict)
    py_files: Sequence[str] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    trial: TrialFacts | None = None


def submit(workspace: Workspace, submission: Submission, cluster: Cluster | None = None) -> Run:
    """Submit a job as a step and return its run.

    Raises `UsageError` if an executor is larger than any node. A cluster without room for all
    executors is a warning of the run.
    """
    cluster = cluster or workspace.cluster()
    job = staging.find_job(submission.job, workspace.config)
    settings = job.spec.settings.merged(submission.settings)
    adapter = workspace.adapter(cluster.id)
    master = adapter.master_conf(cluster, settings)
    staged = staging.stage_job(workspace.target, cluster.bucket, job, submission.py_files)
    run = Run(
        id=new_id(job.name),
        job=job.name,
        project=workspace.project.project,
        target=workspace.target.kind,
        identity=workspace.target.identity,
        bucket=cluster.bucket,
        cluster=_cluster_facts(cluster),
        created=datetime.now(UTC).isoformat(timespec="milliseconds"),
        settings=settings.record(),
        code=(staged.script, *staged.py_files),
        tags={**job.spec.tags, **submission.tags},
        warnings=(master.warning,) if master.warning else (),
        trial=submission.trial,
    )
    program = spark_submit.Program(
        script=staged.script,
        py_files=staged.py_files,
        arguments=_job_arguments(job, submission.arguments, run),
        environment={**job.spec.env, **submission.environment},
    )
    run = replace(
        run,
        arguments=redact.arguments(program.arguments),
        environment=redact.mapping(program.environment),
    )
    conf = {**event_log_conf(cluster.bucket), **adapter.application_conf(run), **master.conf}
    command = spark_submit.command(program, settings, conf, master.master)
    prepare_event_logs(workspace.target, cluster.bucket)
    workspace.store.save(run)
    step = StepSpec(name=run.step_name, arguments=command)
    try:
        step_id = workspace.backend(cluster.id, cluster.log_uri).submit(step)
    except UsageError as error:
        workspace.store.save(replace(run, state="FAILED", failure=redact.text(error.message)))
        raise
    run = replace(run, state="PENDING", step_id=step_id)
    workspace.store.save(run)
    return run


def expand(arguments: Sequence[str], run: Run) -> tuple[str, ...]:
    """Return the arguments with `{run}` and `{bucket}` replaced by the run's prefix and bucket."""
    values = {RUN_PLACEHOLDER: run.prefix, BUCKET_PLACEHOLDER: run.bucket}
    return tuple(
        functools.reduce(lambda text, name: text.replace(name, values[name]), values, item)
        for item in arguments
    )


def _cluster_facts(cluster: Cluster) -> ClusterFacts:
    return ClusterFacts(
        name=cluster.name,
        id=cluster.id,
        release=cluster.spec.release,
        primary_type=cluster.spec.primary_group.type,
        core_type=cluster.spec.core_group.type,
        core_count=cluster.spec.core_group.count,
        hourly_usd=cluster.hourly_usd,
        primary_dns=cluster.primary_dns,
        log_uri=cluster.log_uri,
    )


def _job_arguments(job: staging.Job, arguments: Sequence[str], run: Run) -> tuple[str, ...]:
    """Return the job's arguments; jobs of the gallery get an `--output` below the run's prefix."""
    values = [*job.spec.args, *arguments]
    if job.gallery and not any(item.partition("=")[0] == "--output" for item in values):
        values += ["--output", f"{RUN_PLACEHOLDER}/output"]
    return expand(values, run)
