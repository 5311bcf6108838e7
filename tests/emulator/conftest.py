"""Fixtures of the emulator's tests: clients, requests and a wait function."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from emrctl.aws.target import Target
from emrctl.emulator.cluster.node_folder import EmulatorContext
from tests.emulator.ec2nodes import Ec2Nodes
from tests.emulator.fake_runtime import FakeRuntime

Emr = Any
Await = Callable[..., Any]


@pytest.fixture
def emr(mocked: Target, runtime: FakeRuntime) -> Emr:
    return mocked.client("emr")


@pytest.fixture
def request_body() -> dict[str, Any]:
    """Arguments of RunJobFlow for one primary and two core nodes, kept alive."""
    groups = [
        {"InstanceRole": role, "InstanceType": "m5.xlarge", "InstanceCount": count}
        for role, count in (("MASTER", 1), ("CORE", 2))
    ]
    return {
        "Name": "pets",
        "ReleaseLabel": "emr-7.5.0",
        "LogUri": "s3://pets-logs/here/",
        "ServiceRole": "EMR_DefaultRole",
        "JobFlowRole": "EMR_EC2_DefaultRole",
        "Applications": [{"Name": "Spark"}],
        "Instances": {"InstanceGroups": groups, "KeepJobFlowAliveWhenNoSteps": True},
    }


@pytest.fixture
def context(tmp_path: Path) -> EmulatorContext:
    return EmulatorContext(
        home=tmp_path / "local",
        emulator_id=f"test-{tmp_path.name}",
        endpoint="http://127.0.0.1:9",
        credentials=tmp_path / "credentials",
    )


@pytest.fixture
def until() -> Await:
    """Wait until a function returns one of the expected values; return it."""

    def wait(get: Callable[[], Any], *expected: Any, timeout_s: float = 60.0) -> Any:
        deadline = time.monotonic() + timeout_s
        while (value := get()) not in expected:
            assert time.monotonic() < deadline, f"{value} is not one of {expected}"
            time.sleep(0.01)
        return value

    return wait


@pytest.fixture
def waiting(emr: Emr, mocked: Target, request_body: dict[str, Any], until: Await) -> str:
    """Return the id of a WAITING cluster; create the bucket for its logs."""
    mocked.client("s3").create_bucket(Bucket="pets-logs")
    cluster_id = str(emr.run_job_flow(**request_body)["JobFlowId"])
    until(lambda: state(emr, cluster_id), "WAITING")
    return cluster_id


def state(emr: Emr, cluster_id: str) -> str:
    return str(emr.describe_cluster(ClusterId=cluster_id)["Cluster"]["Status"]["State"])


def add(emr: Emr, cluster_id: str, *args: str, action: str = "CONTINUE") -> str:
    """Add a step that runs a command; return its id."""
    jar = {"Jar": "command-runner.jar", "Args": list(args)}
    step = {"Name": args[0], "ActionOnFailure": action, "HadoopJarStep": jar}
    return str(emr.add_job_flow_steps(JobFlowId=cluster_id, Steps=[step])["StepIds"][0])


def status(emr: Emr, cluster_id: str, step_id: str) -> dict[str, Any]:
    """Return the status of a step."""
    return dict(emr.describe_step(ClusterId=cluster_id, StepId=step_id)["Step"]["Status"])


@pytest.fixture(scope="module")
def ec2nodes(instances: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ec2Nodes]:
    """Launch EC2 instances; terminate them after the module's tests."""
    nodes = Ec2Nodes(instances, tmp_path_factory.mktemp("ec2nodes"))
    yield nodes
    nodes.terminate()
