"""Task groups and bids of the cluster stack, on the EMR on localhost without processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from emrctl.aws.target import Target
from emrctl.engine.embedded.engine import EmbeddedEngine
from emrctl.errors import ProvisioningError
from tests.emulator.fake_runtime import FakeRuntime
from tests.engine.conftest import STACK, Work, made

TASK = {"type": "r5.xlarge", "count": 2}


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, tmp_path: Path) -> Work:
    monkeypatch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
    request.getfixturevalue("runtime")
    mocked: Target = request.getfixturevalue("mocked")
    mocked.client("s3").create_bucket(Bucket="pets")
    return Work(engine=EmbeddedEngine(mocked, tmp_path), target=mocked, folder=tmp_path)


def groups(work: Work) -> dict[str, dict[str, Any]]:
    """Return the newest group of each name of the only cluster."""
    (id_,) = work.clusters()
    found = work.target.client("emr").list_instance_groups(ClusterId=id_)["InstanceGroups"]
    return {item["Name"]: item for item in found}


def counts(work: Work) -> dict[str, int]:
    return {name: item["RunningInstanceCount"] for name, item in groups(work).items()}


def test_up_creates_task_group_with_bid(work: Work) -> None:
    work.up(core={"count": 1, "bid_usd": 0.1}, task=[TASK | {"bid_usd": 0.09, "volumes": 2}])
    found = groups(work)
    assert counts(work) == {"master": 1, "core": 1, "task": 2}
    task, core = found["task"], found["core"]
    assert (task["InstanceGroupType"], task["InstanceType"]) == ("TASK", "r5.xlarge")
    assert (task["Market"], task["BidPrice"], len(task["EbsBlockDevices"])) == ("SPOT", "0.09", 2)
    assert (core["Market"], core["BidPrice"]) == ("SPOT", "0.1")
    assert found["master"]["Market"] == "ON_DEMAND"
    emr = work.target.client("emr")
    (id_,) = work.clusters()
    instances = emr.list_instances(ClusterId=id_, InstanceGroupTypes=["TASK"])["Instances"]
    assert [(one["Market"], one["InstanceType"]) for one in instances] == [
        ("SPOT", "r5.xlarge")
    ] * 2


def test_up_task_count_changed_resizes_in_place(work: Work) -> None:
    before = work.up(task=[TASK]).outputs["cluster_id"]
    assert work.preview(task=[TASK]).empty
    id_ = groups(work)["task"]["Id"]
    for count in (4, 1):
        changed = [TASK | {"count": count}]
        assert made(work.preview(task=changed))["task-task"] == "update"
        assert work.up(task=changed).outputs["cluster_id"] == before
        assert (groups(work)["task"]["Id"], counts(work)["task"]) == (id_, count)


def test_up_added_task_group_keeps_cluster(work: Work) -> None:
    before = work.up().outputs["cluster_id"]
    tasks = [TASK, {"name": "big", "type": "m5.2xlarge"}]
    changes = made(work.up(task=tasks))
    assert {name for name, change in changes.items() if change == "create"} == {
        "task-task",
        "task-big",
    }
    assert work.clusters() == [before]
    assert counts(work) == {"master": 1, "core": 2, "task": 2, "big": 1}


def test_up_task_count_zero_empties_group_and_later_count_adds_another(work: Work) -> None:
    before = work.up(task=[TASK]).outputs["cluster_id"]
    first = groups(work)["task"]["Id"]
    empty = [TASK | {"count": 0}]
    assert made(work.up(task=empty))["task-task"] == "delete"
    assert groups(work)["task"]["RequestedInstanceCount"] == 0
    assert work.preview(task=empty).empty
    assert made(work.up(task=[TASK]))["task-task"] == "create"
    assert work.clusters() == [before]
    assert (groups(work)["task"]["Id"] != first, counts(work)["task"]) == (True, 2)


def test_up_task_group_of_other_type_replaces_only_group(work: Work) -> None:
    before = work.up(task=[TASK]).outputs["cluster_id"]
    first = groups(work)["task"]["Id"]
    assert made(work.preview(task=[TASK | {"type": "m5.2xlarge"}]))["task-task"] == "replace"
    work.up(task=[TASK | {"type": "m5.2xlarge"}])
    assert work.clusters() == [before]
    emr = work.target.client("emr")
    found = emr.list_instance_groups(ClusterId=before)["InstanceGroups"]
    requested = {item["Id"]: item["RequestedInstanceCount"] for item in found}
    assert requested[first] == 0
    assert requested[groups(work)["task"]["Id"]] == 2


def test_up_core_bid_changed_replaces_cluster_and_task_group(work: Work) -> None:
    before = work.up(task=[TASK]).outputs["cluster_id"]
    plan = work.preview(core={"count": 2, "bid_usd": 0.2}, task=[TASK])
    (cluster,) = [item for item in plan.changes if item.name == "cluster"]
    assert (cluster.operation, cluster.keys) == ("replace", ("coreInstanceGroup.bidPrice",))
    assert made(plan)["task-task"] == "replace"
    after = work.up(core={"count": 2, "bid_usd": 0.2}, task=[TASK]).outputs["cluster_id"]
    assert work.clusters() == [after]
    assert after != before
    assert counts(work) == {"master": 1, "core": 2, "task": 2}


def test_up_after_cluster_terminated_creates_task_group_again_and_down_deletes_it(
    work: Work,
) -> None:
    before = work.up(task=[TASK]).outputs["cluster_id"]
    work.target.client("emr").terminate_job_flows(JobFlowIds=[before])
    assert made(work.preview(task=[TASK]))["cluster"] == "create"
    assert work.up(task=[TASK]).outputs["cluster_id"] != before
    assert counts(work)["task"] == 2
    order = [change.name for change in work.down().changes]
    assert order.index("task-task") < order.index("cluster")
    assert work.clusters() == []
    assert work.engine.state(STACK) is None


def test_up_task_group_without_capacity_names_group_and_next_up_continues(
    work: Work, runtime: FakeRuntime
) -> None:
    work.up()
    runtime.failing_workers = 100
    with pytest.raises(
        ProvisioningError, match=r"task group 'task' of j-\w+ .*SUSPENDED"
    ) as caught:
        work.up(task=[TASK])
    assert "emrctl up" in caught.value.hint
    runtime.failing_workers = 0
    work.up(task=[TASK | {"count": 3}])
    assert counts(work)["task"] == 3
