"""A temporary project with its own emulator, for benchmarks of clusters."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

JOB = "from pyspark.sql import SparkSession\nSparkSession.builder.getOrCreate().range(9).count()\n"


class BenchProject:
    """A project in a temporary folder, with its own EMRCTL_HOME."""

    def __init__(self, folder: Path, cluster: str) -> None:
        """Write emrctl.yaml with this `cluster` section, and job.py."""
        self.folder = folder
        self.home = folder / "home"
        (folder / "emrctl.yaml").write_text(f"project: bench\ncluster: {cluster}\n")
        (folder / "job.py").write_text(JOB)

    def emrctl(self, *arguments: str) -> str:
        """Run an emrctl command and return its output."""
        process = subprocess.run(
            [sys.executable, "-m", "emrctl.cli", *arguments],
            cwd=self.folder,
            check=True,
            capture_output=True,
            text=True,
        )
        return process.stdout

    def memory_gb(self) -> float:
        """Return the resident memory of the emulator and its child processes."""
        import psutil

        state = json.loads((self.home / "local" / "emulator.json").read_text())
        emulator = psutil.Process(state["pid"])
        processes = (emulator, *emulator.children(recursive=True))
        return sum(process.memory_info().rss for process in processes) / 2**30


@contextlib.contextmanager
def running_project(cluster: str) -> Iterator[BenchProject]:
    """Yield a project whose emulator is running; stop it and delete everything afterwards.

    EMRCTL_HOME is set in this process too.
    """
    usual = Path(os.environ.get("EMRCTL_HOME", Path.home() / ".emrctl"))
    os.environ.setdefault("EMRCTL_CACHE", str(usual / "cache"))
    # Without bytecode every emrctl process would compile all modules that it imports.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory(prefix="emrctl-bench-") as folder:
        project = BenchProject(Path(folder), cluster)
        os.environ["EMRCTL_HOME"] = str(project.home)
        project.emrctl("local", "up")
        try:
            yield project
        finally:
            project.emrctl("local", "down")


def time_s(work: Callable[[], object]) -> float:
    """Return the wall-clock seconds of `work`."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
