"""State backends: folders, buckets and their permissions, and stacks on AWS."""

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
def test_aws_backend_url_follows_engine_state(state: str, url: str) -> None:
    assert aws_backend(EngineSpec(state=state), AWS, Path("/home/ada/pets")).url == url


@pytest.mark.parametrize("state", ["", "gs://mine", "s3://", "https://example.org"])
def test_engine_spec_invalid_state_raises(state: str) -> None:
    with pytest.raises(ValueError, match="is not a folder"):
        EngineSpec(state=state)


def test_engine_spec_unknown_secrets_provider_raises() -> None:
    assert EngineSpec(secrets_provider="awskms://alias/pets").secrets_provider
    with pytest.raises(ValueError, match="rot13': use passphrase, default, awskms"):
        EngineSpec(secrets_provider="rot13")


def test_passphrase_file_is_created_once_and_private() -> None:
    first = passphrase_file()
    words = first.read_text()
    assert len(words) > 30
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    assert passphrase_file().read_text() == words
    assert [path.name for path in first.parent.iterdir()] == ["passphrase"]


def test_environment_with_passphrase_set_keeps_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "mine")
    assert "PULUMI_CONFIG_PASSPHRASE_FILE" not in local_backend(tmp_path).environment()


def test_environment_disables_plugin_downloads(tmp_path: Path) -> None:
    found = local_backend(tmp_path).environment()
    assert found["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] == "true"


def test_ensure_bucket_secures_bucket_once(mocked: Target) -> None:
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


def test_ensure_bucket_of_other_account_raises(
    mocked: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "403", "Message": "Forbidden"}}, "HeadBucket")

    monkeypatch.setattr(mocked.client("s3"), "head_bucket", forbidden)
    with pytest.raises(CredentialsError, match="another account") as caught:
        ensure_bucket(mocked, "s3://theirs/pets")
    assert "engine.state" in caught.value.hint


def test_folder_not_creatable_raises_with_hint(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ProvisioningError, match="cannot create") as caught:
        local_backend(tmp_path / "file" / "states").create_folders()
    assert "writable" in caught.value.hint


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Run moto as a server for the engine's process."""
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
    """Return an AWS target with the local provider attached in place of the AWS plugin."""
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
def test_pulumi_engine_with_s3_state_deploys_stack(on_aws: Target, tmp_path: Path) -> None:
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
    # Another machine with the project file continues with the stack.
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
def test_preview_without_aws_plugin_raises(tmp_path: Path) -> None:
    target = Target(kind="aws", region="us-east-1")
    project = ProjectSpec(project="pets", target="aws")
    engine = stacks.engine_for(Deployment(project, target, tmp_path))
    with pytest.raises(EngineMissingError, match=r"AWS plugin \d.* is not installed") as caught:
        engine.preview("pets-storage", storage_program(project, target))
    assert "emrctl engine install" in caught.value.hint


@pytest.mark.engine
@pytest.mark.usefixtures("real_engine")
def test_up_with_other_passphrase_raises(on_aws: Target, tmp_path: Path) -> None:
    project = ProjectSpec(project="pets", target="aws")
    program = storage_program(project, on_aws)
    engine = stacks.engine_for(Deployment(project, on_aws, tmp_path))
    engine.up("pets-storage", program, lambda _event: None)
    passphrase_file().unlink()
    with pytest.raises(ProvisioningError, match="passphrase") as caught:
        engine.up("pets-storage", program, lambda _event: None)
    assert "PULUMI_CONFIG_PASSPHRASE_FILE" in caught.value.hint
