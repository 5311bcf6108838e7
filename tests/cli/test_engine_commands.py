"""`emrctl engine`, and commands on the state of stacks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emrctl.aws.target import Target
from tests.cli.answers import Emrctl, json_of

YAML = """\
project: pets
cluster: {core: {count: 2}, bootstrap: [python.sh]}
"""


@pytest.mark.engine
@pytest.mark.usefixtures("real_engine")
def test_stack_commands_pulumi_engine_report_updates_and_drift(
    emrctl: Emrctl, tmp_path: Path, mocked: Target
) -> None:
    code, out, err = emrctl("up", "--engine", "pulumi")
    assert code == 0, err
    assert "WAITING" in out
    assert "create aws:emr/cluster:Cluster cluster" in err
    (tmp_path / "emrctl.yaml").write_text(YAML.replace("count: 2", "count: 3"))
    _, out, _ = emrctl("preview")
    assert "1 to update" in out
    assert "coreInstanceGroup.instanceCount" in out
    _, _, err = emrctl("up", "--json")
    events = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
    assert {(e["name"], e["status"]) for e in events} == {
        ("cluster", "started"),
        ("cluster", "done"),
    }
    found = json_of(emrctl("outputs", "--json"))
    assert emrctl("drift")[1].strip() == "pets-main: No drift."
    mocked.client("iam").delete_role_policy(RoleName="pets-main-nodes", PolicyName="bucket")
    assert "deleted" in emrctl("drift")[1]
    assert "node-data" in emrctl("refresh")[1]
    assert json_of(emrctl("up", "--json"))["id"] == found["cluster_id"]
    assert json_of(emrctl("history", "--json"))[0]["kind"] == "update"
    assert found["cluster_id"] in emrctl("export")[1]
    assert "resources deleted" in emrctl("down", "--yes")[1]
    assert emrctl("drift")[0] == 3


@pytest.mark.engine
@pytest.mark.usefixtures("real_engine")
def test_import_existing_bucket_becomes_storage_output(emrctl: Emrctl, mocked: Target) -> None:
    bucket = "pets-emrctl-123456789012-us-east-1"
    assert emrctl("import", "--engine", "pulumi")[0] == 3
    mocked.client("s3").create_bucket(Bucket=bucket)
    code, out, err = emrctl("import", "--engine", "pulumi")
    assert code == 0, err
    assert f"imported {bucket}, protected" in out
    assert "emrctl preview" in err
    assert json_of(emrctl("outputs", "--storage", "--json"))["bucket"] == bucket


def test_stack_commands_embedded_engine_fail_with_hint(emrctl: Emrctl) -> None:
    assert emrctl("up")[0] == 0
    for verb in ("drift", "refresh", "history", "export"):
        code, _, err = emrctl(verb)
        assert code == 5
        assert "embedded engine" in err
        assert "--engine pulumi" in err
    assert json_of(emrctl("outputs", "--json"))["bucket"].startswith("pets-emrctl-")


@pytest.fixture
def no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


@pytest.mark.usefixtures("no_engine")
def test_engine_install_without_confirmation_installs_nothing(emrctl: Emrctl) -> None:
    shown = json_of(emrctl("engine", "show", "--json"))
    assert (shown["engines"], shown["used"], shown["plugin"]) == ([], None, False)
    assert "emrctl engine install" in emrctl("engine", "show")[2]
    code, _, err = emrctl("engine", "install")
    assert code == 2
    assert "about 700 MB" in err
    assert "--yes" in err


@pytest.mark.usefixtures("no_engine")
def test_preview_pulumi_engine_not_installed_fails_with_hint(emrctl: Emrctl) -> None:
    code, _, err = emrctl("preview", "--engine", "pulumi")
    assert code == 5
    assert "neither on PATH nor in" in err
    assert "emrctl engine install" in err
