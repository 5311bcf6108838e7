"""The program's resources as it declares them, under Pulumi's mocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from emrctl.engine.embedded.evaluate import Declared, Made, evaluate
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
SCRIPTS = {"python.sh": "s3://pets/code/abc/python.sh"}


class Resources(dict[str, Declared]):
    """Resources by name, and the program's outputs."""

    outputs: dict[str, Any]

    def of(self, token: str) -> list[Declared]:
        """Those whose type ends with `token`."""
        return [item for item in self.values() if item.type.endswith(f":{token}")]


Evaluate = Callable[[ProjectSpec], Resources]


def _collect(declare: Callable[[], None], stack: str) -> Resources:
    found = Resources()

    def handle(item: Declared) -> Made:
        found[item.name] = item
        outputs = item.inputs | {"arn": f"arn:{item.name}", "masterPublicDns": "primary.example"}
        outputs |= {"publicDns": f"{item.name}.example", "privateDns": f"{item.name}.internal"}
        return Made(id=f"id-{item.name}", outputs=outputs)

    found.outputs = evaluate(declare, stack, handle, preview=False)
    return found


@pytest.fixture
def storage() -> Evaluate:
    def run(project: ProjectSpec) -> Resources:
        return _collect(lambda: program.storage(project, SETTINGS), project.storage_stack)

    return run


@pytest.fixture
def cluster() -> Evaluate:
    def run(project: ProjectSpec) -> Resources:
        scripts = {
            action.script: f"s3://pets/{action.script}" for action in project.bootstrap_actions
        }
        stored = {"bucket": "pets"}
        return _collect(
            lambda: program.cluster(project, SETTINGS, stored, scripts), project.cluster_stack
        )

    return run
