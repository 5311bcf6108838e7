"""Steps on EMR: throttling, network failures, rejected calls, terminated clusters."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from emrctl.aws.errors import RejectedRequestError
from emrctl.aws.target import Target
from emrctl.errors import (
    CredentialsError,
    EmrctlError,
    NotFoundError,
    UnavailableError,
)
from emrctl.runs import lifecycle
from emrctl.runs.backends.base import Step, read_logs
from emrctl.runs.backends.emr import EmrBackend, _interrupted
from emrctl.runs.submission import Submission, submit
from tests.emulator.fake_runtime import FakeRuntime
from tests.runs.backends.rejected_calls import LOST, RATE_EXCEEDED, refusing, share
from tests.runs.mocked import MockedWorkspace, mocked_workspace, watch


@pytest.fixture
def workspace(mocked: Target, standing: str, tmp_path: Path) -> MockedWorkspace:
    return mocked_workspace(mocked, tmp_path)


@pytest.fixture
def backend(mocked: Target, standing: str) -> EmrBackend:
    return EmrBackend(mocked, standing, None)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove botocore's pauses between retries and its adaptive rate limit."""
    from botocore.retries.bucket import TokenBucket

    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _seconds: None))
    monkeypatch.setattr(TokenBucket, "acquire", lambda *_, **__: True)


def test_wait_with_30_percent_throttled_calls_succeeds(
    workspace: MockedWorkspace, runtime: FakeRuntime, hasty: None
) -> None:
    with refusing(share(0.3)) as wire:
        found = [submit(workspace, Submission(job="mine")) for _ in range(3)]
        found = [lifecycle.wait(workspace, run, watch, timeout_s=120) for run in found]
    assert [run.state for run in found] == ["COMPLETED"] * 3
    assert wire.refused.total() >= 0.15 * wire.asked.total() > 0
    assert len(runtime.steps) == 3  # a throttled submission was not made twice


def test_submit_with_lost_response_adds_one_step(
    workspace: MockedWorkspace, runtime: FakeRuntime
) -> None:
    with refusing(lambda operation: LOST if operation == "AddJobFlowSteps" else None) as wire:
        run = submit(workspace, Submission(job="mine"))
    assert wire.asked["AddJobFlowSteps"] == 1
    assert lifecycle.wait(workspace, run, watch, timeout_s=120).state == "COMPLETED"
    assert len(runtime.steps) == 1


def test_submit_with_endless_throttling_is_unavailable_error(
    workspace: MockedWorkspace, runtime: FakeRuntime, hasty: None
) -> None:
    with (
        refusing(lambda name: RATE_EXCEEDED if name == "AddJobFlowSteps" else None) as wire,
        pytest.raises(UnavailableError, match="AWS throttled the request"),
    ):
        submit(workspace, Submission(job="mine"))
    assert wire.asked["AddJobFlowSteps"] == 10
    assert runtime.steps == []


@pytest.mark.parametrize("code", ["SlowDown", "ExpiredToken"])
def test_wait_with_temporary_failure_of_s3_does_not_lose_result(
    workspace: MockedWorkspace, runtime: FakeRuntime, hasty: None, code: str
) -> None:
    run = submit(workspace, Submission(job="mine"))
    key = f"runs/{run.id}/output/result.json"
    workspace.target.client("s3").put_object(Bucket=run.bucket, Key=key, Body=b'{"rows": 7}')
    get = workspace.target.client("s3").get_object
    left = iter([code])

    def fail_once(**arguments: Any) -> Any:
        if arguments["Key"] == key and (failure := next(left, None)):
            error: Any = {"Error": {"Code": failure, "Message": "later"}}
            raise ClientError(error, "GetObject")
        return get(**arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workspace.target.client("s3"), "get_object", fail_once)
        if code == "ExpiredToken":
            with pytest.raises(CredentialsError, match="the session has expired"):
                lifecycle.wait(workspace, run, watch, timeout_s=120)
        run = lifecycle.wait(workspace, run, watch, timeout_s=120)
    assert run.state == "COMPLETED"
    assert workspace.store.files(run.id).read_json("result.json") == {"rows": 7}


def test_wait_with_throttling_beyond_botocore_retries_succeeds(
    workspace: MockedWorkspace, hasty: None
) -> None:
    run = submit(workspace, Submission(job="mine"))
    left = iter([RATE_EXCEEDED] * 25)
    with refusing(lambda _operation: next(left, None)) as wire:
        run = lifecycle.wait(workspace, run, watch, timeout_s=120)
    assert run.state == "COMPLETED"
    assert wire.refused.total() == 25  # more than the ten tries of one call


def test_wait_with_endless_throttling_is_unavailable_error(
    workspace: MockedWorkspace, monkeypatch: pytest.MonkeyPatch, hasty: None
) -> None:
    monkeypatch.setattr("emrctl.aws.polling.MAX_FAILURE_S", 0.0)
    run = submit(workspace, Submission(job="mine"))
    with (
        refusing(lambda _operation: RATE_EXCEEDED),
        pytest.raises(UnavailableError, match="Rate exceeded") as caught,
    ):
        lifecycle.wait(workspace, run, watch)
    assert f"emrctl wait {run.id}" in caught.value.hint


def test_refresh_all_lists_steps_once_per_cluster(
    workspace: MockedWorkspace, runtime: FakeRuntime
) -> None:
    runtime.pause = True
    made = [submit(workspace, Submission(job="mine")) for _ in range(12)]
    with refusing(lambda _operation: None) as wire:
        found = lifecycle.refresh_all(workspace)
    assert [run.id for run in found] == sorted(run.id for run in made)
    assert wire.asked == {"ListSteps": 1, "DescribeCluster": 1}
    runtime.pause = False


def test_refresh_all_with_unavailable_cluster_keeps_runs(
    workspace: MockedWorkspace, runtime: FakeRuntime, hasty: None
) -> None:
    runtime.pause = True
    run = submit(workspace, Submission(job="mine"))
    with refusing(lambda _operation: RATE_EXCEEDED):
        [found] = lifecycle.refresh_all(workspace)
    assert found == workspace.store.load(run.id)
    assert not found.finished
    runtime.pause = False


def test_refresh_all_of_unknown_cluster_marks_runs_lost(
    workspace: MockedWorkspace, runtime: FakeRuntime
) -> None:
    runtime.pause = True
    run = submit(workspace, Submission(job="mine"))
    workspace.store.save(replace(run, cluster=replace(run.cluster, id="j-NOSUCH")))
    [found] = lifecycle.refresh_all(workspace)
    assert found.state == "LOST"
    runtime.pause = False


def test_steps_reads_all_pages(backend: EmrBackend, runtime: FakeRuntime) -> None:
    made = [backend.submit(f"s{n}", ("true",)) for n in range(60)]
    found = backend.steps([made[0], made[-1], "s-NOSUCH"])
    assert set(found) == {made[0], made[-1]}
    assert backend.find("s0") is not None
    assert backend.find("nobody") is None


def test_unfinished_step_of_terminated_cluster_is_interrupted() -> None:
    step = Step(id="s-1", name="mine", state="RUNNING")
    status: dict[str, Any] = {
        "State": "TERMINATED_WITH_ERRORS",
        "StateChangeReason": {"Code": "INSTANCE_FAILURE", "Message": "NO_SLAVE_LEFT"},
    }
    found = _interrupted(step, status)
    assert (found.state, found.finished) == ("INTERRUPTED", True)
    assert "nodes were lost" in found.reason
    assert _interrupted(step, {"State": "TERMINATING"}) is step
    assert _interrupted(replace(step, state="FAILED"), status).state == "FAILED"


def test_wait_for_interrupted_step_returns(
    workspace: MockedWorkspace, runtime: FakeRuntime
) -> None:
    runtime.pause = True
    run = submit(workspace, Submission(job="mine"))
    while not runtime.steps:  # a pending step is cancelled, not interrupted
        time.sleep(0.01)
    workspace.target.client("emr").terminate_job_flows(JobFlowIds=[run.cluster.id])
    found = lifecycle.wait(workspace, run, watch, timeout_s=20)
    assert found.finished
    assert found.failure


@pytest.mark.parametrize(
    ("code", "message", "family", "told", "advice"),
    [
        (*RATE_EXCEEDED, UnavailableError, "throttled", "Wait a minute"),
        (
            "ExpiredTokenException",
            "The security token included in the request is expired",
            CredentialsError,
            "the session has expired",
            "aws sso login",
        ),
        (
            "AccessDeniedException",
            "User is not authorized: explicit deny: MultiFactorAuthPresent is false",
            CredentialsError,
            "multi-factor authentication (MFA)",
            "mfa_serial",
        ),
        (
            "AccessDeniedException",
            "User: arn:aws:sts::1:x is not authorized to perform: elasticmapreduce:DescribeStep",
            CredentialsError,
            "the caller is not authorized (elasticmapreduce:DescribeStep)",
            "administrator",
        ),
        (
            "InvalidRequestException",
            "Cluster id 'j-X' is not valid.",
            NotFoundError,
            "in us-east-1: Cluster id 'j-X' is not valid",
            "emrctl list",
        ),
        (
            "ValidationException",
            "A job flow that is shutting down, terminated, or finished may not be modified",
            RejectedRequestError,
            "shutting down",
            "emrctl show",
        ),
    ],
)
def test_errors_of_aws_have_messages_and_hints(
    backend: EmrBackend,
    hasty: None,
    code: str,
    message: str,
    family: type[EmrctlError],
    told: str,
    advice: str,
) -> None:
    with (
        refusing(lambda _operation: (code, message)),
        pytest.raises(EmrctlError) as caught,
    ):
        backend.step("s-1")
    assert type(caught.value) is family
    assert told in caught.value.message
    assert advice in caught.value.hint


def _raised(error: Exception) -> Any:
    def handler(**_: Any) -> None:
        raise error

    return handler


def test_missing_sso_session_hints_at_login(backend: EmrBackend) -> None:
    from botocore.exceptions import UnauthorizedSSOTokenError

    events = backend.target.client("emr").meta.events
    handler = _raised(UnauthorizedSSOTokenError())
    events.register_first("before-send.emr", handler)
    with pytest.raises(CredentialsError, match="single sign-on") as caught:
        backend.step("s-1")
    events.unregister("before-send.emr", handler)
    assert "aws sso login" in caught.value.hint


def test_network_failure_is_unavailable_error(backend: EmrBackend) -> None:
    from botocore.exceptions import EndpointConnectionError

    events = backend.target.client("emr").meta.events
    handler = _raised(EndpointConnectionError(endpoint_url="https://emr"))
    events.register_first("before-parameter-build.emr", handler)
    with pytest.raises(UnavailableError, match="cannot connect to AWS"):
        backend.step("s-1")
    events.unregister("before-parameter-build.emr", handler)


def test_logs_without_permission_is_credentials_error(
    backend: EmrBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object) -> None:
        error: Any = {"Error": {"Code": "AccessDenied", "Message": "Access Denied"}}
        raise ClientError(error, "ListObjectsV2")

    monkeypatch.setattr("emrctl.runs.backends.base.objects", refuse)
    reader = replace(backend, log_uri="s3://pets-logs-of-others/logs/")
    with pytest.raises(CredentialsError, match="pets-logs-of-others"):
        list(reader.step_logs("s-1"))


def test_logs_of_step_whose_bucket_was_deleted_are_empty(mocked: Target) -> None:
    assert list(read_logs(mocked, "pets-no-such-bucket", "logs/s-1/", "step")) == []
