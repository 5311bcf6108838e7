"""Row count and checksum of a data set that do not depend on the order of rows, columns and files.

The checksum is the sum of the MD5 digests of all rows, modulo 2^64 for each half: a row that occurs
twice counts twice. A row's digest covers the names and values of its columns, sorted by name.

Fractions are not part of it: their last digits vary with the order in which a job adds numbers.
Of each column with fractions there is a sum, weighted by the digest of the rest of the row, so that
moving a value to another row changes it, and the sum of absolute values as its scale.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

# Relative tolerance of sums: of 64-bit columns, and of 32-bit columns and texts.
DOUBLE_TOLERANCE, FLOAT_TOLERANCE = 1e-9, 1e-6
_MODULUS = 1 << 64
_FRACTION = re.compile(r"[+-]?(\d+\.\d*|\.\d+|\d+(\.\d*)?[eE][+-]?\d+)([eE][+-]?\d+)?")
# Longer fields of CSV files are errors of the csv module by default.
_MAX_FIELD = 1 << 30
_FLOATS = {"FLOAT": FLOAT_TOLERANCE, "DOUBLE": DOUBLE_TOLERANCE}


@dataclass(frozen=True)
class WeightedSum:
    """The sum of a column with weights from 1 to 2, of its absolute values, and the tolerance."""

    weighted: float = 0.0
    absolute: float = 0.0
    tolerance: float = DOUBLE_TOLERANCE

    def __str__(self) -> str:
        return f"weighted sum {self.weighted:.10g}"

    def __add__(self, other: WeightedSum) -> WeightedSum:
        return WeightedSum(
            math.fsum((self.weighted, other.weighted)),
            math.fsum((self.absolute, other.absolute)),
            max(self.tolerance, other.tolerance),
        )

    def agrees(self, other: WeightedSum) -> bool:
        """Return whether the sums are equal but for the tolerance."""
        scale = max(self.absolute, other.absolute)
        return abs(self.weighted - other.weighted) <= max(self.tolerance, other.tolerance) * scale


@dataclass(frozen=True)
class DatasetChecksum:
    """Rows, the two halves of the checksum, and the sums of columns with fractions."""

    rows: int = 0
    halves: tuple[int, int] = (0, 0)
    sums: Mapping[str, WeightedSum] = field(default_factory=dict)

    def __add__(self, other: DatasetChecksum) -> DatasetChecksum:
        names = dict.fromkeys((*self.sums, *other.sums))
        none = WeightedSum()
        return DatasetChecksum(
            rows=self.rows + other.rows,
            halves=(
                (self.halves[0] + other.halves[0]) % _MODULUS,
                (self.halves[1] + other.halves[1]) % _MODULUS,
            ),
            sums={name: self.sums.get(name, none) + other.sums.get(name, none) for name in names},
        )

    @property
    def text(self) -> str:
        """The checksum as 32 hexadecimal digits."""
        return f"{self.halves[0]:016x}{self.halves[1]:016x}"


# --- texts ----------------------------------------------------------------------------------------


def of_lines(stream: TextIO, partition: Mapping[str, str]) -> DatasetChecksum:
    """Return the checksum of lines; `partition` are columns in the path of the file."""
    return _of_rows({"line": line.rstrip("\r\n"), **partition} for line in stream)


def of_json(stream: TextIO, partition: Mapping[str, str]) -> DatasetChecksum:
    """Return the checksum of JSON values, one a line; null equals a missing member."""
    values = (_without_null(json.loads(line)) for line in stream if line.strip())
    rows = (value if isinstance(value, dict) else {"value": value} for value in values)
    return _of_rows({**row, **partition} for row in rows)


def of_csv(
    stream: TextIO, partition: Mapping[str, str], separator: str = ",", *, header: bool = False
) -> DatasetChecksum:
    """Return the checksum of the rows of a CSV file; without a header columns have numbers."""
    usual = csv.field_size_limit(_MAX_FIELD)  # of the whole process
    try:
        lines = csv.reader(stream, delimiter=separator, escapechar="\\")
        names = next(lines, []) if header else None
        rows = (
            dict(zip(names or map(str, itertools.count()), line, strict=False))
            for line in lines
            if line
        )
        return _of_rows({**_with_fractions(row), **partition} for row in rows)
    finally:
        csv.field_size_limit(usual)


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_null(item) for key, item in value.items() if item is not None}
    return [_without_null(item) for item in value] if isinstance(value, list) else value


def _with_fractions(row: Mapping[str, str]) -> dict[str, Any]:
    return {key: float(v) if _FRACTION.fullmatch(v) else v for key, v in row.items()}


def _of_rows(rows: Iterable[Mapping[str, Any]]) -> DatasetChecksum:
    count, first, second = 0, 0, 0
    values: dict[str, list[tuple[float, float]]] = {}
    sums: dict[str, WeightedSum] = {}
    for row in rows:
        count += 1
        exact = {key: _exact(value) for key, value in row.items()}
        text = json.dumps(exact, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        digest = hashlib.md5(text.encode(errors="surrogatepass"), usedforsecurity=False).digest()
        halves = int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")
        first, second = first + halves[0], second + halves[1]
        weight = 1 + halves[0] / _MODULUS
        for key, value in row.items():
            if isinstance(value, float) and math.isfinite(value):
                values.setdefault(key, []).append((weight * value, abs(value)))
        if count % 100_000 == 0:
            _collect(sums, values)
    _collect(sums, values)
    return DatasetChecksum(count, (first % _MODULUS, second % _MODULUS), sums)


def _exact(value: Any) -> Any:
    """Return what the digest of a row covers: of a finite fraction only that it is one."""
    return {"fraction": True} if isinstance(value, float) and math.isfinite(value) else value


def _collect(sums: dict[str, WeightedSum], values: dict[str, list[tuple[float, float]]]) -> None:
    """Move values to the sums."""
    for key, pairs in values.items():
        added = WeightedSum(
            math.fsum(pair[0] for pair in pairs),
            math.fsum(pair[1] for pair in pairs),
            FLOAT_TOLERANCE,
        )
        sums[key] = sums.get(key, WeightedSum(tolerance=FLOAT_TOLERANCE)) + added
    values.clear()


# --- Parquet --------------------------------------------------------------------------------------


def of_parquet(path: Path, partition: Mapping[str, str]) -> DatasetChecksum:
    """Return the checksum of a Parquet file; raises `duckdb.Error` if it is damaged."""
    import duckdb

    with duckdb.connect(":memory:") as database:
        database.execute("SET TimeZone = 'UTC'")
        source = f"read_parquet({quoted(str(path))}, hive_partitioning = false)"
        described = database.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()  # noqa: S608
        types = {str(name): str(type_) for name, type_, *_ in described}
        floats = [name for name, type_ in types.items() if type_ in _FLOATS]
        found = database.execute(_query(source, types, floats, partition)).fetchone() or ()
    rows, first, second, *sums = [item or 0 for item in found]
    return DatasetChecksum(
        rows,
        (int(first) % _MODULUS, int(second) % _MODULUS),
        {
            name: WeightedSum(sums[2 * n], sums[2 * n + 1], _FLOATS[types[name]])
            for n, name in enumerate(floats)
        },
    )


def _query(
    source: str, types: Mapping[str, str], floats: list[str], partition: Mapping[str, str]
) -> str:
    columns = {name: _expression(name, type_) for name, type_ in types.items()}
    columns |= {name: quoted(value) for name, value in partition.items()}
    members = ", ".join(f"{quoted(name)}: {columns[name]}" for name in sorted(columns))
    own = "".join(f", {_finite(name)} AS f{n}" for n, name in enumerate(floats))
    weight = f"(1 + md5_number_lower(row_text)::DOUBLE / {float(_MODULUS)!r})"
    sums = "".join(f", fsum(f{n} * {weight}), fsum(abs(f{n}))" for n in range(len(floats)))
    return (
        f"SELECT count(*), sum(md5_number_lower(row_text)), sum(md5_number_upper(row_text)){sums} "  # noqa: S608
        f"FROM (SELECT to_json({{{members}}})::VARCHAR AS row_text{own} FROM {source})"
    )


def _expression(name: str, type_: str) -> str:
    """Return the SQL of what the digest covers."""
    column = _identifier(name)
    if type_ in _FLOATS:
        return f"CASE WHEN isfinite({column}) THEN 'fraction' ELSE {column}::VARCHAR END"
    if type_.startswith("TIMESTAMP"):
        # Equal for both types that Spark writes, of which one has a time zone.
        return f"epoch_ns({column})" if type_ == "TIMESTAMP_NS" else f"epoch_us({column})"
    if type_.startswith("MAP"):
        return f"list_sort(map_entries({column}))"
    return f"{column}::VARCHAR" if type_.startswith("DECIMAL") else column


def _finite(name: str) -> str:
    column = _identifier(name)
    return f"CASE WHEN isfinite({column}) THEN {column}::DOUBLE END"


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def quoted(text: str) -> str:
    """Return a text as a literal in SQL."""
    return "'" + text.replace("'", "''") + "'"
