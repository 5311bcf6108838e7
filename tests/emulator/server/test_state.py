from __future__ import annotations

import configparser
import os
import threading
import time
from pathlib import Path

import pytest

from emrctl.emulator.differences import DIFFERENCES
from emrctl.emulator.server import control, processes, state
from emrctl.errors import UsageError, WaitTimeoutError


def info(home: Path, **change: object) -> state.EmulatorInfo:
    facts = {
        "id": "e1",
        "endpoint": "http://127.0.0.1:1",
        "region": "us-east-1",
        "pid": os.getpid(),
        "started": processes.created(os.getpid()),
        "home": str(home),
        "credentials": str(home / "credentials"),
        "token_file": str(home / "token"),
    }
    return state.EmulatorInfo(**(facts | change))  # type: ignore[arg-type]


def test_write_is_readable_by_owner_only(tmp_path: Path) -> None:
    home = tmp_path / "local"
    state.prepare_home(home)
    state.write(info(home))
    assert state.read(home) == info(home)
    assert state.state_file(home).stat().st_mode & 0o777 == 0o600
    assert home.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in home.iterdir()] == ["emulator.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"unknown": 1}'])
def test_read_invalid_state_file_returns_none(tmp_path: Path, text: str) -> None:
    state.state_file(tmp_path).write_text(text)
    assert state.read(tmp_path) is None


def test_alive_detects_reused_pid(tmp_path: Path) -> None:
    assert info(tmp_path).alive
    assert not info(tmp_path, started=1.0).alive
    assert not info(tmp_path, pid=2**22 - 1).alive


def test_secrets_are_random_and_private(tmp_path: Path) -> None:
    first, second = state.new_secrets(), state.new_secrets()
    assert first != second
    assert len(first.access_key) == 20
    credentials, token = state.write_secrets(tmp_path, first)
    for path in (credentials, token):
        assert path.stat().st_mode & 0o777 == 0o600
    parsed = configparser.ConfigParser(interpolation=None)
    parsed.read(credentials)
    assert parsed["default"]["aws_access_key_id"] == first.access_key
    assert parsed["default"]["aws_secret_access_key"] == first.secret_key
    state.write(info(tmp_path))
    assert info(tmp_path).token == first.token
    assert first.secret_key not in state.state_file(tmp_path).read_text()
    state.forget(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_prepare_home_not_writable_raises(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot write to") as caught:
        state.prepare_home(tmp_path / "file" / "local")
    assert "EMRCTL_HOME" in caught.value.hint


def test_locked_excludes_others(tmp_path: Path) -> None:
    order: list[str] = []

    def other() -> None:
        with state.locked(tmp_path, timeout_s=60):
            order.append("other")

    with state.locked(tmp_path, timeout_s=60):
        thread = threading.Thread(target=other)
        thread.start()
        late = state.locked(tmp_path, timeout_s=0.1)
        with pytest.raises(WaitTimeoutError, match="starting or stopping"), late:
            raise AssertionError
        time.sleep(0.05)
        order.append("first")
    thread.join()
    assert order == ["first", "other"]


def test_consent_is_stored() -> None:
    assert control.first_use()
    assert not control.first_use()
    assert "your own" in control.CONSENT_TEXT
    assert all(DIFFERENCES)
