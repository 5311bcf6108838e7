"""What a cluster costs an hour, part by part, and the most that it can come to."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from emrctl.aws import instance_types
from emrctl.aws.prices import Rate, rate
from emrctl.cost import resource
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
from emrctl.spec.nodes import VolumesSpec


@dataclass(frozen=True, kw_only=True)
class Line:
    """One part of a cluster: how many of what, and what all of them cost an hour.

    `most_usd` is what they can come to: spot at its bid, scaling at its maximum. `beside` are
    disks, addresses and endpoints: what instances need.
    """

    what: str
    count: int
    ec2_usd: float
    emr_usd: float
    most_usd: float
    beside: bool = False

    @property
    def usd(self) -> float:
        """EC2 and EMR's fee together."""
        return self.ec2_usd + self.emr_usd


@dataclass(frozen=True, kw_only=True)
class Cost:
    """A cluster's hour, by its parts; `region` and `as_of` are those of the prices."""

    lines: tuple[Line, ...]
    region: str
    as_of: str
    notes: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """Of where and when the prices are, and what is to be known of them."""
        return "; ".join((f"prices of {self.region}, {self.as_of}", *self.notes))

    @property
    def ec2_usd(self) -> float:
        """The instances, without EMR's fee."""
        return sum(line.ec2_usd for line in self.lines if not line.beside)

    @property
    def emr_usd(self) -> float:
        """EMR's fee for all instances."""
        return sum(line.emr_usd for line in self.lines)

    @property
    def other_usd(self) -> float:
        """Disks, addresses and endpoints."""
        return sum(line.ec2_usd for line in self.lines if line.beside)

    @property
    def instances_usd(self) -> float:
        """The instances, EMR's fee included where it takes one."""
        return self.ec2_usd + self.emr_usd

    @property
    def hourly_usd(self) -> float:
        """All of it, as the spec asks for it."""
        return sum(line.usd for line in self.lines)

    @property
    def most_usd(self) -> float:
        """All of it at the most that it can come to."""
        return sum(line.most_usd for line in self.lines)


def estimate(project: ProjectSpec) -> Cost:
    """What the project's cluster costs an hour; instances first, then what they need beside."""
    spec, region = project.cluster, project.region
    seen = [rate(name, region) for name in spec.types]
    return Cost(
        lines=(*_lines(spec, region), *_beside(project)),
        region=seen[0].region,
        as_of=min(item.as_of for item in seen),
        notes=tuple(_notes(spec, region, seen)),
    )


def instances_usd(spec: AnyClusterSpec, region: str) -> float:
    """Return the price per hour of a cluster's instances, with EMR's fee and without disks."""
    return sum(line.usd for line in _lines(spec, region) if not line.beside)


def estimate_within_limit(project: ProjectSpec) -> Cost:
    """Return the estimate; `SpecError` if the cluster can cost more than `max_hourly_cost`."""
    limit = project.cluster.max_hourly_cost
    cost = estimate(project)
    if limit is None or cost.most_usd <= limit:
        return cost
    parts = ", ".join(f"{line.what} {line.most_usd:.3f}" for line in cost.lines if line.most_usd)
    msg = (
        f"cluster '{project.cluster.name}' can cost {cost.most_usd:.3f} USD an hour, and "
        f"max_hourly_cost is {limit:.3f} ({parts}; prices of {cost.region}, {cost.as_of})"
    )
    hint = (
        "Ask for fewer or smaller nodes, lower scaling.maximum, or raise cluster.max_hourly_cost."
    )
    raise SpecError(msg, hint=hint)


def _lines(spec: AnyClusterSpec, region: str) -> Iterator[Line]:
    if spec.kind == "ec2":
        for role, group in (("primary", spec.primary_group), ("worker", spec.core_group)):
            yield _group(role, group, dataclasses.replace(rate(group.type, region), emr_usd=0.0))
            yield _disks(role, group, group.count)
        return
    if spec.fleets is None:
        groups = [("primary", spec.primary), ("core", spec.core)]
        groups += [(f"task {group.name}", group) for group in spec.task]
        for role, group in groups:
            yield _group(role, group, rate(group.type, region))
            yield _disks(role, group, group.count)
    else:
        every = {"primary": spec.fleets.primary, "core": spec.fleets.core, "task": spec.fleets.task}
        for role, fleet in every.items():
            if fleet is not None:
                yield from _fleet(role, fleet, region)
    if spec.scaling is not None:
        yield _scaled(spec, spec.scaling, region)


def _group(role: str, group: GroupSpec, own: Rate) -> Line:
    what = f"{role} {group.type}"
    if group.bid_usd is None:
        return _line(what, group.count, own, own.ec2_usd, own.ec2_usd)
    most = min(group.bid_usd, own.ec2_usd)
    return _line(f"{what} spot", group.count, own, min(own.spot_usd or most, most), most)


def _line(what: str, count: int, own: Rate, now: float, most: float) -> Line:
    """`count` instances of which each costs `now` an hour, `most` at the most."""
    fee = count * own.emr_usd
    return Line(
        what=what, count=count, ec2_usd=count * now, emr_usd=fee, most_usd=count * most + fee
    )


def _disks(role: str, volumes: VolumesSpec, count: int) -> Line:
    gigabytes = count * volumes.total_gb
    what = f"{role} disks, {gigabytes} GB {volumes.volume_type}"
    return _beside_line(what, count, resource.volume(volumes.volume_type, volumes.total_gb))


def _fleet(role: str, fleet: FleetSpec, region: str) -> Iterator[Line]:
    """EMR chooses the types: what is shown is the dearest choice that it has."""
    for units, spot in ((fleet.on_demand, False), (fleet.spot, True)):
        if not units:
            continue
        choices = {
            item: _choice(role, fleet, item, rate(item.type, region), spot=spot)
            for item in fleet.types
        }
        dearest = max(choices, key=lambda item: choices[item].most_usd)
        yield choices[dearest]
        yield _disks(role, dearest, choices[dearest].count)


def _choice(role: str, fleet: FleetSpec, item: FleetTypeSpec, own: Rate, *, spot: bool) -> Line:
    """All units of one market, were they of this type alone."""
    what, most = f"{role} {item.type}", own.ec2_usd
    if not spot:
        return _line(what, fleet.instances(item, fleet.on_demand), own, most, most)
    bid = item.bid_usd or most * (item.bid_percent or 100) / 100
    now = min(own.spot_usd or most, bid, most)
    if fleet.on_timeout == "terminate":  # else what spot does not deliver is taken on demand
        most = min(bid, most)
    return _line(f"{what} spot", fleet.instances(item, fleet.spot), own, now, most)


def _scaled(spec: ClusterSpec, scaling: ScalingSpec, region: str) -> Line:
    """What managed scaling may add: units above those asked for, of the dearest type."""
    vcpus = scaling.unit == "vcpus"
    each, asked = 0.0, 0
    for types, units in _workers(spec):
        sizes = {
            name: instance_types.instance_type(name).vcpus if vcpus else weight
            for name, weight in types
        }
        each = max(each, *(_both(name, region) / size for name, size in sizes.items()))
        weights = dict(types)
        asked += min(-(-units // weights[name]) * sizes[name] for name in sizes)
    more = max(0, scaling.maximum - asked)
    what = f"scaling by {more} more"
    return Line(what=what, count=more, ec2_usd=0.0, emr_usd=0.0, most_usd=more * each)


def _workers(spec: ClusterSpec) -> Iterator[tuple[tuple[tuple[str, int], ...], int]]:
    """The types of core and task nodes with their weights, and the units asked of them."""
    if spec.fleets is None:
        for group in (spec.core, *spec.task):
            yield ((group.type, 1),), group.count
        return
    for fleet in (spec.fleets.core, spec.fleets.task):
        if fleet is not None:
            yield tuple((item.type, item.weight) for item in fleet.types), fleet.units


def _both(name: str, region: str) -> float:
    own = rate(name, region)
    return own.ec2_usd + own.emr_usd


def _beside(project: ProjectSpec) -> Iterator[Line]:
    """Addresses, endpoints and the way out, where they are the cluster's own."""
    extras, spec = instance_types.shipped()["extras"], project.cluster
    if spec.network.existing:
        # EMR's nodes have what the subnet gives; instances ask for an address.
        if spec.kind == "ec2" and not spec.network.private:
            yield _beside_line("public addresses", spec.nodes, extras["public_ipv4"])
        return
    if spec.network.private:
        services = project.endpoint_services
        yield _beside_line("endpoints", len(services), extras["endpoint"])
    else:
        yield _beside_line("public addresses", spec.nodes, extras["public_ipv4"])
    if spec.network.nat:
        yield _beside_line("NAT gateway", 1, extras["nat"] + extras["public_ipv4"])


def _beside_line(what: str, count: int, each: float) -> Line:
    all_ = count * each
    return Line(what=what, count=count, ec2_usd=all_, emr_usd=0.0, most_usd=all_, beside=True)


def _notes(spec: AnyClusterSpec, region: str, seen: Iterable[Rate]) -> Iterator[str]:
    elsewhere = sorted({item.region for item in seen} - {region})
    if elsewhere:
        yield f"no prices of {region}: those of {', '.join(elsewhere)} stand in"
    derived = sorted(item.type for item in seen if item.fee_derived)
    if derived and spec.kind == "emr":
        yield f"EMR's fee of {', '.join(derived)} follows the rule of its list"
    if spec.kind == "emr" and spec.fleets is not None:
        yield "fleets: EMR chooses among types, the dearest is shown"
