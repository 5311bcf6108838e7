"""Ends that nobody planned: a killed emulator, a cluster ended while it bootstraps."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emrctl.aws.target import Target
from emrctl.emulator.server import control, processes, state

pytestmark = pytest.mark.yarn

PRIMARY = {"InstanceRole": "MASTER", "InstanceType": "c4.xlarge", "InstanceCount": 1}


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[state.EmulatorInfo]:
    monkeypatch.setenv("EMRCTL_HOME", str(tmp_path))
    info = control.up(region="us-east-1", report=lambda _: None)
    yield info
    control.down(lambda _: None)
    assert processes.marked(processes.EMULATOR_MARK, info.id) == []


@pytest.fixture
def emr(own: state.EmulatorInfo) -> Any:
    target = Target(
        kind="local",
        region=own.region,
        endpoint=own.endpoint,
        credentials=Path(own.credentials),
        identity=own.id,
    )
    target.client("s3").create_bucket(Bucket="ends-logs")
    slow = b"echo begun; setsid sleep 300 & sleep 300"
    target.client("s3").put_object(Bucket="ends-logs", Key="slow.sh", Body=slow)
    return target.client("emr")


def run(emr: Any, *groups: dict[str, Any], **more: Any) -> str:
    found = emr.run_job_flow(
        Name="ends",
        ReleaseLabel="emr-7.5.0",
        LogUri="s3://ends-logs/",
        InstanceManager={"InstanceGroups": [PRIMARY, *groups], "KeepJobFlowAliveWhenNoSteps": True},
        **more,
    )
    return str(found["JobFlowId"])


def until(emr: Any, cluster: str, *states: str) -> None:
    deadline = time.monotonic() + 90
    while (found := emr.describe_cluster(ClusterId=cluster)["Cluster"]["Status"])[
        "State"
    ] not in states:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def test_a_killed_emulator_leaves_nothing_once_it_is_down(
    emr: Any, own: state.EmulatorInfo
) -> None:
    cluster = run(emr)  # a primary alone works by itself
    until(emr, cluster, "WAITING")
    jar = {"Jar": "command-runner.jar", "Args": ["bash", "-c", "setsid sleep 300 & sleep 300"]}
    step = {"Name": "slow", "ActionOnFailure": "CONTINUE", "HadoopJarStep": jar}
    emr.add_job_flow_steps(JobFlowId=cluster, Steps=[step])
    until(emr, cluster, "RUNNING")
    deadline = time.monotonic() + 20
    while len(processes.marked(processes.CLUSTER_MARK, cluster)) < 4:  # YARN's two, and sleeps
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.kill(own.pid, signal.SIGKILL)
    assert processes.wait_gone(own.pid, timeout_s=5)
    assert control.down(lambda _: None)
    assert processes.marked(processes.EMULATOR_MARK, own.id) == []


def test_a_cluster_can_be_ended_while_it_bootstraps(emr: Any) -> None:
    script = {"Path": "s3://ends-logs/slow.sh"}
    cluster = run(emr, BootstrapActions=[{"Name": "slow", "ScriptBootstrapAction": script}])
    until(emr, cluster, "BOOTSTRAPPING")
    time.sleep(0.5)
    emr.terminate_job_flows(JobFlowIds=[cluster])
    until(emr, cluster, "TERMINATED")
    assert processes.marked(processes.CLUSTER_MARK, cluster) == []
