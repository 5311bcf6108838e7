"""Rows of exported tables: batches, columns and numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from emrctl.metrics import tables
from emrctl.metrics.tables import Row


def test_rows_are_written_in_batches_of_16384() -> None:
    sizes: list[int] = []
    table = tables._Table(Path("x.csv"), lambda rows: sizes.append(len(rows)))
    for number in range(2 * 16_384 + 1):
        table.add({"id": number})
    assert sizes == [16_384, 16_384]
    table.flush()
    table.flush()
    assert sizes == [16_384, 16_384, 1]
    assert table.rows == 2 * 16_384 + 1


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (2**63 - 1, 2**63 - 1),
        (2**63, None),
        (1 - 2**63, 1 - 2**63),
        ("9" * 30, "9" * 30),
        (None, None),
    ],
)
def test_numbers_over_64_bits_are_left_out(value: object, kept: object) -> None:
    assert tables.without_large_numbers({"a": value, "b": 1}) == {"a": kept, "b": 1}


def test_flat_row_has_quantiles_as_columns_and_lists_as_text() -> None:
    document = {
        "id": 7,
        "duration_ms_quantiles": {"min": 1, "max": 9},
        "input_bytes_quantiles": None,
        "notes": ["größe"],
        "peak_memory": {"a": 1},
    }
    expected: Row = {
        "id": 7,
        "duration_ms_quantiles_min": 1,
        "duration_ms_quantiles_max": 9,
        "notes": '["größe"]',
        "peak_memory": '{"a": 1}',
    }
    assert tables.flat(document) == expected


def test_columns_of_tables_of_parts_begin_with_the_application() -> None:
    for name, first in (("stages", "app_id"), ("executors", "app_id"), ("tasks", "stage")):
        assert next(iter(tables.columns(name))) == first
    executors = tables.columns("executors")
    assert (executors["active"], executors["host"], executors["added_ms"]) == (bool, str, int)
    assert executors["peak_memory"] is str
    assert "stages" not in tables.columns("runs")
    assert tables.columns("runs")["notes"] is str
