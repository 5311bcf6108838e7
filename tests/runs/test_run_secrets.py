"""Secrets of a run: in no file and no command, in the bucket until it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emrctl import redact
from emrctl.aws.errors import RejectedRequestError
from emrctl.aws.target import Target
from emrctl.errors import NotFoundError
from emrctl.runs import lifecycle
from emrctl.runs.submission import Submission, submit
from emrctl.spec import SparkSettings
from tests.emulator.fake_runtime import FakeRuntime
from tests.runs.mocked import MockedWorkspace, mocked_workspace, watch


@pytest.fixture
def workspace(mocked: Target, standing: str, tmp_path: Path) -> MockedWorkspace:
    return mocked_workspace(mocked, tmp_path)


def test_submit_with_secrets_stores_none_of_them(
    workspace: MockedWorkspace, runtime: FakeRuntime
) -> None:
    names = ("MY_TOKEN", "DB_PASSPHRASE", "PRIVATE_KEY", "STORAGE_ACCOUNT_KEY", "DB_PWD")
    order = Submission(
        job="mine",
        arguments=("--db-password", "s3cret!", "api_key=s3cret"),
        settings=SparkSettings(conf={"spark.my.password": "s3cret"}),
        environment=dict.fromkeys(names, "s3cret"),
    )
    run = lifecycle.wait(workspace, submit(workspace, order), watch)
    folder = workspace.config.state_folder / "runs" / run.id
    # The job of this test prints its arguments; a job's own stdout is stored unchanged.
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "stdout"]
    assert folder / "logs" / "step" / "controller" in files
    assert not [path for path in files if "s3cret" in path.read_text()]
    assert redact.REDACTED in (folder / "run.json").read_text()
    [args] = runtime.steps
    assert "s3cret" not in " ".join(args)
    assert args[-1] == f"--payload-uri=s3://{run.bucket}/private/{run.id}.json"
    s3 = workspace.target.client("s3")
    assert "Versions" not in s3.list_object_versions(Bucket=run.bucket, Prefix="private/")


def test_submit_stores_texts_for_the_program_until_the_run_ends(
    workspace: MockedWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USER_NAME", "s3cret")
    monkeypatch.delenv("OTHER", raising=False)
    workspace.target.client("secretsmanager").create_secret(Name="prod/db", SecretString="x")
    sources = {"USER_NAME": "USER_NAME", "OTHER": "prod/db#password"}
    order = Submission(job="mine", environment={"DB_PWD": "hidden"}, secrets=sources)
    run = submit(workspace, order)
    s3 = workspace.target.client("s3")
    stored = s3.get_object(Bucket=run.bucket, Key=f"private/{run.id}.json")["Body"].read()
    payload = json.loads(stored)
    assert payload["environment"] == {"DB_PWD": "hidden"}
    assert payload["secret_values"] == {"USER_NAME": "s3cret"}
    assert payload["secrets"] == {"OTHER": "prod/db#password"}
    assert run.environment == dict.fromkeys(("DB_PWD", "USER_NAME", "OTHER"), redact.REDACTED)
    lifecycle.wait(workspace, run, watch)
    listed = s3.list_object_versions(Bucket=run.bucket, Prefix="private/")
    assert "Versions" not in listed
    assert "DeleteMarkers" not in listed


def test_submit_without_the_secret_names_it(workspace: MockedWorkspace) -> None:
    order = Submission(job="mine", secrets={"NO_SUCH_VARIABLE": "no/such/secret"})
    with pytest.raises(NotFoundError, match="NO_SUCH_VARIABLE does not exist: 'no/such/secret'"):
        submit(workspace, order)
    assert workspace.store.all() == []


def test_submit_rejected_by_emr_fails_the_run_and_deletes_its_secrets(
    workspace: MockedWorkspace,
) -> None:
    cluster = workspace.cluster()
    workspace.target.client("emr").terminate_job_flows(JobFlowIds=[cluster.id])

    with pytest.raises(RejectedRequestError, match="EMR rejected add_job_flow_steps"):
        submit(workspace, Submission(job="mine", environment={"DB_PASSWORD": "hunter2"}), cluster)

    [run] = workspace.store.all()
    assert (run.state, run.failure and run.failure[:12]) == ("FAILED", "EMR rejected")
    s3 = workspace.target.client("s3")
    assert s3.list_objects_v2(Bucket=cluster.bucket, Prefix="private/")["KeyCount"] == 0
