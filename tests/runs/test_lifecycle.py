"""A run from submission to metrics, on moto's AWS with steps that end as they are told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from emrctl import redact
from emrctl.aws.target import Target
from emrctl.errors import NotFoundError, UsageError, WaitTimeoutError
from emrctl.runs import lifecycle
from emrctl.runs.progress import Progress
from emrctl.runs.store import Run
from emrctl.runs.submission import Submission, submit
from emrctl.runs.workspace import Workspace
from emrctl.spec import JobSpec, ProjectSpec, SparkSettings
from emrctl.spec.config import Config
from tests.emulator.fake_runtime import FakeRuntime

APPLICATION = "application_1700000000000_0001"
TRACEBACK = f"""Submitted application {APPLICATION}
Traceback (most recent call last):
  File "mine.py", line 1, in <module>
ValueError: no pictures
"""


class Desk(Workspace):
    """A workspace whose target is given."""

    def __init__(self, config: Config, target: Target) -> None:
        super().__init__(config)
        object.__setattr__(self, "target", target)


@pytest.fixture
def desk(mocked: Target, standing: str, tmp_path: Path) -> Desk:
    (tmp_path / "mine.py").write_text("print(1)")
    job = JobSpec(script="mine.py", settings=SparkSettings(partitions=24), tags={"kind": "test"})
    project = ProjectSpec(project="pets", jobs={"mine": job})
    return Desk(Config(project, tmp_path, {}), mocked)


def _watch(_run: Run, _progress: Progress) -> None:
    """Nobody looks."""


def _event_log(desk: Desk, bucket: str) -> None:
    lines = [
        {"Event": "SparkListenerLogStart", "Spark Version": "3.5.6"},
        {
            "Event": "SparkListenerApplicationStart",
            "App Name": "mine",
            "App ID": APPLICATION,
            "Timestamp": 1000,
            "User": "hadoop",
        },
        {"Event": "SparkListenerApplicationEnd", "Timestamp": 5000},
    ]
    body = "".join(json.dumps(line) + "\n" for line in lines).encode()
    folder, s3 = f"eventlogs/eventlog_v2_{APPLICATION}/", desk.target.client("s3")
    s3.put_object(Bucket=bucket, Key=folder)  # S3A keeps such an object for the folder since 3.4
    s3.put_object(Bucket=bucket, Key=f"{folder}events_1_{APPLICATION}", Body=body)


def test_a_run_that_goes_well_leaves_all_its_figures(desk: Desk, runtime: FakeRuntime) -> None:
    bucket = desk.cluster().bucket
    _event_log(desk, bucket)
    runtime.on_step = lambda _args: (0, "done\n", f"Submitted application {APPLICATION}\n")
    order = Submission(
        job="mine",
        arguments=("--at", "{run}/x", "s3://{bucket}/y"),
        settings=SparkSettings(executors=2),
        environment={"MY_TOKEN": "s3cret", "LEVEL": "1"},
    )
    run = submit(desk, order)
    assert desk.store.load(run.id).step_id == run.step_id
    desk.target.client("s3").put_object(
        Bucket=bucket, Key=f"runs/{run.id}/output/result.json", Body=b'{"accuracy": 0.9}'
    )
    run = lifecycle.wait(desk, run, _watch)
    assert run.state == "COMPLETED"
    assert run.application_id == APPLICATION
    assert run.arguments == ("--at", f"s3://{bucket}/runs/{run.id}/x", f"s3://{bucket}/y")
    assert run.settings == {"executors": 2, "partitions": 24}
    assert run.tags == {"kind": "test"}
    assert desk.store.files(run.id).read("step/stdout", "logs/") == b"done\n"
    found = lifecycle.describe(desk, run)
    assert found["metrics"]["duration_ms"] == 4000
    assert found["result"] == {"accuracy": 0.9}
    assert desk.store.load(run.id) == run


@pytest.mark.parametrize(("code", "result"), [(0, {"rows": 9}), (1, None)])
def test_a_result_lies_where_the_job_was_told_to_write(
    desk: Desk, runtime: FakeRuntime, code: int, result: object
) -> None:
    """That of a run which failed would be an earlier one's."""
    runtime.on_step = lambda _args: (code, "", "")
    bucket, order = desk.cluster().bucket, ("--output", "s3://{bucket}/features")
    body, key = b'{"rows": 9}', "features/result.json"
    desk.target.client("s3").put_object(Bucket=bucket, Key=key, Body=body)
    run = lifecycle.wait(desk, submit(desk, Submission(job="mine", arguments=order)), _watch)
    assert lifecycle.describe(desk, run).get("result") == result


def test_submit_with_secrets_stores_none_of_them(desk: Desk, runtime: FakeRuntime) -> None:
    names = ("MY_TOKEN", "DB_PASSPHRASE", "PRIVATE_KEY", "STORAGE_ACCOUNT_KEY", "DB_PWD")
    order = Submission(
        job="mine",
        arguments=("--db-password", "s3cret!", "api_key=s3cret"),
        settings=SparkSettings(conf={"spark.my.password": "s3cret"}),
        environment=dict.fromkeys(names, "s3cret"),
    )
    run = lifecycle.wait(desk, submit(desk, order), _watch)
    folder = desk.config.state_folder / "runs" / run.id
    # The job of this test prints its arguments; a job's own output is stored unchanged.
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "stdout"]
    assert folder / "logs" / "step" / "controller" in files
    assert not [path for path in files if "s3cret" in path.read_text()]
    assert redact.REDACTED in (folder / "run.json").read_text()
    [args] = runtime.steps
    assert {f"{name}=s3cret" for name in names} < set(args)
    assert args[-3:] == ["--db-password", "s3cret!", "api_key=s3cret"]


def test_the_steps_command_line_is_spark_submits(desk: Desk, runtime: FakeRuntime) -> None:
    run = lifecycle.wait(desk, submit(desk, Submission(job="mine", arguments=("a b",))), _watch)
    [args] = runtime.steps
    assert args[:5] == ["spark-submit", "--master", "yarn", "--deploy-mode", "client"]
    assert "spark.default.parallelism=24" in args
    assert f"spark.yarn.tags={run.application_tag}" in args
    assert f"spark.eventLog.dir=s3://{run.bucket}/eventlogs/" in args
    assert args[-2:] == [run.code[0], "a b"]


def test_gallery_jobs_get_an_output_and_what_they_share(desk: Desk, runtime: FakeRuntime) -> None:
    run = submit(desk, Submission(job="wordcount", arguments=("--input", "s3://b/x")))
    assert run.arguments[-2:] == ("--output", f"{run.prefix}/output")
    given = submit(desk, Submission(job="wordcount", arguments=("--output=s3://b/y",)))
    assert given.arguments == ("--output=s3://b/y",)


def test_a_failure_is_explained_by_one_line(desk: Desk, runtime: FakeRuntime) -> None:
    runtime.on_step = lambda _args: (1, "", TRACEBACK)
    run = lifecycle.wait(desk, submit(desk, Submission(job="mine")), _watch)
    assert run.state == "FAILED"
    assert run.failure == "ValueError: no pictures"
    assert run.failure_log is not None
    assert run.failure_log.endswith("stderr.gz")


def test_more_executors_than_there_is_room_for_are_warned_of(desk: Desk) -> None:
    run = submit(desk, Submission(job="mine", settings=SparkSettings(executors=5)))
    assert "5 executors requested, room for 2" in run.warnings[0]


def test_a_container_larger_than_a_node_submits_nothing(desk: Desk, runtime: FakeRuntime) -> None:
    with pytest.raises(UsageError, match="12288 MB"):
        submit(desk, Submission(job="mine", settings=SparkSettings(executor_memory="64g")))
    assert desk.store.ids() == []
    assert runtime.steps == []


def test_a_command_line_too_long_for_emr_is_told_before(desk: Desk) -> None:
    with pytest.raises(UsageError, match="characters; EMR's limit is 10,240"):
        submit(desk, Submission(job="mine", arguments=("x" * 11_000,)))
    assert [run.state for run in desk.store.all()] == ["FAILED"]


def test_a_run_whose_client_died_before_emr_answered_is_found_by_its_name(desk: Desk) -> None:
    run = submit(desk, Submission(job="mine"))
    orphan = replace(run, state="SUBMITTING", step_id=None)
    desk.store.save(orphan)
    found = lifecycle.wait(desk, orphan, _watch)
    assert (found.state, found.step_id) == ("COMPLETED", run.step_id)


def test_a_step_that_never_reached_the_cluster_is_lost_after_a_while(desk: Desk) -> None:
    run = submit(desk, Submission(job="mine"))
    ghost = replace(run, id="20261120-000000-mine-0000", step_id=None, state="SUBMITTING")
    assert lifecycle.refresh(desk, ghost).state == "SUBMITTING"
    old = replace(ghost, created="2026-01-01T00:00:00.000+00:00")
    assert lifecycle.refresh(desk, old).state == "LOST"


def test_runs_of_an_emulator_that_is_gone_are_lost(desk: Desk, runtime: FakeRuntime) -> None:
    runtime.pause = True
    run = submit(desk, Submission(job="mine"))
    other = Desk(desk.config, replace(desk.target, identity="another"))
    [found] = lifecycle.refresh_all(other)
    assert (found.id, found.state) == (run.id, "LOST")
    assert found.failure == "its emulator was stopped"


def test_cancelling_ends_the_step(desk: Desk, runtime: FakeRuntime) -> None:
    runtime.pause = True
    run = submit(desk, Submission(job="mine"))
    while lifecycle.refresh(desk, run).state != "RUNNING":
        pass
    run = lifecycle.wait(desk, lifecycle.cancel(desk, run), _watch)
    assert run.state == "CANCELLED"
    assert lifecycle.cancel(desk, run) == run


def test_waiting_has_an_end(desk: Desk, runtime: FakeRuntime) -> None:
    runtime.pause = True
    run = submit(desk, Submission(job="mine"))
    with pytest.raises(WaitTimeoutError) as caught:
        lifecycle.wait(desk, run, _watch, timeout_s=0.05)
    assert f"emrctl wait {run.id}" in caught.value.hint


def test_a_step_of_a_cluster_that_died_is_not_waited_for(desk: Desk, runtime: FakeRuntime) -> None:
    runtime.pause = True
    run = submit(desk, Submission(job="mine"))
    desk.target.client("emr").terminate_job_flows(JobFlowIds=[run.cluster.id])
    run = lifecycle.wait(desk, run, _watch, timeout_s=20)
    assert run.state in {"CANCELLED", "INTERRUPTED", "FAILED"}


def test_without_a_cluster_up_is_named(
    mocked: Target, runtime: FakeRuntime, tmp_path: Path
) -> None:
    desk = Desk(Config(ProjectSpec(project="pets"), tmp_path, {}), mocked)
    with pytest.raises(NotFoundError, match="no cluster 'main'") as caught:
        submit(desk, Submission(job="wordcount"))
    assert "emrctl up" in caught.value.hint
