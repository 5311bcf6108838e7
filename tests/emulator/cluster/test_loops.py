from __future__ import annotations

import threading

import pytest

from emrctl.emulator.cluster import loops


def test_check_is_repeated_after_an_error_until_stopped(caplog: pytest.LogCaptureFixture) -> None:
    stopped, checks = threading.Event(), []

    def check() -> None:
        checks.append(1)
        if len(checks) == 3:
            stopped.set()
        raise RuntimeError("no answer")

    loops.start(check, 0.001, stopped, "could not check j-1")
    assert stopped.wait(30)
    for thread in threading.enumerate():
        if thread.name == "could not check j-1":
            thread.join(30)
    assert len(checks) == 3
    assert caplog.text.count("could not check j-1") == 3
