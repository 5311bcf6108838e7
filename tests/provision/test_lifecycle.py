"""The lifecycle of EMR clusters and their stacks, on moto."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emrctl.aws.target import Target
from emrctl.clusters import registry
from emrctl.errors import CredentialsError, NotFoundError, ProvisioningError, UsageError
from emrctl.provision import bucket, lifecycle, stacks
from emrctl.provision.stacks import Deployment
from emrctl.spec import ProjectSpec
from tests.provision.home import Home, new_home, pets

BUCKET = "pets-emrctl-123456789012-us-east-1"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    with new_home(tmp_path, monkeypatch) as created:
        yield created


def _keys(target: Target) -> list[str]:
    found = target.client("s3").list_objects_v2(Bucket=BUCKET).get("Contents", [])
    return [item["Key"] for item in found]


def test_deploy_creates_bucket_and_cluster(home: Home) -> None:
    found = home.up(core={"count": 3})
    assert (found.name, found.stack, found.state) == ("main", "pets-main", "WAITING")
    assert (found.bucket, found.log_uri) == (BUCKET, f"s3://{BUCKET}/logs/")
    assert found.event_log_uri == f"s3://{BUCKET}/eventlogs/"
    assert [node.role for node in found.nodes] == ["primary", "core", "core", "core"]
    assert found.spec.core_group.count == 3
    assert found.hourly_usd == pytest.approx(0.96)
    assert set(found.urls) == {"yarn", "spark", "history"}
    assert not found.ended


def test_deploy_uploads_scripts_and_prepares_event_logs(home: Home) -> None:
    found = home.up()
    keys = _keys(home.target)
    assert "eventlogs/.keep" in keys
    (script,) = [key for key in keys if key.startswith("code/")]
    actions = home.target.client("emr").list_bootstrap_actions(ClusterId=found.id)
    assert actions["BootstrapActions"][0]["ScriptPath"] == f"s3://{BUCKET}/{script}"


def test_deploy_again_changes_nothing(home: Home) -> None:
    first = home.up()
    home.events.clear()
    assert home.up() == first
    assert home.events == []
    assert all(plan.empty for plan in home.preview())


def test_preview_without_bucket(home: Home) -> None:
    storage, cluster = home.preview(core={"count": 4})
    assert (storage.stack, cluster.stack) == ("pets-storage", "pets-main")
    for plan in (storage, cluster):
        assert {change.operation for change in plan.changes} == {"create"}
    assert cluster.ec2_usd == pytest.approx(0.192 * 5)
    assert cluster.emr_usd == pytest.approx(0.048 * 5)
    assert (storage.ec2_usd, storage.emr_usd) == (0, 0)
    assert home.target.client("s3").list_buckets()["Buckets"] == []


def test_preview_with_changed_script_replaces_cluster(home: Home) -> None:
    before = home.up().id
    (home.root / "setup.sh").write_text("#!/bin/bash\nfalse\n")
    (change,) = [c for c in home.preview()[1].changes if c.operation != "same"]
    assert (change.operation, change.keys) == ("replace", ("bootstrapActions",))
    assert home.up().id != before


def test_deploy_finds_scripts_in_project_package_and_s3(home: Home) -> None:
    (home.root / "own").mkdir()
    (home.root / "own" / "mine.sh").write_text("#!/bin/sh\ntrue\n")
    home.put_script(b"#!/bin/sh\n")
    found = home.up(bootstrap=["python.sh", "own/mine.sh", "s3://elsewhere/x.sh"])
    actions = home.target.client("emr").list_bootstrap_actions(ClusterId=found.id)
    paths = [item["ScriptPath"].rpartition("/")[2] for item in actions["BootstrapActions"]]
    assert paths == ["python.sh", "mine.sh", "x.sh"]


def test_deploy_with_missing_script_creates_nothing(home: Home) -> None:
    with pytest.raises(NotFoundError, match=r"no bootstrap script 'pyton\.sh'") as caught:
        home.up(bootstrap=["pyton.sh"])
    assert "python.sh" in caught.value.hint
    assert home.target.client("s3").list_buckets()["Buckets"] == []


def test_deploy_resizes_core_group(home: Home) -> None:
    before = home.up(core={"count": 2})
    after = home.up(core={"count": 4})
    assert (after.id, after.spec.core_group.count) == (before.id, 4)


def test_deploy_updates_bucket_settings(home: Home) -> None:
    home.up()
    changed = ProjectSpec.model_validate(
        {**pets().model_dump(exclude_unset=True), "storage": {"versioning": False}}
    )
    lifecycle.deploy(Deployment(changed, home.target, home.root))
    found = home.target.client("s3").get_bucket_versioning(Bucket=BUCKET)
    assert found["Status"] == "Suspended"


def test_down_deletes_cluster_and_keeps_bucket(home: Home) -> None:
    home.up()
    home.down()
    assert registry.list_clusters(pets(), home.target) == ()
    assert bucket.find_bucket(pets(), home.target) == BUCKET
    assert [state.stack for state in stacks.list_stacks(home.deployment())] == ["pets-storage"]


def test_down_storage_rejects_bucket_in_use(home: Home) -> None:
    home.up(name="big")
    with pytest.raises(ProvisioningError, match="in use by cluster big") as caught:
        home.down(storage=True)
    assert "--cluster big" in caught.value.hint
    assert "eventlogs/.keep" in _keys(home.target)


def test_down_storage_finds_clusters_of_other_machines(home: Home, tmp_path: Path) -> None:
    home.up()
    other = Home(target=home.target, root=tmp_path / "elsewhere")
    with pytest.raises(ProvisioningError, match="in use by cluster main"):
        other.down(storage=True)


def test_down_storage_deletes_versions_and_markers(home: Home) -> None:
    home.up()
    home.down()
    s3 = home.target.client("s3")
    for body in (b"1", b"2"):
        s3.put_object(Bucket=BUCKET, Key="data/x", Body=body)
    s3.delete_object(Bucket=BUCKET, Key="data/x")
    home.down(storage=True)
    assert s3.list_buckets()["Buckets"] == []
    assert stacks.list_stacks(home.deployment()) == ()
    home.down(storage=True)


def test_down_storage_deletes_several_pages_of_objects(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.up()
    home.down()
    s3 = home.target.client("s3")
    for at in range(5):
        s3.put_object(Bucket=BUCKET, Key=f"data/{at}", Body=b"1")
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "2")
    home.down(storage=True)
    assert s3.list_buckets()["Buckets"] == []


def test_clusters_of_one_project_share_bucket(home: Home) -> None:
    home.up()
    home.up(name="big")
    names = {cluster.name for cluster in registry.list_clusters(pets(), home.target)}
    assert names == {"main", "big"}
    home.down(name="big")
    assert registry.find_cluster(pets(), home.target).name == "main"


def test_find_cluster_unknown_name_raises_not_found(home: Home) -> None:
    with pytest.raises(NotFoundError, match="main' of pets is running in us-east-1") as caught:
        registry.find_cluster(pets(), home.target)
    assert "emrctl up" in caught.value.hint
    home.up()
    with pytest.raises(NotFoundError, match="no cluster 'huge'") as caught:
        registry.find_cluster(pets(), home.target, "huge")
    assert caught.value.hint.startswith("Running: main.")


def test_list_clusters_ignores_other_projects(home: Home) -> None:
    home.up()
    home.target.client("emr").run_job_flow(
        Name="pets-other", Instances={"KeepJobFlowAliveWhenNoSteps": True}
    )
    assert [c.name for c in registry.list_clusters(pets(), home.target)] == ["main"]


def test_show_returns_terminated_cluster_and_deploy_replaces_it(home: Home) -> None:
    before = home.up()
    home.target.client("emr").terminate_job_flows(JobFlowIds=[before.id])
    shown = registry.show(pets(), home.target)
    assert (shown.id, shown.state, shown.ended) == (before.id, "TERMINATED", True)
    assert (shown.hourly_usd, shown.nodes) == (0, ())
    (change,) = [c for c in home.preview()[1].changes if c.operation != "same"]
    assert (change.operation, change.keys, change.id) == ("create", ("state",), before.id)
    assert home.up().id != before.id


def test_show_without_cluster_raises_not_found(home: Home) -> None:
    with pytest.raises(NotFoundError, match="no cluster 'main'"):
        registry.show(pets(), home.target)


def test_list_stacks_of_ended_emulator_are_gone(home: Home) -> None:
    home.up()
    later = dataclasses.replace(home.target, identity="later")
    states = stacks.list_stacks(Deployment(pets(), later, home.root))
    assert [state.gone for state in states] == [True, True]
    plans = lifecycle.preview(Deployment(pets(), later, home.root))
    assert {change.operation for plan in plans for change in plan.changes} == {"create"}


def test_find_bucket_without_bucket_raises_not_found(home: Home) -> None:
    with pytest.raises(NotFoundError, match="has no bucket yet") as caught:
        bucket.find_bucket(pets(), home.target)
    assert "emrctl up" in caught.value.hint


def test_deploy_rejects_bucket_of_other_owner(home: Home) -> None:
    home.target.client("s3").create_bucket(Bucket=BUCKET)
    with pytest.raises(ProvisioningError, match="is not part of the stack"):
        home.up()


def test_urls_on_localhost_are_those_of_emulator(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = home.up()
    answer = {"clusters": [{"id": found.id, "urls": {"yarn": "http://127.0.0.1:1/"}}]}
    monkeypatch.setattr(Target, "fetch", lambda _self, _url: answer)
    local = dataclasses.replace(home.target, endpoint="http://127.0.0.1:9")
    from emrctl.clusters import emr

    assert emr._urls(local, found.id, "") == {"yarn": "http://127.0.0.1:1/"}
    assert emr._urls(local, "j-OTHER", "") == {}


def test_preview_on_aws_rejects_embedded_engine(home: Home) -> None:
    target = dataclasses.replace(home.target, kind="aws")
    with pytest.raises(UsageError, match="supports only localhost") as caught:
        lifecycle.preview(Deployment(pets(), target, home.root), engine="embedded")
    assert "pulumi" in caught.value.hint


def test_preview_rejects_unknown_engine(home: Home) -> None:
    with pytest.raises(UsageError, match="unknown engine 'terraform'") as caught:
        lifecycle.preview(home.deployment(), engine="terraform")
    assert "embedded or pulumi" in caught.value.hint


@pytest.mark.parametrize("verb", [stacks.drift, stacks.history, stacks.export])
def test_embedded_engine_rejects_unsupported_operations(home: Home, verb: Any) -> None:
    with pytest.raises(NotFoundError, match="no stack pets-main"):
        verb(home.deployment())
    home.up()
    with pytest.raises(ProvisioningError, match="the embedded engine") as caught:
        verb(home.deployment())
    assert "--engine pulumi" in caught.value.hint


def test_import_bucket_rejects_embedded_engine(home: Home) -> None:
    with pytest.raises(NotFoundError, match="has no bucket yet"):
        stacks.import_bucket(home.deployment())
    home.target.client("s3").create_bucket(Bucket=BUCKET)
    with pytest.raises(ProvisioningError, match="does not support import"):
        stacks.import_bucket(home.deployment())


def test_outputs_of_both_stacks(home: Home) -> None:
    found = home.up()
    assert stacks.outputs(home.deployment())["cluster_id"] == found.id
    assert stacks.outputs(home.deployment(), storage=True)["bucket"] == BUCKET


@pytest.mark.engine
@pytest.mark.usefixtures("real_engine")
def test_lifecycle_with_pulumi_engine(home: Home) -> None:
    """Follow the README: up, an edit, preview, up, down."""
    first = lifecycle.deploy(home.deployment(core={"count": 2}), engine="pulumi")
    plans = home.preview(core={"count": 4})
    assert [c.operation for p in plans for c in p.changes if c.operation != "same"] == ["update"]
    assert home.up(core={"count": 4}).id == first.id
    assert {state.engine for state in stacks.list_stacks(home.deployment())} == {"pulumi"}
    with pytest.raises(ProvisioningError, match="created by the engine 'pulumi'"):
        lifecycle.deploy(home.deployment(), engine="embedded")
    home.down()
    home.down(storage=True)
    assert home.target.client("s3").list_buckets()["Buckets"] == []
    assert stacks.list_stacks(home.deployment()) == ()


@pytest.mark.engine
@pytest.mark.usefixtures("real_engine")
def test_import_bucket_with_pulumi_engine(home: Home) -> None:
    s3 = home.target.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="data/mine", Body=b"1")
    done = stacks.import_bucket(home.deployment(), engine="pulumi")
    assert [(c.operation, c.id) for c in done.changes] == [("import", BUCKET)]
    storage, _ = home.preview()
    assert {c.name: c.operation for c in storage.changes}["bucket"] == "update"
    home.up()
    assert s3.get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"
    assert "data/mine" in _keys(home.target)
    home.down()
    with pytest.raises(ProvisioningError, match="protected"):
        stacks.engine_for(home.deployment(), name="pulumi").down("pets-storage", print)


def test_deploy_without_credentials_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    nobody = Target(kind="local", region="us-east-1", identity="nobody")
    with pytest.raises(CredentialsError) as caught:
        lifecycle.deploy(Deployment(pets(bootstrap=[]), nobody, tmp_path))
    assert caught.value.hint


def test_import_of_provision_loads_no_heavy_module() -> None:
    code = "import sys, emrctl.provision; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"pulumi", "pulumi_aws", "boto3", "botocore", "moto"}.isdisjoint(done.stdout.split())
