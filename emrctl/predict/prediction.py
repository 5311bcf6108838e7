"""Time and cost of a run at other numbers of executors, with intervals and reasons to refuse."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from emrctl.errors import UsageError
from emrctl.metrics.model import RunMetrics
from emrctl.metrics.record import Record
from emrctl.predict import schedule
from emrctl.predict.graph import WorkGraph

# Standard deviation of the logarithm of measured over predicted in-job time: at the observed
# count, and for each doubling or halving of it.
_BASE_SD, _DOUBLING_SD = 0.012, 0.02
# The share of the replay's own error, and of the time of first tasks, that counts as uncertain.
_OWN_ERROR_SHARE, _FIRST_TASK_SHARE = 0.7, 0.25
_FEWER_CORES_SD, _INCOMPLETE_SD = 0.05, 0.1
# For each doubling of executors beyond the cores of their host: tasks wait for a core, too.
_CROWDED_SD = 0.025
# Measured counts remove the replay's error at those counts, except for the noise of runs.
_MEASURED_SD = 0.02
_Z_90 = 1.6449
# Counts beyond this multiple of the observed one, or below its inverse, are refused.
_FARTHEST = 16
_MISSING_TASKS = 0.02
_STORAGE_PEAKS = ("OnHeapStorageMemory", "OffHeapStorageMemory")


@dataclass(frozen=True, kw_only=True)
class Floors(Record):
    """In-job times that no schedule can beat: a slot per task, work spread evenly, a single core.

    `no_skew_s` is for the executors of the point; the others do not depend on it.
    """

    critical_path_s: float
    no_skew_s: float
    one_core_s: float


@dataclass(frozen=True, kw_only=True)
class Point(Record):
    """The prediction for a number of executors.

    The in-job time is the time in which at least one job is active; `low_s` and `high_s` are its
    90 % interval. `refused` is the reason why the prediction should not be used, or None.
    """

    executors: int
    cores: int
    predicted_wall_s: float
    predicted_in_job_s: float
    low_s: float
    high_s: float
    cost_usd: float | None
    refused: str | None
    floors: Floors


@dataclass(frozen=True, kw_only=True)
class Observed(Record):
    """The run that the predictions start from, and the replay's error at its own executors."""

    executors: int
    cores: int
    in_job_s: float
    wall_s: float
    replayed_in_job_s: float
    error_percent: float


@dataclass(frozen=True, kw_only=True)
class Prediction(Record):
    """The predictions of a run, and the assumptions they depend on."""

    observed: Observed
    points: tuple[Point, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Price:
    """Price of the cluster per hour, by number of executors; `assumption` explains it."""

    hourly_usd: Mapping[int, float] = field(default_factory=dict)
    assumption: str = ""


def parse_counts(text: str, flag: str) -> tuple[int, ...]:
    """Return the numbers in `1..16` or `1,2,4..6`, sorted; `UsageError` names the flag."""
    counts: set[int] = set()
    for part in text.split(","):
        first, dots, last = part.strip().partition("..")
        try:
            low, high = int(first), int(last if dots else first)
        except ValueError:
            low, high = 0, 0
        if not 1 <= low <= high <= _MOST:
            hint = f"Use numbers from 1 to {_MOST}, e.g. 1..16 or 1,2,4."
            raise UsageError(f"{flag} {text}: '{part}' is not a number or a range", hint=hint)
        counts.update(range(low, high + 1))
    return tuple(sorted(counts))


_MOST = 1024


def predict(
    run: RunMetrics,
    graph: WorkGraph,
    executors: Iterable[int],
    cores: Iterable[int] = (),
    *,
    measured_s: Mapping[int, Sequence[float]] | None = None,
    price: Price | None = None,
) -> Prediction:
    """Return the prediction for each combination of executors and cores, by default the run's.

    `measured_s` are in-job times of other runs of the same work by their number of executors.
    """
    return _Predictor(run, graph, measured_s or {}, price or Price()).predict(
        tuple(executors), tuple(cores) or (graph.cores,)
    )


class _Predictor:
    def __init__(
        self,
        run: RunMetrics,
        graph: WorkGraph,
        measured_s: Mapping[int, Sequence[float]],
        price: Price,
    ) -> None:
        self._run = run
        self._graph = graph
        self._price = price
        own = schedule.replay(graph, graph.executors, graph.cores)
        self._own_s = own.in_job_s
        self._own_ratio = math.log(max(graph.in_job_s, 1e-3) / max(own.in_job_s, 1e-3))
        self._ratios = self._measured_ratios(measured_s)
        self._critical_path_s = schedule.critical_path_s(graph)
        self._one_core_s = schedule.one_core_s(graph)

    def predict(self, executors: Sequence[int], cores: Sequence[int]) -> Prediction:
        """Return all points, by cores, then by executors."""
        graph = self._graph
        return Prediction(
            observed=Observed(
                executors=graph.executors,
                cores=graph.cores,
                in_job_s=graph.in_job_s,
                wall_s=graph.wall_s,
                replayed_in_job_s=self._own_s,
                error_percent=100 * math.expm1(-self._own_ratio),
            ),
            points=tuple(self._point(count, size) for size in cores for count in executors),
            notes=tuple(self._notes()),
        )

    def _measured_ratios(self, measured_s: Mapping[int, Sequence[float]]) -> dict[int, float]:
        """Return log(measured / replayed) by number of executors, the run's own included."""
        graph, ratios = self._graph, {self._graph.executors: self._own_ratio}
        for count, times in measured_s.items():
            logs = [math.log(time) for time in times if 0 < time < math.inf]
            if logs:
                if count == graph.executors:
                    logs.append(math.log(max(graph.in_job_s, 1e-3)))
                replayed_s = schedule.replay(graph, count, graph.cores).in_job_s
                ratios[count] = sum(logs) / len(logs) - math.log(max(replayed_s, 1e-3))
        return ratios

    def _point(self, executors: int, cores: int) -> Point:
        graph = self._graph
        times = schedule.replay(graph, executors, cores)
        correction, sd = self._correction(executors * cores / graph.cores)
        sd = math.hypot(sd, self._first_task_sd(times.in_job_s, executors))
        sd = math.hypot(sd, _CROWDED_SD * math.log2(max(graph.start_factor(executors), 1e-3)))
        if cores < graph.cores:
            sd = math.hypot(sd, _FEWER_CORES_SD)
        if not self._run.complete:
            sd = math.hypot(sd, _INCOMPLETE_SD)
        in_job_s = times.in_job_s * math.exp(correction)
        wall_s = max(times.wall_s + in_job_s - times.in_job_s, in_job_s)
        hourly_usd = self._price.hourly_usd.get(executors)
        return Point(
            executors=executors,
            cores=cores,
            predicted_wall_s=wall_s,
            predicted_in_job_s=in_job_s,
            low_s=in_job_s * math.exp(-_Z_90 * sd),
            high_s=in_job_s * math.exp(_Z_90 * sd),
            cost_usd=None if hourly_usd is None else hourly_usd * wall_s / 3600,
            refused=self._refusal(executors, cores),
            floors=Floors(
                critical_path_s=self._critical_path_s,
                no_skew_s=schedule.no_skew_s(graph, executors, cores),
                one_core_s=self._one_core_s,
            ),
        )

    def _correction(self, scale: float) -> tuple[float, float]:
        """Return the correction of the logarithm at this scale, and its standard deviation.

        Between measured counts the ratio of measured to replayed time is interpolated over the
        logarithm of the count; beyond them it is constant.
        """
        rows = sorted((math.log2(count), ratio) for count, ratio in self._ratios.items())
        at = math.log2(scale)
        nearest = min(abs(x - at) for x, _ in rows)
        if len(rows) == 1:
            own = _OWN_ERROR_SHARE * abs(self._own_ratio) * min(nearest, 1.0)
            sd = math.sqrt(_BASE_SD**2 + (_DOUBLING_SD * nearest) ** 2 + own**2)
            return self._own_ratio / (1 + nearest), sd
        below = [row for row in rows if row[0] <= at] or rows[:1]
        above = [row for row in rows if row[0] >= at] or rows[-1:]
        (x0, y0), (x1, y1) = below[-1], above[0]
        share = (at - x0) / (x1 - x0) if x1 > x0 else 0.0
        outside = at < rows[0][0] or at > rows[-1][0]
        spread = abs(y1 - y0) * 0.25 if not outside else abs(rows[-1][1] - rows[0][1]) * 0.5
        sd = math.hypot(_MEASURED_SD, _DOUBLING_SD * nearest)
        return y0 + share * (y1 - y0), math.hypot(sd, spread if nearest else 0.0)

    def _first_task_sd(self, in_job_s: float, executors: int) -> float:
        """Return the relative error from the first tasks of executors."""
        overheads = self._graph.overheads
        if executors == self._graph.executors:
            return 0.0
        error_s = math.hypot(overheads.executor_error_s, _FIRST_TASK_SHARE * overheads.executor_s)
        return min(error_s / max(in_job_s, 1e-3), 1.0)

    # Reasons

    def _refusal(self, executors: int, cores: int) -> str | None:
        graph = self._graph
        missing = self._missing_tasks()
        if missing > _MISSING_TASKS:
            return f"the event log lacks {missing:.0%} of the tasks"
        if cores < graph.task_cpus:
            return f"spark.task.cpus is {graph.task_cpus}: no task fits {cores} cores"
        if cores > graph.cores:
            return (
                f"more cores per executor than the {graph.cores} of the run: its tasks would share "
                "the memory, and might spill"
            )
        if not 1 / _FARTHEST <= executors / graph.executors <= _FARTHEST:
            return f"more than {_FARTHEST} times from the {graph.executors} executors of the run"
        return self._cache_refusal(executors)

    def _cache_refusal(self, executors: int) -> str | None:
        cached, room = cached_bytes(self._run)
        if not cached or not room or executors >= self._graph.executors:
            return None
        if cached > executors * room:
            return (
                f"{cached / 1e6:,.0f} MB of cached data would not fit in the storage memory of "
                f"{executors} executors ({executors * room / 1e6:,.0f} MB)"
            )
        return None

    def _missing_tasks(self) -> float:
        declared = sum(row.tasks for row in self._run.stages if row.status == "COMPLETE")
        finished = sum(
            min(row.tasks_ok, row.tasks) for row in self._run.stages if row.status == "COMPLETE"
        )
        return 1 - finished / declared if declared else 0.0

    def _notes(self) -> Iterator[str]:
        graph, run = self._graph, self._run
        if not run.complete:
            yield "the event log is incomplete: intervals are wider"
        if graph.allocation is not None:
            yield "dynamic allocation: the number of executors is its upper limit"
        if graph.host_cores is not None:
            yield (
                "executors on one host: those that start together are assumed to share "
                f"{graph.host_cores:.0f} cores"
            )
        if any(stage.memory_spilled_bytes for stage in run.stages):
            yield "tasks spilled: times assume the same memory per task"
        if all(row.is_driver for row in run.busy_rows):
            yield "local mode: an executor is the whole process of the run"
        if graph.stages and graph.in_job_s < 1:
            yield "jobs took less than a second: predictions are rough"
        if len(self._ratios) > 1:
            counts = ", ".join(map(str, sorted(self._ratios)))
            yield f"corrected by measured runs with {counts} executors"
        if self._price.assumption:
            yield self._price.assumption


def cached_bytes(run: RunMetrics) -> tuple[int, int]:
    """Return the peak of cached data in all executors, and the storage memory of one executor."""
    rows = run.busy_rows
    peaks = sum(
        max(row.storage_used_bytes, sum(row.peak_memory.get(name, 0) for name in _STORAGE_PEAKS))
        for row in rows
    )
    return peaks, max((row.storage_total_bytes for row in rows), default=0)
