"""Output of `emrctl runs show`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emrctl.cli.render.runs import print_run
from emrctl.metrics.model import ExecutorMetrics, RunMetrics
from emrctl.runs.record import Run
from emrctl.runs.workspace import Workspace
from emrctl.spec import ProjectSpec
from emrctl.spec.config import Config
from tests.facts import RUN

FINISHED = replace(
    RUN,
    state="COMPLETED",
    arguments=("--classes", "3,8"),
    settings={"executors": 2, "conf": {"spark.sql.shuffle.partitions": "24"}},
    code=tuple(f"s3://b/code/{number}/part.py" for number in range(26)),
    tags={"purpose": "test"},
    step_id="s-1",
    application_id="application_1_0001",
    started="2026-11-20T10:00:02.000+00:00",
    ended="2026-11-20T10:00:43.500+00:00",
)
METRICS = RunMetrics(
    app_id="application_1_0001",
    duration_ms=35_000,
    tasks_ok=48,
    executor_run_time_ms=50_000,
    jvm_gc_time_ms=1_000,
    input_bytes=3_000_000,
    peak_executors=2,
    executors=tuple(
        ExecutorMetrics(
            id=id_, cores=2, complete_tasks=24, task_time_ms=30_000, added_ms=0, removed_ms=30_000
        )
        for id_ in ("1", "2")
    ),
)
TEXT = """
 run         r1
 ──────────────────────────────────────────────────────────
 job         svm
 arguments   --classes 3,8
 state       COMPLETED
 started     2026-11-20 10:00:02
 duration    41.5 s
 cost        $0.0083 on AWS (estimated)
 target      localhost
 cluster     main (j-1, emr-7.5.0): m5.xlarge + 2 m5.xlarge
 settings    executors=2, spark.sql.shuffle.partitions=24
 tags        purpose=test
 step        s-1, application_1_0001
 record      .emrctl/runs/r1


 metric                               value
 ──────────────────────────────────────────
 Spark application                   35.0 s
 executors (peak)                         2
 executor cores (peak)                    4
 Spark jobs                               0
 tasks succeeded                         48
 tasks failed                             0
 task time                           60.0 s
 GC time                              1.0 s
 GC time / executor run time          2.0 %
 executor cores busy                 50.0 %
 most tasks on one executor / mean      1 \N{MULTIPLICATION SIGN}
 input                                 3 MB
 output                                 0 B
 shuffle read                           0 B
 shuffle write                          0 B
 spill (memory)                         0 B
 spill (disk)                           0 B


 result            value
 ───────────────────────
 accuracy         0.9876
 figures.models        3

No findings."""


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.chdir(tmp_path)
    return Workspace(Config(project=ProjectSpec(project="pets"), root=Path(), sources={}))


def _stored(workspace: Workspace, run: Run, metrics: RunMetrics, result: dict[str, Any]) -> Run:
    workspace.store.save(run)
    workspace.store.files(run.id).write_json("metrics.json", metrics.to_json())
    workspace.store.files(run.id).write_json("result.json", result)
    return run


def test_print_run_finished_run_prints_facts_metrics_and_result(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    result = {"accuracy": 0.9876, "rows": [1, 2], "figures": {"models": 3}}
    run = _stored(workspace, FINISHED, METRICS, result)
    print_run(workspace, run, as_json=False)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    printed = "\n".join(lines)
    assert printed.startswith(f"{TEXT}\nChecked, not found: ")
    assert "\nNot checked: memory_unused, memory_short: no executor reports the memory" in printed


def test_print_run_json_contains_the_whole_record(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    run = _stored(workspace, FINISHED, METRICS, {"rows": [1, 2]})
    print_run(workspace, run, as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert len(document["code"]) == 26
    assert document["started"] == "2026-11-20T10:00:02.000+00:00"
    assert document["metrics"]["tasks_ok"] == 48
    assert document["result"] == {"rows": [1, 2]}


def test_print_run_failed_run_without_metrics_prints_the_failure(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    run = replace(FINISHED, state="FAILED", failure="KeyError: 'dog'", failure_log="s3://b/stderr")
    workspace.store.save(run)
    print_run(workspace, run, as_json=False)
    text = capsys.readouterr().out
    assert "failure     KeyError: 'dog'" in text
    assert "log         s3://b/stderr" in text
    assert "metric" not in text
