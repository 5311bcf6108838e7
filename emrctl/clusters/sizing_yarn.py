"""Does what a step asks for fit on the cluster: executors' containers against YARN's memory.

EMR's YARN schedules by memory alone (DefaultResourceCalculator), so cores never refuse anything.
"""

from __future__ import annotations

from dataclasses import dataclass

from emrctl.aws import instance_types
from emrctl.errors import UsageError
from emrctl.spec import AnyClusterSpec, SparkSettings, memory_mb

DEFAULT_DRIVER_MB = 2048
# spark.yarn.am.memory: all that a client-mode application asks for its master.
CLIENT_MASTER_MB = 512


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Room for executors beside the first container; sizes are YARN's containers in MB.

    The first container holds the driver in cluster mode, in client mode the application master.
    """

    executor_mb: int
    first: str
    first_mb: int
    node_mb: int
    nodes: int
    room: int
    asked: int | None

    @property
    def warning(self) -> str | None:
        """One sentence where more is asked for than there is room; YARN runs it all the same."""
        if self.asked is None or self.asked <= self.room:
            return None
        return (
            f"asked {self.asked} executors, room for {self.room} beside the {self.first}'s "
            f"container ({self.executor_mb} MB each, {self.nodes} nodes of {self.node_mb} MB)"
        )


def check(cluster: AnyClusterSpec, settings: SparkSettings) -> Fit:
    """What fits; `UsageError` with the numbers where one container is larger than any node."""
    core = cluster.core_group
    kind = instance_types.instance_type(core.type)
    executor = _executor_mb(kind, settings)
    first, first_mb = _first_container(settings)
    for what, size, flag in (
        ("an executor", executor, "--executor-memory"),
        (f"the {first}", first_mb, "--driver-memory"),
    ):
        if size > kind.yarn_mb:
            raise UsageError(
                f"{what} needs a container of {size} MB (memory and overhead), and a "
                f"{kind.name} node gives YARN {kind.yarn_mb} MB",
                hint=f"Ask for {largest_memory_mb(kind.yarn_mb)}m at most with {flag}.",
            )
    room = _room(core.count, kind.yarn_mb, executor, first_mb)
    return Fit(
        executor_mb=executor,
        first=first,
        first_mb=first_mb,
        node_mb=kind.yarn_mb,
        nodes=core.count,
        room=room,
        asked=settings.executors,
    )


def largest_memory_mb(yarn_mb: int) -> int:
    """The largest heap whose container fits into `yarn_mb`."""
    heap = int(yarn_mb / (1 + instance_types.MEMORY_OVERHEAD_FACTOR))
    heap = min(heap, yarn_mb - instance_types.MINIMUM_OVERHEAD_MB)
    while instance_types.container_mb(heap) > yarn_mb:
        heap -= 1
    return heap


def _executor_mb(kind: instance_types.InstanceType, settings: SparkSettings) -> int:
    conf = settings.conf
    wanted = settings.executor_memory or conf.get("spark.executor.memory")
    heap = memory_mb(wanted) if wanted else kind.executor_memory_mb
    overhead = settings.memory_overhead
    return instance_types.container_mb(heap, memory_mb(overhead) if overhead else None)


def _first_container(settings: SparkSettings) -> tuple[str, int]:
    if settings.deploy_mode != "cluster":
        mb = instance_types.container_mb(CLIENT_MASTER_MB, instance_types.MINIMUM_OVERHEAD_MB)
        return "application master", mb
    wanted = settings.driver_memory or settings.conf.get("spark.driver.memory")
    return "driver", instance_types.container_mb(memory_mb(wanted) if wanted else DEFAULT_DRIVER_MB)


def _room(nodes: int, node_mb: int, executor_mb: int, first_mb: int) -> int:
    beside_first = (node_mb - first_mb) // executor_mb
    return (nodes - 1) * (node_mb // executor_mb) + beside_first
