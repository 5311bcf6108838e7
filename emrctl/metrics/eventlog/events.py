"""The events that make up most of a log, as typed records.

msgspec checks every byte of a line for being JSON while only the fields named here become
objects, so that a damaged line is noticed wherever the damage is. Accumulables of tasks, stage
descriptions and query plans are most of a log's bytes, and nothing here asks for them.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

# Differences of two such numbers are still 64 bits wide; no real figure comes near.
Whole = Annotated[int, Meta(ge=-(1 << 62), le=1 << 62)]
_SQL = "org.apache.spark.sql.execution.ui.SparkListener"


class ShuffleRead(Struct, gc=False):
    """What a task fetched; `Local` came from its own host."""

    local_bytes: Whole = field(name="Local Bytes Read", default=0)
    remote_bytes: Whole = field(name="Remote Bytes Read", default=0)
    wait_ms: Whole = field(name="Fetch Wait Time", default=0)


class ShuffleWrite(Struct, gc=False):
    """What a task left for others to fetch."""

    written: Whole = field(name="Shuffle Bytes Written", default=0)


class Input(Struct, gc=False):
    """What a task read from storage."""

    read: Whole = field(name="Bytes Read", default=0)


class Output(Struct, gc=False):
    """What a task wrote to storage."""

    written: Whole = field(name="Bytes Written", default=0)


class TaskFigures(Struct, gc=False):
    """`Task Metrics`; absent keys, of older Sparks, are 0."""

    run_ms: Whole = field(name="Executor Run Time", default=0)
    cpu_ns: Whole = field(name="Executor CPU Time", default=0)
    gc_ms: Whole = field(name="JVM GC Time", default=0)
    memory_spilled: Whole = field(name="Memory Bytes Spilled", default=0)
    disk_spilled: Whole = field(name="Disk Bytes Spilled", default=0)
    shuffle_read: ShuffleRead | None = field(name="Shuffle Read Metrics", default=None)
    shuffle_write: ShuffleWrite | None = field(name="Shuffle Write Metrics", default=None)
    input: Input | None = field(name="Input Metrics", default=None)
    output: Output | None = field(name="Output Metrics", default=None)


class TaskInfo(Struct, gc=False):
    """Which task, where and when."""

    id: Whole = field(name="Task ID")
    launched_ms: Whole = field(name="Launch Time")
    finished_ms: Whole = field(name="Finish Time")
    executor: str = field(name="Executor ID")


class TaskReason(Struct, gc=False):
    """Why a task ended: `Success`, or the kind of its failure."""

    kind: str = field(name="Reason")
    class_name: str = field(name="Class Name", default="")
    kill: str = field(name="Kill Reason", default="")


class TaskStart(Struct, gc=False, tag_field="Event", tag="SparkListenerTaskStart"):
    """A task begins."""

    stage: Whole = field(name="Stage ID")
    info: TaskInfo = field(name="Task Info")
    attempt: Whole = field(name="Stage Attempt ID", default=0)


class TaskEnd(Struct, gc=False, tag_field="Event", tag="SparkListenerTaskEnd"):
    """A task ends; failed ones may come without figures."""

    stage: Whole = field(name="Stage ID")
    reason: TaskReason = field(name="Task End Reason")
    info: TaskInfo = field(name="Task Info")
    attempt: Whole = field(name="Stage Attempt ID", default=0)
    figures: TaskFigures | None = field(name="Task Metrics", default=None)
    peaks: Raw = field(name="Task Executor Metrics", default=Raw(b"{}"))


class Place(TaskInfo, gc=False):
    """All of a `Task Info` that a row of the task table shows."""

    index: Whole = field(name="Index", default=0)
    attempt: Whole = field(name="Attempt", default=0)
    host: str = field(name="Host", default="")
    locality: str = field(name="Locality", default="")
    speculative: bool = field(name="Speculative", default=False)


class PlacedTaskEnd(Struct, gc=False, tag_field="Event", tag="SparkListenerTaskEnd"):
    """A `TaskEnd` for whoever wants a row of each task; as a type of its own it costs no other."""

    stage: Whole = field(name="Stage ID")
    reason: TaskReason = field(name="Task End Reason")
    info: Place = field(name="Task Info")
    attempt: Whole = field(name="Stage Attempt ID", default=0)
    figures: TaskFigures | None = field(name="Task Metrics", default=None)
    peaks: Raw = field(name="Task Executor Metrics", default=Raw(b"{}"))


class JobProperties(Struct, gc=False):
    """What a job's properties say of the query that it works for, of a hundred things."""

    query: str | None = field(name="spark.sql.execution.id", default=None)


class JobStart(Struct, gc=False, tag_field="Event", tag="SparkListenerJobStart"):
    """A job begins; `Stage Infos` repeat what the stages' own events say."""

    job: Whole = field(name="Job ID")
    stages: list[Whole] = field(name="Stage IDs", default_factory=list)
    properties: JobProperties | None = field(name="Properties", default=None)


class Accumulable(Struct, gc=False):
    """One of a stage's own sums; SQL's have text for a value."""

    name: str | None = field(name="Name", default=None)
    value: Any = field(name="Value", default=None)


class StageInfo(Struct, gc=False):
    """What Spark says of a stage attempt when it begins, and again when it has ended."""

    id: Whole = field(name="Stage ID")
    attempt: Whole = field(name="Stage Attempt ID", default=0)
    name: str | UnsetType = field(name="Stage Name", default=UNSET)
    tasks: Whole | UnsetType = field(name="Number of Tasks", default=UNSET)
    submitted_ms: Whole | UnsetType = field(name="Submission Time", default=UNSET)
    completed_ms: Whole | UnsetType = field(name="Completion Time", default=UNSET)
    failure: str | None = field(name="Failure Reason", default=None)
    account: list[Accumulable] = field(name="Accumulables", default_factory=list)
    rdds: Raw = field(name="RDD Info", default=Raw(b"[]"))


class StageSubmitted(Struct, gc=False, tag_field="Event", tag="SparkListenerStageSubmitted"):
    """A stage attempt begins."""

    info: StageInfo = field(name="Stage Info")


class StageCompleted(Struct, gc=False, tag_field="Event", tag="SparkListenerStageCompleted"):
    """A stage attempt has ended, well or not."""

    info: StageInfo = field(name="Stage Info")


class SqlStart(Struct, gc=False, tag_field="Event", tag=f"{_SQL}SQLExecutionStart"):
    """A query begins; of its plan only the numbers of some figures are kept."""

    id: Whole = field(name="executionId")
    time_ms: Whole = field(name="time")
    description: str | None = None
    plan: Raw = field(name="sparkPlanInfo", default=Raw(b"{}"))


class SqlPlanChanged(Struct, gc=False, tag_field="Event", tag=f"{_SQL}SQLAdaptiveExecutionUpdate"):
    """A query's plan changed while it ran."""

    plan: Raw = field(name="sparkPlanInfo", default=Raw(b"{}"))


class SqlMetricsChanged(
    Struct, gc=False, tag_field="Event", tag=f"{_SQL}SQLAdaptiveSQLMetricUpdates"
):
    """The metrics of a query's plan changed; nothing of it is kept."""


class DriverAccumulables(Struct, gc=False, tag_field="Event", tag=f"{_SQL}DriverAccumUpdates"):
    """Sums of a query that the driver made."""

    id: Whole = field(name="executionId", default=-1)
    updates: Raw = field(name="accumUpdates", default=Raw(b"[]"))


Rest = (
    JobStart
    | StageSubmitted
    | StageCompleted
    | SqlStart
    | SqlPlanChanged
    | SqlMetricsChanged
    | DriverAccumulables
)
Event = TaskStart | TaskEnd | Rest
PlacedEvent = TaskStart | PlacedTaskEnd | Rest
AnyTaskEnd = TaskEnd | PlacedTaskEnd

#: What raises nothing else than `msgspec.MsgspecError`, `UnicodeDecodeError` or `RecursionError`.
decode = msgspec.json.Decoder(Event).decode
decode_placed = msgspec.json.Decoder(PlacedEvent).decode
TYPED = frozenset(
    str(kind.__struct_config__.tag)
    for kind in (
        TaskStart,
        TaskEnd,
        JobStart,
        StageSubmitted,
        StageCompleted,
        SqlStart,
        SqlPlanChanged,
        SqlMetricsChanged,
        DriverAccumulables,
    )
)
