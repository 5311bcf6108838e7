"""Submission of runs: upload the job, store the run's record, add the step.

The key of uploaded code contains the hash of its content: a run's record identifies the code
exactly, and submitting an unchanged file again uploads nothing.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from emrctl import bundled, redact
from emrctl.aws.errors import RejectedRequestError
from emrctl.aws.s3 import event_log_conf, prepare_event_logs, put_file, put_zip
from emrctl.aws.target import Target
from emrctl.clusters.model import Cluster
from emrctl.errors import NotFoundError, UsageError
from emrctl.runs import collect, dependencies, gallery, secrets
from emrctl.runs.backends import spark_submit
from emrctl.runs.backends.launcher import (
    ARCHIVE,
    FOLDER,
    SAFE_NAME,
    Launcher,
    Program,
    check_uri,
    find_private,
    find_unsafe,
)
from emrctl.runs.commits import find_commit
from emrctl.runs.dependencies import Dependencies
from emrctl.runs.record import TAGS, ClusterFacts, Run, TrialFacts, new_id
from emrctl.runs.workspace import Workspace
from emrctl.spec import JobSpec, ProjectSpec, SparkSettings
from emrctl.spec.config import Config
from emrctl.spec.output import OutputSpec

RUN_PLACEHOLDER, BUCKET_PLACEHOLDER = "{run}", "{bucket}"


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A job's name, arguments, settings and files; `settings` override those of the job.

    `check_output` are data sets of which the run gets row count and checksum, besides the job's.
    `secrets` are sources of secrets by the name of their variable.
    """

    job: str
    arguments: Sequence[str] = ()
    settings: SparkSettings = field(default_factory=SparkSettings)
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    py_files: Sequence[str] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    trial: TrialFacts | None = None
    check_output: Sequence[str] = ()


def submit(
    workspace: Workspace, submission: Submission, cluster: Cluster | None = None, run_id: str = ""
) -> Run:
    """Submit a job as a step and return its run, which is stored before its step is added.

    Raises `UsageError` if an executor is larger than any node. A cluster without room for all
    executors is a warning of the run.
    """
    cluster = cluster or workspace.cluster()
    job = find_job(submission.job, workspace.config)
    settings = job.spec.settings.merged(submission.settings)
    adapter = workspace.adapter(cluster.id)
    master = adapter.master_conf(cluster, settings)
    if settings.requirements and settings.mode != "cluster":
        _check_local(job, "--requirements in client mode")
    code = stage_job(workspace.target, cluster.bucket, job, submission.py_files)
    shipped = dependencies.stage(workspace.target, cluster, settings, workspace.config.root)
    run = Run(
        id=run_id or new_id(job.name),
        job=job.name,
        project=workspace.project.project,
        target=workspace.target.kind,
        identity=workspace.target.lasting_identity,
        bucket=cluster.bucket,
        cluster=_cluster_facts(cluster),
        created=datetime.now(UTC).isoformat(timespec="milliseconds"),
        settings=settings.record(),
        code=(*code, *shipped.code),
        commit=None if job.script.startswith("s3://") else find_commit(Path(job.script)),
        tags=redact.mapping({**job.spec.tags, **submission.tags}),
        warnings=tuple(filter(None, (master.warning, *collect.fault_warnings(workspace)))),
        trial=submission.trial,
    )
    run = replace(run, check_output=_check_output(job, submission, run))
    program = Program(
        script=code[0],
        py_files=code[1:],
        arguments=_job_arguments(job, submission.arguments, run),
        environment={**job.spec.env, **submission.environment},
        secrets=secrets.resolve(workspace.target, {**job.spec.secrets, **submission.secrets}),
    )
    run = _with_texts(run, program)
    if TAGS in settings.conf:
        shipped = replace(shipped, settings=_with_tag(shipped.settings, run.application_tag))
    conf = {**event_log_conf(cluster.bucket), **adapter.application_conf(run), **master.conf}
    properties = spark_submit.properties(program, shipped.settings, conf)
    launcher = _find_launcher(workspace.target, run, job, program, shipped, properties)
    command = spark_submit.command(program, shipped.settings, conf, master.master, launcher)
    prepare_event_logs(workspace.target, cluster.bucket)
    workspace.store.save(run)
    if launcher is not None and launcher.payload_uri:
        secrets.put_private(workspace.target, run, launcher.payload(program, properties))
    return _add_step(workspace, run, command)


def _add_step(workspace: Workspace, run: Run, command: Sequence[str]) -> Run:
    """Add the step of a stored run and return the run with it."""
    try:
        step_id = workspace.backend(run.cluster).submit(run.step_name, command)
    except (UsageError, NotFoundError, RejectedRequestError) as error:  # no step was added
        secrets.delete_private(workspace.target, run)
        workspace.store.save(replace(run, state="FAILED", failure=redact.text(error.message)))
        raise
    run = replace(run, state="PENDING", step_id=step_id)
    workspace.store.save(run)
    return run


def submit_repeatedly(
    workspace: Workspace, submission: Submission, count: int, wait: Callable[[Run], Run]
) -> list[Run]:
    """Submit a job `count` times, each after `wait` has returned the last one, and return the runs.

    A run that did not complete is the last; `wait` may return a run that is still pending.
    """
    cluster = workspace.cluster()
    runs: list[Run] = []
    while len(runs) < count and all(run.state in {"COMPLETED", "PENDING"} for run in runs):
        runs.append(wait(submit(workspace, submission, cluster)))
    return runs


def _with_texts(run: Run, program: Program) -> Run:
    """Return the run with the program's arguments and environment, secrets redacted."""
    names = (*program.secrets.values, *program.secrets.sources)
    environment = redact.mapping(program.environment) | dict.fromkeys(names, redact.REDACTED)
    return replace(run, arguments=redact.arguments(program.arguments), environment=environment)


def _with_tag(settings: SparkSettings, tag: str) -> SparkSettings:
    """Return the settings with the user's tags in addition to that of the run."""
    return settings.merged(SparkSettings(conf={TAGS: f"{tag},{settings.conf[TAGS]}"}))


def expand(arguments: Sequence[str], run: Run) -> tuple[str, ...]:
    """Return the arguments with `{run}` and `{bucket}` replaced by the run's prefix and bucket."""
    values = {RUN_PLACEHOLDER: run.prefix, BUCKET_PLACEHOLDER: run.bucket}
    return tuple(
        functools.reduce(lambda text, name: text.replace(name, values[name]), values, item)
        for item in arguments
    )


def _check_output(job: Job, submission: Submission, run: Run) -> tuple[str, ...]:
    """Return the data sets to check; `UsageError` if one is not an S3 URI."""
    values = dict.fromkeys(expand((*job.spec.check_output, *submission.check_output), run))
    for text in values:
        OutputSpec.parse(text)
    return tuple(values)


def collapse(text: str, run: Run) -> str:
    """Return an argument or variable with the run's prefix replaced by `{run}`, for other runs."""
    return text.replace(run.prefix, RUN_PLACEHOLDER)


def repeated_arguments(run: Run, project: ProjectSpec) -> tuple[str, ...]:
    """Return the arguments of `emrctl submit` that run the job of a run again.

    Those that emrctl.yaml sets for the job are left out: `submit` adds them.
    """
    own = project.jobs[run.job].args if run.job in project.jobs else ()
    first = redact.arguments(expand(own, run))
    rest = run.arguments[len(first) :] if run.arguments[: len(first)] == first else run.arguments
    return tuple(collapse(item, run) for item in rest)


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


def _job_arguments(job: Job, arguments: Sequence[str], run: Run) -> tuple[str, ...]:
    """Return the job's arguments; jobs of the gallery get an `--output` below the run's prefix."""
    values = [*job.spec.args, *arguments]
    if job.gallery and not any(item.partition("=")[0] == "--output" for item in values):
        values += ["--output", f"{RUN_PLACEHOLDER}/output"]
    return expand(values, run)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job, its script and whether that is one of emrctl's gallery in `jobs/`.

    Relative paths of its spec are relative to `root`.
    """

    name: str
    script: str
    gallery: bool
    spec: JobSpec
    root: Path


def find_job(name: str, config: Config) -> Job:
    """Return a job by its name in emrctl.yaml or `jobs/`, its local path or its `s3://` URI."""
    programs = gallery.scripts()
    spec = config.project.jobs.get(name, JobSpec(script=name))
    script = spec.script
    job = functools.partial(Job, spec=spec, root=config.root)
    if script in programs:
        return job(name=name, script=str(programs[script]), gallery=True)
    if script.startswith("s3://"):
        return job(name=Path(script).stem, script=script, gallery=False)
    base = config.root if name in config.project.jobs else Path.cwd()
    path = base / Path(script).expanduser()
    if path.is_file():
        if path.suffix != ".py":
            hint = "spark-submit runs files as Python programs if their names end with .py."
            raise UsageError(f"'{script}' is not a .py file", hint=hint)
        return job(name=_job_name(name, path), script=str(path), gallery=False)
    raise _unknown_job(name, script, [*config.project.jobs, *programs])


def stage_job(target: Target, bucket: str, job: Job, py_files: Sequence[str]) -> tuple[str, ...]:
    """Upload a job's script and its Python files, packages of `jobs/` as one zip; return URIs.

    Raises `UsageError` for an S3 URI that spark-submit cannot open.
    """
    check_uri(job.script)
    own = [
        item if item.startswith("s3://") else str(job.root / Path(item).expanduser())
        for item in job.spec.py_files
    ]
    files = [_put_py_file(target, bucket, item) for item in (*own, *py_files)]
    packages = gallery.imported_packages(Path(job.script)) if job.gallery else []
    if packages:
        files.append(put_zip(target, bucket, f"{Path(job.script).stem}.zip", packages))
    return (put_file(target, bucket, job.script), *files)


def _put_py_file(target: Target, bucket: str, path: str) -> str:
    """Upload a Python file; in a zip file if a key cannot contain its name, that of a module."""
    check_uri(path)
    file = Path(path).expanduser()
    if not path.startswith("s3://") and not file.exists():
        hint = "Give the path of a file or folder on this machine, or an s3:// URI."
        raise UsageError(f"--py-files {path}: the file does not exist", hint=hint)
    if file.suffix == ".py" and file.is_file() and not SAFE_NAME.fullmatch(file.name):
        return put_zip(target, bucket, f"{file.name}.zip", [file])
    return put_file(target, bucket, path)


def _find_launcher(
    target: Target,
    run: Run,
    job: Job,
    program: Program,
    shipped: Dependencies,
    properties: Mapping[str, str],
) -> Launcher | None:
    """Upload launch.py and return it if the program needs it, otherwise None."""
    private = find_private(program, properties)
    secret = next(iter(program.secrets.sources), "")
    reason = f"the secret {private or secret}" if private or secret else ""
    reason = reason or _find_unsafe(job, program, properties, shipped.settings)
    if not reason and not shipped.packages:
        return None
    launcher = stage_launcher(target, run.bucket, job, reason or "--requirements in client mode")
    uri = f"s3://{run.bucket}/{secrets.private_key(run)}" if private else ""
    return replace(launcher, packages=shipped.packages, payload_uri=uri, region=target.region)


def _find_unsafe(
    job: Job, program: Program, properties: Mapping[str, str], settings: SparkSettings
) -> str:
    """Return what only launch.py passes to the program unchanged; empty if there is nothing."""
    on_s3 = job.script.startswith("s3://")
    name = Path(job.script).name
    if not on_s3 and not SAFE_NAME.fullmatch(name):
        return f"the file name '{name}'"
    direct = on_s3 and settings.mode != "cluster"
    return find_unsafe(program.arguments, properties, direct=direct)


def stage_launcher(target: Target, bucket: str, job: Job, unsafe: str) -> Launcher:
    """Upload launch.py and, for it, the job's program; `unsafe` is the reason.

    Raises `UsageError` for a program that is already on S3.
    """
    _check_local(job, unsafe)
    script = Path(job.script)
    return Launcher(
        uri=put_file(target, bucket, bundled.root() / "bootstrap" / "launch.py"),
        archive=put_zip(target, bucket, ARCHIVE, [script], FOLDER),
        script=script.name,
    )


def _check_local(job: Job, passed: str) -> None:
    if job.script.startswith("s3://"):
        raise UsageError(
            f"{passed} cannot reach {job.script}: emrctl passes it on for local files only",
            hint="Download the file and submit it from a local path.",
        )


def _job_name(name: str, path: Path) -> str:
    return path.stem if "/" in name or name.endswith(".py") else name


def _unknown_job(name: str, script: str, known: list[str]) -> NotFoundError:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"Did you mean '{near[0]}'? " if near else ""
    hint += f"Known jobs: {', '.join(dict.fromkeys(known))}; or pass the path of a .py file."
    what = f"job '{name}'" if name == script else f"job '{name}': its script '{script}'"
    return NotFoundError(f"{what} is neither a known job nor a file", hint=hint)
