"""Managed scaling: sizes of groups by metrics and limits, and the loop that applies them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from emrctl.emulator.cluster import model
from emrctl.emulator.cluster.model import EmulatedCluster, EmulatedNode, InstanceGroup
from emrctl.emulator.cluster.scaling import (
    GroupSize,
    Limits,
    ManagedScaler,
    NodeLoad,
    YarnLoad,
    target_counts,
)

_MB = 12288


def limits(
    minimum: int, maximum: int, *, on_demand: int | None = None, core: int | None = None
) -> Limits:
    return Limits(
        minimum=minimum,
        maximum=maximum,
        on_demand=maximum if on_demand is None else on_demand,
        core=maximum if core is None else core,
    )


def core(count: int, **changes: Any) -> GroupSize:
    return replace(GroupSize(id="core", core=True, count=count, memory_mb=_MB), **changes)


def task(count: int, **changes: Any) -> GroupSize:
    return replace(GroupSize(id="task", count=count, memory_mb=_MB), **changes)


def spot(count: int, **changes: Any) -> GroupSize:
    return task(count, id="spot", spot=True, **changes)


def pending(containers: int, mb_each: int = 6144, *free_mb: int) -> YarnLoad:
    nodes = {f"i-{n}": NodeLoad(containers=1, available_mb=mb) for n, mb in enumerate(free_mb)}
    return YarnLoad(pending_containers=containers, pending_mb=containers * mb_each, nodes=nodes)


_IDLE = YarnLoad()


@pytest.mark.parametrize(
    ("load", "bounds", "groups", "expected"),
    [
        pytest.param(_IDLE, limits(1, 5), [core(1)], {}, id="at minimum"),
        pytest.param(_IDLE, limits(2, 5), [core(1)], {"core": 2}, id="below minimum"),
        pytest.param(_IDLE, limits(1, 2), [core(4)], {"core": 2}, id="above maximum"),
        pytest.param(_IDLE, limits(1, 5), [core(3)], {}, id="no container, not idle long enough"),
        pytest.param(_IDLE, limits(1, 5), [core(3, idle=2)], {"core": 1}, id="idle core"),
        pytest.param(_IDLE, limits(1, 5), [core(3, idle=3)], {"core": 1}, id="keeps one core"),
        pytest.param(_IDLE, limits(2, 5), [core(3, idle=3)], {"core": 2}, id="keeps the minimum"),
        pytest.param(
            _IDLE, limits(1, 9), [core(1, idle=1), task(3, idle=3)], {"task": 0}, id="idle tasks"
        ),
        pytest.param(
            _IDLE,
            limits(3, 9),
            [core(3, idle=3), task(2, idle=2)],
            {"task": 0},
            id="task before core, core not below the minimum",
        ),
        pytest.param(
            _IDLE,
            limits(1, 9),
            [core(1), task(2, idle=2), spot(2, idle=1)],
            {"task": 0, "spot": 1},
            id="only idle instances",
        ),
        pytest.param(pending(1), limits(1, 5), [core(1)], {"core": 2}, id="one container"),
        pytest.param(pending(4), limits(1, 5), [core(1)], {"core": 3}, id="two per node"),
        pytest.param(pending(5), limits(1, 5), [core(1)], {"core": 4}, id="rounded up"),
        pytest.param(pending(99), limits(1, 5), [core(1)], {"core": 5}, id="up to the maximum"),
        pytest.param(pending(2, 6144, 12288), limits(1, 5), [core(1)], {}, id="fits already"),
        pytest.param(
            pending(2, 6144, 4096, 4096), limits(1, 5), [core(2)], {"core": 3}, id="fragments"
        ),
        pytest.param(pending(2), limits(1, 5), [core(2, starting=1)], {}, id="starting node"),
        pytest.param(
            pending(4), limits(1, 5), [core(2, starting=1)], {"core": 3}, id="one more node"
        ),
        pytest.param(pending(1, 20000), limits(1, 5), [core(1)], {}, id="larger than a node"),
        pytest.param(
            pending(1), limits(1, 5), [core(3, idle=2)], {"core": 4}, id="no removal while pending"
        ),
        pytest.param(
            pending(99),
            limits(1, 6, core=2),
            [core(1), task(1)],
            {"core": 2, "task": 4},
            id="core, then task",
        ),
        pytest.param(
            pending(99),
            limits(1, 8, on_demand=3, core=2),
            [core(1), task(0), spot(0)],
            {"core": 2, "task": 1, "spot": 5},
            id="on-demand, then spot",
        ),
        pytest.param(pending(99), limits(1, 6, core=2), [core(1)], {"core": 2}, id="no task group"),
        pytest.param(
            _IDLE, limits(1, 6, core=1), [core(3), task(1)], {"core": 1}, id="core above its limit"
        ),
        pytest.param(
            _IDLE,
            limits(1, 6, on_demand=1),
            [core(1), task(2), spot(1)],
            {"task": 0},
            id="on-demand above its limit",
        ),
        pytest.param(
            _IDLE, limits(1, 4, on_demand=0), [core(2)], {"core": 1}, id="core keeps one instance"
        ),
        pytest.param(
            pending(4),
            limits(4, 12),
            [core(1, units=4)],
            {"core": 3},
            id="units are vCPUs",
        ),
        pytest.param(
            _IDLE, limits(5, 12), [core(3, units=4, idle=3)], {"core": 2}, id="vCPUs rounded up"
        ),
        pytest.param(_IDLE, limits(5, 6), [core(1, units=4)], {}, id="minimum above the maximum"),
        pytest.param(_IDLE, limits(1, 5), [], {}, id="no groups"),
    ],
)
def test_target_counts(
    load: YarnLoad, bounds: Limits, groups: list[GroupSize], expected: dict[str, int]
) -> None:
    assert target_counts(load, bounds, groups) == expected


def test_node_that_is_removed_does_not_count_as_lack_of_memory() -> None:
    # Its containers use more than the memory that it has left for new ones: none.
    free, removed = pending(2, 6144, 6144), pending(2, 6144, 6144, -24576)
    expected = target_counts(free, limits(1, 9), [core(1)])
    assert target_counts(removed, limits(1, 9), [core(1)]) == expected


def test_target_counts_are_stable() -> None:
    # The next evaluation, with the new nodes starting, does not resize again.
    counts = target_counts(pending(7), limits(1, 9), [core(1), task(0)])
    assert counts == {"core": 5}
    again = target_counts(pending(7), limits(1, 9), [core(5, starting=4), task(0)])
    assert again == {}


@pytest.mark.parametrize("unit_type", ["Instances", "VCPU"])
def test_limits_of_policy_default_to_maximum(unit_type: str) -> None:
    policy = {
        "ComputeLimits": {
            "UnitType": unit_type,
            "MinimumCapacityUnits": 1,
            "MaximumCapacityUnits": 4,
            "MaximumCoreCapacityUnits": 2,
        }
    }
    assert Limits.of(policy) == limits(1, 4, core=2)


Resized = list[tuple[str, int]]


class Loop:
    """A scaler with a clock and metrics that the test sets."""

    def __init__(self, cluster: EmulatedCluster, **compute_limits: Any) -> None:
        self.load: YarnLoad | None = YarnLoad()
        self.now = 0.0
        self.resized: Resized = []
        cluster.state = model.RUNNING
        for node in cluster.nodes:
            node.state = model.RUNNING
        cluster.managed_scaling = {"ComputeLimits": {"UnitType": "Instances"} | compute_limits}
        self.scaler = ManagedScaler(
            cluster=cluster,
            load=lambda _: self.load,
            resize=self._resize,
            clock=lambda: self.now,
        )

    def _resize(self, group: InstanceGroup, targets: Mapping[str, int], _message: str) -> None:
        self.resized.append((group.role, sum(targets.values())))

    def check(self, seconds: float = 0.0) -> Resized:
        self.now += seconds
        self.resized = []
        self.scaler.check()
        return self.resized


@pytest.fixture
def loop(cluster: EmulatedCluster) -> Callable[..., Loop]:
    names: Any = {"public_dns": "p", "public_ip": "1", "private_dns": "q", "private_ip": "2"}
    [core_group] = [group for group in cluster.groups if group.role == "CORE"]
    cluster.nodes.append(EmulatedNode(group=core_group, ec2_id="i-second", **names))
    return lambda low, high, **more: Loop(
        cluster, MinimumCapacityUnits=low, MaximumCapacityUnits=high, **more
    )


def test_scaler_keeps_to_the_limit_of_instances(
    loop: Callable[..., Loop], cluster: EmulatedCluster
) -> None:
    scaler = loop(1, 1000)
    busy = NodeLoad(containers=1)
    nodes = {node.ec2_id: busy for node in cluster.workers}
    scaler.load = YarnLoad(pending_containers=5000, pending_mb=5000 * _MB, nodes=nodes)
    assert scaler.check() == [("CORE", model.MAX_INSTANCES - 1)]


def test_scaler_removes_nodes_that_were_idle_for_a_while(
    loop: Callable[..., Loop], cluster: EmulatedCluster
) -> None:
    scaler = loop(1, 3)
    busy, idle = NodeLoad(containers=1), NodeLoad(available_mb=_MB)
    first, second = (node.ec2_id for node in cluster.workers)
    scaler.load = YarnLoad(nodes={first: busy, second: idle})
    assert scaler.check() == []
    assert scaler.check(10) == []
    scaler.load = YarnLoad(nodes={first: busy, second: busy})
    assert scaler.check(3) == []
    scaler.load = YarnLoad(nodes={first: busy, second: idle})
    # The time before its last container does not count.
    assert scaler.check(10) == []
    assert scaler.check(14.9) == []
    assert scaler.check(0.2) == [("CORE", 1)]


def test_scaler_adds_nodes_for_pending_containers(loop: Callable[..., Loop]) -> None:
    scaler = loop(1, 9)
    scaler.load = pending(3, _MB)
    assert scaler.check() == [("CORE", 5)]


def test_scaler_counts_vcpus(loop: Callable[..., Loop]) -> None:
    scaler = loop(4, 12, UnitType="VCPU")
    scaler.load = pending(9, _MB)
    assert scaler.check() == [("CORE", 3)]


@pytest.mark.parametrize("state", [model.STARTING, model.BOOTSTRAPPING, model.TERMINATING])
def test_scaler_leaves_cluster_that_is_not_running(
    loop: Callable[..., Loop], cluster: EmulatedCluster, state: str
) -> None:
    scaler = loop(1, 9)
    scaler.load = pending(3, _MB)
    cluster.state = state
    assert scaler.check() == []


def test_scaler_without_policy_or_metrics_does_nothing(
    loop: Callable[..., Loop], cluster: EmulatedCluster
) -> None:
    scaler = loop(3, 9)
    scaler.load = None
    assert scaler.check() == []
    scaler.load = pending(3, _MB)
    cluster.managed_scaling = None
    assert scaler.check() == []
