"""The embedded engine's state file, lock, and handling of stopped emulators."""

from __future__ import annotations

import dataclasses
import errno
import itertools
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from emrctl.aws.target import Target
from emrctl.emulator.api import dispatch
from emrctl.engine.checkpoint import Checkpoint, StateFileError, StateFolder
from emrctl.engine.embedded.engine import EmbeddedEngine
from emrctl.engine.localhost import network
from emrctl.errors import CredentialsError, ProvisioningError, StackLockedError
from tests.emulator.fake_runtime import FakeRuntime
from tests.engine.conftest import STACK, Work, made, program
from tests.runs.backends.rejected_calls import LOST, refusing


@pytest.fixture
def work(aws: Target, tmp_path: Path) -> Work:
    folder = tmp_path / "stacks"
    return Work(engine=EmbeddedEngine(aws, folder), target=aws, folder=folder)


def _document(work: Work) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((work.folder / f"{STACK}.json").read_text())
    return found


def _cut_off(work: Work, name: str) -> None:
    """Set the state of a process killed between the request and AWS's response."""
    document = _document(work)
    for entry in document["entries"].values():
        if entry["name"] == name:
            entry.update(id=None, status="creating", outputs={})
    (work.folder / f"{STACK}.json").write_text(json.dumps(document))


def test_state_file_is_readable_by_user_only(work: Work) -> None:
    work.up()
    path = work.folder / f"{STACK}.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(work.folder.stat().st_mode) == 0o700
    assert sorted(item.name for item in work.folder.iterdir()) == [
        f"{STACK}.json",
        f"{STACK}.lock",
    ]


def test_state_file_contains_no_credentials(work: Work) -> None:
    work.up()
    text = (work.folder / f"{STACK}.json").read_text().lower()
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in text
    assert "secret" not in text


CUT_OFF = (
    *("vpc", "subnet", "gateway", "routes", "default-route", "subnet-routes", "s3", "core"),
    *("core-from-primary", "core-out", "node-role", "node-data", "service-policy"),
    *("instance-profile", "security", "cluster"),
)


def test_up_interrupted_creation_finds_resource(work: Work) -> None:
    outputs = work.up().outputs
    before = {e["name"]: e["id"] for e in _document(work)["entries"].values()}
    for name in CUT_OFF:
        _cut_off(work, name)
        assert made(work.up()) == {name: "create"}
    assert {e["name"]: e["id"] for e in _document(work)["entries"].values()} == before
    assert work.clusters() == [outputs["cluster_id"]]


@pytest.mark.parametrize(
    ("service", "operation"),
    [("ec2", "CreateVpc"), ("iam", "CreateRole"), ("emr", "RunJobFlow")],
)
def test_up_with_lost_response_creates_resource_once(
    work: Work, service: str, operation: str
) -> None:
    with refusing(lambda name: LOST if name == operation else None, service) as wire:
        outputs = work.up().outputs
    assert wire.refused[operation] == (2 if service == "iam" else 1)
    assert work.clusters() == [outputs["cluster_id"]]
    filters = [{"Name": "isDefault", "Values": ["false"]}]
    assert len(work.target.client("ec2").describe_vpcs(Filters=filters)["Vpcs"]) == 1


def test_up_continues_after_credentials_expired_within_a_creation(work: Work) -> None:
    calls = itertools.count()
    revoke = network._revoke

    def expires_once(aws: Any, id_: str) -> None:
        if next(calls) == 0:
            raise CredentialsError("the credentials have expired")
        revoke(aws, id_)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "_revoke", expires_once)
        with pytest.raises(CredentialsError):
            work.up()
    outputs = work.up().outputs
    assert work.clusters() == [outputs["cluster_id"]]
    groups = work.target.client("ec2").describe_security_groups()["SecurityGroups"]
    names = [group["GroupName"] for group in groups if group["GroupName"] != "default"]
    assert sorted(names) == sorted(set(names))
    work.down()


def test_down_killed_after_each_deletion_continues(work: Work) -> None:
    work.up()
    path = work.folder / f"{STACK}.json"
    work_files = [path.read_text()]
    save = StateFolder.save

    def keep(files: StateFolder, state: Checkpoint) -> None:
        save(files, state)
        work_files.append(path.read_text())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StateFolder, "save", keep)
        work.down()
    for text in work_files:  # everything that it names has been deleted
        path.write_text(text)
        work.down()
        assert not path.exists()


def test_down_interrupted_creation_deletes_resource(work: Work) -> None:
    work.up()
    _cut_off(work, "cluster")
    _cut_off(work, "vpc")
    work.down()
    assert work.clusters() == []
    filters = [{"Name": "isDefault", "Values": ["false"]}]
    assert work.target.client("ec2").describe_vpcs(Filters=filters)["Vpcs"] == []


def _fill_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, *_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("emrctl.engine.checkpoint.write_atomically", fail)


def test_down_on_full_disk_deletes_all_resources(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    work.up()
    _fill_disk(monkeypatch)
    deleted = made(work.down())
    assert deleted["cluster"] == "delete"
    assert work.clusters() == []
    assert work.engine.state(STACK) is None


def test_up_on_full_disk_creates_nothing(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    _fill_disk(monkeypatch)
    with pytest.raises(StateFileError, match=rf"{STACK}\.json: No space left on device"):
        work.up()
    filters = [{"Name": "isDefault", "Values": ["false"]}]
    assert work.target.client("ec2").describe_vpcs(Filters=filters)["Vpcs"] == []
    assert work.clusters() == []


def test_up_interrupted_update_sets_all_inputs_again(work: Work) -> None:
    id_ = work.up(core={"count": 2}).outputs["cluster_id"]
    document = _document(work)
    for entry in document["entries"].values():
        if entry["name"] == "cluster":
            entry["status"] = "updating"
    (work.folder / f"{STACK}.json").write_text(json.dumps(document))
    work.target.client("emr").modify_instance_groups(
        InstanceGroups=[{"InstanceGroupId": _core(work, id_)["Id"], "InstanceCount": 9}]
    )
    with pytest.MonkeyPatch.context() as patch:
        # moto does not support auto-termination policies.
        patch.setattr("emrctl.engine.localhost.emr._put_auto_termination", lambda *_: None)
        assert made(work.up(core={"count": 2})) == {"cluster": "update"}
    assert _core(work, id_)["RequestedInstanceCount"] == 2


def _core(work: Work, id_: str) -> Any:
    groups = work.target.client("emr").list_instance_groups(ClusterId=id_)["InstanceGroups"]
    return next(group for group in groups if group["InstanceGroupType"] == "CORE")


def test_stacks_of_stopped_emulator_are_gone(work: Work, aws: Target) -> None:
    work.up()
    later = EmbeddedEngine(dataclasses.replace(aws, identity="another"), work.folder)
    (state,) = later.stacks()
    assert state.gone
    assert set(made(later.preview(STACK, program())).values()) == {"create"}
    assert later.down(STACK, work.events.append).changes == ()
    assert later.state(STACK) is None


def test_up_on_another_emulator_creates_new_stack_and_reports_it(work: Work, aws: Target) -> None:
    work.up()
    work.events.clear()
    _remove_everything()
    later = EmbeddedEngine(dataclasses.replace(aws, identity="another"), work.folder)
    later.up(STACK, program(), work.events.append)
    assert "emulator was stopped" in work.events[0].message
    state = later.state(STACK)
    assert state is not None
    assert not state.gone


def _remove_everything() -> None:
    from moto.backends import get_backend

    for service in ("emr", "iam", "ec2"):
        get_backend(service).reset()


def test_up_with_other_engine_raises(work: Work) -> None:
    work.up()
    document = _document(work) | {"engine": "pulumi"}
    (work.folder / f"{STACK}.json").write_text(json.dumps(document))
    with pytest.raises(ProvisioningError, match="created by the engine 'pulumi'") as caught:
        work.up()
    assert "--engine pulumi" in caught.value.hint


@pytest.mark.parametrize("text", ["", "{", '{"version": 1}'])
def test_up_invalid_state_file_raises_with_path(work: Work, text: str) -> None:
    work.up()
    (work.folder / f"{STACK}.json").write_text(text)
    with pytest.raises(ProvisioningError, match="is not a state file") as caught:
        work.up()
    assert str(work.folder) in caught.value.hint


def test_up_state_file_of_other_version_raises_and_keeps_file(work: Work) -> None:
    work.up()
    path = work.folder / f"{STACK}.json"
    path.write_text(json.dumps(_document(work) | {"version": 99}))
    with pytest.raises(ProvisioningError, match="has version 99"):
        work.up()
    assert json.loads(path.read_text())["version"] == 99


def test_lock_of_killed_process_is_released(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; "
        "from emrctl.engine.checkpoint import StateFileError, StateFolder\n"
        "with StateFolder(Path(sys.argv[1])).locked('s'):\n"
        "    print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StackLockedError, match=f"process {holder.pid}"):
            StateFolder(tmp_path).locked("s").__enter__()
        holder.kill()
    with StateFolder(tmp_path).locked("s"):
        pass


def test_folder_not_creatable_raises_with_hint(aws: Target, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    engine = EmbeddedEngine(aws, tmp_path / "file" / "stacks")
    with pytest.raises(ProvisioningError, match="cannot create") as caught:
        engine.up(STACK, program(), lambda _event: None)
    assert "writable" in caught.value.hint


def test_preview_unsupported_input_raises_with_name(work: Work) -> None:
    from stacks.sdk import emr

    def image() -> None:
        emr.Cluster("cluster", release_label="emr-7.5.0", service_role="r", custom_ami_id="ami-1")

    with pytest.raises(ProvisioningError, match=r"emr\.Cluster 'cluster': customAmiId"):
        work.engine.preview(STACK, image)


def test_up_unsupported_type_raises_with_name(work: Work) -> None:
    from stacks.sdk import s3

    with pytest.raises(ProvisioningError, match=r"s3\.BucketAcl is not supported on localhost"):
        work.engine.up(STACK, lambda: _ignore(s3.BucketAcl("a", bucket="b")), print)


def _ignore(_made: object) -> None:
    """Discard a declared resource."""


def test_up_program_exception_is_raised_unchanged(work: Work) -> None:
    def broken() -> None:
        msg = "mine"
        raise ZeroDivisionError(msg)

    with pytest.raises(ZeroDivisionError, match="mine"):
        work.engine.up(STACK, broken, work.events.append)


def test_preview_of_unchanged_stack_is_empty(work: Work) -> None:
    work.up()
    assert work.preview().empty


def test_managed_scaling_is_created_replaced_and_removed(work: Work) -> None:
    with dispatch.install(FakeRuntime()):
        id_ = work.up(scaling={"maximum": 4, "max_on_demand": 3}).outputs["cluster_id"]
        emr = work.target.client("emr")

        def limits() -> Any:
            policy = emr.get_managed_scaling_policy(ClusterId=id_).get("ManagedScalingPolicy", {})
            return policy.get("ComputeLimits")

        created = {
            "UnitType": "Instances",
            "MinimumCapacityUnits": 1,
            "MaximumCapacityUnits": 4,
            "MaximumOnDemandCapacityUnits": 3,
        }
        assert limits() == created
        assert made(work.up(scaling={"maximum": 5}))["scaling"] == "replace"
        assert limits()["MaximumCapacityUnits"] == 5
        # The size is the policy's: `up` does not resize the core group.
        before = _core(work, id_)["RequestedInstanceCount"]
        work.up(scaling={"maximum": 5}, core={"count": before + 1})
        assert _core(work, id_)["RequestedInstanceCount"] == before
        assert made(work.up(core={"count": before + 1}))["scaling"] == "delete"
        assert limits() is None
