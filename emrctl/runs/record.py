"""The record of a run: one step from submission to metrics.

A record is JSON with a schema version. Keys can be added without a new version: unknown keys are
ignored by readers, and kept when a record is written again. A new version means that earlier
readers would misunderstand the record; they reject it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import msgspec

from emrctl.runs import documents
from emrctl.runs.checksums import WeightedSum
from emrctl.runs.commits import Commit
from emrctl.runs.storage import RUNS_PREFIX

# Spark property with the tag of a run; YARN lists applications by it.
TAGS = "spark.yarn.tags"
# The target of runs that were imported from event logs.
IMPORTED = "imported"
LOST = "LOST"
FINAL_STATES = frozenset({"COMPLETED", "FAILED", "CANCELLED", "INTERRUPTED", LOST})
STATES = FINAL_STATES | {"SUBMITTING", "PENDING", "RUNNING", "CANCEL_PENDING"}
SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class CheckedOutput:
    """Rows and checksum of a data set that a run wrote.

    `sums` are those of its columns with fractions. Checksums of one `method` can be compared.
    """

    rows: int
    checksum: str
    sums: Mapping[str, WeightedSum] = field(default_factory=dict)
    files: int
    bytes: int
    method: str


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
    longer exists. `inferred` means that the cluster did not report this final state: it is replaced
    by what is observed later. `commit` is the git commit of the job's folder, `check_output` are
    the data sets of which rows and a checksum are stored. `failure` is the line of the log
    `failure_log` that explains the failure.
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
    inferred: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    code: tuple[str, ...] = ()
    commit: Commit | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    trial: TrialFacts | None = None
    check_output: tuple[str, ...] = ()
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
        """Name of the step; it contains the run's id because EMR steps have no tags.

        EMR's limit is 256 characters.
        """
        return f"{self.job[:150]} [{self.id}]"

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
    def settled(self) -> bool:
        """Whether the state is final and was observed: the record is not changed any more."""
        # Earlier versions did not mark lost runs.
        return self.finished and not self.inferred and self.state != LOST

    @property
    def duration_s(self) -> float | None:
        """Seconds from the step's start to its end; None if it ended before, by other clocks."""
        if self.started is None or self.ended is None:
            return None
        span = datetime.fromisoformat(self.ended) - datetime.fromisoformat(self.started)
        seconds = span.total_seconds()
        return seconds if seconds >= 0 else None

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


class NewerSchemaError(ValueError):
    """A newer emrctl wrote the record, with another meaning of its keys."""


class _Head(msgspec.Struct):
    schema: int = SCHEMA


_Settings = dict[str, bool | int | float | str | list[str] | dict[str, str] | None]
# Keys of nested objects with a type of their own.
_NESTED = ("cluster", "trial", "commit")
_TIMES = ("created", "started", "ended")


def decode(body: bytes, run_id: str) -> Run:
    """Return the run of a record in the folder `run_id`; raises `ValueError` with the reason.

    Times without a zone are taken as UTC.
    """
    schema = documents.decode(body, _Head).schema
    if schema > SCHEMA:
        raise NewerSchemaError(
            f"a newer emrctl wrote it: its schema version is {schema}, not {SCHEMA}"
        )
    run = documents.decode(body, Run)
    if run.id != run_id:
        raise ValueError(f"it is the record of run {run.id[:80]!r}, not of the folder's run")
    if run.state not in STATES:
        raise ValueError(f"state {run.state[:80]!r} is unknown")
    check_settings(run.settings)
    times = {name: getattr(run, name) for name in _TIMES}
    checked: dict[str, Any] = {name: text and zoned(name, text) for name, text in times.items()}
    return run if checked == times else replace(run, **checked)


def encode(run: Run, stored: bytes | None) -> dict[str, Any]:
    """Return the JSON document of a run, with the unknown keys of its stored record."""
    document: dict[str, Any] = {"schema": SCHEMA, **asdict(run)}
    if stored is not None:
        earlier = documents.decode(stored, dict[str, Any])
        for key in _NESTED:
            if isinstance(document[key], dict) and isinstance(earlier.get(key), dict):
                document[key] = {**earlier[key], **document[key]}
        document |= {key: item for key, item in earlier.items() if key not in document}
    return document


def check_settings(settings: Mapping[str, Any]) -> None:
    """Raise `ValueError` if a setting has another type than those of `SparkSettings`."""
    try:
        msgspec.convert(settings, _Settings)
        msgspec.convert(settings.get("conf", {}), dict[str, str])
    except msgspec.ValidationError as error:
        raise ValueError(f"settings: {error}") from error


def zoned(name: str, text: str) -> str:
    """Return a time of a record with its zone, by default UTC; raises `ValueError`."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"`{name}` is not a time in ISO 8601: {text[:80]!r}") from error
    if not 1 < moment.year < 9999:
        raise ValueError(f"`{name}` is out of range: {text[:80]!r}")
    if moment.tzinfo is not None:
        return text
    return moment.replace(tzinfo=UTC).isoformat(timespec="milliseconds")
