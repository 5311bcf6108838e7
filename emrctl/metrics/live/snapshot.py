"""Snapshot of a running step: its application and queue, the cluster, Spark's REST API.

A source that does not answer is not asked again for a while; its last value is kept with its age.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from emrctl.errors import EmrctlError
from emrctl.metrics.live import sparkui
from emrctl.metrics.live.managers import ClusterManager
from emrctl.metrics.live.rest import Fetch
from emrctl.metrics.model import ApplicationAccount, ClusterAccount
from emrctl.metrics.record import Record

T = TypeVar("T")
# Each failed request costs a time-out. Spark's API is unavailable for some seconds at the start of
# every application.
RETRY_S, SPARK_RETRY_S = 20.0, 3.0


@dataclass(frozen=True, kw_only=True)
class LiveSnapshot(Record):
    """A running step at one time; `ages_s` has the age of each source's value.

    Sources that never answered are not in it. `state` is the step's.
    """

    run: str
    state: str
    at_ms: int = 0
    application: ApplicationAccount | None = None
    cluster: ClusterAccount | None = None
    spark: sparkui.SparkState | None = None
    ages_s: Mapping[str, float] = field(default_factory=dict)


class PolledSource(Generic[T]):
    """A source that may be unavailable: its last value and age."""

    def __init__(
        self, retry_s: float = RETRY_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.last: T | None = None
        self._retry_s = retry_s
        self._clock = clock
        self._at: float | None = None
        self._not_before = 0.0

    def poll(self, read: Callable[[], T | None]) -> T | None:
        """Return a new value, or the last one if reading fails or is not due."""
        now = self._clock()
        if now < self._not_before:
            return self.last
        try:
            value = read()
        except (OSError, ValueError, KeyError, TypeError, EmrctlError):
            self._not_before = self._clock() + self._retry_s
            return self.last
        if value is not None:
            self.last, self._at = value, now
        return self.last

    @property
    def age_s(self) -> float | None:
        """Seconds since the last value; None without one."""
        return None if self._at is None else max(0.0, self._clock() - self._at)


@dataclass(frozen=True)
class LiveSources:
    """The cluster manager, and Spark's REST API by application id."""

    manager: ClusterManager
    spark: Callable[[str], Fetch]


def _required(value: T | None) -> T:
    """Return the value; raises `ValueError` for None."""
    if value is None:
        raise ValueError("no answer")
    return value


class RunWatch:
    """Polls the sources of one run."""

    def __init__(self, sources: LiveSources, tag: str) -> None:
        self._sources = sources
        self._tag = tag.lower()
        self._application: PolledSource[ApplicationAccount] = PolledSource()
        self._cluster: PolledSource[ClusterAccount] = PolledSource()
        self._spark: PolledSource[sparkui.SparkState] = PolledSource(SPARK_RETRY_S)

    def application(self) -> ApplicationAccount | None:
        """Return the account of the run's newest application."""
        return self._application.poll(lambda: self._sources.manager.tagged(self._tag))

    def cluster(self) -> ClusterAccount | None:
        """Return the cluster's account with nodes and queues."""
        return self._cluster.poll(lambda: _required(self._sources.manager.cluster()))

    def spark(self) -> sparkui.SparkState | None:
        """Return the state from Spark's REST API, which is read only while the application runs."""
        app = self._application.last
        if app is None or app.state != "RUNNING":
            return self._spark.last
        fetch = self._sources.spark(app.application_id)
        return self._spark.poll(lambda: _required(sparkui.state(fetch, app.application_id)))

    def snapshot(self, run: str, state: str) -> LiveSnapshot:
        """Return the current snapshot."""
        application = self.application()
        cluster, spark = self.cluster(), self.spark()
        return LiveSnapshot(
            run=run,
            state=state,
            at_ms=int(time.time() * 1000),
            application=application,
            cluster=cluster,
            spark=spark,
            ages_s=self._ages(),
        )

    def _ages(self) -> dict[str, float]:
        ages = {
            "yarn": self._application.age_s,
            "cluster": self._cluster.age_s,
            "spark": self._spark.age_s,
        }
        return {name: round(age, 1) for name, age in ages.items() if age is not None}
