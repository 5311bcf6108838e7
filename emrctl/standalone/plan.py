"""The files and scripts that set up a node.

A script that succeeded leaves a marker on the node, named by the hash of its inputs. A second
setup skips scripts with a marker, and an interrupted one continues after the last marker.
"""

from __future__ import annotations

import hashlib
import io
import json
import shlex
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from emrctl import bundled
from emrctl.aws.s3 import split_uri
from emrctl.clusters.sizing import StandaloneWorkers

if TYPE_CHECKING:
    from emrctl.aws.target import Target
    from emrctl.clusters.model import Cluster, Node
    from emrctl.spec import ProjectSpec

# Folders on a node, relative to the user's home.
ROOT = "emrctl"
_BUNDLED, _OWN = f"{ROOT}/bootstrap", f"{ROOT}/own"
_SPARK_FILES = ("spark.sh", "jars.py", "s3a.lock")
_SUFFIXES = {".sh", ".py", ".lock"}
# Upload logs at the same ratio to the polling interval as EMR does.
_UPLOAD_POLLS, _MAX_UPLOAD_S = 50, 60.0


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
