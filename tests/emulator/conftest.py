"""What the emulator's tests share: a client of the mocked EMR, and a request that is answered."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from emrctl.aws.target import Target
from tests.emulator.ec2nodes import Ec2Nodes
from tests.emulator.fake_runtime import FakeRuntime

Emr = Any
Await = Callable[..., Any]


@pytest.fixture
def emr(mocked: Target, runtime: FakeRuntime) -> Emr:
    return mocked.client("emr")


@pytest.fixture
def request_body() -> dict[str, Any]:
    """RunJobFlow's arguments for one primary and two core nodes that stay."""
    groups = [
        {"InstanceRole": role, "InstanceType": "m5.xlarge", "InstanceCount": count}
        for role, count in (("MASTER", 1), ("CORE", 2))
    ]
    return {
        "Name": "pets",
        "ReleaseLabel": "emr-7.5.0",
        "LogUri": "s3://pets-logs/here/",
        "ServiceRole": "service",
        "JobFlowRole": "profile",
        "Applications": [{"Name": "Spark"}],
        "Instances": {"InstanceGroups": groups, "KeepJobFlowAliveWhenNoSteps": True},
    }


@pytest.fixture
def until() -> Await:
    """Asks until the answer is one of those wanted, and returns it."""

    def ask(question: Callable[[], Any], *wanted: Any, timeout_s: float = 10.0) -> Any:
        deadline = time.monotonic() + timeout_s
        while (answer := question()) not in wanted:
            assert time.monotonic() < deadline, f"still {answer}, not {wanted}"
            time.sleep(0.01)
        return answer

    return ask


@pytest.fixture
def waiting(emr: Emr, mocked: Target, request_body: dict[str, Any], until: Await) -> str:
    """The id of a cluster that is WAITING, with a bucket for its logs."""
    mocked.client("s3").create_bucket(Bucket="pets-logs")
    cluster_id = str(emr.run_job_flow(**request_body)["JobFlowId"])
    until(lambda: state(emr, cluster_id), "WAITING")
    return cluster_id


def state(emr: Emr, cluster_id: str) -> str:
    return str(emr.describe_cluster(ClusterId=cluster_id)["Cluster"]["Status"]["State"])


@pytest.fixture(scope="module")
def ec2nodes(instances: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ec2Nodes]:
    """Launches EC2 instances that run, and ends them."""
    made = Ec2Nodes(instances, tmp_path_factory.mktemp("ec2nodes"))
    yield made
    made.end()
