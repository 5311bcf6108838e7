"""A cluster's life, of whatever kind: brought up with all that runs on it, stopped, started.

EMR sees to its nodes by itself. EC2 instances come up bare: what makes them a cluster comes over
SSH once they stand, and a worker that is to go is emptied before it goes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from emrctl import provision
from emrctl.errors import NotFoundError, UsageError
from emrctl.provision import Cluster, quiet
from emrctl.spec import ProjectSpec

if TYPE_CHECKING:
    from emrctl.aws.target import Target
    from emrctl.engine.base import Report
    from emrctl.standalone import NodesFailedError

Tell = Callable[[str, str], None]
"""Takes a node's name, or the cluster's, and a line about it."""


@dataclass(frozen=True, kw_only=True)
class Mending:
    """What becomes of workers of EC2 that are not as they should be.

    Those named in `replace` are ended first, and others come in their place. With `give_up` those
    that fail to come up are ended, and the others are the cluster until the next `up`.
    """

    replace: Sequence[str] = ()
    give_up: bool = False


def up(
    project: ProjectSpec,
    target: Target,
    root: Path,
    tell: Tell,
    *,
    report: Report = quiet,
    engine: str | None = None,
    mending: Mending = Mending(),
) -> Cluster:
    """Bucket and cluster are as the spec says, and the cluster takes steps.

    Where anything fails, or is interrupted, calling again goes on from there.
    """
    if mending.replace:
        ended = _of_cluster(project, tell)
        provision.end_workers(project, target, mending.replace, report=ended)
    if project.cluster.kind == "ec2":
        _empty_leaving(project, target, tell)
    found = provision.up(project, target, root, report=report, engine=engine)
    return _at_work(project, target, root, found, tell, give_up=mending.give_up)


def stop(project: ProjectSpec, target: Target, tell: Tell) -> Cluster:
    """The cluster's instances stand still: disks stay, steps that ran are INTERRUPTED."""
    return provision.stop(project, target, report=_of_cluster(project, tell))


def start(project: ProjectSpec, target: Target, root: Path, tell: Tell) -> Cluster:
    """The cluster's instances run again and take steps, at whatever addresses they have now."""
    found = provision.start(project, target, report=_of_cluster(project, tell))
    return _at_work(project, target, root, found, tell)


def on_instances(project: ProjectSpec, target: Target) -> Cluster:
    """The cluster, which takes commands on all nodes: `UsageError` where it is EMR's."""
    found = provision.find_cluster(project, target)
    if found.spec.kind != "ec2":
        hint = "`emrctl ssh NODE -- COMMAND` reaches one node at a time."
        raise UsageError(f"'{found.name}' is EMR's: only its primary takes connections", hint=hint)
    return found


def _at_work(
    project: ProjectSpec,
    target: Target,
    root: Path,
    found: Cluster,
    tell: Tell,
    *,
    give_up: bool = False,
) -> Cluster:
    if found.spec.kind != "ec2":
        return found
    from emrctl import standalone

    scripts = provision.scripts_of(project, root)
    try:
        standalone.bring_up(project, target, found, scripts, tell)
    except standalone.NodesFailedError as failed:
        if not give_up:
            raise
        found = _without(project, target, found, failed, tell)
        standalone.bring_up(project, target, found, scripts, tell)
    return provision.find_cluster(project, target)


def _without(
    project: ProjectSpec, target: Target, found: Cluster, failed: NodesFailedError, tell: Tell
) -> Cluster:
    """The cluster without the workers that failed: they have ended, and cost nothing.

    Without its primary, or without any worker, it would be none: then `failed` is raised.
    """
    workers = {node.name for node in found.nodes if node.role == "worker"}
    lost = workers & failed.failures.keys()
    if lost != failed.failures.keys() or lost == workers:
        raise failed
    for name in sorted(lost):
        tell(name, f"given up: {failed.failures[name].what}; the next `emrctl up` makes it anew")
    provision.end_workers(project, target, sorted(lost), report=_of_cluster(project, tell))
    return provision.find_cluster(project, target)


def _empty_leaving(project: ProjectSpec, target: Target, tell: Tell) -> None:
    """Workers that the spec no longer asks for take no more work, and have ended what they had."""
    from emrctl import standalone

    try:
        found = provision.find_cluster(project, target)
    except NotFoundError:
        return
    if found.spec.kind == "ec2" and not found.stopped:
        standalone.resized(project, target, found, tell)


def _of_cluster(project: ProjectSpec, tell: Tell) -> Callable[[str], None]:
    return lambda line: tell(project.cluster.name, line)
