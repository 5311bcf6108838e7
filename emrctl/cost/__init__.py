"""Prices per hour: of a cluster by component, with its maximum, and of single resources."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from emrctl.aws import instance_types, prices
from emrctl.aws.prices import Rate, rate
from emrctl.errors import SpecError
from emrctl.spec import (
    AnyClusterSpec,
    ClusterSpec,
    FleetSpec,
    FleetTypeSpec,
    GroupSpec,
    ProjectSpec,
    ScalingSpec,
)
from emrctl.spec.instance_groups import VolumesSpec

HOURS_PER_MONTH = 730


@dataclass(frozen=True, kw_only=True)
class CostItem:
    """Equal parts of a cluster and their price per hour together.

    `most_usd` is the maximum: spot instances at their bid, scaling at its maximum. `beside` marks
    disks, addresses and endpoints.
    """

    what: str
    count: int
    ec2_usd: float
    emr_usd: float
    most_usd: float
    beside: bool = False

    @property
    def usd(self) -> float:
        """EC2's price and EMR's fee together."""
        return self.ec2_usd + self.emr_usd


@dataclass(frozen=True, kw_only=True)
class CostEstimate:
    """Price of a cluster per hour; `region` and `as_of` are those of the price table."""

    items: tuple[CostItem, ...]
    region: str
    as_of: str
    notes: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """Region and date of the prices, and notes on them."""
        return "; ".join((f"prices of {self.region}, {self.as_of}", *self.notes))

    @property
    def ec2_usd(self) -> float:
        """Price of the instances without EMR's fee."""
        return sum(item.ec2_usd for item in self.items if not item.beside)

    @property
    def emr_usd(self) -> float:
        """EMR's fee for all instances."""
        return sum(item.emr_usd for item in self.items)

    @property
    def other_usd(self) -> float:
        """Price of disks, addresses and endpoints."""
        return sum(item.ec2_usd for item in self.items if item.beside)

    @property
    def instances_usd(self) -> float:
        """Price of the instances with EMR's fee."""
        return self.ec2_usd + self.emr_usd

    @property
    def hourly_usd(self) -> float:
        """Price of all items."""
        return sum(item.usd for item in self.items)

    @property
    def most_usd(self) -> float:
        """Maximum price of all items."""
        return sum(item.most_usd for item in self.items)


def estimate(project: ProjectSpec) -> CostEstimate:
    """Return the price of the project's cluster per hour: instances, then what they need."""
    spec, region = project.cluster, project.region
    rates = [rate(name, region) for name in spec.types]
    return CostEstimate(
        items=(*_instance_items(spec, region), *_network_items(project)),
        region=rates[0].region,
        as_of=min(item.as_of for item in rates),
        notes=tuple(_notes(spec, region, rates)),
    )


def instances_usd(spec: AnyClusterSpec, region: str) -> float:
    """Return the price per hour of a cluster's instances, with EMR's fee and without disks."""
    return sum(item.usd for item in _instance_items(spec, region) if not item.beside)


def estimate_within_limit(project: ProjectSpec) -> CostEstimate:
    """Return the estimate; `SpecError` if the cluster can cost more than `max_hourly_cost`."""
    limit = project.cluster.max_hourly_cost
    cost = estimate(project)
    if limit is None or cost.most_usd <= limit:
        return cost
    parts = ", ".join(f"{item.what} {item.most_usd:.3f}" for item in cost.items if item.most_usd)
    msg = (
        f"cluster '{project.cluster.name}' can cost {cost.most_usd:.3f} USD an hour, and "
        f"max_hourly_cost is {limit:.3f} ({parts}; prices of {cost.region}, {cost.as_of})"
    )
    hint = "Use fewer or smaller nodes, lower scaling.maximum, or raise cluster.max_hourly_cost."
    raise SpecError(msg, hint=hint)


def _instance_items(spec: AnyClusterSpec, region: str) -> Iterator[CostItem]:
    for role, group in spec.groups.items():
        yield _group_item(role, group, _rate(group.type, region, emr_fee=spec.emr_fee))
        yield _disk_item(role, group, group.count)
    if spec.fleets is not None:
        for role in ("primary", "core", "task"):
            fleet: FleetSpec | None = getattr(spec.fleets, role)
            if fleet is not None:
                yield from _fleet_items(role, fleet, region)
    if spec.scaling is not None:
        yield _scaling_item(spec, spec.scaling, region)


def _rate(type_: str, region: str, *, emr_fee: bool) -> Rate:
    price = rate(type_, region)
    return price if emr_fee else replace(price, emr_usd=0.0)


def _group_item(role: str, group: GroupSpec, price: Rate) -> CostItem:
    what = f"{role} {group.type}"
    if group.bid_usd is None:
        return _item(what, group.count, price, price.ec2_usd, price.ec2_usd)
    most = min(group.bid_usd, price.ec2_usd)
    return _item(f"{what} spot", group.count, price, min(price.spot_usd or most, most), most)


def _item(what: str, count: int, price: Rate, usd: float, most_usd: float) -> CostItem:
    """Return `count` instances at `usd` per hour each, `most_usd` at most, plus EMR's fee."""
    fee = count * price.emr_usd
    return CostItem(
        what=what,
        count=count,
        ec2_usd=count * usd,
        emr_usd=fee,
        most_usd=count * most_usd + fee,
    )


def _disk_item(role: str, volumes: VolumesSpec, count: int) -> CostItem:
    what = f"{role} disks, {count * volumes.total_gb} GB {volumes.volume_type}"
    return _beside_item(what, count, volume_usd(volumes.volume_type, volumes.total_gb))


def _fleet_items(role: str, fleet: FleetSpec, region: str) -> Iterator[CostItem]:
    """Yield the most expensive type of each market: EMR chooses among the types."""
    for units, spot in ((fleet.on_demand, False), (fleet.spot, True)):
        if units:
            items = [
                (_fleet_item(role, fleet, choice, rate(choice.type, region), spot=spot), choice)
                for choice in fleet.types
            ]
            item, choice = max(items, key=lambda pair: pair[0].most_usd)
            yield item
            yield _disk_item(role, choice, item.count)


def _fleet_item(
    role: str, fleet: FleetSpec, choice: FleetTypeSpec, price: Rate, *, spot: bool
) -> CostItem:
    """Return all units of one market as instances of one type."""
    what, most = f"{role} {choice.type}", price.ec2_usd
    if not spot:
        return _item(what, fleet.instances(choice, fleet.on_demand), price, most, most)
    bid = choice.bid_usd or most * (choice.bid_percent or 100) / 100
    usd = min(price.spot_usd or most, bid, most)
    if fleet.on_timeout == "terminate":  # otherwise EMR switches to on-demand instances
        most = min(bid, most)
    return _item(f"{what} spot", fleet.instances(choice, fleet.spot), price, usd, most)


def _scaling_item(spec: ClusterSpec, scaling: ScalingSpec, region: str) -> CostItem:
    """Return the units that managed scaling may add, at the price of the most expensive type."""
    unit_usd, requested = 0.0, 0
    for weights, units in _scalable(spec):
        sizes = weights
        if scaling.unit == "vcpus":
            sizes = {name: instance_types.instance_type(name).vcpus for name in weights}
        for name, size in sizes.items():
            price = rate(name, region)
            unit_usd = max(unit_usd, (price.ec2_usd + price.emr_usd) / size)
        requested += min(-(-units // weights[name]) * sizes[name] for name in sizes)
    extra = max(0, scaling.maximum - requested)
    what = f"scaling by {extra} more"
    return CostItem(what=what, count=extra, ec2_usd=0.0, emr_usd=0.0, most_usd=extra * unit_usd)


def _scalable(spec: ClusterSpec) -> Iterator[tuple[dict[str, int], int]]:
    """Yield the weights of core and task types, and the units requested of them."""
    if spec.fleets is None:
        for group in (spec.core, *spec.task):
            yield {group.type: 1}, group.count
        return
    for fleet in (spec.fleets.core, spec.fleets.task):
        if fleet is not None:
            yield {item.type: item.weight for item in fleet.types}, fleet.units


def _network_items(project: ProjectSpec) -> Iterator[CostItem]:
    """Yield public addresses, endpoints and the NAT gateway that the stack creates."""
    extras, spec = instance_types.shipped()["extras"], project.cluster
    if spec.network.existing:
        if spec.requests_public_address and not spec.network.private:
            yield _beside_item("public addresses", spec.nodes, extras["public_ipv4"])
        return
    if spec.network.private:
        yield _beside_item("endpoints", len(project.endpoint_services), extras["endpoint"])
    else:
        yield _beside_item("public addresses", spec.nodes, extras["public_ipv4"])
    if spec.network.nat:
        yield _beside_item("NAT gateway", 1, extras["nat"] + extras["public_ipv4"])


def _beside_item(what: str, count: int, usd: float) -> CostItem:
    total = count * usd
    return CostItem(what=what, count=count, ec2_usd=total, emr_usd=0.0, most_usd=total, beside=True)


def _notes(spec: AnyClusterSpec, region: str, rates: Iterable[Rate]) -> Iterator[str]:
    others = sorted({item.region for item in rates} - {region})
    if others:
        yield f"no prices of {region}: using those of {', '.join(others)}"
    derived = sorted(item.type for item in rates if item.fee_derived)
    if derived and spec.emr_fee:
        yield f"EMR's fee of {', '.join(derived)} is derived from the price list's rule"
    if spec.fleets is not None:
        yield "fleets: EMR chooses among types, the most expensive is shown"


# --- single resources -----------------------------------------------------------------------------


def instance_usd(type_: str, region: str, *, emr: bool, spot: bool = False) -> float | None:
    """Return EC2's price, with `emr` plus EMR's fee; None if the type is unknown.

    Spot instances cost the latest known spot price, or the on-demand price.
    """
    try:
        rate = prices.rate(type_, region)
    except SpecError:
        return None
    ec2 = rate.spot_usd if spot and rate.spot_usd is not None else rate.ec2_usd
    return ec2 + (rate.emr_usd if emr else 0.0)


def volume_usd(volume_type: str, gigabytes: int) -> float:
    """Return the price of an EBS volume."""
    month = instance_types.shipped()["extras"]["volume_gb_month"]
    return gigabytes * float(month.get(volume_type, month["gp3"])) / HOURS_PER_MONTH


def extra_usd(name: str) -> float:
    """Return the price of a `public_ipv4`, an `endpoint` or a `nat`."""
    return float(instance_types.shipped()["extras"][name])


def total_usd(costs: Iterable[float | None]) -> float | None:
    """Return the sum; None if one of the prices is unknown."""
    values = list(costs)
    return None if None in values else sum(value for value in values if value is not None)
