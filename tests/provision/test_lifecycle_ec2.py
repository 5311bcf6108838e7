"""Image and key pair of EC2 clusters over several deployments, on moto."""

from __future__ import annotations

import stat

import pytest

from emrctl import paths as places
from emrctl.clusters import program_inputs
from emrctl.errors import NotFoundError
from emrctl.provision import lifecycle
from tests.clusters.homes import Home


def test_deploy_creates_private_key_file_for_owner_only(home: Home) -> None:
    home.up()
    file = places.key_file("pets-main")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_deploy_keeps_image_of_existing_cluster(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.up()
    kept = _images(home)
    monkeypatch.setattr(
        "emrctl.clusters.program_inputs._image_of_parameter", lambda *_: "ami-0123456789abcdef0"
    )
    assert home.changes(worker={"count": 3}) == {"worker-3": ("create",)}
    home.up(worker={"count": 3})
    assert _images(home) == kept
    lifecycle.down(home.deployment())
    home.up()
    assert _images(home) == {"ami-0123456789abcdef0"}


def test_deploy_keeps_image_per_architecture(home: Home) -> None:
    mixed = {"primary": {"type": "m6g.xlarge"}}
    home.up(**mixed)
    assert len(_images(home)) == 2
    assert home.changes(**mixed) == {}


def test_preview_with_other_image_replaces_instances(home: Home) -> None:
    home.up()
    changes = home.changes(ami="ami-0123456789abcdef0")
    assert changes["primary"] == ("replace", "ami")
    home.up(ami="ami-0123456789abcdef0")
    assert _images(home) == {"ami-0123456789abcdef0"}


def _images(home: Home) -> set[str]:
    filters = [{"Name": "instance-state-name", "Values": ["running"]}]
    answer = home.target.client("ec2").describe_instances(Filters=filters)
    return {item["ImageId"] for group in answer["Reservations"] for item in group["Instances"]}


def test_deploy_without_private_key_raises_not_found(home: Home) -> None:
    home.up()
    places.key_file("pets-main").unlink()
    with pytest.raises(NotFoundError, match="private key of the running cluster") as caught:
        home.up(worker={"count": 3})
    assert "Copy it" in caught.value.hint
    lifecycle.down(home.deployment())
    assert home.up().state == "RUNNING"


def test_deploy_without_key_pair_and_private_key_raises_not_found(home: Home) -> None:
    home.up()
    home.target.client("ec2").delete_key_pair(KeyName="pets-main")
    home.up(worker={"count": 3})
    places.key_file("pets-main").unlink()
    with pytest.raises(NotFoundError, match="private key of the running cluster"):
        home.changes()


def test_deploy_with_other_private_key_raises_not_found(home: Home) -> None:
    home.up()
    other = places.key_file("pets-main")
    other.unlink()
    program_inputs._create_key(other)
    with pytest.raises(NotFoundError, match="private key of the running cluster"):
        home.changes()


def test_deploy_replaces_users_key_pair_with_own(home: Home) -> None:
    home.target.client("ec2").create_key_pair(KeyName="mine")
    home.up(key_pair="mine")
    changes = home.changes()
    assert (changes["key"], changes["primary"]) == (("create",), ("replace", "keyName"))
    assert home.up().state == "RUNNING"


def test_preview_creates_no_key(home: Home) -> None:
    assert home.changes()["key"] == ("create",)
    assert not places.key_file("pets-main").exists()


def test_deploy_uses_existing_key_pair(home: Home) -> None:
    home.target.client("ec2").create_key_pair(KeyName="mine")
    found = home.up(key_pair="mine")
    assert not places.key_file("pets-main").exists()
    answer = home.target.client("ec2").describe_instances(InstanceIds=[found.id])
    assert answer["Reservations"][0]["Instances"][0]["KeyName"] == "mine"
