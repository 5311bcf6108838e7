"""Where states lie: folders, buckets, who may read them, and stacks on AWS through the engine."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from emrctl.aws import target as targets
from emrctl.aws.target import Target
from emrctl.engine.base import Event
from emrctl.engine.pulumi.binary import EngineMissingError
from emrctl.engine.pulumi.engine import PulumiEngine
from emrctl.engine.pulumi.grpc_provider import CreateJournal, serve_provider
from emrctl.engine.pulumi.state_backend import (
    aws_backend,
    backend_exists,
    ensure_bucket,
    local_backend,
    passphrase_file,
)
from emrctl.errors import CredentialsError, ProvisioningError
from emrctl.provision import stacks
from emrctl.provision.stacks import Deployment, storage_program
from emrctl.spec import EngineSpec, ProjectSpec

AWS = Target(kind="aws", region="eu-west-1")


@pytest.mark.parametrize(
    ("state", "url"),
    [
        (".emrctl/pulumi", "file:///home/ada/pets/.emrctl/pulumi"),
        ("/srv/states", "file:///srv/states"),
        ("cloud", "https://api.pulumi.com"),
        ("s3://mine/pets", "s3://mine/pets?region=eu-west-1&awssdk=v2"),
        ("s3://mine?profile=x", "s3://mine?profile=x&region=eu-west-1&awssdk=v2"),
    ],
)
def test_a_project_chooses_where_its_states_lie(state: str, url: str) -> None:
    assert aws_backend(EngineSpec(state=state), AWS, Path("/home/ada/pets")).url == url


@pytest.mark.parametrize("state", ["", "gs://mine", "s3://", "https://example.org"])
def test_what_is_no_place_is_refused(state: str) -> None:
    with pytest.raises(ValueError, match="no folder"):
        EngineSpec(state=state)


def test_secrets_have_a_provider_that_pulumi_knows() -> None:
    assert EngineSpec(secrets_provider="awskms://alias/pets").secrets_provider
    with pytest.raises(ValueError, match="no secrets provider: passphrase, default, awskms"):
        EngineSpec(secrets_provider="rot13")


def test_the_passphrase_is_made_once_and_is_the_user_s_alone() -> None:
    first = passphrase_file()
    words = first.read_text()
    assert len(words) > 30
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    assert passphrase_file().read_text() == words
    assert [path.name for path in first.parent.iterdir()] == ["passphrase"]


def test_a_passphrase_that_is_given_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "mine")
    assert "PULUMI_CONFIG_PASSPHRASE_FILE" not in local_backend(tmp_path).environment()


def test_nothing_is_downloaded_that_nobody_agreed_to(tmp_path: Path) -> None:
    found = local_backend(tmp_path).environment()
    assert found["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] == "true"


def test_the_bucket_of_a_state_is_made_safe_once(mocked: Target) -> None:
    url = "s3://states/pets?region=us-east-1"
    assert not backend_exists(mocked, url)
    assert ensure_bucket(mocked, url) == [
        "created",
        "versioned",
        "encrypted",
        "closed to the public",
    ]
    assert backend_exists(mocked, url)
    assert ensure_bucket(mocked, url) == []
    s3 = mocked.client("s3")
    assert s3.get_bucket_versioning(Bucket="states")["Status"] == "Enabled"
    block = s3.get_public_access_block(Bucket="states")["PublicAccessBlockConfiguration"]
    assert all(block.values())
    assert s3.get_bucket_encryption(Bucket="states")["ServerSideEncryptionConfiguration"]


def test_a_bucket_of_somebody_else_is_no_place(
    mocked: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "403", "Message": "Forbidden"}}, "HeadBucket")

    monkeypatch.setattr(mocked.client("s3"), "head_bucket", forbidden)
    with pytest.raises(CredentialsError, match="another account") as caught:
        ensure_bucket(mocked, "s3://theirs/pets")
    assert "engine.state" in caught.value.hint


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ProvisioningError, match="cannot create") as caught:
        local_backend(tmp_path / "file" / "states").create_folders()
    assert "writable" in caught.value.hint


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """moto behind a port, which the engine's own process can reach."""
    from moto.server import ThreadedMotoServer

    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "MOTO_IAM_LOAD_MANAGED_POLICIES": "true",
    }.items():
        monkeypatch.setenv(name, value)
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    endpoint = "http://{}:{}".format(*moto.get_host_and_port())
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    targets._client.cache_clear()
    targets._session.cache_clear()
    yield endpoint
    targets._client.cache_clear()
    targets._session.cache_clear()
    moto.stop()


@pytest.fixture
def on_aws(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Target]:
    """A target of kind aws, whose AWS plugin is our provider, attached from outside."""
    import threading

    from moto.iam.access_control import PermissionResult

    permission = "moto.s3.models.FakeBucket.get_permission"
    monkeypatch.setattr(permission, lambda *_: PermissionResult.NEUTRAL)
    answers = Target(kind="aws", region="us-east-1", poll_s=0.01)
    with serve_provider(answers, threading.Event(), CreateJournal(tmp_path / "begun")) as found:
        monkeypatch.setenv("PULUMI_DEBUG_PROVIDERS", found.attached)
        yield answers


@pytest.mark.engine
@pytest.mark.usefixtures("real_engine")
def test_a_stack_on_aws_with_its_state_on_s3(on_aws: Target, tmp_path: Path) -> None:
    spec = EngineSpec(state="s3://states/pets?s3ForcePathStyle=true")
    project = ProjectSpec(project="pets", target="aws", engine=spec)
    engine = stacks.engine_for(Deployment(project, on_aws, tmp_path))
    assert isinstance(engine, PulumiEngine)
    assert engine.state("pets-storage") is None
    program = storage_program(project, on_aws)
    assert not engine.preview("pets-storage", program).empty
    events: list[Event] = []
    outputs = engine.up("pets-storage", program, events.append).outputs
    assert "created" in events[0].message
    keys = on_aws.client("s3").list_objects_v2(Bucket="states", Prefix="pets/.pulumi/stacks/")
    assert keys["KeyCount"] > 0
    # Another laptop, which has nothing but the project's file, goes on with it.
    other = stacks.engine_for(Deployment(project, on_aws, tmp_path / "other"))
    state = other.state("pets-storage")
    assert state is not None
    assert state.outputs == outputs
    assert [found.stack for found in other.stacks()] == ["pets-storage"]
    assert other.preview("pets-storage", program).empty
    other.down("pets-storage", events.append, force=True)
    assert engine.state("pets-storage") is None
    names = [bucket["Name"] for bucket in on_aws.client("s3").list_buckets()["Buckets"]]
    assert names == ["states"]


@pytest.mark.engine
@pytest.mark.usefixtures("real_engine", "server")
def test_without_the_aws_plugin_nothing_is_begun(tmp_path: Path) -> None:
    target = Target(kind="aws", region="us-east-1")
    project = ProjectSpec(project="pets", target="aws")
    engine = stacks.engine_for(Deployment(project, target, tmp_path))
    with pytest.raises(EngineMissingError, match=r"AWS plugin \d.* is not installed") as caught:
        engine.preview("pets-storage", storage_program(project, target))
    assert "emrctl engine install" in caught.value.hint


@pytest.mark.engine
@pytest.mark.usefixtures("real_engine")
def test_another_passphrase_is_told(on_aws: Target, tmp_path: Path) -> None:
    project = ProjectSpec(project="pets", target="aws")
    program = storage_program(project, on_aws)
    engine = stacks.engine_for(Deployment(project, on_aws, tmp_path))
    engine.up("pets-storage", program, lambda _event: None)
    passphrase_file().unlink()
    with pytest.raises(ProvisioningError, match="passphrase") as caught:
        engine.up("pets-storage", program, lambda _event: None)
    assert "PULUMI_CONFIG_PASSPHRASE_FILE" in caught.value.hint
