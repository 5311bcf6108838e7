"""Unplanned termination: a killed emulator, a cluster terminated during bootstrap actions."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emrctl.aws.target import Target
from emrctl.emulator.server import control, processes, state
from tests.emulator.process import kill

pytestmark = pytest.mark.yarn

PRIMARY = {"InstanceRole": "MASTER", "InstanceType": "c4.xlarge", "InstanceCount": 1}


@pytest.fixture
def emulator_info(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[state.EmulatorInfo]:
    monkeypatch.setenv("EMRCTL_HOME", str(tmp_path))
    info = control.up(region="us-east-1", report=lambda _: None)
    yield info
    control.down(lambda _: None)
    assert processes.marked(processes.EMULATOR_MARK, info.id) == []


@pytest.fixture
def emr(emulator_info: state.EmulatorInfo) -> Any:
    target = Target(
        kind="local",
        region=emulator_info.region,
        endpoint=emulator_info.endpoint,
        credentials=Path(emulator_info.credentials),
        identity=emulator_info.id,
    )
    target.client("s3").create_bucket(Bucket="termination-logs")
    slow = b"#!/bin/bash\necho started; setsid sleep 300 & sleep 300"
    target.client("s3").put_object(Bucket="termination-logs", Key="slow.sh", Body=slow)
    return target.client("emr")


def run(emr: Any, *groups: dict[str, Any], **more: Any) -> str:
    response = emr.run_job_flow(
        Name="termination",
        ReleaseLabel="emr-7.5.0",
        LogUri="s3://termination-logs/",
        Instances={"InstanceGroups": [PRIMARY, *groups], "KeepJobFlowAliveWhenNoSteps": True},
        **more,
    )
    return str(response["JobFlowId"])


def until(emr: Any, cluster: str, *states: str) -> None:
    deadline = time.monotonic() + 90
    while (status := emr.describe_cluster(ClusterId=cluster)["Cluster"]["Status"])[
        "State"
    ] not in states:
        assert time.monotonic() < deadline, status
        time.sleep(0.1)


def test_down_after_killed_emulator_kills_all_processes(
    emr: Any, emulator_info: state.EmulatorInfo
) -> None:
    cluster = run(emr)  # a single-node cluster
    until(emr, cluster, "WAITING")
    jar = {"Jar": "command-runner.jar", "Args": ["bash", "-c", "setsid sleep 300 & sleep 300"]}
    step = {"Name": "slow", "ActionOnFailure": "CONTINUE", "HadoopJarStep": jar}
    emr.add_job_flow_steps(JobFlowId=cluster, Steps=[step])
    until(emr, cluster, "RUNNING")
    deadline = time.monotonic() + 60
    while (
        len(processes.marked(processes.CLUSTER_MARK, cluster)) < 4
    ):  # two daemons and the step's processes
        assert time.monotonic() < deadline
        time.sleep(0.1)
    kill()
    assert control.down(lambda _: None)
    assert processes.marked(processes.EMULATOR_MARK, emulator_info.id) == []


def test_cluster_can_be_terminated_during_bootstrap_actions(emr: Any) -> None:
    script = {"Path": "s3://termination-logs/slow.sh"}
    cluster = run(emr, BootstrapActions=[{"Name": "slow", "ScriptBootstrapAction": script}])
    until(emr, cluster, "BOOTSTRAPPING")
    time.sleep(0.5)
    emr.terminate_job_flows(JobFlowIds=[cluster])
    until(emr, cluster, "TERMINATED")
    assert processes.marked(processes.CLUSTER_MARK, cluster) == []
