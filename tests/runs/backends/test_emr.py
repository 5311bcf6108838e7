"""Waiting for steps on a busy account: throttled, cut off, refused; and dead clusters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from emrctl.aws.target import Target
from emrctl.errors import (
    CredentialsError,
    EmrctlError,
    NotFoundError,
    ProvisioningError,
    UnavailableError,
)
from emrctl.runs import lifecycle
from emrctl.runs.backends.base import Step, StepSpec
from emrctl.runs.backends.emr import EmrBackend, _interrupted
from emrctl.runs.progress import Progress
from emrctl.runs.store import Run
from emrctl.runs.submission import Submission, submit
from emrctl.runs.workspace import Workspace
from emrctl.spec import JobSpec, ProjectSpec
from emrctl.spec.config import Config
from tests.emulator.fake_runtime import FakeRuntime
from tests.runs.backends.troubles import RATE_EXCEEDED, refusing, share


class Desk(Workspace):
    """A workspace whose target is given."""

    def __init__(self, config: Config, target: Target) -> None:
        super().__init__(config)
        object.__setattr__(self, "target", target)


@pytest.fixture
def desk(mocked: Target, standing: str, tmp_path: Path) -> Desk:
    (tmp_path / "mine.py").write_text("print(1)")
    project = ProjectSpec(project="pets", jobs={"mine": JobSpec(script="mine.py")})
    return Desk(Config(project, tmp_path, {}), mocked)


@pytest.fixture
def backend(mocked: Target, standing: str) -> EmrBackend:
    return EmrBackend(mocked, standing, None)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore makes its tries without its pauses, and without slowing down ever more."""
    from botocore.retries.bucket import TokenBucket

    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _seconds: None))
    monkeypatch.setattr(TokenBucket, "acquire", lambda *_, **__: True)


def _watch(_run: Run, _progress: Progress) -> None:
    """Nobody looks."""


def test_waiting_survives_an_account_where_three_of_ten_calls_are_throttled(
    desk: Desk, runtime: FakeRuntime, hasty: None
) -> None:
    with refusing(share(0.3)) as wire:
        found = [submit(desk, Submission(job="mine")) for _ in range(3)]
        found = [lifecycle.wait(desk, run, _watch, timeout_s=120) for run in found]
    assert [run.state for run in found] == ["COMPLETED"] * 3
    assert wire.refused.total() >= 0.15 * wire.asked.total() > 0
    assert len(runtime.steps) == 3  # a throttled submission was not made twice


def test_waiting_survives_calls_that_stay_throttled_after_all_of_botocores_tries(
    desk: Desk, hasty: None
) -> None:
    run = submit(desk, Submission(job="mine"))
    left = iter([RATE_EXCEEDED] * 25)
    with refusing(lambda _operation: next(left, None)) as wire:
        run = lifecycle.wait(desk, run, _watch, timeout_s=120)
    assert run.state == "COMPLETED"
    assert wire.refused.total() == 25  # more than the ten tries of one call


def test_silence_without_end_is_told_with_how_to_go_on(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, hasty: None
) -> None:
    monkeypatch.setattr("emrctl.aws.polling.MAX_FAILURE_S", 0.0)
    run = submit(desk, Submission(job="mine"))
    with (
        refusing(lambda _operation: RATE_EXCEEDED),
        pytest.raises(UnavailableError, match="Rate exceeded") as caught,
    ):
        lifecycle.wait(desk, run, _watch)
    assert f"emrctl wait {run.id}" in caught.value.hint


def test_many_runs_of_one_cluster_cost_one_listing(desk: Desk, runtime: FakeRuntime) -> None:
    runtime.pause = True
    made = [submit(desk, Submission(job="mine")) for _ in range(12)]
    with refusing(lambda _operation: None) as wire:
        found = lifecycle.refresh_all(desk)
    assert [run.id for run in found] == sorted(run.id for run in made)
    assert wire.asked == {"ListSteps": 1, "DescribeCluster": 1}
    runtime.pause = False


def test_runs_stay_as_they_are_where_the_cluster_cannot_be_asked(
    desk: Desk, runtime: FakeRuntime, hasty: None
) -> None:
    runtime.pause = True
    run = submit(desk, Submission(job="mine"))
    with refusing(lambda _operation: RATE_EXCEEDED):
        [found] = lifecycle.refresh_all(desk)
    assert found == desk.store.load(run.id)
    assert not found.finished
    runtime.pause = False


def test_runs_of_a_cluster_that_nobody_knows_are_lost(desk: Desk, runtime: FakeRuntime) -> None:
    runtime.pause = True
    run = submit(desk, Submission(job="mine"))
    desk.store.save(replace(run, cluster=replace(run.cluster, id="j-NOSUCH")))
    [found] = lifecycle.refresh_all(desk)
    assert found.state == "LOST"
    runtime.pause = False


def test_steps_of_more_than_one_page_are_found(backend: EmrBackend, runtime: FakeRuntime) -> None:
    made = [backend.submit(StepSpec(name=f"s{n}", arguments=("true",))) for n in range(60)]
    found = backend.steps([made[0], made[-1], "s-NOSUCH"])
    assert set(found) == {made[0], made[-1]}
    assert backend.find("s0") is not None
    assert backend.find("nobody") is None


def test_a_step_that_a_dead_cluster_never_ended_is_interrupted_with_the_clusters_cause() -> None:
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


def test_an_interrupted_step_ends_the_wait(desk: Desk, runtime: FakeRuntime) -> None:
    runtime.pause = True
    run = submit(desk, Submission(job="mine"))
    desk.target.client("emr").terminate_job_flows(JobFlowIds=[run.cluster.id])
    found = lifecycle.wait(desk, run, _watch, timeout_s=20)
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
            "is not valid",
            "emrctl list",
        ),
        (
            "ValidationException",
            "A job flow that is shutting down, terminated, or finished may not be modified",
            ProvisioningError,
            "shutting down",
            "emrctl show",
        ),
    ],
)
def test_each_refusal_of_aws_has_its_message(
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


def test_a_missing_single_sign_on_session_says_how_to_log_in(backend: EmrBackend) -> None:
    from botocore.exceptions import UnauthorizedSSOTokenError

    events = backend.target.client("emr").meta.events
    handler = _raised(UnauthorizedSSOTokenError())
    events.register_first("before-send.emr", handler)
    with pytest.raises(CredentialsError, match="single sign-on") as caught:
        backend.step("s-1")
    events.unregister("before-send.emr", handler)
    assert "aws sso login" in caught.value.hint


def test_a_network_that_is_away_is_silence_and_not_an_end(backend: EmrBackend) -> None:
    from botocore.exceptions import EndpointConnectionError

    events = backend.target.client("emr").meta.events
    handler = _raised(EndpointConnectionError(endpoint_url="https://emr"))
    events.register_first("before-parameter-build.emr", handler)
    with pytest.raises(UnavailableError, match="cannot connect to AWS"):
        backend.step("s-1")
    events.unregister("before-parameter-build.emr", handler)


def test_logs_that_may_not_be_read_are_told(backend: EmrBackend, mocked: Target) -> None:
    reader = replace(backend, log_uri="s3://no-such-bucket-at-all/logs/")
    with pytest.raises(EmrctlError, match="no-such-bucket-at-all"):
        list(reader.logs("s-1", None))
