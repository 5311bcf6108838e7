"""Counters of stages, executors and cached blocks, and the limits of their lists."""

from __future__ import annotations

import io
import json
from array import array
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from emrctl.metrics.eventlog import layout, reader, tallies
from emrctl.metrics.eventlog.layout import EventLogFile
from emrctl.metrics.eventlog.storage import CachedBlocks
from emrctl.metrics.eventlog.tallies import ExecutorTally, StageTally
from emrctl.metrics.model import CachedRdd, Quantiles, RunMetrics
from tests.predict.logs import LogWriter

Line = dict[str, Any]


def read(lines: Sequence[Line]) -> RunMetrics:
    data = b"\n".join(json.dumps(line).encode() for line in lines)
    return reader.read_log([EventLogFile("app-1", lambda: io.BytesIO(data))])


def test_quantiles_are_the_values_at_their_ranks() -> None:
    # int(0.25 x 8) = 2, 4, 6 and the last one.
    values = array("q", [80, 10, 70, 20, 60, 30, 50, 40])
    expected = Quantiles(min=10, p25=30, median=50, p75=70, max=80)
    assert tallies.quantiles(values) == expected
    assert tallies.quantiles(array("q", [5])) == Quantiles(min=5, p25=5, median=5, p75=5, max=5)
    assert tallies.quantiles(array("q", [0, 0])) == Quantiles(min=0, p25=0, median=0, p75=0, max=0)
    assert tallies.quantiles(array("q")) is None


def stage_of(durations_ms: Sequence[int]) -> LogWriter:
    log = LogWriter()
    log.job_start(0, 1, {0: ()})
    log.stage(0, 1, 99, [("0", 1, 1 + duration / 1000) for duration in durations_ms])
    return log


@pytest.mark.parametrize(
    ("durations_ms", "stragglers"),
    [
        # At least 1.5 x the median of 1 s.
        ([1_000] * 5 + [1_499, 1_500], [6]),
        # At least half a second.
        ([100] * 5 + [499, 500], [6]),
        # The slowest eight, the first ones of equal ones.
        ([10] * 15 + [900] * 3 + [800] * 7, [15, 16, 17, 18, 19, 20, 21, 22]),
        ([10] * 15 + [800] * 7 + [900] * 3, [22, 23, 24, 15, 16, 17, 18, 19]),
    ],
)
def test_stragglers_are_the_slowest_tasks_beyond_the_median(
    durations_ms: list[int], stragglers: list[int]
) -> None:
    stage = read(stage_of(durations_ms).lines).stages[0]
    assert [task.task for task in stage.stragglers] == stragglers
    assert [task.duration_ms for task in stage.stragglers] == [
        durations_ms[task] for task in stragglers
    ]


def test_rare_causes_of_failures_are_counted_together() -> None:
    log = LogWriter()
    for number in range(22):
        log.task(0, number, "0", (1, 2), reason=f"Failure{number:02}")
    log.task(0, 22, "0", (1, 2), reason="Failure00")
    failures = read(log.lines).stages[0].failures
    assert len(failures) == 21
    assert (failures["Failure00"], failures["Failure19"], failures["other"]) == (2, 1, 2)


def test_running_tasks_have_started_and_not_ended() -> None:
    stage = StageTally(0, 0)
    assert stage.metrics(None).tasks_ok == stage.running == 0
    stage.start_tasks([50, 30, 40])
    stage.start_tasks([35])
    stage.ended = [1, 1, 0]
    assert (stage.running, stage.first_task_ms) == (2, 30)
    stage.resubmitted = 1
    assert stage.running == 3


def test_executor_keeps_its_largest_peaks_and_no_negative_tasks() -> None:
    row = ExecutorTally("1", 5)
    row.update_peaks({"JVMHeapMemory": 7, "OffHeapMemory": 0})
    row.update_peaks({"JVMHeapMemory": 6, "DirectPoolMemory": 1})
    assert row.metrics().peak_memory == {"DirectPoolMemory": 1, "JVMHeapMemory": 7}
    row.running = -1
    assert row.metrics().active_tasks == 0
    row.running = 3
    assert (row.metrics().active_tasks, row.metrics().active) == (3, True)
    row.removed_ms = 9
    assert (row.metrics().active_tasks, row.metrics().active) == (0, False)


def test_cached_blocks_have_their_largest_sizes_and_count_evictions() -> None:
    blocks = CachedBlocks()
    blocks.update(1, ("1", "rdd_1_0"), 100, 0)
    blocks.update(1, ("1", "rdd_1_1"), 50, 20)
    blocks.update(1, ("1", "rdd_1_0"), 0, 80)  # to disk
    blocks.update(1, ("1", "rdd_1_1"), 0, 0)
    blocks.update(1, ("2", "rdd_1_2"), 0, 5)
    blocks.update(1, ("2", "rdd_1_2"), 0, 0)  # was not in memory
    persisted = {number: CachedRdd(rdd=number, partitions=3) for number in (1, 2)}
    one, two = blocks.add_to(persisted)
    assert (one.stored, one.evicted) == (2, 2)
    assert (one.memory_bytes, one.disk_bytes) == (150, 100)
    assert two == persisted[2]


def test_unpersisted_blocks_are_not_evicted() -> None:
    blocks = CachedBlocks()
    blocks.update(1, ("1", "rdd_1_0"), 100, 10)
    blocks.unpersist(1)
    blocks.unpersist(7)
    blocks.update(1, ("1", "rdd_1_0"), 60, 5)
    [found] = blocks.add_to({1: CachedRdd(rdd=1)})
    assert (found.stored, found.evicted, found.memory_bytes, found.disk_bytes) == (1, 0, 100, 10)


def test_first_200_cached_rdds_are_listed() -> None:
    persisted = {number: CachedRdd(rdd=number) for number in range(205, 0, -1)}
    assert [one.rdd for one in CachedBlocks().add_to(persisted)] == list(range(1, 201))


# Consistency


def job_log(declared: int = 2, stages: int = 1) -> list[Line]:
    """Return the log of a job whose stages have two tasks each, and declare `declared`."""
    log = LogWriter(spark_master="yarn")
    log.job_start(0, 1, dict.fromkeys(range(stages), ()))
    for stage in range(stages):
        log.stage(stage, 1, 3, [("0", 1, 2), ("0", 2, 3)])
    log.job_end(0, 3)
    log.end(4)
    for line in log.lines:
        if "Stage Info" in line:
            line["Stage Info"]["Number of Tasks"] = declared
    return log.lines


def events(lines: list[Line], name: str) -> list[Line]:
    return [line for line in lines if line["Event"] == f"SparkListener{name}"]


def repeat(name: str) -> Callable[[list[Line]], list[Line]]:
    """Return a change of a log that repeats its first event of that name at once."""

    def change(lines: list[Line]) -> list[Line]:
        at = lines.index(events(lines, name)[0])
        return [*lines[: at + 1], *lines[at:]]

    return change


def without(name: str) -> Callable[[list[Line]], list[Line]]:
    """Return a change of a log that removes its first event of that name."""
    return lambda lines: [line for line in lines if line is not events(lines, name)[0]]


def add_sum(lines: list[Line]) -> list[Line]:
    sums = [{"Name": "internal.metrics.executorRunTime", "Value": 2_001}]
    events(lines, "StageCompleted")[0]["Stage Info"]["Accumulables"] = sums
    return lines


@pytest.mark.parametrize(
    ("change", "note", "damaged"),
    [
        (repeat("TaskStart"), "1 tasks started twice", True),
        (repeat("TaskEnd"), "1 tasks ended twice", True),
        (without("TaskStart"), "1 tasks ended without a start", True),
        (without("TaskEnd"), "stage 0: the log has 1 of 2 successful tasks", True),
        (without("TaskEnd"), "1 tasks started without an end", True),
        (repeat("JobStart"), "1 jobs started twice", True),
        (without("JobEnd"), "1 jobs started without an end", False),
        (without("JobStart"), "1 stages belong to no job in the log", False),
        (without("JobStart"), "1 jobs ended without a start", False),
        (without("ApplicationEnd"), "the log has no ApplicationEnd event", True),
        (without("EnvironmentUpdate"), "the log has no EnvironmentUpdate event", False),
        (repeat("ExecutorAdded"), "1 executors were added twice", False),
        (without("ExecutorAdded"), "1 executors ran tasks but were not added", True),
        (without("StageCompleted"), "1 stages started without an end", False),
        (
            add_sum,
            "stage 0: executor_run_time_ms of tasks is 2000, of the stage 2001",
            False,
        ),
    ],
)
def test_inconsistent_log_is_noted_and_incomplete_if_damaged(
    change: Callable[[list[Line]], list[Line]], note: str, damaged: bool
) -> None:
    usual = set(read(job_log()).notes)
    assert usual == {"the log has no event of the driver", "1 executors have no block manager"}
    run = read(change(job_log()))
    assert note in set(run.notes) - usual
    assert run.complete is not damaged


def test_notes_name_five_stages_and_count_the_others() -> None:
    notes = read(job_log(declared=3, stages=7)).notes
    named = [f"stage {number}: the log has 2 of 3 successful tasks" for number in range(5)]
    assert notes[:6] == (*named, "and 2 more stages")
    assert "more stages" not in str(read(job_log(declared=3, stages=5)).notes)


def test_more_successful_tasks_than_declared_are_no_fault() -> None:
    """Partitions that were computed twice succeed twice."""
    assert "successful tasks" not in str(read(job_log(declared=1)).notes)


def test_task_that_ends_after_its_stage_is_noted_if_none_was_running() -> None:
    lines = job_log(declared=3)
    at = lines.index(events(lines, "StageCompleted")[0])
    late = LogWriter((0.0, 3.0))
    late._task = 2
    late.task(0, 2, "0", (3, 4))
    added, start, end = late.lines[-3:]  # tasks are counted before an executor is added
    ended = read([*lines[: at + 1], added, start, end, *lines[at + 1 :]])
    assert "1 tasks ended after their stage" in ended.notes
    running = read([*lines[:at], start, lines[at], added, end, *lines[at + 1 :]])
    assert "after their stage" not in str(running.notes)
    assert running.stages[0].tasks_ok == ended.stages[0].tasks_ok == 3


def test_query_that_starts_twice_is_noted() -> None:
    start = {
        "Event": "org.apache.spark.sql.execution.ui.SparkListenerSQLExecutionStart",
        "executionId": 0,
        "description": "count",
        "time": 1,
        "sparkPlanInfo": {},
    }
    assert "1 queries started twice" in read([*job_log(), start, start]).notes
    assert "twice" not in str(read([*job_log(), start]).notes)


def test_cpu_time_of_stragglers_is_in_milliseconds() -> None:
    log = stage_of([1_000] * 5 + [9_000])
    events(log.lines, "TaskEnd")[-1]["Task Metrics"]["Executor CPU Time"] = 8_765_432_999_999
    [straggler] = read(log.lines).stages[0].stragglers
    assert straggler.cpu_time_ms == 8_765_432


@pytest.mark.parametrize(
    ("time_ms", "valid"),
    [
        (-(2**45), True),
        (-(2**45) - 1, False),
        (253_402_300_799_999, True),  # the end of the year 9999
        (253_402_300_800_000, False),
    ],
)
def test_times_outside_the_calendar_are_malformed(time_ms: int, valid: bool) -> None:
    log = LogWriter()
    log.task(0, 0, "0", (1, 2))
    events(log.lines, "TaskStart")[0]["Task Info"]["Launch Time"] = time_ms
    assert ("events lack fields or have invalid ones" in str(read(log.lines).notes)) is not valid


def test_missing_files_of_a_rolling_log_are_listed_up_to_a_limit() -> None:
    """A number may be damaged: 100 more than there are files."""
    names = ("events_1_app", "events_999999999_app")
    files = tuple(EventLogFile(name, io.BytesIO) for name in names)
    assert layout._rolling(files).missing == tuple(f"events_{n}" for n in range(2, 103))
