"""One YARN for each cluster: a ResourceManager, and a NodeManager for each worker."""

from __future__ import annotations

import contextlib
import itertools
import secrets
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emrctl import ports
from emrctl.aws import http
from emrctl.emulator.cluster import node_folder
from emrctl.emulator.cluster.model import EmulatedCluster, EmulatedNode
from emrctl.emulator.cluster.node_folder import EmulatorContext
from emrctl.emulator.hadoop import auth, hadoop_conf, hadoop_jars
from emrctl.emulator.hadoop.hadoop_conf import YarnCredentials, YarnPorts
from emrctl.emulator.hadoop.hadoop_jars import HadoopJars
from emrctl.emulator.server import processes
from emrctl.errors import EmrctlError

_SERVER = "org.apache.hadoop.yarn.server"
_RESOURCE_MANAGER = f"{_SERVER}.resourcemanager.ResourceManager"
_NODE_MANAGER = f"{_SERVER}.nodemanager.NodeManager"
_START_TIMEOUT_S = 60.0
# Below those that systems give to outgoing connections: such a one took a port that had been free
# a moment before.
_PORTS = range(20_000, 32_768)
_UNFINISHED = "NEW,NEW_SAVING,SUBMITTED,ACCEPTED,RUNNING"


@dataclass(kw_only=True, eq=False)
class Yarn:
    """The YARN of a cluster."""

    place: EmulatorContext
    cluster: EmulatedCluster
    hadoop: HadoopJars
    ports: YarnPorts
    secrets: YarnCredentials
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The cluster's folder."""
        return self.place.cluster(self.cluster)

    @property
    def address(self) -> str:
        """Where the ResourceManager's pages and REST answer."""
        return f"http://127.0.0.1:{self.ports.web}"

    def environment(self, node: EmulatedNode) -> dict[str, str]:
        """The node's environment with Spark and YARN in it, and the name that YARN serves."""
        conf = str(self.folder / "conf")
        root = self.place.node(self.cluster, node)
        return node_folder.environment(self.place, self.cluster, node) | {
            "SPARK_HOME": str(hadoop_jars.spark_home()),
            "SPARK_CONF_DIR": conf,
            "HADOOP_CONF_DIR": conf,
            "YARN_CONF_DIR": conf,
            "SPARK_DIST_CLASSPATH": self.hadoop.s3a,
            "HADOOP_USER_NAME": self.secrets.name,
            "PYSPARK_PYTHON": "python3",
            # Java reads neither TMPDIR nor HOME.
            "SPARK_SUBMIT_OPTS": (
                f"-Djava.io.tmpdir={root / 'tmp'} -Duser.home={root / 'home'} "
                "-XX:TieredStopAtLevel=1"
            ),
            "SPARK_LAUNCHER_OPTS": " ".join(hadoop_jars.JVM_OPTIONS),
        }

    def write_conf(self) -> None:
        """The clients' configuration, and the ResourceManager's."""
        core = hadoop_conf.core_site(self.cluster, self.place.endpoint, self.folder)
        yarn = hadoop_conf.yarn_site(self.cluster, self.ports, self.folder)
        hadoop_conf.write(self.folder / "conf", [("core-site.xml", core), ("yarn-site.xml", yarn)])
        self._write_daemon_conf(self.folder / "conf-rm", yarn)

    def _write_daemon_conf(self, folder: Path, yarn: dict[str, str]) -> None:
        core = hadoop_conf.core_site(self.cluster, self.place.endpoint, self.folder)
        files = [
            ("core-site.xml", hadoop_conf.daemon_core_site(core, self.secrets)),
            ("yarn-site.xml", yarn),
            ("hadoop-policy.xml", hadoop_conf.policy()),
            ("capacity-scheduler.xml", hadoop_conf.capacity_scheduler(self.cluster)),
        ]
        hadoop_conf.write(folder, files)
        (folder / "log4j.properties").write_text(hadoop_conf.log4j(), encoding="utf-8")

    def start(self) -> None:
        """The ResourceManager serves and every worker's NodeManager has registered."""
        self.write_conf()
        self._start_daemon(self.cluster.primary, _RESOURCE_MANAGER, self.folder / "conf-rm")
        # EMR's cluster of one node works on that node.
        self.join(self.cluster.workers or [self.cluster.primary])

    def join(self, joining: Sequence[EmulatedNode]) -> None:
        """The nodes' NodeManagers have registered."""
        before = len(self._node_managers())
        yarn = hadoop_conf.yarn_site(self.cluster, self.ports, self.folder)
        for node in joining:
            root = self.place.node(self.cluster, node)
            conf = root / "conf"
            path = node_folder.environment(self.place, self.cluster, node)["PATH"]
            own = hadoop_conf.node_manager(yarn, root, node.group.instance_type, path)
            self._write_daemon_conf(conf, own)
            self._start_daemon(node, _NODE_MANAGER, conf)
        self._await_nodes(before + len(joining))

    def leave(self, leaving: Sequence[EmulatedNode]) -> None:
        """The nodes' NodeManagers and what they ran have gone."""
        popped = [self.daemons.pop(_key(node, _NODE_MANAGER), None) for node in leaving]
        gone = [daemon for daemon in popped if daemon is not None]
        for daemon in gone:
            processes.signal_group(daemon, signal.SIGTERM)
        deadline = time.monotonic() + 10
        while any(daemon.poll() is None for daemon in gone) and time.monotonic() < deadline:
            time.sleep(0.05)
        for daemon in gone:
            processes.signal_group(daemon, signal.SIGKILL)
            daemon.wait()

    def _node_managers(self) -> list[str]:
        return [key for key in self.daemons if key.endswith(_NODE_MANAGER)]

    def _start_daemon(self, node: EmulatedNode, main: str, conf: Path) -> None:
        root = self.place.node(self.cluster, node)
        log = root / "mnt/var/log/hadoop-yarn"
        log.mkdir(parents=True, exist_ok=True)
        heap = "512m" if main == _RESOURCE_MANAGER else "256m"
        program = processes.ProcessSpec(
            argv=[
                str(hadoop_jars.java_home() / "bin" / "java"),
                *hadoop_jars.JVM_OPTIONS,
                *hadoop_jars.open_modules(),
                f"-Xmx{heap}",
                "-Xss512k",
                "-XX:-UsePerfData",
                f"-Djava.io.tmpdir={root / 'tmp'}",
                f"-Dhadoop.log.dir={log}",
                *("-cp", f"{conf}:{self.hadoop.yarn}", main),
            ],
            cwd=log,
            env=node_folder.environment(self.place, self.cluster, node)
            | {"HADOOP_USER_NAME": self.secrets.name, "SPARK_HOME": str(hadoop_jars.spark_home())},
            stdout=log / daemon_log(main),
            stderr=log / daemon_log(main),
        )
        self.daemons[_key(node, main)] = processes.start(program)

    def _await_nodes(self, count: int) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline and self.cluster.ending is None:
            self._check_daemons()
            with contextlib.suppress(OSError, ValueError):
                if self.active_nodes() >= count:
                    return
            time.sleep(0.05)
        if self.cluster.ending is None:
            raise EmrctlError(f"YARN did not have {count} nodes within {_START_TIMEOUT_S:.0f} s")

    def _check_daemons(self) -> None:
        for key, daemon in self.daemons.items():
            if daemon.poll() is not None and self.cluster.ending is None:
                node, _, main = key.partition(" ")
                raise EmrctlError(f"{main.rsplit('.', 1)[-1]} of {node} ended: see its log")

    def active_nodes(self) -> int:
        """How many NodeManagers take work now."""
        return int(self.ask("/ws/v1/cluster/metrics")["clusterMetrics"]["activeNodes"])

    def ask(self, path: str) -> Any:
        """What the ResourceManager's REST answers."""
        headers = {"Cookie": auth.cookie(self.secrets.signing)}
        return http.get_json(self.address + path, headers=headers, timeout_s=10)

    def web_nodes(self) -> list[str]:
        """Hosts and ports of the NodeManagers' pages."""
        with contextlib.suppress(OSError, ValueError):
            found = self.ask("/ws/v1/cluster/nodes")["nodes"] or {}
            hosts = [one.get("nodeHTTPAddress", "") for one in found.get("node", [])]
            return [host.replace("localhost:", "127.0.0.1:") for host in hosts]
        return []

    def applications(self) -> list[str]:
        """Ids of the applications that have not finished."""
        with contextlib.suppress(OSError, ValueError):
            found = self.ask(f"/ws/v1/cluster/apps?states={_UNFINISHED}")["apps"] or {}
            return [one["id"] for one in found.get("app", [])]
        return []

    def kill(self, application: str) -> None:
        """The application is being killed, unless it has finished."""
        request = urllib.request.Request(  # noqa: S310
            f"{self.address}/ws/v1/cluster/apps/{application}/state",
            data=b'{"state":"KILLED"}',
            method="PUT",
            headers={
                "Cookie": auth.cookie(self.secrets.signing, self.secrets.name),
                "Content-Type": "application/json",
                "X-XSRF-Header": "emrctl",
            },
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with contextlib.suppress(OSError, urllib.error.HTTPError):
            opener.open(request, timeout=10).close()

    def stop(self) -> None:
        """Applications have had their moment to end in order; no daemon runs."""
        for application in self.applications():
            self.kill(application)
        deadline = time.monotonic() + 8
        while self.applications() and time.monotonic() < deadline:
            time.sleep(0.1)
        for daemon in self.daemons.values():
            processes.signal_group(daemon, signal.SIGKILL)
        for daemon in self.daemons.values():
            daemon.wait()


def _key(node: EmulatedNode, main: str) -> str:
    return f"{node.ec2_id} {main}"


def daemon_log(main: str) -> str:
    """What a daemon's log is called on EMR."""
    return f"hadoop-hadoop-{main.rsplit('.', 1)[-1].lower()}-local.log"


def new_ports() -> YarnPorts:
    """Five ports of loopback that nobody has now, and no outgoing connection will be given."""
    candidates = secrets.SystemRandom().sample(_PORTS, len(_PORTS))
    client, scheduler, tracker, admin, web = itertools.islice(filter(ports.free, candidates), 5)
    return YarnPorts(client=client, scheduler=scheduler, tracker=tracker, admin=admin, web=web)


def new_secrets(folder: Path) -> YarnCredentials:
    """A secret name, and a file of mode 600 to sign with."""
    signing = folder / "signing"
    signing.touch(mode=0o600)
    signing.write_text(secrets.token_hex(32), encoding="utf-8")
    return YarnCredentials(
        signing=signing, name=f"k{secrets.token_hex(12)}@{secrets.token_hex(12)}"
    )
