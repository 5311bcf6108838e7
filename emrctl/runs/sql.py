"""SQL queries of the store of runs: tables runs, stages, executors and findings.

Each query loads the tables into memory. It cannot access files or the network.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from emrctl.errors import UsageError
from emrctl.metrics import findings, tables, timeline
from emrctl.metrics.model import RunMetrics
from emrctl.runs.record import Run
from emrctl.runs.store import RunFiles, Store

Row = dict[str, Any]
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
# Reads from S3 mostly wait.
_READ_THREADS = 8


@dataclass(frozen=True)
class QueryResult:
    """Column names and rows of a query."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


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


def query(store: Store, sql: str, limits: Mapping[str, float] | None = None) -> QueryResult:
    """Return the result of one SELECT; `UsageError` if `sql` is invalid or something else.

    `limits` override thresholds of findings.
    """
    import duckdb

    with duckdb.connect(":memory:") as database:
        try:
            types = [statement.type for statement in database.extract_statements(sql)]
        except duckdb.Error as error:
            raise _query_error(error) from error
        allowed = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
        if len(types) != 1 or types[0] not in allowed:
            raise UsageError("the query is not one SELECT", hint="The store is read-only.")
        _load(database, store, limits)
        database.execute("SET enable_external_access = false")
        database.execute("SET lock_configuration = true")
        try:
            cursor = database.execute(sql)
            names = tuple(column[0] for column in cursor.description or ())
            return QueryResult(names, tuple(cursor.fetchall()))
        except duckdb.Error as error:
            raise _query_error(error) from error


def _query_error(error: Exception) -> UsageError:
    hint = f"Tables are {', '.join(columns())}; `describe runs` lists columns."
    return UsageError(str(error).strip(), hint=hint)


def _load(database: Any, store: Store, limits: Mapping[str, float] | None) -> None:
    with tempfile.TemporaryDirectory(prefix="emrctl-") as folder:
        files = {name: Path(folder) / f"{name}.jsonl" for name in columns()}
        streams = {name: path.open("w", encoding="utf-8") for name, path in files.items()}
        for name, row in _rows(store, limits):
            streams[name].write(json.dumps(row, default=str) + "\n")
        for stream in streams.values():
            stream.close()
        for name, types in columns().items():
            _create(database, name, types, files[name])


def _create(database: Any, name: str, types: Mapping[str, str], path: Path) -> None:
    typed = ", ".join(f"\"{column}\": '{type_}'" for column, type_ in types.items())
    source = str(path).replace("'", "''")
    options = f"format = 'newline_delimited', columns = {{{typed}}}, maximum_object_size = 1 << 28"
    # No part of the statement is user input.
    database.execute(f"CREATE TABLE {name} AS FROM read_json('{source}', {options})")


def _rows(store: Store, limits: Mapping[str, float] | None) -> Iterator[tuple[str, Row]]:
    """Yield every row with the name of its table."""
    runs = store.all()
    with ThreadPoolExecutor(_READ_THREADS) as readers:
        documents = readers.map(lambda run: _documents(store, run), runs)
        for run, (metrics, result) in zip(runs, documents, strict=True):
            yield from _run_rows(run, metrics, result, limits)


def _documents(store: Store, run: Run) -> tuple[Row | None, Row | None]:
    files = store.files(run.id)
    return files.read_json(RunFiles.METRICS), files.read_json(RunFiles.RESULT)


def _run_rows(
    run: Run, document: Row | None, result: Row | None, limits: Mapping[str, float] | None
) -> Iterator[tuple[str, Row]]:
    metrics = RunMetrics() if document is None else RunMetrics.from_json(document)
    yield "runs", _run(run, metrics, result)
    if document is None:
        return
    for stage in metrics.stages:
        yield "stages", _owned(run, metrics, tables.flat(stage.to_json()))
    for row in metrics.executors:
        life = {"lifetime_s": timeline.lifetime_s(row, metrics)}
        yield "executors", _owned(run, metrics, tables.flat(row.to_json())) | life
    for finding in findings.diagnose(metrics, limits):
        yield "findings", {"run": run.id, **finding.to_json()}


def _owned(run: Run, metrics: RunMetrics, row: Row) -> Row:
    owner = {"run": run.id, "app_id": metrics.app_id, "app_attempt": metrics.app_attempt}
    return tables.without_large_numbers({**owner, **row})


def _run(run: Run, metrics: RunMetrics, result: Row | None) -> Row:
    accounted = ("memory_mb_seconds", "containers", "preempted", "diagnostics")
    return {
        **tables.without_large_numbers(tables.flat(metrics.to_json())),
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


def to_json(result: QueryResult) -> list[Row]:
    """Return the rows as objects."""
    return [dict(zip(result.columns, row, strict=True)) for row in result.rows]


def to_csv(result: QueryResult) -> str:
    """Return the rows as CSV with a header."""
    import csv
    import io

    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(result.columns)
    writer.writerows(result.rows)
    return out.getvalue()


def cells(rows: Iterable[tuple[Any, ...]]) -> list[tuple[str, ...]]:
    """Return the rows as texts for a table."""
    return [tuple(_cell(item) for item in row) for row in rows]


def _cell(item: Any) -> str:
    if item is None:
        return ""
    if isinstance(item, float):
        return f"{item:,.4g}" if abs(item) < 1000 else f"{item:,.1f}"
    text = str(item).lower() if isinstance(item, bool) else str(item)
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
