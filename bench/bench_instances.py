"""Measure the setup of a standalone cluster on emulated EC2 instances.

bench_instances.py [--workers N]

On AWS most of the time is EC2's: flintrock documents minutes for a launch, mainly for booting and
downloads. This measures emrctl's part: from the first SSH connection to a master with all workers,
in parallel and node by node; a second setup, which has nothing to do; a command on all nodes; and
the overhead of a step over a bare spark-submit on the same master.

All nodes run on this machine: the masters and workers of a cluster share its cores, whereas each
EC2 instance has its own. `exec` shows the effect of parallel network waits.
"""

from __future__ import annotations

import argparse
import os
from statistics import median
from typing import Any

import _project  # type: ignore[import-not-found,unused-ignore]

from emrctl import standalone
from emrctl.provision import lifecycle
from emrctl.runs.workspace import Workspace
from emrctl.spec import config

PAIRS = 3
CONF = ("--executor-memory", "1g", "--executor-cores", "1", "--executors", "1")
BARE = (
    ". emrctl/env.sh && exec spark-submit --executor-memory 1g --executor-cores 1 "
    "--conf spark.cores.max=1 job.py"
)


def main() -> None:
    """Print the seconds of each measurement, and ratios."""
    parser = argparse.ArgumentParser(description="A standalone cluster on EC2 instances.")
    parser.add_argument("--workers", type=int, default=4)
    workers = parser.parse_args().workers
    spec = f"{{kind: ec2, worker: {{count: {workers}, spot: false}}}}"
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with _project.running_project(spec) as project:
        measure_setup(project, workers)
        measure_exec(project, workers)
        measure_overhead(project)


def measure_setup(project: Any, workers: int) -> None:
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
    project: Any, name: str, nodes_type: type[standalone.ParallelNodes]
) -> tuple[float, float]:
    """Return the seconds of the first and the second setup, once all nodes accept SSH."""
    workspace = Workspace(config.load(project.folder / "emrctl.yaml", {"cluster.name": name}))
    cluster = lifecycle.deploy(workspace.deployment)
    scripts = lifecycle.script_files(workspace.project, project.folder)
    with nodes_type(workspace.target, cluster) as connected:
        connected.each("connecting", connected.wait_for_ssh)
        first, second = (
            _project.time_s(lambda: standalone.set_up_nodes(connected, workspace.project, scripts))
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


def measure_exec(project: Any, workers: int) -> None:
    """Run a command on all nodes in parallel, and node by node."""
    names = ["primary", *(f"worker-{number}" for number in range(1, workers + 1))]
    parallel = _project.time_s(lambda: project.emrctl("exec", "--", "true"))
    sequential = sum(
        _project.time_s(lambda name=name: project.emrctl("exec", "--node", name, "--", "true"))
        for name in names
    )
    print(
        f"emrctl exec on {len(names)} nodes: {parallel:.2f} s; node by node {sequential:.2f} s "
        f"({sequential / parallel:.1f} x)"
    )


def measure_overhead(project: Any) -> None:
    """Run steps and bare spark-submits alternately; both timed from outside, both over SSH."""
    project.emrctl("copy", "job.py", "./", "--node", "primary")
    emrctl, bare = [], []
    for _ in range(PAIRS):
        emrctl.append(_project.time_s(lambda: project.emrctl("submit", *CONF, "job.py")))
        bare.append(
            _project.time_s(lambda: project.emrctl("exec", "--node", "primary", "--", BARE))
        )
    difference = median(a - b for a, b in zip(emrctl, bare, strict=True))
    print(
        f"emrctl submit {median(emrctl):.1f} s, bare spark-submit {median(bare):.1f} s, median "
        f"difference {difference:+.2f} s over {PAIRS} pairs"
    )


if __name__ == "__main__":
    main()
