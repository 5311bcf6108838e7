"""Evaluate the program in process and collect the resources that it declares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from emrctl.engine.embedded.deployment import DeclaredResource, RegisteredResource
from emrctl.engine.embedded.engine import evaluate
from emrctl.spec import ProjectSpec
from stacks import program

SETTINGS = {
    "account": "123456789012",
    "region": "eu-central-1",
    "image_primary": "ami-0a",
    "image_worker": "ami-0b",
    "public_key": "ssh-ed25519 AAAA",
    "ssh_from": "203.0.113.7/32",
}


KEY = "arn:aws:kms:eu-central-1:123456789012:key/k"
PETS = ProjectSpec(project="pets")


class Resources(dict[str, DeclaredResource]):
    """Declared resources by name, and the program's outputs."""

    outputs: dict[str, Any]

    def of(self, token: str) -> list[DeclaredResource]:
        """Return the resources of one type, such as `Bucket`."""
        return [item for item in self.values() if item.type.endswith(f":{token}")]


Evaluate = Callable[[ProjectSpec], Resources]


def pets(storage: dict[str, Any] | None = None, **cluster: Any) -> ProjectSpec:
    """Return a project with these settings of its bucket and its cluster."""
    document = {"project": "pets", "target": "aws", "cluster": cluster, "storage": storage or {}}
    return ProjectSpec.model_validate(document)


def _collect(declare: Callable[[], None], stack: str) -> Resources:
    resources = Resources()

    def handle(item: DeclaredResource) -> RegisteredResource:
        resources[item.name] = item
        outputs = item.inputs | {"arn": f"arn:{item.name}", "masterPublicDns": "primary.example"}
        outputs |= {"publicDns": f"{item.name}.example", "privateDns": f"{item.name}.internal"}
        return RegisteredResource(id=f"id-{item.name}", outputs=outputs)

    resources.outputs = evaluate(declare, stack, handle, preview=False)
    return resources


@pytest.fixture
def storage() -> Evaluate:
    def evaluate_storage(project: ProjectSpec) -> Resources:
        return _collect(lambda: program.declare_storage(project, SETTINGS), project.storage_stack)

    return evaluate_storage


@pytest.fixture
def cluster() -> Evaluate:
    def evaluate_cluster(project: ProjectSpec) -> Resources:
        scripts = {
            action.script: f"s3://pets/{action.script}" for action in project.bootstrap_actions
        }
        return _collect(
            lambda: program.declare_cluster(project, SETTINGS, "pets", scripts),
            project.cluster_stack,
        )

    return evaluate_cluster
