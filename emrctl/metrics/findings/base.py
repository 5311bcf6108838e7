"""Findings, their kinds, and the view of a run that rules use."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from emrctl.metrics import timeline
from emrctl.metrics.findings.limits import limit
from emrctl.metrics.findings.spark_conf import SparkConf
from emrctl.metrics.model import Record, RunMetrics, StageMetrics

KINDS: dict[str, str] = {
    "data_skew": "one partition is much larger than the others",
    "gc_straggler": "one task spends most of its time in garbage collection",
    "fetch_straggler": "one task waits for shuffle data",
    "slow_host": "tasks on one executor are slower than the same tasks elsewhere",
    "straggler": "one task is slow for an unknown reason",
    "few_partitions": "fewer tasks than cores, or a nearly empty last wave",
    "many_partitions": "more shuffle partitions than useful",
    "small_tasks": "tasks shorter than their scheduling overhead",
    "idle_executors": "some executors are idle while others work",
    "allocation_churn": "dynamic allocation removes executors and requests them again",
    "missing_executors": "requested executors were never allocated",
    "driver_bound": "executors wait for the driver",
    "gc": "garbage collection takes much of the task time",
    "spill": "data does not fit into memory and is spilled to disk",
    "memory_unused": "most of the executor heap is never used",
    "memory_short": "the executor heap is too small",
    "container_killed": "containers exceeded their memory limit and were killed",
    "small_files": "many small files are read or written",
    "wide_broadcast": "a large table is broadcast to every executor",
    "uncached_reuse": "the same data is computed several times",
    "failed_work": "tasks or stages failed or were repeated",
    "fetch_failures": "shuffle data was lost before it was read",
    "speculation_waste": "speculative task copies were wasted",
}
SEVERITIES = ("high", "medium", "low")


@dataclass(frozen=True, kw_only=True)
class Finding(Record):
    """A diagnosis: `kind` is one of `KINDS`, `seconds` the largest possible saving.

    `settings` are the settings that the advice recommends; none of them is in effect already.
    """

    kind: str
    severity: str
    evidence: str
    advice: str
    seconds: float = 0.0
    stages: tuple[int, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Advice:
    """Advice as text, and the settings to change, if any."""

    text: str
    settings: Mapping[str, str] = field(default_factory=dict)


class RunView:
    """A run with derived values that several rules use."""

    def __init__(self, run: RunMetrics) -> None:
        self.run = run
        self.settings = SparkConf(run.environment, run.spark_version)

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
    def spans(self) -> list[timeline.Span]:
        """Merged time spans in which tasks of any stage ran."""
        spans = (timeline.working(stage) for stage in self.run.stages)
        return timeline.merged(span for span in spans if span is not None)

    @functools.cached_property
    def _held(self) -> timeline.Area:
        return timeline.cores_held(self.run)

    @functools.cached_property
    def _work(self) -> timeline.Area:
        return timeline.work_done(self.run)

    @functools.cached_property
    def cores(self) -> float:
        """Average number of executor cores while tasks ran."""
        total = sum(end - begin for begin, end in self.spans)
        return sum(map(self._held.within, self.spans)) / total if total else 0.0

    def cores_within(self, span: timeline.Span) -> float:
        """Return the average number of executor cores in `span`."""
        length = span[1] - span[0]
        return self._held.within(span) / length if length > 0 else 0.0

    @functools.cached_property
    def task_time_s(self) -> float:
        """Seconds of all tasks, failed ones included."""
        return sum(stage.task_time_ms for stage in self.run.stages) / 1000

    @functools.cached_property
    def completed(self) -> tuple[StageMetrics, ...]:
        """Completed stages."""
        return tuple(stage for stage in self.run.stages if stage.status == "COMPLETE")

    def cores_of(self, stage: StageMetrics) -> float:
        """Return the average number of executor cores while the stage ran."""
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
        return seconds >= max(limit("worth_s"), limit("worth_share") * self.duration_s)

    def severity(self, seconds: float) -> str:
        """Return the severity of a loss for this run."""
        share = seconds / self.duration_s if self.duration_s else 0.0
        if share >= limit("high_share"):
            return "high"
        return "medium" if share >= limit("medium_share") else "low"

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


def count_of(number: int, noun: str) -> str:
    """Return `1 task` or `2 tasks`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def size(value: float) -> str:
    """Format bytes with three significant digits."""
    for unit in ("B", "KB", "MB", "GB"):
        if abs(value) < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"


def memory(megabytes: float) -> str:
    """Format a size for Spark's memory settings."""
    whole = max(1, round(megabytes))
    return f"{whole // 1024}g" if whole % 1024 == 0 else f"{whole}m"
