"""Tables of timings that emrctl did not make: the rows of a CSV or TSV file as runs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from emrctl.compare.records import RunRecord
from emrctl.errors import UsageError

_LONGEST_S = 1e12


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
    header, rows = table(path)
    by = _configuration_columns(path, header, columns)
    records = [
        _record(path, line, row, columns.time, by)
        for line, row in rows
        if all(row[name] == value for name, value in columns.where.items())
    ]
    if not records:
        selection = ", ".join(f"{name}={value}" for name, value in columns.where.items())
        raise UsageError(f"{path} has no rows{f' with {selection}' if selection else ''}")
    return records


def table(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Return the header, and line number and cells of each row that is not empty.

    Raises `UsageError` naming the file, and the line of an invalid row.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8: {error.reason}") from error
    delimiter = max("\t;,", key=text.partition("\n")[0].count)
    # Only line breaks end a row: a cell may contain other characters at which texts are split.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    rows = []
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if not any(stripped):
                continue
            if header and len(cells) != len(header):
                problem = f"{len(cells)} cells, the header has {len(header)}"
                raise UsageError(f"{path}, line {reader.line_num}: {problem}")
            if header:
                rows.append((reader.line_num, dict(zip(header, stripped, strict=True))))
            header = header or stripped
    except csv.Error as error:
        raise UsageError(f"{path}, line {reader.line_num}: {error}") from error
    return header, rows


def require_columns(path: Path, header: Sequence[str], names: Iterable[str]) -> None:
    """Raise `UsageError` for a name that is not the name of exactly one column."""
    for name in names:
        if header.count(name) != 1:
            problem = "no column" if name not in header else "more than one column"
            hint = f"It has {', '.join(header)}." if header else "The file is empty."
            raise UsageError(f"{path} has {problem} '{name}'", hint=hint)


def require_configuration(path: Path, time: str, names: Sequence[str]) -> None:
    """Raise `UsageError` if columns of the configuration repeat, or contain what was measured."""
    if time in names:
        hint = "A configuration has only what is known before a run."
        raise UsageError(f"{path}: '{time}' is the column of the time", hint=hint)
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise UsageError(f"{path}: column '{repeated}' is given twice", hint="Name it once.")


def require_time(path: Path, line: int, column: str, text: str, seconds: float) -> None:
    """Raise `UsageError` if no run takes so long: figures of such times overflow or are zero."""
    if not 1e-9 <= seconds <= _LONGEST_S:
        problem = f"a time must be above 0 and at most {_LONGEST_S:g} s"
        raise UsageError(f"{path}, line {line}: {column} is {text}; {problem}")


def _configuration_columns(path: Path, header: Sequence[str], columns: Columns) -> tuple[str, ...]:
    unused = {columns.time, *columns.where}
    by = columns.by or tuple(name for name in header if name not in unused)
    require_columns(path, header, (columns.time, *columns.where, *by))
    require_configuration(path, columns.time, by)
    if not by:
        raise UsageError(f"{path} has no column but {columns.time}: nothing to compare")
    return by


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
    require_time(path, line, time, row[time], seconds)
    settings = {name: row[name] for name in by}
    return RunRecord(
        id=f"{path.name}:{line}",
        label=", ".join(f"{name}={value}" for name, value in settings.items()),
        settings=settings,
        duration_s=seconds,
        is_row=True,
    )
