"""Nodes that join and leave a running cluster: resizing, decommissioning, lost nodes.

A node that a resize removes gets no new containers. It is terminated when its containers have
finished, or after the decommissioning timeout; a larger size in the meantime keeps it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from emrctl.emulator.cluster import failures, model, threads
from emrctl.emulator.cluster.failures import BootstrapFailedError
from emrctl.emulator.cluster.model import (
    EmulatedCluster,
    EmulatedNode,
    InstanceGroup,
    Termination,
)
from emrctl.emulator.cluster.scaling import YarnLoad
from emrctl.emulator.cluster.shrinking import Shrinking, choose, keep_draining

_log = logging.getLogger(__name__)

_POLL_S = 0.5
# A group to which nodes could not be added does not grow again by itself for so long.
_RETRY_S = 60.0
# A group is SUSPENDED after so many failures in a row to start new nodes.
_ATTEMPTS = 3
# Of three primary nodes.
_PRIMARY_MAJORITY = 2
_CHANGING = (model.PROVISIONING, model.BOOTSTRAPPING, model.RESIZING)
_REQUESTED = "The instance group is resized by user request (local)"


class NodeRuntime(Protocol):
    """Runs the nodes of clusters. Methods block until they are done."""

    def bootstrap(
        self, cluster: EmulatedCluster, nodes: Sequence[EmulatedNode]
    ) -> Mapping[EmulatedNode, Exception]:
        """Create the nodes and run their bootstrap actions; return those that failed and why."""

    def add_nodes(self, cluster: EmulatedCluster, nodes: Sequence[EmulatedNode]) -> None:
        """Add bootstrapped nodes to a cluster that is running."""

    def remove_nodes(self, cluster: EmulatedCluster, nodes: Sequence[EmulatedNode]) -> None:
        """Remove nodes from the cluster and kill their processes."""

    def fail_over(self, cluster: EmulatedCluster, lost: EmulatedNode) -> None:
        """Start the daemons of a lost primary node on the cluster's next one."""

    def load(self, cluster: EmulatedCluster) -> YarnLoad | None:
        """Return YARN's metrics, or None if YARN does not answer."""

    def set_schedulable(
        self, cluster: EmulatedCluster, node: EmulatedNode, *, schedulable: bool
    ) -> None:
        """Set whether YARN starts new containers on the node; running ones are not affected."""


@dataclass(kw_only=True)
class Launch:
    """New nodes, the units of each market without capacity, and the error of the first one."""

    nodes: list[EmulatedNode] = field(default_factory=list)
    unfilled: dict[str, int] = field(default_factory=dict)
    error: Exception | None = None


class Ec2Instances(Protocol):
    """EC2's records of a cluster's instances."""

    def launch(self, group: InstanceGroup, missing: Mapping[str, int]) -> Launch:
        """Create the instances of new nodes for the missing capacity units of each market."""

    def terminate(self, nodes: Sequence[EmulatedNode]) -> None:
        """Terminate the instances of the nodes."""


@dataclass(kw_only=True)
class GroupResizer:
    """Adds nodes to a cluster and removes them, in threads of its own.

    `terminate` terminates the cluster.
    """

    cluster: EmulatedCluster
    runtime: NodeRuntime
    instances: Ec2Instances
    terminate: Callable[[Termination], None]
    stopped: threading.Event
    # By group: when it was suspended, and how often in a row nodes did not start.
    suspended: dict[str, float] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)

    def failed_recently(self, group: InstanceGroup) -> bool:
        """Whether nodes could not be added to the group in the last minute."""
        failed = self.suspended.get(group.id)
        return failed is not None and time.monotonic() - failed < _RETRY_S

    def resize(
        self,
        group: InstanceGroup,
        targets: Mapping[str, int],
        message: str = _REQUESTED,
        shrinking: Shrinking | None = None,
    ) -> None:
        """Change the capacity units of a group by market, of which a fleet has two.

        Nodes are added and removed in the background.
        """
        shrinking = shrinking or Shrinking()
        load = self.runtime.load(self.cluster) or YarnLoad()
        with self.cluster.changing():
            if self.cluster.termination is not None:
                return
            group.set_targets(targets)
            group.reason = ""
            nodes = [node for node in self.cluster.active_nodes if node.group is group]
            # Also those that another resize removes when they are idle.
            leaving = [n for n in nodes if n.removal == model.DRAINING and shrinking.urgent(n)]
            missing = {}
            for market, units in targets.items():
                mine = [one for one in nodes if one.market == market and one not in leaving]
                missing[market] = keep_draining(mine, units)
                leaving += choose(mine, -missing[market], load, shrinking)
            for node in leaving:
                node.removal = model.DRAINING
            if group.state == model.SUSPENDED:
                starts = group.timeline.ready is None and any(n > 0 for n in missing.values())
                group.state = model.PROVISIONING if starts else model.RUNNING
            new = self._launch(group, missing)
            changed = (new or leaving) and group.timeline.ready is not None
            if changed and group.state not in (model.SUSPENDED, model.RECONFIGURING):
                group.state, group.reason = model.RESIZING, message
            self._settle(group)
        if new or leaving:
            _log.info("%s: %s: %s to %s", self.cluster.id, message, group.id, dict(targets))
        if new:
            threads.start(self._add, new)
        if leaving:
            threads.start(self._decommission, leaving, shrinking)

    def lose(self, node: EmulatedNode, reason: str, *, replaced: bool) -> None:
        """Terminate an instance that failed; its containers are lost.

        The cluster terminates without workers, or without a majority of its primaries. One of three
        primaries is always replaced. Another node that is not replaced is missing from its group
        until the group is resized.
        """
        leads = node is self.cluster.primary
        with self.cluster.changing():
            if not node.active:
                return
            node.end(time.time(), "INSTANCE_FAILURE", reason)
            self._settle(node.group)
            majority = self.cluster.highly_available and _has_majority(self.cluster)
        threads.start(self._fail_over if leads and majority else self._release, [node])
        replaced = replaced or (node.primary and majority)
        if (node.primary and not majority) or not (replaced or self.cluster.workers):
            self.terminate(failures.instance_failure(node, reason))
        elif replaced:
            message = f"Replacing {node.ec2_id} (local)"
            self.resize(node.group, node.group.targets, message)

    def _release(self, nodes: Sequence[EmulatedNode]) -> None:
        """Stop the processes of nodes and terminate their instances, even if the former fails."""
        try:
            self.runtime.remove_nodes(self.cluster, nodes)
        except Exception:  # noqa: BLE001
            ids = ", ".join(node.ec2_id for node in nodes)
            _log.exception("%s: could not stop the daemons of %s", self.cluster.id, ids)
        self.instances.terminate(nodes)

    def _fail_over(self, lost: Sequence[EmulatedNode]) -> None:
        self._release(lost)
        try:
            self.runtime.fail_over(self.cluster, lost[0])
        except Exception as error:  # noqa: BLE001
            if self.cluster.termination is None:
                _log.exception("%s: could not move the daemons of the primary", self.cluster.id)
            self.terminate(failures.instance_failure(lost[0], str(error)))

    def _launch(self, group: InstanceGroup, missing: Mapping[str, int]) -> list[EmulatedNode]:
        """Return new nodes, which belong to the cluster; as many as there is capacity for.

        As on EMR, the running instances are kept, and another resize tries again.
        """
        missing = {market: units for market, units in missing.items() if units > 0}
        try:
            launch = self.instances.launch(group, missing) if missing else Launch()
        except Exception as error:  # noqa: BLE001
            launch = Launch(unfilled=dict(missing), error=error)
        if launch.error is not None:
            problem = str(launch.error)
            _log.warning("%s: could not add nodes to %s: %s", self.cluster.id, group.id, problem)
            group.state, group.reason = model.SUSPENDED, problem
            self.suspended[group.id] = time.monotonic()
        self.cluster.nodes += launch.nodes
        if group.is_fleet:
            group.count = len(self.cluster.staying_nodes(group)) + sum(
                -(-units // group.weight(group.instance_type)) for units in launch.unfilled.values()
            )
        return launch.nodes

    # -- growing

    def _add(self, nodes: Sequence[EmulatedNode]) -> None:
        self._set_state(nodes, model.BOOTSTRAPPING)
        failed = self._start(nodes)
        started = [node for node in nodes if node not in failed]
        self._set_state(started, model.RUNNING)
        for node in started:
            self.attempts.pop(node.group.id, None)
        self.discard(failed)
        self.replace_failed(failed)

    def _start(self, nodes: Sequence[EmulatedNode]) -> dict[EmulatedNode, Exception]:
        """Bootstrap nodes and add them to the cluster; return those that failed and why."""
        failed: dict[EmulatedNode, Exception] = {}
        try:
            failed |= self.runtime.bootstrap(self.cluster, nodes)
            # Instances may be lost meanwhile.
            ready = [node for node in nodes if node not in failed and node.active]
            self.runtime.add_nodes(self.cluster, ready)
            if lost := [node for node in ready if not node.active]:
                self.runtime.remove_nodes(self.cluster, lost)
        except Exception as error:  # noqa: BLE001
            if self.cluster.termination is None:
                _log.exception("could not add nodes to %s", self.cluster.id)
            failed |= {node: error for node in nodes if node not in failed}
        return failed

    def discard(self, failed: Mapping[EmulatedNode, Exception]) -> None:
        """Terminate nodes that did not start."""
        if not failed:
            return
        with self.cluster.changing():
            for node, error in failed.items():
                if node.active:
                    bootstrap = isinstance(error, BootstrapFailedError)
                    code = "BOOTSTRAP_FAILURE" if bootstrap else "INSTANCE_FAILURE"
                    node.end(time.time(), code, str(error))
        self._release([*failed])

    def replace_failed(self, failed: Mapping[EmulatedNode, Exception]) -> None:
        """Launch other nodes in place of those that did not start.

        As on EMR, a group becomes SUSPENDED if that repeats, and the requested size is kept.
        """
        for group, (node, error) in {one.group.id: (one, e) for one, e in failed.items()}.items():
            with self.cluster.changing():
                self.attempts[group] = self.attempts.get(group, 0) + 1
                suspended = self.attempts[group] >= _ATTEMPTS
                if suspended:
                    del self.attempts[group]
                    self.suspended[group] = time.monotonic()
                    node.group.state, node.group.reason = model.SUSPENDED, f"{error} (local)"
            if not suspended:
                message = f"Replacing {node.ec2_id}: {error} (local)"
                self.resize(node.group, node.group.targets, message)

    def _set_state(self, nodes: Sequence[EmulatedNode], state: str) -> None:
        with self.cluster.changing():
            for node in nodes:
                if node.active:
                    node.state = state
                    node.timeline.ready = time.time() if state == model.RUNNING else None
                if node.active and node.group.timeline.ready is None:
                    # A new group, which is not resized.
                    node.group.state = state
                self._settle(node.group)

    def _settle(self, group: InstanceGroup) -> None:
        """Set RUNNING if the group has no node that is being added or removed."""
        nodes = [node for node in self.cluster.active_nodes if node.group is group]
        changing = any(node.removal or node.state != model.RUNNING for node in nodes)
        if group.state in _CHANGING and not changing:
            group.state, group.reason = model.RUNNING, ""
            group.timeline.ready = group.timeline.ready or time.time()

    # -- shrinking

    def _decommission(self, nodes: Sequence[EmulatedNode], shrinking: Shrinking) -> None:
        """Remove the nodes once they are idle, unless a resize keeps them."""
        deadline = time.monotonic() + shrinking.timeout_s
        self._remove_unless_kept([node for node in nodes if shrinking.urgent(node)])
        waiting = [node for node in nodes if not shrinking.urgent(node)]
        unschedulable: set[EmulatedNode] = set()
        while waiting and not self.stopped.is_set():
            try:
                self._drain(waiting, unschedulable, late=time.monotonic() > deadline)
            except Exception:  # noqa: BLE001
                # YARN may be restarting.
                _log.exception("%s: could not drain nodes", self.cluster.id)
            # A resize may keep nodes, and nodes may be lost in the meantime.
            waiting = [
                node
                for node in waiting
                if node.active and (node.removal == model.DRAINING or node in unschedulable)
            ]
            if waiting:
                self.stopped.wait(_POLL_S)

    def _drain(
        self, nodes: Sequence[EmulatedNode], unschedulable: set[EmulatedNode], *, late: bool
    ) -> None:
        """Remove the nodes that are idle; stop new containers on the others, except on kept ones.

        `unschedulable` are the nodes that get no new containers. One whose NodeManager has been
        restarted, or which another resize kept in the meantime, has memory for them again.
        """
        load = self.runtime.load(self.cluster) or YarnLoad()
        for node in nodes:
            if not node.removal:
                if node in unschedulable and node.active:
                    self.runtime.set_schedulable(self.cluster, node, schedulable=True)
                unschedulable.discard(node)
            elif node.state == model.RUNNING and (node not in unschedulable or load.free(node)):
                unschedulable.add(node)
                self.runtime.set_schedulable(self.cluster, node, schedulable=False)
        now = self.runtime.load(self.cluster)
        running = [node for node in nodes if node.state == model.RUNNING]
        self._remove_unless_kept(
            [node for node in running if late or (now is not None and now.drained(node))]
        )

    def _remove_unless_kept(self, nodes: Sequence[EmulatedNode]) -> None:
        with self.cluster.changed:
            leaving = [node for node in nodes if node.removal == model.DRAINING and node.active]
            for node in leaving:
                node.removal = model.REMOVING
        if not leaving:
            return
        self._release(leaving)
        with self.cluster.changing():
            for node in leaving:
                node.end(time.time())
            for group in {node.group.id: node.group for node in leaving}.values():
                self._settle(group)


def _has_majority(cluster: EmulatedCluster) -> bool:
    primaries = [node for node in cluster.active_nodes if node.primary]
    return sum(node.state == model.RUNNING for node in primaries) >= _PRIMARY_MAJORITY
