"""Explains the difference between the durations of two configurations, stage by stage."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

from emrctl.compare import alignment
from emrctl.compare.alignment import Stage
from emrctl.compare.stage_figures import Clock, StageFigures, duration_s, span, stage_figures
from emrctl.metrics.model import RunMetrics

# The number of repeats that are read: more hardly change a mean.
MAX_REPEATS = 9
# Smaller changes are not listed as reasons.
_LEAST_S, _LEAST_SHARE = 0.05, 0.05
_LEAST_CHANGE = 1.1
_SKEWED = 1.5


@dataclass(frozen=True, kw_only=True)
class Reason:
    """A figure of a stage that changed; `seconds` is its effect on the stage's time if known.

    `unit` is s, B, x or empty.
    """

    label: str
    unit: str
    reference: float
    other: float
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class StageChange:
    """A stage of both configurations, or of one (then the other is None).

    `seconds` is its part of the difference, positive if the other configuration is slower.
    `overlap` means that both were repeated and the ranges of its times overlap.
    """

    name: str
    reference_id: int | None
    other_id: int | None
    reference: StageFigures | None
    other: StageFigures | None
    seconds: float
    overlap: bool = False
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StageComparison:
    """The changes by their part of the difference, the largest first.

    Each pair of times in seconds is that of the reference and of the other configuration:
    `driver_s` is time in which no stage was submitted, `total_s` that of the application. The ids
    of stages are those in the applications `app_ids`, the ones of median duration.
    """

    changes: tuple[StageChange, ...]
    driver_s: tuple[float, float]
    total_s: tuple[float, float]
    app_ids: tuple[str, str]
    repeats: tuple[int, int]

    @property
    def seconds(self) -> float:
        """Difference between the durations of the applications."""
        return self.total_s[1] - self.total_s[0]


def compare_stages(
    reference: Sequence[RunMetrics], other: Sequence[RunMetrics]
) -> StageComparison | None:
    """Compare the stages of the runs of two configurations.

    None if one of them has no run with start, end and stages.
    """
    sides = (_Side.of(reference), _Side.of(other))
    if sides[0] is None or sides[1] is None:
        return None
    pairs = alignment.align(sides[0].stages, sides[1].stages)
    changes = [_change(one, two, sides[0], sides[1]) for one, two in pairs]
    changes.sort(key=lambda change: -abs(change.seconds))
    return StageComparison(
        changes=tuple(changes),
        driver_s=(sides[0].driver_s, sides[1].driver_s),
        total_s=(sides[0].total_s, sides[1].total_s),
        app_ids=(sides[0].app_id, sides[1].app_id),
        repeats=(sides[0].repeats, sides[1].repeats),
    )


@dataclass(frozen=True, kw_only=True)
class _Side:
    """The repeats of a configuration: `samples` has the figures of each stage in every repeat.

    `stages` are those of the repeat of median duration.
    """

    app_id: str
    stages: tuple[Stage, ...]
    samples: Mapping[int, Sequence[StageFigures]]
    repeats: int
    driver_s: float
    total_s: float

    @classmethod
    def of(cls, runs: Sequence[RunMetrics]) -> _Side | None:
        timed = [(duration_s(run), run) for run in runs if run.stages and span(run)]
        if not timed:
            return None
        timed.sort(key=lambda item: item[0])
        middle = len(timed) // 2
        low = max(0, min(middle - MAX_REPEATS // 2, len(timed) - MAX_REPEATS))
        chosen = [run for _, run in timed[low : low + MAX_REPEATS]]
        typical = timed[middle][1]
        stages = alignment.stages(typical)
        samples: dict[int, list[StageFigures]] = {stage.id: [] for stage in stages}
        drivers = []
        for run in chosen:
            clock = Clock(run)
            drivers.append(clock.driver_s)
            own = stages if run is typical else alignment.stages(run)
            for one, two in alignment.align(stages, own):
                if one is not None and two is not None:
                    samples[one.id].append(stage_figures(two, clock))
        return cls(
            app_id=typical.app_id or "",
            stages=stages,
            samples=samples,
            repeats=len(chosen),
            driver_s=statistics.fmean(drivers),
            total_s=statistics.fmean(map(duration_s, chosen)),
        )

    def mean(self, stage: Stage) -> StageFigures:
        samples = self.samples[stage.id]
        values = {
            field.name: statistics.fmean(getattr(sample, field.name) for sample in samples)
            for field in fields(StageFigures)
        }
        return StageFigures(**values)

    def range(self, stage: Stage) -> tuple[float, float]:
        seconds = [sample.seconds for sample in self.samples[stage.id]]
        return min(seconds), max(seconds)


def _change(one: Stage | None, two: Stage | None, left: _Side, right: _Side) -> StageChange:
    named = one or two
    ours = left.mean(one) if one else None
    theirs = right.mean(two) if two else None
    overlap = False
    if one and two and left.repeats > 1 and right.repeats > 1:
        ranges = left.range(one), right.range(two)
        overlap = ranges[0][0] <= ranges[1][1] and ranges[1][0] <= ranges[0][1]
    seconds = (theirs.seconds if theirs else 0.0) - (ours.seconds if ours else 0.0)
    return StageChange(
        name=named.name if named else "",
        reference_id=one.id if one else None,
        other_id=two.id if two else None,
        reference=ours,
        other=theirs,
        seconds=seconds,
        overlap=overlap,
        reasons=reasons(ours, theirs) if ours and theirs else (),
    )


# --- reasons --------------------------------------------------------------------------------------

_WORK = (
    ("garbage collection", "gc_s"),
    ("waiting for shuffle data", "fetch_wait_s"),
    ("scheduling and deserialising tasks", "overhead_s"),
    ("failed and killed tasks", "lost_s"),
)
_EVIDENCE = (
    ("tasks", "", "tasks"),
    ("attempts", "", "attempts"),
    ("spilled to disk", "B", "spill_bytes"),
    ("input", "B", "input_bytes"),
    ("shuffle read", "B", "shuffle_read_bytes"),
    ("shuffle write", "B", "shuffle_write_bytes"),
    ("output", "B", "output_bytes"),
)
_LEAST_BYTES = 1 << 20


def reasons(reference: StageFigures, other: StageFigures) -> tuple[Reason, ...]:
    """Return what changed between two stages, the largest effect on their time first.

    With work W (task time) and P tasks at once, the running time is W / P, so its change is
    dW x mean(1/P) + mean(W) x d(1/P). The first part is divided by kinds of work. Figures without
    an effect in seconds follow: they explain the others.
    """
    timed = [reason for reason in _timed(reference, other) if _matters(reason, reference, other)]
    timed.sort(key=lambda reason: -abs(reason.seconds or 0.0))
    evidence = [
        Reason(label=label, unit=unit, reference=values[0], other=values[1])
        for label, unit, name in _EVIDENCE
        if _changed(values := (getattr(reference, name), getattr(other, name)), unit)
    ]
    skews = reference.skew, other.skew
    if max(skews) >= _SKEWED and _changed(skews, "x"):
        evidence.insert(
            0, Reason(label="longest task / median", unit="x", reference=skews[0], other=skews[1])
        )
    return (*timed, *evidence)


def _timed(reference: StageFigures, other: StageFigures) -> Iterable[Reason]:
    both = (reference, other)
    yield _reason("waiting for the first task", [side.delay_s for side in both], 1.0)
    inverse = [1 / side.parallel if side.parallel > 0 else 0.0 for side in both]
    if not all(inverse):
        return
    per_second = statistics.fmean(inverse)
    rest = [side.task_time_s for side in both]
    for label, name in _WORK:
        values = [getattr(side, name) for side in both]
        rest = [left - value for left, value in zip(rest, values, strict=True)]
        yield _reason(label, values, per_second)
    yield _reason("computing, reading and writing", [max(0.0, left) for left in rest], per_second)
    work = statistics.fmean(side.task_time_s for side in both)
    yield Reason(
        label="tasks at once",
        unit="",
        reference=reference.parallel,
        other=other.parallel,
        seconds=work * (inverse[1] - inverse[0]),
    )


def _reason(label: str, values: Sequence[float], effect: float) -> Reason:
    seconds = effect * (values[1] - values[0])
    return Reason(label=label, unit="s", reference=values[0], other=values[1], seconds=seconds)


def _matters(reason: Reason, reference: StageFigures, other: StageFigures) -> bool:
    longest = max(reference.seconds, other.seconds)
    return abs(reason.seconds or 0.0) >= max(_LEAST_S, _LEAST_SHARE * longest)


def _changed(values: tuple[float, float], unit: str) -> bool:
    """Return whether values differ by a tenth; bytes also need to be worth a look."""
    low, high = sorted(values)
    if math.isnan(low) or math.isnan(high) or (unit == "B" and high < _LEAST_BYTES):
        return False
    return high > _LEAST_CHANGE * low
