"""YARN's daemons of a cluster: the ResourceManager on the primary, a NodeManager on each worker."""

from __future__ import annotations

import contextlib
import itertools
import re
import secrets
import signal
import subprocess
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emrctl import ports
from emrctl.aws.polling import poll_until
from emrctl.emulator.cluster import node_folder
from emrctl.emulator.cluster.daemons import ExitedDaemon
from emrctl.emulator.cluster.model import EmulatedCluster, EmulatedNode
from emrctl.emulator.cluster.node_folder import EmulatorContext
from emrctl.emulator.cluster.scaling import NodeLoad, YarnLoad
from emrctl.emulator.hadoop import hadoop_conf, hadoop_jars, hdfs_classes, hdfs_conf, ui_filter
from emrctl.emulator.hadoop.hadoop_conf import YarnPorts
from emrctl.emulator.hadoop.hadoop_jars import HadoopJars
from emrctl.emulator.hadoop.resource_manager import ResourceManagerApi
from emrctl.emulator.hadoop.spark_install import SparkInstallation
from emrctl.emulator.server import processes
from emrctl.errors import EmrctlError

_SERVER = "org.apache.hadoop.yarn.server"
_RESOURCE_MANAGER = f"{_SERVER}.resourcemanager.ResourceManager"
_NODE_MANAGER = f"{_SERVER}.nodemanager.NodeManager"
NODE_MANAGER = "NodeManager"
_NODE_ID = re.compile(r"Node ID assigned is : \S+:(\d+)")
_REGISTERED = re.compile(r"Registered with ResourceManager as")
_START_TIMEOUT_S = 120.0
# Longer, because giving up costs the node or the cluster.
_RESTART_TIMEOUT_S = 180.0
# Below the ephemeral ports: the system could give such a port to an outgoing connection between
# the check and the daemon's start.
_PORTS = range(20_000, 32_768)


@dataclass(kw_only=True, eq=False)
class Yarn(ResourceManagerApi):
    """The YARN of a cluster; `daemons` are its processes by (EC2 instance id, main class)."""

    context: EmulatorContext
    cluster: EmulatedCluster
    jars: HadoopJars
    spark: SparkInstallation
    daemons: dict[tuple[str, str], subprocess.Popen[bytes]] = field(default_factory=dict)
    # They are kept when a NodeManager is restarted.
    node_ports: dict[str, int] = field(default_factory=dict)
    stopping: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def folder(self) -> Path:
        """Folder of the cluster."""
        return self.context.cluster_folder(self.cluster)

    @property
    def hdfs_folder(self) -> Path:
        """Folder in which clients and the emulator exchange how HDFS is reached."""
        return self.folder / "hdfs"

    def environment(self, node: EmulatedNode) -> dict[str, str]:
        """Return the environment of steps: the node's, Spark's and the secret user name."""
        conf, home = str(self.folder / "conf"), self.spark.home
        classes = hdfs_classes.client_class_path(home), ui_filter.class_path(home)
        root = self.context.node_folder(self.cluster, node)
        return node_folder.environment(self.context, self.cluster, node) | {
            "SPARK_HOME": str(home),
            "SPARK_CONF_DIR": conf,
            "HADOOP_CONF_DIR": conf,
            "YARN_CONF_DIR": conf,
            "SPARK_DIST_CLASSPATH": ":".join(map(str, (self.spark.s3a, *classes))),
            "EMRCTL_DISTCP": self.jars.distcp,
            "HADOOP_USER_NAME": self.credentials.user,
            "PYSPARK_PYTHON": "python3",
            # Java ignores TMPDIR and HOME.
            "SPARK_SUBMIT_OPTS": (
                f"-Djava.io.tmpdir={root / 'tmp'} -Duser.home={root / 'home'} "
                "-XX:TieredStopAtLevel=1"
            ),
            "SPARK_LAUNCHER_OPTS": " ".join(hadoop_jars.JVM_OPTIONS),
        }

    def start(self) -> None:
        """Start the ResourceManager and the NodeManagers; wait until these are registered."""
        self._write_conf()
        self._start_daemon(self.cluster.primary, _RESOURCE_MANAGER, self.folder / "conf-rm")
        # The primary of a single-node cluster runs the NodeManager as well.
        self.add_nodes(self.cluster.workers or [self.cluster.primary])

    def _write_conf(self) -> None:
        """Write the configuration of clients and of the ResourceManager."""
        primary = self.cluster.primary
        core = self.core_site(primary)
        yarn = hadoop_conf.yarn_site(self.cluster, self.ports, self.folder)
        files = [("core-site.xml", core), ("yarn-site.xml", yarn), self._hdfs_site()]
        hadoop_conf.write(self.folder / "conf", files)
        self._write_daemon_conf(self.folder / "conf-rm", primary, yarn)

    def core_site(self, node: EmulatedNode) -> dict[str, str]:
        """Return core-site.xml of clients on a node."""
        provider, endpoint = self.spark.credentials_provider, self.context.endpoint
        return hadoop_conf.core_site(self.cluster, endpoint, self.folder, provider, node)

    def _hdfs_site(self) -> tuple[str, dict[str, str]]:
        return "hdfs-site.xml", hdfs_conf.client(self.cluster, self.hdfs_folder)

    def _write_daemon_conf(self, folder: Path, node: EmulatedNode, yarn: dict[str, str]) -> Path:
        core = self.core_site(node)
        files = [
            ("core-site.xml", hadoop_conf.daemon_core_site(core, self.credentials)),
            ("yarn-site.xml", yarn),
            self._hdfs_site(),
            ("hadoop-policy.xml", hadoop_conf.policy()),
            ("capacity-scheduler.xml", hadoop_conf.capacity_scheduler(self.cluster)),
        ]
        hadoop_conf.write(folder, files)
        (folder / "log4j.properties").write_text(hadoop_conf.LOG4J, encoding="utf-8")
        return folder

    def add_nodes(self, nodes: Sequence[EmulatedNode]) -> None:
        """Start the nodes' NodeManagers and wait until they are registered."""
        for node in nodes:
            self._start_node_manager(node)
        self._wait_for_nodes(nodes)

    def _start_node_manager(self, node: EmulatedNode, port: int = 0) -> None:
        root = self.context.node_folder(self.cluster, node)
        site = self.node_site(node, port)
        conf = self._write_daemon_conf(root / "conf", node, site)
        self._start_daemon(node, _NODE_MANAGER, conf)

    def node_site(self, node: EmulatedNode, port: int = 0) -> dict[str, str]:
        """Return yarn-site.xml of the node's NodeManager."""
        yarn = hadoop_conf.yarn_site(self.cluster, self.ports, self.folder, node)
        root = self.context.node_folder(self.cluster, node)
        path = node_folder.environment(self.context, self.cluster, node)["PATH"]
        return hadoop_conf.node_manager(yarn, root, node.instance_type, path, port)

    def exited_daemons(self) -> list[ExitedDaemon]:
        """Return the daemons that have exited, the ResourceManager first."""
        nodes = {node.ec2_id: node for node in self.cluster.active_nodes}
        exited = [
            ExitedDaemon(
                main.rsplit(".", 1)[-1], nodes[ec2_id], processes.exit_code(daemon.returncode)
            )
            for (ec2_id, main), daemon in list(self.daemons.items())
            if daemon.poll() is not None and ec2_id in nodes
        ]
        return sorted(exited, key=lambda one: one.name == NODE_MANAGER)

    def restart(self, daemon: ExitedDaemon) -> None:
        """Start a daemon again, at its addresses; wait until it is registered.

        Applications do not survive the ResourceManager, and containers not their NodeManager.
        """
        main = _NODE_MANAGER if daemon.name == NODE_MANAGER else _RESOURCE_MANAGER
        log = self._log_file(daemon.node, main)
        text = log.read_text(encoding="utf-8", errors="replace")
        with self.lock:
            if self.stopping or (daemon.node.ec2_id, main) not in self.daemons:
                return
            if main == _NODE_MANAGER:
                # Under another port, YARN would use the old one as well for ten minutes.
                self._start_node_manager(daemon.node, self._port(daemon.node))
            else:
                self._start_daemon(daemon.node, main, self.folder / "conf-rm")
        if main == _RESOURCE_MANAGER:
            self._wait_for_nodes(self.cluster.active_nodes, _RESTART_TIMEOUT_S)
        else:
            self._wait_for_registration(daemon.node, log, len(_REGISTERED.findall(text)))

    def fail_over(self, lost: EmulatedNode) -> None:
        """Start the ResourceManager of a lost primary node on the cluster's next one."""
        with self.lock:
            if self.stopping or self.daemons.pop((lost.ec2_id, _RESOURCE_MANAGER), None) is None:
                return
            self._write_conf()
            self._start_daemon(self.cluster.primary, _RESOURCE_MANAGER, self.folder / "conf-rm")
        self._wait_for_nodes(self.cluster.active_nodes, _RESTART_TIMEOUT_S)

    def reconfigure(self, nodes: Sequence[EmulatedNode]) -> None:
        """Restart the daemons of the nodes with their current configuration, one after another.

        Raises `EmrctlError` if one does not start. Containers end with their NodeManager.
        """
        self._write_conf()
        for node in nodes:
            for main in (_RESOURCE_MANAGER, _NODE_MANAGER):
                daemon = self.daemons.get((node.ec2_id, main))
                if daemon is None:
                    continue
                processes.terminate([daemon])
                node_folder.kill_containers(self.context, self.cluster, node)
                name = main.rsplit(".", 1)[-1]
                self.restart(ExitedDaemon(name, node, processes.exit_code(daemon.returncode)))

    def _wait_for_registration(self, node: EmulatedNode, log: Path, before: int) -> None:
        def done() -> bool:
            process = self.daemons.get((node.ec2_id, _NODE_MANAGER))
            if self.stopping or process is None or process.poll() is not None:
                return True
            return len(_REGISTERED.findall(log.read_text(errors="replace"))) > before

        registered = poll_until(done, 0.1, _RESTART_TIMEOUT_S)
        process = self.daemons.get((node.ec2_id, _NODE_MANAGER))
        if not registered or (process is not None and process.poll() is not None):
            raise EmrctlError(f"the NodeManager of {node.ec2_id} did not register: see {log}")

    def remove_nodes(self, nodes: Sequence[EmulatedNode]) -> None:
        """Stop the nodes' NodeManagers: SIGTERM, then SIGKILL once YARN has removed them.

        A NodeManager leaves the ResourceManager first, which reports its containers as lost.
        """
        with self.lock:
            popped = [self.daemons.pop((node.ec2_id, _NODE_MANAGER), None) for node in nodes]
        daemons = [daemon for daemon in popped if daemon is not None]
        for daemon in daemons:
            processes.signal_group(daemon, signal.SIGTERM)

        def done() -> bool:
            exited = all(daemon.poll() is not None for daemon in daemons)
            return exited or not self._registered(nodes)

        poll_until(done, 0.05, 10)
        processes.kill_all(daemons)

    def _log_file(self, node: EmulatedNode, main: str) -> Path:
        logs = self.context.node_folder(self.cluster, node) / "mnt/var/log/hadoop-yarn"
        return logs / f"hadoop-hadoop-{main.rsplit('.', 1)[-1].lower()}-local.log"

    def _start_daemon(self, node: EmulatedNode, main: str, conf: Path) -> None:
        heap = "512m" if main == _RESOURCE_MANAGER else "256m"
        # For files on HDFS that a NodeManager copies to containers.
        class_path = f"{conf}:{self.jars.yarn}:{hdfs_classes.client_class_path(self.spark.home)}"
        log = self._log_file(node, main)
        name = main.rsplit(".", 1)[-1]
        argv = [f"-Xmx{heap}", *self.daemon_options(node, name), "-cp", class_path, main]
        self.daemons[node.ec2_id, main] = self.start_java(node, argv, log)

    def daemon_options(self, node: EmulatedNode, name: str) -> list[str]:
        """Return the JVM options that the user sets for a daemon."""
        exports = hadoop_conf.daemon_environment(self.cluster, node)
        return hadoop_conf.daemon_options(exports, name)

    def start_java(
        self, node: EmulatedNode, argv: Sequence[str], log: Path
    ) -> subprocess.Popen[bytes]:
        """Start a daemon of Hadoop on a node with these arguments of Java."""
        root = self.context.node_folder(self.cluster, node)
        log.parent.mkdir(parents=True, exist_ok=True)
        program = processes.ProcessSpec(
            argv=[
                *hadoop_jars.java("java.lang"),
                *("-Xss512k", "-XX:-UsePerfData"),
                f"-Djava.io.tmpdir={root / 'tmp'}",
                f"-Dhadoop.log.dir={log.parent}",
                *argv,
            ],
            cwd=log.parent,
            env={
                **hadoop_conf.daemon_environment(self.cluster, node),
                **node_folder.environment(self.context, self.cluster, node),
                "HADOOP_USER_NAME": self.credentials.user,
                "SPARK_HOME": str(self.spark.home),
            },
            stdout=log,
            stderr=log,
        )
        return processes.start(program)

    def _wait_for_nodes(
        self, nodes: Sequence[EmulatedNode], timeout_s: float = _START_TIMEOUT_S
    ) -> None:
        """Wait until the NodeManagers of these nodes are registered."""
        ids = [node.ec2_id for node in nodes]

        def missing() -> list[str]:
            registered = self._registered(nodes)
            running = [one for one in ids if (one, _NODE_MANAGER) in self.daemons]
            return [one for one in running if one not in registered]

        def done() -> bool:
            if self.cluster.termination is not None:
                return True
            self._check_daemons({*ids, self.cluster.primary.ec2_id})
            return not missing()

        if not poll_until(done, 0.05, timeout_s):
            raise EmrctlError(
                f"NodeManagers of {self.cluster.id} did not register within {timeout_s:.0f} s: "
                f"{', '.join(missing())}"
            )

    def _check_daemons(self, ids: Collection[str]) -> None:
        for (node, main), daemon in list(self.daemons.items()):
            if node in ids and daemon.poll() is not None:
                name, code = main.rsplit(".", 1)[-1], daemon.returncode
                raise EmrctlError(f"{name} of {node} exited with code {code}: see its log")

    def _port(self, node: EmulatedNode) -> int:
        """Return the port by which YARN identifies the node's NodeManager, 0 if there is none."""
        if node.ec2_id not in self.node_ports:
            with contextlib.suppress(OSError):
                log = self._log_file(node, _NODE_MANAGER)
                ports = _NODE_ID.findall(log.read_text(encoding="utf-8", errors="replace"))
                if ports:
                    self.node_ports[node.ec2_id] = int(ports[-1])
        return self.node_ports.get(node.ec2_id, 0)

    def _registered(self, nodes: Sequence[EmulatedNode]) -> dict[str, dict[str, Any]]:
        """Return YARN's rows of those nodes that it uses, by EC2 instance id."""
        rows = {
            int(row["id"].rpartition(":")[2]): row
            for row in self.rows("/ws/v1/cluster/nodes?states=RUNNING", "node")
        }
        ports = {node.ec2_id: self._port(node) for node in nodes} if rows else {}
        return {ec2_id: rows[port] for ec2_id, port in ports.items() if port in rows}

    def load(self) -> YarnLoad | None:
        """Return the metrics for managed scaling, or None if YARN does not answer."""
        metrics = self.metrics()
        nodes = self._registered(self.cluster.active_nodes) if metrics else {}
        # Without the list of nodes all of them would look idle.
        if not metrics or (metrics.get("activeNodes") and not nodes):
            return None
        return YarnLoad(
            pending_containers=int(metrics["containersPending"]),
            pending_mb=int(metrics["pendingMB"]),
            nodes={
                ec2_id: NodeLoad(containers=row["numContainers"], available_mb=row["availMemoryMB"])
                for ec2_id, row in nodes.items()
            },
        )

    def set_schedulable(self, node: EmulatedNode, *, schedulable: bool) -> None:
        """Set whether YARN starts new containers on a node; running ones are not affected.

        YARN's own decommissioning excludes hosts, and all nodes are on one host. A node without
        memory and cores is the same to the scheduler.
        """
        row = self._registered([node]).get(node.ec2_id)
        if row is None:
            return
        site = self.node_site(node) if schedulable else {}
        resource = {
            "memory": int(site.get("yarn.nodemanager.resource.memory-mb", 0)),
            "vCores": int(site.get("yarn.nodemanager.resource.cpu-vcores", 0)),
        }
        # Timeout -1: containers that exceed the resource are not preempted.
        body = {"resource": resource, "overCommitTimeout": -1}
        self.send("POST", f"/ws/v1/cluster/nodes/{row['id']}/resource", body)

    def stop(self) -> None:
        """Kill the applications, wait up to 8 s for their end, then kill the daemons."""
        for application in self.applications():
            self.kill(application)
        poll_until(lambda: not self.applications(), 0.1, 8)
        with self.lock:
            self.stopping = True
            processes.kill_all(self.daemons.values())


def new_ports() -> YarnPorts:
    """Return free ports of 127.0.0.1 for a ResourceManager."""
    client, scheduler, tracker, admin, web = free_ports(5)
    return YarnPorts(client=client, scheduler=scheduler, tracker=tracker, admin=admin, web=web)


def free_ports(count: int) -> list[int]:
    """Return free ports of 127.0.0.1, none of them ephemeral."""
    candidates = secrets.SystemRandom().sample(_PORTS, len(_PORTS))
    return list(itertools.islice(filter(ports.free, candidates), count))
