"""Shared fixtures: moto's AWS, a temporary home, no user settings."""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emrctl.aws import target as targets
from emrctl.aws.target import Target
from emrctl.emulator.api import dispatch
from emrctl.emulator.api.service import Service
from emrctl.emulator.moto.patches import one_at_a_time
from emrctl.emulator.server.state import EmulatorInfo
from tests.emulator.fake_runtime import FakeRuntime

pytest_plugins = ("tests.engine.real",)

# All tests share the user's downloads, so that Hadoop is downloaded once per machine.
CACHE = os.environ.get("EMRCTL_CACHE", str(Path.home() / ".emrctl" / "cache"))
# The managed policies that `stacks` attaches to its roles.
POLICIES = (
    "AmazonEMRServicePolicy_v2",
    "AmazonElasticMapReducePlacementGroupPolicy",
    "AmazonSSMManagedInstanceCore",
)
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
}


# Files with the longest tests: first, so that no worker is still busy when the others have ended.
_LONG = ("test_wheel.py", "test_faults.py", "test_python_sh.py", "test_durability.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the files with the longest tests to the front."""
    items.sort(key=lambda item: item.path.name not in _LONG)


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Isolate tests from the user's emrctl home, AWS profile and EMRCTL_ settings."""
    for name in [name for name in os.environ if name.startswith(("EMRCTL_", "AWS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("EMRCTL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("EMRCTL_CACHE", CACHE)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws-config"))


@pytest.fixture(scope="session", autouse=True)
def _few_managed_policies() -> Iterator[None]:
    """Reduce moto's 1,500 managed policies, which it parses for each test with IAM."""
    from moto.iam import models

    every = json.loads(models.aws_managed_policies_data)
    ours = {name: every[name] for name in POLICIES}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "aws_managed_policies_data", json.dumps(ours))
        yield


@pytest.fixture(scope="session", autouse=True)
def _few_images() -> Iterator[None]:
    """Reduce moto's 850 images, which it creates for each test with EC2."""
    from moto.ec2.models import amis

    load = amis.load_resource

    def few(name: str) -> Any:
        return [] if "optimized_amis" in name else load(name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(amis, "AMIS", amis.AMIS[:3])
        patch.setattr(amis, "load_resource", few)
        yield


@pytest.fixture(scope="session", autouse=True)
def _models_once() -> Iterator[None]:
    """Cache botocore's service models, which it parses for each session."""
    from botocore.loaders import JSONFileLoader

    load = functools.cache(JSONFileLoader().load_file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JSONFileLoader, "load_file", lambda _self, path: load(path))
        yield


@pytest.fixture
def mocked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Target]:
    """Yield a target of moto's AWS in this process."""
    from moto import mock_aws

    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
    targets._client.cache_clear()
    targets._session.cache_clear()
    with mock_aws(), one_at_a_time():
        yield Target(kind="local", region="us-east-1", identity="mocked", poll_s=0.01, logs_s=0.1)
    targets._client.cache_clear()
    targets._session.cache_clear()


@pytest.fixture
def service(mocked: Target) -> Iterator[Service]:
    """Emulate EMR in this process."""
    with dispatch.install(FakeRuntime()) as service:
        yield service


@pytest.fixture
def runtime(service: Service) -> FakeRuntime:
    """Return the runtime of this process's EMR; the test decides how steps end."""
    assert isinstance(service.runtime, FakeRuntime)
    return service.runtime


@pytest.fixture
def standing(mocked: Target, runtime: FakeRuntime) -> str:
    """Create the bucket and the cluster `main` of project `pets` without a stack; return its id."""
    bucket = "pets-emrctl-123456789012-us-east-1"
    mocked.client("s3").create_bucket(Bucket=bucket)
    groups = [
        {"InstanceRole": role, "InstanceType": "m5.xlarge", "InstanceCount": count}
        for role, count in (("MASTER", 1), ("CORE", 2))
    ]
    emr = mocked.client("emr")
    made = emr.run_job_flow(
        Name="pets-main",
        ReleaseLabel="emr-7.5.0",
        LogUri=f"s3://{bucket}/logs/",
        Instances={"InstanceGroups": groups, "KeepJobFlowAliveWhenNoSteps": True},
        Tags=[{"Key": "emrctl:project", "Value": "pets"}],
    )
    found = str(made["JobFlowId"])
    while emr.describe_cluster(ClusterId=found)["Cluster"]["Status"]["State"] != "WAITING":
        time.sleep(0.01)
    return found


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorInfo]:
    """Yield an emulator for all tests; its home is `Path(info.home).parent`."""
    from emrctl.emulator.server import control

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMRCTL_HOME", str(tmp_path_factory.mktemp("emulator")))
        patch.setenv("EMRCTL_CACHE", CACHE)
        # Shorter than the default, so that tests of managed scaling do not wait.
        info = control.up(region="us-east-1", report=lambda _: None, scaling_interval_s=1.0)
    yield info
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMRCTL_HOME", str(Path(info.home).parent))
        control.down(lambda _: None)


@pytest.fixture(scope="session")
def local(emulator: EmulatorInfo) -> Target:
    """Return the target of the session's emulator."""
    return target_of(emulator)


@pytest.fixture(scope="session")
def instances(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """Yield the target of an emulator with running EC2 instances (SSH servers, no Java).

    A process of its own, up within two seconds; an instance in it takes a fraction of one.
    """
    from emrctl.emulator.server import control

    home = tmp_path_factory.mktemp("instances")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMRCTL_HOME", str(home))
        patch.setenv("EMRCTL_CACHE", CACHE)
        info = control.up(region="us-east-1", report=lambda _: None, jars=False)
    yield target_of(info)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMRCTL_HOME", str(home))
        control.down(lambda _: None)


def target_of(emulator: EmulatorInfo) -> Target:
    return Target(
        kind="local",
        region=emulator.region,
        endpoint=emulator.endpoint,
        credentials=Path(emulator.credentials),
        identity=emulator.id,
        token_file=Path(emulator.token_file),
        poll_s=0.1,
        ssh_port=emulator.ssh_port,
        storage_id=emulator.storage_id,
        started=emulator.started,
    )


@pytest.fixture(scope="session")
def yarn_cluster(local: Target) -> str:
    """Create a WAITING cluster of one primary and two core nodes; logs on s3://yarn-logs/."""
    local.client("s3").create_bucket(Bucket="yarn-logs")
    groups = [
        {"InstanceRole": role, "InstanceType": "m5.xlarge", "InstanceCount": count}
        for role, count in (("MASTER", 1), ("CORE", 2))
    ]
    emr = local.client("emr")
    made = emr.run_job_flow(
        Name="yarn",
        ReleaseLabel="emr-7.5.0",
        LogUri="s3://yarn-logs/",
        Applications=[{"Name": "Spark"}],
        Instances={"InstanceGroups": groups, "KeepJobFlowAliveWhenNoSteps": True},
    )
    found = str(made["JobFlowId"])
    deadline = time.monotonic() + 120
    while (state := emr.describe_cluster(ClusterId=found)["Cluster"]["Status"])["State"] not in (
        "WAITING",
        "TERMINATED_WITH_ERRORS",
    ):
        assert time.monotonic() < deadline, state
        time.sleep(0.05)
    assert state["State"] == "WAITING", state
    return found
