"""Jitter, growth and time limit of the pauses between polls."""

from __future__ import annotations

from pathlib import Path

import pytest

from emrctl.aws.polling import MAX_FAILURE_S, Backoff, poll_until
from emrctl.errors import UnavailableError


class Clock:
    """A clock that advances by pauses only."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def backoff(self, base_s: float = 10.0) -> Backoff:
        return Backoff(base_s, sleep=self.sleep, clock=lambda: self.now)


def test_backoff_without_changes_grows_with_jitter() -> None:
    clock = Clock()
    backoff = clock.backoff()
    for _ in range(60):
        backoff.succeeded(changed=False)
        backoff.wait()
    assert len(set(clock.pauses)) == len(clock.pauses)
    assert min(clock.pauses) >= 8.0
    assert max(clock.pauses) <= 36.0
    assert sum(clock.pauses[-10:]) > 1.2 * sum(clock.pauses[:10])  # 1.7 without jitter


def test_backoff_after_change_resets() -> None:
    clock = Clock()
    backoff = clock.backoff()
    for _ in range(30):
        backoff.succeeded(changed=False)
    backoff.succeeded(changed=True)
    backoff.wait()
    assert clock.pauses[-1] <= 12.0


def test_backoff_failed_polls_grows_faster_until_success() -> None:
    clock = Clock()
    backoff = clock.backoff()
    for _ in range(8):
        backoff.failed(UnavailableError("throttled"))
        backoff.wait()
    assert 96.0 <= clock.pauses[-1] <= 144.0
    backoff.succeeded(changed=False)
    backoff.wait()
    assert clock.pauses[-1] <= 36.0


def test_backoff_failing_for_15_minutes_raises() -> None:
    clock = Clock()
    backoff = clock.backoff()

    def poll_forever() -> None:
        while True:
            backoff.failed(UnavailableError("no response"))
            backoff.wait()

    with pytest.raises(UnavailableError, match="no response"):
        poll_forever()
    assert MAX_FAILURE_S < clock.now < MAX_FAILURE_S + 300


def test_source_uses_no_botocore_waiters() -> None:
    """They time out after 30 minutes and do not support the state INTERRUPTED."""
    root = Path(__file__).parents[2]
    for folder in ("emrctl", "stacks"):
        for path in (root / folder).rglob("*.py"):
            assert "get_waiter" not in path.read_text(), path


def test_poll_until_returns_first_true_value() -> None:
    values = iter(["", "", "ready", "later"])
    assert poll_until(lambda: next(values), 0.001, 10) == "ready"


def test_poll_until_timeout_returns_last_value() -> None:
    assert poll_until(lambda: 0, 0.001, 0.01) == 0
