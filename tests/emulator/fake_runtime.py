"""A cluster runtime without processes, for tests of the EMR API under `moto.mock_aws()`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from emrctl.emulator.cluster import s3_files
from emrctl.emulator.cluster.daemons import ExitedDaemon
from emrctl.emulator.cluster.failures import BootstrapFailedError
from emrctl.emulator.cluster.model import (
    RUNNING,
    EmulatedCluster,
    EmulatedNode,
    EmulatedStep,
    InstanceGroup,
    StepResult,
)
from emrctl.emulator.cluster.resizing import Launch
from emrctl.emulator.cluster.s3_files import StepOutput
from emrctl.emulator.cluster.scaling import NodeLoad, YarnLoad
from emrctl.errors import EmrctlError

OnStep = Callable[[list[str]], tuple[int, str, str]]


def _succeed(args: list[str]) -> tuple[int, str, str]:
    return 0, f"{' '.join(args)}\n", ""


@dataclass
class FakeRuntime:
    """Completes bootstrap actions and steps immediately and uploads the logs of steps.

    `on_step(args)` returns a step's exit code, stdout and stderr. While `pause` is set, steps run
    until they are cancelled. `failing_bootstrap` is the number, from 1, of a bootstrap action that
    fails on the primary node with exit code 1; `failing_workers` is how many core and task nodes
    fail in the bootstrap actions that follow. Daemons in `exited` have exited. `yarn` is what the
    ResourceManager measures, `hdfs` what the NameNode does. `nodes` are the loads of nodes by EC2
    instance id; a node that is not listed has no containers.
    """

    on_step: OnStep = _succeed
    failing_bootstrap: int = 0
    failing_workers: int = 0
    pause: bool = False
    steps: list[list[str]] = field(default_factory=list)
    bootstrapped: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    leaders: list[str] = field(default_factory=list)
    exited: list[ExitedDaemon] = field(default_factory=list)
    restartable: bool = True
    restarted: list[ExitedDaemon] = field(default_factory=list)
    yarn: dict[str, float] = field(default_factory=dict)
    hdfs: dict[str, float] = field(default_factory=dict)
    used: float = 0.0
    pending: tuple[int, int] = (0, 0)
    nodes: dict[str, NodeLoad] = field(default_factory=dict)
    evaluations: int = 0
    on_restart: Callable[[InstanceGroup], None] = lambda _: None
    reconfigured: list[str] = field(default_factory=list)
    unschedulable: set[str] = field(default_factory=set)
    _cancelled: dict[str, threading.Event] = field(default_factory=dict)

    def bootstrap(
        self, cluster: EmulatedCluster, nodes: Sequence[EmulatedNode]
    ) -> dict[EmulatedNode, Exception]:
        """Record the nodes; return those that fail."""
        failed: dict[EmulatedNode, Exception] = {}
        for node in nodes:
            self.bootstrapped.append(node.ec2_id)
            if self.failing_bootstrap and node.primary:
                folder = f"node/{node.ec2_id}/bootstrap-actions/{self.failing_bootstrap}"
                s3_files.upload(cluster, f"{folder}/stderr", b"bootstrap action failed\n")
                failed[node] = BootstrapFailedError(node, self.failing_bootstrap, 1)
            elif self.failing_workers and not node.primary:
                self.failing_workers -= 1
                failed[node] = BootstrapFailedError(node, 1, 1)
        return failed

    def start(self, cluster: EmulatedCluster) -> None:
        """Do nothing."""

    def add_nodes(self, cluster: EmulatedCluster, nodes: Sequence[EmulatedNode]) -> None:
        """Do nothing."""

    def remove_nodes(self, cluster: EmulatedCluster, nodes: Sequence[EmulatedNode]) -> None:
        """Record the nodes."""
        self.removed += [node.ec2_id for node in nodes]

    def fail_over(self, cluster: EmulatedCluster, lost: EmulatedNode) -> None:
        """Record the node that leads now."""
        self.leaders.append(cluster.primary.ec2_id)

    def load(self, cluster: EmulatedCluster) -> YarnLoad | None:
        """Return `pending` containers and MB, and the loads of the running nodes."""
        self.evaluations += 1
        nodes = {
            node.ec2_id: self.nodes.get(node.ec2_id, NodeLoad(available_mb=12288))
            for node in cluster.workers
            if node.state == RUNNING
        }
        for ec2_id in nodes.keys() & self.unschedulable:
            nodes[ec2_id] = replace(nodes[ec2_id], available_mb=0)
        containers, memory_mb = self.pending
        return YarnLoad(pending_containers=containers, pending_mb=memory_mb, nodes=nodes)

    def set_schedulable(
        self, cluster: EmulatedCluster, node: EmulatedNode, *, schedulable: bool
    ) -> None:
        """Add the node to `unschedulable`, or remove it."""
        (self.unschedulable.discard if schedulable else self.unschedulable.add)(node.ec2_id)

    def configure_spark(self, cluster: EmulatedCluster) -> None:
        """Do nothing."""

    def restart_daemons(self, cluster: EmulatedCluster, nodes: Sequence[EmulatedNode]) -> None:
        """Record the nodes; fail if `on_restart(group)` does."""
        self.on_restart(nodes[0].group)
        self.reconfigured += [node.ec2_id for node in nodes]

    def exited_daemons(self, cluster: EmulatedCluster) -> list[ExitedDaemon]:
        """Return the daemons in `exited` of the cluster's active nodes."""
        return [one for one in self.exited if one.node in cluster.active_nodes]

    def restart_daemon(self, cluster: EmulatedCluster, daemon: ExitedDaemon) -> None:
        """Remove the daemon from `exited`, if `restartable`."""
        if not self.restartable:
            raise EmrctlError("it exits at once")
        self.exited.remove(daemon)
        self.restarted.append(daemon)

    def yarn_metrics(self, cluster: EmulatedCluster) -> dict[str, float]:
        """Return `yarn`."""
        return self.yarn

    def hdfs_metrics(self, cluster: EmulatedCluster) -> dict[str, float]:
        """Return `hdfs`."""
        return self.hdfs

    def last_use(self, cluster: EmulatedCluster) -> float:
        """Return `used`."""
        return self.used

    def run_step(self, cluster: EmulatedCluster, step: EmulatedStep) -> StepResult:
        """Return the result of `on_step`, or exit code 143 if the step is cancelled."""
        cancelled = self._cancelled.setdefault(step.id, threading.Event())
        self.steps.append(step.args)
        while self.pause and not cancelled.wait(0.01):
            pass
        if cancelled.is_set():
            output = StepOutput(exit_code=143, stderr=b"terminated\n")
        else:
            code, out, err = self.on_step(step.args)
            output = StepOutput(exit_code=code, stdout=out.encode(), stderr=err.encode())
        return s3_files.upload_step(cluster, step, output)

    def cancel_step(self, cluster: EmulatedCluster, step: EmulatedStep, *, kill: bool) -> None:
        """End a paused step."""
        self._cancelled.setdefault(step.id, threading.Event()).set()

    def interrupt(self, cluster: EmulatedCluster) -> None:
        """End all paused steps of the cluster."""
        for step in cluster.steps:
            self.cancel_step(cluster, step, kill=True)

    def stop(self, cluster: EmulatedCluster) -> None:
        """Do nothing."""


@dataclass
class FakeInstances:
    """EC2 instances of a cluster without EC2; `launch` fails if `capacity` is used up."""

    capacity: int = 100
    launched: list[str] = field(default_factory=list)
    terminated: list[str] = field(default_factory=list)

    def launch(self, group: InstanceGroup, missing: Mapping[str, int]) -> Launch:
        """Return new nodes of the group."""
        count = sum(missing.values())
        if len(self.launched) + count > self.capacity:
            raise EmrctlError("EC2 is out of capacity")
        names: Any = {"public_dns": "p", "public_ip": "1", "private_dns": "q", "private_ip": "2"}
        start = len(self.launched)
        ids = [f"i-new{number}" for number in range(start, start + count)]
        self.launched += ids
        return Launch(nodes=[EmulatedNode(group=group, ec2_id=id_, **names) for id_ in ids])

    def terminate(self, nodes: Sequence[EmulatedNode]) -> None:
        """Record the nodes."""
        self.terminated += [node.ec2_id for node in nodes]
