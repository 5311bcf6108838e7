"""Columns and rows of the tables of SQL queries: runs, stages, executors and findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from emrctl.metrics import findings, tables, timeline
from emrctl.metrics.model import RunMetrics
from emrctl.runs.record import Run
from emrctl.runs.sql_index import Row

_TYPES: Mapping[type, str] = {int: "BIGINT", str: "VARCHAR", bool: "BOOLEAN"}
_RUN = {
    **dict.fromkeys(("run", "job", "project", "target", "state", "application_id"), "VARCHAR"),
    **dict.fromkeys(("created", "started", "ended"), "TIMESTAMP"),
    **dict.fromkeys(("duration_s", "cost_usd", "hourly_usd"), "DOUBLE"),
    **dict.fromkeys(("cluster", "cluster_id", "release", "primary_type", "core_type"), "VARCHAR"),
    "core_count": "BIGINT",
    **dict.fromkeys(("experiment", "cell"), "VARCHAR"),
    "repeat": "BIGINT",
    "failure": "VARCHAR",
    **dict.fromkeys(("settings", "tags", "arguments", "result", "environment"), "JSON"),
    **dict.fromkeys(("yarn_memory_mb_seconds", "yarn_containers", "yarn_preempted"), "BIGINT"),
    "yarn_diagnostics": "VARCHAR",
}
_FINDING = {
    **dict.fromkeys(("run", "kind", "severity", "confidence", "evidence", "advice"), "VARCHAR"),
    "seconds": "DOUBLE",
    **dict.fromkeys(("stages", "figures", "settings"), "JSON"),
}


def columns() -> dict[str, dict[str, str]]:
    """Return the columns of each table with their types."""
    return {
        "runs": {**_RUN, **_record_columns("runs")},
        "stages": {"run": "VARCHAR", **_record_columns("stages")},
        "executors": {"run": "VARCHAR", "lifetime_s": "DOUBLE", **_record_columns("executors")},
        "findings": dict(_FINDING),
    }


def _record_columns(name: str) -> dict[str, str]:
    return {column: _TYPES[type_] for column, type_ in tables.columns(name).items()}


def facts(run: Run, metrics: RunMetrics | None, result: Row | None) -> dict[str, list[Row]]:
    """Return the rows of the tables runs, stages and executors."""
    found = metrics or RunMetrics()
    stages = [tables.flat(stage.to_json()) for stage in found.stages]
    executors = [
        {"lifetime_s": timeline.lifetime_s(row, found), **tables.flat(row.to_json())}
        for row in found.executors
    ]
    owner = {"run": run.id, "app_id": found.app_id, "app_attempt": found.app_attempt}
    rows = {
        "runs": [_run(run, found, result)],
        "stages": [{**owner, **row} for row in stages],
        "executors": [{**owner, **row} for row in executors],
    }
    return {name: list(map(tables.without_large_numbers, found)) for name, found in rows.items()}


def findings_of(
    run: Run, metrics: RunMetrics | None, limits: Mapping[str, float] | None
) -> dict[str, list[Row]]:
    """Return the rows of the table findings; `limits` override thresholds."""
    found = () if metrics is None else findings.diagnose(metrics, limits)
    rows = ({"run": run.id, **finding.to_json()} for finding in found)
    return {"findings": list(map(tables.without_large_numbers, rows))}


def _run(run: Run, metrics: RunMetrics, result: Row | None) -> Row:
    accounted = ("memory_mb_seconds", "containers", "preempted", "diagnostics")
    return {
        **tables.flat(metrics.to_json()),
        **asdict(run.cluster),
        **(asdict(run.trial) if run.trial else {}),
        **asdict(run),
        "run": run.id,
        "duration_s": run.duration_s,
        "cost_usd": run.cost_usd,
        "cluster": run.cluster.name,
        "cluster_id": run.cluster.id,
        "result": result,
        "environment": dict(metrics.environment),
        **{f"yarn_{name}": getattr(metrics.yarn, name, None) for name in accounted},
    }
