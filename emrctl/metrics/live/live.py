"""One picture of a run at work: its step, its application and queue, Spark's own pages.

Any of them may be away: it is then left alone for a while, and what it said last stands with its
age.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from emrctl.errors import EmrctlError
from emrctl.metrics.live import sparkui
from emrctl.metrics.live.rest import Fetch
from emrctl.metrics.model import ApplicationAccount, ClusterAccount, Record

T = TypeVar("T")
# A page that does not answer is left alone for a while: each try costs a time-out. Spark's are
# away for a few seconds at the start of every application.
SILENCE_S, SPARK_SILENCE_S = 20.0, 3.0


@dataclass(frozen=True, kw_only=True)
class Live(Record):
    """What is known at one moment; `ages_s` says how long ago each source told it.

    A source that never answered is not among them. `state` is the step's.
    """

    run: str
    state: str
    at_ms: int = 0
    application: ApplicationAccount | None = None
    cluster: ClusterAccount | None = None
    spark: sparkui.State | None = None
    ages_s: Mapping[str, float] = field(default_factory=dict)


class Source(Generic[T]):
    """Something that may be away; what it said last, and when."""

    def __init__(
        self, silence_s: float = SILENCE_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.said: T | None = None
        self._silence_s = silence_s
        self._clock = clock
        self._at: float | None = None
        self._not_before = 0.0

    def ask(self, question: Callable[[], T | None]) -> T | None:
        """A new answer; the last one where none comes, or none is waited for."""
        now = self._clock()
        if now < self._not_before:
            return self.said
        try:
            answer = question()
        except (OSError, ValueError, KeyError, TypeError, EmrctlError):
            self._not_before = self._clock() + self._silence_s
            return self.said
        if answer is not None:
            self.said, self._at = answer, now
        return self.said

    @property
    def age_s(self) -> float | None:
        """Seconds since the last answer; None of a source that never answered."""
        return None if self._at is None else max(0.0, self._clock() - self._at)


class Manager(Protocol):
    """Who gives applications their executors: YARN's resource manager, or a standalone master."""

    def application(self, app_id: str) -> ApplicationAccount | None:
        """The account of that application; None where nobody answers or it is forgotten."""

    def tagged(self, tag: str) -> ApplicationAccount | None:
        """The account of the newest application of that tag; raises where nobody answers."""

    def cluster(self) -> ClusterAccount | None:
        """The cluster's account, its nodes and queues; None where nobody answers."""


@dataclass(frozen=True)
class Places:
    """Whom to ask: the cluster's manager, and Spark's pages by application id."""

    manager: Manager
    spark: Callable[[str], Fetch]


def _said(answer: T | None) -> T:
    """The answer; `ValueError` where there is none."""
    if answer is None:
        raise ValueError("no answer")
    return answer


class Watch:
    """Looks at one run's application again and again."""

    def __init__(self, places: Places, tag: str) -> None:
        self._places = places
        self._tag = tag.lower()
        self._application: Source[ApplicationAccount] = Source()
        self._cluster: Source[ClusterAccount] = Source()
        self._spark: Source[sparkui.State] = Source(SPARK_SILENCE_S)

    def application(self) -> ApplicationAccount | None:
        """The manager's account of the run's newest application."""
        return self._application.ask(lambda: self._places.manager.tagged(self._tag))

    def cluster(self) -> ClusterAccount | None:
        """The cluster's account, its nodes and queues."""
        return self._cluster.ask(lambda: _said(self._places.manager.cluster()))

    def spark(self) -> sparkui.State | None:
        """Spark's own pages; asked only while the application runs."""
        app = self._application.said
        if app is None or app.state != "RUNNING":
            return self._spark.said
        fetch = self._places.spark(app.application_id)
        return self._spark.ask(lambda: _said(sparkui.state(fetch, app.application_id)))

    def look(self, run: str, state: str) -> Live:
        """All of it."""
        application = self.application()
        cluster, spark = self.cluster(), self.spark()
        return Live(
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
