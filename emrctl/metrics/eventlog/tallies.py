"""What is counted while a log is replayed: one tally for each stage attempt and executor."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec import UNSET

from emrctl.metrics.eventlog.events import Accumulable, StageInfo, TaskFigures
from emrctl.metrics.eventlog.slowest import Slowest
from emrctl.metrics.model import ExecutorMetrics, Quantiles, StageMetrics

OK, FAILED, KILLED = 0, 1, 2
_CAUSES = 20


class Columns(NamedTuple):
    """One column of numbers for each figure, a row for each of several tasks.

    A column of nothing but zeros may be shorter, even empty.
    """

    run_ms: Sequence[int]
    cpu_ns: Sequence[int]
    gc_ms: Sequence[int]
    input: Sequence[int]
    output: Sequence[int]
    shuffle_read: Sequence[int]
    shuffle_write: Sequence[int]
    memory_spilled: Sequence[int]
    disk_spilled: Sequence[int]
    wait_ms: Sequence[int]

    @classmethod
    def of(cls, tasks: Sequence[TaskFigures]) -> Columns:
        """The figures of `tasks`, column by column: a loop for each is faster than one for all."""
        read = [task.shuffle_read for task in tasks]
        write = [task.shuffle_write for task in tasks]
        taken = [task.input for task in tasks]
        given = [task.output for task in tasks]
        return cls(
            run_ms=[task.run_ms for task in tasks],
            cpu_ns=[task.cpu_ns for task in tasks],
            gc_ms=[task.gc_ms for task in tasks],
            input=[0 if item is None else item.read for item in taken],
            output=[0 if item is None else item.written for item in given],
            shuffle_read=[0 if i is None else i.local_bytes + i.remote_bytes for i in read],
            shuffle_write=[0 if item is None else item.written for item in write],
            memory_spilled=[task.memory_spilled for task in tasks],
            disk_spilled=[task.disk_spilled for task in tasks],
            wait_ms=[0 if item is None else item.wait_ms for item in read],
        )


# The columns' sums in a record; a run has all but the last.
SUMS = (
    "executor_run_time_ms",
    "executor_cpu_time_ns",
    "jvm_gc_time_ms",
    "input_bytes",
    "output_bytes",
    "shuffle_read_bytes",
    "shuffle_write_bytes",
    "memory_spilled_bytes",
    "disk_spilled_bytes",
    "fetch_wait_time_ms",
)
# The columns' names in the stage's own account, which Spark writes when it has ended.
_ACCOUNT: dict[str | None, str] = {
    f"internal.metrics.{name}": column
    for name, column in {
        "executorRunTime": "run_ms",
        "executorCpuTime": "cpu_ns",
        "jvmGCTime": "gc_ms",
        "input.bytesRead": "input",
        "output.bytesWritten": "output",
        "shuffle.read.localBytesRead": "shuffle_read",
        "shuffle.read.remoteBytesRead": "shuffle_read",
        "shuffle.write.bytesWritten": "shuffle_write",
        "memoryBytesSpilled": "memory_spilled",
        "diskBytesSpilled": "disk_spilled",
        "shuffle.read.fetchWaitTime": "wait_ms",
    }.items()
}


def account(items: Iterable[Accumulable]) -> dict[str, int] | None:
    """Spark's own sums over a stage's tasks; None where it wrote none, or wrote one twice.

    A sum that stayed 0 is not written. One that stands there twice holds tasks of two attempts.
    """
    found: dict[str, int] = {}
    seen: set[str | None] = set()
    for item in items:
        column = _ACCOUNT.get(item.name)
        if column is None:
            continue
        if item.name in seen or not isinstance(item.value, int):
            return None
        seen.add(item.name)
        found[column] = found.get(column, 0) + item.value
    return found or None


def quantile(ordered: list[int], share: float) -> int:
    """The value at rank `int(share x n)` of `ordered`, as Spark's task summary takes it."""
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


_ZEROS = Quantiles(min=0, p25=0, median=0, p75=0, max=0)


def quantiles(values: array[int]) -> Quantiles | None:
    """Spark's five quantiles of `values`; None of none."""
    if not values:
        return None
    if not any(values):
        return _ZEROS
    row = sorted(values)
    low, p25, median, p75, high = [quantile(row, share) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    return Quantiles(min=low, p25=p25, median=median, p75=p75, max=high)


class StageTally:
    """One attempt of one stage while the log goes by."""

    def __init__(self, stage_id: int, attempt: int) -> None:
        self.id = stage_id
        self.attempt = attempt
        self.status = "ACTIVE"
        self.name = ""
        self.submitted_ms: int | None = None
        self.completed_ms: int | None = None
        self.first_task_ms: int | None = None
        self.tasks = 0
        self.begun = 0
        self.ended = [0, 0, 0]
        self.time_ms = [0, 0, 0]
        self.causes: dict[str, int] = {}
        self.slowest = Slowest()
        self.resubmitted = 0
        self.sums: list[int] = [0] * len(Columns._fields)
        self.failure: str | None = None
        self.described = False
        self.account: dict[str, int] | None = None
        # Of successful tasks alone, as Spark's summaries: duration, input, shuffle read and
        # write, memory spilled; None once the stage has ended and `quantiles` has them.
        self.samples: tuple[array[int], ...] | None = tuple(array("q") for _ in range(5))
        self.quantiles: tuple[Quantiles | None, ...] = (None,) * 5
        self.late = 0

    @property
    def running(self) -> int:
        """Tasks that began and have not ended."""
        return self.begun + self.resubmitted - sum(self.ended)

    def describe(self, info: StageInfo) -> None:
        """Take over what a `Stage Info` says; a later one says more."""
        self.described = True
        if info.name is not UNSET:
            self.name = str(info.name)
        if info.tasks is not UNSET:
            self.tasks = info.tasks
        if info.submitted_ms is not UNSET:
            self.submitted_ms = info.submitted_ms
        if info.completed_ms is not UNSET:
            self.completed_ms = info.completed_ms

    def complete(self, info: StageInfo) -> None:
        """Take over the end of the attempt; a reason for failure makes it FAILED."""
        self.describe(info)
        self.failure = info.failure
        self.account = account(info.account)
        if self.failure is not None:
            self.status = "FAILED"
        else:
            self.status = "SKIPPED" if info.submitted_ms is UNSET else "COMPLETE"

    def begin(self, launched: Sequence[int]) -> None:
        """Count tasks that began at these moments."""
        self.begun += len(launched)
        first = min(launched)
        if self.first_task_ms is None or first < self.first_task_ms:
            self.first_task_ms = first

    def add(self, sums: Sequence[int]) -> None:
        """Add the sums over some ended tasks."""
        self.sums = [had + more for had, more in zip(self.sums, sums, strict=True)]

    def fail(self, cause: str) -> None:
        """Count one more end of that cause; those beyond so many kinds are one."""
        known = cause if cause in self.causes or len(self.causes) < _CAUSES else "other"
        self.causes[known] = self.causes.get(known, 0) + 1

    def sample(self, durations: Sequence[int], tasks: Columns) -> None:
        """Keep successful tasks for the quantiles."""
        if self.samples is None:
            self.late += len(durations)
            return
        taken = (durations, tasks.input, tasks.shuffle_read, tasks.shuffle_write)
        for column, values in zip(self.samples, (*taken, tasks.memory_spilled), strict=True):
            column.extend(values)

    def close(self) -> None:
        """Nothing is kept of single tasks any more, unless some of an ended stage still run."""
        if self.samples is not None and not self.running:
            self.quantiles = self._summaries()
            self.samples = None
            self.slowest.close(self.quantiles[0])

    def _summaries(self) -> tuple[Quantiles | None, ...]:
        if self.samples is None:
            return self.quantiles
        return tuple(quantiles(column) for column in self.samples)

    def record(self) -> StageMetrics:
        """The tally as it stands."""
        run, cpu, gc, read, written, shuffled, shuffle_out, spilled, disk, wait = self.sums
        five = self._summaries()
        return StageMetrics(
            id=self.id,
            attempt=self.attempt,
            status=self.status,
            name=self.name,
            submitted_ms=self.submitted_ms,
            completed_ms=self.completed_ms,
            first_task_ms=self.first_task_ms,
            tasks=self.tasks,
            tasks_ok=self.ended[0],
            tasks_failed=self.ended[1],
            tasks_killed=self.ended[2],
            executor_run_time_ms=run,
            executor_cpu_time_ns=cpu,
            jvm_gc_time_ms=gc,
            input_bytes=read,
            output_bytes=written,
            shuffle_read_bytes=shuffled,
            shuffle_write_bytes=shuffle_out,
            fetch_wait_time_ms=wait,
            memory_spilled_bytes=spilled,
            disk_spilled_bytes=disk,
            task_time_ms=sum(self.time_ms),
            failed_time_ms=self.time_ms[FAILED],
            killed_time_ms=self.time_ms[KILLED],
            failures=dict(sorted(self.causes.items())),
            stragglers=self.slowest.record(five[0]),
            failure_reason=self.failure,
            duration_ms_quantiles=five[0],
            input_bytes_quantiles=five[1],
            shuffle_read_bytes_quantiles=five[2],
            shuffle_write_bytes_quantiles=five[3],
            memory_spilled_bytes_quantiles=five[4],
        )


class ExecutorTally:
    """One executor, or the driver, while the log goes by."""

    def __init__(self, executor_id: str, added_ms: int | None) -> None:
        self.id = executor_id
        self.host = ""
        self.added_ms = added_ms
        self.removed_ms: int | None = None
        self.reason: str | None = None
        self.cores = 0
        self.storage_total_bytes = 0
        self.excluded = False
        self.added = False
        self.managed = False
        self.forsaken = False
        self.started = 0
        self.running = 0
        self.ended = [0, 0, 0]
        self.task_time_ms = 0
        self.sums = [0, 0, 0, 0]
        self.blocks: dict[str, tuple[int, int]] = {}
        self.peaks: dict[str, int] = {}

    def end(self, outcome: int, tasks: int, time_ms: int) -> None:
        """Count ended tasks: outcome 0 succeeded, 1 failed, 2 was killed."""
        self.ended[outcome] += tasks
        self.task_time_ms += time_ms

    def add(self, tasks: Sequence[TaskFigures]) -> None:
        """Add some ended tasks to the sums of GC, input, shuffle read and shuffle write."""
        taken = [task.input for task in tasks]
        read = [task.shuffle_read for task in tasks]
        write = [task.shuffle_write for task in tasks]
        sums = self.sums
        sums[0] += sum([task.gc_ms for task in tasks])
        sums[1] += sum([0 if item is None else item.read for item in taken])
        sums[2] += sum([0 if i is None else i.local_bytes + i.remote_bytes for i in read])
        sums[3] += sum([0 if item is None else item.written for item in write])

    def peak(self, memory: dict[str, int]) -> None:
        """Keep the largest value of each of Spark's memory figures."""
        peaks = self.peaks
        for name, value in memory.items():
            if value > peaks.get(name, 0):
                peaks[name] = value

    def record(self) -> ExecutorMetrics:
        """The tally as it stands."""
        gc, read, shuffled, shuffle_out = self.sums
        gone = self.removed_ms is not None
        return ExecutorMetrics(
            id=self.id,
            host=self.host,
            active=not gone,
            rdd_blocks=len(self.blocks),
            storage_used_bytes=sum(memory for memory, _ in self.blocks.values()),
            storage_total_bytes=self.storage_total_bytes,
            disk_used_bytes=sum(disk for _, disk in self.blocks.values()),
            cores=self.cores,
            active_tasks=0 if gone else max(0, self.running),
            failed_tasks=self.ended[1],
            complete_tasks=self.ended[0],
            total_tasks=self.started,
            task_time_ms=self.task_time_ms,
            gc_time_ms=gc,
            input_bytes=read,
            shuffle_read_bytes=shuffled,
            shuffle_write_bytes=shuffle_out,
            excluded=self.excluded,
            added_ms=self.added_ms,
            removed_ms=self.removed_ms,
            remove_reason=self.reason,
            peak_memory=dict(sorted(self.peaks.items())),
        )
