"""Emulated EC2 instances with the tags of a cluster, as a stack creates them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emrctl import paths
from emrctl.aws.target import Target
from emrctl.clusters import registry
from emrctl.clusters.model import Cluster
from emrctl.remote.nodes import PrimaryConnection
from emrctl.runs.backends.standalone import Ec2Backend
from emrctl.spec import ProjectSpec
from emrctl.spec.ec2 import NO_SSH
from tests.emulator.ec2nodes import Ec2Nodes

BUCKET = "pets-emrctl-123456789012-us-east-1"
# A user's script that needs neither network nor Java.
LIGHT = {"script": "light.sh", "args": ["a word"]}


@dataclass
class Ec2TestCluster:
    """A running cluster and the lines that its nodes reported."""

    nodes: Ec2Nodes
    workers: int
    name: str = "main"
    spec: dict[str, Any] = field(default_factory=dict)
    said: list[tuple[str, str]] = field(default_factory=list)
    launched: bool = True

    def __post_init__(self) -> None:
        if not self.launched:
            return
        for role, name in [("primary", "primary")] + [("worker", n) for n in self.names()]:
            self.launch(role, name)
        key = paths.key_file(self.stack)
        key.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.nodes.identity, key)

    @property
    def target(self) -> Target:
        return self.nodes.target

    @property
    def project(self) -> ProjectSpec:
        spec = {"kind": "ec2", "name": self.name, "bootstrap": [], **self.spec}
        return ProjectSpec.model_validate({"project": "pets", "cluster": spec})

    @property
    def stack(self) -> str:
        return self.project.cluster_stack

    @property
    def cluster(self) -> Cluster:
        return registry.find_cluster(self.project, self.target)

    @property
    def backend(self) -> Ec2Backend:
        cluster = self.cluster
        way = PrimaryConnection(self.target, cluster.id)
        return Ec2Backend(self.target, cluster.id, cluster.log_uri, way)

    def names(self) -> list[str]:
        return [f"worker-{number}" for number in range(1, self.workers + 1)]

    def launch(self, role: str, name: str) -> str:
        marks = {
            "emrctl:project": "pets",
            "emrctl:stack": self.stack,
            "emrctl:role": role,
            "emrctl:node": name,
            "emrctl:bucket": BUCKET,
            "emrctl:spark": self.project.ec2.spark,
        }
        if self.project.ec2.ssh == NO_SSH:
            marks["emrctl:ssh"] = NO_SSH
        tags = [{"Key": key, "Value": value} for key, value in marks.items()]
        return self.nodes.launch(
            TagSpecifications=[{"ResourceType": "instance", "Tags": tags}], InstanceType="m5.xlarge"
        )

    def hear(self, node: str, line: str) -> None:
        self.said.append((node, line))

    def lines(self, node: str) -> list[str]:
        return [line for name, line in self.said if name == node]

    def root(self, name: str) -> Path:
        """Return the folder that is the node's home."""
        node = next(one for one in self.cluster.nodes if one.name == name)
        credentials = self.target.credentials
        assert credentials is not None
        [found] = credentials.parent.rglob(f"{node.id}/home")
        return found
