"""Tables of timings that emrctl did not make: the rows of a CSV or TSV file as runs."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from emrctl.compare.records import RunRecord
from emrctl.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The columns of a table: the time in seconds, and those that make a configuration.

    Without `by`, all columns but the time and those of `where` do. `where` selects rows.
    """

    time: str
    by: tuple[str, ...] = ()
    where: Mapping[str, str]


def read(path: Path, columns: Columns) -> list[RunRecord]:
    """Return a record for each selected row; the file has a header, and tabs, semicolons or commas.

    Raises `UsageError` naming the file, and the line of an invalid row.
    """
    rows = list(_rows(path))
    header = rows[0][1] if rows else []
    by = _configuration_columns(path, header, columns)
    records = [
        _record(path, line, dict(zip(header, cells, strict=True)), columns.time, by)
        for line, cells in _selected(path, header, rows[1:], columns.where)
    ]
    if not records:
        selection = ", ".join(f"{name}={value}" for name, value in columns.where.items())
        raise UsageError(f"{path} has no rows{f' with {selection}' if selection else ''}")
    return records


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and cells of the header and of each row that is not empty."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8: {error.reason}") from error
    head = text.partition("\n")[0]
    delimiter = max("\t;,", key=head.count)
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                yield reader.line_num, stripped
    except csv.Error as error:
        raise UsageError(f"{path}, line {reader.line_num}: {error}") from error


def _configuration_columns(path: Path, header: Sequence[str], columns: Columns) -> tuple[str, ...]:
    for name in (columns.time, *columns.by, *columns.where):
        if header.count(name) != 1:
            problem = "no column" if name not in header else "more than one column"
            hint = f"It has {', '.join(header)}." if header else "The file is empty."
            raise UsageError(f"{path} has {problem} '{name}'", hint=hint)
    unused = {columns.time, *columns.where}
    by = columns.by or tuple(name for name in header if name not in unused)
    if not by:
        raise UsageError(f"{path} has no column but {columns.time}: nothing to compare")
    return by


def _selected(
    path: Path,
    header: Sequence[str],
    rows: Sequence[tuple[int, list[str]]],
    where: Mapping[str, str],
) -> Iterator[tuple[int, list[str]]]:
    for line, cells in rows:
        if len(cells) != len(header):
            raise UsageError(
                f"{path}, line {line}: {len(cells)} cells, the header has {len(header)}"
            )
        if all(cells[header.index(name)] == value for name, value in where.items()):
            yield line, cells


def _record(
    path: Path, line: int, row: Mapping[str, str], time: str, by: Sequence[str]
) -> RunRecord:
    try:
        seconds = float(row[time])
    except ValueError:
        raise UsageError(
            f"{path}, line {line}: {time} is '{row[time]}', not a number",
            hint="`--where COLUMN=VALUE` selects rows.",
        ) from None
    if not (math.isfinite(seconds) and seconds > 0):
        raise UsageError(f"{path}, line {line}: {time} is {row[time]}; a time must be above 0")
    settings = {name: row[name] for name in by}
    return RunRecord(
        id=f"{path.name}:{line}",
        label=", ".join(f"{name}={value}" for name, value in settings.items()),
        settings=settings,
        duration_s=seconds,
        is_row=True,
    )
