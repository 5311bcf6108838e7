"""Images, keys and SSH range of EC2 clusters."""

from __future__ import annotations

import io
import stat
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from emrctl import paths
from emrctl.aws.target import Target
from emrctl.clusters import program_inputs
from emrctl.clusters.registry import kind_of
from emrctl.errors import NotFoundError, ProvisioningError
from emrctl.spec import ProjectSpec
from tests.engine.conftest import quick_aws

AWS = Target(kind="aws", region="us-east-1")


def _project(**cluster: Any) -> ProjectSpec:
    return ProjectSpec.model_validate({"project": "pets", "cluster": {"kind": "ec2", **cluster}})


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Target]:
    with quick_aws(monkeypatch) as target:
        yield target


def _answering(monkeypatch: pytest.MonkeyPatch, answer: bytes | Exception) -> None:
    def opened(*_: Any, **__: Any) -> io.BytesIO:
        if isinstance(answer, Exception):
            raise answer
        return io.BytesIO(answer)

    monkeypatch.setattr("urllib.request.urlopen", opened)


def test_program_settings_of_emr_are_empty(aws: Target) -> None:
    project = ProjectSpec(project="pets")
    assert kind_of(project.cluster).program_settings(project, aws, True) == {}


def test_program_settings_have_image_per_architecture(aws: Target) -> None:
    found = program_inputs.program_settings(_project(primary={"type": "m6g.xlarge"}), aws, True)
    assert found["image_primary"].startswith("ami-")
    assert found["image_worker"].startswith("ami-")
    assert found["image_primary"] != found["image_worker"]


def test_settings_of_ec2_cluster_have_images_key_and_ssh_range(aws: Target) -> None:
    keys = {"image_primary", "image_worker", "public_key", "ssh_from"}
    assert set(program_inputs.program_settings(_project(), aws, True)) == keys


def test_find_images_with_image_id_makes_no_call() -> None:
    found = program_inputs.find_images(_project(ami="ami-0a").ec2, AWS)
    assert found == {"image_primary": "ami-0a", "image_worker": "ami-0a"}


def test_program_settings_missing_parameter_raises_not_found(aws: Target) -> None:
    with pytest.raises(NotFoundError, match="no parameter /mine/image in us-east-1") as caught:
        program_inputs.program_settings(_project(ami="/mine/image"), aws, True)
    assert "cluster.ami" in caught.value.hint


def test_program_settings_parameter_without_image_is_rejected(aws: Target) -> None:
    aws.client("ssm").put_parameter(Name="/mine/image", Value="linux", Type="String")
    with pytest.raises(ProvisioningError, match="/mine/image does not contain an image id: linux"):
        program_inputs.program_settings(_project(ami="/mine/image"), aws, True)


def test_program_settings_use_parameter_per_architecture(aws: Target) -> None:
    aws.client("ssm").put_parameter(Name="/mine/x86_64", Value="ami-0b", Type="String")
    found = program_inputs.program_settings(_project(ami="/mine/{arch}"), aws, True)
    assert found["image_primary"] == "ami-0b"


def test_program_settings_create_key_once(aws: Target) -> None:
    first = program_inputs.program_settings(_project(), aws, True)["public_key"]
    assert first.startswith("ssh-ed25519 ")
    assert program_inputs.program_settings(_project(), aws, True)["public_key"] == first
    file = paths.key_file("pets-main")
    assert file.read_text().startswith("-----BEGIN OPENSSH PRIVATE KEY-----")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["pets-main.pem"]


def test_create_key_concurrently_creates_one_key(aws: Target) -> None:
    found: list[str] = []

    def make() -> None:
        found.append(program_inputs._create_key(paths.key_file("pets-main")))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1


def test_program_settings_invalid_key_file_is_kept(aws: Target) -> None:
    file = paths.key_file("pets-main")
    file.parent.mkdir(parents=True)
    file.write_text("nonsense")
    with pytest.raises(ProvisioningError, match="is not a private key") as caught:
        program_inputs.program_settings(_project(), aws, True)
    assert "delete the file" in caught.value.hint
    assert file.read_text() == "nonsense"


def test_ssh_range_is_public_address_of_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    _answering(monkeypatch, b"198.51.100.7\n")
    assert program_inputs.ssh_range(_project().ec2, AWS) == "198.51.100.7/32"


@pytest.mark.parametrize("answer", [b"<html>sign in</html>", b"", OSError("no route")])
def test_ssh_range_unknown_address_raises(
    monkeypatch: pytest.MonkeyPatch, answer: bytes | Exception
) -> None:
    _answering(monkeypatch, answer)
    with pytest.raises(ProvisioningError, match="could not read this machine's") as caught:
        program_inputs.ssh_range(_project().ec2, AWS)
    assert "cluster.ssh" in caught.value.hint


def test_ssh_range_of_spec_is_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    _answering(monkeypatch, OSError("no request"))
    assert program_inputs.ssh_range(_project(ssh="10.0.0.0/8").ec2, AWS) == "10.0.0.0/8"
    closed = _project(ssh="none", roles={"ssm": True})
    assert program_inputs.ssh_range(closed.ec2, AWS) == ""


def test_ssh_range_on_localhost_is_loopback(aws: Target) -> None:
    assert program_inputs.program_settings(_project(), aws, True)["ssh_from"] == "127.0.0.1/32"
