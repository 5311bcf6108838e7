"""Effects of events: tasks, executors, blocks, secrets, SQL."""

from __future__ import annotations

import io
import json
from typing import Any

from emrctl.metrics.eventlog import reader
from emrctl.metrics.eventlog.layout import EventLogFile
from emrctl.metrics.model import RunMetrics


def read(*events: dict[str, Any]) -> RunMetrics:
    data = b"\n".join(json.dumps(event).encode() for event in events)
    return reader.read_log([EventLogFile("app-1", lambda: io.BytesIO(data))])


def task_end(reason: str, **metrics: object) -> dict[str, Any]:
    info = {"Task ID": 1, "Executor ID": "1", "Launch Time": 10, "Finish Time": 15, "Host": "h"}
    return {
        "Event": "SparkListenerTaskEnd",
        "Stage ID": 0,
        "Task End Reason": {"Reason": reason},
        "Task Info": info,
        "Task Metrics": metrics or None,
    }


def test_task_end_reasons_are_counted() -> None:
    run = read(
        task_end("Success", **{"Executor Run Time": 4}),
        task_end("ExceptionFailure", **{"Executor Run Time": 2}),
        task_end("ExecutorLostFailure"),
        task_end("Resubmitted", **{"Executor Run Time": 100}),
        task_end("TaskKilled", **{"Executor Run Time": 1}),
        task_end("TaskCommitDenied"),
    )
    assert (run.tasks_ok, run.tasks_failed, run.tasks_killed) == (1, 3, 2)
    assert run.executor_run_time_ms == 7
    assert run.task_time_ms == 30
    quantiles = run.stages[0].duration_ms_quantiles
    assert quantiles is not None
    assert quantiles.max == 5


def executor(kind: str, executor_id: str, time: int) -> dict[str, Any]:
    event = {"Event": f"SparkListenerExecutor{kind}", "Timestamp": time, "Executor ID": executor_id}
    info = {"Host": "h", "Total Cores": 4}
    return event | ({"Executor Info": info} if kind == "Added" else {"Removed Reason": "idle"})


def test_peak_executors_excludes_the_driver() -> None:
    run = read(
        executor("Added", "driver", 1),
        executor("Added", "1", 1),
        executor("Added", "2", 2),
        executor("Removed", "1", 3),
        executor("Added", "3", 4),
        executor("Removed", "9", 5),
    )
    assert run.peak_executors == 2
    rows = {row.id: row for row in run.executors}
    assert (rows["1"].active, rows["1"].removed_ms, rows["1"].remove_reason) == (False, 3, "idle")
    assert [row.id for row in run.busy_rows] == ["1", "2", "3"]


def block(name: str, memory: int, *, kept: bool = True) -> dict[str, Any]:
    return {
        "Event": "SparkListenerBlockUpdated",
        "Block Updated Info": {
            "Block Manager ID": {"Executor ID": "1", "Host": "h", "Port": 1},
            "Block ID": name,
            "Storage Level": {"Use Disk": False, "Use Memory": kept},
            "Memory Size": memory,
            "Disk Size": 0,
        },
    }


def test_cached_blocks_count_for_their_executor() -> None:
    events = [
        executor("Added", "1", 1),
        block("rdd_7_0", 100),
        block("rdd_7_1", 50),
        block("rdd_8_0", 5),
        block("broadcast_1", 9),
        block("rdd_7_1", 0, kept=False),
    ]
    row = read(*events).executors[0]
    assert (row.rdd_blocks, row.storage_used_bytes) == (2, 105)
    unpersisted = read(*events, {"Event": "SparkListenerUnpersistRDD", "RDD ID": 7}).executors[0]
    assert (unpersisted.rdd_blocks, unpersisted.storage_used_bytes) == (1, 5)


def test_secrets_are_redacted() -> None:
    run = read(
        {
            "Event": "SparkListenerEnvironmentUpdate",
            "Spark Properties": {
                "spark.hadoop.fs.s3a.secret.key": "hush",
                "spark.executorEnv.DB_PASSWORD": "hush",
                "spark.driver.extraJavaOptions": "-Ddb.password=hush -Xmx1g",
                "spark.jars.repositories": "https://me:hush@repo.example/maven",
                "spark.hadoop.x": "AKIAABCDEFGHIJKLMNOP",
                "spark.executor.memory": "4g",
            },
        }
    )
    assert [key for key, value in run.environment.items() if "redacted" not in value] == [
        "spark.executor.memory"
    ]
    assert "hush" not in json.dumps(run.to_json())


def test_query_status_follows_its_jobs() -> None:
    sql = "org.apache.spark.sql.execution.ui.SparkListenerSQLExecution"
    run = read(
        {"Event": f"{sql}Start", "executionId": 0, "description": "count", "time": 1},
        {"Event": f"{sql}Start", "executionId": 1, "description": "bad", "time": 1},
        {"Event": f"{sql}Start", "executionId": 2, "description": "open", "time": 1},
        {
            "Event": "SparkListenerJobStart",
            "Job ID": 0,
            "Properties": {"spark.sql.execution.id": "1"},
        },
        {"Event": "SparkListenerJobEnd", "Job ID": 0, "Job Result": {"Result": "JobFailed"}},
        {"Event": "SparkListenerJobEnd", "Job ID": 5, "Job Result": {"Result": "JobSucceeded"}},
        {"Event": f"{sql}End", "executionId": 0, "time": 3, "errorMessage": ""},
        {"Event": f"{sql}End", "executionId": 1, "time": 4},
        {"Event": f"{sql}End", "executionId": 9, "time": 4},
    )
    assert [item.status for item in run.sql] == ["COMPLETED", "FAILED", "RUNNING"]
    assert (run.jobs, run.jobs_succeeded, run.jobs_failed) == (1, 0, 1)


def test_executors_are_the_driver_then_by_number_then_others() -> None:
    names = ["b", "10", "9", "1" * 19, "driver", "2", "a", "9" * 18]
    run = read(*(executor("Added", name, 1) for name in names))
    order = ["driver", "2", "9", "10", "9" * 18, "1" * 19, "a", "b"]
    assert [row.id for row in run.executors] == order
