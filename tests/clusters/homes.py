"""Projects of EC2 clusters on moto."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from emrctl.aws.target import Target
from emrctl.clusters.model import Cluster
from emrctl.provision import lifecycle
from emrctl.provision.stacks import Deployment
from emrctl.spec import ProjectSpec


class Home:
    """A project of an EC2 cluster on a moto target."""

    def __init__(self, target: Target, root: Path) -> None:
        self.target = target
        self.root = root

    def deployment(self, **cluster: Any) -> Deployment:
        return Deployment(pets(**cluster), self.target, self.root)

    def up(self, **cluster: Any) -> Cluster:
        return lifecycle.deploy(self.deployment(**cluster))

    def changes(self, **cluster: Any) -> dict[str, tuple[str, ...]]:
        _, plan = lifecycle.preview(self.deployment(**cluster))
        return {c.name: (c.operation, *c.keys) for c in plan.changes if c.operation != "same"}


def pets(**cluster: Any) -> ProjectSpec:
    return ProjectSpec.model_validate({"project": "pets", "cluster": {"kind": "ec2", **cluster}})
