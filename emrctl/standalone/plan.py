"""What is to be done on a node so that it is part of a cluster: files, then stages in order.

A stage that ended well leaves its mark on the node, a hash of all that it depends on. So a second
time nothing is done that was done, and a first time that was broken off is gone on with.
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
from emrctl.clusters import sizing_standalone

if TYPE_CHECKING:
    from emrctl.aws.target import Target
    from emrctl.clusters.model import Cluster, Node
    from emrctl.spec import ProjectSpec

NODE = "emrctl"
_OURS = f"{NODE}/bootstrap"
_OWN = f"{NODE}/own"
# Looked at each time, since a daemon may have ended and an address changed: they cost little.
_SPARK_FILES = ("spark.sh", "jars.py", "s3a.lock")
# As often as EMR pushes logs, in relation to how often a step is looked at.
_UPLOADS, _SLOWEST_UPLOADS_S = 50, 60.0


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One script with its arguments; `mark` is empty where it is to run each time."""

    name: str
    command: str
    mark: str = ""


@dataclass(frozen=True, kw_only=True)
class Files:
    """Everything that a node needs of us, packed, and a hash of it."""

    packed: bytes
    mark: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What every node gets, and how its stages differ by role."""

    project: ProjectSpec
    target: Target
    cluster: Cluster
    scripts: Mapping[str, bytes]
    primary: Node

    def files(self) -> Files:
        """Our scripts and the user's own, in their places below the node's folder."""
        ours = sorted((bundled.root() / "bootstrap").iterdir())
        found = {f"bootstrap/{path.name}": path.read_bytes() for path in ours if _is_ours(path)}
        for name, body in self.scripts.items():
            found[_place(name, body).removeprefix(f"{NODE}/")] = body
        return _packed(found)

    def stages(self, node: Node) -> Iterator[Stage]:
        """What runs on the node, in order."""
        for action in self.project.bootstrap_actions:
            body = self.scripts.get(action.script)
            if body is None:
                place = f"{_OURS}/{action.script}"
                body = (bundled.root() / "bootstrap" / action.script).read_bytes()
            else:
                place = _place(action.script, body)
            yield _stage(action.name or action.script, ["bash", place, *action.args], [body])
        yield self._spark()
        yield self._standalone(node)
        if node == self.primary and self.cluster.spec.limited:
            yield self._limit()

    def facts(self) -> bytes:
        """What the primary's step runner must know."""
        upload_s = min(self.target.poll_s * _UPLOADS, _SLOWEST_UPLOADS_S)
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

    def _spark(self) -> Stage:
        spec = self.project.ec2
        folder = bundled.root() / "bootstrap"
        wheels = (f"--wheelhouse={spec.wheelhouse}",) if spec.wheelhouse else ()
        command = ["bash", f"{_OURS}/spark.sh", spec.spark, *wheels]
        return _stage("spark.sh", command, [(folder / name).read_bytes() for name in _SPARK_FILES])

    def _standalone(self, node: Node) -> Stage:
        role = "primary" if node == self.primary else "worker"
        lent = sizing_standalone.Workers.of(node.type, 1)
        options = {
            "master": self.primary.private_ip,
            "address": node.private_ip,
            "cores": lent.cores,
            "memory-mb": lent.memory_mb,
            "region": self.target.region,
            "event-log": self.cluster.event_log_uri,
        }
        flags = [f"--{key}={value}" for key, value in options.items()]
        if role == "worker" and self.project.ec2.worker.spot:
            flags.append("--spot")
        return Stage(
            name="standalone.sh",
            command=shlex.join(["bash", f"{_OURS}/standalone.sh", role, *flags]),
        )

    def _limit(self) -> Stage:
        seconds = str(self.project.cluster.ttl_s)
        command = ["bash", f"{_OURS}/ttl.sh", seconds, self.target.region, self.cluster.stack]
        return Stage(name="ttl.sh", command=shlex.join(command))


def read_scripts(target: Target, scripts: Mapping[str, str]) -> dict[str, bytes]:
    """The user's scripts by name, from files and `s3://` addresses; ours come along anyway."""
    ours = bundled.root() / "bootstrap"
    found = {}
    for name, place in scripts.items():
        if place.startswith("s3://"):
            bucket, key = split_uri(place)
            found[name] = target.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        elif Path(place).parent != ours:
            found[name] = Path(place).read_bytes()
    return found


def _is_ours(path: Path) -> bool:
    return path.suffix in {".sh", ".py", ".lock"}


def _place(name: str, body: bytes) -> str:
    """Where a script of the user's own lies on a node; two of one name do not meet."""
    return f"{_OWN}/{hashlib.sha256(body).hexdigest()[:16]}/{name.rpartition('/')[2]}"


def _stage(name: str, command: Sequence[str], depends: Sequence[bytes]) -> Stage:
    digest = hashlib.sha256("\0".join(command).encode())
    for body in depends:
        digest.update(hashlib.sha256(body).digest())
    return Stage(name=name, command=shlex.join(command), mark=digest.hexdigest()[:32])


def _packed(files: Mapping[str, bytes]) -> Files:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=6) as archive:
        for name, body in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(body), 0o755
            archive.addfile(member, io.BytesIO(body))
    digest = hashlib.sha256()
    for name, body in sorted(files.items()):
        digest.update(name.encode() + hashlib.sha256(body).digest())
    return Files(packed=packed.getvalue(), mark=digest.hexdigest()[:32])
