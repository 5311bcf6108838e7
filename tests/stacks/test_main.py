"""`pulumi up` by hand declares what `emrctl up` does, from the same file."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from emrctl.aws.target import Target
from emrctl.clusters import ec2_inputs
from emrctl.engine.embedded.evaluate import Declared, Made, evaluate
from emrctl.spec import ProjectSpec

MAIN = Path(__file__).parents[2] / "stacks" / "__main__.py"


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's file, and a Pulumi that was told where it is."""
    path = tmp_path / "emrctl.yaml"
    path.write_text(
        "project: pets\ncluster:\n  ttl_s: 0\n  bootstrap: [setup.sh, 's3://elsewhere/x.sh']\n"
    )
    (tmp_path / "setup.sh").write_text("true")
    monkeypatch.setattr("pulumi.Config.get", lambda _self, _key: str(path))
    import pulumi_aws

    who, where = SimpleNamespace(account_id="1"), SimpleNamespace(region="us-east-1")
    monkeypatch.setattr(pulumi_aws, "get_caller_identity", lambda: who)
    monkeypatch.setattr(pulumi_aws, "get_region", lambda: where)
    return path


def _declared(stack: str) -> dict[str, Declared]:
    found: dict[str, Declared] = {}

    def handle(item: Declared) -> Made:
        found[item.name] = item
        return Made(id=f"id-{item.name}", outputs=item.inputs | {"arn": f"arn:{item.name}"})

    evaluate(lambda: _run(MAIN), stack, handle, preview=False)
    return found


def _run(path: Path) -> None:
    runpy.run_path(str(path), run_name="__main__")


@pytest.mark.usefixtures("spec")
def test_the_stack_s_name_chooses_the_bucket() -> None:
    found = _declared("pets-storage")
    assert found["bucket"].inputs["bucket"] == "pets-emrctl-1-us-east-1"
    assert "cluster" not in found


@pytest.mark.usefixtures("spec")
def test_or_a_cluster_whose_scripts_are_uploaded_first() -> None:
    found = _declared("pets-big")
    cluster = found["cluster"].inputs
    assert cluster["name"] == "pets-big"
    (key,) = [name for name in found if name.startswith("code/")]
    bucket = "pets-emrctl-1-us-east-1"
    paths = [action["path"] for action in cluster["bootstrapActions"]]
    assert paths == [f"s3://{bucket}/{key}", "s3://elsewhere/x.sh"]
    assert "eventlogs/.keep" in found


def test_or_instances_with_what_is_looked_up_for_them(
    spec: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec.write_text("project: pets\ncluster: {kind: ec2}\n")
    asked = []

    def settings(project: ProjectSpec, _target: Target, *, make: bool) -> dict[str, str]:
        asked.append((project.cluster_stack, make))
        return {**ec2_inputs.stand_in(project), "image_primary": "ami-0a"}

    monkeypatch.setattr(ec2_inputs, "settings", settings)
    found = _declared("pets-big")
    assert asked == [("pets-big", True)]
    assert found["primary"].inputs["ami"] == "ami-0a"
    assert found["primary"].inputs["tags"]["emrctl:bucket"] == "pets-emrctl-1-us-east-1"
    assert not [name for name in found if name.startswith("code/")]
