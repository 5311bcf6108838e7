"""Fixtures that run `emrctl` in this process, against moto."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from emrctl.aws.target import Target
from emrctl.cli.__main__ import main
from tests.emulator.fake_runtime import FakeRuntime


@pytest.fixture
def typed(
    runtime: FakeRuntime,
    mocked: Target,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., tuple[int, str, str]]:
    """Run a command in the test's folder; returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("emrctl.aws.target.emulator", lambda _region: mocked)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = 0
        try:
            main(arguments)
        except SystemExit as ended:
            code = int(ended.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run
