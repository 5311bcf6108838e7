"""The store of runs: a folder or an S3 prefix that holds `<run-id>/run.json` and what was pulled.

A finished run is never changed: tags that are added later lie beside it in `tags.json`.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from emrctl.aws.listing import objects
from emrctl.errors import EmrctlError, NotFoundError
from emrctl.paths import write_atomically

RUNS_PREFIX = "runs/"
# The target of runs whose event log somebody else made.
IMPORTED = "imported"
FINAL_STATES = frozenset({"COMPLETED", "FAILED", "CANCELLED", "INTERRUPTED", "LOST"})
Kind = Literal["emr", "ec2"]


def kind_of(cluster_id: str) -> Kind:
    """Clusters of EC2 instances go by their primary's id; EMR gives its own ids."""
    return "ec2" if cluster_id.startswith("i-") else "emr"


@dataclass(frozen=True, kw_only=True)
class ClusterFacts:
    """What a run remembers of the cluster that it ran on."""

    name: str
    id: str
    release: str
    primary_type: str
    core_type: str
    core_count: int
    hourly_usd: float
    primary_dns: str = ""
    log_uri: str | None = None

    @property
    def kind(self) -> Kind:
        """Whether it is EMR's, or of EC2 instances."""
        return kind_of(self.id)


@dataclass(frozen=True, kw_only=True)
class TrialFacts:
    """Which trial of which experiment a run is.

    `published_s` is how long the same cell took whom `published_by` names, on the same data.
    """

    experiment: str
    cell: str
    repeat: int
    published_s: float | None = field(default=None, compare=False)
    published_by: str = field(default="", compare=False)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One step from submission to metrics; times in ISO 8601, UTC.

    `state` is the EMR step's, SUBMITTING before EMR knows of it, or LOST where the emulator or
    the cluster that ran it is gone without an answer. `failure` is the one line that explains a
    failure and `failure_log` where the whole log lies.
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
    started: str | None = None
    ended: str | None = None
    failure: str | None = None
    failure_log: str | None = None
    instances_usd: float | None = None

    @property
    def prefix(self) -> str:
        """The run's own place in the bucket, without a slash at the end."""
        return f"s3://{self.bucket}/{RUNS_PREFIX}{self.id}"

    @property
    def step_name(self) -> str:
        """The name of the step: EMR's steps carry no tags, so the name holds the run's id."""
        return f"{self.job} [{self.id}]"

    @property
    def application_tag(self) -> str:
        """The tag of the run's YARN application, by which it is found while it runs."""
        return f"emrctl-{self.id}"

    @property
    def finished(self) -> bool:
        """Whether nothing about this run can change any more."""
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
        """What the cluster's instances cost on AWS for as long as the step took.

        By their real lives where those are known, else by the cluster's hourly price.
        """
        if self.instances_usd is not None:
            return self.instances_usd
        seconds, hourly_usd = self.duration_s, self.cluster.hourly_usd
        return hourly_usd * seconds / 3600 if seconds is not None and hourly_usd else None


def new_id(job: str, now: datetime | None = None) -> str:
    """An id that sorts by time and tells the job: `20261120-101502123-svm-3f9a`."""
    moment = now or datetime.now(UTC)
    word = "".join(char if char.isalnum() else "-" for char in job.lower()).strip("-")[:24]
    return f"{moment:%Y%m%d-%H%M%S}{moment.microsecond // 1000:03d}-{word}-{secrets.token_hex(2)}"


class Files(Protocol):
    """Where a store keeps its files: keys with slashes, bytes."""

    def read(self, key: str) -> bytes | None:
        """What lies under `key`; None where nothing does."""

    def write(self, key: str, body: bytes) -> None:
        """`body` lies under `key`, whole or not at all."""

    def keys(self, prefix: str) -> list[str]:
        """All keys below `prefix`, sorted."""

    def location(self, key: str) -> str:
        """`key` as a person would open it."""


@dataclass(frozen=True)
class Folder:
    """Files in a local folder, which need not exist yet."""

    path: Path

    def read(self, key: str) -> bytes | None:
        """What lies under `key`; None where nothing does."""
        try:
            return (self.path / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, key: str, body: bytes) -> None:
        """Written aside and renamed, so that a killed client leaves the old or the new file."""
        place = self.path / key
        try:
            write_atomically(place, body, 0o600)
        except OSError as error:
            message = f"cannot write {place}: {error.strerror}"
            raise EmrctlError(
                message, hint="Make the folder writable, or free some disk."
            ) from error

    def keys(self, prefix: str) -> list[str]:
        """All keys below `prefix`, sorted."""
        found = (path for path in (self.path / prefix).rglob("*") if path.is_file())
        return sorted(path.relative_to(self.path).as_posix() for path in found)

    def location(self, key: str) -> str:
        """`key` as a path."""
        return str(self.path / key)


@dataclass(frozen=True)
class Bucket:
    """Files under a prefix of a bucket; `s3` is a boto3 client."""

    s3: Any
    bucket: str
    prefix: str = RUNS_PREFIX

    def read(self, key: str) -> bytes | None:
        """What lies under `key`; None where nothing does."""
        from botocore.exceptions import ClientError

        try:
            answer = self.s3.get_object(Bucket=self.bucket, Key=self.prefix + key)
        except ClientError as error:
            if error.response["Error"]["Code"] in {"NoSuchKey", "404"}:
                return None
            raise
        return bytes(answer["Body"].read())

    def write(self, key: str, body: bytes) -> None:
        """S3 shows an object whole or not at all."""
        self.s3.put_object(Bucket=self.bucket, Key=self.prefix + key, Body=body)

    def keys(self, prefix: str) -> list[str]:
        """All keys below `prefix`, sorted."""
        found = objects(self.s3, self.bucket, self.prefix + prefix)
        return sorted(item["Key"].removeprefix(self.prefix) for item in found)

    def location(self, key: str) -> str:
        """`key` as an `s3://` address."""
        return f"s3://{self.bucket}/{self.prefix}{key}"


@dataclass(frozen=True)
class Store:
    """All runs of a project."""

    files: Files

    def save(self, run: Run) -> None:
        """`run.json` says what `run` says; a finished run's is left as it is."""
        known = self._document(run.id)
        if known is not None and known.get("state") in FINAL_STATES:
            return
        self._write(run.id, "run.json", asdict(run))

    def load(self, run_id: str) -> Run:
        """The run called `run_id`, or the one run whose id holds these letters.

        `latest` is the newest. `NotFoundError` where there is none, or more than one.
        """
        document = self._document(run_id)
        if document is None:
            return self._similar(run_id)
        return self._run(document)

    def all(self) -> list[Run]:
        """Every run, oldest first."""
        documents = (self._document(run_id) for run_id in self.ids())
        return [self._run(document) for document in documents if document is not None]

    def ids(self) -> list[str]:
        """Ids of all runs, oldest first."""
        ends = "/run.json"
        return [
            key.removesuffix(ends)
            for key in self.files.keys("")
            if key.count("/") == 1 and key.endswith(ends)
        ]

    def tag(self, run_id: str, tags: Mapping[str, str]) -> Run:
        """The run carries `tags` besides those it has; an empty value takes a tag away."""
        run = self.load(run_id)
        merged = {key: value for key, value in {**run.tags, **tags}.items() if value}
        self._write(run.id, "tags.json", merged)
        return replace(run, tags=merged)

    def put(self, run_id: str, name: str, body: bytes) -> str:
        """`name` lies beside the run's record; where."""
        key = f"{run_id}/{name}"
        self.files.write(key, body)
        return self.files.location(key)

    def get(self, run_id: str, name: str) -> bytes | None:
        """What lies beside the run's record under `name`."""
        return self.files.read(f"{run_id}/{name}")

    def get_json(self, run_id: str, name: str) -> dict[str, Any] | None:
        """The JSON document beside the run's record; None where it is absent or no document."""
        body = self.get(run_id, name)
        try:
            found = None if body is None else json.loads(body)
        except ValueError:
            return None
        return found if isinstance(found, dict) else None

    def names(self, run_id: str, folder: str = "") -> list[str]:
        """Names of what lies beside the run's record."""
        return [key.removeprefix(f"{run_id}/") for key in self.files.keys(f"{run_id}/{folder}")]

    def location(self, run_id: str, name: str = "") -> str:
        """Where the run, or a file of it, lies."""
        return self.files.location(f"{run_id}/{name}".rstrip("/"))

    def _write(self, run_id: str, name: str, document: Mapping[str, Any]) -> None:
        self.put(run_id, name, json.dumps(document, indent=1, ensure_ascii=False).encode())

    def _document(self, run_id: str) -> dict[str, Any] | None:
        return self.get_json(run_id, "run.json") if run_id else None

    def _run(self, document: dict[str, Any]) -> Run:
        tags = self.get_json(document["id"], "tags.json")
        trial = document.get("trial")
        return Run(
            **{
                **document,
                "cluster": ClusterFacts(**document["cluster"]),
                "trial": TrialFacts(**trial) if trial else None,
                "arguments": tuple(document["arguments"]),
                "code": tuple(document["code"]),
                "warnings": tuple(document["warnings"]),
                "tags": document["tags"] if tags is None else tags,
            }
        )

    def _similar(self, name: str) -> Run:
        ids = self.ids()
        found = ids[-1:] if name == "latest" else [known for known in ids if name and name in known]
        if len(found) == 1:
            return self.load(found[0])
        if found:
            raise NotFoundError(
                f"'{name}' fits {len(found)} runs", hint=f"Say which: {_few(found)}"
            )
        hint = f"The last ones are {_few(ids)}" if ids else "Make one with `emrctl submit`."
        raise NotFoundError(f"no run is called '{name}'", hint=hint)


def _few(ids: Iterable[str]) -> str:
    return ", ".join(list(ids)[-5:])
