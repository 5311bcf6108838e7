"""The events of tasks as msgspec structs: nearly all lines of a log."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct, field

from emrctl.metrics.task_figures import FIGURES, TaskFigure

# Differences of two such numbers fit into 64 bits; no real value is that large.
Whole = Annotated[int, Meta(ge=-(1 << 62), le=1 << 62)]
# Milliseconds since 1970, up to the year 9999.
Time = Annotated[int, Meta(ge=-(1 << 45), le=253_402_300_799_999)]


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
    launched_ms: Time = field(name="Launch Time")
    finished_ms: Time = field(name="Finish Time")
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


class DetailedTaskValues(TaskValues, gc=False):
    """Times before a task runs, too; Spark before 2.1 wrote no CPU time."""

    deserialize_time_ms: Whole = field(name="Executor Deserialize Time", default=0)
    deserialize_cpu_time_ns: Whole = field(name="Executor Deserialize CPU Time", default=0)


class DetailedTaskEnd(TaskEnd, gc=False):
    """A `TaskEnd` with the fields of the task table; decoded only if task rows are requested."""

    info: DetailedTaskInfo = field(name="Task Info")
    values: DetailedTaskValues | None = field(name="Task Metrics", default=None)
