"""Findings, their thresholds, and the view of a run and its Spark properties that rules use."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from emrctl.aws.spark_conf import SparkConf
from emrctl.metrics import timeline
from emrctl.metrics.model import Quantiles, RunMetrics, StageMetrics
from emrctl.metrics.record import Record

MB = 1024 * 1024


class Limit(NamedTuple):
    """A threshold; `source` is where it was published, or why emrctl chose it."""

    value: float
    unit: str
    source: str


_OWN = "chosen on real logs: "
LIMITS: dict[str, Limit] = {
    "worth_s": Limit(1.0, "s", f"{_OWN}less is within the variation between equal runs"),
    "worth_share": Limit(0.02, "of the run", f"{_OWN}as above"),
    "high_share": Limit(0.25, "of the run", f"{_OWN}a quarter of the run"),
    "medium_share": Limit(0.10, "of the run", f"{_OWN}a tenth"),
    "skew_ratio": Limit(3.0, "x median", "rapids-tools: a task of 3 x the stage's mean is skewed"),
    "skew_least_tasks": Limit(4, "tasks", f"{_OWN}the median of fewer is meaningless"),
    "skew_bytes_ratio": Limit(2.0, "x median", f"{_OWN}compressed bytes vary less than rows"),
    "cause_share": Limit(0.5, "of the excess", f"{_OWN}the cause explains most of the excess"),
    "slow_host_least": Limit(3, "tasks", f"{_OWN}3 slow tasks on one host are rarely chance"),
    "slow_host_share": Limit(0.75, "of slow tasks", f"{_OWN}the first task on each host is slow"),
    "few_share": Limit(0.9, "of the cores", f"{_OWN}nearly all cores are busy"),
    "wave_tasks": Limit(4, "x cores", f"{_OWN}with more waves the last one hardly matters"),
    "even_ratio": Limit(1.5, "x median", f"{_OWN}waves are even only with tasks of similar length"),
    "worth_cutting_ms": Limit(2000, "ms", f"{_OWN}shorter tasks are dominated by their start-up"),
    "short_task_ms": Limit(200, "ms", "Spark's tuning guide: efficient down to tasks of 200 ms"),
    "many_tasks": Limit(8, "x cores", "Spark's tuning guide: 2 to 3 tasks for each core"),
    "idle_share": Limit(0.5, "of core time", "DataFlint: more than half idle"),
    "idle_fair_share": Limit(0.1, "of its share", f"{_OWN}an executor that did almost no work"),
    "idle_life_s": Limit(10, "s", f"{_OWN}a new executor had no time to work"),
    "churn_returns": Limit(2, "executors", f"{_OWN}one may be chance"),
    "churn_life_s": Limit(300, "s", f"{_OWN}a longer life outweighs the start-up"),
    "driver_share": Limit(0.25, "of the run", f"{_OWN}reading and writing take less"),
    "start_up_s": Limit(15, "s", f"{_OWN}time to set up a session"),
    "driver_least_s": Limit(3, "s", f"{_OWN}every application needs it to start and stop"),
    "gc_share": Limit(0.10, "of run time", "Dr. Elephant: 10 % is moderate; Spark's page: red"),
    "gc_normal": Limit(0.05, "of run time", "Dr. Elephant: 5 % and less is too much memory"),
    "spill_bytes": Limit(64 * MB, "B", f"{_OWN}less has no noticeable effect"),
    "disk_bytes_s": Limit(100 * MB, "B/s", "EBS gp3: 125 MB/s baseline"),
    "heap_full": Limit(0.95, "of the heap", "DataFlint: higher is under-provisioned"),
    "heap_empty": Limit(0.40, "of the heap", "DataFlint uses 0.70; a JVM fills its heap"),
    "heap_worth_mb": Limit(2048, "MB", f"{_OWN}less room fits no further executor"),
    "heap_task_s": Limit(10, "s", f"{_OWN}less work does not show the need"),
    "files": Limit(100, "files", "DataFlint: more than 100"),
    "file_bytes": Limit(3 * MB, "B", "DataFlint: mean below 3 MB"),
    "file_open_s": Limit(0.02, "s", f"{_OWN}an S3 request and a footer, at best"),
    "broadcast_bytes": Limit(1024 * MB, "B", "DataFlint: above 1 GB"),
    "broadcast_heap": Limit(0.1, "of the heap", f"{_OWN}each executor and the driver hold it"),
    "broadcast_least": Limit(64 * MB, "B", f"{_OWN}smaller tables fit into a small heap"),
    "failure_share": Limit(0.10, "of tasks", "Dr. Elephant: 10 % is moderate"),
    "speculation_share": Limit(0.10, "of task time", f"{_OWN}acceptable cost of a shorter stage"),
    "speculation_least": Limit(2, "tasks", f"{_OWN}one may be chance"),
    "repeat_share": Limit(0.05, "of task time", f"{_OWN}less repeated work is normal"),
}


def limit(name: str) -> float:
    """Return the value of a threshold."""
    return LIMITS[name].value


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
    A rule that leaves `severity` empty gets that of `seconds`.
    """

    kind: str
    severity: str = ""
    evidence: str
    advice: str
    seconds: float = 0.0
    stages: tuple[int, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)


class Advice(NamedTuple):
    """Advice as text, and the settings to change, if any."""

    text: str
    settings: Mapping[str, str] = MappingProxyType({})


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


def median(quantiles: Quantiles | None) -> int:
    """Return the median; 0 if there are no values."""
    return quantiles.median if quantiles else 0


def count_of(number: int, noun: str) -> str:
    """Return `1 task` or `2 tasks`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


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
