"""Pulumi's engine for tests marked `engine`: built before the session, its runs are counted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from emrctl.engine.pulumi.binary import EngineCommand
from tests.engine import build


class _Real:
    """The session's engine and the number of its runs."""

    path: Path | None = None
    runs = 0


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build the engine before the first test, outside of its time limit."""
    wanted = any(item.get_closest_marker("engine") for item in session.items)
    if not wanted or session.config.option.collectonly:
        return
    capture = session.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        try:
            _Real.path = build.ensure()
        except build.EngineNotBuiltError as error:
            pytest.exit(str(error), returncode=pytest.ExitCode.TESTS_FAILED)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if _Real.path is not None:
        terminalreporter.line(f"the real engine, {_Real.path}, was run {_Real.runs} times")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a session with tests marked `engine` in which the engine was not run."""
    if _Real.path is not None and not _Real.runs and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def pulumi_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pulumi-home")


@pytest.fixture
def real_engine(pulumi_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the engine first on PATH, with settings of its own."""
    assert _Real.path is not None, "a test with this fixture needs the marker `engine`"
    monkeypatch.setenv("PATH", f"{_Real.path.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PULUMI_HOME", str(pulumi_home))
    run = EngineCommand.run

    def counted(*args: Any, **kwargs: Any) -> Any:
        _Real.runs += 1
        return run(*args, **kwargs)

    monkeypatch.setattr(EngineCommand, "run", counted)
    return _Real.path
