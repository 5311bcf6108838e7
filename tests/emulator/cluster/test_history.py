"""Clusters on disk: saved when they change, and terminated for the next emulator."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from emrctl.aws.target import Target
from emrctl.emulator.api import dispatch
from emrctl.emulator.api.service import Service
from emrctl.emulator.cluster.history import ClusterHistory
from emrctl.emulator.cluster.model import COMPLETED, RUNNING, EmulatedCluster, EmulatedStep
from emrctl.emulator.cluster.resizing import GroupResizer
from tests.emulator.conftest import Await, add, state, status
from tests.emulator.fake_runtime import FakeRuntime


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "history"


@pytest.fixture
def runtime(mocked: Target, folder: Path) -> Iterator[FakeRuntime]:
    runtime = FakeRuntime()
    with dispatch.install(runtime, ClusterHistory(folder)):
        yield runtime


def test_next_emulator_has_the_cluster_terminated(
    mocked: Target, runtime: FakeRuntime, waiting: str, emr: Any, folder: Path, until: Await
) -> None:
    done = add(emr, waiting, "true")
    until(lambda: status(emr, waiting, done)["State"], "COMPLETED")
    emr.add_tags(ResourceId=waiting, Tags=[{"Key": "team", "Value": "cats"}])
    runtime.pause = True
    running = add(emr, waiting, "true")
    until(lambda: status(emr, waiting, running)["State"], "RUNNING")
    pending = add(emr, waiting, "true")
    # Without a termination before, as after kill -9: the files are as they are now.
    service = Service(FakeRuntime(), ClusterHistory(folder))
    service.restore()

    def ask(name: str, **members: Any) -> Any:
        return dispatch.call(service, name, "us-east-1", msgspec.json.encode(members))

    cluster = ask("DescribeCluster", ClusterId=waiting)["Cluster"]
    assert cluster["Status"]["State"] == "TERMINATED"
    reason = cluster["Status"]["StateChangeReason"]
    assert reason["Code"] == "INTERNAL_ERROR"
    assert "stopped before the cluster was terminated" in reason["Message"]
    assert cluster["Status"]["Timeline"]["EndDateTime"] <= time.time() + 1
    assert {"Key": "team", "Value": "cats"} in cluster["Tags"]
    steps = {one["Id"]: one["Status"] for one in ask("ListSteps", ClusterId=waiting)["Steps"]}
    assert [steps[one]["State"] for one in (done, running, pending)] == [
        "COMPLETED",
        "INTERRUPTED",
        "INTERRUPTED",
    ]
    assert "stopped" in steps[running]["StateChangeReason"]["Message"]
    assert [one["Id"] for one in ask("ListClusters")["Clusters"]] == [waiting]
    nodes = ask("ListInstances", ClusterId=waiting)["Instances"]
    assert {one["Status"]["State"] for one in nodes} == {"TERMINATED"}
    groups = ask("ListInstanceGroups", ClusterId=waiting)["InstanceGroups"]
    assert {one["Status"]["State"] for one in groups} == {"TERMINATED"}
    assert ask("TerminateJobFlows", JobFlowIds=[waiting]) == {}
    with pytest.raises(Exception, match="may not be modified"):
        ask("AddJobFlowSteps", JobFlowId=waiting, Steps=[])
    again = Service(FakeRuntime(), ClusterHistory(folder))
    again.restore()
    assert again.clusters[waiting].timeline == service.clusters[waiting].timeline


def test_reason_of_a_termination_is_kept(
    mocked: Target, runtime: FakeRuntime, waiting: str, emr: Any, folder: Path, until: Await
) -> None:
    emr.terminate_job_flows(JobFlowIds=[waiting])
    until(lambda: state(emr, waiting), "TERMINATED")
    [cluster] = ClusterHistory(folder).load()
    assert (cluster.state, cluster.code) == ("TERMINATED", "USER_REQUEST")
    assert [node.group for node in cluster.nodes if node.primary] == cluster.groups[:1]


def test_resize_without_cluster_id_is_saved(
    mocked: Target,
    runtime: FakeRuntime,
    waiting: str,
    emr: Any,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Without the nodes' thread, which saves the cluster too.
    monkeypatch.setattr(GroupResizer, "_add", lambda *_: None)
    core = emr.list_instance_groups(ClusterId=waiting)["InstanceGroups"][1]["Id"]
    emr.modify_instance_groups(InstanceGroups=[{"InstanceGroupId": core, "InstanceCount": 4}])
    document = msgspec.json.decode((folder / f"{waiting}.json").read_bytes())
    assert {group["id"]: group["count"] for group in document["groups"]}[core] == 4


def test_damaged_and_old_files_are_ignored(
    mocked: Target, runtime: FakeRuntime, waiting: str, folder: Path
) -> None:
    [file] = folder.iterdir()
    assert file.stat().st_mode & 0o077 == 0
    document = msgspec.json.decode(file.read_bytes())
    for name, content in {
        "j-EMPTY": b"",
        "j-LIST": b"[]",
        "j-NESTED": b"[" * 100_000,
        "j-TYPES": msgspec.json.encode(document | {"nodes": 3}),
        "j-NAMES": msgspec.json.encode(document | {"unknown": 3}),
    }.items():
        (folder / f"{name}.json").write_bytes(content)
    old = document | {"id": "j-OLD", "timeline": {"created": 1.0, "ready": 2.0, "ended": 3.0}}
    (folder / "j-OLD.json").write_bytes(msgspec.json.encode(old))
    assert [cluster.id for cluster in ClusterHistory(folder).load()] == [waiting]
    assert not (folder / "j-OLD.json").exists()


def test_full_disk_does_not_stop_the_cluster(
    mocked: Target,
    runtime: FakeRuntime,
    waiting: str,
    emr: Any,
    monkeypatch: pytest.MonkeyPatch,
    until: Await,
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("emrctl.emulator.cluster.history.write_atomically", fail)
    step = add(emr, waiting, "true")
    until(lambda: status(emr, waiting, step)["State"], "COMPLETED")


@pytest.fixture
def many(cluster: EmulatedCluster) -> EmulatedCluster:
    """A cluster with 130 steps that have ended, and one that is running."""
    for number in range(131):
        step = EmulatedStep(name=f"{number}", action_on_failure="CONTINUE", jar={"Args": ["x"]})
        step.state = COMPLETED if number < 130 else RUNNING
        cluster.steps.append(step)
    return cluster


def test_steps_that_have_ended_are_not_written_again(folder: Path, many: EmulatedCluster) -> None:
    history = ClusterHistory(folder)
    history.save(many)
    many.steps[-1].state = COMPLETED
    ended = folder / f"{many.id}.steps.jsonl"
    before = ended.read_bytes()
    history.save(many)
    assert ended.read_bytes() == before
    assert ended.stat().st_mode & 0o077 == 0
    assert len((folder / f"{many.id}.json").read_bytes()) < len(before) / 4
    [loaded] = ClusterHistory(folder).load()
    assert loaded.steps == many.steps


def test_steps_are_kept_if_the_emulator_dies_between_both_files(
    folder: Path, many: EmulatedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = ClusterHistory(folder)
    history.save(many)
    many.steps += [replace(step, id=f"s-{step.id}") for step in many.steps[:-1]]
    many.steps[130].state = COMPLETED
    with monkeypatch.context() as patch:
        patch.setattr("emrctl.emulator.cluster.history.write_atomically", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            history.save(many)
    [loaded] = ClusterHistory(folder).load()
    assert [step.name for step in loaded.steps] == [step.name for step in many.steps[:131]]
    assert loaded.steps[-1].state == "INTERRUPTED"
    # The lines that only the dead emulator has counted are replaced.
    next_history = ClusterHistory(folder)
    [again] = next_history.load()
    again.steps += many.steps[131:]
    next_history.save(again)
    [last] = ClusterHistory(folder).load()
    assert last.steps == again.steps
