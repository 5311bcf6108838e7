"""Clusters of EC2 instances that stand still for a while, and workers that are to be others."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from emrctl.aws.listing import tags
from emrctl.aws.translate import translated
from emrctl.clusters.ec2 import described
from emrctl.clusters.model import Cluster
from emrctl.clusters.registry import find_cluster
from emrctl.engine.base import Plan
from emrctl.errors import NotFoundError, ProvisioningError, WaitTimeoutError
from emrctl.spec import ProjectSpec

if TYPE_CHECKING:
    from emrctl.aws.target import Target

Say = Callable[[str], None]

_STANDING = ("pending", "running", "stopping", "stopped")
_LEAVING = (*_STANDING, "shutting-down")
# EC2 itself gives up on a stop after some minutes, and forces it.
_PATIENCE_S = 1200.0


def _quiet(_line: str) -> None:
    """A report that tells nobody."""


def stop(
    project: ProjectSpec, target: Target, name: str | None = None, *, report: Say = _quiet
) -> Cluster:
    """The cluster's instances stand still, as EC2 says; nothing is done where they do already.

    `ProvisioningError` where one of them is a spot instance, which EC2 does not stop.
    """
    cluster = _ours(project, target, name)
    with translated(f"stopping {cluster.stack}"):
        nodes = _instances(project, target, cluster.stack)
        _refuse_spot(cluster, nodes)
        # EC2 refuses to stop what still starts.
        nodes = _until(project, target, cluster.stack, nodes, ("running", "stopping", "stopped"))
        ids = _in_state(nodes, "running")
        if ids:
            report(f"stopping {len(ids)} instances")
            target.client("ec2").stop_instances(InstanceIds=ids)
        _until(project, target, cluster.stack, nodes, ("stopped",))
    return find_cluster(project, target, name)


def start(
    project: ProjectSpec, target: Target, name: str | None = None, *, report: Say = _quiet
) -> Cluster:
    """The cluster's instances run, as EC2 says, at new addresses; what they ran does not yet."""
    cluster = _ours(project, target, name)
    with translated(f"starting {cluster.stack}"):
        nodes = _instances(project, target, cluster.stack)
        nodes = _until(project, target, cluster.stack, nodes, ("pending", "running", "stopped"))
        ids = _in_state(nodes, "stopped")
        if ids:
            report(f"starting {len(ids)} instances")
            target.client("ec2").start_instances(InstanceIds=ids)
        _until(project, target, cluster.stack, nodes, ("running",))
    return find_cluster(project, target, name)


def woken(project: ProjectSpec, target: Target, plan: Plan) -> Plan:
    """The plan of `up`, in which instances that stand still are started: an `update` of `state`."""
    if project.cluster.kind != "ec2":
        return plan
    with translated(f"looking at the instances of {plan.stack}"):
        nodes = _instances(project, target, plan.stack)
    still = {item["InstanceId"] for item in nodes if item["State"]["Name"].startswith("stop")}
    changes = tuple(
        replace(change, operation="update", keys=("state",))
        if change.id in still and change.operation == "same"
        else change
        for change in plan.changes
    )
    return replace(plan, changes=changes)


def end_workers(
    project: ProjectSpec, target: Target, names: Sequence[str], *, report: Say = _quiet
) -> None:
    """These workers are terminated, as EC2 says: the next `up` makes others in their place."""
    cluster = _ours(project, target, None)
    known = {node.name: node.id for node in cluster.nodes if node.role == "worker"}
    strange = sorted(set(names) - set(known))
    if strange:
        hint = f"It has {', '.join(known) or 'none'}; the primary is the cluster itself."
        raise NotFoundError(f"'{cluster.name}' has no worker {strange[0]}", hint=hint)
    ids = [known[name] for name in dict.fromkeys(names)]
    with translated(f"ending {', '.join(names)} of {cluster.stack}"):
        report(f"ending {', '.join(names)}")
        target.client("ec2").terminate_instances(InstanceIds=ids)
        while any(item["InstanceId"] in ids for item in described(project, target, _LEAVING)):
            time.sleep(target.poll_s)


def _ours(project: ProjectSpec, target: Target, name: str | None) -> Cluster:
    found = find_cluster(project, target, name)
    if found.spec.kind != "ec2":
        hint = "Take it down: `emrctl down`. The bucket and all runs stay."
        raise ProvisioningError(f"cluster '{found.name}' is EMR's, which stops none", hint=hint)
    return found


def _instances(project: ProjectSpec, target: Target, stack: str) -> list[dict[str, Any]]:
    every = described(project, target, _STANDING)
    return [item for item in every if tags(item).get("emrctl:stack") == stack]


def _refuse_spot(cluster: Cluster, nodes: Sequence[dict[str, Any]]) -> None:
    spot = sorted(
        tags(item).get("emrctl:node", item["InstanceId"])
        for item in nodes
        if item.get("InstanceLifecycle") == "spot"
    )
    if spot:
        verb = "is a spot instance" if len(spot) == 1 else "are spot instances"
        hint = (
            "Set cluster.worker.spot: false before the cluster is made, or take it down: the "
            "bucket and all runs stay."
        )
        msg = f"{', '.join(spot)} of '{cluster.name}' {verb}, which EC2 does not stop"
        raise ProvisioningError(msg, hint=hint)


def _in_state(nodes: Sequence[dict[str, Any]], state: str) -> list[str]:
    return [item["InstanceId"] for item in nodes if item["State"]["Name"] == state]


def _until(
    project: ProjectSpec,
    target: Target,
    stack: str,
    nodes: Sequence[dict[str, Any]],
    states: Sequence[str],
) -> list[dict[str, Any]]:
    """The instances, once each of them is in one of `states`; those that ended are left out."""
    wanted = {item["InstanceId"] for item in nodes}
    until = time.monotonic() + _PATIENCE_S
    while True:
        now = [item for item in _instances(project, target, stack) if item["InstanceId"] in wanted]
        if all(item["State"]["Name"] in states for item in now):
            return now
        if time.monotonic() > until:
            late = [item["InstanceId"] for item in now if item["State"]["Name"] not in states]
            msg = f"{', '.join(late)}: not {' or '.join(states)} after {_PATIENCE_S / 60:.0f} min"
            raise WaitTimeoutError(msg, hint="Run the same command again.")
        time.sleep(target.poll_s)
