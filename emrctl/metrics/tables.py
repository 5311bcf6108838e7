"""Runs, stages, executors and tasks as tables in files, Parquet or CSV by their name's end.

Rows go to disk in batches, so that the tasks of a log of any size need little memory.
"""

from __future__ import annotations

import csv
import functools
import json
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

from emrctl.errors import UsageError
from emrctl.metrics.model import (
    ExecutorMetrics,
    Quantiles,
    Record,
    RunMetrics,
    StageMetrics,
    TaskMetrics,
)
from emrctl.paths import atomic_file

_RECORDS: dict[str, type[Record]] = {
    "runs": RunMetrics,
    "stages": StageMetrics,
    "executors": ExecutorMetrics,
    "tasks": TaskMetrics,
}
_OWNER = {"app_id": str, "app_attempt": str}
_BATCH_ROWS = 1 << 14
Row = dict[str, Any]


class Tables:
    """Open tables; `written` says how many rows each file got."""

    def __init__(self, files: Mapping[str, _Table]) -> None:
        self._files = files
        self.written: dict[Path, int] = {}

    def task(self, row: TaskMetrics) -> None:
        """One more task, where tasks are asked for."""
        self._files["tasks"].add(row.to_json())

    def finish(self, runs: Sequence[RunMetrics]) -> None:
        """The rows of `runs`."""
        for run in runs:
            for name, table in self._files.items():
                for row in _rows(run, name):
                    table.add(row)
        self.written = {table.path: table.rows for table in self._files.values()}


@contextmanager
def writer(path: Path, names: Sequence[str]) -> Iterator[Tables]:
    """A file for each of the tables called `names`; none is left where the writing failed.

    One table lies at `path`; of several each has its name before the path's end.
    """
    kind = _KINDS.get(path.suffix.lower())
    if kind is None:
        raise UsageError(f"--export {path}: ends in neither .parquet nor .csv")
    with ExitStack() as stack:
        files = {}
        for name in names:
            place = path if len(names) == 1 else path.with_suffix(f".{name}{path.suffix}")
            files[name] = stack.enter_context(_aside(place, kind, columns(name)))
        yield Tables(files)


@contextmanager
def _aside(place: Path, kind: type[_Sink], fields: Mapping[str, type]) -> Iterator[_Table]:
    with ExitStack() as stack:
        try:
            sink = kind(stack.enter_context(atomic_file(place)), fields)
        except OSError as error:
            raise UsageError(f"--export {place}: {error.strerror}") from error
        stack.callback(sink.close)
        table = _Table(place, sink)
        yield table
        table.close()


def columns(name: str) -> dict[str, type]:
    """The columns of a table with the types of their values; every value may be absent."""
    found: dict[str, type] = {} if name in {"runs", "tasks"} else dict(_OWNER)
    hints = typing.get_type_hints(_RECORDS[name])
    for field in _RECORDS[name].field_names():
        kind = _scalar(hints[field])
        if kind is Quantiles:
            found |= {f"{field}_{share}": int for share in Quantiles.field_names()}
        elif kind in {int, str, bool}:
            found[field] = kind
        elif field in {"peak_memory", "notes"}:
            found[field] = str
    return found


def _scalar(hint: Any) -> Any:
    if isinstance(hint, types.UnionType):
        return next(option for option in typing.get_args(hint) if option is not types.NoneType)
    return hint


def _rows(run: RunMetrics, name: str) -> Iterator[Row]:
    if name == "runs":
        yield flat(run.to_json())
    elif name != "tasks":
        for record in getattr(run, name):
            owner = {"app_id": run.app_id, "app_attempt": run.app_attempt}
            yield owner | flat(record.to_json())


def flat(document: Mapping[str, Any]) -> Row:
    """The record as one row of plain values: quantiles as columns, lists and objects as JSON."""
    found: Row = {}
    for key, value in document.items():
        if key.endswith("_quantiles"):
            found |= {f"{key}_{name}": item for name, item in (value or {}).items()}
        elif isinstance(value, dict | list):
            found[key] = json.dumps(value, ensure_ascii=False)
        else:
            found[key] = value
    return found


class _Sink(Protocol):
    def __init__(self, path: Path, fields: Mapping[str, type]) -> None: ...

    def write(self, rows: Sequence[Row]) -> None: ...

    def close(self) -> None: ...


class _Table:
    """Rows on their way to one file."""

    def __init__(self, path: Path, sink: _Sink) -> None:
        self.path = path
        self.rows = 0
        self._sink = sink
        self._waiting: list[Row] = []

    def add(self, row: Row) -> None:
        """One more row."""
        self._waiting.append(row)
        self.rows += 1
        if len(self._waiting) >= _BATCH_ROWS:
            self._flush()

    def close(self) -> None:
        """Every row is in the file."""
        self._flush()
        self._sink.close()

    def _flush(self) -> None:
        if self._waiting:
            self._sink.write(self._waiting)
            self._waiting.clear()


class _Csv:
    def __init__(self, path: Path, fields: Mapping[str, type]) -> None:
        self._stream = path.open("w", newline="", encoding="utf-8", errors="replace")
        self._writer = csv.DictWriter(self._stream, list(fields), extrasaction="ignore")
        self._writer.writeheader()

    def write(self, rows: Sequence[Row]) -> None:
        self._writer.writerows(rows)

    def close(self) -> None:
        self._stream.close()


class _Parquet:
    def __init__(self, path: Path, fields: Mapping[str, type]) -> None:
        try:
            import pyarrow as pa
            from pyarrow import parquet
        except ImportError as error:
            hint = "pip install 'emrctl[jobs]', or export .csv."
            raise UsageError("Parquet needs pyarrow, which is not installed", hint=hint) from error
        kinds = {int: pa.int64(), str: pa.string(), bool: pa.bool_()}
        self._schema = pa.schema([(name, kinds[kind]) for name, kind in fields.items()])
        self._batch = functools.partial(pa.Table.from_pylist, schema=self._schema)
        self._writer = parquet.ParquetWriter(path, self._schema, compression="zstd")

    def write(self, rows: Sequence[Row]) -> None:
        try:
            table = self._batch(list(rows))
        except OverflowError:  # a damaged log's number
            table = self._batch([_bounded(row) for row in rows])
        self._writer.write_table(table)

    def close(self) -> None:
        self._writer.close()


def _bounded(row: Row) -> Row:
    wide = {key for key, item in row.items() if isinstance(item, int) and item.bit_length() > 63}
    return {key: None if key in wide else item for key, item in row.items()}


_KINDS: dict[str, type[_Sink]] = {".csv": _Csv, ".parquet": _Parquet}
