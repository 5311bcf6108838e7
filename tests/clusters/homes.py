"""A project of EC2 instances and the AWS that its verbs work on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from emrctl import provision
from emrctl.aws.target import Target
from emrctl.provision import Cluster
from emrctl.spec import ProjectSpec


class Home:
    """A project's folder and the AWS that its verbs work on."""

    def __init__(self, target: Target, root: Path) -> None:
        self.target = target
        self.root = root

    def up(self, **cluster: Any) -> Cluster:
        return provision.up(pets(**cluster), self.target, self.root)

    def changes(self, **cluster: Any) -> dict[str, tuple[str, ...]]:
        _, plan = provision.preview(pets(**cluster), self.target, self.root)
        return {c.name: (c.operation, *c.keys) for c in plan.changes if c.operation != "same"}


def pets(**cluster: Any) -> ProjectSpec:
    return ProjectSpec.model_validate({"project": "pets", "cluster": {"kind": "ec2", **cluster}})
