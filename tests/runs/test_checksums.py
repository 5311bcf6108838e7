"""Checksums of data sets: what changes them, and what does not."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import duckdb
import pytest

from emrctl.runs import checksums
from emrctl.runs.checksums import DatasetChecksum, WeightedSum
from tests.runs.checksum_equality import equal

Rows = list[str]


def _json(rows: Rows) -> DatasetChecksum:
    return checksums.of_json(io.StringIO("\n".join(rows)), {})


def _csv(text: str, *, header: bool = True, separator: str = ",") -> DatasetChecksum:
    return checksums.of_csv(io.StringIO(text), {}, separator, header=header)


def _parquet(folder: Path, *selects: str) -> DatasetChecksum:
    """Return the checksum of one Parquet file per SELECT."""
    found = DatasetChecksum()
    for n, select in enumerate(selects):
        path = folder / f"{len(list(folder.iterdir()))}-{n}.parquet"
        duckdb.sql(f"COPY ({select}) TO '{path}' (FORMAT parquet)")
        found += checksums.of_parquet(path, {})
    return found


def test_json_of_other_order_files_and_members_isequal() -> None:
    rows = ['{"a": 1, "b": [1, null], "c": {"x": 1.5, "y": null}}', '{"a": 2, "d": "é"}']
    other = ['{"d": "é", "a": 2, "b": null}', '{"c": {"x": 1.5}, "b": [1, null], "a": 1}']
    assert equal(_json(rows), _json(other))
    assert equal(_json(rows), _json(rows[1:]) + _json(rows[:1]))
    assert _json(rows).rows == 2


@pytest.mark.parametrize(
    "changed",
    [
        ['{"a": 1, "b": "x"}', '{"a": 2, "b": "y"}', '{"a": 2, "b": "y"}'],
        ['{"a": 1, "b": "x"}'],
        ['{"a": 1, "b": "y"}', '{"a": 2, "b": "x"}'],
        ['{"a": 1, "b": "x"}', '{"a": 2, "b": null}'],
        ['{"a": 1, "b": "x"}', '{"a": 2, "c": "y"}'],
        ['{"a": 1, "b": "x"}', '{"a": "2", "b": "y"}'],
        ['{"a": 1, "b": "x"}', '{"a": 2.0, "b": "y"}'],
        ['{"a": 1, "b": "x"}', '{"a": NaN, "b": "y"}'],
    ],
)
def test_json_with_another_value_differs(changed: Rows) -> None:
    assert not equal(_json(['{"a": 1, "b": "x"}', '{"a": 2, "b": "y"}']), _json(changed))


def test_json_values_that_are_no_objects_are_rows() -> None:
    assert equal(_json(["[1, 2]", "3"]), _json(["3", "[1, 2]"]))
    assert not equal(_json(["[1, 2]"]), _json(["[2, 1]"]))


def test_row_that_occurs_twice_in_one_and_another_twice_in_the_other_differ() -> None:
    one, two = '{"a": 1}', '{"a": 2}'
    assert not equal(_json([one, one, two]), _json([one, two, two]))


def test_fractions_may_differ_in_their_last_digits_only() -> None:
    rows = [f'{{"k": {n}, "v": {n * 0.1!r}}}' for n in range(1, 1000)]
    noisy = [f'{{"k": {n}, "v": {math.nextafter(n * 0.1, 9e9)!r}}}' for n in range(1, 1000)]
    assert equal(_json(rows), _json(noisy))
    changed = [*rows[:-1], '{"k": 999, "v": 99.0}']
    assert not equal(_json(rows), _json(changed))


def test_fractions_that_two_rows_swapped_differ() -> None:
    rows = ['{"k": 1, "v": 1.5}', '{"k": 2, "v": 2.5}']
    assert not equal(_json(rows), _json(['{"k": 1, "v": 2.5}', '{"k": 2, "v": 1.5}']))


def test_csv_with_header_of_other_column_order_isequal() -> None:
    one = _csv('a,b,c\n1,"x, y",0.5\n2,"q\\"q",1e-3\n')
    two = _csv('c,a,b\n0.0010000000001,2,"q""q"\n') + _csv('c,a,b\n0.5,1,"x, y"\n')
    assert equal(one, two)
    assert one.rows == 2
    assert not equal(one, _csv('a,b,c\n1,"x, y",0.5\n2,"q\\"q",2e-3\n'))


def test_csv_with_a_long_cell_leaves_the_limit_of_the_process() -> None:
    usual = csv.field_size_limit()
    assert checksums.of_csv(io.StringIO("a" * (usual + 1) + "\n"), {}).rows == 1
    assert csv.field_size_limit() == usual


def test_csv_without_header_counts_every_line() -> None:
    found = _csv("1;x\n2;y\n", header=False, separator=";")
    assert found.rows == 2
    assert equal(found, _csv("2;y\n1;x\n", header=False, separator=";"))
    assert not equal(found, _csv("2;x\n1;y\n", header=False, separator=";"))


def test_lines_count_and_differ() -> None:
    def of_lines(text: str) -> DatasetChecksum:
        return checksums.of_lines(io.StringIO(text, newline=""), {})

    assert of_lines("a\nb\n").rows == 2
    assert equal(of_lines("a\r\nb"), of_lines("b\na\n"))
    assert not equal(of_lines("a\nb\n"), of_lines("a\nc\n"))


VALUES = """(VALUES
    (1, 'a', 0.1::DOUBLE, 1.5::FLOAT, TIMESTAMP '2026-01-01 10:00:00.000001', [1, NULL],
     {'x': 1, 'y': 'z'}, MAP {'k': 1, 'l': 2}, 1.10::DECIMAL(9, 2), DATE '2026-01-01', true),
    (2, NULL, 'nan'::DOUBLE, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (3, '', '-inf'::DOUBLE, 0, TIMESTAMP '1969-01-01', [], {'x': NULL, 'y': ''}, MAP {},
     -0.01, DATE '1900-01-01', false)
) rows(i, s, d, f, t, l, st, m, de, da, b)"""
COLUMNS = "i, s, d, f, t, l, st, m, de, da, b"


def test_parquet_of_other_order_files_and_columns_isequal(tmp_path: Path) -> None:
    one = _parquet(tmp_path, f"FROM {VALUES} SELECT {COLUMNS}")
    reverse = ", ".join(reversed(COLUMNS.split(", ")))
    two = _parquet(
        tmp_path,
        f"FROM {VALUES} SELECT {reverse} WHERE i > 1 ORDER BY i DESC",
        f"FROM {VALUES} SELECT {reverse} WHERE i = 1",
        f"FROM {VALUES} SELECT {reverse} WHERE i > 9",
    )
    assert equal(one, two)
    assert (one.rows, set(one.sums)) == (3, {"d", "f"})


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("i", "4"),
        ("s", "coalesce(s, '')"),
        ("d", "CASE WHEN isnan(d) THEN NULL ELSE d END"),
        ("d", "CASE WHEN isnan(d) THEN 0 ELSE d END"),
        ("d", "CASE WHEN isinf(d) THEN -d ELSE d END"),
        ("d", "CASE WHEN i = 1 THEN 0.100001 ELSE d END"),
        ("f", "coalesce(f, 0::FLOAT)"),
        ("t", "t + INTERVAL 1 MICROSECOND"),
        ("l", "CASE WHEN i = 1 THEN [NULL, 1] ELSE l END"),
        ("l", "coalesce(l, [])"),
        ("st", "CASE WHEN i = 1 THEN {'x': 2, 'y': 'z'} ELSE st END"),
        ("m", "CASE WHEN i = 1 THEN MAP {'k': 2, 'l': 1} ELSE m END"),
        ("de", "CASE WHEN i = 1 THEN 1.11 ELSE de END"),
        ("da", "da + 1"),
        ("b", "NOT b"),
    ],
)
def test_parquet_with_another_value_differs(tmp_path: Path, column: str, value: str) -> None:
    one = _parquet(tmp_path, f"FROM {VALUES} SELECT {COLUMNS}")
    two = _parquet(tmp_path, f"FROM {VALUES} SELECT * REPLACE ({value} AS {column})")
    assert not equal(one, two)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("TIMESTAMP '2026-01-01 10:00:00'", "TIMESTAMPTZ '2026-01-01 10:00:00+00'"),
        ("TIMESTAMP '2026-01-01 10:00:00'", "TIMESTAMP_MS '2026-01-01 10:00:00'"),
        ("1::INTEGER", "1::BIGINT"),
        ("MAP {'a': 1, 'b': 2}", "MAP {'b': 2, 'a': 1}"),
    ],
)
def test_parquet_with_equal_values_of_other_types_isequal(
    tmp_path: Path, one: str, two: str
) -> None:
    assert equal(_parquet(tmp_path, f"SELECT {one} AS v"), _parquet(tmp_path, f"SELECT {two} AS v"))


def test_parquet_with_quotes_in_names_is_read(tmp_path: Path) -> None:
    found = _parquet(tmp_path, """SELECT 1 AS "it's", 0.5::DOUBLE AS "a""b" """)
    assert (found.rows, set(found.sums)) == (1, {'a"b'})


def test_parquet_partition_is_a_column(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    duckdb.sql(f"COPY (SELECT 1 AS v) TO '{path}' (FORMAT parquet)")
    one, two = (checksums.of_parquet(path, {"year": year}) for year in ("2025", "2026"))
    assert one.text != two.text


def test_weighted_sum_agrees_within_its_tolerance() -> None:
    one = WeightedSum(100.0, 1000.0, 1e-9)
    assert one.agrees(WeightedSum(100.0 + 0.9e-6, 1000.0, 1e-9))
    assert not one.agrees(WeightedSum(100.0 + 1.1e-6, 1000.0, 1e-9))
    assert one.agrees(WeightedSum(100.0 + 0.9e-3, 1000.0, 1e-6))
