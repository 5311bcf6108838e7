"""The real life: nodes are folders, steps are processes, YARN is YARN."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import psutil

from emrctl.aws import instance_types
from emrctl.emulator.cluster import bootstrap_actions, node_folder, step_runner
from emrctl.emulator.cluster.model import EmulatedCluster, EmulatedNode, EmulatedStep
from emrctl.emulator.cluster.node_folder import EmulatorContext
from emrctl.emulator.cluster.runtime import BootstrapFailedError, StepResult
from emrctl.emulator.hadoop import auth, hadoop_jars, history_server, spark_conf, yarn
from emrctl.emulator.server import processes

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class LocalRuntime:
    """Runs clusters on this machine; see `life.Life` for what each method promises."""

    place: EmulatorContext
    yarns: dict[str, yarn.Yarn] = field(default_factory=dict)
    histories: dict[str, history_server.HistoryServer] = field(default_factory=dict)

    def boot(self, cluster: EmulatedCluster, booting: Sequence[EmulatedNode]) -> None:
        """Each node has its folder, and its bootstrap actions ran: nodes all at once."""
        with ThreadPoolExecutor(max_workers=max(1, len(booting))) as pool:
            futures = [pool.submit(self._boot_one, cluster, node) for node in booting]
        failures = [error for future in futures if (error := future.exception()) is not None]
        # Where several failed, the primary's failure is the one to tell.
        failures.sort(key=lambda e: not (isinstance(e, BootstrapFailedError) and e.node.primary))
        if failures:
            raise failures[0]

    def _boot_one(self, cluster: EmulatedCluster, node: EmulatedNode) -> None:
        node_folder.prepare(self.place, cluster, node)
        bootstrap_actions.run_all(self.place, cluster, node)

    def start(self, cluster: EmulatedCluster) -> None:
        """YARN serves with all its nodes, and Spark is configured."""
        folder = self.place.cluster(cluster)
        hadoop = hadoop_jars.hadoop(_log.info)
        made = yarn.Yarn(
            place=self.place,
            cluster=cluster,
            hadoop=hadoop,
            ports=yarn.new_ports(),
            secrets=yarn.new_secrets(folder),
        )
        self.yarns[cluster.id] = made
        self.histories[cluster.id] = history_server.HistoryServer(yarn=made)
        _warn_of_memory(cluster)
        made.start()
        spark_conf.write(cluster, folder, hadoop)

    def join(self, cluster: EmulatedCluster, joining: Sequence[EmulatedNode]) -> None:
        """The nodes' NodeManagers have registered."""
        self.yarns[cluster.id].join(joining)
        _warn_of_memory(cluster)

    def leave(self, cluster: EmulatedCluster, leaving: Sequence[EmulatedNode]) -> None:
        """The nodes' NodeManagers are gone, and so is whatever they ran."""
        if cluster.id in self.yarns:
            self.yarns[cluster.id].leave(leaving)
        for node in leaving:
            root = str(self.place.node(cluster, node))
            processes.kill_marked("EMRCTL_NODE_ROOT", root)

    def run(self, cluster: EmulatedCluster, step: EmulatedStep) -> StepResult:
        """The step has run to its end."""
        return step_runner.run(self.yarns[cluster.id], step)

    def cancel(self, cluster: EmulatedCluster, step: EmulatedStep, *, kill: bool) -> None:
        """The running step has been told to end, or been ended."""
        step_runner.cancel(self.yarns[cluster.id], step, kill=kill)

    def halt(self, cluster: EmulatedCluster) -> None:
        """Bootstrap actions and steps have ended: first asked, so that event logs are closed."""
        scopes = [step.id for step in cluster.steps if step.state in ("RUNNING", "CANCEL_PENDING")]
        actions = len(cluster.request.get("BootstrapActions", []))
        for node in cluster.nodes:
            scopes += [f"{node.ec2_id}-bootstrap-{n + 1}" for n in range(actions)]
        for scope in scopes:
            processes.kill_marked(processes.SCOPE_MARK, scope, grace_s=3.0)

    def stop(self, cluster: EmulatedCluster) -> None:
        """Nothing of the cluster runs, its logs lie on S3, and its bulk is off the disk."""
        running = self.yarns.pop(cluster.id, None)
        self.histories.pop(cluster.id, None)
        if running is not None:
            running.stop()
        processes.kill_marked(processes.CLUSTER_MARK, cluster.id)
        if running is not None:
            step_runner.upload_rest(running)
        for node in cluster.nodes:
            for bulk in ("yarn", "tmp", "venv", "home", "containers"):
                hadoop_jars.remove_quietly(self.place.node(cluster, node) / bulk)

    # -- what the emulator's pages ask

    def address(self, cluster_id: str, kind: str) -> str | None:
        """Where the cluster's pages of that kind answer; the history server starts for it."""
        running = self.yarns.get(cluster_id)
        if running is None:
            return None
        if kind == "history":
            return self.histories[cluster_id].address()
        return {"yarn": running.address, "proxy": f"{running.address}/proxy"}.get(kind)

    def cookie(self, address: str) -> str | None:
        """The cookie for the cluster whose pages lie at that address."""
        address = address.replace("//localhost:", "//127.0.0.1:")
        for cluster_id, running in list(self.yarns.items()):
            known = [running.address, self.histories[cluster_id].running]
            known += [f"http://{one}" for one in running.web_nodes()]
            if any(one and (address + "/").startswith(one + "/") for one in known):
                return auth.cookie(running.secrets.signing)
        return None

    def urls(self, cluster_id: str) -> dict[str, str]:
        """The cluster's pages; the history server starts when its own is first opened."""
        running = self.yarns.get(cluster_id)
        if running is None:
            return {}
        return {
            "yarn": running.address,
            "spark": f"{running.address}/cluster/apps/RUNNING",
            "history": f"{self.place.endpoint}/emrctl/clusters/{cluster_id}/history",
        }


def _warn_of_memory(cluster: EmulatedCluster) -> None:
    claimed = sum(
        instance_types.instance_type(n.group.instance_type).yarn_mb for n in cluster.workers
    )
    here = psutil.virtual_memory().total // (1 << 20)
    if claimed > here:
        warning = (
            f"YARN offers {claimed} MB but this machine has {here} MB: ask for smaller nodes, "
            "or let executors ask for less."
        )
        if warning not in cluster.warnings:
            cluster.warnings.append(warning)
            _log.warning("%s: %s", cluster.id, warning)
