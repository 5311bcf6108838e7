"""EC2 clusters on every engine: create, resize, replace, delete."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from emrctl.aws.target import Target
from emrctl.engine.base import Preview, StackResult
from emrctl.engine.localhost.provider import RESOURCE_TYPES
from emrctl.errors import ProvisioningError
from emrctl.spec import ProjectSpec
from tests.engine.conftest import SETTINGS, STACK, Work, made, pulumi_engine

IMAGES = {"image_primary": "ami-0a", "image_worker": "ami-0a"}
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILa/KHdyZlsDj3JVVNiY9a7bT6HjDULv6DJCZu1uIJeF"


def _program(settings: dict[str, str], cluster: dict[str, Any]) -> Any:
    from stacks import program as declared

    document = {"project": "pets", "cluster": {"kind": "ec2", **cluster}}
    spec = ProjectSpec.model_validate(document)
    found = {**SETTINGS, **IMAGES, "public_key": KEY, "ssh_from": "127.0.0.1/32", **settings}
    return lambda: declared.declare_cluster(spec, found, "pets", {})


def _up(work: Work, settings: dict[str, str] | None = None, **cluster: Any) -> StackResult:
    return work.engine.up(STACK, _program(settings or {}, cluster), work.events.append)


def _preview(work: Work, settings: dict[str, str] | None = None, **cluster: Any) -> Preview:
    return work.engine.preview(STACK, _program(settings or {}, cluster))


def _instances(work: Work) -> list[dict[str, Any]]:
    filters = [{"Name": "instance-state-name", "Values": ["pending", "running", "stopped"]}]
    answer = work.target.client("ec2").describe_instances(Filters=filters)
    return [item for group in answer["Reservations"] for item in group["Instances"]]


def _running(work: Work) -> dict[str, str]:
    """Return the ids of the instances by node name."""
    found = {}
    for item in _instances(work):
        tags = {tag["Key"]: tag["Value"] for tag in item["Tags"]}
        found[tags["emrctl:node"]] = str(item["InstanceId"])
    return found


def test_up_worker_count_changed_creates_and_terminates_workers(work: Work) -> None:
    first = _up(work)
    nodes = _running(work)
    assert set(nodes) == {"primary", "worker-1", "worker-2"}
    assert first.outputs["cluster_id"] == nodes["primary"]
    assert first.outputs["worker_ids"] == [nodes["worker-1"], nodes["worker-2"]]
    assert _preview(work).empty
    assert made(_up(work, worker={"count": 3})) == {"worker-3": "create"}
    assert made(_up(work, worker={"count": 1})) == {"worker-2": "delete", "worker-3": "delete"}
    assert _running(work) == {name: nodes[name] for name in ("primary", "worker-1")}
    work.down()
    assert _running(work) == {}
    assert work.target.client("ec2").describe_key_pairs()["KeyPairs"] == []


def test_up_instance_type_changed_replaces_workers(work: Work) -> None:
    _up(work)
    before = _running(work)
    assert made(_preview(work, worker={"type": "r5.xlarge"})) == {
        "worker-1": "replace",
        "worker-2": "replace",
    }
    _up(work, worker={"type": "r5.xlarge"})
    after = _running(work)
    assert after["primary"] == before["primary"]
    assert not {after["worker-1"], after["worker-2"]} & set(before.values())


def test_up_tags_changed_updates_instances_and_volumes(work: Work) -> None:
    _up(work)
    before = _running(work)
    assert set(made(_up(work, tags={"team": "a"})).values()) == {"update"}
    assert _running(work) == before
    ec2 = work.target.client("ec2")
    wanted = [{"Name": "tag:team", "Values": ["a"]}]
    assert len(ec2.describe_volumes(Filters=wanted)["Volumes"]) == 3
    assert len(ec2.describe_key_pairs(Filters=wanted)["KeyPairs"]) == 1


def test_up_ssh_range_changed_replaces_rule(work: Work) -> None:
    _up(work)
    before = _running(work)
    assert made(_up(work, {"ssh_from": "127.0.0.9/32"})) == {"nodes-ssh": "replace"}
    assert _running(work) == before
    rules = work.target.client("ec2").describe_security_group_rules()["SecurityGroupRules"]
    assert [rule["CidrIpv4"] for rule in rules if rule.get("FromPort") == 22] == ["127.0.0.9/32"]


def test_up_terminated_instance_creates_new_one(work: Work) -> None:
    _up(work)
    before = _running(work)
    work.target.client("ec2").terminate_instances(InstanceIds=[before["worker-1"]])
    [change] = [c for c in _preview(work).changes if c.operation != "same"]
    assert (change.operation, change.name, change.keys) == ("create", "worker-1", ("state",))
    assert made(_up(work)) == {"worker-1": "create"}
    after = _running(work)
    assert (after["primary"], after["worker-2"]) == (before["primary"], before["worker-2"])


@pytest.mark.parametrize("kind", ["aws:ec2/instance:Instance", "aws:ec2/keyPair:KeyPair"])
def test_up_interrupted_creation_creates_no_duplicates(
    work: Work, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """EC2 executes the request, but the response is lost."""
    resource_type = type(RESOURCE_TYPES[kind])
    once, create = [True], resource_type.create

    def cut_off(self: Any, aws: Any, inputs: Any) -> str:
        found = create(self, aws, inputs)
        if once and once.pop():
            raise ProvisioningError("no answer")
        return found

    monkeypatch.setattr(resource_type, "create", cut_off)
    with contextlib.suppress(ProvisioningError):  # the gRPC provider retries by itself
        _up(work)
    _up(work)
    assert set(_running(work)) == {"primary", "worker-1", "worker-2"}
    assert len(_instances(work)) == 3
    assert len(work.target.client("ec2").describe_key_pairs()["KeyPairs"]) == 1


@pytest.mark.engine
def test_drift_stopped_instances_is_empty(aws: Target, real_engine: Path, tmp_path: Path) -> None:
    engine = pulumi_engine(aws, tmp_path / "stacks")
    work = Work(engine=engine, target=aws, folder=tmp_path / "stacks")
    _up(work, worker={"spot": False})
    assert engine.drift(STACK).empty
    ids = list(_running(work).values())
    aws.client("ec2").stop_instances(InstanceIds=ids)
    assert engine.drift(STACK).empty
    aws.client("ec2").create_tags(Resources=ids[:1], Tags=[{"Key": "team", "Value": "b"}])
    assert len(engine.drift(STACK).changes) == 1
    engine.refresh(STACK, work.events.append)
    assert set(made(_up(work, worker={"spot": False})).values()) == {"update"}
    assert list(_running(work).values()) == ids
