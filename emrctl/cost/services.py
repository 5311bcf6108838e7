"""Cost of a run's work on EMR Serverless, EMR on EKS with Fargate, and AWS Glue.

All three bill whole seconds, each worker at least one minute. Sources: AWS's pricing pages, the
worker sizes of EMR Serverless (also those of Fargate's pods) and Glue's worker types.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from emrctl.aws import prices
from emrctl.cost.work import Process, Work
from emrctl.metrics.record import Record

MINIMUM_S = 60
# vCPUs of a worker: minimum and maximum of its GB, and the step between.
_WORKERS = {1: (2, 8, 1), 2: (4, 16, 1), 4: (8, 30, 1), 8: (16, 60, 4), 16: (32, 120, 8)}
# EMR Serverless and Fargate include this much storage per worker; EMR Serverless offers 200 GB.
_FREE_GB, _MAX_GB = 20, 200
# Fargate adds this to the memory of each pod for Kubernetes.
_FARGATE_MB = 256
# DPUs of Glue's worker types; one has 4 vCPUs and 16 GB. Flex jobs have the first two.
_GLUE = {"G.1X": 1, "G.2X": 2, "G.4X": 4, "G.8X": 8}
_FLEX = ("G.1X", "G.2X")
_DPU_VCPUS, _DPU_MB = 4, 16 * 1024

_SAME_TIME = "the executors live as long as in the run"


@dataclass(frozen=True, kw_only=True)
class CostOption(Record):
    """An estimate of what the work of a run costs elsewhere.

    `name` is an instance or worker type, `count` the number of nodes or workers with the driver.
    `ratio` is the cost divided by that of the run, None if that is unknown.
    """

    service: str
    name: str
    market: str
    count: int
    usd: float
    ratio: float | None = None
    assumptions: tuple[str, ...] = ()

    def row(self) -> dict[str, Any]:
        """Return the fields for a table, the assumptions as one text."""
        return self.to_json() | {"assumptions": "; ".join(self.assumptions)}


def options(work: Work, region: str) -> Iterator[CostOption]:
    """Yield the services that have workers of the size of the driver and the executors."""
    yield from _serverless(work, region)
    yield from _fargate(work, region)
    yield from _glue(work, region)


def billed_s(seconds: float) -> int:
    """Return the seconds that are billed: rounded up, at least a minute."""
    return max(MINIMUM_S, math.ceil(seconds))


def worker_size(cores: int, memory_mb: float) -> tuple[int, int] | None:
    """Return vCPUs and GB of the smallest worker; None if there is none of this size."""
    for vcpus, (low, high, step) in _WORKERS.items():
        gb = low + step * max(0, math.ceil((memory_mb / 1024 - low) / step))
        if vcpus >= cores and gb <= high:
            return vcpus, gb
    return None


def uplift_usd(work: Work, region: str) -> float:
    """Return the fee of EMR on EKS for the vCPUs and the memory that the pods request."""
    usd = prices.unit_prices("emr_on_eks", region).usd
    return sum(
        billed_s(item.seconds) / 3600 * (item.cores * usd["vcpu"] + item.gb * usd["gb"])
        for item in work.processes
    )


def _sized(work: Work, more_mb: int = 0) -> list[tuple[Process, int, int]] | None:
    """Return each process with the vCPUs and GB of its worker; None if one is too large."""
    found = []
    for item in work.processes:
        size = worker_size(item.cores, item.memory_mb + more_mb)
        if size is None:
            return None
        found.append((item, *size))
    return found


def _sized_usd(sized: list[tuple[Process, int, int]], usd: Mapping[str, float]) -> float:
    return sum(
        billed_s(item.seconds) / 3600 * (vcpus * usd["vcpu"] + gb * usd["gb"])
        for item, vcpus, gb in sized
    )


def _serverless(work: Work, region: str) -> Iterator[CostOption]:
    sized = _sized(work)
    if sized is None:
        return
    usd = prices.unit_prices("emr_serverless", region).usd
    storage_gb_hours = sum(_extra_gb(item) * billed_s(item.seconds) / 3600 for item, _, _ in sized)
    _, vcpus, gb = sized[1]
    yield CostOption(
        service="EMR Serverless",
        name=f"{vcpus} vCPUs, {gb} GB",
        market="",
        count=work.peak + 1,
        usd=_sized_usd(sized, usd) + storage_gb_hours * usd["storage_gb"],
        assumptions=(
            "the smallest workers that hold the run's driver and executors",
            _SAME_TIME,
            "no pre-initialized capacity",
            f"disks as large as the shuffle data of each worker, {_FREE_GB} GB of them free",
        ),
    )


def _extra_gb(item: Process) -> float:
    """Return the storage that is billed."""
    return max(0, min(_MAX_GB, math.ceil(item.shuffle_bytes / 1e9)) - _FREE_GB)


def _fargate(work: Work, region: str) -> Iterator[CostOption]:
    sized = _sized(work, _FARGATE_MB)
    if sized is None:
        return
    _, vcpus, gb = sized[1]
    yield CostOption(
        service="EMR on EKS, Fargate",
        name=f"{vcpus} vCPUs, {gb} GB",
        market="",
        count=work.peak + 1,
        usd=_sized_usd(sized, prices.unit_prices("fargate", region).usd) + uplift_usd(work, region),
        assumptions=(
            "one pod per driver and executor, of the smallest size that Fargate offers",
            _SAME_TIME,
            "an EKS cluster exists (0.10 USD per hour, not included)",
            f"shuffle data fits on the {_FREE_GB} GB of each pod",
        ),
    )


def _glue(work: Work, region: str) -> Iterator[CostOption]:
    usd = prices.unit_prices("glue", region).usd
    for name, dpus in _GLUE.items():
        own = work.executor
        each = min(_DPU_VCPUS * dpus // own.cores, _DPU_MB * dpus // own.memory_mb)
        if not each or work.driver.memory_mb > _DPU_MB * dpus:
            continue
        count = math.ceil(work.peak / each) + 1
        hours = billed_s(work.driver.seconds) / 3600
        executors = f"{each} executor{'s' if each > 1 else ''}"
        assumed = (
            f"a worker of {_DPU_VCPUS * dpus} vCPUs and {16 * dpus} GB is as fast as {executors}",
            "one more worker for the driver; all run as long as the Spark application",
        )
        for market, unit in (("standard", "dpu"), ("flex", "dpu_flex")):
            if market == "standard" or name in _FLEX:
                yield CostOption(
                    service="AWS Glue",
                    name=name,
                    market=market,
                    count=count,
                    usd=count * dpus * hours * usd[unit],
                    assumptions=(
                        *assumed,
                        *(("no deadline: flex jobs wait for capacity",) * (market == "flex")),
                    ),
                )
