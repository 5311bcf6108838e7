"""The emulator's process in EMRCTL_HOME: start it without Java, kill it."""

from __future__ import annotations

import os
import signal

from emrctl.aws import target as targets
from emrctl.aws.target import Target
from emrctl.emulator.server import control, processes


def start() -> Target:
    """Start the emulator if it is not running; return its target."""
    control.up(region="us-east-1", report=lambda _: None, jars=False)
    return targets.emulator("us-east-1")


def kill() -> None:
    """Kill the running emulator with SIGKILL and wait until it is gone."""
    info = control.status()
    assert info is not None
    os.kill(info.pid, signal.SIGKILL)
    assert processes.wait_gone(info.pid, timeout_s=60)
