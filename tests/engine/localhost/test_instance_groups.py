"""Task groups and bids of the cluster stack."""

from __future__ import annotations

from typing import Any

import pytest

from emrctl.errors import ProvisioningError
from tests.emulator.fake_runtime import FakeRuntime
from tests.engine.conftest import STACK, Work, made

TASK = {"type": "r5.xlarge", "count": 2}


def groups(emulated: Work) -> dict[str, dict[str, Any]]:
    """Return the newest group of each name of the only cluster."""
    (id_,) = emulated.clusters()
    found = emulated.target.client("emr").list_instance_groups(ClusterId=id_)["InstanceGroups"]
    return {item["Name"]: item for item in found}


def counts(emulated: Work) -> dict[str, int]:
    return {name: item["RunningInstanceCount"] for name, item in groups(emulated).items()}


def test_up_creates_task_group_with_bid(emulated: Work) -> None:
    emulated.up(core={"count": 1, "bid_usd": 0.1}, task=[TASK | {"bid_usd": 0.09, "volumes": 2}])
    found = groups(emulated)
    assert counts(emulated) == {"master": 1, "core": 1, "task": 2}
    task, core = found["task"], found["core"]
    assert (task["InstanceGroupType"], task["InstanceType"]) == ("TASK", "r5.xlarge")
    assert (task["Market"], task["BidPrice"], len(task["EbsBlockDevices"])) == ("SPOT", "0.09", 2)
    assert (core["Market"], core["BidPrice"]) == ("SPOT", "0.1")
    assert found["master"]["Market"] == "ON_DEMAND"
    emr = emulated.target.client("emr")
    (id_,) = emulated.clusters()
    instances = emr.list_instances(ClusterId=id_, InstanceGroupTypes=["TASK"])["Instances"]
    assert [(one["Market"], one["InstanceType"]) for one in instances] == [
        ("SPOT", "r5.xlarge")
    ] * 2


def test_up_task_count_changed_resizes_in_place(emulated: Work) -> None:
    before = emulated.up(task=[TASK]).outputs["cluster_id"]
    assert emulated.preview(task=[TASK]).empty
    id_ = groups(emulated)["task"]["Id"]
    for count in (4, 1):
        changed = [TASK | {"count": count}]
        assert made(emulated.preview(task=changed))["task-task"] == "update"
        assert emulated.up(task=changed).outputs["cluster_id"] == before
        assert (groups(emulated)["task"]["Id"], counts(emulated)["task"]) == (id_, count)


def test_up_added_task_group_keeps_cluster(emulated: Work) -> None:
    before = emulated.up().outputs["cluster_id"]
    tasks = [TASK, {"name": "big", "type": "m5.2xlarge"}]
    changes = made(emulated.up(task=tasks))
    assert {name for name, change in changes.items() if change == "create"} == {
        "task-task",
        "task-big",
    }
    assert emulated.clusters() == [before]
    assert counts(emulated) == {"master": 1, "core": 2, "task": 2, "big": 1}


def test_up_task_count_zero_empties_group_and_later_count_adds_another(emulated: Work) -> None:
    before = emulated.up(task=[TASK]).outputs["cluster_id"]
    first = groups(emulated)["task"]["Id"]
    empty = [TASK | {"count": 0}]
    assert made(emulated.up(task=empty))["task-task"] == "delete"
    assert groups(emulated)["task"]["RequestedInstanceCount"] == 0
    assert emulated.preview(task=empty).empty
    assert made(emulated.up(task=[TASK]))["task-task"] == "create"
    assert emulated.clusters() == [before]
    assert (groups(emulated)["task"]["Id"] != first, counts(emulated)["task"]) == (True, 2)


def test_up_task_group_of_other_type_replaces_only_group(emulated: Work) -> None:
    before = emulated.up(task=[TASK]).outputs["cluster_id"]
    first = groups(emulated)["task"]["Id"]
    assert made(emulated.preview(task=[TASK | {"type": "m5.2xlarge"}]))["task-task"] == "replace"
    emulated.up(task=[TASK | {"type": "m5.2xlarge"}])
    assert emulated.clusters() == [before]
    emr = emulated.target.client("emr")
    found = emr.list_instance_groups(ClusterId=before)["InstanceGroups"]
    requested = {item["Id"]: item["RequestedInstanceCount"] for item in found}
    assert requested[first] == 0
    assert requested[groups(emulated)["task"]["Id"]] == 2


def test_up_core_bid_changed_replaces_cluster_and_task_group(emulated: Work) -> None:
    before = emulated.up(task=[TASK]).outputs["cluster_id"]
    plan = emulated.preview(core={"count": 2, "bid_usd": 0.2}, task=[TASK])
    (cluster,) = [item for item in plan.changes if item.name == "cluster"]
    assert (cluster.operation, cluster.keys) == ("replace", ("coreInstanceGroup.bidPrice",))
    assert made(plan)["task-task"] == "replace"
    after = emulated.up(core={"count": 2, "bid_usd": 0.2}, task=[TASK]).outputs["cluster_id"]
    assert emulated.clusters() == [after]
    assert after != before
    assert counts(emulated) == {"master": 1, "core": 2, "task": 2}


def test_up_after_cluster_terminated_creates_task_group_again_and_down_deletes_it(
    emulated: Work,
) -> None:
    before = emulated.up(task=[TASK]).outputs["cluster_id"]
    emulated.target.client("emr").terminate_job_flows(JobFlowIds=[before])
    assert made(emulated.preview(task=[TASK]))["cluster"] == "create"
    assert emulated.up(task=[TASK]).outputs["cluster_id"] != before
    assert counts(emulated)["task"] == 2
    order = [change.name for change in emulated.down().changes]
    assert order.index("task-task") < order.index("cluster")
    assert emulated.clusters() == []
    assert emulated.engine.state(STACK) is None


def test_up_task_group_without_capacity_names_group_and_next_up_continues(
    emulated: Work, runtime: FakeRuntime
) -> None:
    emulated.up()
    runtime.failing_workers = 100
    with pytest.raises(
        ProvisioningError, match=r"task group 'task' of j-\w+ .*SUSPENDED"
    ) as caught:
        emulated.up(task=[TASK])
    assert "emrctl up" in caught.value.hint
    runtime.failing_workers = 0
    emulated.up(task=[TASK | {"count": 3}])
    assert counts(emulated)["task"] == 3
