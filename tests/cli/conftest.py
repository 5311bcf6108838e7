"""Fixtures that run `emrctl` in this process, against moto."""

from __future__ import annotations

from pathlib import Path

import pytest

from emrctl.aws.target import Target
from emrctl.cli.__main__ import main
from tests.cli.answers import Emrctl
from tests.emulator.fake_runtime import FakeRuntime


@pytest.fixture
def typed(
    runtime: FakeRuntime,
    mocked: Target,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Emrctl:
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


@pytest.fixture
def emrctl(typed: Emrctl, tmp_path: Path, request: pytest.FixtureRequest) -> Emrctl:
    """Run a command in a project with the emrctl.yaml `YAML` of the test's module and a job."""
    (tmp_path / "emrctl.yaml").write_text(request.module.YAML)
    (tmp_path / "mine.py").write_text("print(1)")
    return typed
