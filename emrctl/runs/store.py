"""Records and files of runs, and the store that holds all runs of a project.

The record of a finished run is immutable; tags that are added later are a file of their own.
"""

from __future__ import annotations

import functools
import io
import json
import re
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

from emrctl.aws.errors import get_or_none
from emrctl.aws.listing import objects
from emrctl.errors import EmrctlError, NotFoundError
from emrctl.paths import atomic_file

if TYPE_CHECKING:
    from emrctl.metrics.eventlog.layout import EventLogFile

RUNS_PREFIX = "runs/"
# Spark property with the tag of a run; YARN lists applications by it.
TAGS = "spark.yarn.tags"


@dataclass(frozen=True)
class LocalStorage:
    """Files in a local folder, which is created by the first write; keys have slashes."""

    path: Path

    def read(self, key: str) -> bytes | None:
        """Return the content of a file, None if it does not exist."""
        try:
            return (self.path / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, key: str, body: bytes | BinaryIO) -> None:
        """Write a whole file atomically."""
        path = self.path / key
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_file(path, 0o600) as temporary, temporary.open("wb") as file:
                shutil.copyfileobj(io.BytesIO(body) if isinstance(body, bytes) else body, file)
        except OSError as error:
            message = f"cannot write {path}: {error.strerror}"
            hint = "Make the folder writable, or free disk space."
            raise EmrctlError(message, hint=hint) from error

    def delete(self, key: str) -> None:
        """Delete a file if it exists."""
        (self.path / key).unlink(missing_ok=True)

    def keys(self, prefix: str) -> list[str]:
        """Return the keys of the files in the folder `prefix`, sorted."""
        files = (path for path in (self.path / prefix).rglob("*") if path.is_file())
        return sorted(path.relative_to(self.path).as_posix() for path in files)

    def location(self, key: str) -> str:
        """Return the path of a file."""
        return str(self.path / key)


@dataclass(frozen=True)
class S3Storage:
    """Files under a prefix of a bucket; `s3` is a boto3 client."""

    s3: Any
    bucket: str
    prefix: str = RUNS_PREFIX

    def read(self, key: str) -> bytes | None:
        """Return the content of an object, None if it does not exist."""
        address = {"Bucket": self.bucket, "Key": self.prefix + key}
        answer = get_or_none(lambda: self.s3.get_object(**address), "NoSuchKey", "404")
        return None if answer is None else bytes(answer["Body"].read())

    def write(self, key: str, body: bytes | BinaryIO) -> None:
        """Put an object; a stream can be larger than the memory."""
        if isinstance(body, bytes):
            self.s3.put_object(Bucket=self.bucket, Key=self.prefix + key, Body=body)
        else:
            self.s3.upload_fileobj(body, self.bucket, self.prefix + key)

    def delete(self, key: str) -> None:
        """Delete an object if it exists."""
        self.s3.delete_object(Bucket=self.bucket, Key=self.prefix + key)

    def keys(self, prefix: str) -> list[str]:
        """Return the keys that start with `prefix`, sorted."""
        items = objects(self.s3, self.bucket, self.prefix + prefix)
        return sorted(item["Key"].removeprefix(self.prefix) for item in items)

    def location(self, key: str) -> str:
        """Return the `s3://` URI of an object."""
        return f"s3://{self.bucket}/{self.prefix}{key}"


FileStorage = LocalStorage | S3Storage


@dataclass(frozen=True)
class RunFiles:
    """The files of one run; no other code knows their names."""

    storage: FileStorage
    run_id: str

    RECORD: ClassVar = "run.json"
    TAGS: ClassVar = "tags.json"
    METRICS: ClassVar = "metrics.json"
    # Metrics of further applications of the step by their ids.
    APPLICATIONS: ClassVar = "applications.json"
    # Written by the job to its output, and copied to the store.
    RESULT: ClassVar = "result.json"
    YARN: ClassVar = "yarn.json"
    INSTANCES: ClassVar = "instances.json"
    CLOUDWATCH: ClassVar = "cloudwatch.json"
    NODE_SAMPLES: ClassVar = "nodes.jsonl"
    # Folders.
    LOGS: ClassVar = "logs/"
    EVENT_LOG: ClassVar = "eventlog/"

    def read(self, name: str, folder: str = "") -> bytes | None:
        """Return the content of a file, None if it does not exist."""
        return self.storage.read(f"{self.run_id}/{folder}{name}")

    def read_json(self, name: str) -> dict[str, Any] | None:
        """Return a JSON object, None if the file does not exist or is damaged."""
        body = self.read(name)
        try:
            document = None if body is None else json.loads(body)
        except ValueError:
            return None
        return document if isinstance(document, dict) else None

    def write(self, name: str, body: bytes | BinaryIO, folder: str = "") -> None:
        """Write a file."""
        self.storage.write(f"{self.run_id}/{folder}{name}", body)

    def delete(self, name: str, folder: str = "") -> None:
        """Delete a file if it exists."""
        self.storage.delete(f"{self.run_id}/{folder}{name}")

    def write_json(
        self, name: str, document: Mapping[str, Any], *, indent: int | None = None
    ) -> None:
        """Write a JSON object."""
        text = json.dumps(document, indent=indent, ensure_ascii=False)
        self.write(name, text.encode(errors="replace"))

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder, sorted."""
        prefix = f"{self.run_id}/{folder}"
        return [key.removeprefix(prefix) for key in self.storage.keys(prefix)]

    def event_log(self) -> tuple[EventLogFile, ...]:
        """Return the run's event log; raises `NotFoundError` if there is none."""
        from emrctl.metrics.eventlog.layout import EventLogFile

        names = self.names(self.EVENT_LOG)
        if not names:
            raise NotFoundError(
                f"run {self.run_id} has no event log in the store",
                hint=f"Download it again with `emrctl pull {self.run_id}`.",
            )

        def open_file(name: str) -> BinaryIO:
            return io.BytesIO(self.read(name, self.EVENT_LOG) or b"")

        return tuple(EventLogFile(name, functools.partial(open_file, name)) for name in names)

    def location(self, name: str = "", folder: str = "") -> str:
        """Return the path or URI of a file, by default of the run's folder."""
        return self.storage.location(f"{self.run_id}/{folder}{name}".rstrip("/"))


# The target of runs that were imported from event logs.
IMPORTED = "imported"
FINAL_STATES = frozenset({"COMPLETED", "FAILED", "CANCELLED", "INTERRUPTED", "LOST"})


@dataclass(frozen=True, kw_only=True)
class ClusterFacts:
    """The cluster of a run, as of the submission."""

    name: str
    id: str
    release: str
    primary_type: str
    core_type: str
    core_count: int
    hourly_usd: float
    primary_dns: str = ""
    log_uri: str | None = None


@dataclass(frozen=True, kw_only=True)
class TrialFacts:
    """A run's trial of an experiment: the name of its configuration, and its repeat from 1.

    Repeats up to 0 are warm-up runs. `position` is that of the configuration in the experiment,
    the reference has 0. `published_s` is the duration that `published_by` reported for this
    configuration on the same data.
    """

    experiment: str
    cell: str
    repeat: int
    position: int | None = field(default=None, compare=False)
    published_s: float | None = field(default=None, compare=False)
    published_by: str = field(default="", compare=False)

    @property
    def warm_up(self) -> bool:
        """Whether the run is not compared."""
        return self.repeat < 1


@dataclass(frozen=True, kw_only=True)
class Run:
    """One step from submission to metrics; times are ISO 8601 in UTC.

    `state` is that of the step, SUBMITTING before it has one, LOST if its emulator or cluster no
    longer exists. `failure` is the line of the log `failure_log` that explains the failure.
    """

    id: str
    job: str
    project: str
    target: str
    identity: str
    bucket: str
    cluster: ClusterFacts
    created: str
    state: str = "SUBMITTING"
    settings: Mapping[str, Any] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    code: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    trial: TrialFacts | None = None
    step_id: str | None = None
    application_id: str | None = None
    applications: tuple[str, ...] = ()
    started: str | None = None
    ended: str | None = None
    failure: str | None = None
    failure_log: str | None = None
    instances_usd: float | None = None

    @property
    def prefix(self) -> str:
        """The run's prefix in the bucket, without a trailing slash."""
        return f"s3://{self.bucket}/{RUNS_PREFIX}{self.id}"

    @property
    def step_name(self) -> str:
        """Name of the step; it contains the run's id because EMR steps have no tags."""
        return f"{self.job} [{self.id}]"

    @property
    def application_tag(self) -> str:
        """Tag by which the YARN application of a running step is found."""
        return f"emrctl-{self.id}"

    def with_applications(self, ids: Sequence[str], warnings: tuple[str, ...]) -> Run:
        """Return the run with the ids of its applications, the largest first, and warnings."""
        first = ids[0] if ids else None
        return replace(self, application_id=first, applications=tuple(ids), warnings=warnings)

    @property
    def finished(self) -> bool:
        """Whether the state of the run is final."""
        return self.state in FINAL_STATES

    @property
    def duration_s(self) -> float | None:
        """Seconds from the step's start to its end."""
        if self.started is None or self.ended is None:
            return None
        return (
            datetime.fromisoformat(self.ended) - datetime.fromisoformat(self.started)
        ).total_seconds()

    @property
    def cost_usd(self) -> float | None:
        """Cost of the cluster's instances for the duration of the step, in USD.

        Computed from the instances' actual lifetimes if known, else from the hourly price.
        """
        if self.instances_usd is not None:
            return self.instances_usd
        seconds, hourly_usd = self.duration_s, self.cluster.hourly_usd
        return hourly_usd * seconds / 3600 if seconds is not None and hourly_usd else None


def new_id(job: str, now: datetime | None = None) -> str:
    """Return an id that sorts by time and contains the job: `20261120-101502123-svm-3f9a`."""
    moment = now or datetime.now(UTC)
    # ASCII: the id is part of a YARN tag.
    word = re.sub(r"[^a-z0-9]+", "-", job.lower()).strip("-")[:24] or "job"
    return f"{moment:%Y%m%d-%H%M%S}{moment.microsecond // 1000:03d}-{word}-{secrets.token_hex(2)}"


@dataclass(frozen=True)
class Store:
    """All runs of a project."""

    storage: FileStorage

    def files(self, run_id: str) -> RunFiles:
        """Return the files of a run."""
        return RunFiles(self.storage, run_id)

    def save(self, run: Run) -> None:
        """Write the record of a run; records of finished runs are not changed."""
        stored = self._document(run.id)
        if stored is None or stored.get("state") not in FINAL_STATES:
            self.files(run.id).write_json(RunFiles.RECORD, asdict(run), indent=1)

    def load(self, run_id: str) -> Run:
        """Return the run with this id or the only one whose id contains `run_id`.

        `latest` is the newest run. Raises `NotFoundError` if there is none, or more than one.
        """
        document = self._document(run_id)
        if document is not None:
            return self._parse(document)
        ids = self.ids()
        matches = ids[-1:] if run_id == "latest" else [item for item in ids if run_id in item]
        if len(matches) == 1 and run_id:
            return self.load(matches[0])
        if matches and run_id:
            hint = f"Specify one of {', '.join(matches[-5:])}"
            raise NotFoundError(f"'{run_id}' matches {len(matches)} runs", hint=hint)
        hint = f"The newest are {', '.join(ids[-5:])}" if ids else "Start one with `emrctl submit`."
        raise NotFoundError(f"no run is called '{run_id}'", hint=hint)

    def all(self) -> list[Run]:
        """Return all runs, oldest first."""
        documents = (self._document(run_id) for run_id in self.ids())
        return [self._parse(document) for document in documents if document is not None]

    def ids(self) -> list[str]:
        """Return the ids of all runs that have a record, oldest first."""
        names = (key.partition("/") for key in self.storage.keys(""))
        return [run_id for run_id, _, name in names if name == RunFiles.RECORD]

    def tag(self, run_id: str, tags: Mapping[str, str]) -> Run:
        """Add tags to a run and return it; an empty value removes a tag."""
        run = self.load(run_id)
        merged = {key: value for key, value in {**run.tags, **tags}.items() if value}
        self.files(run.id).write_json(RunFiles.TAGS, merged, indent=1)
        return replace(run, tags=merged)

    def _document(self, run_id: str) -> dict[str, Any] | None:
        return self.files(run_id).read_json(RunFiles.RECORD) if run_id else None

    def _parse(self, document: dict[str, Any]) -> Run:
        tags = self.files(document["id"]).read_json(RunFiles.TAGS)
        trial = document.get("trial")
        return Run(
            **{
                **document,
                "cluster": ClusterFacts(**document["cluster"]),
                "trial": TrialFacts(**trial) if trial else None,
                "arguments": tuple(document["arguments"]),
                "code": tuple(document["code"]),
                "warnings": tuple(document["warnings"]),
                "applications": tuple(document.get("applications", ())),
                "tags": document["tags"] if tags is None else tags,
            }
        )
