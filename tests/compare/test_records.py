"""Comparisons of stored runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from emrctl.compare import records
from emrctl.compare.comparison import Comparison, compare
from emrctl.errors import NotFoundError, UsageError
from emrctl.metrics.model import RunMetrics
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
