"""A run from submission to metrics, on moto's AWS with steps that end as they are told."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from emrctl.aws.target import Target
from emrctl.errors import NotFoundError, UsageError, WaitTimeoutError
from emrctl.runs import lifecycle
from emrctl.runs.submission import Submission, submit
from emrctl.spec import JobSpec, ProjectSpec, SparkSettings
from emrctl.spec.config import Config
from tests.emulator.fake_runtime import FakeRuntime
from tests.runs.mocked import MockedWorkspace, mocked_workspace, watch

APPLICATION = "application_1700000000000_0001"
OTHER = "application_1700000000000_0005"
SUBMITTED = f"26/11/20 10:00:00 INFO YarnClientImpl: Submitted application {APPLICATION}\n"
TRACEBACK = f"""{SUBMITTED}\
Traceback (most recent call last):
  File "mine.py", line 1, in <module>
ValueError: no pictures
"""


@pytest.fixture
def workspace(mocked: Target, standing: str, tmp_path: Path) -> MockedWorkspace:
    job = JobSpec(script="mine.py", settings=SparkSettings(partitions=24), tags={"kind": "test"})
    return mocked_workspace(mocked, tmp_path, job)


def _event_log(
    workspace: MockedWorkspace, bucket: str, tag: str, id_: str = APPLICATION, master: str = "yarn"
) -> None:
    """Write the event log of an application that has the tag."""
    lines = [
        {"Event": "SparkListenerLogStart", "Spark Version": "3.5.6"},
        {
            "Event": "SparkListenerEnvironmentUpdate",
            "Spark Properties": {"spark.master": master, "spark.yarn.tags": tag},
        },
        {
            "Event": "SparkListenerApplicationStart",
            "App Name": "mine",
            "App ID": id_,
            "Timestamp": 1000,
            "User": "hadoop",
        },
        {"Event": "SparkListenerApplicationEnd", "Timestamp": 5000},
    ]
    body = "".join(json.dumps(line) + "\n" for line in lines).encode()
    folder, s3 = f"eventlogs/eventlog_v2_{id_}/", workspace.target.client("s3")
    s3.put_object(Bucket=bucket, Key=folder)  # S3A keeps such an object for the folder since 3.4
    s3.put_object(Bucket=bucket, Key=f"{folder}events_1_{id_}", Body=body)


def _tag(args: Sequence[str]) -> str:
    """Return the tag on a step's command line."""
    return next(item.partition("=")[2] for item in args if item.startswith("spark.yarn.tags="))


def test_wait_for_completed_run_stores_metrics_and_result(
    workspace: MockedWorkspace, runtime: FakeRuntime
) -> None:
    bucket = workspace.cluster().bucket

    def run_job(args: list[str]) -> tuple[int, str, str]:
        _event_log(workspace, bucket, _tag(args))
        return 0, "done\n", SUBMITTED

    runtime.on_step = run_job
    order = Submission(
        job="mine",
        arguments=("--at", "{run}/x", "s3://{bucket}/y"),
        settings=SparkSettings(executors=2),
        environment={"MY_TOKEN": "s3cret", "LEVEL": "1"},
    )
    run = submit(workspace, order)
    assert workspace.store.load(run.id).step_id == run.step_id
    workspace.target.client("s3").put_object(
        Bucket=bucket, Key=f"runs/{run.id}/output/result.json", Body=b'{"accuracy": 0.9}'
    )
    run = lifecycle.wait(workspace, run, watch)
    assert run.state == "COMPLETED"
    assert run.application_id == APPLICATION
    assert run.arguments == ("--at", f"s3://{bucket}/runs/{run.id}/x", f"s3://{bucket}/y")
    assert run.settings == {"executors": 2, "partitions": 24}
    assert run.tags == {"kind": "test"}
    assert workspace.store.files(run.id).read("step/stdout", "logs/") == b"done\n"
    found = lifecycle.describe(workspace, run)
    assert found["metrics"]["duration_ms"] == 4000
    assert found["result"] == {"accuracy": 0.9}
    assert workspace.store.load(run.id) == run


def test_wait_keeps_all_applications_with_the_tag_of_the_run(
    workspace: MockedWorkspace, runtime: FakeRuntime
) -> None:
    """An id in an argument or in the output is not that of the run's application."""
    bucket, second = workspace.cluster().bucket, APPLICATION.replace("0001", "0002")

    def run_job(args: list[str]) -> tuple[int, str, str]:
        _event_log(workspace, bucket, "emrctl-of-another-run", OTHER)
        for id_ in (APPLICATION, second):
            _event_log(workspace, bucket, f"{_tag(args)}", id_)
        return 0, f"{OTHER}\n", f"26/11/20 10:00:00 INFO Main: reads {OTHER}\n"

    runtime.on_step = run_job
    order = Submission(
        job="mine",
        arguments=(f"s3://b/{OTHER}/",),
        settings=SparkSettings(conf={"spark.yarn.tags": "nightly"}),
    )
    run = lifecycle.wait(workspace, submit(workspace, order), watch)
    assert run.applications == (APPLICATION, second)
    assert run.application_id == APPLICATION
    assert "2 applications" in run.warnings[-1]
    assert _tag(runtime.steps[0]) == f"{run.application_tag},nightly"
    files = workspace.store.files(run.id)
    assert set(files.read_json("applications.json") or {}) == {second}
    assert {name.split("/")[0] for name in files.names("eventlog/")} == {
        f"eventlog_v2_{id_}" for id_ in run.applications
    }
    assert workspace.store.load(run.id) == run


def test_refresh_all_reads_the_head_of_each_event_log_once(
    workspace: MockedWorkspace, runtime: FakeRuntime
) -> None:
    """Otherwise n runs that have ended at the same time take n * n requests."""
    bucket, numbers, read = workspace.cluster().bucket, itertools.count(1), list[str]()

    def run_job(args: list[str]) -> tuple[int, str, str]:
        _event_log(workspace, bucket, _tag(args), f"application_1700000000000_{next(numbers):04d}")
        return 0, "", ""

    runtime.on_step = run_job
    runs = [submit(workspace, Submission(job="mine")) for _ in range(4)]
    backend = workspace.backend(runs[0].cluster)
    while not all(backend.step(str(run.step_id)).finished for run in runs):
        pass
    events = workspace.target.client("s3").meta.events
    events.register("before-call.s3.GetObject", lambda params, **_: read.append(params["url_path"]))
    finished = lifecycle.refresh_all(workspace, runs)
    assert len({run.application_id for run in finished}) == len(runs)
    # Once for its tag, and once to download it.
    assert sum("/eventlog_v2_" in path for path in read) == 2 * len(runs)


@pytest.mark.parametrize("master", ["local[*]", None])
def test_wait_without_application_on_cluster_warns(
    workspace: MockedWorkspace, runtime: FakeRuntime, master: str | None
) -> None:
    bucket = workspace.cluster().bucket

    def run_job(args: list[str]) -> tuple[int, str, str]:
        if master:
            _event_log(workspace, bucket, _tag(args), "local-1700000000000", master)
        return 0, OTHER, ""

    runtime.on_step = run_job
    run = lifecycle.wait(workspace, submit(workspace, Submission(job="mine")), watch)
    assert run.application_id is None
    assert "nothing ran on the cluster's executors" in run.warnings[-1]
    assert (master or "no Spark application") in run.warnings[-1]
    assert (lifecycle.describe(workspace, run)["metrics"] is None) == (master is None)


@pytest.mark.parametrize(("code", "result"), [(0, {"rows": 9}), (1, None)])
def test_result_in_other_output_is_stored_only_if_completed(
    workspace: MockedWorkspace, runtime: FakeRuntime, code: int, result: object
) -> None:
    """A failed run must not get the result of an earlier one."""
    runtime.on_step = lambda _args: (code, "", "")
    bucket, order = workspace.cluster().bucket, ("--output", "s3://{bucket}/features")
    body, key = b'{"rows": 9}', "features/result.json"
    workspace.target.client("s3").put_object(Bucket=bucket, Key=key, Body=body)
    run = lifecycle.wait(
        workspace, submit(workspace, Submission(job="mine", arguments=order)), watch
    )
    assert lifecycle.describe(workspace, run).get("result") == result


def test_submit_adds_step_with_spark_submit_command(
    workspace: MockedWorkspace, runtime: FakeRuntime
) -> None:
    run = lifecycle.wait(
        workspace, submit(workspace, Submission(job="mine", arguments=("a b",))), watch
    )
    [args] = runtime.steps
    assert args[:5] == ["spark-submit", "--master", "yarn", "--deploy-mode", "client"]
    assert "spark.default.parallelism=24" in args
    assert f"spark.yarn.tags={run.application_tag}" in args
    assert f"spark.eventLog.dir=s3://{run.bucket}/eventlogs/" in args
    assert args[-2:] == [run.code[0], "a b"]


def test_submit_of_gallery_job_adds_output_and_packages(
    workspace: MockedWorkspace, runtime: FakeRuntime
) -> None:
    run = submit(workspace, Submission(job="wordcount", arguments=("--input", "s3://b/x")))
    assert run.arguments[-2:] == ("--output", f"{run.prefix}/output")
    given = submit(workspace, Submission(job="wordcount", arguments=("--output=s3://b/y",)))
    assert given.arguments == ("--output=s3://b/y",)


def test_wait_for_failed_run_stores_explaining_line(
    workspace: MockedWorkspace, runtime: FakeRuntime
) -> None:
    runtime.on_step = lambda _args: (1, "", TRACEBACK)
    run = lifecycle.wait(workspace, submit(workspace, Submission(job="mine")), watch)
    assert run.state == "FAILED"
    assert run.failure == "ValueError: no pictures"
    assert run.failure_log is not None
    assert run.failure_log.endswith("stderr.gz")


def test_submit_with_too_many_executors_warns(workspace: MockedWorkspace) -> None:
    run = submit(workspace, Submission(job="mine", settings=SparkSettings(executors=5)))
    assert "5 executors requested, room for 2" in run.warnings[0]


def test_submit_rejects_executor_larger_than_node(
    workspace: MockedWorkspace, runtime: FakeRuntime
) -> None:
    with pytest.raises(UsageError, match="12288 MB"):
        submit(workspace, Submission(job="mine", settings=SparkSettings(executor_memory="64g")))
    assert workspace.store.ids() == []
    assert runtime.steps == []


def test_submit_rejects_command_longer_than_emr_allows(workspace: MockedWorkspace) -> None:
    with pytest.raises(UsageError, match="characters; EMR's limit is 10,240"):
        submit(workspace, Submission(job="mine", arguments=("x" * 11_000,)))
    assert [run.state for run in workspace.store.all()] == ["FAILED"]


def test_submit_of_long_file_name_shortens_the_name_of_the_step(workspace: MockedWorkspace) -> None:
    script = workspace.config.root / f"{'long' * 60}.py"
    script.write_text("print(1)", encoding="utf-8")

    run = submit(workspace, Submission(job=str(script)))

    assert len(run.step_name) <= 256
    assert run.step_name.endswith(f" [{run.id}]")
    assert run.step_id is not None


def test_refresh_without_step_id_finds_step_by_name(workspace: MockedWorkspace) -> None:
    run = submit(workspace, Submission(job="mine"))
    orphan = replace(run, state="SUBMITTING", step_id=None)
    workspace.store.save(orphan)
    found = lifecycle.wait(workspace, orphan, watch)
    assert (found.state, found.step_id) == ("COMPLETED", run.step_id)


def test_refresh_without_step_is_lost_after_timeout(workspace: MockedWorkspace) -> None:
    run = submit(workspace, Submission(job="mine"))
    ghost = replace(run, id="20261120-000000-mine-0000", step_id=None, state="SUBMITTING")
    assert lifecycle.refresh(workspace, ghost).state == "SUBMITTING"
    old = replace(ghost, created="2026-01-01T00:00:00.000+00:00")
    assert lifecycle.refresh(workspace, old).state == "LOST"


def test_refresh_all_after_emulator_stopped_marks_runs_lost(
    workspace: MockedWorkspace, runtime: FakeRuntime
) -> None:
    runtime.pause = True
    run = submit(workspace, Submission(job="mine"))
    other = MockedWorkspace(workspace.config, replace(workspace.target, identity="another"))
    [found] = lifecycle.refresh_all(other)
    assert (found.id, found.state) == (run.id, "LOST")
    assert found.failure == "its emulator was stopped"


def test_wait_after_emulator_died_marks_run_lost(
    workspace: MockedWorkspace,
    runtime: FakeRuntime,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EMRCTL_HOME", str(tmp_path / "home"))
    runtime.pause = True
    run = submit(workspace, Submission(job="mine"))
    dead = MockedWorkspace(
        workspace.config, replace(workspace.target, endpoint="http://127.0.0.1:9")
    )
    found = lifecycle.wait(dead, run, watch)
    assert (found.state, found.failure) == ("LOST", "its emulator was stopped")


def test_submit_of_program_on_s3_rejects_requirements_before_packing(
    workspace: MockedWorkspace, tmp_path: Path
) -> None:
    (tmp_path / "r.txt").write_text("./no-such-package\n")
    settings = SparkSettings(requirements="r.txt")
    with pytest.raises(UsageError, match="--requirements in client mode"):
        submit(workspace, Submission(job="s3://b/x.py", settings=settings))


def test_cancel_cancels_step(workspace: MockedWorkspace, runtime: FakeRuntime) -> None:
    runtime.pause = True
    run = submit(workspace, Submission(job="mine"))
    while lifecycle.refresh(workspace, run).state != "RUNNING":
        pass
    run = lifecycle.wait(workspace, lifecycle.cancel(workspace, run), watch)
    assert run.state == "CANCELLED"
    assert lifecycle.cancel(workspace, run) == run


def test_cancelled_run_keeps_the_result_that_its_job_wrote_before(
    workspace: MockedWorkspace, runtime: FakeRuntime
) -> None:
    runtime.pause = True
    bucket, order = workspace.cluster().bucket, ("--output", "s3://{bucket}/stream")
    run = submit(workspace, Submission(job="mine", arguments=order))
    while (run := lifecycle.refresh(workspace, run)).started is None:
        pass
    s3, written = workspace.target.client("s3"), {"Bucket": bucket, "Key": "stream/result.json"}
    started = datetime.fromisoformat(run.started)
    s3.put_object(**written, Body=b'{"batches": 3}')
    while s3.head_object(**written)["LastModified"] < started:  # in whole seconds
        s3.put_object(**written, Body=b'{"batches": 3}')
    run = lifecycle.wait(workspace, lifecycle.cancel(workspace, run), watch)
    assert run.state == "CANCELLED"
    assert lifecycle.describe(workspace, run)["result"] == {"batches": 3}


def test_request_stop_creates_the_object_stop_in_the_output(
    workspace: MockedWorkspace, runtime: FakeRuntime
) -> None:
    runtime.pause = True
    bucket, order = workspace.cluster().bucket, ("--output", "s3://{bucket}/stream/")
    run = submit(workspace, Submission(job="mine", arguments=order))
    assert not lifecycle.request_stop(workspace, run).finished
    s3 = workspace.target.client("s3")
    assert s3.get_object(Bucket=bucket, Key="stream/stop")["ContentLength"] == 0
    s3.delete_object(Bucket=bucket, Key="stream/stop")
    run = lifecycle.wait(workspace, lifecycle.cancel(workspace, run), watch)
    assert lifecycle.request_stop(workspace, run) == run
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket, Prefix="stream/")


def test_wait_times_out(workspace: MockedWorkspace, runtime: FakeRuntime) -> None:
    runtime.pause = True
    run = submit(workspace, Submission(job="mine"))
    with pytest.raises(WaitTimeoutError) as caught:
        lifecycle.wait(workspace, run, watch, timeout_s=0.05)
    assert f"emrctl wait {run.id}" in caught.value.hint


def test_wait_after_cluster_terminated_returns_interrupted(
    workspace: MockedWorkspace, runtime: FakeRuntime
) -> None:
    runtime.pause = True
    run = submit(workspace, Submission(job="mine"))
    workspace.target.client("emr").terminate_job_flows(JobFlowIds=[run.cluster.id])
    run = lifecycle.wait(workspace, run, watch, timeout_s=20)
    assert run.state in {"CANCELLED", "INTERRUPTED", "FAILED"}


def test_submit_without_cluster_suggests_up(
    mocked: Target, runtime: FakeRuntime, tmp_path: Path
) -> None:
    workspace = MockedWorkspace(Config(ProjectSpec(project="pets"), tmp_path, {}), mocked)
    with pytest.raises(NotFoundError, match="no cluster 'main'") as caught:
        submit(workspace, Submission(job="wordcount"))
    assert "emrctl up" in caught.value.hint


def test_run_has_warnings_about_faults_at_its_submission_and_its_end(
    workspace: MockedWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    active = [("throttle percent=9",), ("throttle percent=9", "slow-s3 delay=1.0")]
    monkeypatch.setattr(Target, "active_faults", lambda _: active[0])
    run = submit(workspace, Submission(job="mine"))
    throttled = "the fault throttle percent=9 was active on localhost"
    assert throttled in run.warnings
    active.pop(0)
    run = lifecycle.wait(workspace, run, watch)
    assert run.warnings.count(throttled) == 1
    assert "the fault slow-s3 delay=1.0 was active on localhost" in run.warnings
