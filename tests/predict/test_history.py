"""Runs in the store as sources of predictions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emrctl.predict import history
from emrctl.runs.record import Run
from emrctl.runs.storage import LocalStorage
from emrctl.runs.store import RunFiles, Store
from emrctl.runs.workspace import Workspace
from emrctl.spec import ProjectSpec
from emrctl.spec.config import Config
from tests.facts import FACTS, RUN
from tests.predict.logs import one_stage

REGION = "us-east-1"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(LocalStorage(tmp_path / "store"))


def stored(store: Store, folder: Path, name: str, executors: int, **changes: Any) -> Run:
    """Store a completed run of 32 tasks of 1 s with its event log."""
    run_id = f"20261120-100000000-svm-{name}"
    facts: dict[str, Any] = {
        "state": "COMPLETED",
        "settings": {"executors": executors, "executor_cores": 1},
        "arguments": ("--output", f"s3://b/runs/{run_id}/output"),
    }
    run = replace(RUN, id=run_id, **{**facts, **changes})
    store.save(run)
    log = one_stage([1.0] * 32, executors=(0.0,) * executors).write(folder / "log")
    store.files(run_id).write("app-1", log.read_bytes(), RunFiles.EVENT_LOG)
    return run


def test_measured_runs_are_those_of_the_same_work(store: Store, tmp_path: Path) -> None:
    run = stored(store, tmp_path, "a001", 1)
    stored(store, tmp_path, "a002", 2)
    stored(store, tmp_path, "a003", 4)
    stored(store, tmp_path, "a004", 4, job="svm", state="FAILED")
    stored(store, tmp_path, "a005", 8, arguments=("--rows", "5"))
    stored(store, tmp_path, "a006", 8, settings={"executors": 8, "executor_cores": 2})
    stored(store, tmp_path, "a007", 8, cluster=replace(FACTS, core_type="r5.xlarge"))
    stored(store, tmp_path, "a008", 8, code=("other.zip",))
    measured = history.measured_in_job_s(store, run)
    assert measured == {
        2: pytest.approx([16.0]),
        4: pytest.approx([8.0]),
    }


def test_runs_without_event_log_are_ignored(store: Store, tmp_path: Path) -> None:
    run = stored(store, tmp_path, "a001", 1)
    other = stored(store, tmp_path, "a002", 2)
    store.files(other.id).delete("app-1", RunFiles.EVENT_LOG)
    assert history.measured_in_job_s(store, run) == {}


def test_price_keeps_the_cluster_up_to_the_observed_count_and_then_adds_nodes() -> None:
    price = history.price(FACTS, REGION, 4, (1, 4, 6, 8))
    hourly_usd = price.hourly_usd
    assert hourly_usd[1] == hourly_usd[4] == FACTS.hourly_usd
    # Two nodes for four executors: a third one for six, a fourth for eight.
    one_node_usd = hourly_usd[6] - hourly_usd[4]
    assert one_node_usd > 0.19  # m5.xlarge with EMR's fee
    assert hourly_usd[8] - hourly_usd[4] == pytest.approx(2 * one_node_usd)
    assert "up to 4 executors" in price.assumption


def test_price_of_a_cluster_without_price_is_unknown() -> None:
    price = history.price(replace(FACTS, hourly_usd=0.0), REGION, 4, (1, 4))
    assert price.hourly_usd == {}


def test_prediction_of_a_stored_run_has_cost_and_is_corrected(tmp_path: Path) -> None:
    workspace = Workspace(Config(ProjectSpec(project="pets"), tmp_path, {}))
    run = stored(workspace.store, tmp_path, "a001", 1)
    stored(workspace.store, tmp_path, "a002", 2)
    result = history.predict_run(workspace, run, (1, 2, 4))
    one, two, four = result.points
    assert two.predicted_in_job_s == pytest.approx(16)
    assert one.cost_usd == pytest.approx(FACTS.hourly_usd * one.predicted_wall_s / 3600)
    assert four.cost_usd is not None
    assert result.observed.executors == 1
    assert any("measured runs with 1, 2 executors" in note for note in result.notes)
    assert any(note.startswith("cost:") for note in result.notes)
