"""Storing of all that a finished step left: logs, event log, YARN's accounts, result, metrics.

The output of the job stays in its bucket and can be downloaded. The run is marked as
finished last, so that an interrupted pull is repeated.
"""

from __future__ import annotations

import fnmatch
import itertools
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from emrctl import redact
from emrctl.aws import errors
from emrctl.aws.listing import objects
from emrctl.aws.polling import poll_until
from emrctl.aws.s3 import split_uri
from emrctl.errors import NotFoundError, UsageError
from emrctl.metrics.model import YarnAccounts
from emrctl.paths import atomic_file, temporary_folder
from emrctl.runs import applications, collect, secrets
from emrctl.runs.applications import Application
from emrctl.runs.backends import step_failure
from emrctl.runs.backends.base import LogFile, Step, to_iso
from emrctl.runs.record import IMPORTED, Run
from emrctl.runs.store import RunFiles
from emrctl.runs.workspace import Workspace


def finish(
    workspace: Workspace, run: Run, step: Step, check_output: Callable[[Run], tuple[str, ...]]
) -> Run:
    """Store what the step left and return the run in its final state.

    `check_output` checks the outputs of the run and returns warnings.
    """
    ended = to_iso(step.ended or datetime.now(UTC))
    run = replace(run, state=step.state, inferred=step.inferred, ended=ended)
    logs = _wait_for_step_logs(workspace, run)
    with temporary_folder() as folder:
        found = applications.download(workspace, run, folder)
        run = applications.identify(workspace, run, found, logs)
        yarn = collect.collect_yarn(workspace, run)
        run = replace(run, instances_usd=collect.collect_instances(workspace, run))
        logs += _container_logs(workspace, run)
        _save(workspace, run, logs, yarn, found)
    faults = dict.fromkeys((*run.warnings, *collect.fault_warnings(workspace)))
    run = replace(run, warnings=(*faults, *check_output(run)))
    run = _explain(run, step, logs)
    warning = secrets.delete_private(workspace.target, run)
    run = replace(run, warnings=(*run.warnings, warning)) if warning else run
    workspace.store.save(run)
    return run


def _explain(run: Run, step: Step, logs: Sequence[LogFile]) -> Run:
    """Return the run with the cause of its failure.

    A run that the user cancelled has none, and the logs of an interrupted one end with the
    symptoms of its terminated cluster.
    """
    if step.state in {"COMPLETED", "CANCELLED"}:
        return run
    cause = step_failure.explain(logs) if step.state == "FAILED" else None
    if cause is None:
        return replace(run, failure=redact.text(step.reason) or f"the step is {step.state}")
    return replace(run, failure=redact.text(cause.line), failure_log=cause.log)


def repeat(workspace: Workspace, run: Run) -> None:
    """Read the logs, result and metrics of a finished run again."""
    if run.target == IMPORTED:
        raise UsageError(
            f"run {run.id} was imported and has no cluster",
            hint="Import its event log again with `emrctl runs import`.",
        )
    yarn = collect.collect_yarn(workspace, run)
    with temporary_folder() as folder:
        found = applications.download(workspace, run, folder)
        logs = [*_step_logs(workspace, run), *_container_logs(workspace, run)]
        _save(workspace, run, logs, yarn, found)


def _wait_for_step_logs(workspace: Workspace, run: Run) -> list[LogFile]:
    """Return the step's own logs, which arrive on S3 some minutes after the step has ended."""
    logs: list[LogFile] = []

    def complete() -> bool:
        logs[:] = _step_logs(workspace, run)
        return any(log.name == "step/stderr" for log in logs)

    poll_until(complete, workspace.target.poll_s, workspace.target.logs_s)
    return logs


def _step_logs(workspace: Workspace, run: Run) -> Iterator[LogFile]:
    return workspace.backend(run.cluster).step_logs(str(run.step_id))


def _container_logs(workspace: Workspace, run: Run) -> Iterator[LogFile]:
    """Yield the logs of the containers of the step's applications.

    Names of further applications' logs contain their ids: executors of EC2 have the same names.
    """
    backend = workspace.backend(run.cluster)
    first = (run.application_id,) if run.application_id else ()
    for id_ in run.applications or first:
        for log in backend.container_logs(id_):
            folder = "containers/" if id_ == run.application_id else f"containers/{id_}/"
            yield replace(log, name=log.name.replace("containers/", folder, 1))


def _save(
    workspace: Workspace,
    run: Run,
    logs: Sequence[LogFile],
    yarn: YarnAccounts | None,
    found: Sequence[Application],
) -> None:
    files = workspace.store.files(run.id)
    for log in logs:
        with log.open() as stream:
            # What a program prints is data, in which nearly any text may occur.
            own = log.name.endswith("stdout")
            files.write(log.name, stream if own else redact.stream(stream), RunFiles.LOGS)
    _save_result(workspace, run, files)
    _save_metrics(files, yarn, found)


def _save_result(workspace: Workspace, run: Run, files: RunFiles) -> None:
    """Store the result that the job wrote to its output, if any.

    A job that was cancelled may have written figures before. An output outside of the run's prefix
    may have the result of an earlier run, which is older than the start of this one.
    """
    from botocore.exceptions import ClientError

    bucket, key = split_uri(f"{output_uri(run)}/{RunFiles.RESULT}")
    s3 = workspace.target.client("s3")
    with errors.translated(f"reading s3://{bucket}/{key}"):
        try:
            answer = s3.get_object(Bucket=bucket, Key=key)
            result = answer["Body"].read()
        except ClientError as error:
            if errors.is_temporary(error):
                raise
            return
    started = datetime.fromisoformat(run.started) if run.started else None
    if run.state == "COMPLETED" or (started and answer["LastModified"] >= started):
        files.write(RunFiles.RESULT, result)


def _save_metrics(files: RunFiles, yarn: YarnAccounts | None, found: Sequence[Application]) -> None:
    """Store the event logs of all applications, and their metrics: the run's are the first one's.

    `yarn` has the accounts of the first application and of the cluster.
    """
    from emrctl.metrics.eventlog import layout, redaction

    for application in found:
        path = application.path
        folder = f"{path.name}/" if path.is_dir() else ""
        for file in layout.list_files(path):
            with redaction.stored_form(file) as (name, stream):
                files.write(folder + name, stream, RunFiles.EVENT_LOG)
    if not found:
        return
    metrics = found[0].metrics
    if yarn is not None:
        metrics = replace(metrics, yarn=yarn.application, cluster=yarn.cluster)
    files.write_json(RunFiles.METRICS, metrics.to_json())
    if len(found) > 1:
        others = {item.id: item.metrics.to_json() for item in found[1:]}
        files.write_json(RunFiles.APPLICATIONS, others)


_FLAG = "--output"
_THREADS, _CHUNK_BYTES = 8, 1 << 20


@dataclass(frozen=True, kw_only=True)
class DownloadedOutput:
    """Downloaded files and their total size."""

    files: tuple[Path, ...]
    size_bytes: int


def output_uri(run: Run) -> str:
    """Return the job's `--output` if that is on S3, otherwise `output` below the run's prefix."""
    default = f"{run.prefix}/output"
    uri = default
    for flag, value in itertools.zip_longest(run.arguments, run.arguments[1:], fillvalue=""):
        if flag == _FLAG:
            uri = value
        elif flag.startswith(f"{_FLAG}="):
            uri = flag.partition("=")[2]
    return uri.rstrip("/") if uri.startswith("s3://") else default


def download(workspace: Workspace, run: Run, folder: Path, pattern: str = "*") -> DownloadedOutput:
    """Download the job's output to a folder, replacing files of the same names.

    `pattern` selects names below the output (`*.html`, `models/*`); `NotFoundError` if it matches
    none. Files are replaced atomically.
    """
    s3 = workspace.target.client("s3")
    bucket, prefix = split_uri(f"{output_uri(run)}/")
    with errors.translated(f"reading the output of {run.id}"):
        paths = {
            item["Key"]: folder / name
            for item in objects(s3, bucket, prefix)
            if fnmatch.fnmatchcase(name := item["Key"].removeprefix(prefix), pattern)
            and _is_inside(PurePosixPath(name))
        }
        if not paths:
            hint = f"`aws s3 ls {output_uri(run)}/` lists the output."
            raise NotFoundError(f"run {run.id} has no output '{pattern}'", hint=hint)
        pool = ThreadPoolExecutor(_THREADS)
        try:
            sizes = pool.map(lambda key: _download_object(s3, bucket, key, paths[key]), paths)
            size_bytes = sum(sizes)
        finally:
            pool.shutdown(cancel_futures=True)
    return DownloadedOutput(files=tuple(paths.values()), size_bytes=size_bytes)


def _is_inside(path: PurePosixPath) -> bool:
    return path.name != "" and not path.is_absolute() and ".." not in path.parts


def _download_object(s3: Any, bucket: str, key: str, path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        shutil.copyfileobj(s3.get_object(Bucket=bucket, Key=key)["Body"], file, _CHUNK_BYTES)
        return file.tell()
