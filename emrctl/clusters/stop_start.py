"""Stop and start the instances of EC2 clusters, and terminate single workers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from emrctl.aws.errors import translated
from emrctl.aws.listing import EC2_EXISTING, EC2_STOPPED, EC2_TERMINATING, tags
from emrctl.aws.polling import poll_until
from emrctl.aws.target import Target
from emrctl.clusters.ec2 import describe_nodes, state
from emrctl.clusters.model import Cluster
from emrctl.clusters.registry import find_cluster, kind_of
from emrctl.engine.base import Preview
from emrctl.errors import NotFoundError, ProvisioningError, WaitTimeoutError
from emrctl.spec import ProjectSpec

NodeReport = Callable[[str, str], None]
"""Called with the name of a node or cluster and a line of progress."""

# EC2 forces a stop that takes longer than some minutes.
TIMEOUT_S = 1200.0


def no_node_report(_node: str, _line: str) -> None:
    """Discard a line of progress."""


def stop_instances(
    project: ProjectSpec,
    target: Target,
    name: str | None = None,
    *,
    report: NodeReport = no_node_report,
) -> Cluster:
    """Stop the cluster's instances and wait; no-op if they are stopped.

    `ProvisioningError` if it is an EMR cluster or has spot instances, which cannot be stopped.
    """
    cluster = _find_ec2_cluster(project, target, name)
    with translated(f"stopping {cluster.stack}"):
        instances = describe_nodes(target, "stack", cluster.stack)
        _refuse_spot(cluster, instances)
        # EC2 does not stop pending instances.
        instances = _wait_for(target, cluster.stack, ("running", *EC2_STOPPED))
        ids = [item["InstanceId"] for item in instances if state(item) == "running"]
        if ids:
            report(cluster.name, f"stopping {len(ids)} instances")
            target.client("ec2").stop_instances(InstanceIds=ids)
        _wait_for(target, cluster.stack, ("stopped",))
    return find_cluster(project, target, name)


def start_instances(
    project: ProjectSpec,
    target: Target,
    name: str | None = None,
    *,
    report: NodeReport = no_node_report,
) -> Cluster:
    """Start the cluster's instances and wait until they run; Spark is not started."""
    cluster = _find_ec2_cluster(project, target, name)
    with translated(f"starting {cluster.stack}"):
        # EC2 does not start instances that are still stopping.
        startable = ("pending", "running", "stopped")
        instances = _wait_for(target, cluster.stack, startable)
        ids = [item["InstanceId"] for item in instances if state(item) == "stopped"]
        if ids:
            report(cluster.name, f"starting {len(ids)} instances")
            target.client("ec2").start_instances(InstanceIds=ids)
        _wait_for(target, cluster.stack, ("running",))
    return find_cluster(project, target, name)


def mark_stopped(project: ProjectSpec, target: Target, plan: Preview) -> Preview:
    """Return the plan of `up` with stopped instances as updates of `state`: `up` starts them."""
    if not kind_of(project.cluster).can_stop:
        return plan
    with translated(f"describing the instances of {plan.stack}"):
        instances = describe_nodes(target, "stack", plan.stack)
    stopped = {item["InstanceId"] for item in instances if state(item) in EC2_STOPPED}
    changes = tuple(
        replace(change, operation="update", keys=("state",))
        if change.id in stopped and change.operation == "same"
        else change
        for change in plan.changes
    )
    return replace(plan, changes=changes)


def terminate_workers(
    project: ProjectSpec,
    target: Target,
    names: Sequence[str],
    *,
    report: NodeReport = no_node_report,
) -> None:
    """Terminate workers and wait; the next `up` creates them again."""
    cluster = _find_ec2_cluster(project, target, None)
    workers = {node.name: node.id for node in cluster.nodes if node.role == "worker"}
    unknown = sorted(set(names) - set(workers))
    if unknown:
        hint = f"Workers: {', '.join(workers) or 'none'}. The primary cannot be replaced."
        raise NotFoundError(f"cluster '{cluster.name}' has no worker {unknown[0]}", hint=hint)
    ids = {workers[name] for name in names}
    with translated(f"terminating {', '.join(names)} of {cluster.stack}"):
        report(cluster.name, f"terminating {', '.join(names)}")
        target.client("ec2").terminate_instances(InstanceIds=sorted(ids))
        states = (*EC2_EXISTING, EC2_TERMINATING)

        def remaining() -> set[str]:
            nodes = describe_nodes(target, "stack", cluster.stack, states)
            return ids & {item["InstanceId"] for item in nodes}

        if not poll_until(lambda: not remaining(), target.poll_s, TIMEOUT_S):
            raise _timed_out(remaining(), "terminated")


def _find_ec2_cluster(project: ProjectSpec, target: Target, name: str | None) -> Cluster:
    cluster = find_cluster(project, target, name)
    if not kind_of(cluster.spec).can_stop:
        msg = f"'{cluster.name}' is an EMR cluster, and EMR cannot stop clusters"
        hint = "Delete it with `emrctl down`; the bucket and all runs are kept."
        raise ProvisioningError(msg, hint=hint)
    return cluster


def _refuse_spot(cluster: Cluster, instances: Sequence[dict[str, Any]]) -> None:
    names = sorted(
        tags(item).get("emrctl:node", item["InstanceId"])
        for item in instances
        if item.get("InstanceLifecycle") == "spot"
    )
    if names:
        verb = "is a spot instance" if len(names) == 1 else "are spot instances"
        hint = (
            "Use `emrctl down`; the bucket and all runs are kept. To stop clusters, create them "
            "with cluster.worker.spot: false."
        )
        msg = f"cannot stop '{cluster.name}': {', '.join(names)} {verb}"
        raise ProvisioningError(msg, hint=hint)


def _wait_for(target: Target, stack: str, states: Sequence[str]) -> list[dict[str, Any]]:
    """Wait until all existing instances of the stack are in one of `states`; return them."""
    instances: list[dict[str, Any]] = []

    def reached() -> bool:
        instances[:] = describe_nodes(target, "stack", stack)
        return all(state(item) in states for item in instances)

    if not poll_until(reached, target.poll_s, TIMEOUT_S):
        late = {item["InstanceId"] for item in instances if state(item) not in states}
        raise _timed_out(late, " or ".join(states))
    return instances


def _timed_out(ids: set[str], state: str) -> WaitTimeoutError:
    minutes = math.ceil(TIMEOUT_S / 60)
    msg = f"{', '.join(sorted(ids))}: not {state} after {minutes} min"
    return WaitTimeoutError(msg, hint="Run the same command again.")
