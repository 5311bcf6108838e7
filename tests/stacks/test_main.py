"""`pulumi up` by hand declares the same resources as `emrctl up`, from the same file."""

from __future__ import annotations

import dataclasses
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from emrctl.aws.target import Target
from emrctl.clusters import registry
from emrctl.engine.embedded.deployment import DeclaredResource, RegisteredResource
from emrctl.engine.embedded.engine import evaluate
from emrctl.spec import ProjectSpec

MAIN = Path(__file__).parents[2] / "stacks" / "__main__.py"


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write an emrctl.yaml and set its path in Pulumi's configuration."""
    path = tmp_path / "emrctl.yaml"
    path.write_text(
        "project: pets\ncluster:\n  ttl_s: 0\n  bootstrap: [setup.sh, 's3://elsewhere/x.sh']\n"
    )
    (tmp_path / "setup.sh").write_text("true")
    monkeypatch.setattr("pulumi.Config.get", lambda _self, _key: str(path))
    import pulumi_aws

    identity, region = SimpleNamespace(account_id="1"), SimpleNamespace(region="us-east-1")
    monkeypatch.setattr(pulumi_aws, "get_caller_identity", lambda: identity)
    monkeypatch.setattr(pulumi_aws, "get_region", lambda: region)
    return path


def _declared(stack: str) -> dict[str, DeclaredResource]:
    resources: dict[str, DeclaredResource] = {}

    def handle(item: DeclaredResource) -> RegisteredResource:
        resources[item.name] = item
        return RegisteredResource(
            id=f"id-{item.name}", outputs=item.inputs | {"arn": f"arn:{item.name}"}
        )

    evaluate(lambda: _run(MAIN), stack, handle, preview=False)
    return resources


def _run(path: Path) -> None:
    runpy.run_path(str(path), run_name="__main__")


@pytest.mark.usefixtures("spec")
def test_main_with_storage_stack_declares_bucket() -> None:
    resources = _declared("pets-storage")
    assert resources["bucket"].inputs["bucket"] == "pets-emrctl-1-us-east-1"
    assert "cluster" not in resources


@pytest.mark.usefixtures("spec")
def test_main_with_cluster_stack_uploads_scripts() -> None:
    resources = _declared("pets-big")
    cluster = resources["cluster"].inputs
    assert cluster["name"] == "pets-big"
    (key,) = [name for name in resources if name.startswith("code/")]
    bucket = "pets-emrctl-1-us-east-1"
    paths = [action["path"] for action in cluster["bootstrapActions"]]
    assert paths == [f"s3://{bucket}/{key}", "s3://elsewhere/x.sh"]
    assert "eventlogs/.keep" in resources


def test_main_with_ec2_cluster_looks_up_its_settings(
    spec: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec.write_text("project: pets\ncluster: {kind: ec2}\n")
    calls = []

    def settings(project: ProjectSpec, _target: Target, create_key: bool) -> dict[str, str]:
        calls.append((project.cluster_stack, create_key))
        images = {"image_primary": "ami-0a", "image_worker": "ami-0b"}
        return {**images, "public_key": "ssh-ed25519 AAAA", "ssh_from": "192.0.2.1/32"}

    kind = dataclasses.replace(registry.EC2, program_settings=settings)
    monkeypatch.setitem(registry.KINDS, "ec2", kind)
    resources = _declared("pets-big")
    assert calls == [("pets-big", True)]
    assert resources["primary"].inputs["ami"] == "ami-0a"
    assert resources["primary"].inputs["tags"]["emrctl:bucket"] == "pets-emrctl-1-us-east-1"
    assert not [name for name in resources if name.startswith("code/")]
