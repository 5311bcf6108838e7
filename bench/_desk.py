"""A project in a folder of its own with an emulator of its own, for benchmarks of clusters."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

JOB = "from pyspark.sql import SparkSession\nSparkSession.builder.getOrCreate().range(9).count()\n"


class Desk:
    """A project in a folder of its own, with a home of its own."""

    def __init__(self, folder: Path, cluster: str) -> None:
        """Lay the project's files; `cluster` is that part of its spec."""
        self.folder = folder
        self.home = folder / "home"
        (folder / "emrctl.yaml").write_text(f"project: bench\ncluster: {cluster}\n")
        (folder / "job.py").write_text(JOB)

    def emrctl(self, *arguments: str) -> str:
        """What the command printed."""
        done = subprocess.run(
            [sys.executable, "-m", "emrctl.cli", *arguments],
            cwd=self.folder,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout


@contextlib.contextmanager
def desk(cluster: str) -> Iterator[Desk]:
    """A desk whose emulator runs, in this process too; nothing of it is left afterwards."""
    usual = Path(os.environ.get("EMRCTL_HOME", Path.home() / ".emrctl"))
    os.environ.setdefault("EMRCTL_CACHE", str(usual / "cache"))
    # People's Python keeps bytecode: where it may not, every emrctl compiles all that it imports.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory(prefix="emrctl-bench-") as folder:
        made = Desk(Path(folder), cluster)
        os.environ["EMRCTL_HOME"] = str(made.home)
        made.emrctl("local", "up")
        try:
            yield made
        finally:
            made.emrctl("local", "down")


def memory_gb(desk: Desk) -> float:
    """Resident memory of the emulator and all that it started."""
    import psutil

    state = json.loads((desk.home / "local" / "emulator.json").read_text())
    root = psutil.Process(state["pid"])
    return sum(p.memory_info().rss for p in (root, *root.children(recursive=True))) / 2**30


def timed(work: Any) -> float:
    """Wall seconds of `work`."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
