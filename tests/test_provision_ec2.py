"""The verbs of provisioning for clusters of EC2 instances, on moto's AWS in this process."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emrctl import home as places
from emrctl import provision
from emrctl.errors import NotFoundError
from emrctl.provision import Cluster
from emrctl.specs import ProjectSpec
from emrctl.target import Target
from tests.engine.conftest import quick_aws


class Home:
    """A project's folder and the AWS that its verbs work on."""

    def __init__(self, target: Target, root: Path) -> None:
        self.target = target
        self.root = root

    def up(self, **cluster: Any) -> Cluster:
        return provision.up(pets(**cluster), self.target, self.root)

    def changes(self, **cluster: Any) -> dict[str, tuple[str, ...]]:
        _, plan = provision.preview(pets(**cluster), self.target, self.root)
        return {c.name: (c.operation, *c.keys) for c in plan.changes if c.operation != "same"}


def pets(**cluster: Any) -> ProjectSpec:
    return ProjectSpec.model_validate({"project": "pets", "cluster": {"kind": "ec2", **cluster}})


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    from moto.iam.access_control import PermissionResult

    # moto reads no conditions: the policy that wants TLS would deny everything.
    permission = "moto.s3.models.FakeBucket.get_permission"
    monkeypatch.setattr(permission, lambda *_: PermissionResult.NEUTRAL)
    with quick_aws(monkeypatch) as target:
        yield Home(target, tmp_path)


def test_up_makes_instances_that_are_found_again(home: Home) -> None:
    found = home.up()
    assert (found.name, found.stack, found.state) == ("main", "pets-main", "RUNNING")
    assert [node.name for node in found.nodes] == ["primary", "worker-1", "worker-2"]
    assert [node.role for node in found.nodes] == ["primary", "worker", "worker"]
    assert found.id == found.nodes[0].id
    assert found.bucket == "pets-emrctl-123456789012-us-east-1"
    assert found.log_uri == f"s3://{found.bucket}/logs/"
    assert set(found.urls) == {"master", "spark", "history"}
    assert provision.list_clusters(pets(), home.target) == (found,)


def test_the_private_key_is_the_user_s_alone(home: Home) -> None:
    home.up()
    file = places.key_file("pets-main")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_second_up_changes_nothing(home: Home) -> None:
    home.up()
    assert home.changes() == {}


def test_workers_come_and_go_from_the_end(home: Home) -> None:
    first = home.up()
    more = home.up(worker={"count": 4})
    assert [node.id for node in more.nodes[:3]] == [node.id for node in first.nodes]
    fewer = home.up(worker={"count": 1})
    assert [node.id for node in fewer.nodes] == [node.id for node in first.nodes[:2]]
    assert fewer.spec.core_group.count == 1


def test_down_leaves_nothing_but_the_reason(home: Home) -> None:
    found = home.up()
    provision.down(pets(), home.target, home.root)
    assert provision.list_clusters(pets(), home.target) == ()
    ended = provision.show(pets(), home.target)
    assert (ended.id, ended.state, ended.hourly_usd) == (found.id, "TERMINATED", 0.0)
    assert "User initiated" in ended.reason
    with pytest.raises(NotFoundError):
        provision.find_cluster(pets(), home.target)
