"""Every declared figure agrees with the records, the event log and the exported tables."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from emrctl.compare.records import FIGURES as COMPARED
from emrctl.metrics import tables
from emrctl.metrics.eventlog import reader
from emrctl.metrics.eventlog.layout import EventLogFile
from emrctl.metrics.model import ExecutorMetrics, Straggler, TaskMetrics
from emrctl.metrics.task_figures import FIGURES, RUN_NAMES, TaskFigure

MS = 1_000_000
FIGURE = pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)


def task_end(task: int, figure: TaskFigure) -> dict[str, Any]:
    """A successful task of 600 s, the others take 1 s; each key of the figure is 1 or 10^6."""
    values: dict[str, Any] = dict.fromkeys(figure.sources, 1 if task else MS)
    took_ms = 1_000 if task else 600_000
    info = {"Task ID": task, "Executor ID": "1", "Launch Time": 0, "Finish Time": took_ms}
    return {
        "Event": "SparkListenerTaskEnd",
        "Stage ID": 0,
        "Task End Reason": {"Reason": "Success"},
        "Task Info": info,
        "Task Metrics": {figure.group: values} if figure.group else values,
    }


@FIGURE
def test_figure_is_read_summed_and_shown_as_declared(figure: TaskFigure) -> None:
    rows: list[TaskMetrics] = []
    log = b"\n".join(json.dumps(task_end(task, figure)).encode() for task in range(5))
    file = EventLogFile("app-1", lambda: io.BytesIO(log))
    run = reader.read_log([file], on_task=rows.append)
    stage, executor, keys = run.stages[0], run.executors[0], len(figure.sources)
    assert [getattr(row, figure.name) for row in rows] == [keys * MS, *[keys] * 4]
    assert getattr(stage, figure.name) == keys * (MS + 4)
    assert hasattr(run, figure.name) == (figure.name in RUN_NAMES)
    assert getattr(run, figure.name, keys * (MS + 4)) == keys * (MS + 4)
    quantiles = getattr(stage, f"{figure.name}_quantiles", None)
    assert (quantiles is not None) == figure.quantiles
    assert quantiles is None or (quantiles.median, quantiles.max) == (keys, keys * MS)
    if figure.executor:
        assert getattr(executor, figure.executor) == keys * (MS + 4)
    if figure.straggler:
        expected = keys if figure.name.endswith("_ns") else keys * MS
        assert getattr(stage.stragglers[0], figure.straggler) == expected


@FIGURE
def test_figure_is_a_column_of_every_table_that_has_it(figure: TaskFigure) -> None:
    assert tables.columns("tasks")[figure.name] is int
    assert tables.columns("stages")[figure.name] is int
    assert (figure.name in tables.columns("runs")) == (figure.name in RUN_NAMES)
    assert f"{figure.name}_quantiles_median" in tables.columns("stages") or not figure.quantiles
    assert not figure.compared or figure.compared in {item.key for item in COMPARED}


def test_executor_and_straggler_fields_exist() -> None:
    executors = {figure.executor for figure in FIGURES} - {""}
    stragglers = {figure.straggler for figure in FIGURES} - {""}
    assert executors <= set(ExecutorMetrics.field_names())
    assert {*Straggler.field_names()} == stragglers | {"task", "executor", "duration_ms"}
