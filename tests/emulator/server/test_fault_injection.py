"""Faults seen by boto3, in the emulator's process without Java."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ReadTimeoutError

from emrctl.aws import errors
from emrctl.aws.target import Target
from emrctl.emulator import faults as fault_kinds
from emrctl.emulator.faults import BootstrapFailure, Capacity, Fault, SlowS3, Throttle
from emrctl.emulator.server import control, state
from emrctl.emulator.server.fault_injection import FaultInjection
from emrctl.emulator.server.sigv4 import SERVICE_KEY
from tests.emulator.conftest import Await
from tests.emulator.conftest import state as state_of

Add = Callable[[Fault], None]


def info_of(target: Target) -> state.EmulatorInfo:
    assert target.token_file is not None
    info = state.read(target.token_file.parent)
    assert info is not None
    return info


@pytest.fixture
def add(instances: Target) -> Iterator[Add]:
    """Add a fault; end all faults after the test."""
    info = info_of(instances)
    yield lambda fault: control.add_fault(info, fault)
    control.clear_faults(info)


def client(target: Target, service: str, **config: Any) -> Any:
    """Return a client without retries."""
    session: Any = boto3.Session(region_name=target.region)
    keys = Path(str(target.credentials)).read_text().split()
    return session.client(
        service,
        endpoint_url=target.endpoint,
        aws_access_key_id=keys[keys.index("aws_access_key_id") + 2],
        aws_secret_access_key=keys[keys.index("aws_secret_access_key") + 2],
        config=Config(retries={"total_max_attempts": 1}, **config),
    )


def code_of(call: Callable[[], Any]) -> str:
    try:
        call()
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        return f"{error.response['Error']['Code']} {status}"
    return ""


@pytest.mark.parametrize(
    ("service", "operation", "error"),
    [
        ("emr", "list_clusters", "ThrottlingException 400"),
        ("ec2", "describe_vpcs", "RequestLimitExceeded 503"),
        ("s3", "list_buckets", "SlowDown 503"),
    ],
)
def test_throttle_answers_same_share_of_requests_with_aws_error(
    instances: Target, add: Add, service: str, operation: str, error: str
) -> None:
    add(Throttle(percent=25, service=service))
    call = getattr(client(instances, service), operation)
    assert [code_of(call) for _ in range(8)] == ["", "", "", error] * 2
    assert code_of(client(instances, "sts").get_caller_identity) == ""
    assert control.clear_faults(info_of(instances)) == 1
    assert [code_of(call) for _ in range(8)] == [""] * 8


def test_throttle_is_retried_by_emrctl_clients(instances: Target, add: Add) -> None:
    add(Throttle(percent=50))
    for _ in range(2):
        with errors.translated("listing clusters"):
            instances.client("emr").list_clusters()
    affected = control.faults(info_of(instances))[0]
    assert (affected["seen"], affected["affected"]) == (3, 1)


def test_slow_s3_times_out_until_cleared(instances: Target, add: Add) -> None:
    add(SlowS3(delay=60))
    with pytest.raises(ReadTimeoutError):
        client(instances, "s3", read_timeout=0.2).list_buckets()
    assert code_of(client(instances, "emr").list_clusters) == ""
    control.clear_faults(info_of(instances))
    assert code_of(client(instances, "s3").list_buckets) == ""


def test_slow_s3_with_bandwidth_transfers_the_same_bytes(instances: Target, add: Add) -> None:
    s3, content = client(instances, "s3"), bytes(range(256)) * 4000
    s3.create_bucket(Bucket="slow")
    add(SlowS3(bandwidth=500))
    s3.put_object(Bucket="slow", Key="a", Body=content)
    assert s3.get_object(Bucket="slow", Key="a")["Body"].read() == content
    assert s3.get_object(Bucket="slow", Key="a", Range="bytes=5-6")["Body"].read() == b"\5\6"
    assert s3.head_object(Bucket="slow", Key="a")["ContentLength"] == len(content)
    assert code_of(lambda: s3.get_object(Bucket="slow", Key="b")) == "NoSuchKey 404"
    assert control.faults(info_of(instances))[0]["affected"] == 5


def run_job_flow(target: Target) -> tuple[Any, str]:
    emr = target.client("emr")
    groups = [{"InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1}]
    script = {"Name": "packages", "ScriptBootstrapAction": {"Path": "file:/missing"}}
    made = emr.run_job_flow(
        Name="faults",
        ReleaseLabel="emr-7.5.0",
        LogUri="s3://fault-logs/",
        Instances={"InstanceGroups": groups, "KeepJobFlowAliveWhenNoSteps": True},
        BootstrapActions=[script],
    )
    return emr, str(made["JobFlowId"])


def test_bootstrap_failure_terminates_next_cluster(
    instances: Target, add: Add, until: Await
) -> None:
    instances.client("s3").create_bucket(Bucket="fault-logs")
    add(BootstrapFailure(exit_code=17))
    emr, cluster_id = run_job_flow(instances)
    until(lambda: state_of(emr, cluster_id), "TERMINATED_WITH_ERRORS")
    status = emr.describe_cluster(ClusterId=cluster_id)["Cluster"]["Status"]
    assert status["StateChangeReason"]["Code"] == "BOOTSTRAP_FAILURE"
    detail = status["ErrorDetails"][0]
    assert detail["ErrorCode"] == "BOOTSTRAP_FAILURE_PRIMARY_WITH_NON_ZERO_CODE"
    assert {"exit-code": "17"} in detail["ErrorData"]
    node = detail["ErrorData"][0]["instance-id"]
    key = f"{cluster_id}/node/{node}/bootstrap-actions/1/stderr.gz"
    assert instances.client("s3").head_object(Bucket="fault-logs", Key=key)["ContentLength"]
    assert control.faults(info_of(instances)) == []


@pytest.mark.parametrize(
    ("reason", "code", "detail"),
    [
        (
            fault_kinds.INSUFFICIENT_CAPACITY,
            "INTERNAL_ERROR",
            "INTERNAL_ERROR_EC2_INSUFFICIENT_CAPACITY_AZ",
        ),
        (
            fault_kinds.TYPE_NOT_SUPPORTED,
            "VALIDATION_ERROR",
            "VALIDATION_ERROR_INSTANCE_TYPE_NOT_SUPPORTED",
        ),
    ],
)
def test_capacity_terminates_next_cluster(
    instances: Target, add: Add, until: Await, reason: str, code: str, detail: str
) -> None:
    add(Capacity(reason=reason))
    emr, cluster_id = run_job_flow(instances)
    until(lambda: state_of(emr, cluster_id), "TERMINATED_WITH_ERRORS")
    status = emr.describe_cluster(ClusterId=cluster_id)["Cluster"]["Status"]
    assert status["StateChangeReason"]["Code"] == code
    assert status["ErrorDetails"][0]["ErrorCode"] == detail
    assert {"instance-type": "m5.xlarge", "availability-zone": "us-east-1a"} in status[
        "ErrorDetails"
    ][0]["ErrorData"]


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (fault_kinds.INSUFFICIENT_CAPACITY, "InsufficientInstanceCapacity 400"),
        (fault_kinds.TYPE_NOT_SUPPORTED, "Unsupported 400"),
    ],
)
def test_capacity_fails_next_launch_of_ec2(
    instances: Target, add: Add, reason: str, code: str
) -> None:
    add(Capacity(reason=reason))
    ec2 = instances.client("ec2")
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    options = {"ImageId": image, "InstanceType": "m5.xlarge", "MinCount": 1, "MaxCount": 1}
    assert code_of(lambda: ec2.run_instances(**options)) == code
    assert control.faults(info_of(instances)) == []


def test_pace_sleeps_for_each_byte_of_request_and_response() -> None:
    slept: list[float] = []
    faults = fault_kinds.Faults()
    faults.add(SlowS3(delay=3, bandwidth=1))

    def inner(environ: dict[str, Any], _start: Callable[..., Any]) -> Iterable[bytes]:
        return [environ["wsgi.input"].read(), b"x" * 400_000]

    application = FaultInjection(inner, faults, slept.append)
    environ = {SERVICE_KEY: "s3", "wsgi.input": BytesIO(b"y" * 100_000)}
    assert b"".join(application(environ, lambda *_: None)) == b"y" * 100_000 + b"x" * 400_000
    assert slept[0] == 3
    assert sum(slept[1:]) == pytest.approx(0.1 + 0.5)
