"""Daemons of a cluster: YARN's ResourceManager and NodeManagers, and Spark's history server.

The ResourceManager runs on the primary and a NodeManager on each worker. The history server starts
on the first request for it.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import secrets
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emrctl import ports
from emrctl.aws import http
from emrctl.aws.polling import poll_until
from emrctl.emulator.cluster import node_folder
from emrctl.emulator.cluster.model import EmulatedCluster, EmulatedNode
from emrctl.emulator.cluster.node_folder import EmulatorContext
from emrctl.emulator.hadoop import hadoop_conf, hadoop_jars
from emrctl.emulator.hadoop.hadoop_conf import YarnCredentials, YarnPorts
from emrctl.emulator.hadoop.hadoop_jars import HadoopJars
from emrctl.emulator.server import processes
from emrctl.errors import EmrctlError

_SERVER = "org.apache.hadoop.yarn.server"
_RESOURCE_MANAGER = f"{_SERVER}.resourcemanager.ResourceManager"
_NODE_MANAGER = f"{_SERVER}.nodemanager.NodeManager"
_HISTORY_SERVER = "org.apache.spark.deploy.history.HistoryServer"
_FILTER = "org.apache.hadoop.security.authentication.server.AuthenticationFilter"
_HISTORY_STARTED = re.compile(r"started at http://[^:\s]+:(\d+)")
# Spark's own scripts open these.
_INTERNAL_PACKAGES = ("java.lang", "java.nio", "java.util", "java.net", "sun.nio.ch", "java.io")
_START_TIMEOUT_S = 60.0
_HISTORY_START_TIMEOUT_S = 40.0
# Below the ephemeral ports: the system could give such a port to an outgoing connection between
# the check and the daemon's start.
_PORTS = range(20_000, 32_768)
_UNFINISHED = "NEW,NEW_SAVING,SUBMITTED,ACCEPTED,RUNNING"


@dataclass(kw_only=True, eq=False)
class Yarn:
    """The YARN of a cluster; `daemons` are its processes by (EC2 instance id, main class)."""

    context: EmulatorContext
    cluster: EmulatedCluster
    jars: HadoopJars
    ports: YarnPorts
    credentials: YarnCredentials
    daemons: dict[tuple[str, str], subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Folder of the cluster."""
        return self.context.cluster_folder(self.cluster)

    @property
    def url(self) -> str:
        """URL of the ResourceManager's web UI and REST API."""
        return f"http://127.0.0.1:{self.ports.web}"

    def environment(self, node: EmulatedNode) -> dict[str, str]:
        """Return the environment of steps: the node's, Spark's and the secret user name."""
        conf = str(self.folder / "conf")
        root = self.context.node_folder(self.cluster, node)
        return node_folder.environment(self.context, self.cluster, node) | {
            "SPARK_HOME": str(hadoop_jars.spark_home()),
            "SPARK_CONF_DIR": conf,
            "HADOOP_CONF_DIR": conf,
            "YARN_CONF_DIR": conf,
            "SPARK_DIST_CLASSPATH": self.jars.s3a,
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
        core = hadoop_conf.core_site(self.cluster, self.context.endpoint, self.folder)
        yarn = hadoop_conf.yarn_site(self.cluster, self.ports, self.folder)
        hadoop_conf.write(self.folder / "conf", [("core-site.xml", core), ("yarn-site.xml", yarn)])
        conf = self._write_daemon_conf(self.folder / "conf-rm", yarn)
        self._start_daemon(self.cluster.primary, _RESOURCE_MANAGER, conf)
        # The primary of a single-node cluster runs the NodeManager as well.
        self.add_nodes(self.cluster.workers or [self.cluster.primary])

    def _write_daemon_conf(self, folder: Path, yarn: dict[str, str]) -> Path:
        core = hadoop_conf.core_site(self.cluster, self.context.endpoint, self.folder)
        files = [
            ("core-site.xml", hadoop_conf.daemon_core_site(core, self.credentials)),
            ("yarn-site.xml", yarn),
            ("hadoop-policy.xml", hadoop_conf.policy()),
            ("capacity-scheduler.xml", hadoop_conf.capacity_scheduler(self.cluster)),
        ]
        hadoop_conf.write(folder, files)
        (folder / "log4j.properties").write_text(hadoop_conf.LOG4J, encoding="utf-8")
        return folder

    def add_nodes(self, nodes: Sequence[EmulatedNode]) -> None:
        """Start the nodes' NodeManagers and wait until they are registered."""
        registered = sum(1 for _, main in self.daemons if main == _NODE_MANAGER)
        yarn = hadoop_conf.yarn_site(self.cluster, self.ports, self.folder)
        for node in nodes:
            root = self.context.node_folder(self.cluster, node)
            path = node_folder.environment(self.context, self.cluster, node)["PATH"]
            site = hadoop_conf.node_manager(yarn, root, node.group.instance_type, path)
            self._start_daemon(node, _NODE_MANAGER, self._write_daemon_conf(root / "conf", site))
        self._wait_for_nodes(registered + len(nodes))

    def remove_nodes(self, nodes: Sequence[EmulatedNode]) -> None:
        """Stop the nodes' NodeManagers, with SIGKILL after 10 s."""
        popped = [self.daemons.pop((node.ec2_id, _NODE_MANAGER), None) for node in nodes]
        daemons = [daemon for daemon in popped if daemon is not None]
        for daemon in daemons:
            processes.signal_group(daemon, signal.SIGTERM)
        poll_until(lambda: all(daemon.poll() is not None for daemon in daemons), 0.05, 10)
        _kill(daemons)

    def _start_daemon(self, node: EmulatedNode, main: str, conf: Path) -> None:
        root = self.context.node_folder(self.cluster, node)
        logs = root / "mnt/var/log/hadoop-yarn"
        logs.mkdir(parents=True, exist_ok=True)
        log = logs / f"hadoop-hadoop-{main.rsplit('.', 1)[-1].lower()}-local.log"
        heap = "512m" if main == _RESOURCE_MANAGER else "256m"
        program = processes.ProcessSpec(
            argv=[
                *hadoop_jars.java("java.lang"),
                f"-Xmx{heap}",
                "-Xss512k",
                "-XX:-UsePerfData",
                f"-Djava.io.tmpdir={root / 'tmp'}",
                f"-Dhadoop.log.dir={logs}",
                *("-cp", f"{conf}:{self.jars.yarn}", main),
            ],
            cwd=logs,
            env={
                **node_folder.environment(self.context, self.cluster, node),
                "HADOOP_USER_NAME": self.credentials.user,
                "SPARK_HOME": str(hadoop_jars.spark_home()),
            },
            stdout=log,
            stderr=log,
        )
        self.daemons[node.ec2_id, main] = processes.start(program)

    def _wait_for_nodes(self, count: int) -> None:
        def done() -> bool:
            if self.cluster.termination is not None:
                return True
            self._check_daemons()
            with contextlib.suppress(OSError, ValueError):
                metrics = self.get("/ws/v1/cluster/metrics")["clusterMetrics"]
                return bool(metrics["activeNodes"] >= count)
            return False

        if not poll_until(done, 0.05, _START_TIMEOUT_S):
            raise EmrctlError(
                f"YARN of {self.cluster.id} did not have {count} active nodes "
                f"within {_START_TIMEOUT_S:.0f} s"
            )

    def _check_daemons(self) -> None:
        for (node, main), daemon in self.daemons.items():
            if daemon.poll() is not None:
                name, code = main.rsplit(".", 1)[-1], daemon.returncode
                raise EmrctlError(f"{name} of {node} exited with code {code}: see its log")

    def get(self, path: str) -> Any:
        """Return the response of the ResourceManager's REST API."""
        headers = {"Cookie": hadoop_conf.cookie(self.credentials.signing_key)}
        return http.get_json(self.url + path, headers=headers, timeout_s=10)

    def _list(self, path: str, key: str) -> list[Any]:
        """Return the entries of one of the REST API's lists; none if YARN does not answer."""
        with contextlib.suppress(OSError, ValueError):
            return list((self.get(path)[f"{key}s"] or {}).get(key, []))
        return []

    def node_manager_hosts(self) -> list[str]:
        """Return host and port of the NodeManagers' web UIs."""
        nodes = self._list("/ws/v1/cluster/nodes", "node")
        return [n.get("nodeHTTPAddress", "").replace("localhost:", "127.0.0.1:") for n in nodes]

    def applications(self) -> list[str]:
        """Return the ids of unfinished applications."""
        return [one["id"] for one in self._list(f"/ws/v1/cluster/apps?states={_UNFINISHED}", "app")]

    def kill(self, application: str) -> None:
        """Request that an application is killed; do nothing if it has finished."""
        request = urllib.request.Request(  # noqa: S310
            f"{self.url}/ws/v1/cluster/apps/{application}/state",
            data=b'{"state":"KILLED"}',
            method="PUT",
            headers={
                "Cookie": hadoop_conf.cookie(self.credentials.signing_key, self.credentials.user),
                "Content-Type": "application/json",
                "X-XSRF-Header": "emrctl",
            },
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with contextlib.suppress(OSError):
            opener.open(request, timeout=10).close()

    def stop(self) -> None:
        """Kill the applications, wait up to 8 s for their end, then kill the daemons."""
        for application in self.applications():
            self.kill(application)
        poll_until(lambda: not self.applications(), 0.1, 8)
        _kill(self.daemons.values())


def _kill(daemons: Collection[subprocess.Popen[bytes]]) -> None:
    for daemon in daemons:
        processes.signal_group(daemon, signal.SIGKILL)
    for daemon in daemons:
        daemon.wait()


def new_ports() -> YarnPorts:
    """Return five free ports of 127.0.0.1, none of them ephemeral."""
    candidates = secrets.SystemRandom().sample(_PORTS, len(_PORTS))
    client, scheduler, tracker, admin, web = itertools.islice(filter(ports.free, candidates), 5)
    return YarnPorts(client=client, scheduler=scheduler, tracker=tracker, admin=admin, web=web)


@dataclass(kw_only=True, eq=False)
class HistoryServer:
    """The history server of a cluster; `directory` is the event-log directory that it reads."""

    yarn: Yarn
    process: subprocess.Popen[bytes] | None = None
    directory: str = ""
    port: int | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str | None:
        """URL of the server, or None if it is not running."""
        running = self.process is not None and self.process.poll() is None
        return f"http://127.0.0.1:{self.port}" if running and self.port else None

    def start(self) -> str:
        """Start the server, or restart it if the event-log directory changed; return its URL."""
        with self.lock:
            if self.url is None or self.directory != self._event_log_dir():
                self._stop()
                self._start()
        return f"http://127.0.0.1:{self.port}"

    def _event_log_dir(self) -> str:
        """Return spark.eventLog.dir of the newest step that sets it, else the cluster's."""
        for step in reversed(self.yarn.cluster.steps):
            for argument in step.args:
                if argument.startswith("spark.eventLog.dir="):
                    return argument.partition("=")[2]
        defaults = self._spark_defaults()
        history_dir = defaults["spark.history.fs.logDirectory"]
        return defaults["spark.eventLog.dir"] if history_dir.startswith("file:") else history_dir

    def _spark_defaults(self) -> dict[str, str]:
        text = (self.yarn.folder / "conf/spark-defaults.conf").read_text(encoding="utf-8")
        return dict(line.split(" ", 1) for line in text.splitlines())

    def _stop(self) -> None:
        if self.process is not None:
            _kill([self.process])
        self.process = self.port = None

    def _start(self) -> None:
        primary = self.yarn.cluster.primary
        folder = self.yarn.context.node_folder(self.yarn.cluster, primary) / "mnt/var/log/spark"
        folder.mkdir(parents=True, exist_ok=True)
        # Deleted with a terminated cluster, whose history can still be shown.
        (self.yarn.context.node_folder(self.yarn.cluster, primary) / "tmp").mkdir(exist_ok=True)
        log = folder / "spark-history-server.log"
        log.unlink(missing_ok=True)
        properties = self._write_properties(folder)
        program = processes.ProcessSpec(
            argv=[
                *hadoop_jars.java(*_INTERNAL_PACKAGES),
                "-Xmx512m",
                *("-cp", self._class_path()),
                *(_HISTORY_SERVER, "--properties-file", str(properties)),
            ],
            cwd=folder,
            env=self.yarn.environment(primary),
            stdout=log,
            stderr=log,
        )
        self.process = processes.start(program)
        self.port = self._wait_for_port(log)

    def _class_path(self) -> str:
        """Return Spark's class path, preceded by Hadoop's authentication filter.

        The filter in Spark's shaded Hadoop does not work: it needs a shaded servlet API.
        """
        auth_jar = next((self.yarn.jars.folder / "yarn").glob("hadoop-auth-*.jar"))
        conf = self.yarn.folder / "conf"
        return f"{conf}:{auth_jar}:{hadoop_jars.spark_home()}/jars/*:{self.yarn.jars.s3a}"

    def _write_properties(self, folder: Path) -> Path:
        self.directory = self._event_log_dir()
        signing_key = self.yarn.credentials.signing_key
        properties = self._spark_defaults() | {
            "spark.history.fs.logDirectory": self.directory,
            "spark.history.ui.port": "0",
            "spark.history.fs.update.interval": "2s",
            "spark.ui.filters": _FILTER,
            **hadoop_conf.filter_settings(signing_key, f"spark.{_FILTER}.param."),
        }
        path = folder / "history.conf"
        path.touch(mode=0o600)
        lines = [f"{key} {value}\n" for key, value in sorted(properties.items())]
        path.write_text("".join(lines), encoding="utf-8")
        return path

    def _wait_for_port(self, log: Path) -> int:
        deadline = time.monotonic() + _HISTORY_START_TIMEOUT_S
        while time.monotonic() < deadline and self.process and self.process.poll() is None:
            started = _HISTORY_STARTED.search(log.read_text(encoding="utf-8", errors="replace"))
            if started:
                return int(started[1])
            time.sleep(0.05)
        raise EmrctlError(f"the Spark history server did not start: see {log}")
