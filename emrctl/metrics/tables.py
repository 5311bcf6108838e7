"""Exports runs, stages, executors and tasks as Parquet or CSV files, by suffix.

Rows are written in batches to limit memory use.
"""

from __future__ import annotations

import csv
import json
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

from emrctl.errors import UsageError
from emrctl.metrics.model import (
    ExecutorMetrics,
    Quantiles,
    RunMetrics,
    StageMetrics,
    TaskMetrics,
)
from emrctl.metrics.record import Record
from emrctl.paths import atomic_file

_RECORDS: dict[str, type[Record]] = {
    "runs": RunMetrics,
    "stages": StageMetrics,
    "executors": ExecutorMetrics,
    "tasks": TaskMetrics,
}
_APPLICATION = {"app_id": str, "app_attempt": str}
_BATCH_ROWS = 1 << 14
Row = dict[str, Any]
WriteRows = Callable[[list[Row]], None]
OpenFile = Callable[[Path, Mapping[str, type]], AbstractContextManager[WriteRows]]


class Tables:
    """Tables that are being written; at the end `written` has the row count of each file."""

    def __init__(self, tables: Mapping[str, _Table]) -> None:
        self._tables = tables
        self.written: dict[Path, int] = {}

    def task(self, row: TaskMetrics) -> None:
        """Add a row to the table of tasks."""
        self._tables["tasks"].add(row.to_json())

    def finish(self, runs: Sequence[RunMetrics]) -> None:
        """Add the rows of `runs`."""
        for run in runs:
            for name, table in self._tables.items():
                for row in _rows(run, name):
                    table.add(row)
        self.written = {table.path: table.rows for table in self._tables.values()}


@contextmanager
def writer(path: Path, names: Sequence[str]) -> Iterator[Tables]:
    """Open a file for each table in `names`; a failure leaves no files.

    A single table is written to `path`; several have their names before the suffix.
    """
    open_file = _FORMATS.get(path.suffix.lower())
    if open_file is None:
        hint = "Use a file name that ends in .parquet or .csv."
        raise UsageError(f"--export {path}: unknown file format", hint=hint)
    with ExitStack() as stack:
        tables = {}
        for name in names:
            file = path if len(names) == 1 else path.with_suffix(f".{name}{path.suffix}")
            tables[name] = stack.enter_context(_open_table(file, open_file, columns(name)))
        yield Tables(tables)


@contextmanager
def _open_table(path: Path, open_file: OpenFile, fields: Mapping[str, type]) -> Iterator[_Table]:
    with ExitStack() as stack:
        try:
            temporary = stack.enter_context(atomic_file(path))
            write = stack.enter_context(open_file(temporary, fields))
        except OSError as error:
            raise UsageError(f"--export {path}: {error.strerror}") from error
        table = _Table(path, write)
        yield table
        table.flush()


def columns(name: str) -> dict[str, type]:
    """Return the columns of a table with their types; all are nullable."""
    by_name: dict[str, type] = {} if name in {"runs", "tasks"} else dict(_APPLICATION)
    hints = typing.get_type_hints(_RECORDS[name])
    for field in _RECORDS[name].field_names():
        kind = _scalar(hints[field])
        if kind is Quantiles:
            by_name |= {f"{field}_{share}": int for share in Quantiles.field_names()}
        elif kind in {int, str, bool}:
            by_name[field] = kind
        elif field in {"peak_memory", "notes"}:
            by_name[field] = str
    return by_name


def _scalar(hint: Any) -> Any:
    if isinstance(hint, types.UnionType):
        return next(option for option in typing.get_args(hint) if option is not types.NoneType)
    return hint


def _rows(run: RunMetrics, name: str) -> Iterator[Row]:
    if name == "runs":
        yield flat(run.to_json())
    elif name != "tasks":
        application = {"app_id": run.app_id, "app_attempt": run.app_attempt}
        for record in getattr(run, name):
            yield application | flat(record.to_json())


def flat(document: Mapping[str, Any]) -> Row:
    """Return a row of scalars: quantiles as columns, lists and objects as JSON text."""
    row: Row = {}
    for key, value in document.items():
        if key.endswith("_quantiles"):
            row |= {f"{key}_{share}": item for share, item in (value or {}).items()}
        elif isinstance(value, dict | list):
            row[key] = json.dumps(value, ensure_ascii=False)
        else:
            row[key] = value
    return row


class _Table:
    """Collects rows into batches for one file."""

    def __init__(self, path: Path, write: WriteRows) -> None:
        self.path = path
        self.rows = 0
        self._write = write
        self._batch: list[Row] = []

    def add(self, row: Row) -> None:
        """Add a row."""
        self._batch.append(row)
        self.rows += 1
        if len(self._batch) >= _BATCH_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write the collected rows."""
        if self._batch:
            self._write(self._batch)
            self._batch.clear()


@contextmanager
def _csv(path: Path, fields: Mapping[str, type]) -> Iterator[WriteRows]:
    with path.open("w", newline="", encoding="utf-8", errors="replace") as stream:
        file = csv.DictWriter(stream, list(fields), extrasaction="ignore")
        file.writeheader()
        yield file.writerows


@contextmanager
def _parquet(path: Path, fields: Mapping[str, type]) -> Iterator[WriteRows]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        hint = "pip install 'emrctl[jobs]', or export .csv."
        raise UsageError("Parquet needs pyarrow, which is not installed", hint=hint) from error
    kinds = {int: pa.int64(), str: pa.string(), bool: pa.bool_()}
    schema = pa.schema([(name, kinds[kind]) for name, kind in fields.items()])

    def write(rows: list[Row]) -> None:
        try:
            table = pa.Table.from_pylist(rows, schema=schema)
        except OverflowError:  # a number in a damaged log
            table = pa.Table.from_pylist(list(map(without_large_numbers, rows)), schema=schema)
        file.write_table(table)

    with parquet.ParquetWriter(path, schema, compression="zstd") as file:
        yield write


def without_large_numbers(row: Row) -> Row:
    """Return the row without integers over 64 bits, which only damaged logs have."""
    large = {key for key, item in row.items() if isinstance(item, int) and item.bit_length() > 63}
    return {key: None if key in large else item for key, item in row.items()}


_FORMATS: dict[str, OpenFile] = {".csv": _csv, ".parquet": _parquet}
