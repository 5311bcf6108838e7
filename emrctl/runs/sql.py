"""The store of runs as tables for SQL: runs, stages, executors and findings, read-only.

The tables are made anew for each question, in memory; the question itself reaches no file and no
network.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emrctl.errors import UsageError
from emrctl.metrics import tables, timeline
from emrctl.metrics.findings import rules
from emrctl.metrics.model import RunMetrics

if TYPE_CHECKING:
    from emrctl.runs.store import Run, Store

Row = dict[str, Any]
_KINDS: Mapping[type, str] = {int: "BIGINT", str: "VARCHAR", bool: "BOOLEAN"}
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
    **dict.fromkeys(("run", "kind", "severity", "evidence", "advice"), "VARCHAR"),
    "seconds": "DOUBLE",
    **dict.fromkeys(("stages", "figures", "settings"), "JSON"),
}
# Readers of a store on S3 mostly wait.
_READERS = 8


@dataclass(frozen=True)
class Answer:
    """What a question was answered with."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


def columns() -> dict[str, dict[str, str]]:
    """The tables' columns and their types."""
    return {
        "runs": {**_RUN, **_of("runs")},
        "stages": {"run": "VARCHAR", **_of("stages")},
        "executors": {"run": "VARCHAR", "lifetime_s": "DOUBLE", **_of("executors")},
        "findings": dict(_FINDING),
    }


def _of(name: str) -> dict[str, str]:
    return {column: _KINDS[kind] for column, kind in tables.columns(name).items()}


def ask(store: Store, sql: str) -> Answer:
    """The answer to `sql`, one SELECT; `UsageError` where it is none or has a fault."""
    import duckdb

    with duckdb.connect(":memory:") as database:
        _check(database, sql)
        _load(database, store)
        database.execute("SET enable_external_access = false")
        database.execute("SET lock_configuration = true")
        try:
            found = database.execute(sql)
            return Answer(
                tuple(column[0] for column in found.description or ()), tuple(found.fetchall())
            )
        except duckdb.Error as error:
            raise _refused(str(error)) from error


def _check(database: Any, sql: str) -> None:
    import duckdb

    try:
        kinds = [statement.type for statement in database.extract_statements(sql)]
    except duckdb.Error as error:
        raise _refused(str(error)) from error
    if len(kinds) != 1 or kinds[0] not in {
        duckdb.StatementType.SELECT,
        duckdb.StatementType.EXPLAIN,
    }:
        raise UsageError("a query is one SELECT", hint="The store is only read.")


def _refused(message: str) -> UsageError:
    hint = f"Tables are {', '.join(columns())}; `describe runs` shows columns."
    return UsageError(message.strip(), hint=hint)


def _load(database: Any, store: Store) -> None:
    """The tables are there, filled."""
    with tempfile.TemporaryDirectory(prefix="emrctl-") as folder:
        files = {name: Path(folder) / f"{name}.jsonl" for name in columns()}
        streams = {name: path.open("w", encoding="utf-8") for name, path in files.items()}
        for name, row in _rows(store):
            streams[name].write(json.dumps(row, default=str) + "\n")
        for stream in streams.values():
            stream.close()
        for name, kinds in columns().items():
            _create(database, name, kinds, files[name])


def _create(database: Any, name: str, kinds: Mapping[str, str], path: Path) -> None:
    typed = ", ".join(f"\"{column}\": '{kind}'" for column, kind in kinds.items())
    place = str(path).replace("'", "''")
    options = f"format = 'newline_delimited', columns = {{{typed}}}, maximum_object_size = 1 << 28"
    # Names of tables and columns are ours, and so is the file's.
    database.execute(f"CREATE TABLE {name} AS FROM read_json('{place}', {options})")


def _rows(store: Store) -> Iterator[tuple[str, Row]]:
    """Every row with the name of its table."""
    runs = store.all()
    with ThreadPoolExecutor(_READERS) as readers:
        documents = readers.map(lambda run: _documents(store, run), runs)
        for run, (metrics, result) in zip(runs, documents, strict=True):
            yield from _run_rows(run, metrics, result)


def _documents(store: Store, run: Run) -> tuple[Row | None, Row | None]:
    return store.get_json(run.id, "metrics.json"), store.get_json(run.id, "result.json")


def _run_rows(run: Run, document: Row | None, result: Row | None) -> Iterator[tuple[str, Row]]:
    metrics = RunMetrics() if document is None else RunMetrics.from_json(document)
    yield "runs", _run(run, metrics, result)
    if document is None:
        return
    for stage in metrics.stages:
        yield "stages", _owned(run, metrics, tables.flat(stage.to_json()))
    for row in metrics.executors:
        life = {"lifetime_s": timeline.lifetime_s(row, metrics)}
        yield "executors", _owned(run, metrics, tables.flat(row.to_json())) | life
    for found in rules.diagnose(metrics):
        yield "findings", {"run": run.id, **found.to_json()}


def _owned(run: Run, metrics: RunMetrics, row: Row) -> Row:
    owner = {"run": run.id, "app_id": metrics.app_id, "app_attempt": metrics.app_attempt}
    return _bounded({**owner, **row})


def _run(run: Run, metrics: RunMetrics, result: Row | None) -> Row:
    facts, trial, yarn = run.cluster, run.trial, metrics.yarn
    own = {name: item for name, item in asdict(run).items() if name in _RUN}
    return _bounded(tables.flat(metrics.to_json()) | own) | {
        "run": run.id,
        "duration_s": run.duration_s,
        "cost_usd": run.cost_usd,
        "hourly_usd": facts.hourly_usd,
        "cluster": facts.name,
        "cluster_id": facts.id,
        "release": facts.release,
        "primary_type": facts.primary_type,
        "core_type": facts.core_type,
        "core_count": facts.core_count,
        "experiment": trial.experiment if trial else None,
        "cell": trial.cell if trial else None,
        "repeat": trial.repeat if trial else None,
        "result": result,
        "environment": dict(metrics.environment),
        "yarn_memory_mb_seconds": yarn.memory_mb_seconds if yarn else None,
        "yarn_containers": yarn.containers if yarn else None,
        "yarn_preempted": yarn.preempted if yarn else None,
        "yarn_diagnostics": yarn.diagnostics if yarn else None,
    }


def _bounded(row: Row) -> Row:
    """The row without numbers that only a damaged log has."""
    wide = {name for name, item in row.items() if isinstance(item, int) and item.bit_length() > 63}
    return {name: None if name in wide else item for name, item in row.items()}


def to_json(answer: Answer) -> list[Row]:
    """Rows as objects."""
    return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]


def to_csv(answer: Answer) -> str:
    """A header and a line for each row."""
    import csv
    import io

    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(answer.columns)
    writer.writerows(answer.rows)
    return out.getvalue()


def cells(rows: Iterable[tuple[Any, ...]]) -> list[tuple[str, ...]]:
    """Rows as texts for a table."""
    return [tuple(_cell(item) for item in row) for row in rows]


def _cell(item: Any) -> str:
    if item is None:
        return ""
    if isinstance(item, float):
        return f"{item:,.4g}" if abs(item) < 1000 else f"{item:,.1f}"
    text = str(item).lower() if isinstance(item, bool) else str(item)
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
