"""Effective Spark settings: one reader for properties of specs, flags and event logs.

Sizes are in MB of 2^20 bytes, as in Spark's memory settings.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from emrctl.aws import instance_types
from emrctl.aws.instance_types import InstanceType
from emrctl.errors import SpecError

_SIZE = re.compile(r"\s*(\d+)\s*(?:([kmgtp])b?|(b))?\s*", re.IGNORECASE)
_UNITS = {"b": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
# Spark's defaults.
_OVERHEAD_FACTOR, _MINIMUM_OVERHEAD = 0.10, "384m"
# In spark-defaults: the version of Spark on localhost, instead of the release's.
VERSION_PROPERTY = "spark.emrctl.version"
# 1.5 x 300 MB of reserved memory: UnifiedMemoryManager.getMaxMemory.
MIN_HEAP_MB = 450


def size_mb(text: str, unit: str = "m") -> float | None:
    """Return a size in Spark's notation (`4g`, `4GB`, `2048`); None if it is none.

    `unit` is the one of numbers without a unit.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        return None
    power = _UNITS[(match[2] or match[3] or unit).lower()]
    return float(int(match[1]) * 1024.0 ** (power - 2))


def memory_mb(text: str) -> int:
    """Return the whole megabytes of a memory size; `SpecError` if it is not a positive one."""
    value = size_mb(text)
    if not value or value < 1:
        raise SpecError(f"invalid memory size '{text}'", hint="Write it as 512m or 4g.")
    return int(value)


def heap_mb(text: str) -> int:
    """Return the whole megabytes of a heap; `SpecError` if Spark does not start with so little."""
    value = memory_mb(text)
    if value < MIN_HEAP_MB:
        hint = f"Spark needs {MIN_HEAP_MB}m at least. A number without a unit is in MB."
        raise SpecError(f"'{text}' is a heap of {value} MB", hint=hint)
    return value


def emr_defaults(type_: InstanceType) -> dict[str, str]:
    """Return the properties of EMR's spark-defaults.conf for core nodes of a type."""
    return {
        "spark.dynamicAllocation.enabled": "true",
        "spark.executor.cores": str(type_.executor_cores),
        "spark.executor.memory": f"{type_.executor_memory_mb}M",
        "spark.executor.memoryOverheadFactor": str(instance_types.MEMORY_OVERHEAD_FACTOR),
        "spark.driver.memory": "2048M",
    }


def maximized(type_: InstanceType, nodes: int, user: Mapping[str, str]) -> dict[str, str]:
    """Return the properties of EMR's maximizeResourceAllocation: one executor per core node."""
    heap_mb = int(type_.yarn_mb * 11 / 12 / (1 + instance_types.MEMORY_OVERHEAD_FACTOR))
    properties = {
        "spark.executor.cores": str(type_.vcpus),
        "spark.executor.memory": f"{heap_mb}M",
        "spark.default.parallelism": str(2 * type_.vcpus * nodes),
    }
    if user.get("spark.dynamicAllocation.enabled", "").lower() == "true":
        return properties
    return properties | {
        "spark.executor.instances": str(nodes),
        "spark.dynamicAllocation.enabled": "false",
    }


def fitted_executor(type_: InstanceType, nodes: int, user: Mapping[str, str]) -> dict[str, str]:
    """Return a smaller spark.executor.memory if EMR's default has no room beside a driver.

    Since emr-5.32 EMR sizes executors by the memory that is free, unless their size is set or
    spark.yarn.heterogeneousExecutors.enabled is false. This is the case in which no executor could
    start otherwise: a driver on the only core node. `user` is the cluster's spark-defaults.
    """
    heterogeneous = user.get("spark.yarn.heterogeneousExecutors.enabled", "true").lower()
    if nodes > 1 or heterogeneous == "false" or "spark.executor.memory" in user:
        return {}
    conf = SparkConf({**emr_defaults(type_), **user})
    free_mb = type_.yarn_mb - conf.driver.container_mb
    if conf.executor.container_mb <= free_mb:
        return {}
    heap_mb = conf.executor.largest_heap_mb(free_mb)
    return {"spark.executor.memory": f"{heap_mb}M"} if heap_mb >= MIN_HEAP_MB else {}


@dataclass(frozen=True, kw_only=True)
class ProcessMemory:
    """Memory of an executor or driver; `overhead_factor` is None if the overhead is set."""

    heap_mb: int
    overhead_mb: int
    off_heap_mb: int = 0
    python_mb: int = 0
    overhead_factor: float | None = None
    minimum_overhead_mb: int = 0

    @property
    def beside_mb(self) -> int:
        """Memory beside the heap."""
        return self.overhead_mb + self.off_heap_mb + self.python_mb

    @property
    def container_mb(self) -> int:
        """Size of the YARN container, rounded up by YARN."""
        unit = instance_types.YARN_MINIMUM_ALLOCATION_MB
        return math.ceil((self.heap_mb + self.beside_mb) / unit) * unit

    def largest_heap_mb(self, container_mb: int) -> int:
        """Return the largest heap for which the container fits; 0 or less if there is none."""
        unit = instance_types.YARN_MINIMUM_ALLOCATION_MB
        rest = container_mb // unit * unit - self.off_heap_mb - self.python_mb
        if self.overhead_factor is None:
            return rest - self.overhead_mb
        heap = min(int(rest / (1 + self.overhead_factor)) + 1, rest - self.minimum_overhead_mb)
        return heap if heap + int(heap * self.overhead_factor) <= rest else heap - 1


_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


class SparkConf:
    """A run's Spark properties; the caller passes the default of properties that are not set."""

    def __init__(self, properties: Mapping[str, str], version: str | None = None) -> None:
        self._properties = properties
        self.version = _version(version)

    def text(self, key: str, default: str = "") -> str:
        """Return the property as text."""
        return self._properties.get(key, default)

    def number(self, key: str) -> int | None:
        """Return an integer; None if it is not set or not an integer."""
        text = self.text(key).strip()
        return int(text) if text.isdecimal() else None

    def on(self, key: str, *, default: bool = False) -> bool:
        """Return a boolean."""
        return self.text(key, str(default)).strip().lower() == "true"

    def mb(self, key: str, default: str, unit: str = "m") -> int:
        """Return a size in MB; `unit` is the one of numbers without a unit."""
        value = size_mb(self.text(key, default), unit)
        return int(value if value is not None else size_mb(default) or 0)

    def seconds(self, key: str, default: float) -> float:
        """Return a time in seconds, also of numbers without a unit."""
        text = self.text(key).strip().lower()
        number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
        unit = text[len(number) :] or "s"
        if not number.isdecimal() or unit not in _SECONDS:
            return default
        return int(number) * _SECONDS[unit]

    @property
    def adaptive(self) -> bool:
        """Whether adaptive query execution is on; the default since Spark 3.2."""
        return self.on("spark.sql.adaptive.enabled", default=self.version >= (3, 2))

    @property
    def dynamic(self) -> bool:
        """Whether dynamic allocation is on."""
        return self.on("spark.dynamicAllocation.enabled")

    @property
    def local(self) -> bool:
        """Whether the master is local: driver and executor are one process."""
        return bool(re.match(r"local(\[|$)", self.text("spark.master")))

    @property
    def task_cpus(self) -> int:
        """Cores that each task occupies."""
        return self.number("spark.task.cpus") or 1

    def slots(self, cores: int) -> int:
        """Return the number of tasks that run at the same time on an executor."""
        return cores // self.task_cpus

    @property
    def heap_mb(self) -> int:
        """Heap of each executor in MB; the driver's if the master is local."""
        return self.mb("spark.driver.memory" if self.local else "spark.executor.memory", "1g")

    @property
    def executor(self) -> ProcessMemory:
        """Memory of each executor."""
        return self._memory("executor", "spark.executor.memory")

    @property
    def driver(self) -> ProcessMemory:
        """Memory of the driver in its own container (cluster mode)."""
        return self._memory("driver", "spark.driver.memory")

    @property
    def client_master(self) -> ProcessMemory:
        """Memory of YARN's application master in client mode."""
        return self._memory("yarn.am", "spark.yarn.am.memory", "512m")

    def _memory(self, role: str, key: str, default: str = "1g") -> ProcessMemory:
        heap = self.mb(key, default)
        off_heap = self.on("spark.memory.offHeap.enabled") and role == "executor"
        parts = {
            "heap_mb": heap,
            "off_heap_mb": self.mb("spark.memory.offHeap.size", "0", unit="b") if off_heap else 0,
            "python_mb": self.mb(f"spark.{role}.pyspark.memory", "0"),
        }
        for name in (f"spark.{role}.memoryOverhead", f"spark.yarn.{role}.memoryOverhead"):
            if self.text(name):
                return ProcessMemory(overhead_mb=self.mb(name, "0"), **parts)
        factor = self._factor(role)
        minimum = self.mb(f"spark.{role}.minMemoryOverhead", _MINIMUM_OVERHEAD)
        overhead = max(minimum, int(factor * heap))
        return ProcessMemory(
            overhead_mb=overhead, overhead_factor=factor, minimum_overhead_mb=minimum, **parts
        )

    def _factor(self, role: str) -> float:
        for name in (
            f"spark.{role}.memoryOverheadFactor",
            f"spark.yarn.{role}.memoryOverheadFactor",
        ):
            try:
                return float(self.text(name))
            except ValueError:
                continue
        return _OVERHEAD_FACTOR

    @property
    def requested_executors(self) -> int | None:
        """Minimum number of executors requested; None if it was left to the cluster."""
        counts = [self.number("spark.executor.instances")]
        if self.dynamic:
            names = ("initialExecutors", "minExecutors")
            counts += [self.number(f"spark.dynamicAllocation.{name}") for name in names]
        return max((count for count in counts if count), default=None)

    def differs(self, wanted: Mapping[str, str]) -> dict[str, str]:
        """Return those of the wanted settings that are not in effect already."""
        return {key: value for key, value in wanted.items() if self.text(key) != value}


def _version(text: str | None) -> tuple[int, int]:
    match = re.match(r"(\d+)\.(\d+)", text or "")
    return (int(match[1]), int(match[2])) if match else (0, 0)
