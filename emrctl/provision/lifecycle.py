"""A cluster's life, of whatever kind: brought up with all that runs on it, stopped, started.

EMR sees to its nodes by itself. EC2 instances come up bare: what makes them a cluster comes over
SSH once they stand, and a worker that is to go is emptied before it goes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emrctl import provision
from emrctl.errors import NotFoundError, UsageError
from emrctl.provision import Cluster, quiet

if TYPE_CHECKING:
    from emrctl.engine.base import Report
    from emrctl.runs.workspace import Workspace
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
    workspace: Workspace,
    tell: Tell,
    *,
    report: Report = quiet,
    engine: str | None = None,
    mending: Mending | None = None,
) -> Cluster:
    """Bucket and cluster are as the spec says, and the cluster takes steps.

    Where anything fails, or is interrupted, calling again goes on from there.
    """
    mending = mending or Mending()
    project, target, root = workspace.project, workspace.target, workspace.config.root
    if mending.replace:
        ended = _of_cluster(workspace, tell)
        provision.end_workers(project, target, mending.replace, report=ended)
    if project.cluster.kind == "ec2":
        _empty_leaving(workspace, tell)
    found = provision.up(project, target, root, report=report, engine=engine)
    return _at_work(workspace, found, tell, give_up=mending.give_up)


def stop(workspace: Workspace, tell: Tell) -> Cluster:
    """The cluster's instances stand still: disks stay, steps that ran are INTERRUPTED."""
    project = workspace.project
    return provision.stop(project, workspace.target, report=_of_cluster(workspace, tell))


def start(workspace: Workspace, tell: Tell) -> Cluster:
    """The cluster's instances run again and take steps, at whatever addresses they have now."""
    project = workspace.project
    found = provision.start(project, workspace.target, report=_of_cluster(workspace, tell))
    return _at_work(workspace, found, tell)


def on_instances(workspace: Workspace) -> Cluster:
    """The cluster, which takes commands on all nodes: `UsageError` where it is EMR's."""
    found = workspace.cluster()
    if found.spec.kind != "ec2":
        hint = "`emrctl ssh NODE -- COMMAND` reaches one node at a time."
        raise UsageError(f"'{found.name}' is EMR's: only its primary takes connections", hint=hint)
    return found


def _at_work(workspace: Workspace, found: Cluster, tell: Tell, *, give_up: bool = False) -> Cluster:
    if found.spec.kind != "ec2":
        return found
    from emrctl import standalone

    project, target = workspace.project, workspace.target
    scripts = provision.scripts_of(project, workspace.config.root)
    try:
        standalone.bring_up(project, target, found, scripts, tell)
    except standalone.NodesFailedError as failed:
        if not give_up:
            raise
        found = _without(workspace, found, failed, tell)
        standalone.bring_up(project, target, found, scripts, tell)
    return provision.find_cluster(project, target)


def _without(workspace: Workspace, found: Cluster, failed: NodesFailedError, tell: Tell) -> Cluster:
    """The cluster without the workers that failed: they have ended, and cost nothing.

    Without its primary, or without any worker, it would be none: then `failed` is raised.
    """
    workers = {node.name for node in found.nodes if node.role == "worker"}
    lost = workers & failed.failures.keys()
    if lost != failed.failures.keys() or lost == workers:
        raise failed
    for name in sorted(lost):
        tell(name, f"given up: {failed.failures[name].what}; the next `emrctl up` makes it anew")
    project, target = workspace.project, workspace.target
    provision.end_workers(project, target, sorted(lost), report=_of_cluster(workspace, tell))
    return provision.find_cluster(project, target)


def _empty_leaving(workspace: Workspace, tell: Tell) -> None:
    """Workers that the spec no longer asks for take no more work, and have ended what they had."""
    from emrctl import standalone

    project, target = workspace.project, workspace.target
    try:
        found = provision.find_cluster(project, target)
    except NotFoundError:
        return
    if found.spec.kind == "ec2" and not found.stopped:
        standalone.resized(project, target, found, tell)


def _of_cluster(workspace: Workspace, tell: Tell) -> Callable[[str], None]:
    return lambda line: tell(workspace.project.cluster.name, line)
