from __future__ import annotations

import threading

import pytest

from emrctl.emulator.cluster import threads


def test_check_is_repeated_after_an_error_until_stopped(caplog: pytest.LogCaptureFixture) -> None:
    stopped, checks = threading.Event(), []

    def check() -> None:
        checks.append(1)
        if len(checks) == 3:
            stopped.set()
        raise RuntimeError("no answer")

    thread = threads.repeat(check, 0.001, stopped, "could not check j-1")
    assert stopped.wait(30)
    thread.join(30)
    assert len(checks) == 3
    assert caplog.text.count("could not check j-1") == 3
