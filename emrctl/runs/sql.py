"""SQL queries of the store of runs: tables runs, stages, executors and findings.

The rows of finished runs are in an index, see `sql_index`. A query cannot access other files or the
network.
"""

from __future__ import annotations

import functools
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emrctl import paths
from emrctl.errors import DamagedFileError, UsageError
from emrctl.runs.checksums import quoted
from emrctl.runs.record import Run
from emrctl.runs.sql_index import Columns, Row, RunRows, TableIndex
from emrctl.runs.storage import LocalStorage, Version
from emrctl.runs.store import RunFiles, Store

# Returns the rows of a run by table, from its metrics and files.
_RowsOf = Callable[[Run, Any, RunFiles], Mapping[str, Sequence[Row]]]
_FACTS, _FINDINGS = ("runs", "stages", "executors"), ("findings",)


@dataclass(frozen=True)
class QueryResult:
    """Column names and rows of a query."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


def query(store: Store, sql: str, limits: Callable[[], Mapping[str, float]] = dict) -> QueryResult:
    """Return the result of one SELECT; `UsageError` if `sql` is invalid or something else.

    `limits` returns the thresholds of findings to override; it is called for a query of findings.
    Only the tables that `sql` names are filled.
    """
    import duckdb

    folder = index_folder(store)
    for attempt in range(2):
        with duckdb.connect(":memory:") as database:
            _check_statement(database, sql)
            try:
                return _run(_Tables(database, store, folder, limits), sql)
            except duckdb.Error as error:
                text = str(error).lower()
                damaged = str(folder).lower() in text or "parquet" in text or "zstd" in text
                if attempt or not damaged or "parquet" in sql.lower():
                    raise _query_error(error) from error
        shutil.rmtree(folder, ignore_errors=True)
    raise AssertionError  # the second attempt returns or raises


def _check_statement(database: Any, sql: str) -> None:
    import duckdb

    try:
        types = [statement.type for statement in database.extract_statements(sql)]
    except duckdb.Error as error:
        raise _query_error(error) from error
    allowed = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
    if len(types) != 1 or types[0] not in allowed:
        raise UsageError("the query is not one SELECT", hint="The store is read-only.")


def _run(tables: _Tables, sql: str) -> QueryResult:
    """Run a query that can access the files of the index only."""
    database = tables.database
    tables.open(sql)
    database.execute(f"SET allowed_directories = [{quoted(f'{tables.folder}/')}]")
    database.execute("SET enable_external_access = false")
    database.execute("SET lock_configuration = true")
    cursor = database.execute(sql)
    names = tuple(column[0] for column in cursor.description or ())
    return QueryResult(names, tuple(cursor.fetchall()))


def index_folder(store: Store) -> Path:
    """Return the folder of the index: beside the runs, or for a bucket in the user's cache."""
    storage = store.storage
    if isinstance(storage, LocalStorage):
        return storage.path / ".tables"
    return paths.cache() / "tables" / storage.bucket


def _query_error(error: Exception) -> UsageError:
    hint = f"Tables are {', '.join((*_FACTS, *_FINDINGS))}; `describe runs` lists columns."
    return UsageError(str(error).strip(), hint=hint)


@dataclass(frozen=True)
class _Tables:
    """The tables of a query: where their rows come from, and where their index is."""

    database: Any
    store: Store
    folder: Path
    limits: Callable[[], Mapping[str, float]]

    def open(self, sql: str) -> None:
        """Create the tables; those that the query does not name stay empty."""
        named, versions = set(re.findall(r"\w+", sql.lower())), dict[str, Version]()
        if not named.isdisjoint((*_FACTS, *_FINDINGS)):
            versions = self.store.storage.versions(RunFiles.RECORD)
        facts = self._index(_FACTS)
        if named.isdisjoint(_FACTS):
            facts.create_empty()
        else:
            facts.open(versions, self._read_facts)
        if named.isdisjoint(_FINDINGS):
            self._index(_FINDINGS).create_empty()
        else:
            limits = self.limits()
            found = self._index(_FINDINGS, repr(sorted(limits.items())))
            found.open(versions, functools.partial(self._read_findings, limits))

    def _index(self, names: Sequence[str], depends: str = "") -> TableIndex:
        """Return the index of tables; `depends` is what their rows depend on besides the files."""

        def columns() -> Columns:
            from emrctl.runs import sql_rows

            every = sql_rows.columns()
            return {name: every[name] for name in names}

        return TableIndex(
            database=self.database,
            folder=self.folder / names[0],
            code=_code_version(),
            depends=depends,
            columns=columns,
            reject=self._reject,
        )

    def _read_facts(self, run_ids: Sequence[str]) -> list[RunRows]:
        from emrctl.runs import sql_rows

        return self._read(
            run_ids,
            lambda run, metrics, files: sql_rows.facts(
                run, metrics, files.read_json(RunFiles.RESULT)
            ),
        )

    def _read_findings(self, limits: Mapping[str, float], run_ids: Sequence[str]) -> list[RunRows]:
        from emrctl.runs import sql_rows

        return self._read(
            run_ids, lambda run, metrics, _: sql_rows.findings_of(run, metrics, limits)
        )

    def _read(self, run_ids: Sequence[str], rows: _RowsOf) -> list[RunRows]:
        found = self.store.storage.in_parallel(lambda run_id: self._read_run(run_id, rows), run_ids)
        return [item for item in found if item is not None]

    def _read_run(self, run_id: str, rows: _RowsOf) -> RunRows | None:
        from emrctl.metrics.model import RunMetrics

        run = self.store.find(run_id)
        if run is None:
            return None
        files = self.store.files(run_id)
        metrics = files.load(RunFiles.METRICS, RunMetrics)
        return RunRows(run_id, run.finished, rows(run, metrics, files))

    def _reject(self, run_id: str, reason: str) -> None:
        location = self.store.files(run_id).location()
        self.store.damaged.add(DamagedFileError(location, f"it has no rows in SQL: {reason}"))


@functools.cache
def _code_version() -> str:
    """Return a text that differs after an update of the code that computes figures."""
    folder = Path(__file__).parent
    files = sorted((*folder.glob("sql*.py"), *(folder.parent / "metrics").rglob("*.py")))
    return repr([(path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in files])


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
