"""Session Manager: plugin, token, port forwarding."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from emrctl import ports
from emrctl.aws.target import Target
from emrctl.errors import UnreachableError
from emrctl.remote import session_manager
from tests.remote.connections import ssm


def test_check_available_without_plugin_raises(
    mocked: Target, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnreachableError, match="session-manager-plugin is not on PATH"):
        session_manager.check_available(mocked, "i-1")


def test_check_available_unregistered_node_raises(mocked: Target, plugin: Path) -> None:
    with (
        ssm(mocked, online=False, sessions_=0),
        pytest.raises(UnreachableError, match="not registered with SSM") as caught,
    ):
        session_manager.check_available(mocked, "i-1")
    assert "roles.ssm" in caught.value.hint


def test_run_hides_token_from_process_lists(mocked: Target, plugin: Path) -> None:
    with ssm(mocked):
        session_manager.check_available(mocked, "i-1")
        assert session_manager.run(mocked, "i-1", "uptime") == 7
    arguments, environment, _ = json.loads(plugin.read_text())
    assert "sesame" not in json.dumps(arguments)
    assert json.loads(environment)["TokenValue"] == "sesame"
    assert json.loads(arguments[4])["Parameters"] == {"command": ["uptime"]}


def test_run_rejects_old_plugin(
    mocked: Target, plugin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLUGIN_VERSION", "1.2.100.0")
    with ssm(mocked):
        session_manager.check_available(mocked, "i-1")
        with pytest.raises(UnreachableError, match=r"has version 1\.2\.100\.0") as caught:
            session_manager.run(mocked, "i-1", None)
    assert "token" in caught.value.hint
    assert not plugin.exists()


def test_forward_restarts_session_that_ends(mocked: Target, plugin: Path) -> None:
    said: list[str] = []
    forward = session_manager.SessionForward(
        mocked, "i-1", ("10.0.0.7", ports.preferred(0)), said.append
    )
    until = threading.Event()
    with ssm(mocked, sessions_=2):
        session_manager.check_available(mocked, "i-1")
        port = forward.open()
        keeper = threading.Thread(target=forward.keep, args=(until,))
        keeper.start()
        os.kill(json.loads(plugin.read_text())[2], signal.SIGKILL)
        deadline = time.monotonic() + 60
        while len(plugin.read_text().splitlines()) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        while not session_manager._accepts(port):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    until.set()
    keeper.join(timeout=60)
    assert forward._process is not None
    assert forward._process.poll() is not None
    assert any("starting another" in line for line in said)
    assert not session_manager._accepts(port)


def _falls_silent(port: int) -> None:
    deadline = time.monotonic() + 60
    while session_manager._accepts(port):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_plugin_ends_with_its_parent(plugin: Path) -> None:
    """The parent is killed."""
    client = """
import sys, time
from types import SimpleNamespace as Any
from emrctl.remote import session_manager
ssm = Any(start_session=lambda **_: {"TokenValue": "sesame"}, meta=Any(endpoint_url="https://x"))
target = Any(client=lambda _: ssm, region="us-east-1", profile=None)
print(session_manager.SessionForward(target, "i-1", ("10.0.0.7", 8088)).open(), flush=True)
time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", client], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        assert session_manager._accepts(port)
        process.kill()
    _falls_silent(port)


def test_close_kills_plugin_that_ignores_its_pipe(
    mocked: Target, plugin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_manager, "_EXIT_S", 0.2)
    monkeypatch.setenv("PLUGIN_IS_DEAF", "1")
    forward = session_manager.SessionForward(mocked, "i-1", ("10.0.0.7", ports.preferred(0)))
    with ssm(mocked):
        session_manager.check_available(mocked, "i-1")
        port = forward.open()
    forward.close()
    _falls_silent(port)
