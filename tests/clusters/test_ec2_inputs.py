"""What is looked up before instances are launched: images, keys, the caller's address."""

from __future__ import annotations

import io
import stat
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from emrctl import paths
from emrctl.aws.target import Target
from emrctl.clusters import ec2_inputs
from emrctl.clusters.kinds import kind_of
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


def test_each_role_gets_the_image_of_its_architecture(aws: Target) -> None:
    found = ec2_inputs.program_settings(_project(primary={"type": "m6g.xlarge"}), aws, True)
    assert found["image_primary"].startswith("ami-")
    assert found["image_worker"].startswith("ami-")
    assert found["image_primary"] != found["image_worker"]


def test_settings_of_ec2_cluster_have_images_key_and_ssh_range(aws: Target) -> None:
    keys = {"image_primary", "image_worker", "public_key", "ssh_from"}
    assert set(ec2_inputs.program_settings(_project(), aws, True)) == keys


def test_an_image_that_is_given_is_not_looked_up() -> None:
    found = ec2_inputs.find_images(_project(ami="ami-0a").ec2, AWS)
    assert found == {"image_primary": "ami-0a", "image_worker": "ami-0a"}


def test_a_parameter_that_is_not_there_is_told(aws: Target) -> None:
    with pytest.raises(NotFoundError, match="no parameter /mine/image in us-east-1") as caught:
        ec2_inputs.program_settings(_project(ami="/mine/image"), aws, True)
    assert "cluster.ami" in caught.value.hint


def test_a_parameter_that_names_no_image_is_told(aws: Target) -> None:
    aws.client("ssm").put_parameter(Name="/mine/image", Value="linux", Type="String")
    with pytest.raises(ProvisioningError, match="/mine/image does not contain an image id: linux"):
        ec2_inputs.program_settings(_project(ami="/mine/image"), aws, True)


def test_a_parameter_of_the_user_s_own(aws: Target) -> None:
    aws.client("ssm").put_parameter(Name="/mine/x86_64", Value="ami-0b", Type="String")
    found = ec2_inputs.program_settings(_project(ami="/mine/{arch}"), aws, True)
    assert found["image_primary"] == "ami-0b"


def test_the_key_is_made_once(aws: Target) -> None:
    first = ec2_inputs.program_settings(_project(), aws, True)["public_key"]
    assert first.startswith("ssh-ed25519 ")
    assert ec2_inputs.program_settings(_project(), aws, True)["public_key"] == first
    file = paths.key_file("pets-main")
    assert file.read_text().startswith("-----BEGIN OPENSSH PRIVATE KEY-----")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["pets-main.pem"]


def test_two_that_start_together_have_one_key(aws: Target) -> None:
    found: list[str] = []

    def make() -> None:
        found.append(ec2_inputs._create_key(paths.key_file("pets-main")))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1


def test_a_file_that_holds_no_key_is_told_and_stays(aws: Target) -> None:
    file = paths.key_file("pets-main")
    file.parent.mkdir(parents=True)
    file.write_text("nonsense")
    with pytest.raises(ProvisioningError, match="is not a private key") as caught:
        ec2_inputs.program_settings(_project(), aws, True)
    assert "delete the file" in caught.value.hint
    assert file.read_text() == "nonsense"


def test_the_caller_comes_in_from_where_aws_sees_it(monkeypatch: pytest.MonkeyPatch) -> None:
    _answering(monkeypatch, b"198.51.100.7\n")
    assert ec2_inputs.ssh_range(_project().ec2, AWS) == "198.51.100.7/32"


@pytest.mark.parametrize("answer", [b"<html>sign in</html>", b"", OSError("no route")])
def test_an_address_that_nobody_says_is_told(
    monkeypatch: pytest.MonkeyPatch, answer: bytes | Exception
) -> None:
    _answering(monkeypatch, answer)
    with pytest.raises(ProvisioningError, match="could not read this machine's") as caught:
        ec2_inputs.ssh_range(_project().ec2, AWS)
    assert "cluster.ssh" in caught.value.hint


def test_a_range_and_nobody_are_taken_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    _answering(monkeypatch, OSError("nobody asks"))
    assert ec2_inputs.ssh_range(_project(ssh="10.0.0.0/8").ec2, AWS) == "10.0.0.0/8"
    closed = _project(ssh="none", roles={"ssm": True})
    assert ec2_inputs.ssh_range(closed.ec2, AWS) == ""


def test_on_localhost_only_the_machine_itself_comes_in(aws: Target) -> None:
    assert ec2_inputs.program_settings(_project(), aws, True)["ssh_from"] == "127.0.0.1/32"
