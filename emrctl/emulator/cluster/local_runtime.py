"""The cluster runtime on this machine: folders as nodes, processes as steps, a real YARN."""

from __future__ import annotations

import functools
import logging
import shutil
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from emrctl.aws import instance_types
from emrctl.emulator.cluster import node_folder, programs
from emrctl.emulator.cluster.daemons import ExitedDaemon
from emrctl.emulator.cluster.model import (
    EmulatedCluster,
    EmulatedNode,
    EmulatedStep,
    StepResult,
)
from emrctl.emulator.cluster.node_folder import EmulatorContext
from emrctl.emulator.cluster.scaling import YarnLoad
from emrctl.emulator.hadoop import (
    hadoop_conf,
    hadoop_jars,
    hdfs,
    history_server,
    spark_conf,
    spark_install,
    yarn,
)
from emrctl.emulator.server import processes

_log = logging.getLogger(__name__)
# What the history server reads, in the folder of a cluster, and the folders of its nodes.
_HISTORY_FILES = frozenset({"conf", "signing", "eventlogs", "nodes"})


@dataclass(eq=False)
class LocalRuntime:
    """Runs clusters on this machine; implements `controller.ClusterRuntime`."""

    context: EmulatorContext
    yarns: dict[str, yarn.Yarn] = field(default_factory=dict)
    file_systems: dict[str, hdfs.Hdfs] = field(default_factory=dict)
    history_servers: dict[str, history_server.HistoryServer] = field(default_factory=dict)
    # When a web UI of a cluster was used last, in epoch seconds.
    ui_used: dict[str, float] = field(default_factory=dict)

    def bootstrap(
        self, cluster: EmulatedCluster, nodes: Sequence[EmulatedNode]
    ) -> dict[EmulatedNode, Exception]:
        """Create the nodes' folders and run bootstrap actions, on all nodes in parallel.

        Return the nodes that failed, with the errors.
        """
        with ThreadPoolExecutor(max_workers=max(1, len(nodes))) as pool:
            futures = {node: pool.submit(self._bootstrap_node, cluster, node) for node in nodes}
        errors = {node: future.exception() for node, future in futures.items()}
        return {node: error for node, error in errors.items() if isinstance(error, Exception)}

    def _bootstrap_node(self, cluster: EmulatedCluster, node: EmulatedNode) -> None:
        node_folder.prepare(self.context, cluster, node)
        programs.run_bootstrap_actions(self.context, cluster, node)

    def start(self, cluster: EmulatedCluster) -> None:
        """Start YARN on all nodes and write Spark's configuration."""
        folder = self.context.cluster_folder(cluster)
        choice = spark_install.of(cluster)
        spark = spark_install.ensure(choice, functools.partial(_report, cluster))
        _warn(cluster, choice.warning)
        _warn(cluster, hadoop_jars.java_warning(choice.oldest_java))
        cluster_yarn = yarn.Yarn(
            context=self.context,
            cluster=cluster,
            jars=hadoop_jars.ensure(_log.info),
            spark=spark,
            ports=yarn.new_ports(),
            credentials=hadoop_conf.new_credentials(folder),
        )
        self.yarns[cluster.id] = cluster_yarn
        self.history_servers[cluster.id] = history_server.HistoryServer(yarn=cluster_yarn)
        _check_memory(cluster)
        self.file_systems[cluster.id] = hdfs.Hdfs(yarn=cluster_yarn)
        self.file_systems[cluster.id].prepare()
        cluster_yarn.start()
        self.configure_spark(cluster)

    def add_nodes(self, cluster: EmulatedCluster, nodes: Sequence[EmulatedNode]) -> None:
        """Start the nodes' NodeManagers, and their DataNodes if HDFS is running."""
        workers = [node for node in nodes if not node.primary]
        self.yarns[cluster.id].add_nodes(workers)
        self.file_systems[cluster.id].add_nodes(nodes)
        _check_memory(cluster)

    def remove_nodes(self, cluster: EmulatedCluster, nodes: Sequence[EmulatedNode]) -> None:
        """Stop the nodes' NodeManagers and kill all processes of the nodes."""
        # A cluster without workers terminates while its last node is removed.
        cluster_yarn, files = self.yarns.get(cluster.id), self.file_systems.get(cluster.id)
        if cluster_yarn is not None:
            cluster_yarn.remove_nodes(nodes)
        if files is not None:
            files.remove_nodes(nodes)
        for node in nodes:
            root = str(self.context.node_folder(cluster, node))
            processes.kill_marked("EMRCTL_NODE_ROOT", root)

    def fail_over(self, cluster: EmulatedCluster, lost: EmulatedNode) -> None:
        """Start the ResourceManager and the NameNode of a lost primary on the next one.

        Files on HDFS are kept; running applications are lost.
        """
        self.yarns[cluster.id].fail_over(lost)
        self.file_systems[cluster.id].fail_over(lost)

    def load(self, cluster: EmulatedCluster) -> YarnLoad | None:
        """Return YARN's metrics, or None if YARN does not answer."""
        cluster_yarn = self.yarns.get(cluster.id)
        return None if cluster_yarn is None else cluster_yarn.load()

    def set_schedulable(
        self, cluster: EmulatedCluster, node: EmulatedNode, *, schedulable: bool
    ) -> None:
        """Set whether YARN starts new containers on the node; running ones are not affected."""
        self.yarns[cluster.id].set_schedulable(node, schedulable=schedulable)

    def configure_spark(self, cluster: EmulatedCluster) -> None:
        """Write Spark's configuration, which the next step reads."""
        folder = self.context.cluster_folder(cluster)
        spark_conf.write(cluster, folder, self.yarns[cluster.id].spark)

    def restart_daemons(self, cluster: EmulatedCluster, nodes: Sequence[EmulatedNode]) -> None:
        """Restart the daemons of the nodes with their configuration; raise `EmrctlError`."""
        self.yarns[cluster.id].reconfigure(nodes)

    def exited_daemons(self, cluster: EmulatedCluster) -> list[ExitedDaemon]:
        """Return the daemons of YARN and HDFS that have exited and should run."""
        cluster_yarn, files = self.yarns.get(cluster.id), self.file_systems.get(cluster.id)
        exited = [] if cluster_yarn is None else cluster_yarn.exited_daemons()
        return exited if files is None else exited + files.exited_daemons()

    def restart_daemon(self, cluster: EmulatedCluster, daemon: ExitedDaemon) -> None:
        """Start one of the daemons again and wait until it works."""
        if daemon.name in (hdfs.NAME_NODE, hdfs.DATA_NODE):
            self.file_systems[cluster.id].restart(daemon)
            return
        if daemon.name == yarn.NODE_MANAGER:
            # They outlive their NodeManager, and YARN starts others in their place.
            node_folder.kill_containers(self.context, cluster, daemon.node)
        self.yarns[cluster.id].restart(daemon)

    def yarn_metrics(self, cluster: EmulatedCluster) -> Mapping[str, float]:
        """Return `clusterMetrics` of the ResourceManager; {} if it does not answer."""
        cluster_yarn = self.yarns.get(cluster.id)
        return {} if cluster_yarn is None else cluster_yarn.metrics()

    def hdfs_metrics(self, cluster: EmulatedCluster) -> Mapping[str, float]:
        """Return the numbers of the NameNode's MBeans of states; {} if HDFS is not running."""
        files = self.file_systems.get(cluster.id)
        return {} if files is None else files.metrics()

    def last_use(self, cluster: EmulatedCluster) -> float:
        """Return when a web UI was used or `isbusy` touched last, in epoch seconds; 0 if never."""
        busy = self.context.node_folder(cluster, cluster.primary) / node_folder.BUSY_FILE
        touched = busy.stat().st_mtime if busy.exists() else 0.0
        return max(touched, self.ui_used.get(cluster.id, 0.0))

    def run_step(self, cluster: EmulatedCluster, step: EmulatedStep) -> StepResult:
        """Run a step on the primary node."""
        return programs.run_step(self.yarns[cluster.id], step)

    def cancel_step(self, cluster: EmulatedCluster, step: EmulatedStep, *, kill: bool) -> None:
        """Terminate the processes and YARN applications of a running step."""
        programs.cancel_step(self.yarns[cluster.id], step, kill=kill)

    def interrupt(self, cluster: EmulatedCluster) -> None:
        """Terminate bootstrap actions and steps, with time for drivers to close event logs."""
        scopes = [step.id for step in cluster.steps if step.running]
        actions = len(cluster.request.get("BootstrapActions", []))
        for node in cluster.nodes:
            scopes += [f"{node.ec2_id}-bootstrap-{n + 1}" for n in range(actions)]
        for scope in scopes:
            processes.kill_marked(processes.SCOPE_MARK, scope, grace_s=3.0)

    def stop(self, cluster: EmulatedCluster) -> None:
        """Kill the cluster's processes, upload its logs, delete the files that are not needed.

        The logs of its nodes are kept, and what the history server reads.
        """
        cluster_yarn = self.yarns.pop(cluster.id, None)
        files = self.file_systems.pop(cluster.id, None)
        if cluster_yarn is not None:
            cluster_yarn.stop()
        if files is not None:
            files.stop()
        processes.kill_marked(processes.CLUSTER_MARK, cluster.id)
        if cluster_yarn is not None:
            programs.upload_remaining_logs(cluster_yarn)
        _delete_all_but(self.context.cluster_folder(cluster), _HISTORY_FILES)
        for node in cluster.nodes:
            _delete_all_but(self.context.node_folder(cluster, node), {"mnt"})

    # -- web UIs

    def serves(self, cluster_id: str, kind: str) -> bool:
        """Whether the cluster has that web UI; the history server also if it is terminated."""
        return cluster_id in (self.history_servers if kind == "history" else self.yarns)

    def address(self, cluster_id: str, kind: str) -> str | None:
        """Return the URL of `yarn`, `proxy` or `history`; start the history server if needed.

        The history server also reads the event logs of a terminated cluster.
        """
        self.ui_used[cluster_id] = time.time()
        if kind == "history" and cluster_id in self.history_servers:
            return self.history_servers[cluster_id].start()
        cluster_yarn = self.yarns.get(cluster_id)
        if cluster_yarn is None:
            return None
        return {"yarn": cluster_yarn.url, "proxy": f"{cluster_yarn.url}/proxy"}.get(kind)

    def cookie(self, url: str) -> str | None:
        """Return the cookie for the web UI of a cluster at this URL, or None."""
        url = url.replace("//localhost:", "//127.0.0.1:")
        for cluster_id, history in list(self.history_servers.items()):
            cluster_yarn = self.yarns.get(cluster_id)
            urls = [history.url]
            if cluster_yarn is not None:
                hosts = cluster_yarn.node_manager_hosts()
                urls += [cluster_yarn.url, *(f"http://{host}" for host in hosts)]
            if any(one and (url + "/").startswith(one + "/") for one in urls):
                return hadoop_conf.cookie(history.yarn.credentials.signing_key)
        return None

    def urls(self, cluster_id: str) -> dict[str, str]:
        """Return the URLs of the web UIs; the history server starts on its first request."""
        cluster_yarn = self.yarns.get(cluster_id)
        if cluster_yarn is None:
            return {}
        return {
            "yarn": cluster_yarn.url,
            "spark": f"{cluster_yarn.url}/cluster/apps/RUNNING",
            "history": f"{self.context.endpoint}/emrctl/clusters/{cluster_id}/history",
        }


def _delete_all_but(folder: Path, names: Collection[str]) -> None:
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name in names:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _check_memory(cluster: EmulatedCluster) -> None:
    """Add a warning to the cluster if YARN offers more memory than this machine has."""
    types = [node.instance_type for node in cluster.workers]
    yarn_mb = sum(instance_types.instance_type(name).yarn_mb for name in types)
    memory_mb = psutil.virtual_memory().total // (1 << 20)
    if yarn_mb > memory_mb:
        _warn(
            cluster,
            f"YARN offers {yarn_mb} MB, but this machine has {memory_mb} MB. "
            "Use smaller instance types or less executor memory.",
        )


def _warn(cluster: EmulatedCluster, warning: str) -> None:
    if warning and warning not in cluster.warnings:
        cluster.warnings.append(warning)
        _log.warning("%s: %s", cluster.id, warning)


def _report(cluster: EmulatedCluster, message: str) -> None:
    """Show the progress of a download as the cluster's message."""
    _log.info("%s: %s", cluster.id, message)
    with cluster.changing():
        if cluster.termination is None:
            cluster.message = f"{message} (local)"
