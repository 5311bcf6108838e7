from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from emrctl.emulator.server import processes


def program(tmp_path: Path, script: str, **marks: str) -> processes.ProcessSpec:
    return processes.ProcessSpec(
        argv=["bash", "-c", script],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], **marks},
        stdout=tmp_path / "out",
        stderr=tmp_path / "err",
    )


def test_kill_marked_finds_daemons(tmp_path: Path) -> None:
    scope = f"scope-{tmp_path.name}"
    script = "setsid sleep 300 & (setsid nohup sleep 301 &) ; sleep 0.1; exit 3"
    marks = {processes.SCOPE_MARK: scope}
    code = processes.run(program(tmp_path, script, **marks), scope, timeout_s=60)
    assert code == 3
    assert processes.marked(processes.SCOPE_MARK, scope) == []


def test_kill_marked_sends_sigterm_first(tmp_path: Path) -> None:
    scope = f"scope-{tmp_path.name}"
    script = "trap 'echo asked; exit 0' TERM; echo up; while true; do sleep 0.05; done"
    process = processes.start(program(tmp_path, script, **{processes.SCOPE_MARK: scope}))
    while "up" not in (tmp_path / "out").read_text():
        time.sleep(0.01)
    processes.kill_marked(processes.SCOPE_MARK, scope, grace_s=5)
    assert process.wait() == 0
    assert "asked" in (tmp_path / "out").read_text()


def test_run_kills_after_timeout(tmp_path: Path) -> None:
    code = processes.run(program(tmp_path, "sleep 300"), "no-such-scope", timeout_s=0.2)
    assert code == 128 + 9


def test_run_missing_program_returns_126(tmp_path: Path) -> None:
    odd = processes.ProcessSpec(
        argv=[str(tmp_path)], cwd=tmp_path, env={}, stdout=tmp_path / "o", stderr=tmp_path / "e"
    )
    assert processes.run(odd, "no-such-scope", timeout_s=60) == 126
    assert "ermission" in (tmp_path / "e").read_text()


def test_marked_excludes_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    own = psutil.Process()
    name, value = next(iter(own.environ().items()))
    assert own.pid not in [one.pid for one in processes.marked(name, value)]


def test_created_distinguishes_processes() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    assert processes.created(child.pid) == psutil.Process(child.pid).create_time()
    assert not processes.wait_gone(child.pid, timeout_s=0.05)
    child.kill()
    assert processes.wait_gone(child.pid, timeout_s=60)
    assert processes.created(child.pid) is None
    child.wait()
