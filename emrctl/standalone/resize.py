"""A cluster that shrinks: workers that leave are emptied first."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from emrctl.remote import nodes
from emrctl.remote.errors import UnreachableError
from emrctl.standalone.parallel import Crew, Member, Report, Said
from emrctl.standalone.plan import NODE

if TYPE_CHECKING:
    from emrctl.aws.target import Target
    from emrctl.clusters.model import Cluster
    from emrctl.spec import ProjectSpec

# What moves shuffle and cached blocks to other workers is let finish, within reason.
DRAIN_S = 300


def leaving(project: ProjectSpec, cluster: Cluster) -> tuple[str, ...]:
    """The workers that the spec has no more: those with the highest numbers, as the stack's."""
    wanted = project.ec2.worker.count
    found = (node.name for node in cluster.nodes if node.role == "worker")
    return tuple(name for name in found if int(name.rpartition("-")[2]) > wanted)


def resized(
    project: ProjectSpec, target: Target, cluster: Cluster, report: Report
) -> tuple[str, ...]:
    """Workers that the spec has no more are drained, so that the stack may end them; their names.

    New ones join when the cluster is brought up again with them.
    """
    names = leaving(project, cluster)
    if names:
        with Crew(target, cluster, report) as crew:
            crew.each("draining", lambda one: drain(crew, one), [crew.member(n) for n in names])
    return names


def drain(crew: Crew, worker: Member, within_s: int = DRAIN_S) -> None:
    """The worker takes no work any more, and what it held is on others; its daemon has ended.

    A worker that runs no more, or whose executors do not end in time, is not waited for.
    """
    daemon = f"bash {NODE}/bootstrap/daemon.sh"
    try:
        crew.reached(worker)
    except UnreachableError as error:
        worker.report(worker.name, f"not drained: {error.message}")
        return
    if Said().by(worker.line, f"{daemon} status worker"):
        return
    worker.report(worker.name, "taking no more work")
    Said().by(worker.line, f"{daemon} signal worker PWR")
    primary = crew.member(nodes.PRIMARY)
    waiting = f"bash {NODE}/bin/master drained {worker.node.private_ip} {within_s}"
    said = Said(functools.partial(worker.report, worker.name))
    said.by(primary.line, waiting)
    Said().by(worker.line, f"{daemon} stop worker")
