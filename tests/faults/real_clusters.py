"""Clusters of the EMR on localhost: many at once, then many more one after another.

After each part nothing of them may be left: processes, listening sockets, open files and threads of
the emulator, files of nodes. What a cluster leaves on purpose is its history and its logs on S3.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import psutil

from emrctl.aws.polling import poll_until
from emrctl.emulator.server import processes
from tests.faults.real_emulator import RealEmulator
from tests.faults.report import Row

AT_ONCE = 10
TIMEOUT_S = 900.0
# Memory and files that each cluster may add for its history, besides its logs; threads and open
# files come and go with requests.
MB_EACH, FILES_EACH, SOME = 0.5, 20, 8
_NODES = [
    {"InstanceRole": role, "InstanceType": "m5.xlarge", "InstanceCount": 1}
    for role in ("MASTER", "CORE")
]


@dataclass(frozen=True)
class Use:
    """What an emulator uses."""

    processes: int
    sockets: int
    threads: int
    files: int
    memory_mb: float
    files_of_clusters: int

    @classmethod
    def of(cls, emulator_id: str, pid: int, home: Path) -> Use:
        """Return what the emulator uses now."""
        daemon = psutil.Process(pid)
        family = processes.marked(processes.EMULATOR_MARK, emulator_id)
        sockets = daemon.net_connections(kind="inet")
        return cls(
            processes=len(family),
            sockets=sum(item.status == psutil.CONN_LISTEN for item in sockets),
            threads=daemon.num_threads(),
            files=daemon.num_fds(),
            memory_mb=daemon.memory_info().rss / 1e6,
            files_of_clusters=sum(
                "mnt" not in path.parts for path in home.glob("local/clusters/**/*")
            ),
        )


@dataclass
class RealClusters(RealEmulator):
    """Clusters with a core node each."""

    @classmethod
    def create(cls, folder: Path, row: Row) -> RealClusters:
        """Start an emulator."""
        folder.mkdir(parents=True)
        (folder / "emrctl.yaml").write_text("project: many\ntarget: local\n")
        clusters = cls(folder, row)
        clusters.emrctl("local up")
        clusters.emulator.target.client("s3").create_bucket(Bucket="many-clusters")
        return clusters

    def run(self, count: int, at_once: int) -> None:
        """Start and terminate that many clusters, `at_once` at a time."""
        self._round(1)  # what is loaded at the first use is no leak
        before = self._use()
        for _ in range(0, count, at_once):
            self._round(at_once)
            self.row.tried += at_once
        self._compare(before, self._use(), count)

    def _use(self) -> Use:
        info = self.emulator.info
        return Use.of(info.id, info.pid, self.folder / "home")

    def _round(self, count: int) -> None:
        emr = self.emulator.target.client("emr")
        ids = [
            emr.run_job_flow(
                Name=f"cluster {number}",
                ReleaseLabel="emr-7.5.0",
                LogUri="s3://many-clusters/",
                Instances={"InstanceGroups": _NODES, "KeepJobFlowAliveWhenNoSteps": True},
            )["JobFlowId"]
            for number in range(count)
        ]
        for cluster_id in ids:
            self._wait(emr, cluster_id, "WAITING")
        emr.terminate_job_flows(JobFlowIds=ids)
        for cluster_id in ids:
            self._wait(emr, cluster_id, "TERMINATED")

    def _wait(self, emr: Any, cluster_id: str, wanted: str) -> None:
        def state() -> str:
            status = emr.describe_cluster(ClusterId=cluster_id)["Cluster"]["Status"]
            return str(status["State"])

        poll_until(lambda: state().startswith(("TERMINATED", wanted)), 0.2, TIMEOUT_S)
        if (found := state()) != wanted:
            self.row.lost += 1
            self.row.problems.append(f"{cluster_id} is {found} instead of {wanted}")

    def _compare(self, before: Use, after: Use, count: int) -> None:
        """Add what is left to the row."""
        room = {
            "threads": SOME,
            "files": SOME,
            "memory_mb": MB_EACH * count + 20.0,
            "files_of_clusters": FILES_EACH * count,
        }
        for field in fields(Use):
            more = getattr(after, field.name) - getattr(before, field.name)
            if more > room.get(field.name, 0):
                self.row.left += 1
                self.row.problems.append(f"{field.name}: {more:g} more than before")
