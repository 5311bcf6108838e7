"""Comparisons of stored runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from emrctl.compare import records
from emrctl.compare.comparison import Comparison, compare
from emrctl.compare.records import Configuration, RunRecord
from emrctl.errors import NotFoundError, UsageError
from emrctl.metrics.model import ApplicationAccount, ExecutorMetrics, RunMetrics, StageMetrics
from emrctl.runs.record import Run
from emrctl.runs.workspace import Workspace
from emrctl.spec import ProjectSpec
from emrctl.spec.config import Config
from tests.facts import FACTS, RUN


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(Config(ProjectSpec(project="pets"), tmp_path, {}))


def _stored(workspace: Workspace, run_id: str, seconds: int, **changes: object) -> Run:
    run = replace(
        RUN,
        id=run_id,
        created=f"2026-11-20T10:00:00.{seconds:03d}+00:00",
        state="COMPLETED",
        started="2026-11-20T10:00:00.000+00:00",
        ended=f"2026-11-20T10:00:{seconds:02d}.000+00:00",
        arguments=("--output", f"s3://b/runs/{run_id}/output"),
    )
    run = replace(run, **changes)  # type: ignore[arg-type]
    workspace.store.save(run)
    result = {"arguments": {"x": seconds}, "accuracy": 0.9, "rows": 80}
    workspace.store.files(run.id).write_json("result.json", result)
    return run


def load(workspace: Workspace) -> Comparison:
    return compare(records.load(workspace, ["run-a", "run-b"], None))


def test_compare_of_stored_runs_omits_equal_settings_and_results(workspace: Workspace) -> None:
    _stored(workspace, "run-a", 20)
    _stored(workspace, "run-b", 30, settings={"executors": 5})
    found = load(workspace)
    assert [row.name for row in found.settings] == ["executors"]
    keys = {row.key for row in found.figures}
    assert "result.accuracy" in keys
    assert not {"result.rows", "result.arguments.x"} & keys
    row = found.row("duration_s")
    assert row is not None
    assert row.ratios[1] is not None
    assert row.ratios[1].value == pytest.approx(1.5)


def test_load_treats_cluster_as_a_setting(workspace: Workspace) -> None:
    _stored(workspace, "run-a", 20)
    _stored(workspace, "run-b", 30, cluster=replace(FACTS, core_count=4))
    found = load(workspace)
    assert [row.name for row in found.settings] == ["cluster.core"]


def test_load_treats_code_and_environment_as_settings(workspace: Workspace) -> None:
    for run_id, digest, folder in (("run-a", "1", "x"), ("run-b", "2", "y")):
        code = f"s3://{run_id}/code/{digest}/job.py"
        _stored(workspace, run_id, 20, code=(code,), environment={"DATA": folder})
    found = load(workspace)
    assert {row.name: row.values for row in found.settings} == {
        "code": ("1/job.py", "2/job.py"),
        "env.DATA": ("x", "y"),
    }


def _with_properties(workspace: Workspace, run_id: str, **changes: str) -> None:
    _stored(workspace, run_id, 20, settings={"executors": 2})
    environment = {
        "spark.executor.instances": "2",
        "spark.app.id": run_id,
        "spark.driver.host": f"ip-10-0-0-{len(run_id)}",
        "spark.driver.extraJavaOptions": f"-XX:+UseG1GC -Djava.io.tmpdir=/tmp/{run_id}",
        "spark.yarn.tags": f"emrctl-{run_id}",
        "spark.memory.offHeap.enabled": "false",
    }
    changed = {name.replace("_", "."): value for name, value in changes.items()}
    metrics = RunMetrics(environment={**environment, **changed})
    workspace.store.files(run_id).write_json("metrics.json", metrics.to_json())


def test_compare_groups_runs_by_every_spark_property_in_effect(workspace: Workspace) -> None:
    _with_properties(workspace, "run-a")
    _with_properties(workspace, "run-b", spark_memory_offHeap_enabled="true")
    _with_properties(workspace, "run-c")
    _stored(workspace, "run-d", 20, settings={"executors": 2}, state="FAILED")  # without metrics
    names = ["run-d", "run-a", "run-b", "run-c"]
    found = compare(records.load(workspace, names, None))
    assert [[item.id for item in one.records] for one in found.configurations] == [
        ["run-a", "run-c", "run-d"],
        ["run-b"],
    ]
    [row] = found.settings
    assert (row.name, row.values) == ("conf.spark.memory.offHeap.enabled", ("false", "true"))


def test_compare_omits_properties_that_follow_from_the_release(workspace: Workspace) -> None:
    _with_properties(workspace, "run-a")
    _with_properties(workspace, "run-b", spark_memory_offHeap_enabled="true")
    run = workspace.store.load("run-b")
    other = replace(
        run,
        id="run-c",
        cluster=replace(FACTS, release="emr-7.9.0"),
        arguments=("--output", "s3://b/runs/run-c/output"),
    )
    workspace.store.save(other)
    metrics = workspace.store.files("run-b").read_json("metrics.json")
    workspace.store.files("run-c").write_json("metrics.json", metrics or {})
    found = compare(records.load(workspace, ["run-a", "run-c"], None))
    assert [row.name for row in found.settings] == ["cluster.release"]


def test_compare_omits_properties_of_configurations_without_metrics(workspace: Workspace) -> None:
    _with_properties(workspace, "run-a")
    _stored(workspace, "run-b", 20, settings={"executors": 3})
    assert [row.name for row in load(workspace).settings] == ["executors"]


def test_load_requires_runs_or_an_experiment(workspace: Workspace) -> None:
    for names, experiment in (([], None), (["run-a"], "grid")):
        with pytest.raises(UsageError, match="either runs or --experiment"):
            records.load(workspace, names, experiment)
    with pytest.raises(NotFoundError):
        records.load(workspace, [], "grid")


def of(key: str, record: RunRecord) -> float | None:
    [figure] = [figure for figure in records.FIGURES if figure.key == key]
    return figure.of(record)


def test_figures_are_computed_from_the_metrics() -> None:
    worker = ExecutorMetrics(
        id="1", cores=4, added_ms=0, removed_ms=10_000, task_time_ms=15_000, complete_tasks=9
    )
    other = replace(worker, id="2", task_time_ms=5_000, complete_tasks=3)
    metrics = RunMetrics(
        start_ms=0,
        end_ms=20_000,
        duration_ms=20_000,
        executors=(ExecutorMetrics(id="driver", cores=8), worker, other),
        stages=(StageMetrics(id=0, result_bytes=30), StageMetrics(id=1, result_bytes=12)),
        executor_run_time_ms=16_000,
        jvm_gc_time_ms=4_000,
        input_bytes=77,
        yarn=ApplicationAccount(application_id="a", state="FINISHED", memory_mb_seconds=5),
    )
    expected = {
        "application_s": 20,
        "cores": 8,
        "task_time_s": 20,
        "gc_time_s": 4,
        "gc_percent": 25,
        "busy_percent": 25,  # 20 s of 2 x 4 slots for 10 s
        "imbalance": 1.5,  # 9 of 12 tasks on one of two
        "input_bytes": 77,
        "result_bytes": 42,
        "yarn_memory_mb_s": 5,
        "yarn_vcore_s": None,
        "yarn_containers": 3,  # two executors and the master
    }
    record = RunRecord(id="a", metrics=metrics)
    assert {key: of(key, record) for key in expected} == expected
    counted = ApplicationAccount(application_id="a", state="FINISHED", containers=7)
    assert of("yarn_containers", RunRecord(id="a", metrics=RunMetrics(yarn=counted))) == 7


def test_figures_that_are_not_measured_are_none() -> None:
    names = ("application_s", "gc_percent", "busy_percent", "imbalance", "result_bytes")
    empty = RunRecord(id="a", metrics=RunMetrics())
    assert [of(key, empty) for key in (*names, "yarn_containers")] == [None] * 6
    assert [of(key, RunRecord(id="a")) for key in names] == [None] * 5


@pytest.mark.parametrize(
    ("text", "at"),
    [(None, 0), ("", 0), ("two", 1), ("r-3", 2), ("-3", 2), ("x=2", 1), ("x=2, y=b", 2)],
)
def test_find_reference_takes_label_settings_or_id(text: str | None, at: int) -> None:
    rows = [
        RunRecord(id="r-1", label="one", settings={"x": 1}),
        RunRecord(id="r-2", label="two", settings={"x": 2}),
        RunRecord(id="r-3", settings={"x": 2, "y": "b"}),
    ]
    assert records.find_reference(rows, text) == at


def test_find_reference_names_up_to_five_configurations() -> None:
    rows = [RunRecord(id=f"r-{number}") for number in range(6)]
    for count, end in ((5, "r-4."), (6, "r-4, ….")):
        with pytest.raises(NotFoundError) as caught:
            records.find_reference(rows[:count], "none")
        assert caught.value.hint.startswith("There are r-0, ")
        assert caught.value.hint.endswith(end)


def test_result_figures_are_up_to_24_that_differ_and_accuracies() -> None:
    one = {"accuracy": 0.5, "same": 1, "deep": {"x": 1.0}, "flag": True}
    both = tuple(RunRecord(id=str(n), result={**one, "deep": {"x": n}}) for n in range(2))
    found = records.result_figures(both)
    assert [figure.key for figure in found] == ["result.accuracy", "result.deep.x"]
    assert [figure.of(both[1]) for figure in found] == [0.5, 1]
    many = tuple(RunRecord(id=str(n), result={f"x{k}": n for k in range(30)}) for n in range(2))
    assert len(records.result_figures(many)) == 24


def test_configuration_of_runs_in_different_states_counts_the_completed_ones() -> None:
    rows = tuple(RunRecord(id=state, state=state) for state in ("COMPLETED", "FAILED", "FAILED"))
    assert Configuration("a", rows).state == "1 of 3 COMPLETED"
    assert Configuration("a", rows[1:]).state == "FAILED"
