"""Records of metrics: what a source does not report, and figures that are derived."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from emrctl.metrics import model
from emrctl.metrics.model import ExecutorMetrics, NodeAccount, RunMetrics, StageMetrics

REQUIRED: dict[type[Any], dict[str, Any]] = {
    model.Straggler: {"task": 7},
    model.StageMetrics: {"id": 7},
    model.ExecutorMetrics: {"id": "7"},
    model.SqlOperator: {"name": "Scan"},
    model.SqlMetrics: {"id": 7},
    model.CachedRdd: {"rdd": 7},
    model.Reuse: {"rdd": 7},
    model.TaskMetrics: {
        "stage": 7,
        "id": 7,
        "launched_ms": 7,
        "finished_ms": 7,
        "duration_ms": 7,
    },
    model.JobMetrics: {"id": 7, "submitted_ms": 7},
    model.ApplicationAccount: {"application_id": "7", "state": "RUNNING"},
    model.NodeAccount: {"id": "7", "state": "RUNNING"},
    model.QueueAccount: {"name": "default"},
    model.ClusterAccount: {},
    model.RunMetrics: {},
}


@pytest.mark.parametrize("record", REQUIRED, ids=lambda record: record.__name__)
def test_figures_that_are_not_reported_are_zero_or_none(record: type[Any]) -> None:
    """Sums over records must not change by a record without the figure."""
    empty = record(**REQUIRED[record])
    for item in dataclasses.fields(record):
        value = getattr(empty, item.name)
        if item.name not in REQUIRED[record] and not isinstance(value, bool | str):
            assert value is None or value == 0 or len(value) == 0, item.name


def test_records_cannot_be_changed() -> None:
    """Readers share them, for example the index of the store."""
    for record, values in REQUIRED.items():
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(record(**values), dataclasses.fields(record)[0].name, None)


def test_new_stage_and_executor_are_active() -> None:
    assert StageMetrics(id=0).status == "ACTIVE"
    assert ExecutorMetrics(id="1").active
    assert not ExecutorMetrics(id="1").excluded
    assert not RunMetrics().complete


@pytest.mark.parametrize(("name", "driver"), [("driver", True), ("<driver>", True), ("1", False)])
def test_is_driver_knows_names_of_all_versions(name: str, driver: bool) -> None:
    assert ExecutorMetrics(id=name).is_driver is driver


def test_busy_rows_are_executors_or_else_the_driver() -> None:
    driver, worker = (ExecutorMetrics(id=name, task_time_ms=3) for name in ("driver", "1"))
    assert RunMetrics(executors=(driver, worker)).busy_rows == (worker,)
    assert RunMetrics(executors=(driver,)).busy_rows == (driver,)
    assert RunMetrics(executors=(driver, worker)).task_time_ms == 6


def test_node_account_adds_used_and_available() -> None:
    node = NodeAccount(
        id="a",
        state="RUNNING",
        memory_used_mb=3,
        memory_available_mb=4,
        vcores_used=5,
        vcores_available=8,
    )
    assert (node.memory_total_mb, node.vcores_total) == (7, 13)


def test_node_account_prefers_containers_to_the_machine() -> None:
    machine = NodeAccount(id="a", state="RUNNING", cpu_used_cores=2.5, physical_memory_used_mb=900)
    assert (machine.cpu_cores, machine.physical_mb) == (2.5, 900)
    idle = dataclasses.replace(machine, containers_cpu_cores=0.0, containers_memory_mb=0)
    assert (idle.cpu_cores, idle.physical_mb) == (0.0, 0)
