"""Features of Pulumi's engine: drift, history, export, and recovery after a kill."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import stat
from pathlib import Path
from typing import Any

import psutil
import pytest

from emrctl import paths
from emrctl.aws.target import Target
from emrctl.engine.embedded.engine import EmbeddedEngine
from emrctl.engine.pulumi.output import EventListener
from emrctl.engine.pulumi.session import Session
from emrctl.engine.pulumi.state_backend import local_backend
from emrctl.errors import NotFoundError, ProvisioningError, StackLockedError
from tests.engine.conftest import (
    STACK,
    Work,
    made,
    model,
    program,
    pulumi_engine,
    quick_aws,
    when_starting,
)

pytestmark = pytest.mark.engine


@pytest.fixture
def work(aws: Target, tmp_path: Path, real_engine: Path) -> Work:
    folder = tmp_path / "stacks"
    return Work(engine=pulumi_engine(aws, folder), target=aws, folder=folder)


def _resize(work: Work, id_: str, count: int) -> None:
    emr = work.target.client("emr")
    groups = emr.list_instance_groups(ClusterId=id_)["InstanceGroups"]
    core = next(group["Id"] for group in groups if group["InstanceGroupType"] == "CORE")
    emr.modify_instance_groups(InstanceGroups=[{"InstanceGroupId": core, "InstanceCount": count}])


def _core_count(work: Work, id_: str) -> int:
    groups = work.target.client("emr").list_instance_groups(ClusterId=id_)["InstanceGroups"]
    found = {group["InstanceGroupType"]: group["RequestedInstanceCount"] for group in groups}
    return int(found["CORE"])


def test_drift_is_detected_refreshed_and_corrected(work: Work) -> None:
    id_ = work.up(core={"count": 2}).outputs["cluster_id"]
    assert work.engine.drift(STACK).changes == ()
    _resize(work, id_, 7)
    work.target.client("iam").delete_role_policy(RoleName="pets-main-nodes", PolicyName="bucket")
    seen = {c.name: (c.operation, c.keys) for c in work.engine.drift(STACK).changes}
    assert seen["node-data"] == ("delete", ())
    assert seen["cluster"][0] == "update"
    assert "coreInstanceGroup.instanceCount" in seen["cluster"][1]
    assert work.preview(core={"count": 2}).empty  # the state is not refreshed yet
    taken = work.engine.refresh(STACK, work.events.append)
    assert set(made(taken)) == {"cluster", "node-data"}
    assert work.engine.drift(STACK).changes == ()
    changes = made(work.up(core={"count": 2}))
    assert changes == {"cluster": "update", "node-data": "create"}
    assert _core_count(work, id_) == 2


def test_history_returns_updates_latest_first(work: Work) -> None:
    work.up()
    work.up(step_concurrency=2)
    last, first = work.engine.history(STACK)
    assert (last.kind, last.result) == ("update", "succeeded")
    assert last.changes["update"] == 1
    assert first.changes["create"] > 20
    assert first.started <= last.started  # in whole seconds


def test_export_can_be_restored_and_contains_no_credentials(work: Work, tmp_path: Path) -> None:
    outputs = work.up().outputs
    document = work.engine.export(STACK)
    text = json.dumps(document).lower()
    assert outputs["cluster_id"].lower() in text
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in text
    elsewhere = Session(work.target, local_backend(tmp_path / "elsewhere"), STACK)
    elsewhere.create()
    elsewhere.restore(document["deployment"])
    assert elsewhere.snapshot().outputs == dict(outputs)


@pytest.mark.parametrize("verb", ["drift", "history", "export"])
def test_operation_on_missing_stack_raises_not_found(work: Work, verb: str) -> None:
    with pytest.raises(NotFoundError, match="there is no stack pets-main") as caught:
        getattr(work.engine, verb)(STACK)
    assert "emrctl up" in caught.value.hint


def test_state_and_passphrase_are_private(work: Work) -> None:
    work.up()
    assert stat.S_IMODE((paths.home() / "passphrase").stat().st_mode) == 0o600
    assert stat.S_IMODE((work.folder / "pulumi").stat().st_mode) == 0o700


def _killed(_id: str) -> None:
    for child in psutil.Process().children():
        if child.name() == "pulumi":
            child.send_signal(signal.SIGKILL)


@pytest.mark.usefixtures("never_ready")
def test_up_after_killed_engine_finds_created_cluster(
    work: Work,
) -> None:
    killer = when_starting(work, _killed)
    with pytest.raises(ProvisioningError, match="signal 9"):
        work.up()
    killer.join()
    (id_,) = work.clusters("STARTING")
    locks = list((work.folder / "pulumi").glob(".pulumi/locks/**/*.json"))
    assert len(locks) == 1  # of the killed process
    model(id_).state = "WAITING"
    assert work.up().outputs["cluster_id"] == id_
    assert work.clusters() == [id_]
    assert not any(locks[0].parent.glob("*.json"))
    assert work.preview().empty


@pytest.mark.usefixtures("never_ready")
def test_down_after_killed_engine_deletes_all(work: Work) -> None:
    killer = when_starting(work, _killed)
    with pytest.raises(ProvisioningError):
        work.up()
    killer.join()
    (id_,) = work.clusters("STARTING")
    model(id_).state = "WAITING"
    work.down()
    assert work.clusters() == []
    ours = [{"Name": "tag:emrctl:stack", "Values": [STACK]}]
    assert work.target.client("ec2").describe_vpcs(Filters=ours)["Vpcs"] == []


def test_up_stack_locked_by_other_host_raises_with_holder(work: Work) -> None:
    work.up()
    place = work.folder / "pulumi" / ".pulumi" / "locks" / "organization" / "emrctl" / STACK
    place.mkdir(parents=True, exist_ok=True)
    lock = {
        "pid": 4711,
        "username": "ada",
        "hostname": "another-laptop",
        "timestamp": "2026-11-20T10:00:00Z",
    }
    (place / "0a1b2c3d.json").write_text(json.dumps(lock))
    with pytest.raises(StackLockedError, match=r"process 4711 of ada on another-laptop") as caught:
        work.up(step_concurrency=2)
    assert "Wait" in caught.value.hint


def test_up_reports_start_and_end_of_each_resource(work: Work) -> None:
    work.up()
    assert {event.operation for event in work.events} == {"create"}
    done = [event for event in work.events if event.status == "done"]
    assert len({event.name for event in done}) == len(done) > 20
    assert all(event.seconds is not None for event in done)
    assert {event.name for event in work.events if event.status == "started"} == {
        event.name for event in done
    }


def test_up_failed_resource_is_reported(work: Work) -> None:
    iam = work.target.client("iam")
    iam.create_role(RoleName="pets-main-service", AssumeRolePolicyDocument="{}")
    with pytest.raises(ProvisioningError):
        work.up()
    (failed,) = [event for event in work.events if event.status == "failed"]
    assert failed.name == "service-role"
    assert "already exists" in failed.message


def test_up_on_another_emulator_creates_new_stack_and_reports_it(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    work.up()
    later = dataclasses.replace(work.target, identity="later")
    engine = pulumi_engine(later, work.folder)
    state = engine.state(STACK)
    assert state is not None
    assert state.gone
    assert set(made(engine.preview(STACK, program())).values()) == {"create"}
    from moto.backends import get_backend

    for service in ("emr", "iam", "ec2"):
        get_backend(service).reset()
    work.events.clear()
    engine.up(STACK, program(), work.events.append)
    assert "emulator was stopped" in work.events[0].message
    assert engine.down(STACK, work.events.append).changes


def test_up_with_other_engine_raises(work: Work) -> None:
    work.up()
    other = EmbeddedEngine(work.target, work.folder)
    with pytest.raises(ProvisioningError, match="created by the engine 'pulumi'") as caught:
        other.up(STACK, program(), work.events.append)
    assert "--engine pulumi" in caught.value.hint
    work.down()
    other.up(STACK, program(), work.events.append)
    with pytest.raises(ProvisioningError, match="created by the engine 'embedded'"):
        work.up()


def test_both_engines_create_equal_resources_and_outputs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, real_engine: Path
) -> None:
    found = []
    for name in ("embedded", "pulumi"):
        with quick_aws(monkeypatch) as target:
            folder = tmp_path / name
            engine: Any = EmbeddedEngine(target, folder)
            if name == "pulumi":
                engine = pulumi_engine(target, folder)
            outcome = engine.up(STACK, program(tags={"team": "a"}), lambda _event: None)
            outcome = engine.up(STACK, program(core={"count": 3}), lambda _event: None)
            found.append((_shape(dict(outcome.outputs)), _on_aws(target)))
    assert found[0] == found[1]


def _shape(value: Any) -> Any:
    """Return the value with generated ids and addresses replaced."""
    if isinstance(value, dict):
        return {key: _shape(item) for key, item in value.items()}
    text = str(value)
    made_up = text.partition("-")[0] in {"vpc", "subnet", "j", "sg", "ec2", "rtb"}
    return "made up" if made_up or ":cluster/" in text else value


def _on_aws(target: Target) -> dict[str, Any]:
    ec2, iam, emr = (target.client(name) for name in ("ec2", "iam", "emr"))
    groups = ec2.describe_security_groups()["SecurityGroups"]
    names = {group["GroupId"]: group["GroupName"] for group in groups}
    rules = [
        (
            names[rule["GroupId"]],
            rule["IsEgress"],
            rule.get("CidrIpv4"),
            names.get(rule.get("ReferencedGroupInfo", {}).get("GroupId", "")),
        )
        for rule in ec2.describe_security_group_rules()["SecurityGroupRules"]
    ]
    roles = iam.list_roles()["Roles"]
    ours = [{"Name": "tag:emrctl:stack", "Values": [STACK]}]
    (cluster,) = emr.list_clusters()["Clusters"]
    described = emr.describe_cluster(ClusterId=cluster["Id"])["Cluster"]
    return {
        "rules": sorted(map(str, rules)),
        "roles": sorted(
            (role["RoleName"], str(role["AssumeRolePolicyDocument"])) for role in roles
        ),
        "policies": sorted(
            (role["RoleName"], *iam.list_role_policies(RoleName=role["RoleName"])["PolicyNames"])
            for role in roles
        ),
        "vpcs": [vpc["CidrBlock"] for vpc in ec2.describe_vpcs(Filters=ours)["Vpcs"]],
        "tags": sorted(
            (tag["Key"], tag["Value"]) for tag in ec2.describe_vpcs(Filters=ours)["Vpcs"][0]["Tags"]
        ),
        "subnets": [s["CidrBlock"] for s in ec2.describe_subnets(Filters=ours)["Subnets"]],
        "cluster": (described["Name"], described["Status"]["State"], described["ReleaseLabel"]),
        "cluster tags": sorted((tag["Key"], tag["Value"]) for tag in described["Tags"]),
        "groups": sorted(
            (group["InstanceGroupType"], group["RequestedInstanceCount"], group["InstanceType"])
            for group in emr.list_instance_groups(ClusterId=cluster["Id"])["InstanceGroups"]
        ),
    }


def test_listener_ignores_internal_resources(work: Work) -> None:
    session = Session(work.target, local_backend(work.folder / "other"), STACK)
    session.create()
    heard = EventListener(work.events.append)
    session.operate("preview", heard, program())
    assert not any(change.type.startswith("pulumi:") for change in heard.planned)
