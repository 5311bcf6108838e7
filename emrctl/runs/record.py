"""The record of a run: one step from submission to metrics."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from emrctl.runs.commits import Commit
from emrctl.runs.storage import RUNS_PREFIX

# Spark property with the tag of a run; YARN lists applications by it.
TAGS = "spark.yarn.tags"
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
    longer exists. `commit` is the git commit of the job's folder. `failure` is the line of the log
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
    settings: Mapping[str, Any] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    code: tuple[str, ...] = ()
    commit: Commit | None = None
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
