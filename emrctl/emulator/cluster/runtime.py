"""What a cluster's keeper needs of whoever really runs nodes and steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from emrctl.emulator.cluster.model import EmulatedCluster, EmulatedNode, EmulatedStep


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """How a step's program ended, and what EMR would say of a failure."""

    exit_code: int
    reason: str = ""
    message: str = ""
    log_file: str = ""


class BootstrapFailedError(Exception):
    """A bootstrap action ended with another code than 0 on a node."""

    def __init__(self, node: EmulatedNode, number: int, exit_code: int, *, error: str = "") -> None:
        """Keep which node, which action (from 1), and its exit code or what else was wrong."""
        super().__init__(f"bootstrap action {number} on {node.ec2_id}: {error or exit_code}")
        self.node = node
        self.number = number
        self.exit_code = exit_code
        self.error = error


class ClusterRuntime(Protocol):
    """Runs nodes and steps. Its methods block, and `halt` ends whatever blocks for a cluster."""

    def boot(self, cluster: EmulatedCluster, nodes: Sequence[EmulatedNode]) -> None:
        """The nodes exist and their bootstrap actions ran; else `BootstrapFailedError`."""

    def start(self, cluster: EmulatedCluster) -> None:
        """The cluster takes applications."""

    def join(self, cluster: EmulatedCluster, nodes: Sequence[EmulatedNode]) -> None:
        """The booted nodes work for a cluster that has started already."""

    def leave(self, cluster: EmulatedCluster, nodes: Sequence[EmulatedNode]) -> None:
        """The nodes no longer work for the cluster and nothing runs on them."""

    def run(self, cluster: EmulatedCluster, step: EmulatedStep) -> StepResult:
        """The step has run to its end and its logs lie under the cluster's log URI."""

    def cancel(self, cluster: EmulatedCluster, step: EmulatedStep, *, kill: bool) -> None:
        """The running step has been told to end, or (`kill`) been ended."""

    def halt(self, cluster: EmulatedCluster) -> None:
        """Whatever blocks for the cluster ends soon: its programs have been killed."""

    def stop(self, cluster: EmulatedCluster) -> None:
        """Nothing of the cluster runs, and its logs lie under its log URI."""
