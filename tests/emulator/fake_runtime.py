"""A life without Java and without processes, for tests under `moto.mock_aws()`.

    with mock_aws(), api.install(FakeLife()) as service: ...

Clusters are WAITING at once, and a step ends with whatever `on_step` answers to its arguments.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from emrctl.emulator.cluster import s3_logs
from emrctl.emulator.cluster.model import EmulatedCluster, EmulatedNode, EmulatedStep
from emrctl.emulator.cluster.runtime import BootstrapFailedError, StepResult

OnStep = Callable[[list[str]], tuple[int, str, str]]


def _succeed(args: list[str]) -> tuple[int, str, str]:
    return 0, f"{' '.join(args)}\n", ""


@dataclass
class FakeRuntime:
    """Ends steps as told; writes the logs that EMR would write.

    `on_step(args)` gives exit code, stdout and stderr. While `pause` is set, steps run on until
    they are cancelled or it is cleared. `failing_bootstrap` is the number, from 1, of a
    bootstrap action that fails on the primary node with code 1.
    """

    on_step: OnStep = _succeed
    failing_bootstrap: int = 0
    pause: bool = False
    seen: list[list[str]] = field(default_factory=list)
    booted: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    _stops: dict[str, threading.Event] = field(default_factory=dict)

    def boot(self, cluster: EmulatedCluster, nodes: Sequence[EmulatedNode]) -> None:
        """Every node has booted, unless a bootstrap action is to fail."""
        for node in nodes:
            self.booted.append(node.ec2_id)
            if self.failing_bootstrap and node.primary:
                folder = f"node/{node.ec2_id}/bootstrap-actions/{self.failing_bootstrap}"
                s3_logs.put(cluster, f"{folder}/stderr", b"bootstrap failed as told\n")
                raise BootstrapFailedError(node, self.failing_bootstrap, 1)

    def start(self, cluster: EmulatedCluster) -> None:
        """There is nothing to start."""

    def join(self, cluster: EmulatedCluster, nodes: Sequence[EmulatedNode]) -> None:
        """There is nothing to join."""

    def leave(self, cluster: EmulatedCluster, nodes: Sequence[EmulatedNode]) -> None:
        """The nodes are remembered as gone."""
        self.left += [node.ec2_id for node in nodes]

    def run(self, cluster: EmulatedCluster, step: EmulatedStep) -> StepResult:
        """The step's logs lie where EMR puts them, and it ended as `on_step` says."""
        stop = self._stops.setdefault(step.id, threading.Event())
        self.seen.append(step.args)
        while self.pause and not stop.wait(0.01):
            pass
        if stop.is_set():
            return s3_logs.step(
                cluster, step, s3_logs.StepLogs(exit_code=143, stderr=b"terminated\n")
            )
        code, out, err = self.on_step(step.args)
        texts = s3_logs.StepLogs(exit_code=code, stdout=out.encode(), stderr=err.encode())
        return s3_logs.step(cluster, step, texts)

    def cancel(self, cluster: EmulatedCluster, step: EmulatedStep, *, kill: bool) -> None:
        """A paused step ends."""
        self._stops.setdefault(step.id, threading.Event()).set()

    def halt(self, cluster: EmulatedCluster) -> None:
        """Every paused step of the cluster ends."""
        for step in cluster.steps:
            self.cancel(cluster, step, kill=True)

    def stop(self, cluster: EmulatedCluster) -> None:
        """There is nothing to stop."""
