"""Executors on standalone workers: what a step's settings come to there, and whether they fit.

A standalone master knows no number of executors (`--num-executors` is YARN's alone): it gives out
cores, at most `spark.cores.max`, in pieces of `spark.executor.cores`, and a heap with each. Nothing
is kept free for what lives beside the heap, so that is done here.
"""

from __future__ import annotations

from dataclasses import dataclass

from emrctl.aws import instance_types
from emrctl.errors import UsageError
from emrctl.spec import SparkSettings, memory_mb

# Spark's own default: a worker keeps one GiB for the machine.
KEPT_MB = 1024
_CORES, _MEMORY = "spark.executor.cores", "spark.executor.memory"
_CORES_MAX = "spark.cores.max"


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Equal workers: how many, and what each lends out."""

    count: int
    cores: int
    memory_mb: int

    @classmethod
    def of(cls, type_: str, count: int) -> Workers:
        """`count` workers on instances of that type."""
        kind = instance_types.instance_type(type_)
        return cls(count=count, cores=kind.vcpus, memory_mb=int(kind.memory_gib * 1024) - KEPT_MB)


@dataclass(frozen=True, kw_only=True)
class Allotment:
    """One executor's cores and heap, how many there is room for, and how many were asked for."""

    workers: Workers
    cores: int
    heap_mb: int
    asked: int | None

    @property
    def room(self) -> int:
        """Executors that fit on all workers together."""
        each = min(self.workers.cores // self.cores, self.workers.memory_mb // self.heap_mb)
        return self.workers.count * each

    @property
    def warning(self) -> str | None:
        """One sentence where more is asked for than there is room; the step runs all the same."""
        if self.asked is None or self.asked <= self.room:
            return None
        each = f"{_cores(self.cores)} and {self.heap_mb} MB"
        lent = f"{_cores(self.workers.cores)} and {self.workers.memory_mb} MB"
        return (
            f"asked {self.asked} executors, room for {self.room} ({each} each, "
            f"{self.workers.count} workers of {lent})"
        )


def allot(workers: Workers, settings: SparkSettings) -> Allotment:
    """What the settings come to; `UsageError` where one executor is larger than any worker.

    Cores that are not named are shared among the executors that are asked for, so that all of
    them fit; memory that is not named goes along with the cores.
    """
    given = settings.executor_cores or _number(settings.conf.get(_CORES))
    cores = given or _shared_cores(workers, settings.executors)
    wanted = settings.executor_memory or settings.conf.get(_MEMORY)
    heap_mb = memory_mb(wanted) if wanted else _shared_memory_mb(workers, cores)
    _refuse_too_large(workers, cores, heap_mb)
    return Allotment(workers=workers, cores=cores, heap_mb=heap_mb, asked=settings.executors)


def conf(allotment: Allotment, settings: SparkSettings) -> dict[str, str]:
    """The settings that make the master give out just that.

    With dynamic allocation the number that was asked for is the one to begin with.
    """
    found = {_CORES: str(allotment.cores), _MEMORY: f"{allotment.heap_mb}m"}
    if allotment.asked is None:
        return found
    if settings.dynamic_allocation:
        return found | {"spark.dynamicAllocation.initialExecutors": str(allotment.asked)}
    return found | {_CORES_MAX: str(allotment.asked * allotment.cores)}


def _shared_cores(workers: Workers, executors: int | None) -> int:
    if executors is None:
        return workers.cores
    each = -(-executors // workers.count)
    return max(1, workers.cores // each)


def _shared_memory_mb(workers: Workers, cores: int) -> int:
    """The cores' share of a worker's memory, less what Python workers and the like need beside."""
    executors = max(1, workers.cores // cores)
    return int(workers.memory_mb / executors / (1 + instance_types.MEMORY_OVERHEAD_FACTOR))


def _refuse_too_large(workers: Workers, cores: int, heap_mb: int) -> None:
    for what, asked, lent, flag in (
        ("cores", cores, workers.cores, "--executor-cores"),
        ("MB", heap_mb, workers.memory_mb, "--executor-memory"),
    ):
        if asked > lent:
            hint = f"Ask for {lent}{'m' if what == 'MB' else ''} at most with {flag}."
            msg = f"an executor needs {asked} {what}, and a worker lends {lent} {what}"
            raise UsageError(msg, hint=hint)


def _cores(count: int) -> str:
    return "1 core" if count == 1 else f"{count} cores"


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and int(text) else None
