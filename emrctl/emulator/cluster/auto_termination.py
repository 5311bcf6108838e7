"""Auto-termination policies: clusters that have been idle for a time are terminated.

As on EMR, a cluster is idle without unfinished steps and YARN applications, if its HDFS is filled
to less than 10 % and neither a web UI was used nor /emr/metricscollector/isbusy touched.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from emrctl.emulator.cluster.cluster_metrics import MetricRuntime
from emrctl.emulator.cluster.model import EmulatedCluster, Termination

CHECK_S = 1.0
_HDFS_IN_USE = 0.1


class UseRuntime(MetricRuntime, Protocol):
    """Runs the YARN and HDFS of clusters and serves their web UIs."""

    def last_use(self, cluster: EmulatedCluster) -> float:
        """Return when a web UI was used or `isbusy` touched last, in epoch seconds; 0 if never."""


@dataclass(kw_only=True)
class AutoTerminator:
    """Applies the auto-termination policy of a cluster; `terminate` terminates it."""

    cluster: EmulatedCluster
    runtime: UseRuntime
    terminate: Callable[[Termination], None]
    clock: Callable[[], float] = time.time

    def check(self) -> None:
        """Terminate the cluster if it has been idle for the time of its policy.

        Termination protection takes precedence.
        """
        cluster, policy = self.cluster, self.cluster.auto_termination
        if policy is None or cluster.protected or cluster.idle_since is None:
            return
        used = self.clock() if self._in_use() else self.runtime.last_use(cluster)
        with cluster.changed:
            # A step may have been added meanwhile.
            if any(step.unfinished for step in cluster.steps):
                return
            cluster.idle_since = max(cluster.idle_since, used)
            if self.clock() - cluster.idle_since >= float(policy["IdleTimeout"]):
                message = "Terminated by auto-termination policy: idle timeout reached (local)"
                self.terminate(Termination(code="USER_REQUEST", message=message))

    def _in_use(self) -> bool:
        """Whether YARN has unfinished applications, or files fill HDFS."""
        yarn = self.runtime.yarn_metrics(self.cluster)
        if yarn.get("appsRunning") or yarn.get("appsPending"):
            return True
        hdfs = self.runtime.hdfs_metrics(self.cluster)
        capacity = hdfs.get("CapacityTotal", 0)
        return capacity > 0 and hdfs.get("CapacityUsed", 0) >= _HDFS_IN_USE * capacity
