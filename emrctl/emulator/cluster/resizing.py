"""Nodes that join and leave a running cluster: resizing, decommissioning, lost nodes.

A node that a resize removes gets no new containers. It is terminated when its containers have
finished, or after the decommissioning timeout; a larger size in the meantime keeps it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from emrctl.emulator.cluster import model
from emrctl.emulator.cluster.model import (
    EmulatedCluster,
    EmulatedNode,
    InstanceGroup,
    Termination,
)
from emrctl.emulator.cluster.scaling import YarnLoad

_log = logging.getLogger(__name__)

_POLL_S = 0.5
# EMR's yarn.resourcemanager.decommissioning.timeout.
DECOMMISSIONING_TIMEOUT_S = 3600
# A group to which nodes could not be added does not grow again by itself for so long.
_RETRY_S = 60.0
_CHANGING = (model.PROVISIONING, model.BOOTSTRAPPING, model.RESIZING)
_REQUESTED = "The instance group is resized by user request (local)"


class NodeRuntime(Protocol):
    """Runs the nodes of clusters. Methods block until they are done."""

    def bootstrap(self, cluster: EmulatedCluster, nodes: Sequence[EmulatedNode]) -> None:
        """Create the nodes and run their bootstrap actions; raise `BootstrapFailedError`."""

    def add_nodes(self, cluster: EmulatedCluster, nodes: Sequence[EmulatedNode]) -> None:
        """Add bootstrapped nodes to a cluster that is running."""

    def remove_nodes(self, cluster: EmulatedCluster, nodes: Sequence[EmulatedNode]) -> None:
        """Remove nodes from the cluster and kill their processes."""

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


@dataclass(frozen=True, kw_only=True)
class Shrinking:
    """EMR's ShrinkPolicy: instances to remove or to keep, and the decommissioning timeout.

    Instances in `at_once` (EC2InstanceIdsToTerminate) are removed without decommissioning.
    """

    remove: Collection[str] = ()
    keep: Collection[str] = ()
    at_once: Collection[str] = ()
    timeout_s: float = DECOMMISSIONING_TIMEOUT_S


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
    failures: dict[str, float] = field(default_factory=dict)

    def failed_recently(self, group: InstanceGroup) -> bool:
        """Whether nodes could not be added to the group in the last minute."""
        failed = self.failures.get(group.id)
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
            leaving, missing = [], {}
            for market, units in targets.items():
                mine = [node for node in nodes if node.market == market]
                missing[market] = _return_draining(mine, units)
                leaving += _choose(mine, -missing[market], load, shrinking)
            for node in leaving:
                node.removal = model.DRAINING
            if group.state == model.SUSPENDED:
                starts = group.timeline.ready is None and any(n > 0 for n in missing.values())
                group.state = model.PROVISIONING if starts else model.RUNNING
            new = self._launch(group, missing)
            changed = (new or leaving) and group.timeline.ready is not None
            if changed and group.state != model.SUSPENDED:
                group.state, group.reason = model.RESIZING, message
            self._settle(group)
        if new or leaving:
            _log.info("%s: %s: %s to %s", self.cluster.id, message, group.id, dict(targets))
        if new:
            _start_thread(self._add, new)
        if leaving:
            _start_thread(self._decommission, leaving, shrinking)

    def lose(self, node: EmulatedNode, reason: str, *, replaced: bool) -> None:
        """Terminate an instance that failed; its containers are lost.

        The cluster terminates without a primary or workers. A node that is not replaced is missing
        from its group until the group is resized.
        """
        with self.cluster.changing():
            if not node.active:
                return
            node.state, node.timeline.ended = model.TERMINATED, time.time()
            node.code, node.reason = "INSTANCE_FAILURE", reason
            self._settle(node.group)
        _start_thread(self._remove_lost, node)
        if node.primary or not (replaced or self.cluster.workers):
            self.terminate(_instance_failure(node, reason))
        elif replaced:
            message = f"Replacing {node.ec2_id} (local)"
            self.resize(node.group, node.group.targets, message)

    def _remove_lost(self, node: EmulatedNode) -> None:
        try:
            self.runtime.remove_nodes(self.cluster, [node])
        except Exception:  # noqa: BLE001
            _log.exception("%s: could not stop the daemons of %s", self.cluster.id, node.ec2_id)
        self.instances.terminate([node])

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
            self.failures[group.id] = time.monotonic()
        self.cluster.nodes += launch.nodes
        if group.is_fleet:
            group.count = len(self.cluster.staying_nodes(group)) + sum(
                -(-units // group.weight(group.instance_type)) for units in launch.unfilled.values()
            )
        return launch.nodes

    # -- growing

    def _add(self, nodes: Sequence[EmulatedNode]) -> None:
        try:
            self._set_state(nodes, model.BOOTSTRAPPING)
            self.runtime.bootstrap(self.cluster, nodes)
            self.runtime.add_nodes(self.cluster, nodes)
        except Exception as error:  # noqa: BLE001
            if self.cluster.termination is None:
                _log.exception("could not add nodes to %s", self.cluster.id)
            with self.cluster.changed:
                for node in nodes:
                    node.reason, node.removal = str(error), model.REMOVING
                    node.group.count -= 1
                    self.failures[node.group.id] = time.monotonic()
            self._remove(nodes)
            return
        self._set_state(nodes, model.RUNNING)

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
        waiting = [node for node in nodes if node.ec2_id not in shrinking.at_once]
        self._remove_unless_kept([node for node in nodes if node not in waiting])
        unschedulable: list[EmulatedNode] = []
        while waiting and not self.stopped.is_set():
            self._stop_scheduling(waiting, unschedulable)
            load = self.runtime.load(self.cluster)
            late = time.monotonic() > deadline
            ended = [node for node in waiting if late or (load is not None and load.drained(node))]
            self._remove_unless_kept([node for node in ended if node.state == model.RUNNING])
            # A resize may keep nodes, and nodes may be lost in the meantime.
            waiting = [n for n in waiting if n.active and n.removal == model.DRAINING]
            if waiting:
                self.stopped.wait(_POLL_S)
        for node in unschedulable:
            if node.active and not node.removal:
                self.runtime.set_schedulable(self.cluster, node, schedulable=True)

    def _stop_scheduling(
        self, nodes: Sequence[EmulatedNode], unschedulable: list[EmulatedNode]
    ) -> None:
        """Stop new containers on the nodes that are running; add them to `unschedulable`."""
        for node in nodes:
            if node.state == model.RUNNING and node not in unschedulable:
                self.runtime.set_schedulable(self.cluster, node, schedulable=False)
                unschedulable.append(node)

    def _remove_unless_kept(self, nodes: Sequence[EmulatedNode]) -> None:
        with self.cluster.changed:
            leaving = [node for node in nodes if node.removal == model.DRAINING and node.active]
            for node in leaving:
                node.removal = model.REMOVING
        if leaving:
            self._remove(leaving)

    def _remove(self, nodes: Sequence[EmulatedNode]) -> None:
        self.runtime.remove_nodes(self.cluster, nodes)
        self.instances.terminate(nodes)
        with self.cluster.changing():
            for node in nodes:
                node.state, node.timeline.ended = model.TERMINATED, time.time()
            for group in {id(node.group): node.group for node in nodes}.values():
                self._settle(group)


def _start_thread(target: Callable[..., None], *arguments: object) -> None:
    threading.Thread(target=target, name=target.__name__, args=arguments, daemon=True).start()


def _return_draining(nodes: Sequence[EmulatedNode], target: int) -> int:
    """Keep nodes that were about to be removed, up to the target; return the missing units."""
    missing = target - sum(node.units for node in nodes if not node.removal)
    for node in nodes:
        if node.removal == model.DRAINING and missing > 0:
            node.removal = ""
            missing -= node.units
    return missing


def _choose(
    nodes: Sequence[EmulatedNode], surplus: int, load: YarnLoad, shrinking: Shrinking
) -> list[EmulatedNode]:
    """Return the nodes that a resize removes: those asked for, then idle ones, the newest first.

    The units that stay are not below the target.
    """

    def order(item: tuple[int, EmulatedNode]) -> tuple[bool, bool, bool, int]:
        index, node = item
        ids = (node.id, node.ec2_id)
        asked = any(one in shrinking.remove or one in shrinking.at_once for one in ids)
        kept = any(one in shrinking.keep for one in ids)
        return not asked, kept, load.busy(node), -index

    chosen = []
    staying = [node for node in nodes if not node.removal]
    for _, node in sorted(enumerate(staying), key=order):
        if node.units <= surplus:
            chosen.append(node)
            surplus -= node.units
    return chosen


def _instance_failure(node: EmulatedNode, reason: str) -> Termination:
    """Return EMR's reason for the termination of a cluster without a primary or workers."""
    cause, what = "NO_SLAVE_LEFT", "All slaves in the job flow were terminated"
    if node.primary:
        cause, what = "MASTER_FAILED", f"The master node {node.ec2_id} failed"
    message = f"{what}: {reason}"
    details = {
        "ErrorCode": f"INSTANCE_FAILURE_{cause}",
        "ErrorMessage": message,
        "ErrorData": [{"instance-id": node.ec2_id}],
    }
    return Termination(
        code="INSTANCE_FAILURE",
        message=f"{message} (local)",
        state=model.TERMINATED_WITH_ERRORS,
        details=(details,),
    )
