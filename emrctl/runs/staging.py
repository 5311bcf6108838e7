"""Code and data on their way to the bucket.

Code lies under the hash of its content, so that a run's record names exactly what ran, and a
second submission of the same file uploads nothing.
"""

from __future__ import annotations

import difflib
import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emrctl import bundled
from emrctl.errors import NotFoundError, UsageError
from emrctl.spec import JobSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from emrctl.aws.target import Target
    from emrctl.spec.config import Config

CODE_PREFIX = "code/"
EVENT_LOG_PREFIX = "eventlogs/"
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job that was found: its program, what goes with it, and whether it is one of `jobs/`."""

    name: str
    script: str
    gallery: bool
    spec: JobSpec


@dataclass(frozen=True, kw_only=True)
class StagedJob:
    """Where a job's program and its Python files lie, as `s3://` addresses."""

    script: str
    py_files: tuple[str, ...]


def gallery() -> dict[str, Path]:
    """The programs of `jobs/` by name."""
    folder = bundled.root() / "jobs"
    return {path.stem: path for path in sorted(folder.glob("[!_]*.py"))}


def find_job(name: str, config: Config) -> Job:
    """The job called `name`: of `emrctl.yaml`, of `jobs/`, a local file or an `s3://` address."""
    programs = gallery()
    spec = config.project.jobs.get(name, JobSpec(script=name))
    script = spec.script
    if script in programs:
        return Job(name=name, script=str(programs[script]), gallery=True, spec=spec)
    if script.startswith("s3://"):
        return Job(name=Path(script).stem, script=script, gallery=False, spec=spec)
    base = config.root if name in config.project.jobs else Path.cwd()
    path = base / Path(script).expanduser()
    if path.is_file():
        return Job(name=_job_name(name, path), script=str(path), gallery=False, spec=spec)
    raise _unknown_job(name, script, [*config.project.jobs, *programs])


def stage_job(target: Target, bucket: str, job: Job, py_files: Sequence[str]) -> StagedJob:
    """The job's program and Python files are in the bucket."""
    extra = [*job.spec.py_files, *py_files]
    if job.gallery:
        extra += map(str, sorted(Path(job.script).parent.glob("_*.py")))
    return StagedJob(
        script=put_file(target, bucket, job.script),
        py_files=tuple(put_file(target, bucket, item) for item in extra),
    )


def put_file(target: Target, bucket: str, path: str | Path) -> str:
    """`path` is in the bucket under its content's hash; its `s3://` address, also if it was one.

    A folder becomes a zip file of what is in it, the same bytes for the same content.
    """
    if str(path).startswith("s3://"):
        return str(path)
    local = Path(path).expanduser()
    name, body = _content(local)
    digest = hashlib.sha256(body).hexdigest()[:16]
    key = f"{CODE_PREFIX}{digest}/{name}"
    s3 = target.client("s3")
    if not _exists(s3, bucket, key):
        s3.put_object(Bucket=bucket, Key=key, Body=body)
    return f"s3://{bucket}/{key}"


def prepare_event_logs(target: Target, bucket: str) -> str:
    """The event logs' prefix holds an object; its address.

    Without one Spark's driver dies with FileNotFoundException: there are no folders on S3.
    """
    s3 = target.client("s3")
    key = f"{EVENT_LOG_PREFIX}.keep"
    if not _exists(s3, bucket, key):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    return f"s3://{bucket}/{EVENT_LOG_PREFIX}"


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of an `s3://`, `s3a://` or `s3n://` address; the key may be empty."""
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme not in {"s3", "s3a", "s3n"} or not bucket:
        raise UsageError(f"'{uri}' is no S3 address", hint="Write it as s3://bucket/key.")
    return bucket, key


def _exists(s3: Any, bucket: str, key: str) -> bool:
    from botocore.exceptions import ClientError

    try:
        s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return False
        raise
    return True


def _content(path: Path) -> tuple[str, bytes]:
    if path.is_dir():
        return f"{path.name}.zip", _zip(path)
    try:
        return path.name, path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{path}: {error.strerror}", hint="Give a file that can be read."
        ) from error


def _zip(folder: Path) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                name = path.relative_to(folder.parent).as_posix()
                archive.writestr(zipfile.ZipInfo(name, _EPOCH), path.read_bytes())
    return packed.getvalue()


def _job_name(name: str, path: Path) -> str:
    return path.stem if "/" in name or name.endswith(".py") else name


def _unknown_job(name: str, script: str, known: list[str]) -> NotFoundError:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"Did you mean '{near[0]}'? " if near else ""
    hint += f"Known jobs: {', '.join(dict.fromkeys(known))}; or give the path of a .py file."
    what = f"job '{name}'" if name == script else f"job '{name}': its script '{script}'"
    return NotFoundError(f"{what} is neither a known job nor a file", hint=hint)
