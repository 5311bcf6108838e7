from __future__ import annotations

import gzip
from typing import Any

import pytest
from botocore.exceptions import ClientError

from emrctl.aws.target import Target
from emrctl.emulator.api import dispatch
from emrctl.emulator.api.service import Service
from emrctl.emulator.faults import Capacity
from tests.emulator.conftest import Await, Emr, add, state, status
from tests.emulator.fake_runtime import FakeRuntime


def fails(args: list[str]) -> tuple[int, str, str]:
    text = "Traceback (most recent call last):\n  File x\nValueError: no images\nmore\n"
    return (1, "", text) if args == ["fail"] else (0, "fine\n", "")


def test_cluster_reaches_waiting(emr: Emr, request_body: dict[str, Any], until: Await) -> None:
    cluster_id = emr.run_job_flow(**request_body)["JobFlowId"]
    assert state(emr, cluster_id) in ("STARTING", "BOOTSTRAPPING", "WAITING")
    until(lambda: state(emr, cluster_id), "WAITING")
    cluster_status = emr.describe_cluster(ClusterId=cluster_id)["Cluster"]["Status"]
    assert "Code" not in cluster_status["StateChangeReason"]
    assert "local" in cluster_status["StateChangeReason"]["Message"]
    assert (
        cluster_status["Timeline"]["ReadyDateTime"]
        >= cluster_status["Timeline"]["CreationDateTime"]
    )


def test_step_completes_and_uploads_logs(
    emr: Emr, runtime: FakeRuntime, mocked: Target, waiting: str, until: Await
) -> None:
    runtime.on_step = lambda args: (0, f"{args}\n", "warned\n")
    step_id = add(emr, waiting, "run", "a b")
    until(lambda: status(emr, waiting, step_id)["State"], "COMPLETED")
    s3 = mocked.client("s3")
    texts = {}
    for name in ("controller", "stdout", "stderr"):
        key = f"here/{waiting}/steps/{step_id}/{name}.gz"
        texts[name] = gzip.decompress(s3.get_object(Bucket="pets-logs", Key=key)["Body"].read())
    assert texts["stdout"] == b"['run', 'a b']\n"
    assert texts["stderr"] == b"warned\n"
    assert b"Step succeeded with exitCode 0 and took 0 seconds" in texts["controller"]


def test_failed_step_has_failure_details(
    emr: Emr, runtime: FakeRuntime, waiting: str, until: Await
) -> None:
    runtime.on_step = fails
    step_id = add(emr, waiting, "fail")
    until(lambda: status(emr, waiting, step_id)["State"], "FAILED")
    details = status(emr, waiting, step_id)["FailureDetails"]
    assert details["Reason"] == "Unknown Error."
    assert details["Message"].endswith("ValueError: no images")
    assert details["LogFile"] == f"s3://pets-logs/here/{waiting}/steps/{step_id}/stderr.gz"
    until(lambda: state(emr, waiting), "WAITING")


def test_failed_step_with_cancel_and_wait_cancels_pending_steps(
    emr: Emr, runtime: FakeRuntime, waiting: str, until: Await
) -> None:
    runtime.on_step, runtime.pause = fails, True
    first, second, third = (
        add(emr, waiting, name, action="CANCEL_AND_WAIT") for name in ("one", "fail", "three")
    )
    until(lambda: state(emr, waiting), "RUNNING")
    assert [status(emr, waiting, one)["State"] for one in (second, third)] == ["PENDING"] * 2
    runtime.pause = False
    until(lambda: status(emr, waiting, third)["State"], "CANCELLED")
    assert status(emr, waiting, first)["State"] == "COMPLETED"
    assert status(emr, waiting, second)["State"] == "FAILED"
    until(lambda: state(emr, waiting), "WAITING")


def test_failed_step_with_terminate_cluster_terminates_cluster(
    emr: Emr, runtime: FakeRuntime, waiting: str, until: Await
) -> None:
    runtime.on_step = fails
    add(emr, waiting, "fail", action="TERMINATE_CLUSTER")
    until(lambda: state(emr, waiting), "TERMINATED_WITH_ERRORS")
    cluster_status = emr.describe_cluster(ClusterId=waiting)["Cluster"]["Status"]
    assert cluster_status["StateChangeReason"]["Code"] == "STEP_FAILURE"


def test_termination_protection_keeps_cluster_after_failed_step(
    emr: Emr, runtime: FakeRuntime, waiting: str, until: Await
) -> None:
    runtime.on_step = fails
    emr.set_termination_protection(JobFlowIds=[waiting], TerminationProtected=True)
    step_id = add(emr, waiting, "fail", action="TERMINATE_CLUSTER")
    until(lambda: status(emr, waiting, step_id)["State"], "FAILED")
    until(lambda: state(emr, waiting), "WAITING")
    with pytest.raises(ClientError, match="termination protected"):
        emr.terminate_job_flows(JobFlowIds=[waiting])
    assert state(emr, waiting) == "WAITING"


def test_step_concurrency_level_limits_running_steps(
    emr: Emr, runtime: FakeRuntime, waiting: str, until: Await
) -> None:
    runtime.pause = True
    emr.modify_cluster(ClusterId=waiting, StepConcurrencyLevel=2)
    ids = [add(emr, waiting, str(number)) for number in range(3)]
    until(lambda: [status(emr, waiting, one)["State"] for one in ids].count("RUNNING"), 2)
    assert status(emr, waiting, ids[2])["State"] == "PENDING"
    with pytest.raises(ClientError, match="not allowed"):
        add(emr, waiting, "x", action="CANCEL_AND_WAIT")
    runtime.pause = False
    until(lambda: status(emr, waiting, ids[2])["State"], "COMPLETED")


def test_cancel_steps_cancels_running_and_pending_steps(
    emr: Emr, runtime: FakeRuntime, waiting: str, until: Await
) -> None:
    runtime.pause = True
    running, pending = add(emr, waiting, "one"), add(emr, waiting, "two")
    until(lambda: status(emr, waiting, running)["State"], "RUNNING")
    answer = emr.cancel_steps(ClusterId=waiting, StepIds=[pending, running, "s-NONE"])
    rows = answer["CancelStepsInfoList"]
    assert [row["Status"] for row in rows] == ["SUBMITTED", "SUBMITTED", "FAILED"]
    assert status(emr, waiting, pending)["State"] == "CANCELLED"
    until(lambda: status(emr, waiting, running)["State"], "CANCELLED")
    again = emr.cancel_steps(ClusterId=waiting, StepIds=[running])["CancelStepsInfoList"][0]
    assert again["Reason"] == "Step is in state CANCELLED and cannot be cancelled."


def test_terminate_job_flows_interrupts_running_step(
    emr: Emr, runtime: FakeRuntime, mocked: Target, waiting: str, until: Await
) -> None:
    runtime.pause = True
    running, pending = add(emr, waiting, "one"), add(emr, waiting, "two")
    until(lambda: status(emr, waiting, running)["State"], "RUNNING")
    emr.terminate_job_flows(JobFlowIds=[waiting])
    assert state(emr, waiting) in ("TERMINATING", "TERMINATED")
    until(lambda: state(emr, waiting), "TERMINATED")
    assert status(emr, waiting, running)["State"] == "INTERRUPTED"
    assert status(emr, waiting, pending)["State"] == "CANCELLED"
    reason = emr.describe_cluster(ClusterId=waiting)["Cluster"]["Status"]["StateChangeReason"]
    assert reason["Code"] == "USER_REQUEST"
    states = {one["Status"]["State"] for one in emr.list_instances(ClusterId=waiting)["Instances"]}
    assert states == {"TERMINATED"}
    reservations = mocked.client("ec2").describe_instances()["Reservations"]
    names = {one["State"]["Name"] for each in reservations for one in each["Instances"]}
    assert names == {"terminated"}
    with pytest.raises(ClientError, match="may not be modified"):
        add(emr, waiting, "late")


def test_cluster_without_keep_alive_terminates_after_steps(
    emr: Emr, runtime: FakeRuntime, request_body: dict[str, Any], until: Await
) -> None:
    request_body["Instances"]["KeepJobFlowAliveWhenNoSteps"] = False
    jar = {"Jar": "command-runner.jar", "Args": ["only"]}
    request_body["Steps"] = [{"Name": "a", "ActionOnFailure": "CONTINUE", "HadoopJarStep": jar}]
    cluster_id = emr.run_job_flow(**request_body)["JobFlowId"]
    until(lambda: state(emr, cluster_id), "TERMINATED")
    reason = emr.describe_cluster(ClusterId=cluster_id)["Cluster"]["Status"]["StateChangeReason"]
    assert reason["Code"] == "ALL_STEPS_COMPLETED"
    assert runtime.steps == [["only"]]


def test_auto_termination_policy_terminates_idle_cluster(
    mocked: Target, request_body: dict[str, Any], until: Await
) -> None:
    with dispatch.install(FakeRuntime()) as service:
        emr = mocked.client("emr")
        cluster_id = emr.run_job_flow(**request_body)["JobFlowId"]
        until(lambda: state(emr, cluster_id), "WAITING")
        policy = {"IdleTimeout": 60}
        emr.put_auto_termination_policy(ClusterId=cluster_id, AutoTerminationPolicy=policy)
        cluster = service.clusters[cluster_id]
        assert cluster.idle_since is not None
        with cluster.changed:
            cluster.idle_since -= 61
            cluster.changed.notify_all()
        until(lambda: state(emr, cluster_id), "TERMINATED")
    assert "auto-termination" in cluster.message


def test_failed_bootstrap_action_terminates_cluster(
    emr: Emr, runtime: FakeRuntime, mocked: Target, request_body: dict[str, Any], until: Await
) -> None:
    mocked.client("s3").create_bucket(Bucket="pets-logs")
    runtime.failing_bootstrap = 1
    cluster_id = emr.run_job_flow(**request_body)["JobFlowId"]
    until(lambda: state(emr, cluster_id), "TERMINATED_WITH_ERRORS")
    cluster_status = emr.describe_cluster(ClusterId=cluster_id)["Cluster"]["Status"]
    assert cluster_status["StateChangeReason"]["Code"] == "BOOTSTRAP_FAILURE"
    detail = cluster_status["ErrorDetails"][0]
    assert detail["ErrorCode"] == "BOOTSTRAP_FAILURE_PRIMARY_WITH_NON_ZERO_CODE"
    node = runtime.bootstrapped[0]
    expected = f"On the master instance ({node}), bootstrap action 1 returned a non-zero"
    assert detail["ErrorMessage"].startswith(expected)
    key = f"here/{cluster_id}/node/{node}/bootstrap-actions/1/stderr.gz"
    assert mocked.client("s3").get_object(Bucket="pets-logs", Key=key)


def test_worker_whose_bootstrap_action_fails_is_replaced(
    emr: Emr, runtime: FakeRuntime, request_body: dict[str, Any], until: Await
) -> None:
    runtime.failing_workers = 1
    cluster_id = emr.run_job_flow(**request_body)["JobFlowId"]

    def core() -> tuple[str, int, int]:
        row = emr.list_instance_groups(ClusterId=cluster_id)["InstanceGroups"][1]
        state = row["Status"]["State"]
        return state, row["RequestedInstanceCount"], row["RunningInstanceCount"]

    until(core, ("RUNNING", 2, 2))
    until(lambda: state(emr, cluster_id), "WAITING")
    [failed] = emr.list_instances(ClusterId=cluster_id, InstanceStates=["TERMINATED"])["Instances"]
    assert failed["Ec2InstanceId"] == runtime.bootstrapped[1]
    assert failed["Status"]["StateChangeReason"]["Code"] == "BOOTSTRAP_FAILURE"
    assert runtime.removed == [failed["Ec2InstanceId"]]


def test_cluster_terminates_if_bootstrap_actions_fail_on_too_many_workers(
    emr: Emr, runtime: FakeRuntime, request_body: dict[str, Any], until: Await
) -> None:
    runtime.failing_workers = 2
    cluster_id = emr.run_job_flow(**request_body)["JobFlowId"]
    until(lambda: state(emr, cluster_id), "TERMINATED_WITH_ERRORS")
    [detail] = emr.describe_cluster(ClusterId=cluster_id)["Cluster"]["Status"]["ErrorDetails"]
    assert detail["ErrorCode"] == "BOOTSTRAP_FAILURE_WORKER_WITH_NON_ZERO_CODE"


def test_resize_instance_groups_adds_and_removes_nodes(
    emr: Emr, runtime: FakeRuntime, waiting: str, until: Await
) -> None:
    core = emr.list_instance_groups(ClusterId=waiting)["InstanceGroups"][1]["Id"]

    def running() -> int:
        group = emr.list_instance_groups(ClusterId=waiting)["InstanceGroups"][1]
        return int(group["RunningInstanceCount"])

    for count in (4, 1):
        change = {"InstanceGroupId": core, "InstanceCount": count}
        emr.modify_instance_groups(InstanceGroups=[change])
        until(running, count)
    assert len(runtime.bootstrapped) == 5
    assert len(runtime.removed) == 3
    response = emr.add_instance_groups(
        JobFlowId=waiting,
        InstanceGroups=[{"InstanceRole": "TASK", "InstanceType": "m5.xlarge", "InstanceCount": 1}],
    )
    instances = emr.list_instances(
        ClusterId=waiting, InstanceGroupId=response["InstanceGroupIds"][0]
    )["Instances"]
    assert len(instances) == 1


def test_resize_without_capacity_suspends_group_until_next_resize(
    emr: Emr, service: Service, waiting: str, until: Await
) -> None:
    service.faults.add(Capacity())

    def core() -> dict[str, Any]:
        return dict(emr.list_instance_groups(ClusterId=waiting)["InstanceGroups"][1])

    change = {"InstanceGroupId": core()["Id"], "InstanceCount": 4}
    emr.modify_instance_groups(InstanceGroups=[change])
    assert core()["Status"]["State"] == "SUSPENDED"
    message = "EC2 is out of capacity for m5.xlarge."
    assert core()["Status"]["StateChangeReason"]["Message"] == message
    assert (core()["RequestedInstanceCount"], core()["RunningInstanceCount"]) == (4, 2)
    assert state(emr, waiting) == "WAITING"
    emr.modify_instance_groups(InstanceGroups=[change])
    until(lambda: core()["RunningInstanceCount"], 4)
    assert core()["Status"]["State"] == "RUNNING"
