"""Executors of a step against the resources of its cluster: containers on YARN, cores on workers.

EMR's YARN schedules by memory alone (DefaultResourceCalculator): cores never limit containers.

A standalone master ignores `--num-executors`. It grants cores, at most `spark.cores.max`, in units
of `spark.executor.cores`, with a heap each. It reserves nothing for the overhead beside the heap,
so this module does.
"""

from __future__ import annotations

from dataclasses import dataclass

from emrctl.aws import instance_types
from emrctl.errors import UsageError
from emrctl.spec import AnyClusterSpec, SparkSettings, memory_mb

DEFAULT_DRIVER_MB = 2048
# spark.yarn.am.memory, the heap of the application master in client mode.
CLIENT_MASTER_MB = 512
# Spark's default: a worker reserves one GiB for the operating system.
RESERVED_MB = 1024
_CORES, _MEMORY, _DRIVER_MEMORY = (
    "spark.executor.cores",
    "spark.executor.memory",
    "spark.driver.memory",
)
_CORES_MAX = "spark.cores.max"


# --- YARN -----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ContainerCapacity:
    """Executors that fit beside the first container; sizes are YARN containers in MB.

    The first container is the driver in cluster mode, the application master in client mode.
    """

    executor_mb: int
    first: str
    first_mb: int
    node_mb: int
    nodes: int
    room: int
    requested: int | None

    @property
    def warning(self) -> str | None:
        """A sentence if more executors are requested than fit; YARN starts as many as fit."""
        if self.requested is None or self.requested <= self.room:
            return None
        return (
            f"{self.requested} executors requested, room for {self.room} beside the "
            f"{self.first}'s container ({self.executor_mb} MB each, {self.nodes} nodes of "
            f"{self.node_mb} MB)"
        )


def container_capacity(cluster: AnyClusterSpec, settings: SparkSettings) -> ContainerCapacity:
    """Return how many executors fit; `UsageError` if one container exceeds a node's memory."""
    core = cluster.core_group
    type_ = instance_types.instance_type(core.type)
    executor_mb = _executor_mb(type_, settings)
    first, first_mb = _first_container(settings)
    for what, size, flag in (
        ("an executor", executor_mb, "--executor-memory"),
        (f"the {first}", first_mb, "--driver-memory"),
    ):
        if size > type_.yarn_mb:
            raise UsageError(
                f"{what} needs a container of {size} MB (memory and overhead), and YARN on "
                f"{type_.name} has {type_.yarn_mb} MB",
                hint=f"Set {flag} to {largest_memory_mb(type_.yarn_mb)}m at most.",
            )
    beside_first = (type_.yarn_mb - first_mb) // executor_mb
    return ContainerCapacity(
        executor_mb=executor_mb,
        first=first,
        first_mb=first_mb,
        node_mb=type_.yarn_mb,
        nodes=core.count,
        room=(core.count - 1) * (type_.yarn_mb // executor_mb) + beside_first,
        requested=settings.executors,
    )


def largest_memory_mb(yarn_mb: int) -> int:
    """Return the largest heap whose container fits into `yarn_mb`."""
    heap = int(yarn_mb / (1 + instance_types.MEMORY_OVERHEAD_FACTOR))
    heap = min(heap, yarn_mb - instance_types.MINIMUM_OVERHEAD_MB)
    while instance_types.container_mb(heap) > yarn_mb:
        heap -= 1
    return heap


def _executor_mb(type_: instance_types.InstanceType, settings: SparkSettings) -> int:
    memory = settings.executor_memory or settings.conf.get(_MEMORY)
    heap = memory_mb(memory) if memory else type_.executor_memory_mb
    overhead = settings.memory_overhead
    return instance_types.container_mb(heap, memory_mb(overhead) if overhead else None)


def _first_container(settings: SparkSettings) -> tuple[str, int]:
    if settings.deploy_mode != "cluster":
        mb = instance_types.container_mb(CLIENT_MASTER_MB, instance_types.MINIMUM_OVERHEAD_MB)
        return "application master", mb
    memory = settings.driver_memory or settings.conf.get(_DRIVER_MEMORY)
    heap = memory_mb(memory) if memory else DEFAULT_DRIVER_MB
    return "driver", instance_types.container_mb(heap)


# --- standalone -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class StandaloneWorkers:
    """Equal workers: their number, and the resources that each offers to executors."""

    count: int
    cores: int
    memory_mb: int

    @classmethod
    def of(cls, type_: str, count: int) -> StandaloneWorkers:
        """Return `count` workers on instances of a type."""
        item = instance_types.instance_type(type_)
        memory_mb = int(item.memory_gib * 1024) - RESERVED_MB
        return cls(count=count, cores=item.vcpus, memory_mb=memory_mb)


@dataclass(frozen=True, kw_only=True)
class StandaloneAllocation:
    """Cores and heap of one executor, and the number of executors that was requested."""

    workers: StandaloneWorkers
    cores: int
    heap_mb: int
    requested: int | None

    @property
    def room(self) -> int:
        """The number of executors that fit on all workers together."""
        each = min(self.workers.cores // self.cores, self.workers.memory_mb // self.heap_mb)
        return self.workers.count * each

    @property
    def warning(self) -> str | None:
        """A sentence if more executors are requested than fit; the step runs anyway."""
        if self.requested is None or self.requested <= self.room:
            return None
        executor = f"{_cores(self.cores)} and {self.heap_mb} MB"
        worker = f"{_cores(self.workers.cores)} and {self.workers.memory_mb} MB"
        return (
            f"{self.requested} executors requested, room for {self.room} ({executor} each, "
            f"{self.workers.count} workers of {worker})"
        )

    def conf(self, settings: SparkSettings) -> dict[str, str]:
        """Return the Spark properties that make the master start these executors."""
        conf = {_CORES: str(self.cores), _MEMORY: f"{self.heap_mb}m"}
        if self.requested is None:
            return conf
        if settings.dynamic_allocation:
            return conf | {"spark.dynamicAllocation.initialExecutors": str(self.requested)}
        return conf | {_CORES_MAX: str(self.requested * self.cores)}


def allocate(workers: StandaloneWorkers, settings: SparkSettings) -> StandaloneAllocation:
    """Return the resources of each executor; `UsageError` if one exceeds a worker.

    Unset cores are divided so that all requested executors fit; unset memory is proportional to
    the cores.
    """
    cores = settings.executor_cores or _number(settings.conf.get(_CORES))
    if not cores:
        each = -(-(settings.executors or 1) // workers.count)
        cores = max(1, workers.cores // each) if settings.executors else workers.cores
    memory = settings.executor_memory or settings.conf.get(_MEMORY)
    heap_mb = memory_mb(memory) if memory else _proportional_mb(workers, cores)
    for unit, size, offered, flag in (
        ("cores", cores, workers.cores, "--executor-cores"),
        ("MB", heap_mb, workers.memory_mb, "--executor-memory"),
    ):
        if size > offered:
            hint = f"Set {flag} to {offered}{'m' if unit == 'MB' else ''} at most."
            msg = f"an executor needs {size} {unit}, and a worker offers {offered} {unit}"
            raise UsageError(msg, hint=hint)
    return StandaloneAllocation(
        workers=workers, cores=cores, heap_mb=heap_mb, requested=settings.executors
    )


def _proportional_mb(workers: StandaloneWorkers, cores: int) -> int:
    """Return the cores' share of a worker's memory, less the overhead of Python workers."""
    executors = max(1, workers.cores // cores)
    return int(workers.memory_mb / executors / (1 + instance_types.MEMORY_OVERHEAD_FACTOR))


def _cores(count: int) -> str:
    return "1 core" if count == 1 else f"{count} cores"


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and int(text) else None
