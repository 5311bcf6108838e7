"""Set up nodes as a standalone cluster, and drain workers before they are terminated."""

from __future__ import annotations

import functools
import secrets
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING

from emrctl.errors import UnreachableError
from emrctl.remote import nodes
from emrctl.standalone.parallel import (
    BOOT_TIMEOUT_S,
    CommandOutput,
    ConnectedNode,
    NodeReport,
    ParallelNodes,
)
from emrctl.standalone.plan import ROOT, NodeArchive, SetupPlan, SetupScript, read_scripts

if TYPE_CHECKING:
    from emrctl.aws.target import Target
    from emrctl.clusters.model import Cluster
    from emrctl.spec import ProjectSpec

# emrctl's own scripts are faster; a user's script may be slow, but must not hang for ever.
_SCRIPT_TIMEOUT_S = 3600
_WORKERS_TIMEOUT_S = 120
# Limits how long shuffle and cached blocks are moved to other workers.
_DRAIN_TIMEOUT_S = 300
_UNPACK = (
    "import sys, tarfile; tarfile.open(fileobj=sys.stdin.buffer, mode='r|gz').extractall('emrctl')"
)


def set_up(
    project: ProjectSpec,
    target: Target,
    cluster: Cluster,
    scripts: Mapping[str, str],
    report: NodeReport,
) -> None:
    """Run the setup scripts on all nodes until a master with all workers accepts steps.

    `scripts` are files or S3 URIs of the spec's bootstrap scripts. Completed scripts are skipped.
    `NodesFailedError` names the nodes that failed; calling again continues.
    """
    with ParallelNodes(target, cluster, report, timeout_s=BOOT_TIMEOUT_S) as connected:
        set_up_nodes(connected, project, scripts)


def set_up_nodes(cluster: ParallelNodes, project: ProjectSpec, scripts: Mapping[str, str]) -> None:
    """Set up connected nodes; see `set_up`."""
    plan = SetupPlan(
        project=project,
        target=cluster.target,
        cluster=cluster.cluster,
        scripts=read_scripts(cluster.target, scripts),
        primary=nodes.find_node(cluster.cluster),
    )
    archive, primary = plan.archive(), cluster.find(nodes.PRIMARY)
    cluster.each("connecting", cluster.wait_for_ssh, [primary])
    # Nodes authenticate each other with a shared secret, which outlives a setup.
    existing = primary.query(f"cat {ROOT}/secret 2>/dev/null || true").strip()
    secret = (existing or secrets.token_hex(32)).encode()

    def work(node: ConnectedNode) -> None:
        cluster.wait_for_ssh(node)
        markers = _unpack(node, archive)
        _write(node, "secret", secret)
        if node.node == plan.primary:
            _write(node, "cluster.json", plan.step_runner_config())
        for script in plan.setup_scripts(node.node):
            if not script.marker or script.marker not in markers:
                node.check(script.name, _locked(script))

    cluster.each("bootstrapping", work)
    workers = sum(node.role == "worker" for node in cluster.cluster.nodes)
    command = f"bash {ROOT}/bin/master await {workers} {_WORKERS_TIMEOUT_S}"
    cluster.each("waiting for workers", lambda node: node.check("the master", command), [primary])


def _unpack(node: ConnectedNode, archive: NodeArchive) -> frozenset[str]:
    """Unpack the archive on the node unless it is there; return the markers of the node."""
    markers = frozenset(
        node.query(f"mkdir -p {ROOT}/done {ROOT}/bootstrap && ls {ROOT}/done").split()
    )
    if archive.marker not in markers:
        node.query(f"python3 -W ignore -c {shlex.quote(_UNPACK)}", archive.data)
        node.query(f"touch {ROOT}/done/{archive.marker}")
    return markers


def _write(node: ConnectedNode, name: str, content: bytes) -> None:
    """Write a file that only the node's user can read; process lists do not show its content."""
    path = f"{ROOT}/{name}"
    node.query(f"umask 077 && cat >{path}.new && mv {path}.new {path}", content)


def _locked(script: SetupScript) -> str:
    """Return the script's command, to run while no other script runs on the node.

    The script of a killed client may still be running; it is not repeated once it has succeeded.
    """
    lock = "flock -n 9 || { echo 'waiting for another script on this node'; flock 9; }"
    # Background processes of the script must not keep the lock.
    command = f"timeout {_SCRIPT_TIMEOUT_S} {script.command} 9>&-"
    if script.marker:
        marker = f"{ROOT}/done/{script.marker}"
        command = f"[ -e {marker} ] || {{ {command} && touch {marker}; }}"
    return f"( {lock}; {command} ) 9>{ROOT}/lock"


# --- drain ----------------------------------------------------------------------------------------


def removed_workers(project: ProjectSpec, cluster: Cluster) -> tuple[str, ...]:
    """Return the workers with numbers above the spec's count, which the stack will terminate."""
    count = project.ec2.worker.count
    names = (node.name for node in cluster.nodes if node.role == "worker")
    return tuple(name for name in names if int(name.rpartition("-")[2]) > count)


def drain_removed(
    project: ProjectSpec, target: Target, cluster: Cluster, report: NodeReport
) -> tuple[str, ...]:
    """Drain the workers that the spec no longer includes; return their names."""
    names = removed_workers(project, cluster)
    if names:
        with ParallelNodes(target, cluster, report) as connected:
            workers = [connected.find(name) for name in names]
            connected.each("draining", lambda node: drain(connected, node), workers)
    return names


def drain(cluster: ParallelNodes, worker: ConnectedNode, timeout_s: int = _DRAIN_TIMEOUT_S) -> None:
    """Decommission the worker, wait until its executors have ended, and stop its daemon.

    An unreachable worker, or one that takes longer than `timeout_s`, is not waited for.
    """
    daemon = f"bash {ROOT}/bootstrap/daemon.sh"
    try:
        cluster.wait_for_ssh(worker)
    except UnreachableError as error:
        worker.report(worker.name, f"not drained: {error.message}")
        return
    if CommandOutput().run(worker, f"{daemon} status worker"):
        return
    worker.report(worker.name, "decommissioning")
    CommandOutput().run(worker, f"{daemon} signal worker PWR")
    command = f"bash {ROOT}/bin/master drained {worker.node.private_ip} {timeout_s}"
    output = CommandOutput(functools.partial(worker.report, worker.name))
    output.run(cluster.find(nodes.PRIMARY), command)
    CommandOutput().run(worker, f"{daemon} stop worker")
