"""The events of a log as msgspec structs, with the types of Spark's JsonProtocol.

msgspec validates every byte of a line as JSON but creates objects for the declared fields only.
That skips most of a log: accumulables of tasks, stage descriptions and query plans.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Union

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType, field

from emrctl.metrics.eventlog.task_events import DetailedTaskEnd, TaskEnd, TaskStart, Time, Whole

_SQL = "org.apache.spark.sql.execution.ui.SparkListener"


class JobProperties(Struct, gc=False):
    """The SQL execution of a job, from its properties."""

    query: str | None = field(name="spark.sql.execution.id", default=None)


class JobStart(Struct, gc=False, tag_field="Event", tag="SparkListenerJobStart"):
    """A job started; `Stage Infos` repeat the stage events."""

    job: Whole = field(name="Job ID")
    stages: list[Whole] = field(name="Stage IDs", default_factory=list)
    properties: JobProperties | None = field(name="Properties", default=None)


class StageParents(Struct, gc=False):
    """A stage of a job and the stages whose shuffle output it reads."""

    id: Whole = field(name="Stage ID")
    parents: list[Whole] = field(name="Parent IDs", default_factory=list)


class DetailedJobProperties(JobProperties, gc=False):
    """The scheduler pool of a job, too."""

    pool: str | None = field(name="spark.scheduler.pool", default=None)


class DetailedJobStart(JobStart, gc=False):
    """A `JobStart` with the graph of its stages; decoded only if jobs are requested."""

    time_ms: Time = field(name="Submission Time", default=0)
    infos: list[StageParents] = field(name="Stage Infos", default_factory=list)
    properties: DetailedJobProperties | None = field(name="Properties", default=None)


class Accumulable(Struct, gc=False):
    """A sum over the tasks of a stage; values of SQL metrics are strings."""

    id: Whole = field(name="ID", default=-1)
    name: str | None = field(name="Name", default=None)
    value: Any = field(name="Value", default=None)


class StageInfo(Struct, gc=False):
    """Description of a stage attempt, in its first and last event."""

    id: Whole = field(name="Stage ID")
    attempt: Whole = field(name="Stage Attempt ID", default=0)
    name: str | UnsetType = field(name="Stage Name", default=UNSET)
    tasks: Whole | UnsetType = field(name="Number of Tasks", default=UNSET)
    submitted_ms: Time | UnsetType = field(name="Submission Time", default=UNSET)
    completed_ms: Time | UnsetType = field(name="Completion Time", default=UNSET)
    failure: str | None = field(name="Failure Reason", default=None)
    parents: list[Whole] = field(name="Parent IDs", default_factory=list)
    accumulables: list[Accumulable] = field(name="Accumulables", default_factory=list)
    rdds: Raw = field(name="RDD Info", default=Raw(b"[]"))


class StageSubmitted(Struct, gc=False, tag_field="Event", tag="SparkListenerStageSubmitted"):
    """A stage attempt was submitted."""

    info: StageInfo = field(name="Stage Info")


class StageCompleted(Struct, gc=False, tag_field="Event", tag="SparkListenerStageCompleted"):
    """A stage attempt completed or failed."""

    info: StageInfo = field(name="Stage Info")


class SqlStart(Struct, gc=False, tag_field="Event", tag=f"{_SQL}SQLExecutionStart"):
    """A SQL execution started; its plan stays undecoded."""

    id: Whole = field(name="executionId")
    time_ms: Time = field(name="time")
    description: str | None = None
    plan: Raw = field(name="sparkPlanInfo", default=Raw(b"{}"))


class SqlPlanChanged(Struct, gc=False, tag_field="Event", tag=f"{_SQL}SQLAdaptiveExecutionUpdate"):
    """Adaptive execution changed the plan of a query."""

    id: Whole = field(name="executionId", default=-1)
    plan: Raw = field(name="sparkPlanInfo", default=Raw(b"{}"))


class SqlMetricsChanged(
    Struct, gc=False, tag_field="Event", tag=f"{_SQL}SQLAdaptiveSQLMetricUpdates"
):
    """The metrics of a query plan changed; ignored."""


class DriverAccumulables(Struct, gc=False, tag_field="Event", tag=f"{_SQL}DriverAccumUpdates"):
    """SQL metrics that the driver updated."""

    id: Whole = field(name="executionId", default=-1)
    updates: Raw = field(name="accumUpdates", default=Raw(b"[]"))


class LogStart(Struct, gc=False, tag_field="Event", tag="SparkListenerLogStart"):
    """First event of a log."""

    version: str = field(name="Spark Version")


class DatabricksLogStart(
    Struct, gc=False, tag_field="Event", tag="DBCEventLoggingListenerMetadata"
):
    """First event of each part of a log of Databricks."""

    version: str = field(name="Spark Version")
    part: Whole | None = field(name="Rollover Number", default=None)


class ApplicationStart(Struct, gc=False, tag_field="Event", tag="SparkListenerApplicationStart"):
    """The application started, or another attempt of it."""

    time_ms: Time = field(name="Timestamp")
    name: str | None = field(name="App Name", default=None)
    id: str | None = field(name="App ID", default=None)
    attempt: str | None = field(name="App Attempt ID", default=None)


class ApplicationEnd(Struct, gc=False, tag_field="Event", tag="SparkListenerApplicationEnd"):
    """The application ended."""

    time_ms: Time = field(name="Timestamp")


class Environment(Struct, gc=False, tag_field="Event", tag="SparkListenerEnvironmentUpdate"):
    """Properties of the application by section; all values are texts."""

    spark: dict[str, str] = field(name="Spark Properties")
    system: dict[str, str] = field(name="System Properties", default_factory=dict)
    hadoop: dict[str, str] = field(name="Hadoop Properties", default_factory=dict)
    metrics: dict[str, str] = field(name="Metrics Properties", default_factory=dict)
    jvm: dict[str, str] = field(name="JVM Information", default_factory=dict)


class ExecutorInfo(Struct, gc=False):
    """Host and cores of an executor."""

    host: str = field(name="Host")
    cores: Whole = field(name="Total Cores")


class ExecutorAdded(Struct, gc=False, tag_field="Event", tag="SparkListenerExecutorAdded"):
    """An executor registered with the driver."""

    time_ms: Time = field(name="Timestamp")
    executor: str = field(name="Executor ID")
    info: ExecutorInfo = field(name="Executor Info")


class ExecutorRemoved(Struct, gc=False, tag_field="Event", tag="SparkListenerExecutorRemoved"):
    """The driver removed an executor."""

    time_ms: Time = field(name="Timestamp")
    executor: str = field(name="Executor ID")
    reason: str | None = field(name="Removed Reason", default=None)


class BlockManagerId(Struct, gc=False):
    """The storage of an executor."""

    executor: str = field(name="Executor ID")
    host: str = field(name="Host", default="")


class BlockManagerAdded(Struct, gc=False, tag_field="Event", tag="SparkListenerBlockManagerAdded"):
    """The storage of an executor was registered; Spark before 1.4 wrote no time."""

    id: BlockManagerId = field(name="Block Manager ID")
    memory_bytes: Whole = field(name="Maximum Memory")
    time_ms: Time | None = field(name="Timestamp", default=None)


class BlockManagerRemoved(
    Struct, gc=False, tag_field="Event", tag="SparkListenerBlockManagerRemoved"
):
    """The storage of an executor was lost."""

    id: BlockManagerId = field(name="Block Manager ID")


class StorageLevel(Struct, gc=False):
    """Where a block is stored."""

    disk: bool = field(name="Use Disk", default=False)
    memory: bool = field(name="Use Memory", default=False)


class BlockInfo(Struct, gc=False):
    """State of a block; partitions of RDDs are called `rdd_RDD_PARTITION`."""

    manager: BlockManagerId = field(name="Block Manager ID")
    block: str = field(name="Block ID")
    level: StorageLevel = field(name="Storage Level")
    memory_bytes: Whole = field(name="Memory Size")
    disk_bytes: Whole = field(name="Disk Size")


class BlockUpdated(Struct, gc=False, tag_field="Event", tag="SparkListenerBlockUpdated"):
    """A block was stored, moved or removed; Spark logs these events on request only."""

    info: BlockInfo = field(name="Block Updated Info")


class RddUnpersisted(Struct, gc=False, tag_field="Event", tag="SparkListenerUnpersistRDD"):
    """The program removed a persisted RDD."""

    rdd: Whole = field(name="RDD ID")


class ExecutorPeaks(Struct, gc=False, tag_field="Event", tag="SparkListenerStageExecutorMetrics"):
    """Peak memory of an executor during a stage, by Spark's names."""

    executor: str = field(name="Executor ID")
    peaks: dict[str, Whole] = field(name="Executor Metrics")


class JobResult(Struct, gc=False):
    """Whether a job succeeded."""

    result: str = field(name="Result")


class JobEnd(Struct, gc=False, tag_field="Event", tag="SparkListenerJobEnd"):
    """A job ended."""

    job: Whole = field(name="Job ID")
    result: JobResult = field(name="Job Result")
    time_ms: Time = field(name="Completion Time", default=0)


class SqlEnd(Struct, gc=False, tag_field="Event", tag=f"{_SQL}SQLExecutionEnd"):
    """A SQL execution ended; with an error since Spark 3.4."""

    id: Whole = field(name="executionId")
    time_ms: Time = field(name="time")
    error: str | None = field(name="errorMessage", default=None)


class ExecutorExclusion(Struct, gc=False, tag_field="Event"):
    """Spark schedules no tasks on an executor, or does so again; one subclass for each name."""

    executor: str = field(name="executorId")


class HostExclusion(Struct, gc=False, tag_field="Event"):
    """Spark schedules no tasks on the executors of a host, or does so again."""

    host: str = field(name="hostId")


def _exclusions(base: type[Struct], word: str) -> dict[type[Struct], bool]:
    """Return a type for each event name, and whether the event excludes."""
    flags = {"Blacklisted": True, "Excluded": True, "Unblacklisted": False, "Unexcluded": False}
    names = ("SparkListener", "org.apache.spark.scheduler.SparkListener")
    return {
        msgspec.defstruct(f"{word}{suffix}", [], bases=(base,), tag=f"{name}{word}{suffix}"): flag
        for suffix, flag in flags.items()
        for name in names
    }


#: Events by type, with the value that they set.
EXECUTOR_EXCLUSIONS = _exclusions(ExecutorExclusion, "Executor")
HOST_EXCLUSIONS = _exclusions(HostExclusion, "Node")
_OTHERS: tuple[type[Struct], ...] = (
    TaskStart,
    StageSubmitted,
    StageCompleted,
    SqlStart,
    SqlEnd,
    SqlPlanChanged,
    SqlMetricsChanged,
    DriverAccumulables,
    LogStart,
    DatabricksLogStart,
    ApplicationStart,
    ApplicationEnd,
    Environment,
    ExecutorAdded,
    ExecutorRemoved,
    BlockManagerAdded,
    BlockManagerRemoved,
    BlockUpdated,
    RddUnpersisted,
    ExecutorPeaks,
    JobEnd,
    *EXECUTOR_EXCLUSIONS,
    *HOST_EXCLUSIONS,
)


_TASKS_AND_JOBS: tuple[type[Struct], ...] = (TaskEnd, JobStart)


def _decoder(types: tuple[type[Struct], ...]) -> Callable[[bytes], Any]:
    decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Union[(*types, *_OTHERS)])
    return decoder.decode


#: Decode a line; raise `msgspec.MsgspecError`, `UnicodeDecodeError` or `RecursionError`.
decode = _decoder(_TASKS_AND_JOBS)
decode_detailed = _decoder((DetailedTaskEnd, DetailedJobStart))
#: The names of all events above; others are ignored.
NAMES = frozenset(str(kind.__struct_config__.tag) for kind in (*_TASKS_AND_JOBS, *_OTHERS))
