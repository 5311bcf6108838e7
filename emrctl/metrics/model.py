"""The metrics of a run in one shape, whether read from event logs, Spark's REST API or YARN's.

Fields ending in `_ms` are durations, or times in milliseconds since 1970. None means that the
source does not report the value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from emrctl.metrics.record import Record
from emrctl.metrics.task_figures import RunFigures, TaskFigures


@dataclass(frozen=True, kw_only=True)
class Quantiles(Record):
    """Quantiles of a figure over the successful tasks of a stage.

    As in Spark's UI: the value at rank `int(q x n)`, without interpolation.
    """

    min: int
    p25: int
    median: int
    p75: int
    max: int


@dataclass(frozen=True, kw_only=True)
class Straggler(Record):
    """A successful task that took much longer than the other tasks of its stage.

    `read_bytes` adds input and shuffle read, `written_bytes` output and shuffle write.
    """

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
class StageMetrics(TaskFigures, Record, figures_before="task_time_ms"):
    """One stage attempt; sums include failed and killed tasks.

    `task_time_ms` sums the durations of the tasks from launch to finish, `failed_time_ms` and
    `killed_time_ms` those of failed and killed tasks; `failures` counts failed tasks by cause.
    `job` is the first job of the stage, `parents` are the stages whose output it reads, and
    `operators` the names of its RDDs' operations, the source first.
    `result_bytes` (of task results sent to the driver) and `deserialize_time_ms` are Spark's own
    sums, None before the stage has ended. `rdds` counts the RDDs of its lineage.
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
    task_time_ms: int = 0
    failed_time_ms: int = 0
    killed_time_ms: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)
    failure_reason: str | None = None
    job: int | None = None
    parents: tuple[int, ...] = ()
    operators: tuple[str, ...] = ()
    result_bytes: int | None = None
    deserialize_time_ms: int | None = None
    rdds: int = 0
    stragglers: tuple[Straggler, ...] = ()
    duration_ms_quantiles: Quantiles | None = None
    input_bytes_quantiles: Quantiles | None = None
    shuffle_read_bytes_quantiles: Quantiles | None = None
    shuffle_write_bytes_quantiles: Quantiles | None = None
    memory_spilled_bytes_quantiles: Quantiles | None = None


@dataclass(frozen=True, kw_only=True)
class ExecutorMetrics(Record):
    """A row of Spark's Executors page; `id` is `driver` for the driver.

    `task_time_ms` sums the durations of its tasks from launch to finish, also for the driver,
    where Spark's page shows the age of the application.
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
        """Whether this is the driver; Spark before 1.4 wrote `<driver>`."""
        return self.id in {"driver", "<driver>"}


@dataclass(frozen=True, kw_only=True)
class SqlOperator(Record):
    """A join, scan, exchange, broadcast, Python evaluation, window or write of a plan.

    `figures` are its SQL metrics: `bytes` and `rows` of its output, `files`, `partitions`, times;
    of joins also `left_` and `right_` `bytes` and `rows` of the inputs. A window is listed only if
    its input is in one partition. Equal subtrees of `nodes` operators have the same `fingerprint`.
    `cached` operators are below a cached table, which was computed only once.
    """

    name: str
    detail: str = ""
    fingerprint: str = ""
    nodes: int = 0
    cached: bool = False
    figures: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SqlMetrics(Record):
    """One SQL execution; `status` is COMPLETED, FAILED or RUNNING.

    Files and broadcasts are the SQL metrics of its plan. `stages` are those that its jobs ran;
    `operators` is None if the record was stored before plans were read.
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
    error: str = ""
    stages: tuple[int, ...] = ()
    operators: tuple[SqlOperator, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class CachedRdd(Record):
    """A persisted RDD or table and its `partitions`.

    The other fields need block updates in the log (spark.eventLog.logBlockUpdates.enabled):
    `stored` is the largest number of partitions stored at the same time, `evicted` counts
    partitions that left the memory without unpersist(), the sizes are the largest ones.
    """

    rdd: int
    name: str = ""
    partitions: int = 0
    stored: int = 0
    evicted: int = 0
    memory_bytes: int = 0
    disk_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Reuse(Record):
    """An RDD that `times` stages computed again because it was not persisted.

    `repeated_*` are upper bounds: two stages share at most the smaller of the two. `is_source`
    means that the RDD has no parents; `names` are stage names.
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
class TaskMetrics(TaskFigures, Record):
    """One ended task attempt; `status` is SUCCESS, FAILED or KILLED, `reason` Spark's reason."""

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
    deserialize_time_ms: int = 0
    deserialize_cpu_time_ns: int = 0


@dataclass(frozen=True, kw_only=True)
class JobMetrics(Record):
    """One Spark job; `parents` maps its stages, skipped ones included, to their parent stages."""

    id: int
    submitted_ms: int
    completed_ms: int | None = None
    pool: str = ""
    parents: Mapping[int, Sequence[int]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ApplicationAccount(Record):
    """Resources that YARN or Spark's standalone master accounted to one application.

    The standalone master reports state, user and duration only. With EMR's default resource
    calculator YARN schedules by memory and counts one vcore per container, so `vcore_seconds` is
    no measure of CPU use. `containers` counts all containers of the application if YARN reports
    them, `running_containers` the current ones.
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
    """One NodeManager or standalone worker; None where the value is not measured.

    `physical_memory_used_mb` and `cpu_used_cores` are those of the machine, which all nodes on
    localhost share; `containers_memory_mb` and `containers_cpu_cores` those of the processes of
    YARN's containers.
    """

    id: str
    state: str
    memory_used_mb: int = 0
    memory_available_mb: int = 0
    vcores_used: int = 0
    vcores_available: int = 0
    containers: int = 0
    physical_memory_used_mb: int | None = None
    cpu_used_cores: float | None = None
    containers_memory_mb: int | None = None
    containers_cpu_cores: float | None = None
    health: str = ""

    @property
    def memory_total_mb(self) -> int:
        """Memory that the node offers to containers."""
        return self.memory_used_mb + self.memory_available_mb

    @property
    def vcores_total(self) -> int:
        """Cores that the node offers to containers."""
        return self.vcores_used + self.vcores_available

    @property
    def cpu_cores(self) -> float | None:
        """CPU of the containers, or of the machine if YARN does not measure it."""
        measured = self.containers_cpu_cores
        return self.cpu_used_cores if measured is None else measured

    @property
    def physical_mb(self) -> int | None:
        """Physical memory of the containers, or of the machine if YARN does not measure it."""
        measured = self.containers_memory_mb
        return self.physical_memory_used_mb if measured is None else measured


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
    """Metrics of YARN's ResourceManager or a standalone master."""

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
class YarnAccounts(Record):
    """What the cluster manager accounted to an application, and to the cluster at its end."""

    application: ApplicationAccount
    cluster: ClusterAccount


@dataclass(frozen=True, kw_only=True)
class RunMetrics(RunFigures, Record, figures_before="peak_executors"):
    """One attempt of one Spark application.

    Sums include failed and killed tasks. A TaskEnd with reason Resubmitted counts in
    `tasks_failed` only. `complete` means that the event log was read from start to end without
    damage; `notes` describe what is missing or damaged. `program` is the program file with its
    arguments, `submit_options` are the options of spark-submit before it, if the log has them.
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
    peak_executors: int = 0
    bad_lines: int = 0
    complete: bool = False
    notes: tuple[str, ...] = ()
    stages: tuple[StageMetrics, ...] = ()
    executors: tuple[ExecutorMetrics, ...] = ()
    sql: tuple[SqlMetrics, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    program: tuple[str, ...] = ()
    submit_options: tuple[str, ...] = ()
    reuses: tuple[Reuse, ...] = ()
    cached: tuple[CachedRdd, ...] = ()
    yarn: ApplicationAccount | None = None
    cluster: ClusterAccount | None = None

    @property
    def task_time_ms(self) -> int:
        """Sum of the durations of all tasks from launch to finish."""
        return sum(executor.task_time_ms for executor in self.executors)

    @property
    def busy_rows(self) -> tuple[ExecutorMetrics, ...]:
        """The executors that run tasks: the driver is one in local mode only."""
        workers = tuple(row for row in self.executors if not row.is_driver)
        return workers or self.executors
