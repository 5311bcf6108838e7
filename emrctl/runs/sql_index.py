"""Rows of finished runs in Parquet files, so that a query reads only the columns that it needs.

The folder has a manifest and segments. A segment has one file per table with the rows of some runs,
and never changes. The manifest has the version of the files from which the rows of each run were
computed. Several clients can write at the same time: each replaces the manifest by a whole one, and
segments that are in no manifest are deleted later. A client that is killed leaves such segments.
The folder can be deleted at any time.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from emrctl.paths import atomic_file, temporary_folder, write_atomically
from emrctl.runs.checksums import quoted
from emrctl.runs.index import RunIndex
from emrctl.runs.storage import Version

Row = dict[str, Any]
Columns = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class RunRows:
    """The rows of one run by table; `finished` means that they can be stored."""

    run: str
    finished: bool
    rows: Mapping[str, Sequence[Row]]


# Returns the rows of runs; those whose record cannot be read are left out.
ReadRows = Callable[[Sequence[str]], Sequence[RunRows]]


class _Manifest(msgspec.Struct):
    """`versions` and `segments` of each run, and the runs in each segment when it was written.

    An index of other `code`, or whose rows `depends` on something else, is not used.
    """

    code: str
    depends: str
    columns: dict[str, dict[str, str]]
    versions: dict[str, str] = msgspec.field(default_factory=dict)
    segments: dict[str, str] = msgspec.field(default_factory=dict)
    written: dict[str, list[str]] = msgspec.field(default_factory=dict)


@dataclass(kw_only=True)
class TableIndex:
    """Tables in the folder `folder`; `columns` returns their columns with types of DuckDB.

    An index of other `code`, or whose rows `depends` on something else, is not used. `columns` is
    only called without an index. `reject` is called with the id of a run whose rows DuckDB cannot
    read, and the reason.
    """

    database: Any
    folder: Path
    code: str
    depends: str
    columns: Callable[[], Columns]
    reject: Callable[[str, str], None]
    _columns: Columns = field(default_factory=dict)
    _memory: list[RunRows] = field(default_factory=list)

    MANIFEST: ClassVar = "manifest.msgpack"
    MAX_SEGMENTS: ClassVar = 16
    CHUNK: ClassVar = 200
    # Unused files may be read by another client for this time.
    KEEP_S: ClassVar = 3600.0

    def open(self, versions: Mapping[str, Version], read: ReadRows) -> None:
        """Create a view of each table, with the rows of all runs in `versions`."""
        manifest = self._load()
        for run in manifest.versions.keys() - versions.keys():
            del manifest.versions[run], manifest.segments[run]
        missing = [
            run for run, version in versions.items() if manifest.versions.get(run) != version.text
        ]
        for run in missing:
            manifest.versions.pop(run, None)
            manifest.segments.pop(run, None)
        settled_ns = time.time_ns() - int(RunIndex.SETTLED_S * 1e9)
        for start in range(0, len(missing), self.CHUNK):
            found = read(missing[start : start + self.CHUNK])
            lasting = [
                item
                for item in found
                if item.finished and versions[item.run].changed_ns < settled_ns
            ]
            if len(lasting) <= RunIndex.SLACK or not self._append(manifest, lasting, versions):
                lasting = []
            stored = {item.run for item in lasting}
            self._memory += [item for item in found if item.run not in stored]
        self._create_memory()
        self._compact(manifest)
        self._create_views(manifest)

    def create_empty(self) -> None:
        """Create the tables without rows; store their columns, which take long to import."""
        stored = self._stored()
        self._columns = self.columns() if stored is None else stored.columns
        if stored is None:
            with suppress(OSError):
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._save(self._empty())
        self._create_memory()
        self._create_views(self._empty())

    def _load(self) -> _Manifest:
        stored = self._stored()
        self._columns = self.columns() if stored is None else stored.columns
        return stored if stored is not None and stored.depends == self.depends else self._empty()

    def _empty(self) -> _Manifest:
        columns = {name: dict(types) for name, types in self._columns.items()}
        return _Manifest(code=self.code, depends=self.depends, columns=columns)

    def _stored(self) -> _Manifest | None:
        """Return the manifest; None if it cannot be used."""
        try:
            body = (self.folder / self.MANIFEST).read_bytes()
            manifest = msgspec.msgpack.decode(body, type=_Manifest)
            names = {path.name for path in self.folder.iterdir()}
        except (OSError, ValueError, RecursionError, msgspec.MsgspecError):
            return None
        files = {
            self._path(name, table).name for name in manifest.written for table in manifest.columns
        }
        consistent = manifest.versions.keys() == manifest.segments.keys()
        complete = files <= names and set(manifest.segments.values()) <= manifest.written.keys()
        return manifest if manifest.code == self.code and consistent and complete else None

    def _path(self, segment: str, table: str) -> Path:
        return self.folder / f"{segment}.{table}.parquet"

    def _append(
        self, manifest: _Manifest, items: Sequence[RunRows], versions: Mapping[str, Version]
    ) -> bool:
        """Write a segment; return False if the folder cannot be written."""
        import duckdb

        segment = secrets.token_hex(8)
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._json_of(items) as sources:
                for table, source in sources.items():
                    self._copy(source, self._path(segment, table))
            for item in items:
                manifest.versions[item.run] = versions[item.run].text
                manifest.segments[item.run] = segment
            manifest.written[segment] = [item.run for item in items]
            self._save(manifest)
        except (OSError, duckdb.IOException):
            for item in items:
                manifest.versions.pop(item.run, None)
                manifest.segments.pop(item.run, None)
            manifest.written.pop(segment, None)
            return False
        except duckdb.Error:  # rows of some run: they are loaded one by one
            return False
        return True

    def _copy(self, source: str, path: Path) -> None:
        with atomic_file(path, 0o600) as temporary:
            target = quoted(str(temporary))
            options = "FORMAT parquet, COMPRESSION zstd, USE_TMP_FILE false"
            self.database.execute(f"COPY ({source}) TO {target} ({options})")

    def _save(self, manifest: _Manifest) -> None:
        body = msgspec.msgpack.encode(manifest)
        write_atomically(self.folder / self.MANIFEST, body, 0o600)

    def _json_of(self, items: Sequence[RunRows]) -> _JsonFiles:
        return _JsonFiles(self._columns, items)

    def _create_memory(self) -> None:
        """Create tables with the rows that are not stored."""
        for table, types in self._columns.items():
            typed = ", ".join(f'"{name}" {type_}' for name, type_ in types.items())
            self.database.execute(f"CREATE TABLE new_{table} ({typed})")
        self._insert(self._memory)
        self._memory = []

    def _insert(self, items: Sequence[RunRows]) -> None:
        """Insert rows; of a run that DuckDB cannot read none."""
        import duckdb

        if not items:
            return
        self.database.execute("BEGIN")
        try:
            with self._json_of(items) as sources:
                for table, source in sources.items():
                    self.database.execute(f"INSERT INTO new_{table} {source}")
            self.database.execute("COMMIT")
        except duckdb.Error as error:
            self.database.execute("ROLLBACK")
            if len(items) == 1:
                self.reject(items[0].run, str(error).partition("\n")[0])
                return
            middle = len(items) // 2
            self._insert(items[:middle])
            self._insert(items[middle:])

    def _compact(self, manifest: _Manifest) -> None:
        """Merge the segments into one if there are many, or if many of their rows are unused."""
        import duckdb

        rows = sum(map(len, manifest.written.values()))
        unused = rows - len(manifest.segments)
        many = len(manifest.written) > self.MAX_SEGMENTS
        if not many and unused <= max(RunIndex.SLACK, rows // 4):
            return
        merged = self._empty()
        merged.versions = dict(manifest.versions)
        segment = secrets.token_hex(8)
        try:
            for table in self._columns:
                self._copy(self._select(manifest, table), self._path(segment, table))
            merged.segments = dict.fromkeys(merged.versions, segment)
            merged.written = {segment: list(merged.versions)}
            self._save(merged)
            self._delete_unused(manifest, merged)
        except (OSError, duckdb.Error):
            return
        manifest.segments, manifest.written = merged.segments, merged.written

    def _delete_unused(self, before: _Manifest, after: _Manifest) -> None:
        """Delete files that no manifest has had for some time."""
        used = {self._path(name, table).name for name in after.written for table in self._columns}
        recent = {
            self._path(name, table).name for name in before.written for table in self._columns
        }
        end = time.time() - self.KEEP_S
        for path in self.folder.iterdir():
            if path.name in recent - used:
                os.utime(path)
            elif path.name not in used | {self.MANIFEST} and path.stat().st_mtime < end:
                path.unlink(missing_ok=True)

    def _create_views(self, manifest: _Manifest) -> None:
        for table in self._columns:
            selected = self._select(manifest, table)
            parts = f"{selected} UNION ALL FROM new_{table}" if selected else f"FROM new_{table}"
            self.database.execute(f"CREATE VIEW {table} AS {parts}")

    def _select(self, manifest: _Manifest, table: str) -> str:
        """Return the query of the stored rows of a table that are current; "" without any."""
        whole, parts = list[str](), list[str]()
        for segment, runs in manifest.written.items():
            path = quoted(str(self._path(segment, table)))
            unused = [run for run in runs if manifest.segments.get(run) != segment]
            if not unused:
                whole.append(path)
            elif len(unused) < len(runs):
                listed = ", ".join(map(quoted, unused))
                parts.append(f"FROM read_parquet({path}) WHERE run NOT IN ({listed})")
        if whole:
            parts.insert(0, f"FROM read_parquet([{', '.join(whole)}])")
        return " UNION ALL ".join(parts)


class _JsonFiles:
    """Rows as JSON lines in a temporary folder, and the SELECT that reads those of each table."""

    def __init__(self, columns: Columns, items: Sequence[RunRows]) -> None:
        self._columns, self._items = columns, items
        self._folder = ExitStack()

    def __enter__(self) -> dict[str, str]:
        folder = self._folder.enter_context(temporary_folder())
        return {table: self._write(folder / table, table) for table in self._columns}

    def _write(self, path: Path, table: str) -> str:
        longest = 0
        with path.open("w", encoding="utf-8", errors="replace") as stream:
            for item in self._items:
                for row in item.rows.get(table, ()):
                    line = json.dumps(row, default=str)
                    longest = max(longest, len(line))
                    stream.write(line + "\n")
        return _select_json(path, self._columns[table], longest)

    def __exit__(self, *_: object) -> None:
        self._folder.close()


def _select_json(path: Path, types: Mapping[str, str], longest: int) -> str:
    """Return the query of JSON lines of at most `longest` bytes."""
    typed = ", ".join(f"\"{column}\": '{type_}'" for column, type_ in types.items())
    # DuckDB reserves twice the size per thread.
    size = max(longest + 1, _MIN_OBJECT_BYTES)
    options = f"format = 'newline_delimited', columns = {{{typed}}}, maximum_object_size = {size}"
    # No part of the statement is user input.
    return f"FROM read_json({quoted(str(path))}, {options})"


_MIN_OBJECT_BYTES = 1 << 20
