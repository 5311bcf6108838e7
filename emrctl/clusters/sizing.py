"""Executors of a step against the resources of its cluster: containers on YARN, cores on workers.

EMR's YARN schedules by memory alone (DefaultResourceCalculator): cores never limit containers.

A standalone master ignores `--num-executors`. It grants cores, at most `spark.cores.max`, in units
of `spark.executor.cores`, with a heap each. It reserves nothing for the overhead beside the heap,
so this module does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from emrctl.aws import instance_types, spark_conf
from emrctl.aws.instance_types import InstanceType
from emrctl.aws.spark_conf import ProcessMemory, SparkConf
from emrctl.errors import UsageError
from emrctl.spec import AnyClusterSpec, ClusterSpec, SparkSettings

# Spark's default: a worker reserves one GiB for the operating system.
RESERVED_MB = 1024
_CORES, _MEMORY = "spark.executor.cores", "spark.executor.memory"
_GPU_AMOUNT = "spark.executor.resource.gpu.amount"
_CORES_MAX = "spark.cores.max"


# --- YARN -----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ContainerCapacity:
    """Executors that fit beside the first container; sizes are YARN containers in MB.

    The first container is the driver in cluster mode, the application master in client mode.
    `node_mb` and `nodes` are those of core nodes; `room` is that of all nodes. `gpus` is the number
    of GPUs of a core node that YARN schedules, one for each executor. Managed scaling may add nodes
    up to `most_nodes`, and all nodes have `most_room` then.
    """

    executor_mb: int
    first: str
    first_mb: int
    node_mb: int
    nodes: int
    task_nodes: int
    gpus: int
    room: int
    most_nodes: int
    most_room: int
    requested: int | None

    @property
    def warning(self) -> str | None:
        """A sentence if fewer executors fit than are requested, or none; YARN starts what fits."""
        if self.most_room == 0:
            return (
                f"no executor ({self.executor_mb} MB) fits beside the {self.first}'s container "
                f"({self.first_mb} MB) on {self.most_nodes} nodes of {self.node_mb} MB: the step "
                "waits until it is cancelled; set a smaller --executor-memory or --driver-memory"
            )
        if self.requested is None or self.requested <= self.most_room:
            return None
        return (
            f"{self.requested} executors requested, room for {self.most_room} beside the "
            f"{self.first}'s container ({self.executor_mb} MB each, {self.most_nodes} nodes of "
            f"{self.node_mb} MB"
            f"{f' and {self.gpus} GPU' if self.gpus else ''}"
            f"{f', {self.task_nodes} task nodes' if self.task_nodes else ''}"
            f"{', the maximum of managed scaling' if self.most_nodes > self.nodes else ''})"
        )


class _Process(NamedTuple):
    """A process with a container, spark-submit's option for its heap, its properties' prefix."""

    name: str
    memory: ProcessMemory
    option: str
    prefix: str


def container_capacity(cluster: ClusterSpec, settings: SparkSettings) -> ContainerCapacity:
    """Return how many executors fit; `UsageError` if one container exceeds a node's memory."""
    core = cluster.core_group
    type_ = instance_types.instance_type(core.type)
    conf = effective_conf(cluster, settings)
    _check_task_cpus(conf, conf.number(_CORES) or 1)
    executor = _Process("executor", conf.executor, "--executor-memory", "spark.executor")
    first = _first_process(conf)
    for process in (executor, first):
        _check_fits(process, type_)
    each, first_mb = executor.memory.container_mb, first.memory.container_mb
    uses_gpus = cluster.gpu and conf.text(_GPU_AMOUNT) != "0"
    gpus = type_.gpus if uses_gpus else 0
    room = container_room(type_, core.count, each, first_mb, gpus)
    room += _task_room(cluster, each, uses_gpus=uses_gpus)
    most_nodes = max(core.count, _scaled_nodes(cluster))
    return ContainerCapacity(
        executor_mb=each,
        first=first.name,
        first_mb=first_mb,
        node_mb=type_.yarn_mb,
        nodes=core.count,
        task_nodes=sum(group.count for group in cluster.task_groups),
        gpus=gpus,
        room=room,
        most_nodes=most_nodes,
        most_room=max(room, container_room(type_, most_nodes, each, first_mb, gpus)),
        requested=conf.requested_executors,
    )


def _task_room(cluster: ClusterSpec, executor_mb: int, *, uses_gpus: bool) -> int:
    """Return how many executors fit on the task nodes."""
    room = 0
    for group in cluster.task_groups:
        type_ = instance_types.instance_type(group.type)
        each = type_.yarn_mb // executor_mb
        room += group.count * (min(each, type_.gpus) if uses_gpus else each)
    return room


def _scaled_nodes(cluster: ClusterSpec) -> int:
    """Return the most core and task nodes of the core type with managed scaling; 0 without it."""
    scaling, fleets, type_ = cluster.scaling, cluster.fleets, cluster.core_group.type
    if scaling is None:
        return 0
    has_task = cluster.task if fleets is None else fleets.task
    maximum, units = scaling.maximum, 1
    if not has_task and scaling.max_core is not None:
        maximum = scaling.max_core
    if scaling.unit == "vcpus":
        units = instance_types.instance_type(type_).vcpus
    elif fleets is not None:
        units = next(item.weight for item in fleets.core.types if item.type == type_)
    return maximum // units


def container_room(
    type_: InstanceType, nodes: int, executor_mb: int, first_mb: int, gpus: int = 0
) -> int:
    """Return how many executors YARN can start on core nodes of a type, beside a first container.

    At most 0 if a node is too small. With `gpus` a node has no more executors than these.
    """
    alone, beside = (mb // executor_mb for mb in (type_.yarn_mb, type_.yarn_mb - first_mb))
    if gpus:
        alone, beside = min(alone, gpus), min(beside, gpus)
    return (nodes - 1) * alone + beside


def effective_conf(cluster: ClusterSpec, settings: SparkSettings) -> SparkConf:
    """Return the properties of a step: EMR's defaults, the cluster's, those of the settings."""
    core = cluster.core_group
    type_ = instance_types.instance_type(core.type)
    user = cluster.classification("spark-defaults")
    maximize = cluster.classification("spark").get("maximizeResourceAllocation", "").lower()
    maximized = spark_conf.maximized(type_, core.count, user) if maximize == "true" else {}
    given = settings.properties()
    in_cluster = given.get("spark.submit.deployMode") == "cluster"
    fitted = spark_conf.fitted_executor(type_, core.count, user) if in_cluster else {}
    defaults = {**spark_conf.emr_defaults(type_), **fitted}
    return SparkConf({**defaults, **maximized, **user, **given})


def _check_task_cpus(conf: SparkConf, cores: int) -> None:
    if conf.task_cpus > cores:
        msg = f"spark.task.cpus is {conf.task_cpus}, and an executor has {_cores(cores)}"
        raise UsageError(msg, hint=f"Set --executor-cores to {conf.task_cpus} at least.")


def _check_fits(process: _Process, type_: InstanceType) -> None:
    memory = process.memory
    if memory.container_mb > type_.yarn_mb:
        raise UsageError(
            f"the {process.name} needs a container of {memory.container_mb} MB "
            f"({memory.heap_mb} MB of heap and {memory.beside_mb} MB beside it), and YARN on "
            f"{type_.name} has {type_.yarn_mb} MB",
            hint=_largest(process, type_.yarn_mb),
        )


def _largest(process: _Process, node_mb: int) -> str:
    """Return the hint with the largest heap; without room for any, what to reduce."""
    memory, option = process.memory, process.option
    heap_mb = memory.largest_heap_mb(node_mb)
    if heap_mb >= spark_conf.MIN_HEAP_MB:
        return f"Set {option}{'=' if '.' in option else ' '}{heap_mb}m at most."
    beside = {
        f"{process.prefix}.memoryOverhead": 0 if memory.overhead_factor else memory.overhead_mb,
        "spark.memory.offHeap.size": memory.off_heap_mb,
        f"{process.prefix}.pyspark.memory": memory.python_mb,
    }
    return "Reduce " + ", ".join(f"{key} ({mb} MB)" for key, mb in beside.items() if mb) + "."


def _first_process(conf: SparkConf) -> _Process:
    if conf.text("spark.submit.deployMode") == "cluster":
        return _Process("driver", conf.driver, "--driver-memory", "spark.driver")
    option = "--conf spark.yarn.am.memory"
    return _Process("application master", conf.client_master, option, "spark.yarn.am")


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
        if SparkConf(settings.properties()).dynamic:
            return conf | {"spark.dynamicAllocation.initialExecutors": str(self.requested)}
        return conf | {_CORES_MAX: str(self.requested * self.cores)}


def allocate(workers: StandaloneWorkers, settings: SparkSettings) -> StandaloneAllocation:
    """Return the resources of each executor; `UsageError` if one exceeds a worker.

    Unset cores are divided so that all requested executors fit; unset memory is proportional to
    the cores.
    """
    conf = SparkConf(settings.properties())
    requested, cores = conf.number("spark.executor.instances"), conf.number(_CORES)
    if not cores:
        each = -(-(requested or 1) // workers.count)
        cores = max(1, workers.cores // each) if requested else workers.cores
    heap_mb = conf.heap_mb if conf.text(_MEMORY) else _proportional_mb(workers, cores)
    for unit, size, offered, flag in (
        ("cores", cores, workers.cores, "--executor-cores"),
        ("MB", heap_mb, workers.memory_mb, "--executor-memory"),
    ):
        if size > offered:
            hint = f"Set {flag} to {offered}{'m' if unit == 'MB' else ''} at most."
            msg = f"an executor needs {size} {unit}, and a worker offers {offered} {unit}"
            raise UsageError(msg, hint=hint)
    _check_task_cpus(conf, cores)
    return StandaloneAllocation(workers=workers, cores=cores, heap_mb=heap_mb, requested=requested)


def _proportional_mb(workers: StandaloneWorkers, cores: int) -> int:
    """Return the cores' share of a worker's memory, less the overhead of Python workers."""
    executors = max(1, workers.cores // cores)
    return int(workers.memory_mb / executors / (1 + instance_types.MEMORY_OVERHEAD_FACTOR))


def _cores(count: int) -> str:
    return "1 core" if count == 1 else f"{count} cores"


# --- several jobs at once -------------------------------------------------------------------------


def check_fits(spec: AnyClusterSpec, settings: SparkSettings) -> None:
    """Raise `UsageError` if a node of the cluster has no room for one container or executor."""
    if isinstance(spec, ClusterSpec):
        container_capacity(spec, settings)
    else:
        allocate(StandaloneWorkers.of(spec.core_group.type, spec.core_group.count), settings)


def fit_together(spec: AnyClusterSpec, jobs: Sequence[SparkSettings]) -> bool:
    """Return whether all executors and first containers of these jobs have room at the same time.

    Unlike YARN, count cores too: jobs that share cores slow each other down. A job without a limit
    on its executors uses the whole cluster.
    """
    workers = StandaloneWorkers.of(spec.core_group.type, spec.core_group.count)
    type_ = instance_types.instance_type(spec.core_group.type)
    node_mb = type_.yarn_mb if isinstance(spec, ClusterSpec) else workers.memory_mb
    nodes = [[node_mb, workers.cores] for _ in range(workers.count)]
    demands: list[tuple[int, int]] = []
    for settings in jobs:
        containers = _containers(spec, workers, settings)
        if containers is None:
            return len(jobs) == 1
        demands += containers
    for mb, cores in sorted(demands, reverse=True):
        node = next((node for node in nodes if node[0] >= mb and node[1] >= cores), None)
        if node is None:
            return False
        node[0] -= mb
        node[1] -= cores
    return True


def _containers(
    spec: AnyClusterSpec, workers: StandaloneWorkers, settings: SparkSettings
) -> list[tuple[int, int]] | None:
    """Return memory in MB and cores of each container; None if their number is not limited."""
    if not isinstance(spec, ClusterSpec):
        standalone = allocate(workers, settings)
        most = _most_executors(SparkConf(settings.properties()), standalone.requested)
        return None if most is None else [(standalone.heap_mb, standalone.cores)] * most
    conf, capacity = effective_conf(spec, settings), container_capacity(spec, settings)
    most = _most_executors(conf, conf.requested_executors or 2)
    if most is None:
        return None
    # The application master of client mode is idle while executors work.
    driver_cores = (conf.number("spark.driver.cores") or 1) if capacity.first == "driver" else 0
    cores = conf.number(_CORES) or 1
    return [(capacity.first_mb, driver_cores), *[(capacity.executor_mb, cores)] * most]


def _most_executors(conf: SparkConf, requested: int | None) -> int | None:
    return conf.number("spark.dynamicAllocation.maxExecutors") if conf.dynamic else requested
