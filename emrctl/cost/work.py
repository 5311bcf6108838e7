"""What a run used: its driver and executors with their cores, memory and time."""

from __future__ import annotations

from dataclasses import dataclass

from emrctl.aws.spark_conf import SparkConf
from emrctl.errors import NotFoundError
from emrctl.metrics.model import RunMetrics
from emrctl.metrics.timeline import core_seconds, lifetime_s


@dataclass(frozen=True, kw_only=True)
class Process:
    """A driver or an executor; `memory_mb` is the size of its container, `heap_mb` is part of it.

    `shuffle_bytes` is what it wrote to its local disk.
    """

    cores: int
    memory_mb: int
    heap_mb: int
    seconds: float
    shuffle_bytes: int = 0

    @property
    def gb(self) -> float:
        """Size of the container in GiB."""
        return self.memory_mb / 1024


@dataclass(frozen=True, kw_only=True)
class Work:
    """The resources of a run. All executors have the same size.

    `peak` is the maximum number of executors at one time, `hosts` the number of nodes that they
    were on. `idle_percent` is the share of core time in which no task ran. `first_mb` is the
    container of the application master, or of the driver in cluster mode (`driver_in_cluster`).
    """

    duration_s: float
    driver: Process
    executors: tuple[Process, ...]
    peak: int
    hosts: int
    idle_percent: float
    first_mb: int
    driver_in_cluster: bool = False

    @property
    def executor(self) -> Process:
        """Cores and memory of each executor."""
        return self.executors[0]

    @property
    def processes(self) -> tuple[Process, ...]:
        """The driver and the executors."""
        return (self.driver, *self.executors)

    @property
    def vcpu_hours(self) -> float:
        """Sum of cores x time of driver and executors."""
        return sum(item.cores * item.seconds for item in self.processes) / 3600

    @property
    def gb_hours(self) -> float:
        """Sum of GiB x time of driver and executors."""
        return sum(item.gb * item.seconds for item in self.processes) / 3600


def of_run(run: RunMetrics, duration_s: float | None) -> Work:
    """Return the resources of a run; `duration_s` is that of its step.

    Raises `NotFoundError` if the run had no executors.
    """
    rows = [row for row in run.executors if not row.is_driver and row.cores]
    if not rows:
        raise NotFoundError(
            "the run had no executors",
            hint="Its Spark ran in the driver, or did not start. Remove spark.master from the job.",
        )
    conf = SparkConf(run.environment, run.spark_version)
    memory, driver = conf.executor, conf.driver
    in_cluster = conf.text("spark.submit.deployMode") == "cluster"
    application_s = (run.duration_ms or 0) / 1000
    used_s, held_s = run.task_time_ms / 1000 * conf.task_cpus, core_seconds(run)
    return Work(
        duration_s=duration_s or application_s,
        driver=Process(
            cores=conf.number("spark.driver.cores") or 1,
            memory_mb=driver.container_mb,
            heap_mb=driver.heap_mb,
            seconds=application_s,
        ),
        executors=tuple(
            Process(
                cores=row.cores,
                memory_mb=memory.container_mb,
                heap_mb=memory.heap_mb,
                seconds=lifetime_s(row, run),
                shuffle_bytes=row.shuffle_write_bytes,
            )
            for row in rows
        ),
        peak=max(run.peak_executors, 1),
        hosts=len({row.host.partition(":")[0] for row in rows}),
        idle_percent=max(0.0, 100 * (1 - used_s / held_s)) if held_s else 0.0,
        first_mb=(driver if in_cluster else conf.client_master).container_mb,
        driver_in_cluster=in_cluster,
    )
