"""A project after a restart of the emulator: the bucket is there, everything else is created."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from emrctl.aws.target import Target
from emrctl.cleanup import discovery
from emrctl.clusters.registry import list_clusters
from emrctl.emulator.server import control
from emrctl.errors import NotFoundError
from emrctl.provision import lifecycle, stacks
from emrctl.provision.bucket import find_bucket
from emrctl.provision.stacks import Deployment
from emrctl.spec import ProjectSpec
from tests.emulator import process

CLUSTER = {"kind": "ec2", "worker": {"count": 1, "spot": False}, "ttl_s": 0}


def restarted() -> Target:
    """Kill the emulator if it is running, start the next one and return its target."""
    if control.status() is not None:
        process.kill()
    return process.start()


def deployment(target: Target, root: Path, **changes: Any) -> Deployment:
    document = {"project": "pets", "target": "local", "cluster": CLUSTER, **changes}
    return Deployment(ProjectSpec.model_validate(document), target, root)


@pytest.fixture
def emulator_home(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    monkeypatch.setenv("EMRCTL_HOME", str(tmp_path_factory.mktemp("r")))
    yield
    control.down(lambda _: None, delete=True)


def test_up_after_restart_keeps_the_bucket_and_creates_the_cluster(
    emulator_home: None, tmp_path: Path
) -> None:
    first = deployment(restarted(), tmp_path)
    old = lifecycle.deploy(first)
    first.target.client("s3").put_object(Bucket=old.bucket, Key="data/a", Body=b"kept")

    after = deployment(restarted(), tmp_path)
    states = {state.stack: state.gone for state in stacks.list_stacks(after)}
    assert states == {"pets-storage": False, "pets-main": True}
    assert list(list_clusters(after.spec, after.target)) == []
    with pytest.raises(NotFoundError):
        stacks.outputs(after)
    assert discovery.discover(after.target).resources is not None
    storage, cluster = lifecycle.preview(after)
    assert storage.empty
    assert {change.operation for change in cluster.changes} == {"create"}

    new = lifecycle.deploy(after)
    assert new.bucket == old.bucket
    assert new.id != old.id
    body = after.target.client("s3").get_object(Bucket=new.bucket, Key="data/a")["Body"].read()
    assert body == b"kept"
    lifecycle.down(after)

    last = deployment(restarted(), tmp_path)
    lifecycle.down(last, storage=True)
    with pytest.raises(NotFoundError):
        find_bucket(last.spec, last.target)
    assert stacks.list_stacks(last) == ()


def test_down_of_a_cluster_that_ended_with_the_emulator_succeeds(
    emulator_home: None, tmp_path: Path
) -> None:
    lifecycle.deploy(deployment(restarted(), tmp_path))
    after = deployment(restarted(), tmp_path)
    lifecycle.down(after)
    assert [state.stack for state in stacks.list_stacks(after)] == ["pets-storage"]
    lifecycle.down(after, storage=True)
    assert after.target.client("s3").list_buckets()["Buckets"] == []


def test_project_in_another_folder_takes_over_the_bucket_of_an_earlier_emulator(
    emulator_home: None, tmp_path: Path
) -> None:
    first, other = tmp_path / "first", tmp_path / "other"
    first.mkdir()
    other.mkdir()
    bucket = lifecycle.deploy(deployment(restarted(), first)).bucket
    after = deployment(restarted(), other)
    assert lifecycle.deploy(after).bucket == bucket
    lifecycle.down(after)
    lifecycle.down(after, storage=True)
    with pytest.raises(ClientError, match="404"):
        after.target.client("s3").head_bucket(Bucket=bucket)
