"""A standalone cluster on EC2 instances of localhost: from SSH that answers to a whole cluster.

bench_instances.py [--workers N]

On AWS what takes longest is EC2's own: flintrock, the best of its kind, publishes minutes for a
launch, most of them boot and downloads. Here is what is ours: from SSH that answers to a master
with all workers, side by side and beside it node after node; a second time, which finds all done;
a command on all nodes; and a step beside a bare spark-submit on the same master.

All nodes are this machine's here: what the masters and workers of one cluster do side by side is
bound by its cores, where on EC2 each has its own. What waits for a network shows in `exec`.
"""

from __future__ import annotations

import argparse
import os
import time
from statistics import median
from typing import Any

import _desk  # type: ignore[import-not-found,unused-ignore]

from emrctl import provision, standalone
from emrctl.runs.workspace import Workspace
from emrctl.spec import config
from emrctl.standalone import setup as standalone_setup

PAIRS = 3
CONF = ("--executor-memory", "1g", "--executor-cores", "1", "--executors", "1")
BARE = (
    ". emrctl/env.sh && exec spark-submit --executor-memory 1g --executor-cores 1 "
    "--conf spark.cores.max=1 job.py"
)


def main() -> None:
    """Print the seconds of each, and ratios."""
    parser = argparse.ArgumentParser(description="A standalone cluster on EC2 instances.")
    parser.add_argument("--workers", type=int, default=4)
    workers = parser.parse_args().workers
    spec = f"{{kind: ec2, worker: {{count: {workers}, spot: false}}}}"
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with _desk.desk(spec) as desk:
        bring_up(desk, workers)
        commands(desk, workers)
        steps(desk)


def bring_up(desk: Any, workers: int) -> None:
    """A cluster side by side, again, and another of the same instances node after node."""
    first, again = brought_up(desk, "main", standalone.Crew)
    alone, _ = brought_up(desk, "other", OneByOne)
    print(
        f"from SSH that answers to a master with {workers} workers: {first:.1f} s side by side, "
        f"{alone:.1f} s node after node ({alone / first:.1f} x); a second time {again:.1f} s"
    )
    desk.emrctl("down", "--cluster", "other", "--yes")


def brought_up(desk: Any, name: str, crew_of: type[standalone.Crew]) -> tuple[float, float]:
    """Seconds from SSH that answers on every node to a whole cluster, and once more."""
    workspace = Workspace(config.load(desk.folder / "emrctl.yaml", {"cluster.name": name}))
    project, target = workspace.project, workspace.target
    cluster = provision.up(project, target, desk.folder)
    with crew_of(target, cluster) as crew:
        crew.each("reaching nodes", crew.reached)
        scripts = provision.scripts_of(project, desk.folder)
        first, again = (
            _desk.timed(lambda: standalone_setup.brought_up(crew, project, scripts))
            for _ in range(2)
        )
    return first, again


class OneByOne(standalone.Crew):
    """Nodes one after another, as the scripts of old did it."""

    def each(self, _doing: str, work: Any, members: Any = None) -> Any:
        """What the work came to on each node, in turn; workers wait for a master that is there."""
        return {
            member.name: work(member) for member in (self.members if members is None else members)
        }


def commands(desk: Any, workers: int) -> None:
    """A command on all nodes beside the same node after node."""
    names = ["primary", *(f"worker-{number}" for number in range(1, workers + 1))]
    at_once = _desk.timed(lambda: desk.emrctl("exec", "--", "true"))
    began = time.perf_counter()
    for name in names:
        desk.emrctl("exec", "--node", name, "--", "true")
    one_by_one = time.perf_counter() - began
    print(
        f"emrctl exec on {len(names)} nodes: {at_once:.2f} s; node after node {one_by_one:.2f} s "
        f"({one_by_one / at_once:.1f} x)"
    )


def steps(desk: Any) -> None:
    """Steps, in turn with bare ones; both timed from outside, both over SSH."""
    desk.emrctl("copy", "job.py", "./", "--node", "primary")
    ours, bare = [], []
    for _ in range(PAIRS):
        ours.append(_desk.timed(lambda: desk.emrctl("submit", *CONF, "job.py")))
        bare.append(_desk.timed(lambda: desk.emrctl("exec", "--node", "primary", "--", BARE)))
    difference = median(a - b for a, b in zip(ours, bare, strict=True))
    print(
        f"emrctl submit {median(ours):.1f} s, bare spark-submit {median(bare):.1f} s, median "
        f"difference {difference:+.2f} s over {PAIRS} pairs"
    )


if __name__ == "__main__":
    main()
