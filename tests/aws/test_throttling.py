"""The warning while AWS throttles requests."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ClientError
from botocore.retries.bucket import TokenBucket

from emrctl.aws.target import Target
from emrctl.aws.throttling import INTERVAL_S, ThrottlingMonitor


class Clock:
    """A clock that the test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_monitor_warns_of_many_throttled_requests_once_per_interval(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    monitor = ThrottlingMonitor("emr", clock)
    warnings = list[int]()
    for _ in range(10):
        monitor.throttled("DescribeStep")
        warnings.append(len(caplog.records))
        clock.now += INTERVAL_S / 4
    assert warnings == [0, 0, 1, 1, 1, 1, 2, 2, 2, 2]
    assert "AWS throttles requests to EMR (DescribeStep)" in caplog.text


def test_monitor_ignores_rare_throttled_requests(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    monitor = ThrottlingMonitor("emr", clock)
    for _ in range(10):
        monitor.throttled("DescribeStep")
        clock.now += INTERVAL_S
    assert not caplog.records


class Body(io.BytesIO):
    """The body of a response, as urllib3 returns it."""

    def stream(self) -> Iterator[bytes]:
        yield self.read()


Answer = tuple[int, bytes]
THROTTLED: Answer = (400, b'{"__type": "ThrottlingException"}')
UNAVAILABLE: Answer = (503, b'{"__type": "ServiceUnavailable"}')
CLUSTERS: Answer = (200, b'{"Clusters": []}')


@pytest.fixture
def emr(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    """Return a client that gets these answers, without pauses."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDKEY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setattr(TokenBucket, "acquire", lambda _self: True)
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)

    def create(answers: list[Answer], *, once: bool = False) -> Any:
        def answer(**_: object) -> AWSResponse:
            status, body = answers.pop(0)
            return AWSResponse("https://emr", status, HTTPHeaders(), Body(body))

        target = Target(kind="aws", region="us-east-1", identity=str(tmp_path))
        client = target.client("emr", once=once)
        client.meta.events.register("before-send", answer)
        return client

    return create


def test_client_that_is_throttled_repeats_the_request_and_warns(
    emr: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    answers = [*[THROTTLED] * 4, UNAVAILABLE, CLUSTERS]
    assert emr(answers).list_clusters()["Clusters"] == []
    assert answers == []
    assert caplog.text.count("AWS throttles requests to EMR (ListClusters)") == 1


def test_client_of_single_requests_repeats_only_throttled_ones(emr: Callable[..., Any]) -> None:
    answers = [THROTTLED, THROTTLED, UNAVAILABLE, CLUSTERS]
    client = emr(answers, once=True)
    with pytest.raises(ClientError, match="ServiceUnavailable"):
        client.list_clusters()
    assert answers == [CLUSTERS]
    assert client.list_clusters()["Clusters"] == []
