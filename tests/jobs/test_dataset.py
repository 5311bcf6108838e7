"""Arrow batches as rows by class, without Spark."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from svm.dataset import merge_rows, partition_of, row_reader, scale_rows

ROWS: dict[str, Any] = {
    "path": ["b", "a", "c", "d"],
    "label": ["cat", "cat", "dog", "cat"],
    "features": [[1.0, 2.0], [3.0, 4.0], [0.0, 0.0], [5.0, 6.0]],
}
FLOATS = pa.schema(
    [("path", pa.string()), ("label", pa.string()), ("features", pa.list_(pa.float32()))]
)


def select(rows: tuple[int, ...]) -> dict[str, Any]:
    columns: dict[str, list[Any]] = ROWS
    return {name: [values[row] for row in rows] for name, values in columns.items()}


def read(rows: dict[str, Any], classes: frozenset[str] = frozenset(), scale: str = "none") -> Any:
    batch = pa.RecordBatch.from_pydict(rows, schema=FLOATS)
    return list(row_reader(iter, classes, scale)([batch]))


def test_row_reader_sorts_by_class_and_path() -> None:
    (cat, summary), (dog, _) = read(ROWS)
    assert (cat.label, cat.paths) == ("cat", ["a", "b", "d"])
    assert cat.x.dtype == np.float32
    np.testing.assert_array_equal(cat.x, [[3, 4], [1, 2], [5, 6]])
    assert (dog.label, dog.paths) == ("dog", ["c"])
    assert (summary.width, summary.invalid, summary.error) == (2, None, "")


def test_row_reader_returns_only_summaries_of_unused_classes() -> None:
    (cat, summary), (dog, _) = read(ROWS, frozenset({"dog"}))
    assert cat is None
    assert (summary.label, summary.paths, summary.width) == ("cat", ["a", "b", "d"], None)
    assert dog.paths == ["c"]


@pytest.mark.parametrize("vector", [[1.0, float("nan")], [1.0, None], [float("inf"), 1.0]])
def test_row_reader_reports_invalid_vectors(vector: list[float | None]) -> None:
    (_, summary), _ = read({**ROWS, "features": [[1.0, 2.0], vector, [1.0, 1.0], [5.0, 6.0]]})
    assert summary.invalid == "a"


def test_row_reader_separates_rows_by_number_of_features() -> None:
    rows = read({**ROWS, "features": [[1.0, 2.0], None, [1.0, 1.0], [5.0, 6.0, 7.0]]})
    assert [(summary.paths, summary.width, summary.invalid) for _, summary in rows] == [
        (["a"], 0, "a"),
        (["b"], 2, None),
        (["d"], 3, None),
        (["c"], 2, None),
    ]
    np.testing.assert_array_equal(rows[2][0].x, [[5, 6, 7]])


def test_row_reader_scales_rows_to_length_one() -> None:
    (cat, _), (dog, _) = read(ROWS, scale="rows")
    np.testing.assert_allclose(np.linalg.norm(cat.x, axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(dog.x, [[0, 0]])
    assert scale_rows(cat.x, "none") is cat.x


def test_merge_rows_does_not_depend_on_order() -> None:
    complete = [(0, record) for record in read(ROWS)]
    halves = [(0, record) for rows in ((2, 3), (0, 1)) for record in read(select(rows))]
    for one, other in zip(merge_rows(complete), merge_rows(halves), strict=True):
        assert one[1] == other[1]
        assert one[0] is not None
        assert other[0] is not None
        np.testing.assert_array_equal(one[0].x, other[0].x)


def test_partition_of_is_stable() -> None:
    assert [partition_of(f"cat_{n}.jpg", 4) for n in range(8)] == [3, 1, 3, 2, 0, 1, 1, 0]
