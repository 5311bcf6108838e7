"""The checksum job, and the checksum of the client, on outputs of Spark."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import checksum
from emrctl.runs import checksums
from emrctl.runs.checksums import DatasetChecksum, WeightedSum
from tests.runs.checksum_equality import equal

pytestmark = pytest.mark.spark

ROWS = """
SELECT id, concat('w', id % 7) AS word, id / 3D AS fraction, cast(id / 3 AS float) AS small,
  timestamp_seconds(id) AS at, timestamp_ntz '2026-01-01 10:00:00.123456' AS local,
  date_add(date '2026-01-01', cast(id AS int)) AS day, cast(id AS decimal(20, 2)) AS price,
  array(id, NULL, id + 1) AS list, named_struct('x', id, 'y', cast(NULL AS int)) AS pair,
  map('a', id, 'b', 0) AS entries, cast(concat('b', id) AS binary) AS bytes,
  CASE WHEN id % 10 = 0 THEN NULL WHEN id % 10 = 1 THEN double('NaN') ELSE id * 0.1D END AS mixed
FROM range(500)
"""


def _client(folder: Path) -> DatasetChecksum:
    parts = (checksums.of_parquet(path, {}) for path in sorted(folder.glob("*.parquet")))
    return sum(parts, DatasetChecksum())


def _agrees(one: dict[str, Any], two: dict[str, Any]) -> bool:
    if set(one["sums"]) != set(two["sums"]):
        return False
    pairs = ((one["sums"][name], two["sums"][name]) for name in one["sums"])
    return (one["rows"], one["checksum"]) == (two["rows"], two["checksum"]) and all(
        WeightedSum(**first).agrees(WeightedSum(**second)) for first, second in pairs
    )


def test_checksums_of_spark_output_depend_on_values_only(spark: Any, tmp_path: Path) -> None:
    frame = spark.sql(ROWS)
    changed = spark.sql(ROWS.replace("id % 7", "if(id = 78, 0, id) % 7"))
    frame.repartition(1).write.parquet(f"{tmp_path}/one")
    columns = list(reversed(frame.columns))
    frame.select(*columns).repartition(7, "word").write.parquet(f"{tmp_path}/seven")
    changed.repartition(7).write.parquet(f"{tmp_path}/changed")
    assert len(list((tmp_path / "seven").glob("*.parquet"))) > 1
    one, seven, other = (_client(tmp_path / name) for name in ("one", "seven", "changed"))
    assert one.rows == 500
    assert set(one.sums) == {"fraction", "small", "mixed"}
    assert equal(one, seven)
    assert (other.rows, other.text == one.text) == (500, False)

    first, second, third = (
        checksum.checksum(spark.read.parquet(f"{tmp_path}/{name}"))
        for name in ("one", "seven", "changed")
    )
    assert _agrees(first, second)
    assert (first["rows"], first["checksum"] == third["checksum"]) == (500, False)
    assert first["sums"].keys() == one.sums.keys()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("id % 10 = 0 THEN NULL", "id % 10 = 0 THEN 0"),
        ("double('NaN')", "NULL"),
        ("id * 0.1D", "id * 0.1D + if(id = 7, 0.01, 0)"),
        ("array(id, NULL, id + 1)", "array(NULL, id, id + 1)"),
        ("cast(NULL AS int)", "1"),
        ("'b', 0)", "'c', 0)"),
        ("timestamp_seconds(id)", "timestamp_seconds(id + 0.000001)"),
        ("AS decimal(20, 2)", "+ 0.01 AS decimal(20, 2)"),
    ],
)
def test_checksum_of_another_value_differs(spark: Any, before: str, after: str) -> None:
    one, two = (checksum.checksum(spark.sql(text)) for text in (ROWS, ROWS.replace(before, after)))
    assert not _agrees(one, two)


@pytest.mark.parametrize(
    ("format_", "text", "options"),
    [
        ("csv", "b;a\n1.50000000001;x\n", ["--header", "--sep", ";"]),
        ("json", '{"a": "x", "b": 1.5}\n', []),
        ("text", "x 1.5\n", []),
    ],
)
def test_checksum_reads_texts(
    run: Any, tmp_path: Path, format_: str, text: str, options: list[str]
) -> None:
    for name in ("one", "two"):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_text(text)
    found = run(checksum, "--input", f"{tmp_path}/in", "--format", format_, *options)
    assert found["rows"] == 2
    assert len(found["checksum"]) == 32
    assert set(found["sums"]) == (set() if format_ == "text" else {"b"})
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["arguments"]["format"] == format_
