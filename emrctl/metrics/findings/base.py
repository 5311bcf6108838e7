"""Findings, and the view of a run and its Spark properties that rules use."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from emrctl.aws.spark_conf import SparkConf
from emrctl.metrics import timeline
from emrctl.metrics.limits import LIMITS
from emrctl.metrics.model import (
    ExecutorMetrics,
    Quantiles,
    RunMetrics,
    SqlMetrics,
    SqlOperator,
    StageMetrics,
)
from emrctl.metrics.record import Record

SEVERITIES = ("high", "medium", "low")


@dataclass(frozen=True, kw_only=True)
class Finding(Record):
    """A diagnosis: `kind` is one of `KINDS`, `seconds` the largest possible saving.

    `settings` are the settings that the advice recommends; none of them is in effect already.
    A rule that leaves `severity` empty gets that of `seconds`. `confidence` in the diagnosis is
    that of its kind, one step less if the event log is incomplete. `replayed_s` is the saving by a
    replay without what was found (`emrctl.predict.savings`), None where there was none.
    """

    kind: str
    severity: str = ""
    confidence: str = ""
    evidence: str
    advice: str
    seconds: float = 0.0
    replayed_s: float | None = None
    stages: tuple[int, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)


class Advice(NamedTuple):
    """Advice as text, and the settings to change, if any."""

    text: str
    settings: Mapping[str, str] = MappingProxyType({})


class RunView:
    """A run with derived values that several rules use."""

    def __init__(self, run: RunMetrics, limits: Mapping[str, float] | None = None) -> None:
        self.run = run
        self._limits = limits or {}
        self.settings = SparkConf(run.environment, run.spark_version)

    def limit(self, name: str) -> float:
        """Return the value of a threshold: the user's, otherwise that of `LIMITS`."""
        value = self._limits.get(name)
        return LIMITS[name].value if value is None else value

    @functools.cached_property
    def start_ms(self) -> int | None:
        """The earliest known time."""
        moments = [self.run.start_ms] if self.run.start_ms is not None else []
        moments += [span[0] for span in self.spans]
        return min(moments, default=None)

    @functools.cached_property
    def duration_s(self) -> float:
        """Seconds from the earliest known time to the latest."""
        last = timeline.last_known_ms(self.run)
        if self.start_ms is None or last is None:
            return 0.0
        return max(0, last - self.start_ms) / 1000

    @functools.cached_property
    def workers(self) -> list[ExecutorMetrics]:
        """The executors that existed long enough to work."""
        rows = [row for row in self.run.executors if not row.is_driver and row.cores]
        least_s = self.limit("idle_life_s")
        return [row for row in rows if timeline.lifetime_s(row, self.run) >= least_s]

    @functools.cached_property
    def spans(self) -> list[timeline.Span]:
        """Merged time spans in which tasks of any stage ran."""
        spans = (timeline.working(stage) for stage in self.run.stages)
        return timeline.merged(span for span in spans if span is not None)

    @functools.cached_property
    def _held(self) -> timeline.Area:
        return timeline.slots_held(self.run)

    @functools.cached_property
    def _work(self) -> timeline.Area:
        return timeline.work_done(self.run)

    @functools.cached_property
    def cores(self) -> float:
        """Average number of tasks that can run at once: executor cores / spark.task.cpus."""
        total = sum(end - begin for begin, end in self.spans)
        return sum(map(self._held.within, self.spans)) / total if total else 0.0

    def cores_within(self, span: timeline.Span) -> float:
        """Return the average number of such slots in `span`."""
        length = span[1] - span[0]
        return self._held.within(span) / length if length > 0 else 0.0

    @property
    def slots(self) -> str:
        """What `cores` counts, for messages."""
        cpus = self.settings.task_cpus
        return "cores" if cpus == 1 else f"task slots (spark.task.cpus={cpus})"

    @functools.cached_property
    def task_time_s(self) -> float:
        """Seconds of all tasks, failed ones included."""
        return sum(stage.task_time_ms for stage in self.run.stages) / 1000

    @functools.cached_property
    def completed(self) -> tuple[StageMetrics, ...]:
        """Completed stages."""
        return tuple(stage for stage in self.run.stages if stage.status == "COMPLETE")

    def operators(self, *names: str) -> Iterator[tuple[SqlMetrics, SqlOperator]]:
        """Yield the operators of these names, or of names that start so, with their queries."""
        for query in self.run.sql:
            for item in query.operators or ():
                if item.name.startswith(names) and not item.cached:
                    yield query, item

    def stages_of(self, *queries: SqlMetrics) -> list[StageMetrics]:
        """Return the stages that ran for the queries, each once."""
        ids_ = {stage for query in queries for stage in query.stages}
        return [stage for stage in self.run.stages if stage.id in ids_]

    def query_s(self, query: SqlMetrics) -> float:
        """Return the seconds of a query; 0 if it did not end."""
        if query.start_ms is None or query.end_ms is None:
            return 0.0
        return max(0, query.end_ms - query.start_ms) / 1000

    def cores_of(self, stage: StageMetrics) -> float:
        """Return the average number of such slots while the stage ran."""
        span = timeline.working(stage)
        return self.cores_within(span) if span else 0.0

    def wall_s(self, stage: StageMetrics) -> float:
        """Return the seconds from the stage's first task to its end."""
        span = timeline.working(stage)
        return (span[1] - span[0]) / 1000 if span else 0.0

    def idle_s(self, stage: StageMetrics) -> float:
        """Return how many seconds shorter the stage would be with all cores busy."""
        span, cores = timeline.working(stage), self.cores_of(stage)
        if span is None or cores <= 0:
            return 0.0
        idle = cores * (span[1] - span[0]) - self._work.within(span)
        return max(0.0, idle / cores / 1000)

    def is_significant(self, seconds: float) -> bool:
        """Return whether the loss is large enough to report."""
        return seconds >= max(self.limit("worth_s"), self.limit("worth_share") * self.duration_s)

    def severity(self, seconds: float) -> str:
        """Return the severity of a loss for this run."""
        share = seconds / self.duration_s if self.duration_s else 0.0
        if share >= self.limit("high_share"):
            return "high"
        return "medium" if share >= self.limit("medium_share") else "low"

    def over_cores(self, milliseconds: float) -> float:
        """Convert task time in milliseconds to seconds of the run over all cores."""
        return milliseconds / 1000 / self.cores if self.cores else 0.0


def ids(stages: Iterable[StageMetrics]) -> tuple[int, ...]:
    """Return the distinct stage ids in order."""
    return tuple(sorted({stage.id for stage in stages}))


def stage_names(stages: Iterable[StageMetrics], most: int = 5) -> str:
    """Return `stage 3` or `stages 3, 4, 5 and 2 more`."""
    stage_ids = ids(stages)
    shown = ", ".join(map(str, stage_ids[:most]))
    more = f" and {len(stage_ids) - most} more" if len(stage_ids) > most else ""
    return f"stage{'s' if len(stage_ids) > 1 else ''} {shown}{more}"


def median(quantiles: Quantiles | None) -> int:
    """Return the median; 0 if there are no values."""
    return quantiles.median if quantiles else 0


def count_of(number: int, noun: str) -> str:
    """Return `1 task` or `2 tasks`, `2 queries`."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun.removesuffix('y')}ies" if noun.endswith("y") else f"{number} {noun}s"


def size(value: float) -> str:
    """Format bytes with decimal prefixes and three significant digits."""
    if abs(value) < 1000:
        return f"{value:.0f} B"
    for unit in ("KB", "MB", "GB", "TB"):
        value /= 1000
        if abs(value) < 1000:
            return f"{value:.3g} {unit}"
    return f"{value / 1000:.3g} PB"


def memory(megabytes: float) -> str:
    """Format a size for Spark's memory settings."""
    whole = max(1, round(megabytes))
    return f"{whole // 1024}g" if whole % 1024 == 0 else f"{whole}m"
