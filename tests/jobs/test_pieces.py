"""jobs/_pieces.py and _sources.py: features as they are read, without Spark."""

from typing import Any

import _sources
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from _pieces import joined, place_of, reader, scaled

ROWS: dict[str, Any] = {
    "path": ["b", "a", "c", "d"],
    "label": ["cat", "cat", "dog", "cat"],
    "features": [[1.0, 2.0], [3.0, 4.0], [0.0, 0.0], [5.0, 6.0]],
}
FLOATS = pa.schema(
    [("path", pa.string()), ("label", pa.string()), ("features", pa.list_(pa.float32()))]
)


def some(rows: tuple[int, ...]) -> dict[str, Any]:
    columns: dict[str, list[Any]] = ROWS
    return {name: [values[row] for row in rows] for name, values in columns.items()}


def read(rows: dict[str, Any], asked: frozenset[str] = frozenset(), scale: str = "none") -> Any:
    batch = pa.RecordBatch.from_pydict(rows, schema=FLOATS)
    return list(reader(iter, asked, scale)([batch]))


def test_rows_come_by_class_and_path() -> None:
    (cat, seen), (dog, _) = read(ROWS)
    assert (cat.label, cat.paths) == ("cat", ["a", "b", "d"])
    assert cat.x.dtype == np.float32
    np.testing.assert_array_equal(cat.x, [[3, 4], [1, 2], [5, 6]])
    assert (dog.label, dog.paths) == ("dog", ["c"])
    assert (seen.width, seen.bad, seen.wrong) == (2, None, "")


def test_classes_that_do_not_take_part_are_only_seen() -> None:
    (cat, seen), (dog, _) = read(ROWS, frozenset({"dog"}))
    assert cat is None
    assert (seen.label, seen.paths, seen.width) == ("cat", ["a", "b", "d"], None)
    assert dog.paths == ["c"]


@pytest.mark.parametrize("wrong", [[1.0, float("nan")], [1.0, None], [float("inf"), 1.0]])
def test_a_row_that_is_no_vector_is_named(wrong: list[float | None]) -> None:
    (_, seen), _ = read({**ROWS, "features": [[1.0, 2.0], wrong, [1.0, 1.0], [5.0, 6.0]]})
    assert seen.bad == "a"


def test_rows_without_features_and_of_other_lengths_stand_apart() -> None:
    made = read({**ROWS, "features": [[1.0, 2.0], None, [1.0, 1.0], [5.0, 6.0, 7.0]]})
    assert [(seen.paths, seen.width, seen.bad) for _, seen in made] == [
        (["a"], 0, "a"),
        (["b"], 2, None),
        (["d"], 3, None),
        (["c"], 2, None),
    ]
    np.testing.assert_array_equal(made[2][0].x, [[5, 6, 7]])


def test_rows_can_have_length_one() -> None:
    (cat, _), (dog, _) = read(ROWS, scale="rows")
    np.testing.assert_allclose(np.linalg.norm(cat.x, axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(dog.x, [[0, 0]])
    assert scaled(cat.x, "none") is cat.x


def test_pieces_of_a_partition_are_one_whatever_their_order() -> None:
    whole = [(0, record) for record in read(ROWS)]
    halves = [(0, record) for rows in ((2, 3), (0, 1)) for record in read(some(rows))]
    for one, other in zip(joined(whole), joined(halves), strict=True):
        assert one[1] == other[1]
        assert one[0] is not None
        assert other[0] is not None
        np.testing.assert_array_equal(one[0].x, other[0].x)


def test_a_paths_partition_is_the_same_in_every_process() -> None:
    assert [place_of(f"cat_{n}.jpg", 4) for n in range(8)] == [3, 1, 3, 2, 0, 1, 1, 0]


def test_patterns_find_names_that_hadoop_would_misread() -> None:
    assert _sources.pattern("s3://b/a,b {1}[x]*?/p.parquet") == "s3://b/a?b ?1??x???/p.parquet"


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"path": ["a"], "label": ["x"]}, "no column features among path, label"),
        ({"path": ["a"], "label": ["x"], "features": [1]}, "features are bigint, not a list"),
        ({"path": ["a"], "label": ["x"], "features": [["1"]]}, "features are array<string>, not"),
    ],
)
def test_a_table_that_will_not_do(table: dict[str, Any], told: str) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(table), sink)
    (said,) = _sources.opened([("in.parquet", sink.getvalue().to_pybytes())])
    assert isinstance(said, str)
    assert said.startswith("in.parquet: " + told)
