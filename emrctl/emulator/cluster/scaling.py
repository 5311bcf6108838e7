"""Managed scaling: the sizes of instance groups by YARN's pending containers and idle nodes.

`target_counts` is EMR's strategy: core instances before task instances, On-Demand before Spot, in
the reverse order when shrinking. An instance is removed only after it had no container for a while.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from emrctl.aws import instance_types
from emrctl.emulator.cluster import fleets, model
from emrctl.emulator.cluster.model import EmulatedCluster, EmulatedNode, InstanceGroup

# EMR evaluates every 5 to 10 s and acts after 1 to 3 minutes.
INTERVAL_S = 3.0
# A node is removed after this many intervals without containers.
_IDLE_INTERVALS = 5
MESSAGE = "Managed scaling resizes the instance group (local)"


@dataclass(frozen=True, kw_only=True)
class NodeLoad:
    """Running containers of a NodeManager (ApplicationMasters included) and its free memory."""

    containers: int = 0
    available_mb: int = 0


@dataclass(frozen=True, kw_only=True)
class YarnLoad:
    """Metrics of a ResourceManager; `nodes` are its running NodeManagers by EC2 instance id."""

    pending_containers: int = 0
    pending_mb: int = 0
    nodes: Mapping[str, NodeLoad] = field(default_factory=dict)

    def busy(self, node: EmulatedNode) -> bool:
        """Whether the node has running containers."""
        load = self.nodes.get(node.ec2_id)
        return load is not None and load.containers > 0

    def free(self, node: EmulatedNode) -> bool:
        """Whether the node has memory for new containers."""
        load = self.nodes.get(node.ec2_id)
        return load is not None and load.available_mb > 0

    def drained(self, node: EmulatedNode) -> bool:
        """Whether the node has no containers and gets no new ones."""
        load = self.nodes.get(node.ec2_id)
        return load is None or (load.containers == 0 and load.available_mb <= 0)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of a managed scaling policy, in capacity units of core and task instances.

    `instances` is the local EMR's limit of core and task instances.
    """

    minimum: int
    maximum: int
    on_demand: int
    core: int
    instances: int = model.MAX_INSTANCES

    @classmethod
    def of(cls, policy: Mapping[str, Any], instances: int = model.MAX_INSTANCES) -> Limits:
        """Return the limits of `ManagedScalingPolicy`; optional ones default to the maximum."""
        limits = policy["ComputeLimits"]
        maximum = limits["MaximumCapacityUnits"]
        return cls(
            minimum=limits["MinimumCapacityUnits"],
            maximum=maximum,
            on_demand=limits.get("MaximumOnDemandCapacityUnits", maximum),
            core=limits.get("MaximumCoreCapacityUnits", maximum),
            instances=instances,
        )


@dataclass(frozen=True, kw_only=True)
class GroupSize:
    """Size of a core or task group, or of the part of a fleet in one market.

    Of its `count` instances, `starting` are not running yet and `idle` can be removed. Each has
    `units` capacity units and `memory_mb` of memory for YARN. `more_units` are those that a fleet's
    instances of other types have beyond that.
    """

    id: str
    core: bool = False
    spot: bool = False
    count: int
    starting: int = 0
    idle: int = 0
    units: int = 1
    more_units: int = 0
    memory_mb: int

    @property
    def capacity(self) -> int:
        """Capacity units of the group."""
        return self.count * self.units + self.more_units


def target_counts(load: YarnLoad, limits: Limits, groups: Sequence[GroupSize]) -> dict[str, int]:
    """Return the new number of instances of each group that is to be resized, by id.

    Groups grow for pending containers that do not fit on running and starting nodes. If no
    container is pending, idle instances are removed down to the minimum. A capacity outside the
    limits is corrected in any case.
    """
    ordered = sorted(groups, key=lambda one: (not one.core, one.spot))
    sizes = {one.id: one for one in ordered}
    _apply_maximums(sizes, limits)
    if load.pending_containers:
        _grow(sizes, limits, *_missing(load, ordered))
    else:
        _remove_idle(sizes, limits)
    _grow_to_minimum(sizes, limits)
    return {one.id: sizes[one.id].count for one in groups if sizes[one.id].count != one.count}


def _missing(load: YarnLoad, groups: Sequence[GroupSize]) -> tuple[int, int]:
    """Return how many pending containers fit nowhere, and their average memory in MB."""
    container_mb = max(1, -(-load.pending_mb // load.pending_containers))
    # A node that is being removed has less than no memory for new containers.
    free = sum(max(0, node.available_mb) // container_mb for node in load.nodes.values())
    starting = sum(one.starting * (one.memory_mb // container_mb) for one in groups)
    return max(0, load.pending_containers - free - starting), container_mb


def _room(sizes: Mapping[str, GroupSize], group: GroupSize, limits: Limits) -> int:
    """Return how many instances the limits allow to add to the group."""
    others = [*sizes.values()]
    free = [limits.maximum - sum(one.capacity for one in others)]
    if group.core:
        free.append(limits.core - group.capacity)
    if not group.spot:
        free.append(limits.on_demand - sum(one.capacity for one in others if not one.spot))
    instances = limits.instances - sum(one.count for one in others)
    return max(0, min(min(free) // group.units, instances))


def _grow(sizes: dict[str, GroupSize], limits: Limits, containers: int, container_mb: int) -> None:
    for id_, group in sizes.items():
        per_node = group.memory_mb // container_mb
        if per_node and containers > 0:
            added = min(-(-containers // per_node), _room(sizes, group, limits))
            sizes[id_] = replace(group, count=group.count + added)
            containers -= added * per_node


def _grow_to_minimum(sizes: dict[str, GroupSize], limits: Limits) -> None:
    for id_, group in sizes.items():
        missing = limits.minimum - sum(one.capacity for one in sizes.values())
        if missing > 0:
            added = min(-(-missing // group.units), _room(sizes, group, limits))
            sizes[id_] = replace(group, count=group.count + added)


def _remove_idle(sizes: dict[str, GroupSize], limits: Limits) -> None:
    for id_, group in reversed([*sizes.items()]):
        surplus = sum(one.capacity for one in sizes.values()) - limits.minimum
        floor = _core_floor(sizes, group, limits) if group.core else 0
        removed = min(surplus // group.units, group.count - floor, group.idle)
        sizes[id_] = replace(group, count=group.count - max(0, removed))


def _core_floor(sizes: Mapping[str, GroupSize], group: GroupSize, limits: Limits) -> int:
    """Return the minimum of instances: EMR does not scale core nodes below the policy's."""
    others = [one for one in sizes.values() if one.core and one.id != group.id]
    units = min(limits.minimum, limits.core) - sum(one.capacity for one in others)
    return max(0 if any(one.count for one in others) else 1, -(-units // group.units))


def _apply_maximums(sizes: dict[str, GroupSize], limits: Limits) -> None:
    """Remove instances above the limits, e.g. of a new policy, whether they are idle or not."""
    maximums: tuple[tuple[int, Callable[[GroupSize], bool]], ...] = (
        (limits.core, lambda one: one.core),
        (limits.on_demand, lambda one: not one.spot),
        (limits.maximum, lambda _: True),
    )
    for maximum, limited in maximums:
        for id_, group in reversed([*sizes.items()]):
            surplus = sum(one.capacity for one in sizes.values() if limited(one)) - maximum
            if limited(group) and surplus > 0:
                others = any(one.core and one.count for one in sizes.values() if one.id != id_)
                kept = int(group.core and not others)
                removed = max(0, min(-(-surplus // group.units), group.count - kept))
                idle = max(0, group.idle - removed)
                sizes[id_] = replace(group, count=group.count - removed, idle=idle)


@dataclass(kw_only=True)
class ManagedScaler:
    """Applies the managed scaling policy of a cluster.

    `load` returns YARN's metrics, or None if it does not answer; `resize` changes the capacity
    units of a group by market.
    """

    cluster: EmulatedCluster
    load: Callable[[EmulatedCluster], YarnLoad | None]
    resize: Callable[[InstanceGroup, Mapping[str, int], str], None]
    interval_s: float = INTERVAL_S
    clock: Callable[[], float] = time.monotonic
    idle_since: dict[str, float] = field(default_factory=dict)

    def check(self) -> None:
        """Resize the groups for which the metrics require it."""
        cluster = self.cluster
        policy = cluster.managed_scaling
        if policy is None or cluster.state not in (model.RUNNING, model.WAITING):
            return
        load = self.load(cluster)
        if load is None:
            return
        self._update_idle(load)
        with cluster.changed:
            groups = [group for group in cluster.groups if group.role != model.MASTER]
            primaries = sum(one.count for one in cluster.groups if one not in groups)
            limits = Limits.of(policy, model.MAX_INSTANCES - primaries)
            unit = policy["ComputeLimits"]["UnitType"]
            parts = {
                f"{group.id} {market}": (group, market)
                for group in groups
                for market in self._markets(group, limits)
            }
            sizes = {
                id_: self._size(id_, group, market, unit) for id_, (group, market) in parts.items()
            }
            counts = target_counts(load, limits, [*sizes.values()])
        for group in groups:
            changed = {
                parts[id_][1]: self._target(group, parts[id_][1], count - sizes[id_].count)
                for id_, count in counts.items()
                if parts[id_][0] is group
            }
            if changed:
                self.resize(group, group.targets | changed, MESSAGE)

    def _nodes(self, group: InstanceGroup, market: str) -> list[EmulatedNode]:
        """Return the active nodes of the group in a market, without those being removed."""
        return [node for node in self.cluster.staying_nodes(group) if node.market == market]

    def _markets(self, group: InstanceGroup, limits: Limits) -> list[str]:
        """Return the markets in which the group is scaled.

        As on EMR, a fleet gets Spot instances beyond the policy's maximum of On-Demand units.
        """
        used = [market for market, units in group.targets.items() if units]
        if group.is_fleet and limits.on_demand < limits.maximum and model.SPOT not in used:
            used.append(model.SPOT)
        return used or list(group.targets)

    def _target(self, group: InstanceGroup, market: str, added: int) -> int:
        """Return the target in units with `added` instances, which is negative for fewer."""
        present = sum(node.units for node in self._nodes(group, market))
        weight = group.weight(fleets.preferred_types(group, market, self.cluster.region)[0])
        return max(0, present + added * weight)

    def _update_idle(self, load: YarnLoad) -> None:
        now = self.clock()
        self.idle_since = {
            ec2_id: self.idle_since.get(ec2_id, now)
            for ec2_id, node in load.nodes.items()
            if node.containers == 0
        }

    def _size(self, id_: str, group: InstanceGroup, market: str, unit: str) -> GroupSize:
        idle_s, now = self.interval_s * _IDLE_INTERVALS, self.clock()
        nodes = self._nodes(group, market)
        running = [node for node in nodes if node.state == model.RUNNING]
        idle = [n for n in running if now - self.idle_since.get(n.ec2_id, now) >= idle_s]
        name = fleets.preferred_types(group, market, self.cluster.region)[0]
        each = units(name, group.weight(name), unit)
        present = sum(units(node.instance_type, node.units, unit) for node in nodes)
        return GroupSize(
            id=id_,
            core=group.role == "CORE",
            spot=market == model.SPOT,
            count=len(nodes),
            starting=len(nodes) - len(running),
            idle=len(idle),
            units=each,
            more_units=present - each * len(nodes),
            memory_mb=instance_types.instance_type(name).yarn_mb,
        )


def units(instance_type: str, weight: int, unit: str) -> int:
    """Return the capacity units of an instance in the unit of a managed scaling policy."""
    if unit == "VCPU":
        return instance_types.instance_type(instance_type).vcpus
    return weight if unit == "InstanceFleetUnits" else 1
