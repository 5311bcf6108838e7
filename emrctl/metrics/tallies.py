"""What is counted while a log is replayed: one tally for each stage attempt and executor."""

from __future__ import annotations

from array import array
from typing import Any

from emrctl.metrics.model import ExecutorMetrics, Quantiles, StageMetrics

_EMPTY: dict[str, Any] = {}

Figures = tuple[int, int, int, int, int, int, int, int, int, int]
"""Run, CPU (ns), GC, input, output, shuffle read, shuffle write, memory and disk spill, wait."""


def figures(metrics: dict[str, Any]) -> Figures:
    """The sums' share of one task, from its `Task Metrics`; absent keys, of older Sparks, are 0."""
    get = metrics.get
    read = get("Shuffle Read Metrics") or _EMPTY
    return (
        get("Executor Run Time", 0),
        get("Executor CPU Time", 0),
        get("JVM GC Time", 0),
        (get("Input Metrics") or _EMPTY).get("Bytes Read", 0),
        (get("Output Metrics") or _EMPTY).get("Bytes Written", 0),
        read.get("Local Bytes Read", 0) + read.get("Remote Bytes Read", 0),
        (get("Shuffle Write Metrics") or _EMPTY).get("Shuffle Bytes Written", 0),
        get("Memory Bytes Spilled", 0),
        get("Disk Bytes Spilled", 0),
        read.get("Fetch Wait Time", 0),
    )


def quantile(ordered: list[int], share: float) -> int:
    """The value at rank `int(share x n)` of `ordered`, as Spark's task summary takes it."""
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def quantiles(values: array[int]) -> Quantiles | None:
    """Spark's five quantiles of `values`; None of none."""
    if not values:
        return None
    row = sorted(values)
    low, p25, median, p75, high = (quantile(row, share) for share in (0.0, 0.25, 0.5, 0.75, 1.0))
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
        self.ended = [0, 0, 0]
        self.sums: list[int] = [0] * 10
        self.failure: str | None = None
        # Of successful tasks alone, as Spark's summaries: duration, input, shuffle read and
        # write, memory spilled.
        self.samples: tuple[array[int], ...] = tuple(array("q") for _ in range(5))

    def describe(self, info: dict[str, Any]) -> None:
        """Take over what a `Stage Info` says; a later one says more."""
        self.name = str(info.get("Stage Name", self.name))
        self.tasks = int(info.get("Number of Tasks", self.tasks))
        if "Submission Time" in info:
            self.submitted_ms = int(info["Submission Time"])
        if "Completion Time" in info:
            self.completed_ms = int(info["Completion Time"])

    def complete(self, info: dict[str, Any]) -> None:
        """Take over the end of the attempt; a reason for failure makes it FAILED."""
        self.describe(info)
        self.failure = info.get("Failure Reason")
        if self.failure is not None:
            self.status = "FAILED"
        else:
            self.status = "SKIPPED" if self.submitted_ms is None else "COMPLETE"

    def add(self, task: Figures) -> None:
        """Add one ended task to the sums."""
        sums = self.sums
        for at, figure in enumerate(task):
            if figure:
                sums[at] += figure

    def sample(self, duration_ms: int, task: Figures) -> None:
        """Keep one successful task for the quantiles."""
        taken = (duration_ms, task[3], task[5], task[6], task[7])
        for column, value in zip(self.samples, taken, strict=True):
            column.append(value)

    def record(self) -> StageMetrics:
        """The tally as it stands."""
        run, cpu, gc, read, written, shuffled, shuffle_out, spilled, disk, wait = self.sums
        five = [quantiles(column) for column in self.samples]
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
        self.started = 0
        self.running = 0
        self.ended = [0, 0, 0]
        self.task_time_ms = 0
        self.sums = [0, 0, 0, 0]
        self.blocks: dict[str, tuple[int, int]] = {}
        self.peaks: dict[str, int] = {}

    def end(self, outcome: int, duration_ms: int) -> None:
        """Count one ended task: outcome 0 succeeded, 1 failed, 2 was killed."""
        self.ended[outcome] += 1
        self.task_time_ms += duration_ms

    def add(self, task: Figures) -> None:
        """Add one ended task to the sums of GC, input, shuffle read and shuffle write."""
        sums = self.sums
        sums[0] += task[2]
        sums[1] += task[3]
        sums[2] += task[5]
        sums[3] += task[6]

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
