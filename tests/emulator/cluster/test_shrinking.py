"""Smaller sizes of a group: which nodes are removed, when, and which are kept."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from emrctl.emulator.api.service import Service
from tests.emulator.cluster.conftest import BUSY, Group
from tests.emulator.conftest import Await
from tests.emulator.fake_runtime import FakeRuntime

pytestmark = pytest.mark.usefixtures("frequent_scaling")


def test_shrinking_removes_idle_nodes(group: Group, runtime: FakeRuntime, until: Await) -> None:
    first, second = group.ids()
    runtime.nodes = {second: BUSY}
    group.resize(1)
    until(group.counts, ("RUNNING", 1, 1))
    assert (runtime.removed, group.ids()) == ([first], [second])


def test_shrinking_waits_for_containers(group: Group, runtime: FakeRuntime, until: Await) -> None:
    first, second = group.ids()
    runtime.nodes = {first: BUSY, second: BUSY}
    group.resize(1)
    until(lambda: runtime.unschedulable, {second})
    assert group.counts() == ("RESIZING", 1, 2)
    assert "resized by user request" in group()["Status"]["StateChangeReason"]["Message"]
    assert runtime.removed == []
    runtime.nodes = {}
    until(group.counts, ("RUNNING", 1, 1))
    assert runtime.removed == [second]
    [gone] = group.instances("TERMINATED")
    timeline = gone["Status"]["Timeline"]
    assert timeline["CreationDateTime"] <= timeline["ReadyDateTime"] <= timeline["EndDateTime"]


def test_decommissioning_ends_if_node_is_lost(
    group: Group, waiting: str, service: Service, runtime: FakeRuntime, until: Await
) -> None:
    ids = group.ids()
    runtime.nodes = dict.fromkeys(ids, BUSY)
    group.resize(1)
    until(lambda: runtime.unschedulable, {ids[1]})
    service.lose_node(waiting, ids[1], spot_interruption=False)
    until(group.counts, ("RUNNING", 1, 1))
    until(lambda: "_decommission" in [one.name for one in threading.enumerate()], False)


def test_growing_keeps_nodes_that_were_to_be_removed(
    group: Group, runtime: FakeRuntime, until: Await
) -> None:
    ids = group.ids()
    runtime.nodes = dict.fromkeys(ids, BUSY)
    group.resize(1)
    until(lambda: runtime.unschedulable, {ids[1]})
    group.resize(3)
    until(group.counts, ("RUNNING", 3, 3))
    until(lambda: runtime.unschedulable, set())
    assert runtime.removed == []
    assert group.ids()[:2] == ids


def test_kept_node_gets_containers_while_its_siblings_drain(
    group: Group, runtime: FakeRuntime, until: Await
) -> None:
    group.resize(3)
    until(group.counts, ("RUNNING", 3, 3))
    ids = group.ids()
    runtime.nodes = dict.fromkeys(ids, BUSY)
    group.resize(1)
    until(lambda: runtime.unschedulable, set(ids[1:]))
    group.resize(2)
    until(lambda: len(runtime.unschedulable), 1)
    assert group.counts() == ("RESIZING", 2, 3)
    [draining] = runtime.unschedulable
    del runtime.nodes[draining]
    until(group.counts, ("RUNNING", 2, 2))
    assert runtime.removed == [draining]


def test_draining_continues_after_error_of_yarn(
    group: Group, runtime: FakeRuntime, until: Await, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, errors = FakeRuntime.set_schedulable, [OSError("connection refused")]

    def set_schedulable(*args: Any, **options: Any) -> None:
        if errors:
            raise errors.pop()
        original(*args, **options)

    monkeypatch.setattr(FakeRuntime, "set_schedulable", set_schedulable)
    second = group.ids()[1]
    group.resize(1)
    until(group.counts, ("RUNNING", 1, 1))
    assert (runtime.removed, errors) == ([second], [])


def test_draining_instance_to_terminate_is_removed_at_once(
    group: Group, runtime: FakeRuntime, until: Await
) -> None:
    first, second = group.ids()
    runtime.nodes = dict.fromkeys(group.ids(), BUSY)
    group.resize(1)
    until(lambda: runtime.unschedulable, {second})
    change = {"InstanceGroupId": group()["Id"], "EC2InstanceIdsToTerminate": [second]}
    group.emr.modify_instance_groups(ClusterId=group.cluster_id, InstanceGroups=[change])
    until(group.counts, ("RUNNING", 1, 1))
    assert group.ids() == [first]


def test_shrink_policy_selects_instances_and_timeout(
    group: Group, runtime: FakeRuntime, until: Await
) -> None:
    first, second = group.ids()
    runtime.nodes = dict.fromkeys(group.ids(), BUSY)
    policy = {
        "DecommissionTimeout": 0,
        "InstanceResizePolicy": {"InstancesToTerminate": [first], "InstancesToProtect": [second]},
    }
    group.resize(1, ShrinkPolicy=policy)
    until(group.counts, ("RUNNING", 1, 1))
    assert runtime.removed == [first]


def test_instances_to_terminate_are_removed_at_once(
    group: Group, runtime: FakeRuntime, until: Await
) -> None:
    first, second = group.ids()
    runtime.nodes = dict.fromkeys(group.ids(), BUSY)
    group.resize(1, EC2InstanceIdsToTerminate=[first])
    until(group.counts, ("RUNNING", 1, 1))
    assert group.ids() == [second]
    assert runtime.unschedulable == set()
