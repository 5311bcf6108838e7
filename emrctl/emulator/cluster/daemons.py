"""Restart of daemons of YARN and HDFS that exit while a cluster is running.

On EMR, systemd restarts them, and a node whose daemons cannot be started is terminated.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from emrctl.emulator.cluster.model import RECONFIGURING, EmulatedCluster, EmulatedNode
from emrctl.errors import EmrctlError

_log = logging.getLogger(__name__)

CHECK_S = 1.0
# A daemon that exits more often in this time is not restarted again.
_MAX_RESTARTS, _RESTART_PERIOD_S = 3, 300.0


@dataclass(frozen=True)
class ExitedDaemon:
    """A daemon, such as `ResourceManager` or `DataNode`, that has exited."""

    name: str
    node: EmulatedNode
    exit_code: int

    def __str__(self) -> str:
        """Return what happened, on which instance."""
        return f"{self.name} on {self.node.ec2_id} exited with code {self.exit_code}"


class DaemonRuntime(Protocol):
    """Runs the daemons of clusters."""

    def exited_daemons(self, cluster: EmulatedCluster) -> list[ExitedDaemon]:
        """Return the daemons that have exited and should run."""

    def restart_daemon(self, cluster: EmulatedCluster, daemon: ExitedDaemon) -> None:
        """Start the daemon again and wait until it works; raise `EmrctlError`."""


@dataclass(kw_only=True)
class DaemonMonitor:
    """Restarts the daemons of a cluster, until `stopped` is set.

    `lose(node, reason)` handles a node whose daemon cannot be restarted.
    """

    cluster: EmulatedCluster
    runtime: DaemonRuntime
    lose: Callable[[EmulatedNode, str], None]
    stopped: threading.Event
    clock: Callable[[], float] = time.monotonic
    restarts: dict[tuple[str, str], list[float]] = field(default_factory=dict)

    def check(self) -> None:
        """Restart the daemons that have exited."""
        for daemon in self.runtime.exited_daemons(self.cluster):
            if self.cluster.termination is not None or self.stopped.is_set():
                return
            # A reconfiguration restarts the daemons itself.
            if daemon.node.group.state != RECONFIGURING:
                self._handle(daemon)

    def _handle(self, daemon: ExitedDaemon) -> None:
        _log.warning("%s: %s; restarting it", self.cluster.id, daemon)
        before = self.cluster.message
        self._report(daemon, f"Restarting {daemon.name} on {daemon.node.ec2_id} (local)")
        try:
            self._count(daemon)
            self.runtime.restart_daemon(self.cluster, daemon)
        except EmrctlError as error:
            if self.cluster.termination is None:
                _log.error("%s: %s; %s", self.cluster.id, daemon, error.message)
                self.lose(daemon.node, f"{daemon} and could not be restarted")
            return
        _log.warning("%s: restarted %s", self.cluster.id, daemon.name)
        when = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        warning = f"{daemon} and was restarted at {when}."
        self._report(daemon, f"{before} {warning}", warning)

    def _count(self, daemon: ExitedDaemon) -> None:
        """Record a restart; raise `EmrctlError` if there were too many."""
        times, now = self.restarts.setdefault((daemon.name, daemon.node.ec2_id), []), self.clock()
        times[:] = [one for one in times if now - one < _RESTART_PERIOD_S] + [now]
        if len(times) > _MAX_RESTARTS:
            raise EmrctlError(
                f"it was restarted {_MAX_RESTARTS} times in {_RESTART_PERIOD_S:.0f} s already"
            )

    def _report(self, daemon: ExitedDaemon, message: str, warning: str = "") -> None:
        """Set the message of the cluster, and the reason of the node; keep only one warning."""
        with self.cluster.changing():
            if self.cluster.termination is not None:
                return
            daemon.node.reason = warning or message
            prefix = f"{daemon.name} on {daemon.node.ec2_id} "
            kept = [one for one in self.cluster.warnings if not one.startswith(prefix)]
            self.cluster.warnings = [*kept, warning] if warning else kept
            self.cluster.message = message
