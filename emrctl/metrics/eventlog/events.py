"""The most frequent events of a log as msgspec structs.

msgspec validates every byte of a line as JSON but creates objects for the declared fields only.
That skips most of a log: accumulables of tasks, stage descriptions and query plans.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, get_args

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

from emrctl.metrics.task_figures import FIGURES, TaskFigure

# Differences of two such numbers fit into 64 bits; no real value is that large.
Whole = Annotated[int, Meta(ge=-(1 << 62), le=1 << 62)]
_SQL = "org.apache.spark.sql.execution.ui.SparkListener"


def _identifier(key: str) -> str:
    return key.lower().replace(" ", "_")


def _task_values_struct() -> type[Struct]:
    groups: defaultdict[str, list[tuple[str, Any, Any]]] = defaultdict(list)
    for figure in FIGURES:
        for key in figure.sources:
            groups[figure.group].append((_identifier(key), Whole, field(name=key, default=0)))
    fields = groups.pop("")
    for group, members in groups.items():
        nested = msgspec.defstruct(_identifier(group), members, gc=False)
        fields.append((_identifier(group), nested | None, field(name=group, default=None)))
    return msgspec.defstruct("TaskValues", fields, gc=False)


if TYPE_CHECKING:

    class TaskValues(Struct):
        """`Task Metrics` with the fields of `FIGURES`; keys that old versions lack are 0."""
else:
    TaskValues = _task_values_struct()


def _column_reader(figure: TaskFigure) -> Callable[[Sequence[TaskValues]], list[int]]:
    """Compile a comprehension: several times faster than attrgetter or astuple."""
    parent = "group" if figure.group else "task"
    value = " + ".join(f"{parent}.{_identifier(key)}" for key in figure.sources)
    if figure.group:
        value = f"0 if (group := task.{_identifier(figure.group)}) is None else {value}"
    reader: Callable[[Sequence[TaskValues]], list[int]]
    reader = eval(f"lambda tasks: [{value} for task in tasks]")  # noqa: S307 - from FIGURES only
    return reader


#: By figure name: return the figure's value for each task.
COLUMN_READERS = {figure.name: _column_reader(figure) for figure in FIGURES}


class TaskInfo(Struct, gc=False):
    """Identity, executor and times of a task."""

    id: Whole = field(name="Task ID")
    launched_ms: Whole = field(name="Launch Time")
    finished_ms: Whole = field(name="Finish Time")
    executor: str = field(name="Executor ID")


class TaskReason(Struct, gc=False):
    """Why a task ended: `Success`, or the kind of failure."""

    kind: str = field(name="Reason")
    class_name: str = field(name="Class Name", default="")
    kill: str = field(name="Kill Reason", default="")


class TaskStart(Struct, gc=False, tag_field="Event", tag="SparkListenerTaskStart"):
    """A task started."""

    stage: Whole = field(name="Stage ID")
    info: TaskInfo = field(name="Task Info")
    attempt: Whole = field(name="Stage Attempt ID", default=0)


class TaskEnd(Struct, gc=False, tag_field="Event", tag="SparkListenerTaskEnd"):
    """A task ended; failed tasks may lack `Task Metrics`."""

    stage: Whole = field(name="Stage ID")
    reason: TaskReason = field(name="Task End Reason")
    info: TaskInfo = field(name="Task Info")
    attempt: Whole = field(name="Stage Attempt ID", default=0)
    values: TaskValues | None = field(name="Task Metrics", default=None)
    peaks: Raw = field(name="Task Executor Metrics", default=Raw(b"{}"))


class DetailedTaskInfo(TaskInfo, gc=False):
    """The fields of `Task Info` that the task table shows."""

    index: Whole = field(name="Index", default=0)
    attempt: Whole = field(name="Attempt", default=0)
    host: str = field(name="Host", default="")
    locality: str = field(name="Locality", default="")
    speculative: bool = field(name="Speculative", default=False)


class DetailedTaskEnd(TaskEnd, gc=False):
    """A `TaskEnd` with the fields of the task table; decoded only if task rows are requested."""

    info: DetailedTaskInfo = field(name="Task Info")


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

    time_ms: Whole = field(name="Submission Time", default=0)
    infos: list[StageParents] = field(name="Stage Infos", default_factory=list)
    properties: DetailedJobProperties | None = field(name="Properties", default=None)


class Accumulable(Struct, gc=False):
    """A sum over the tasks of a stage; values of SQL metrics are strings."""

    id: Any = field(name="ID", default=-1)
    name: str | None = field(name="Name", default=None)
    value: Any = field(name="Value", default=None)


class StageInfo(Struct, gc=False):
    """Description of a stage attempt, in its first and last event."""

    id: Whole = field(name="Stage ID")
    attempt: Whole = field(name="Stage Attempt ID", default=0)
    name: str | UnsetType = field(name="Stage Name", default=UNSET)
    tasks: Whole | UnsetType = field(name="Number of Tasks", default=UNSET)
    submitted_ms: Whole | UnsetType = field(name="Submission Time", default=UNSET)
    completed_ms: Whole | UnsetType = field(name="Completion Time", default=UNSET)
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
    time_ms: Whole = field(name="time")
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


OtherEvent = (
    TaskStart
    | StageSubmitted
    | StageCompleted
    | SqlStart
    | SqlPlanChanged
    | SqlMetricsChanged
    | DriverAccumulables
)
#: Decode a line; raise `msgspec.MsgspecError`, `UnicodeDecodeError` or `RecursionError`.
decode = msgspec.json.Decoder(TaskEnd | JobStart | OtherEvent).decode
decode_detailed = msgspec.json.Decoder(DetailedTaskEnd | DetailedJobStart | OtherEvent).decode
TYPED_EVENTS = frozenset(
    str(event.__struct_config__.tag) for event in get_args(TaskEnd | JobStart | OtherEvent)
)
