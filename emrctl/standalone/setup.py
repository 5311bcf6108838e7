"""Set up nodes as a standalone cluster, and drain workers before they are terminated.

A script that succeeded leaves a marker on the node, named by the hash of its inputs. A second
setup skips scripts with a marker, and an interrupted one continues after the last marker.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import secrets
import shlex
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from emrctl import bundled
from emrctl.aws.s3 import split_uri
from emrctl.aws.target import Target
from emrctl.clusters.model import Cluster, Node
from emrctl.clusters.sizing import StandaloneWorkers
from emrctl.clusters.stop_start import NodeReport
from emrctl.errors import UnreachableError
from emrctl.remote import nodes
from emrctl.spec import ProjectSpec
from emrctl.standalone.parallel import (
    BOOT_TIMEOUT_S,
    CommandOutput,
    ConnectedNode,
    ParallelNodes,
)

# Folders on a node, relative to the user's home.
ROOT = "emrctl"
_BUNDLED, _OWN = f"{ROOT}/bootstrap", f"{ROOT}/own"
_SPARK_FILES = ("spark.sh", "jars.py", "s3a.lock")
_SUFFIXES = {".sh", ".py", ".lock"}
# Upload logs at the same ratio to the polling interval as EMR does.
_UPLOAD_POLLS, _MAX_UPLOAD_S = 50, 60.0
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


# --- files and scripts of a node ------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class SetupScript:
    """One script with its arguments; without `marker` it runs each time."""

    name: str
    command: str
    marker: str = ""


@dataclass(frozen=True, kw_only=True)
class NodeArchive:
    """The gzipped tar file of a node's scripts, and the hash of its content."""

    data: bytes
    marker: str


@dataclass(frozen=True, kw_only=True)
class SetupPlan:
    """How to set up the nodes of a cluster; `scripts` are the user's own, by name."""

    project: ProjectSpec
    target: Target
    cluster: Cluster
    scripts: Mapping[str, bytes]
    primary: Node

    def archive(self) -> NodeArchive:
        """Return emrctl's scripts and the user's own."""
        folder = bundled.root() / "bootstrap"
        files = {
            f"bootstrap/{path.name}": path.read_bytes()
            for path in folder.iterdir()
            if path.suffix in _SUFFIXES
        }
        for name, body in self.scripts.items():
            files[_own_path(name, body).removeprefix(f"{ROOT}/")] = body
        return _pack(files)

    def setup_scripts(self, node: Node) -> Iterator[SetupScript]:
        """Yield the scripts to run on the node, in order."""
        folder = bundled.root() / "bootstrap"
        for action in self.project.bootstrap_actions:
            body = self.scripts.get(action.script)
            if body is None:
                path, body = f"{_BUNDLED}/{action.script}", (folder / action.script).read_bytes()
            else:
                path = _own_path(action.script, body)
            yield _once(action.name or action.script, ["bash", path, *action.args], [body])
        yield self._spark(folder)
        yield self._standalone(node)
        if node == self.primary and self.cluster.spec.limited:
            seconds = str(self.project.cluster.ttl_s)
            command = ["bash", f"{_BUNDLED}/ttl.sh", seconds]
            command += [self.target.region, self.cluster.stack]
            yield SetupScript(name="ttl.sh", command=shlex.join(command))

    def step_runner_config(self) -> bytes:
        """Return the JSON configuration of the primary's step runner."""
        upload_s = min(self.target.poll_s * _UPLOAD_POLLS, _MAX_UPLOAD_S)
        return json.dumps(
            {
                "cluster_id": self.cluster.id,
                "stack": self.cluster.stack,
                "log_uri": self.cluster.log_uri,
                "region": self.target.region,
                "address": self.primary.private_ip,
                "step_concurrency": self.cluster.spec.step_concurrency,
                "upload_s": upload_s,
            }
        ).encode()

    def _spark(self, folder: Path) -> SetupScript:
        spec = self.project.ec2
        wheels = (f"--wheelhouse={spec.wheelhouse}",) if spec.wheelhouse else ()
        command = ["bash", f"{_BUNDLED}/spark.sh", spec.spark, *wheels]
        return _once("spark.sh", command, [(folder / name).read_bytes() for name in _SPARK_FILES])

    def _standalone(self, node: Node) -> SetupScript:
        """Return the script that starts the daemons; it runs each time, as addresses change."""
        role = "primary" if node == self.primary else "worker"
        resources = StandaloneWorkers.of(node.type, 1)
        options = {
            "master": self.primary.private_ip,
            "address": node.private_ip,
            "cores": resources.cores,
            "memory-mb": resources.memory_mb,
            "region": self.target.region,
            "event-log": self.cluster.event_log_uri,
        }
        flags = [f"--{key}={value}" for key, value in options.items()]
        if role == "worker" and self.project.ec2.worker.spot:
            flags.append("--spot")
        command = shlex.join(["bash", f"{_BUNDLED}/standalone.sh", role, *flags])
        return SetupScript(name="standalone.sh", command=command)


def read_scripts(target: Target, scripts: Mapping[str, str]) -> dict[str, bytes]:
    """Return the content of the user's scripts, from files and S3 URIs, without emrctl's own."""
    folder = bundled.root() / "bootstrap"
    contents = {}
    for name, path in scripts.items():
        if path.startswith("s3://"):
            bucket, key = split_uri(path)
            contents[name] = target.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        elif Path(path).parent != folder:
            contents[name] = Path(path).read_bytes()
    return contents


def _own_path(name: str, body: bytes) -> str:
    """Return the path of a user's script; scripts of the same name do not collide."""
    return f"{_OWN}/{hashlib.sha256(body).hexdigest()[:16]}/{name.rpartition('/')[2]}"


def _once(name: str, command: Sequence[str], inputs: Sequence[bytes]) -> SetupScript:
    digest = hashlib.sha256("\0".join(command).encode())
    for body in inputs:
        digest.update(hashlib.sha256(body).digest())
    return SetupScript(name=name, command=shlex.join(command), marker=digest.hexdigest()[:32])


def _pack(files: Mapping[str, bytes]) -> NodeArchive:
    data, digest = io.BytesIO(), hashlib.sha256()
    with tarfile.open(fileobj=data, mode="w:gz", compresslevel=6) as archive:
        for name, body in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(body), 0o755
            archive.addfile(entry, io.BytesIO(body))
            digest.update(name.encode() + hashlib.sha256(body).digest())
    return NodeArchive(data=data.getvalue(), marker=digest.hexdigest()[:32])


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
