"""What a finding is, and the run as those who look for findings see it."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from emrctl.metrics import timeline
from emrctl.metrics.findings.limits import limit
from emrctl.metrics.findings.spark_conf import Settings
from emrctl.metrics.model import Record, RunMetrics, StageMetrics

KINDS: dict[str, str] = {
    "data_skew": "one partition holds much more than the others",
    "gc_straggler": "one task waits for the garbage collector",
    "fetch_straggler": "one task waits for its shuffled data",
    "slow_host": "tasks on one executor are slower than the same tasks elsewhere",
    "straggler": "one task is slow, and no figure says why",
    "few_partitions": "fewer tasks than cores, or a last wave of few",
    "many_partitions": "shuffled data cut into more pieces than pays",
    "small_tasks": "tasks too short for what starting them costs",
    "idle_executors": "some executors work, the others look on",
    "allocation_churn": "dynamic allocation sends executors away and fetches them again",
    "missing_executors": "executors that were asked for never came",
    "driver_bound": "the executors wait for the driver",
    "gc": "the garbage collector takes much of the tasks' time",
    "spill": "data does not fit the memory for it and goes to disk",
    "memory_unused": "most of the executors' heap is never used",
    "memory_short": "the executors' heap is too small",
    "container_killed": "containers were killed for the memory they took",
    "small_files": "many small files are read or written",
    "wide_broadcast": "a large table goes whole to every executor",
    "uncached_reuse": "the same data is computed again and again",
    "failed_work": "work that failed, or was done twice",
    "fetch_failures": "shuffled data was gone when it was needed",
    "speculation_waste": "speculative copies of tasks came to nothing",
}
SEVERITIES = ("high", "medium", "low")


@dataclass(frozen=True, kw_only=True)
class Finding(Record):
    """A diagnosis: `kind` is one of `KINDS`, `seconds` the most that acting on it may win.

    `settings` are those that the advice asks for; none of them is in force already.
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
    """What to do: `text`, and the settings to change, where there are any."""

    text: str
    settings: Mapping[str, str] = field(default_factory=dict)


class View:
    """A run with what is worked out once for all who look at it."""

    def __init__(self, run: RunMetrics) -> None:
        self.run = run
        self.settings = Settings(run.environment, run.spark_version)

    @functools.cached_property
    def start_ms(self) -> int | None:
        """The first moment that is known."""
        moments = [self.run.start_ms] if self.run.start_ms is not None else []
        moments += [span[0] for span in self.spans]
        return min(moments, default=None)

    @functools.cached_property
    def duration_s(self) -> float:
        """Seconds from the first moment that is known to the last."""
        last = timeline.last_known_ms(self.run)
        if self.start_ms is None or last is None:
            return 0.0
        return max(0, last - self.start_ms) / 1000

    @functools.cached_property
    def spans(self) -> list[timeline.Span]:
        """When tasks of any stage ran."""
        found = (timeline.working(stage) for stage in self.run.stages)
        return timeline.merged(span for span in found if span is not None)

    @functools.cached_property
    def _held(self) -> timeline.Area:
        return timeline.cores_held(self.run)

    @functools.cached_property
    def _work(self) -> timeline.Area:
        return timeline.work_done(self.run)

    @functools.cached_property
    def cores(self) -> float:
        """Executor cores while tasks ran, on average."""
        total = sum(end - begin for begin, end in self.spans)
        return sum(map(self._held.within, self.spans)) / total if total else 0.0

    def cores_within(self, span: timeline.Span) -> float:
        """Executor cores that were there in `span`, on average over it."""
        length = span[1] - span[0]
        return self._held.within(span) / length if length > 0 else 0.0

    @functools.cached_property
    def task_time_s(self) -> float:
        """Time of all tasks, the lost ones too."""
        return sum(stage.task_time_ms for stage in self.run.stages) / 1000

    @functools.cached_property
    def completed(self) -> tuple[StageMetrics, ...]:
        """Stages that came to a good end."""
        return tuple(stage for stage in self.run.stages if stage.status == "COMPLETE")

    def cores_of(self, stage: StageMetrics) -> float:
        """Executor cores that were there while the stage's tasks ran, on average."""
        span = timeline.working(stage)
        return self.cores_within(span) if span else 0.0

    def wall_s(self, stage: StageMetrics) -> float:
        """Seconds from the stage's first task to its end."""
        span = timeline.working(stage)
        return (span[1] - span[0]) / 1000 if span else 0.0

    def idle_s(self, stage: StageMetrics) -> float:
        """By how much the stage would be shorter had all cores been at work all the time."""
        span, cores = timeline.working(stage), self.cores_of(stage)
        if span is None or cores <= 0:
            return 0.0
        free = cores * (span[1] - span[0]) - self._work.within(span)
        return max(0.0, free / cores / 1000)

    def worth(self, seconds: float) -> bool:
        """Whether so much is worth a word."""
        return seconds >= max(limit("worth_s"), limit("worth_share") * self.duration_s)

    def severity(self, seconds: float) -> str:
        """How grave a loss of so much is to this run."""
        share = seconds / self.duration_s if self.duration_s else 0.0
        if share >= limit("high_share"):
            return "high"
        return "medium" if share >= limit("medium_share") else "low"

    def over_cores(self, milliseconds: float) -> float:
        """Seconds of the run that so much task time took, spread over the cores."""
        return milliseconds / 1000 / self.cores if self.cores else 0.0


def ids(stages: Iterable[StageMetrics]) -> tuple[int, ...]:
    """Their ids, each once, in order."""
    return tuple(sorted({stage.id for stage in stages}))


def named(stages: Iterable[StageMetrics], most: int = 5) -> str:
    """`stage 3` or `stages 3, 4, 5 and 2 more`."""
    found = ids(stages)
    shown = ", ".join(map(str, found[:most]))
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return f"stage{'s' if len(found) > 1 else ''} {shown}{more}"


def many(number: int, what: str) -> str:
    """`1 task`, `2 tasks`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def size(value: float) -> str:
    """Bytes as a reader likes them."""
    for unit in ("B", "KB", "MB", "GB"):
        if abs(value) < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"


def memory(megabytes: float) -> str:
    """A size as Spark's memory settings take it."""
    whole = max(1, round(megabytes))
    return f"{whole // 1024}g" if whole % 1024 == 0 else f"{whole}m"
