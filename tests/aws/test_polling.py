"""Pauses: never on a fixed beat, longer while nothing happens, and patience with an end."""

from __future__ import annotations

from pathlib import Path

import pytest

from emrctl.aws.polling import PATIENCE_S, Pace, poll_until
from emrctl.errors import UnavailableError


class Clock:
    """A clock that only pauses move."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def pace(self, base_s: float = 10.0) -> Pace:
        return Pace(base_s, sleep=self.sleep, clock=lambda: self.now)


def test_pauses_grow_while_nothing_changes_and_never_keep_a_beat() -> None:
    clock = Clock()
    pace = clock.pace()
    for _ in range(60):
        pace.saw(changed=False)
        pace.rest()
    assert len(set(clock.pauses)) == len(clock.pauses)
    assert min(clock.pauses) >= 8.0
    assert max(clock.pauses) <= 36.0
    assert sum(clock.pauses[-10:]) > 1.2 * sum(clock.pauses[:10])  # 1.7 but for chance


def test_a_change_brings_the_short_pauses_back() -> None:
    clock = Clock()
    pace = clock.pace()
    for _ in range(30):
        pace.saw(changed=False)
    pace.saw(changed=True)
    pace.rest()
    assert clock.pauses[-1] <= 12.0


def test_throttling_is_met_with_longer_pauses_and_forgiven_after_an_answer() -> None:
    clock = Clock()
    pace = clock.pace()
    for _ in range(8):
        pace.refused(UnavailableError("patience"))
        pace.rest()
    assert 96.0 <= clock.pauses[-1] <= 144.0
    pace.saw(changed=False)
    pace.rest()
    assert clock.pauses[-1] <= 36.0


def test_silence_is_borne_for_a_quarter_of_an_hour_and_then_told() -> None:
    clock = Clock()
    pace = clock.pace()

    def wait_for_ever() -> None:
        while True:
            pace.refused(UnavailableError("nobody answers"))
            pace.rest()

    with pytest.raises(UnavailableError, match="nobody answers"):
        wait_for_ever()
    assert PATIENCE_S < clock.now < PATIENCE_S + 300


def test_no_waiter_of_botocores_is_used_anywhere() -> None:
    """They give up after half an hour, and know no INTERRUPTED."""
    root = Path(__file__).parents[2]
    for folder in ("emrctl", "stacks"):
        for path in (root / folder).rglob("*.py"):
            assert "get_waiter" not in path.read_text(), path


def test_poll_until_returns_first_true_value() -> None:
    values = iter(["", "", "ready", "later"])
    assert poll_until(lambda: next(values), 0.001, 10) == "ready"


def test_poll_until_timeout_returns_last_value() -> None:
    assert poll_until(lambda: 0, 0.001, 0.01) == 0
