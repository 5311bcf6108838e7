"""HDFS of a cluster: the NameNode on the primary, a DataNode on each core node.

Its processes start when a client first calls the NameNode: most jobs use S3 only.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import subprocess
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from emrctl.aws import http
from emrctl.aws.polling import poll_until
from emrctl.emulator.cluster.daemons import ExitedDaemon
from emrctl.emulator.cluster.model import EmulatedCluster, EmulatedNode
from emrctl.emulator.hadoop import hadoop_conf, hdfs_classes, hdfs_conf, yarn
from emrctl.emulator.hadoop.hdfs_conf import HdfsPorts
from emrctl.emulator.server import processes
from emrctl.errors import EmrctlError

_log = logging.getLogger(__name__)

_SERVER = "org.apache.hadoop.hdfs.server"
_NAME_NODE = hdfs_classes.NAME_NODE
_DATA_NODE = f"{_SERVER}.datanode.DataNode"
NAME_NODE, DATA_NODE = "NameNode", "DataNode"
# Lines in the daemons' logs that show that they work.
_STARTED = {_NAME_NODE: "The folders of EMR exist", _DATA_NODE: "successfully registered with NN"}
# FSNamesystemState and ReplicatedBlocksState. The values of FSNamesystem are up to 10 s old.
_STATES = "Hadoop:service=NameNode,name=*State"
_POLL_S = 0.1
_TIMEOUT_S = 180.0

Daemon = tuple[EmulatedNode, str]


@dataclass(kw_only=True, eq=False)
class Hdfs:
    """The HDFS of a cluster; `daemons` are its processes by (EC2 instance id, main class).

    `members` are the EC2 instance ids of the nodes that have joined the cluster. Those that start
    or leave while HDFS starts are neither missed nor served twice: `lock` guards both.
    """

    yarn: yarn.Yarn
    ports: HdfsPorts = field(default_factory=lambda: HdfsPorts(rpc=0, web=0))
    daemons: dict[tuple[str, str], subprocess.Popen[bytes]] = field(default_factory=dict)
    members: set[str] = field(default_factory=set)
    running: bool = False
    stopped: threading.Event = field(default_factory=threading.Event)
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def cluster(self) -> EmulatedCluster:
        """The cluster."""
        return self.yarn.cluster

    @property
    def folder(self) -> Path:
        """Folder that clients read (hdfs_classes)."""
        return self.yarn.hdfs_folder

    def prepare(self) -> None:
        """Write the secret user name for clients, and start HDFS once one of them requests it."""
        self.members = {node.ec2_id for node in self.cluster.active_nodes}
        self.folder.mkdir(mode=0o700, exist_ok=True)
        _write(self.folder / "user", self.yarn.credentials.user)
        threading.Thread(target=self._answer_requests, daemon=True).start()

    def _answer_requests(self) -> None:
        while not self.stopped.wait(_POLL_S):
            try:
                if (self.folder / "requested").exists():
                    self._answer_request()
            except Exception:  # noqa: BLE001
                # Such as a full disk: the next request must be answered nevertheless.
                _log.exception("could not answer a request for HDFS of %s", self.cluster.id)

    def _answer_request(self) -> None:
        """Write `address` or `error`, then delete `requested`."""
        try:
            if not self.running:
                _log.info("%s: starting HDFS", self.cluster.id)
                self._start()
                _log.info("%s: HDFS is running", self.cluster.id)
        except Exception as error:  # noqa: BLE001
            _log.exception("could not start HDFS of %s", self.cluster.id)
            with self.lock:
                processes.kill_all(self.daemons.values())
                self.daemons.clear()
            _write(self.folder / "error", f"could not start HDFS of {self.cluster.id}: {error}")
        (self.folder / "requested").unlink(missing_ok=True)

    def _start(self) -> None:
        (self.folder / "error").unlink(missing_ok=True)
        rpc, web = yarn.free_ports(2)
        self.ports = HdfsPorts(rpc=rpc, web=web)
        with self.lock:
            daemons = [(self.cluster.primary, _NAME_NODE), *self._missing()]
            starts = self._starts(daemons)
            for node, main in daemons:
                self._start_daemon(node, main)
        self._wait_for_starts(starts)
        self.running = True
        _write(self.folder / "address", f"127.0.0.1:{rpc}")

    def _missing(self) -> list[Daemon]:
        """Return the DataNodes of members that have not been started."""
        return [
            (node, _DATA_NODE)
            for node in hdfs_conf.data_nodes(self.cluster)
            if node.ec2_id in self.members and (node.ec2_id, _DATA_NODE) not in self.daemons
        ]

    def _storage(self, node: EmulatedNode) -> Path:
        return self.yarn.context.node_folder(self.cluster, node) / "hdfs"

    def _log_file(self, node: EmulatedNode, main: str) -> Path:
        logs = self.yarn.context.node_folder(self.cluster, node) / "mnt/var/log/hadoop-hdfs"
        return logs / f"hadoop-hdfs-{_name(main).lower()}-local.log"

    def _start_daemon(self, node: EmulatedNode, main: str) -> None:
        """Write the configuration of a daemon and start it."""
        with self.lock:
            if self.stopped.is_set():
                raise EmrctlError("the cluster terminates")
            storage = self._storage(node)
            # The JARs of Maven Central have no web pages, but the daemons require their folders.
            for name in ("hdfs", "datanode", "static"):
                (storage / "web/webapps" / name).mkdir(parents=True, exist_ok=True)
            core = hdfs_conf.daemon_core_site(
                self.yarn.core_site(node), self.yarn.credentials, self.ports
            )
            files = [
                ("core-site.xml", core),
                ("hdfs-site.xml", hdfs_conf.daemon(self.cluster, node, self.ports, storage)),
                ("hadoop-policy.xml", hdfs_conf.policy()),
            ]
            hadoop_conf.write(storage / "conf", files)
            (storage / "conf/log4j.properties").write_text(hadoop_conf.LOG4J, encoding="utf-8")
            jars = f"{self.yarn.jars.yarn}:{self.yarn.jars.hdfs}"
            if main == _NAME_NODE:
                jars += f":{hdfs_classes.name_node_class_path(self.yarn.jars)}"
            class_path = f"{storage / 'conf'}:{storage / 'web'}:{jars}"
            options = self.yarn.daemon_options(node, _name(main))
            argv = ["-Xmx256m", *options, "-cp", class_path, main]
            log = self._log_file(node, main)
            self.daemons[node.ec2_id, main] = self.yarn.start_java(node, argv, log)

    def _starts(self, daemons: Iterable[Daemon]) -> dict[Daemon, int]:
        """Return how often each daemon has started, according to its log."""
        logs = {daemon: self._log_file(*daemon) for daemon in daemons}
        return {
            (node, main): log.read_text(errors="replace").count(_STARTED[main])
            if log.exists()
            else 0
            for (node, main), log in logs.items()
        }

    def _wait_for_starts(self, before: dict[Daemon, int]) -> None:
        """Wait until each daemon has started more often than before."""

        def done() -> bool:
            if self.stopped.is_set():
                raise EmrctlError("the cluster terminates")
            # A node that has been removed meanwhile has no process.
            running = [one for one in before if (one[0].ec2_id, one[1]) in self.daemons]
            for node, main in running:
                process = self.daemons[node.ec2_id, main]
                if process.poll() is not None:
                    name, code = _name(main), processes.exit_code(process.returncode)
                    raise EmrctlError(f"{name} of {node.ec2_id} exited with code {code}")
            return all(count > before[one] for one, count in self._starts(running).items())

        if not poll_until(done, 0.05, _TIMEOUT_S):
            names = ", ".join(f"{_name(main)} of {node.ec2_id}" for node, main in before)
            raise EmrctlError(f"HDFS did not start within {_TIMEOUT_S:.0f} s: {names}")

    def metrics(self) -> dict[str, float]:
        """Return the numbers of the NameNode's MBeans of states; {} if it is not running."""
        if not self.running:
            return {}
        url = f"http://127.0.0.1:{self.ports.web}/jmx?qry={_STATES}"
        headers = {"Cookie": hadoop_conf.cookie(self.yarn.credentials.signing_key)}
        with contextlib.suppress(OSError, ValueError, LookupError):
            beans = http.get_json(url, headers=headers)["beans"]
            values = {key: value for bean in beans for key, value in bean.items()}
            return {key: value for key, value in values.items() if isinstance(value, int | float)}
        return {}

    def exited_daemons(self) -> list[ExitedDaemon]:
        """Return the daemons that have exited, the NameNode first."""
        if not self.running:
            return []
        nodes = {node.ec2_id: node for node in self.cluster.active_nodes}
        exited = [
            ExitedDaemon(_name(main), nodes[ec2_id], processes.exit_code(process.returncode))
            for (ec2_id, main), process in list(self.daemons.items())
            if process.poll() is not None and ec2_id in nodes
        ]
        return sorted(exited, key=lambda one: one.name == DATA_NODE)

    def restart(self, daemon: ExitedDaemon) -> None:
        """Start a daemon again; wait until a NameNode works, at its address. Files are kept."""
        main = _NAME_NODE if daemon.name == NAME_NODE else _DATA_NODE
        starts = self._starts([(daemon.node, main)])
        with self.lock:
            if self.stopped.is_set() or (daemon.node.ec2_id, main) not in self.daemons:
                return
            self._start_daemon(daemon.node, main)
        # A DataNode registers once there is a NameNode, which may have to be restarted first.
        if main == _NAME_NODE:
            self._wait_for_starts(starts)

    def fail_over(self, lost: EmulatedNode) -> None:
        """Start the NameNode of a lost primary node on the cluster's next one, with its files.

        On EMR, the journal of three JournalNodes has them.
        """
        with self.lock:
            if self.stopped.is_set() or self.daemons.pop((lost.ec2_id, _NAME_NODE), None) is None:
                return
            primary = self.cluster.primary
            shutil.copytree(
                self._storage(lost) / "name", self._storage(primary) / "name", dirs_exist_ok=True
            )
            starts = self._starts([(primary, _NAME_NODE)])
            self._start_daemon(primary, _NAME_NODE)
        self._wait_for_starts(starts)

    def add_nodes(self, nodes: Sequence[EmulatedNode]) -> None:
        """Start the DataNodes of new core nodes if HDFS is running."""
        with self.lock:
            self.members |= {node.ec2_id for node in nodes if node.active}
            new = self._missing() if self.daemons else []  # also while HDFS starts
            for node, main in new:
                self._start_daemon(node, main)
        self._wait_for_starts(dict.fromkeys(new, 0))

    def remove_nodes(self, nodes: Iterable[EmulatedNode]) -> None:
        """Stop the nodes' DataNodes."""
        nodes = list(nodes)
        with self.lock:
            self.members -= {node.ec2_id for node in nodes}
            popped = [self.daemons.pop((node.ec2_id, _DATA_NODE), None) for node in nodes]
        processes.kill_all([process for process in popped if process is not None])

    def stop(self) -> None:
        """Kill the daemons."""
        with self.lock:
            self.stopped.set()
            processes.kill_all(self.daemons.values())


def _name(main: str) -> str:
    """Return the name of a daemon."""
    return NAME_NODE if main == _NAME_NODE else DATA_NODE


def _write(path: Path, text: str) -> None:
    """Write a file atomically, readable only by the user (mode 600)."""
    temporary = path.with_suffix(".new")
    temporary.touch(mode=0o600)
    temporary.write_text(" ".join(text.split()), encoding="utf-8")
    temporary.replace(path)
