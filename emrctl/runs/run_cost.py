"""What the work of a run costs on other instance types, on spot, and on other services."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from emrctl.aws import instance_types, prices
from emrctl.aws.instance_types import InstanceType
from emrctl.clusters import sizing
from emrctl.cost import services, work
from emrctl.cost.services import CostOption
from emrctl.cost.work import Work
from emrctl.errors import NotFoundError
from emrctl.metrics.model import RunMetrics
from emrctl.metrics.record import Record
from emrctl.runs.record import ClusterFacts, Run
from emrctl.runs.store import RunFiles
from emrctl.runs.workspace import Workspace

SPOT_DISCOUNT = 0.6
EMR, EC2, EKS = "EMR on EC2", "EC2, Spark standalone", "EMR on EKS, EC2"
ON_DEMAND, SPOT = "on demand", "spot"
# Burstable types, and types with GPUs, which Spark does not use by itself.
_LEFT_OUT = ("t", "g", "p")
_DIGITS = re.compile(r"(\d+)")
_FAMILIES_SHOWN = 5
_DEFAULT_TYPE = "m5.xlarge"


@dataclass(frozen=True, kw_only=True)
class RunCost(Record):
    """The cost of a run, None if unknown, and estimates for its work elsewhere, cheapest first.

    `executors` is their maximum at one time. The hours are sums of vCPUs and GiB x time over the
    driver and all executors; in `idle_percent` of the core time no task ran. `notes` say what all
    estimates assume and where the prices are from.
    """

    run: str
    usd: float | None
    duration_s: float
    executors: int
    executor_cores: int
    executor_memory_mb: int
    vcpu_hours: float
    gb_hours: float
    idle_percent: float
    options: tuple[CostOption, ...]
    notes: tuple[str, ...]

    @property
    def headline(self) -> str:
        """The run and its own cost."""
        own = "unknown" if self.usd is None else f"{self.usd:.4f} USD (estimated)"
        return f"Cost of run {self.run}: {own}."


def of_run(workspace: Workspace, run: Run, spot_discount: float = SPOT_DISCOUNT) -> RunCost:
    """Return what the work of a run costs elsewhere, by list prices.

    `spot_discount` is the share by which spot instances are cheaper, for types without a downloaded
    spot price. Raises `NotFoundError` if the run has no metrics or no executors.
    """
    metrics = workspace.store.files(run.id).load(RunFiles.METRICS, RunMetrics)
    if metrics is None:
        hint = f"`emrctl runs show {run.id}` shows its state; `emrctl pull {run.id}` reads them."
        raise NotFoundError(f"run {run.id} has no metrics", hint=hint)
    region = workspace.project.region
    done = work.of_run(metrics, run.duration_s)
    clusters = Clusters(done, run.cluster, region, spot_discount)
    found = (*clusters.options(), *services.options(done, region))
    usd = run.cost_usd
    rated = (replace(item, ratio=item.usd / usd if usd else None) for item in found)
    return RunCost(
        run=run.id,
        usd=usd,
        duration_s=done.duration_s,
        executors=done.peak,
        executor_cores=done.executor.cores,
        executor_memory_mb=done.executor.memory_mb,
        vcpu_hours=done.vcpu_hours,
        gb_hours=done.gb_hours,
        idle_percent=done.idle_percent,
        options=tuple(sorted(rated, key=lambda item: item.usd)),
        notes=tuple(_notes(run, region)),
    )


def to_csv(found: RunCost) -> str:
    """Return a row per option."""
    import csv
    import io

    out = io.StringIO()
    writer = csv.DictWriter(out, CostOption.field_names(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(item.row() for item in found.options)
    return out.getvalue()


def shortlist(found: RunCost, own_type: str) -> list[CostOption]:
    """Return the cheapest options of each service: of instance types those of five families.

    The type of the run's core nodes is one of them.
    """
    families: dict[tuple[str, str], set[str]] = {}
    shown = []
    for item in found.options:
        seen = families.setdefault((item.service, item.market), set())
        family = item.name.partition(".")[0]
        few = _FAMILIES_SHOWN if item.service in {EMR, EC2} else 1
        if (family not in seen and len(seen) < few) or item.name == own_type:
            seen.add(family)
            shown.append(item)
    return shown


def _notes(run: Run, region: str) -> Iterator[str]:
    yield (
        "all figures are estimates for the time of the step: the same executors, and cores of "
        "every type as fast as those of the run; start and idle time of clusters, disks, requests "
        "and transfer are not included"
    )
    ec2 = prices.rate(run.cluster.core_type or _DEFAULT_TYPE, region)
    units = [prices.unit_prices(name, region) for name in ("emr_serverless", "fargate", "glue")]
    months = ", ".join(
        f"{name} {item.as_of}"
        for name, item in zip(("EMR Serverless and EKS", "Fargate", "Glue"), units, strict=True)
    )
    yield (
        f"list prices: instances of {ec2.region}, {ec2.as_of}; services of {units[0].region}, "
        f"{months}"
    )
    if run.target == "local":
        yield "the run was on localhost: its time is not that of AWS"


@dataclass(frozen=True)
class Clusters:
    """Clusters of each instance type with as many nodes as the executors of a run need."""

    work: Work
    cluster: ClusterFacts
    region: str
    spot_discount: float

    @property
    def is_emr(self) -> bool:
        """Whether the run was on EMR; imported runs are taken as such."""
        return self.cluster.id.startswith("j-") or not self.cluster.core_type

    @property
    def own(self) -> InstanceType:
        """The type of the run's core nodes."""
        return instance_types.instance_type(self.cluster.core_type or _DEFAULT_TYPE)

    @property
    def vcpus(self) -> int:
        """The vCPUs that the executors used: their cores, or the fewer ones of their nodes."""
        cores = self.work.peak * self.work.executor.cores
        if self.work.driver_in_cluster:
            cores += self.work.driver.cores
        nodes = max(self.work.hosts, self.cluster.core_count)
        return min(cores, nodes * self.own.vcpus) if self.cluster.core_type else cores

    def options(self) -> Iterator[CostOption]:
        """Yield each type on demand and on spot, and EKS with nodes of the run's type."""
        for item in instance_types.INSTANCE_TYPES.values():
            if item.family.startswith(_LEFT_OUT) or (self.is_emr and not item.emr):
                continue
            nodes = self.nodes(item)
            if nodes is not None:
                yield from self._markets(item, nodes)
        yield from self._eks()

    def nodes(self, item: InstanceType) -> int | None:
        """Return the number of nodes of a type that hold the executors; None if one is too large.

        EMR's YARN counts memory only, so that the nodes also get the vCPUs that the run used.
        """
        done = self.work
        if not self.is_emr:
            each = sizing.StandaloneAllocation(
                workers=sizing.StandaloneWorkers.of(item.name, 1),
                cores=done.executor.cores,
                heap_mb=done.executor.heap_mb,
                requested=None,
            ).room
            return math.ceil(done.peak / each) if each > 0 else None
        executor_mb, first_mb = done.executor.memory_mb, done.first_mb
        if max(executor_mb, first_mb) > item.yarn_mb:
            return None
        count = math.ceil(self.vcpus / item.vcpus)
        while sizing.container_room(item, count, executor_mb, first_mb) < done.peak:
            count += 1
        return count

    def _markets(self, item: InstanceType, nodes: int) -> Iterator[CostOption]:
        primary = self._primary(item)
        hours = services.billed_s(self.work.duration_s) / 3600
        rate = prices.rate(item.name, self.region)
        primary_rate = prices.rate(primary.name, self.region)
        fee, primary_fee = (rate.emr_usd, primary_rate.emr_usd) if self.is_emr else (0.0, 0.0)
        assumptions = (
            f"primary node: {primary.name}, on demand",
            *_speed(item, self.own),
        )
        for market, ec2_usd, more in self._prices(rate):
            usd = hours * (primary_rate.ec2_usd + primary_fee + nodes * (ec2_usd + fee))
            yield CostOption(
                service=EMR if self.is_emr else EC2,
                name=item.name,
                market=market,
                count=nodes + 1,
                usd=usd,
                assumptions=(*assumptions, *more),
            )

    def _primary(self, item: InstanceType) -> InstanceType:
        """Return the run's type of primary; for another architecture the family's smallest."""
        primary = instance_types.instance_type(self.cluster.primary_type or _DEFAULT_TYPE)
        if primary.arch == item.arch:
            return primary
        family = [
            other
            for other in instance_types.INSTANCE_TYPES.values()
            if other.family == item.family and (other.emr or not self.is_emr)
        ]
        return min(family, key=lambda other: other.vcpus)

    def _prices(self, rate: prices.Rate) -> Iterable[tuple[str, float, tuple[str, ...]]]:
        """Return the markets with EC2's price per node and hour and what it assumes."""
        if rate.spot_usd is not None:
            spot, source = rate.spot_usd, f"spot price of {rate.as_of}"
        else:
            spot = rate.ec2_usd * (1 - self.spot_discount)
            source = (
                f"spot {100 * self.spot_discount:.0f} % below on demand, assumed: "
                "`emrctl prices refresh` downloads spot prices"
            )
        return (
            (ON_DEMAND, rate.ec2_usd, ()),
            (SPOT, spot, (source, "no interruption")),
        )

    def _eks(self) -> Iterator[CostOption]:
        """Yield EMR on EKS with nodes of the run's type, filled with pods of its processes."""
        item, done = self.own, self.work
        memory_mb = sizing.StandaloneWorkers.of(item.name, 1).memory_mb
        own = done.executor
        each = min(item.vcpus // own.cores, memory_mb // own.memory_mb)
        if not each:
            return
        nodes = math.ceil(done.peak / each)
        on_last = done.peak - (nodes - 1) * each
        free_cores, free_mb = item.vcpus - on_last * own.cores, memory_mb - on_last * own.memory_mb
        if done.driver.cores > free_cores or done.driver.memory_mb > free_mb:
            nodes += 1
        hours = services.billed_s(done.driver.seconds) / 3600
        fee = services.uplift_usd(done, self.region)
        for market, ec2_usd, more in self._prices(prices.rate(item.name, self.region)):
            yield CostOption(
                service=EKS,
                name=item.name,
                market=market,
                count=nodes,
                usd=hours * nodes * ec2_usd + fee,
                assumptions=(
                    "whole nodes, filled by the vCPUs and memory that the pods request",
                    "an EKS cluster exists (0.10 USD per hour, not included)",
                    *more,
                ),
            )


def _speed(item: InstanceType, own: InstanceType) -> tuple[str, ...]:
    """Return the assumption on the speed of cores of another processor."""
    if _processor(item) == _processor(own):
        return ()
    return (f"cores of {item.family} as fast as those of {own.family}, not measured",)


def _processor(item: InstanceType) -> tuple[str, str]:
    """Return generation and vendor of a type's processors: ("6", "g") of m6gd.xlarge."""
    _, generation, rest = _DIGITS.split(item.family, maxsplit=1)
    return generation, rest[:1] if rest[:1] in {"a", "g"} else "i"
