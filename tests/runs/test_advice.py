from __future__ import annotations

import dataclasses
from typing import Any

from emrctl.metrics.findings import diagnose
from emrctl.metrics.model import ExecutorMetrics, Quantiles, RunMetrics, StageMetrics
from emrctl.runs import advice as advising
from emrctl.runs.advice import RunAdvice
from emrctl.runs.audit import Submission

MB = 2**20


def run(**more: Any) -> RunMetrics:
    """Return a run of two executors, one of which ran out of memory."""
    times = Quantiles(min=2_000, p25=2_000, median=2_000, p75=2_000, max=2_000)
    stage = StageMetrics(
        id=0,
        status="COMPLETE",
        submitted_ms=10_000,
        first_task_ms=10_000,
        completed_ms=20_000,
        tasks=40,
        tasks_ok=40,
        task_time_ms=80_000,
        executor_run_time_ms=78_000,
        duration_ms_quantiles=times,
    )
    rows = tuple(
        ExecutorMetrics(
            id=str(number),
            host=f"h{number}",
            cores=4,
            added_ms=0,
            task_time_ms=40_000,
            removed_ms=removed,
            remove_reason="Command exited with code 52" if removed else None,
        )
        for number, removed in ((1, None), (2, 18_000))
    )
    fields: dict[str, Any] = {
        "start_ms": 0,
        "end_ms": 22_000,
        "duration_ms": 22_000,
        "complete": True,
        "stages": (stage,),
        "executors": rows,
        "peak_executors": 2,
        "executor_run_time_ms": 78_000,
        "spark_version": "3.5.6",
        "program": ("s3://b/job.py", "--rows", "3"),
        "environment": {"spark.executor.memory": "4g"},
    }
    return RunMetrics(**(fields | more))


def advise(record: RunMetrics, submission: Submission, **more: Any) -> RunAdvice:
    return advising.advise(record, submission, diagnose(record), **more)


def test_advise_merges_changes_into_submitted_settings() -> None:
    submission = Submission(
        options={"spark.executor.memory": "4g"}, conf={"spark.yarn.executor.memoryOverhead": "512"}
    )
    advice = advise(run(), submission, program=("job", "--rows", "3"))
    [change] = advice.changes
    assert (change.setting, change.before, change.after) == ("spark.executor.memory", "4g", "8g")
    assert (change.finding, "exit code 52" in change.reason) == ("memory_short", True)
    assert advice.settings == {
        "spark.executor.memory": "8g",
        "spark.executor.memoryOverhead": "512",
    }
    assert advice.spark_submit == (
        "spark-submit --executor-memory 8g --conf spark.executor.memoryOverhead=512 "
        "s3://b/job.py --rows 3"
    )
    assert advice.emrctl == (
        "emrctl submit --executor-memory 8g --memory-overhead 512 job --rows 3"
    )
    assert RunAdvice.from_json(advice.to_json()) == advice


def test_advise_heap_is_limited_by_node() -> None:
    submission = Submission(options={"spark.executor.memory": "8g"}, core_type="m5.xlarge")
    advice = advise(run(environment={"spark.executor.memory": "8g"}), submission)
    [change] = advice.changes
    assert change.after == "11171m"
    assert "m5.xlarge has room for 11171 MB" in change.reason
    assert "1 of 12288 MB fit on m5.xlarge" in advice.notes[0]


def test_advise_without_submitted_line_uses_settings_in_effect() -> None:
    environment = {
        "spark.executor.memory": "4g",
        "spark.sql.shuffle.partitions": "8",
        "spark.default.parallelism": "8",
        "spark.driver.host": "h",
        "spark.hadoop.fs.s3a.endpoint": "x",
        "spark.dynamicAllocation.enabled": "false",
    }
    advice = advise(run(environment=environment), Submission(is_known=False))
    assert "no spark-submit line" in advice.notes[0]
    assert advice.emrctl == (
        "emrctl submit --executor-memory 8g --partitions 8 --no-dynamic-allocation JOB"
    )


def test_advise_run_without_findings_has_no_change() -> None:
    rows = tuple(dataclasses.replace(row, remove_reason=None) for row in run().executors)
    healthy = dataclasses.replace(run(), executors=rows)
    advice = advise(healthy, Submission(options={"spark.executor.cores": "4"}))
    assert advice.changes == ()
    assert advice.spark_submit == "spark-submit --executor-cores 4 s3://b/job.py --rows 3"


def test_advise_empty_record_and_submission() -> None:
    advice = advise(RunMetrics(), Submission())
    assert (advice.changes, advice.remarks, advice.settings) == ((), (), {})
    assert (advice.spark_submit, advice.emrctl) == ("spark-submit PROGRAM", "emrctl submit JOB")
