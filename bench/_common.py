"""Parts that several benchmarks share: timing of commands, environments of peers."""

from __future__ import annotations

import subprocess
import time
import venv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]


class Duration(NamedTuple):
    """Wall time of a command, and CPU time of all its processes."""

    wall_s: float
    cpu_s: float


def time_s(work: Callable[[], object]) -> float:
    """Return the wall-clock seconds of `work`."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(command: list[str], environment: Mapping[str, str] | None = None) -> Duration:
    """Run a command. Return its wall time, and the CPU time of all its processes."""
    import psutil

    start = time.perf_counter()
    cpu_s: dict[int, float] = {}
    started = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    )
    root = psutil.Process(started.pid)
    while started.poll() is None:
        try:
            for process in [root, *root.children(recursive=True)]:
                times = process.cpu_times()
                cpu_s[process.pid] = times.user + times.system
        except psutil.Error:
            pass  # a process has exited
        time.sleep(0.1)
    if started.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {started.returncode}")
    return Duration(time.perf_counter() - start, sum(cpu_s.values()))


def programs(name: str, *packages: str) -> Path:
    """Return the programs of a peer's virtual environment, created by the first call."""
    folder = ROOT / ".cache" / name / "bin"
    if not folder.exists():
        venv.create(folder.parent, with_pip=True)
        pip = [str(folder / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, *packages], check=True)
    return folder
