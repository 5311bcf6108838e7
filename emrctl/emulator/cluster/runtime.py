"""Interface between a cluster's controller and the code that runs its nodes and steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from emrctl.emulator.cluster.model import EmulatedCluster, EmulatedNode, EmulatedStep


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """Exit code of a step and, if it failed, the fields of EMR's FailureDetails."""

    exit_code: int
    reason: str = ""
    message: str = ""
    log_file: str = ""


class BootstrapFailedError(Exception):
    """A bootstrap action returned a non-zero exit code or could not be downloaded."""

    def __init__(self, node: EmulatedNode, number: int, exit_code: int, *, error: str = "") -> None:
        """Store the node, the number of the action (from 1) and the exit code or the error."""
        super().__init__(f"bootstrap action {number} on {node.ec2_id}: {error or exit_code}")
        self.node = node
        self.number = number
        self.exit_code = exit_code
        self.error = error


class ClusterRuntime(Protocol):
    """Runs nodes and steps. Methods block until they are done or `interrupt` is called."""

    def bootstrap(self, cluster: EmulatedCluster, nodes: Sequence[EmulatedNode]) -> None:
        """Create the nodes and run their bootstrap actions; raise `BootstrapFailedError`."""

    def start(self, cluster: EmulatedCluster) -> None:
        """Start YARN and configure Spark."""

    def add_nodes(self, cluster: EmulatedCluster, nodes: Sequence[EmulatedNode]) -> None:
        """Add bootstrapped nodes to a cluster that is running."""

    def remove_nodes(self, cluster: EmulatedCluster, nodes: Sequence[EmulatedNode]) -> None:
        """Remove nodes from the cluster and kill their processes."""

    def run_step(self, cluster: EmulatedCluster, step: EmulatedStep) -> StepResult:
        """Run a step and upload its logs."""

    def cancel_step(self, cluster: EmulatedCluster, step: EmulatedStep, *, kill: bool) -> None:
        """Send SIGTERM, or SIGKILL with `kill`, to the processes of a running step."""

    def interrupt(self, cluster: EmulatedCluster) -> None:
        """Kill running steps and bootstrap actions, so that waiting methods return."""

    def stop(self, cluster: EmulatedCluster) -> None:
        """Stop the cluster's processes and upload the remaining logs."""
