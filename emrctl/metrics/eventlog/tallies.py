"""Counters of each stage attempt and executor, updated while a log is replayed."""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Iterable, Sequence

from msgspec import UNSET

from emrctl.metrics.eventlog.events import Accumulable, StageInfo
from emrctl.metrics.eventlog.task_events import COLUMN_READERS, TaskEnd, TaskValues
from emrctl.metrics.model import ExecutorMetrics, Quantiles, StageMetrics, Straggler
from emrctl.metrics.task_figures import FIGURES, NAMES

OK, FAILED, KILLED = 0, 1, 2
_MAX_CAUSES = 20
_MAX_SLOWEST = 8
# Shorter tasks, and tasks that are not much longer than the median, are no stragglers.
_MIN_STRAGGLER_MS = 500
_STRAGGLER_TIMES_MEDIAN = 1.5
_WITH_QUANTILES = [at for at, figure in enumerate(FIGURES) if figure.quantiles]
_QUANTILE_FIELDS = [
    f"{name}_quantiles" for name in ("duration_ms", *(NAMES[at] for at in _WITH_QUANTILES))
]
_OF_EXECUTORS = {
    figure.executor: COLUMN_READERS[figure.name] for figure in FIGURES if figure.executor
}
_FIGURE_BY_ACCUMULABLE: dict[str | None, str] = {
    f"internal.metrics.{accumulable}": figure.name
    for figure in FIGURES
    for accumulable in figure.sources.values()
}
_ACCUMULABLES = {
    "internal.metrics.resultSize": "result_bytes",
    "internal.metrics.executorDeserializeTime": "deserialize_time_ms",
}
_READERS = tuple(COLUMN_READERS.values())
_ZEROS = Quantiles(min=0, p25=0, median=0, p75=0, max=0)

#: For each of `FIGURES`, its values in several tasks.
Columns = Sequence[Sequence[int]]


def read_columns(tasks: Sequence[TaskValues]) -> Columns:
    """Return the figures of `tasks`; one loop per figure is faster than one loop per task."""
    return [read(tasks) for read in _READERS]


def stage_sums(items: Iterable[Accumulable]) -> dict[str, int] | None:
    """Return Spark's own sums over a stage by figure name, without those that are 0.

    None if there are none, or if one occurs twice: then it mixes the tasks of two attempts.
    """
    sums: dict[str, int] = {}
    seen: set[str | None] = set()
    for item in items:
        figure = _FIGURE_BY_ACCUMULABLE.get(item.name)
        if figure is None:
            continue
        if item.name in seen or not isinstance(item.value, int):
            return None
        seen.add(item.name)
        sums[figure] = sums.get(figure, 0) + item.value
    return sums or None


def quantile(ordered: list[int], share: float) -> int:
    """Return the value at rank `int(share x n)`, as Spark's task summary does."""
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def quantiles(values: array[int]) -> Quantiles | None:
    """Return Spark's five quantiles of `values`; None if there are no values."""
    if not values:
        return None
    if not any(values):
        return _ZEROS
    row = sorted(values)
    low, p25, median, p75, high = [quantile(row, share) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    return Quantiles(min=low, p25=p25, median=median, p75=p75, max=high)


class SlowestTasks:
    """The slowest successful tasks of a stage attempt."""

    def __init__(self) -> None:
        self._heap: list[tuple[tuple[int, int], Straggler]] = []
        self._floor_ms = _MIN_STRAGGLER_MS

    def add(self, durations: Sequence[int], ended: Sequence[TaskEnd]) -> None:
        """Add tasks and drop those that are no longer among the slowest."""
        if max(durations) < self._floor_ms:
            return
        for duration, event in zip(durations, ended, strict=True):
            if duration >= self._floor_ms:
                self._push((duration, -event.info.id), event)

    def _push(self, key: tuple[int, int], event: TaskEnd) -> None:
        if any(key == other for other, _ in self._heap):
            return  # the same event again, in a damaged log
        # Keep a record: an event would keep its whole line in memory.
        if len(self._heap) < _MAX_SLOWEST:
            heapq.heappush(self._heap, (key, _straggler(key[0], event)))
        elif key > self._heap[0][0]:
            heapq.heapreplace(self._heap, (key, _straggler(key[0], event)))
            self._floor_ms = self._heap[0][0][0]

    def stragglers(self, durations: Quantiles | None) -> tuple[Straggler, ...]:
        """Return the tasks that took much longer than the median, the slowest first."""
        if durations is None:
            return ()
        least_ms = max(durations.median * _STRAGGLER_TIMES_MEDIAN, _MIN_STRAGGLER_MS)
        tasks = [task for _, task in sorted(self._heap, key=lambda item: item[0], reverse=True)]
        return tuple(task for task in tasks if task.duration_ms >= least_ms)

    def close(self, durations: Quantiles | None) -> None:
        """Drop the tasks that are no stragglers."""
        kept = {task.task for task in self.stragglers(durations)}
        self._heap = [item for item in self._heap if item[1].task in kept]


def _straggler(duration_ms: int, event: TaskEnd) -> Straggler:
    values: dict[str, int] = {}
    columns = read_columns([event.values]) if event.values else ()
    for figure, (value,) in zip(FIGURES, columns, strict=False):
        if name := figure.straggler:
            to_ms = name.endswith("_ms") and figure.name.endswith("_ns")
            values[name] = values.get(name, 0) + (value // 1_000_000 if to_ms else value)
    info = event.info
    return Straggler(task=info.id, duration_ms=duration_ms, executor=info.executor, **values)


class StageTally:
    """Counters of one stage attempt."""

    def __init__(self, stage_id: int, attempt: int) -> None:
        self.id = stage_id
        self.attempt = attempt
        self.status = "ACTIVE"
        self.name = ""
        self.submitted_ms: int | None = None
        self.completed_ms: int | None = None
        self.first_task_ms: int | None = None
        self.tasks = 0
        self.started = 0
        self.ended = [0, 0, 0]
        self.time_ms = [0, 0, 0]
        self.causes: dict[str, int] = {}
        self.slowest = SlowestTasks()
        self.resubmitted = 0
        self.sums: list[int] = [0] * len(FIGURES)
        self.failure: str | None = None
        self.described = False
        self.parents: tuple[int, ...] = ()
        self.operators: tuple[str, ...] = ()
        self.spark_sums: dict[str, int] | None = None
        # Figures that Spark sums over the stage and that are not read of each task.
        self.others: dict[str, int] = {}
        # Durations and figures of successful tasks; None once the stage has ended.
        self.samples: tuple[array[int], ...] | None = tuple(array("q") for _ in _QUANTILE_FIELDS)
        self.quantiles: tuple[Quantiles | None, ...] = (None,) * len(_QUANTILE_FIELDS)
        self.ended_late = 0

    @property
    def running(self) -> int:
        """Number of tasks that have started and not ended."""
        return self.started + self.resubmitted - sum(self.ended)

    def describe(self, info: StageInfo) -> None:
        """Update the description; later events have more fields."""
        self.described = True
        self.parents = tuple(info.parents)
        for field in ("name", "tasks", "submitted_ms", "completed_ms"):
            if (value := getattr(info, field)) is not UNSET:
                setattr(self, field, value)

    def complete(self, info: StageInfo) -> None:
        """Set the status; a stage that was not submitted was skipped."""
        self.failure = info.failure
        self.spark_sums = stage_sums(info.accumulables)
        for item in info.accumulables:
            if (field := _ACCUMULABLES.get(item.name or "")) and isinstance(item.value, int):
                self.others[field] = item.value
        done = "SKIPPED" if info.submitted_ms is UNSET else "COMPLETE"
        self.status = done if self.failure is None else "FAILED"

    def start_tasks(self, launched_ms: Sequence[int]) -> None:
        """Count tasks with these launch times."""
        self.started += len(launched_ms)
        first = min(launched_ms)
        if self.first_task_ms is None or first < self.first_task_ms:
            self.first_task_ms = first

    def add_sums(self, columns: Columns) -> None:
        """Add the figures of ended tasks."""
        self.sums = [total + sum(column) for total, column in zip(self.sums, columns, strict=True)]

    def count_failure(self, cause: str) -> None:
        """Count a task that did not succeed; rare causes are counted as `other`."""
        key = cause if cause in self.causes or len(self.causes) < _MAX_CAUSES else "other"
        self.causes[key] = self.causes.get(key, 0) + 1

    def sample(self, durations: Sequence[int], columns: Columns) -> None:
        """Add successful tasks to the samples for the quantiles."""
        if self.samples is None:
            self.ended_late += len(durations)
            return
        taken = (durations, *[columns[at] for at in _WITH_QUANTILES])
        for sample, values in zip(self.samples, taken, strict=True):
            sample.extend(values)

    def close(self) -> None:
        """Reduce the samples to quantiles, unless tasks of the ended stage are still running."""
        if self.samples is not None and not self.running:
            self.quantiles = self._current_quantiles()
            self.samples = None
            self.slowest.close(self.quantiles[0])

    def _current_quantiles(self) -> tuple[Quantiles | None, ...]:
        if self.samples is None:
            return self.quantiles
        return tuple(quantiles(sample) for sample in self.samples)

    def metrics(self, job: int | None) -> StageMetrics:
        """Return the metrics so far."""
        five = self._current_quantiles()
        return StageMetrics(
            id=self.id,
            attempt=self.attempt,
            status=self.status,
            name=self.name,
            submitted_ms=self.submitted_ms,
            completed_ms=self.completed_ms,
            first_task_ms=self.first_task_ms,
            tasks=self.tasks,
            tasks_ok=self.ended[OK],
            tasks_failed=self.ended[FAILED],
            tasks_killed=self.ended[KILLED],
            task_time_ms=sum(self.time_ms),
            failed_time_ms=self.time_ms[FAILED],
            killed_time_ms=self.time_ms[KILLED],
            failures=dict(sorted(self.causes.items())),
            stragglers=self.slowest.stragglers(five[0]),
            failure_reason=self.failure,
            job=job,
            parents=self.parents,
            operators=self.operators,
            **self.others,  # type: ignore[arg-type]
            **dict(zip((*NAMES, *_QUANTILE_FIELDS), (*self.sums, *five), strict=True)),  # type: ignore[arg-type]
        )


class ExecutorTally:
    """Counters of one executor or the driver."""

    def __init__(self, executor_id: str, added_ms: int | None) -> None:
        self.id = executor_id
        self.host = ""
        self.added_ms = added_ms
        self.removed_ms: int | None = None
        self.reason: str | None = None
        self.cores = 0
        self.storage_total_bytes = 0
        self.excluded = False
        self.was_added = False
        self.has_block_manager = False
        self.lost_block_manager = False
        self.started = 0
        self.running = 0
        self.ended = [0, 0, 0]
        self.task_time_ms = 0
        self.sums = [0] * len(_OF_EXECUTORS)
        self.blocks: dict[str, tuple[int, int]] = {}
        self.peaks: dict[str, int] = {}

    def end_tasks(self, outcome: int, count: int, time_ms: int) -> None:
        """Count ended tasks; `outcome` is OK, FAILED or KILLED."""
        self.ended[outcome] += count
        self.task_time_ms += time_ms

    def add_sums(self, tasks: Sequence[TaskValues]) -> None:
        """Add the figures of ended tasks."""
        readers = _OF_EXECUTORS.values()
        self.sums = [
            total + sum(read(tasks)) for total, read in zip(self.sums, readers, strict=True)
        ]

    def update_peaks(self, memory: dict[str, int]) -> None:
        """Keep the maximum of each of Spark's executor memory metrics."""
        peaks = self.peaks
        for name, value in memory.items():
            if value > peaks.get(name, 0):
                peaks[name] = value

    def metrics(self) -> ExecutorMetrics:
        """Return the metrics so far."""
        removed = self.removed_ms is not None
        return ExecutorMetrics(
            id=self.id,
            host=self.host,
            active=not removed,
            rdd_blocks=len(self.blocks),
            storage_used_bytes=sum(memory for memory, _ in self.blocks.values()),
            storage_total_bytes=self.storage_total_bytes,
            disk_used_bytes=sum(disk for _, disk in self.blocks.values()),
            cores=self.cores,
            active_tasks=0 if removed else max(0, self.running),
            failed_tasks=self.ended[FAILED],
            complete_tasks=self.ended[OK],
            total_tasks=self.started,
            task_time_ms=self.task_time_ms,
            excluded=self.excluded,
            added_ms=self.added_ms,
            removed_ms=self.removed_ms,
            remove_reason=self.reason,
            peak_memory=dict(sorted(self.peaks.items())),
            **dict(zip(_OF_EXECUTORS, self.sums, strict=True)),
        )
