"""One shape for what a run did, whatever told it: event log, Spark's REST or YARN's.

Times are milliseconds since 1970 (`_ms` of a moment) or of length (`_ms` of a duration); None
stands where a source did not say, zero where it said zero.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self


class Record:
    """A frozen record that goes to plain JSON values and comes back equal."""

    def to_json(self) -> dict[str, Any]:
        """The record as dicts, lists and scalars, in the order of its fields."""
        return {
            item.name: _plain(getattr(self, item.name))
            for item in dataclasses.fields(typing.cast("Any", self))
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The record that `to_json` wrote; unknown keys, of a later emrctl, are passed over."""
        known = _readers(typing.cast("Any", cls))
        return cls(**{key: known[key](item) for key, item in document.items() if key in known})


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_json()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


@functools.cache
def _readers(cls: type[Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {item.name: _reader(hints[item.name]) for item in dataclasses.fields(cls)}


def _reader(hint: Any) -> Any:
    """What turns a JSON value into a value of the type `hint`."""
    options = typing.get_args(hint)
    if isinstance(hint, types.UnionType):
        inner = next(_reader(option) for option in options if option is not types.NoneType)
        return lambda value: None if value is None else inner(value)
    if typing.get_origin(hint) is tuple:
        each = _reader(options[0])
        return lambda value: tuple(each(item) for item in value)
    if isinstance(hint, type) and issubclass(hint, Record):
        return hint.from_json
    return lambda value: value


@dataclass(frozen=True, kw_only=True)
class Quantiles(Record):
    """Least, quarter, half, three quarters and most over a stage's successful tasks.

    As Spark's pages have them: the value at rank `int(q x n)`, never one in between.
    """

    min: int
    p25: int
    median: int
    p75: int
    max: int


@dataclass(frozen=True, kw_only=True)
class Straggler(Record):
    """A successful task that took much longer than the others of its stage."""

    task: int
    executor: str = ""
    duration_ms: int = 0
    run_time_ms: int = 0
    cpu_time_ms: int = 0
    gc_time_ms: int = 0
    fetch_wait_time_ms: int = 0
    read_bytes: int = 0
    written_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class StageMetrics(Record):
    """One attempt of one stage; sums over every task of it that ended, the failed ones too.

    `task_time_ms` sums the tasks' time from launch to finish, `failed_time_ms` and
    `killed_time_ms` the part of it that came to nothing; `failures` counts its ends by cause.
    """

    id: int
    attempt: int = 0
    status: str = "ACTIVE"
    name: str = ""
    submitted_ms: int | None = None
    completed_ms: int | None = None
    first_task_ms: int | None = None
    tasks: int = 0
    tasks_ok: int = 0
    tasks_failed: int = 0
    tasks_killed: int = 0
    executor_run_time_ms: int = 0
    executor_cpu_time_ns: int = 0
    jvm_gc_time_ms: int = 0
    input_bytes: int = 0
    output_bytes: int = 0
    shuffle_read_bytes: int = 0
    shuffle_write_bytes: int = 0
    fetch_wait_time_ms: int = 0
    memory_spilled_bytes: int = 0
    disk_spilled_bytes: int = 0
    task_time_ms: int = 0
    failed_time_ms: int = 0
    killed_time_ms: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)
    failure_reason: str | None = None
    stragglers: tuple[Straggler, ...] = ()
    duration_ms_quantiles: Quantiles | None = None
    input_bytes_quantiles: Quantiles | None = None
    shuffle_read_bytes_quantiles: Quantiles | None = None
    shuffle_write_bytes_quantiles: Quantiles | None = None
    memory_spilled_bytes_quantiles: Quantiles | None = None


@dataclass(frozen=True, kw_only=True)
class ExecutorMetrics(Record):
    """A row of Spark's executors page; `id` is `driver` for the driver.

    `task_time_ms` sums its tasks' time from launch to finish. In the driver's row Spark's page
    shows the application's age there instead; here it is the tasks' in every row.
    """

    id: str
    host: str = ""
    active: bool = True
    rdd_blocks: int = 0
    storage_used_bytes: int = 0
    storage_total_bytes: int = 0
    disk_used_bytes: int = 0
    cores: int = 0
    active_tasks: int = 0
    failed_tasks: int = 0
    complete_tasks: int = 0
    total_tasks: int = 0
    task_time_ms: int = 0
    gc_time_ms: int = 0
    input_bytes: int = 0
    shuffle_read_bytes: int = 0
    shuffle_write_bytes: int = 0
    excluded: bool = False
    added_ms: int | None = None
    removed_ms: int | None = None
    remove_reason: str | None = None
    peak_memory: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_driver(self) -> bool:
        """Whether this is the driver's row (Spark before 1.4 wrote `<driver>`)."""
        return self.id in {"driver", "<driver>"}


@dataclass(frozen=True, kw_only=True)
class SqlMetrics(Record):
    """One SQL execution; `status` is COMPLETED, FAILED or RUNNING.

    Files and broadcasts are those that its plan counted.
    """

    id: int
    description: str = ""
    start_ms: int | None = None
    end_ms: int | None = None
    status: str = "RUNNING"
    largest_broadcast_bytes: int = 0
    files_read: int = 0
    files_read_bytes: int = 0
    files_written: int = 0
    files_written_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Reuse(Record):
    """An RDD that `times` stages computed, each for itself, for it was not persisted.

    What was repeated is told at its most: what two stages share is no more than the lesser of
    them. `is_source` says that it is made of no other RDD; `names` are those of the stages.
    """

    rdd: int
    name: str = ""
    is_source: bool = False
    stages: tuple[int, ...] = ()
    times: int = 0
    names: tuple[str, ...] = ()
    repeated_input_bytes: int = 0
    repeated_time_ms: int = 0


@dataclass(frozen=True, kw_only=True)
class TaskMetrics(Record):
    """One end of one task; `status` is SUCCESS, FAILED or KILLED, `reason` Spark's own word."""

    stage: int
    stage_attempt: int = 0
    id: int
    index: int = 0
    attempt: int = 0
    executor: str = ""
    host: str = ""
    locality: str = ""
    speculative: bool = False
    status: str = "SUCCESS"
    reason: str = "Success"
    launched_ms: int
    finished_ms: int
    duration_ms: int
    executor_run_time_ms: int = 0
    executor_cpu_time_ns: int = 0
    jvm_gc_time_ms: int = 0
    input_bytes: int = 0
    output_bytes: int = 0
    shuffle_read_bytes: int = 0
    shuffle_write_bytes: int = 0
    memory_spilled_bytes: int = 0
    disk_spilled_bytes: int = 0
    fetch_wait_time_ms: int = 0


@dataclass(frozen=True, kw_only=True)
class ApplicationAccount(Record):
    """What YARN, or Spark's standalone master, booked for one application.

    The master knows state, user and duration only. `vcore_seconds` and `containers` count
    containers under EMR's default scheduling by memory alone (one vcore each, whatever was asked):
    they say nothing of CPU use. `containers` are those allocated over the application's life where
    YARN tells; `running_containers` now.
    """

    application_id: str
    state: str
    final_status: str = "UNDEFINED"
    queue: str = ""
    user: str = ""
    elapsed_ms: int | None = None
    memory_mb_seconds: int | None = None
    vcore_seconds: int | None = None
    containers: int | None = None
    running_containers: int | None = None
    preempted: int = 0
    attempts: int | None = None
    diagnostics: str = ""
    am_host: str = ""


@dataclass(frozen=True, kw_only=True)
class NodeAccount(Record):
    """One NodeManager or standalone worker as its manager sees it; None where nobody measured."""

    id: str
    state: str
    memory_used_mb: int = 0
    memory_available_mb: int = 0
    vcores_used: int = 0
    vcores_available: int = 0
    containers: int = 0
    physical_memory_used_mb: int | None = None
    cpu_used_cores: float | None = None
    health: str = ""


@dataclass(frozen=True, kw_only=True)
class QueueAccount(Record):
    """One leaf queue of the scheduler; capacities in percent of the cluster."""

    name: str
    capacity_percent: float = 0.0
    used_percent: float = 0.0
    pending_apps: int = 0
    running_apps: int = 0


@dataclass(frozen=True, kw_only=True)
class ClusterAccount(Record):
    """The first page of YARN's resource manager, or of a standalone master."""

    apps_submitted: int = 0
    apps_pending: int = 0
    apps_running: int = 0
    apps_completed: int = 0
    apps_failed: int = 0
    apps_killed: int = 0
    containers_allocated: int = 0
    containers_pending: int = 0
    memory_used_mb: int = 0
    memory_total_mb: int = 0
    vcores_used: int = 0
    vcores_total: int = 0
    nodes_by_state: Mapping[str, int] = field(default_factory=dict)
    nodes: tuple[NodeAccount, ...] = ()
    scheduler: str = ""
    queues: tuple[QueueAccount, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RunMetrics(Record):
    """One attempt of one Spark application, whole.

    Sums run over every task that ended, the failed ones too. A second end of a task as
    Resubmitted adds to `tasks_failed` and nothing to the sums. `complete` says that the record is
    whole from start to end; `notes` say what was amiss, one sentence each.
    """

    app_id: str | None = None
    app_attempt: str | None = None
    app_name: str | None = None
    spark_version: str | None = None
    start_ms: int | None = None
    end_ms: int | None = None
    duration_ms: int | None = None
    jobs: int = 0
    jobs_succeeded: int = 0
    jobs_failed: int = 0
    stages_completed: int = 0
    stages_failed: int = 0
    tasks_ok: int = 0
    tasks_failed: int = 0
    tasks_killed: int = 0
    executor_run_time_ms: int = 0
    executor_cpu_time_ns: int = 0
    jvm_gc_time_ms: int = 0
    input_bytes: int = 0
    output_bytes: int = 0
    shuffle_read_bytes: int = 0
    shuffle_write_bytes: int = 0
    memory_spilled_bytes: int = 0
    disk_spilled_bytes: int = 0
    peak_executors: int = 0
    bad_lines: int = 0
    complete: bool = False
    notes: tuple[str, ...] = ()
    stages: tuple[StageMetrics, ...] = ()
    executors: tuple[ExecutorMetrics, ...] = ()
    sql: tuple[SqlMetrics, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    reuses: tuple[Reuse, ...] = ()
    yarn: ApplicationAccount | None = None
    cluster: ClusterAccount | None = None

    @property
    def task_time_ms(self) -> int:
        """Time of all tasks from launch to finish, over all executors."""
        return sum(executor.task_time_ms for executor in self.executors)

    @property
    def busy_rows(self) -> tuple[ExecutorMetrics, ...]:
        """The executors that can run tasks: without the driver, but in local mode the driver."""
        workers = tuple(row for row in self.executors if not row.is_driver)
        return workers or self.executors
