"""Metrics equal those of Spark's own history server for the same logs."""

from __future__ import annotations

import functools
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from emrctl import redact
from emrctl.metrics.eventlog import layout, reader
from emrctl.metrics.eventlog.tallies import quantile
from emrctl.metrics.model import RunMetrics, StageMetrics, TaskMetrics
from tests.event_logs import GOLDENS, PUBLIC, PUBLIC_FOLDER

if not PUBLIC:
    pytest.skip("the public event logs are not beside the project", allow_module_level=True)
CORE = PUBLIC_FOLDER / "apache-spark-core"
CASES: dict[str, str] = json.loads((GOLDENS / "CASES.json").read_text())
# The history server knows these by application id and attempt, not by file name.
FILES = {
    ("local-1426533911241", "1"): "local-1426533911241",
    ("local-1426533911241", "2"): "local-1426633911242",
    ("local-1430917381535", "1"): "local-1430917381535_1",
    ("local-1430917381535", "2"): "local-1430917381535_2",
}


@functools.cache
def read(name: str) -> RunMetrics:
    return reader.read_path(CORE / name)


def millis(text: str) -> int:
    moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fGMT").replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def cases(pattern: str) -> list[tuple[str, str]]:
    """Golden file and application path of each case whose endpoint matches `pattern`."""
    found = []
    for golden, endpoint in CASES.items():
        path, _, _ = endpoint.removeprefix("/api/v1/applications/").partition("?")
        if re.fullmatch(pattern, path.rstrip("/")):
            found.append((golden, path.rstrip("/")))
    return found


def load(golden: str) -> Any:
    return json.loads((GOLDENS / golden).read_text())


def log_of(path: str) -> RunMetrics:
    app, _, rest = path.partition("/")
    attempt = rest.partition("/")[0]
    return read(FILES.get((app, attempt), app))


@pytest.mark.parametrize("path", PUBLIC, ids=lambda path: path.name)
def test_logs_have_no_bad_lines(path: Path) -> None:
    run = reader.read_path(path)
    assert run.bad_lines == 0
    assert run.app_id
    assert run.complete == (path.name != "application_1713000000000_0001_1.zstd"), run.notes
    assert RunMetrics.from_json(json.loads(json.dumps(run.to_json()))) == run


@pytest.mark.parametrize(
    "app", load("application_list_json_expectation.json"), ids=lambda a: a["id"]
)
def test_application_metrics_match_spark(app: dict[str, Any]) -> None:
    for attempt in app["attempts"]:
        number = attempt.get("attemptId")
        run = read(FILES.get((app["id"], number or ""), app["id"]))
        assert (run.app_id, run.app_attempt, run.app_name) == (app["id"], number, app["name"])
        assert (run.spark_version or "") == attempt["appSparkVersion"]
        assert run.start_ms == attempt["startTimeEpoch"]
        assert run.end_ms == attempt["endTimeEpoch"]
        assert run.duration_ms == attempt["duration"]


EXECUTOR_FIELDS = {
    "isActive": "active",
    "rddBlocks": "rdd_blocks",
    "memoryUsed": "storage_used_bytes",
    "maxMemory": "storage_total_bytes",
    "diskUsed": "disk_used_bytes",
    "totalCores": "cores",
    "activeTasks": "active_tasks",
    "failedTasks": "failed_tasks",
    "completedTasks": "complete_tasks",
    "totalTasks": "total_tasks",
    "totalDuration": "task_time_ms",
    "totalGCTime": "gc_time_ms",
    "totalInputBytes": "input_bytes",
    "totalShuffleRead": "shuffle_read_bytes",
    "totalShuffleWrite": "shuffle_write_bytes",
    "isExcluded": "excluded",
}


@pytest.mark.parametrize(("golden", "path"), cases(r"[^/]+/executors"))
def test_executor_metrics_match_spark(golden: str, path: str) -> None:
    run = log_of(path)
    rows = {row.id: row for row in run.executors}
    for expected in load(golden):
        actual = rows[expected["id"]]
        # In the driver's row Spark shows the application's age for a task time.
        skipped = {"totalDuration", "totalGCTime"} if actual.is_driver else set()
        for key, name in EXECUTOR_FIELDS.items():
            if key not in skipped:
                assert getattr(actual, name) == expected[key], (actual.id, name)
        assert actual.host == expected["hostPort"].partition(":")[0]
        assert actual.added_ms == millis(expected["addTime"])
        peaks = {k: v for k, v in expected.get("peakMemoryMetrics", {}).items() if v}
        assert dict(actual.peak_memory) == peaks


STAGE_FIELDS = {
    "stageId": "id",
    "attemptId": "attempt",
    "status": "status",
    "name": "name",
    "numTasks": "tasks",
    "numCompleteTasks": "tasks_ok",
    "numFailedTasks": "tasks_failed",
    "numKilledTasks": "tasks_killed",
    "executorRunTime": "executor_run_time_ms",
    "executorCpuTime": "executor_cpu_time_ns",
    "jvmGcTime": "jvm_gc_time_ms",
    "inputBytes": "input_bytes",
    "outputBytes": "output_bytes",
    "shuffleReadBytes": "shuffle_read_bytes",
    "shuffleWriteBytes": "shuffle_write_bytes",
    "shuffleFetchWaitTime": "fetch_wait_time_ms",
    "memoryBytesSpilled": "memory_spilled_bytes",
    "diskBytesSpilled": "disk_spilled_bytes",
}


def check_stage(stage: StageMetrics, expected: dict[str, Any]) -> None:
    for key, name in STAGE_FIELDS.items():
        assert getattr(stage, name) == expected[key], (stage.id, name)
    for key, name in (
        ("submissionTime", "submitted_ms"),
        ("completionTime", "completed_ms"),
        ("firstTaskLaunchedTime", "first_task_ms"),
    ):
        assert getattr(stage, name) == millis(expected[key]), (stage.id, name)


def filters(golden: str) -> dict[str, list[str]]:
    return parse_qs(CASES[golden].partition("?")[2])


@pytest.mark.parametrize(("golden", "path"), cases(r"[^/]+(/\d+)?/stages(/\d+)*"))
def test_stage_metrics_match_spark(golden: str, path: str) -> None:
    run = log_of(path)
    stages = {(stage.id, stage.attempt): stage for stage in run.stages}
    document = load(golden)
    rows = document if isinstance(document, list) else [document]
    for expected in rows:
        check_stage(stages[expected["stageId"], expected["attemptId"]], expected)
    if path.endswith("/stages"):
        totals = {"complete": run.stages_completed, "failed": run.stages_failed}
        asked = filters(golden).get("status")
        assert len(rows) == (totals[asked[0]] if asked else len(stages))


@pytest.mark.parametrize(("golden", "path"), cases(r"[^/]+(/\d+)?/jobs"))
def test_job_counts_match_spark(golden: str, path: str) -> None:
    run = log_of(path)
    document = load(golden)
    states = [job["status"] for job in document]
    asked = filters(golden).get("status", ["succeeded", "failed"])
    expected = {"SUCCEEDED": run.jobs_succeeded, "FAILED": run.jobs_failed}
    for status, count in expected.items():
        assert states.count(status) == (count if status.lower() in asked else 0)
    if "status" not in filters(golden):
        assert run.jobs == len(states)
        assert run.tasks_ok == sum(job["numCompletedTasks"] for job in document)
        assert run.tasks_failed == sum(job["numFailedTasks"] for job in document)
        assert run.tasks_killed == sum(job["numKilledTasks"] for job in document)
        assert run.stages_completed == sum(job["numCompletedStages"] for job in document)
        assert run.stages_failed == sum(job["numFailedStages"] for job in document)


@pytest.mark.parametrize("golden", [name for name, _ in cases(r"[^/]+(/\d+)?/jobs(/\d+)?")])
def test_stages_of_jobs_match_spark(golden: str) -> None:
    path = CASES[golden].removeprefix("/api/v1/applications/").partition("?")[0]
    document = load(golden)
    stages = log_of(path).stages
    for job in document if isinstance(document, list) else [document]:
        actual = [stage for stage in stages if stage.id in job["stageIds"]]
        assert sum(stage.tasks_ok for stage in actual) == job["numCompletedTasks"]
        assert sum(stage.tasks_failed for stage in actual) == job["numFailedTasks"]
        done = [stage for stage in actual if stage.status == "COMPLETE"]
        assert len(done) == job["numCompletedStages"]


TASK_FIELDS = {
    "index": "index",
    "attempt": "attempt",
    "executorId": "executor",
    "host": "host",
    "taskLocality": "locality",
    "speculative": "speculative",
    "status": "status",
    "duration": "duration_ms",
}
TASK_METRICS = {
    "executorRunTime": "executor_run_time_ms",
    "executorCpuTime": "executor_cpu_time_ns",
    "jvmGcTime": "jvm_gc_time_ms",
    "memoryBytesSpilled": "memory_spilled_bytes",
    "diskBytesSpilled": "disk_spilled_bytes",
}


@functools.cache
def tasks(name: str) -> dict[int, TaskMetrics]:
    found: dict[int, TaskMetrics] = {}
    reader.read_log(layout.list_files(CORE / name), on_task=lambda row: found.update({row.id: row}))
    return found


@pytest.mark.parametrize(("golden", "path"), cases(r"[^/]+(/\d+)?/stages/\d+/\d+/taskList"))
def test_task_rows_match_spark(golden: str, path: str) -> None:
    app, _, rest = path.partition("/")
    rows = tasks(FILES.get((app, rest.partition("/")[0]), app))
    for expected in load(golden):
        actual = rows[expected["taskId"]]
        for key, name in TASK_FIELDS.items():
            assert getattr(actual, name) == expected[key], (actual.id, name)
        assert actual.launched_ms == millis(expected["launchTime"])
        if metrics := expected.get("taskMetrics"):
            check_task(actual, metrics)


def check_task(task: TaskMetrics, expected: dict[str, Any]) -> None:
    for key, name in TASK_METRICS.items():
        assert getattr(task, name) == expected[key], (task.id, name)
    read = expected["shuffleReadMetrics"]
    assert task.shuffle_read_bytes == read["localBytesRead"] + read["remoteBytesRead"]
    assert task.fetch_wait_time_ms == read["fetchWaitTime"]
    assert task.shuffle_write_bytes == expected["shuffleWriteMetrics"]["bytesWritten"]
    assert task.input_bytes == expected["inputMetrics"]["bytesRead"]
    assert task.output_bytes == expected["outputMetrics"]["bytesWritten"]


def test_quantiles_match_sparks_task_summary() -> None:
    stages = {stage.id: stage for stage in read("local-1430917381534").stages}
    expected = load("stage_task_summary_w_shuffle_read_expectation.json")
    found = stages[1].duration_ms_quantiles
    assert found is not None
    assert [found.p25, found.median, found.p75] == expected["duration"][1:4]
    reads = stages[1].shuffle_read_bytes_quantiles
    assert reads is not None
    assert [reads.p25, reads.median] == expected["shuffleReadMetrics"]["readBytes"][1:3]
    expected = load("stage_task_summary_w_shuffle_write_expectation.json")
    writes = stages[0].shuffle_write_bytes_quantiles
    assert writes is not None
    assert [writes.p25, writes.median, writes.p75] == expected["shuffleWriteMetrics"]["writeBytes"][
        1:4
    ]
    custom = load("stage_task_summary_w__custom_quantiles_expectation.json")
    middle = stages[0].duration_ms_quantiles
    assert middle is not None
    assert middle.median == custom["duration"][1]


def test_quantile_is_not_interpolated() -> None:
    row = [10, 20, 30, 40]
    assert [quantile(row, share) for share in (0.0, 0.25, 0.5, 0.75, 1.0)] == [10, 20, 30, 40, 40]


@pytest.mark.parametrize(("golden", "path"), cases(r"[^/]+/environment"))
def test_environment_matches_spark(golden: str, path: str) -> None:
    actual = log_of(path).environment
    for key, value in load(golden)["sparkProperties"]:
        if actual[key] != redact.REDACTED:
            assert actual[key] == value


def test_resubmitted_tasks_count_as_failures_only() -> None:
    run = reader.read_path(
        PUBLIC_FOLDER / "spark-rapids-tools" / "tasks_executors_fail_compressed_eventlog.zstd"
    )
    assert (run.tasks_ok, run.tasks_failed, run.tasks_killed) == (8577, 53, 0)
    assert (run.jobs, run.jobs_succeeded) == (75, 74)
    assert (run.stages_completed, run.stages_failed, run.peak_executors) == (134, 1, 8)
    assert sum(row.total_tasks for row in run.executors) == 8580
    assert all(row.active_tasks == 0 for row in run.executors)
