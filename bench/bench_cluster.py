"""Measure clusters of both kinds on the emulator.

bench_cluster.py [--kind emr|ec2|both] [--workers N]

emr: `emrctl up` to WAITING (EMR takes 5 to 10 minutes), `preview`, and the memory of the idle
cluster. ec2: the setup of a standalone cluster. On AWS most of that time is EC2's: flintrock
documents minutes for a launch, mainly for booting and downloads. This measures emrctl's part: from
the first SSH connection to a master with all workers, in parallel and node by node; a second setup,
which has nothing to do; and a command on all nodes.

Both: the overhead of a step, as the difference to a bare spark-submit on the primary node of the
same cluster with the same settings, run alternately and timed from outside.

All nodes run on this machine: the masters and workers of a cluster share its cores, whereas each
EC2 instance has its own. `exec` shows the effect of parallel network waits. Everything is created
in a temporary folder and deleted afterwards.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from _common import time_s  # type: ignore[import-not-found,unused-ignore]

from emrctl import standalone
from emrctl.provision import lifecycle
from emrctl.runs.workspace import Workspace
from emrctl.spec import config

PAIRS = 3
JOB = "from pyspark.sql import SparkSession\nSparkSession.builder.getOrCreate().range(9).count()\n"
PROBE = """import json, os, pathlib
pathlib.Path(os.environ["HOME"], "environment").write_text(json.dumps(dict(os.environ)))
"""
EMR_CONF = ("--executor-memory", "1g", "--executors", "1", "--no-dynamic-allocation")
EMR_BARE = (
    "spark-submit --master yarn --executor-memory 1g --num-executors 1 "
    "--conf spark.dynamicAllocation.enabled=false job.py"
)
EC2_CONF = ("--executor-memory", "1g", "--executor-cores", "1", "--executors", "1")
EC2_BARE = (
    ". emrctl/env.sh && exec spark-submit --executor-memory 1g --executor-cores 1 "
    "--conf spark.cores.max=1 job.py"
)


def main() -> None:
    """Print the seconds of each measurement, and ratios."""
    parser = argparse.ArgumentParser(description="Clusters on EMR and on EC2 instances.")
    parser.add_argument("--kind", choices=("emr", "ec2", "both"), default="both")
    parser.add_argument("--workers", type=int, default=4, help="workers of the ec2 cluster (4)")
    args = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    if args.kind != "ec2":
        with running_project("{core: {count: 2}}") as project:
            measure_emr(project)
    if args.kind != "emr":
        spec = f"{{kind: ec2, worker: {{count: {args.workers}, spot: false}}}}"
        with running_project(spec) as project:
            measure_setup(project, args.workers)
            measure_exec(project, args.workers)
            project.emrctl("copy", "job.py", "./", "--node", "primary")
            bare = ("exec", "--node", "primary", "--", EC2_BARE)
            print_overhead(project, EC2_CONF, lambda: project.emrctl(*bare))


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
        command = [sys.executable, "-m", "emrctl.cli", *arguments]
        return subprocess.check_output(command, cwd=self.folder, stderr=subprocess.PIPE, text=True)

    def memory_gb(self) -> float:
        """Return the resident memory of the emulator and its child processes."""
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


def print_overhead(
    project: BenchProject, conf: tuple[str, ...], spark_submit: Callable[[], object]
) -> None:
    """Run steps and bare spark-submits alternately, and print the difference."""
    emrctl, bare = [], []
    for _ in range(PAIRS):
        emrctl.append(time_s(lambda: project.emrctl("submit", *conf, "job.py")))
        bare.append(time_s(spark_submit))
    difference = median(a - b for a, b in zip(emrctl, bare, strict=True))
    print(
        f"emrctl submit {median(emrctl):.1f} s, bare spark-submit {median(bare):.1f} s, "
        f"median difference {difference:+.2f} s over {PAIRS} pairs  (bar on EMR: 1.5 s)"
    )


# EMR


def measure_emr(project: BenchProject) -> None:
    """Print seconds to WAITING and of a preview, memory when idle, and a step's overhead."""
    cluster: dict[str, Any] = {}
    seconds = time_s(lambda: cluster.update(json.loads(project.emrctl("up", "--json"))))
    print(
        f"emrctl up, bucket and 1 + 2 m5.xlarge to WAITING: {seconds:.1f} s"
        "  (bar: 8 s; EMR: 5 to 10 min)"
    )
    preview = median(time_s(lambda: project.emrctl("preview")) for _ in range(PAIRS))
    print(f"emrctl preview of both stacks, unchanged: {preview:.2f} s, start-up included")
    memory_gb = project.memory_gb()
    print(f"memory of the idle cluster with the emulator: {memory_gb:.2f} GB  (bar: 1.5 GB)")
    [node] = [one["id"] for one in cluster["nodes"] if one["role"] == "primary"]
    folder = project.home / "local" / "clusters" / str(cluster["id"]) / "nodes" / str(node) / "home"
    (folder / "job.py").write_text(JOB)
    environment = step_environment(project, folder)
    print_overhead(
        project,
        EMR_CONF,
        lambda: subprocess.run(
            ["bash", "-c", EMR_BARE], cwd=folder, env=environment, check=True, capture_output=True
        ),
    )


def step_environment(project: BenchProject, folder: Path) -> dict[str, str]:
    """Return the environment of a step, from a step that writes it to a file."""
    probe = project.folder / "environment.py"
    probe.write_text(PROBE)
    project.emrctl("submit", *EMR_CONF, str(probe))
    environment = json.loads((folder / "environment").read_text())
    # With these, a second spark-submit would assume that it runs inside the first.
    prefixes = ("SPARK_ENV", "PYSPARK_GATEWAY", "_")
    return {key: value for key, value in environment.items() if not key.startswith(prefixes)}


# Spark standalone on EC2 instances


def measure_setup(project: BenchProject, workers: int) -> None:
    """Set up a cluster in parallel, then again, and another cluster node by node."""
    parallel, second = set_up(project, "main", standalone.ParallelNodes)
    sequential, _ = set_up(project, "other", SequentialNodes)
    print(
        f"setup of a master with {workers} workers: {parallel:.1f} s in parallel, "
        f"{sequential:.1f} s node by node ({sequential / parallel:.1f} x); "
        f"a second time {second:.1f} s"
    )
    project.emrctl("down", "--cluster", "other", "--yes")


def set_up(
    project: BenchProject, name: str, nodes_type: type[standalone.ParallelNodes]
) -> tuple[float, float]:
    """Return the seconds of the first and the second setup, once all nodes accept SSH."""
    workspace = Workspace(config.load(project.folder / "emrctl.yaml", {"cluster.name": name}))
    cluster = lifecycle.deploy(workspace.deployment)
    scripts = lifecycle.script_files(workspace.project, project.folder)
    with nodes_type(workspace.target, cluster) as connected:
        connected.each("connecting", connected.wait_for_ssh)
        first, second = (
            time_s(lambda: standalone.set_up_nodes(connected, workspace.project, scripts))
            for _ in range(2)
        )
    return first, second


class SequentialNodes(standalone.ParallelNodes):
    """Runs work on one node after another."""

    def each(self, _doing: str, work: Any, selected: Any = None) -> Any:
        """Return the result of the work for each node; the primary comes before the workers."""
        return {
            member.name: work(member) for member in (self.nodes if selected is None else selected)
        }


def measure_exec(project: BenchProject, workers: int) -> None:
    """Run a command on all nodes in parallel, and node by node."""
    names = ["primary", *(f"worker-{number}" for number in range(1, workers + 1))]
    parallel = time_s(lambda: project.emrctl("exec", "--", "true"))
    sequential = sum(
        time_s(lambda name=name: project.emrctl("exec", "--node", name, "--", "true"))
        for name in names
    )
    print(
        f"emrctl exec on {len(names)} nodes: {parallel:.2f} s; node by node {sequential:.2f} s "
        f"({sequential / parallel:.1f} x)"
    )


if __name__ == "__main__":
    main()
