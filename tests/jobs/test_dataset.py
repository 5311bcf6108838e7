"""Class pairs, splits, and Arrow batches as rows by class, without Spark."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from svm.dataset import (
    ClassPair,
    TrainTestSplits,
    class_pairs,
    merge_rows,
    partition_of,
    path_segment,
    positions,
    row_reader,
    scale_rows,
)

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
    (cat, summary), (_, dog) = read(ROWS)
    assert (summary.label, summary.paths) == ("cat", ["a", "b", "d"])
    assert cat.dtype == np.float32
    np.testing.assert_array_equal(cat, [[3, 4], [1, 2], [5, 6]])
    assert (dog.label, dog.paths) == ("dog", ["c"])
    assert (summary.width, summary.invalid, summary.error) == (2, None, "")


def test_row_reader_returns_only_summaries_of_unused_classes() -> None:
    (cat, summary), (_, dog) = read(ROWS, frozenset({"dog"}))
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
    np.testing.assert_array_equal(rows[2][0], [[5, 6, 7]])


def test_row_reader_scales_rows_to_length_one() -> None:
    (cat, _), (dog, _) = read(ROWS, scale="rows")
    np.testing.assert_allclose(np.linalg.norm(cat, axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(dog, [[0, 0]])
    assert scale_rows(cat, "none") is cat


def test_merge_rows_does_not_depend_on_order() -> None:
    complete = [(0, record) for record in read(ROWS)]
    halves = [(0, record) for rows in ((2, 3), (0, 1)) for record in read(select(rows))]
    for one, other in zip(merge_rows(complete), merge_rows(halves), strict=True):
        assert one[1] == other[1]
        assert one[0] is not None
        assert other[0] is not None
        np.testing.assert_array_equal(one[0], other[0])


def test_partition_of_is_stable() -> None:
    assert [partition_of(f"cat_{n}.jpg", 4) for n in range(8)] == [3, 1, 3, 2, 0, 1, 1, 0]


# Splits

LABELLED_PATHS = [(f"{label}_{n}.jpg", label) for label in ("cat", "dog", "pug") for n in range(23)]


def test_positions_are_evenly_spaced() -> None:
    u = sorted(positions("cat", [f"cat_{n}.jpg" for n in range(10)], seed=1).values())
    assert u == pytest.approx([0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95])


def test_splits_depend_on_seed_label_and_path_only() -> None:
    splits = TrainTestSplits.of(LABELLED_PATHS, seed=7)
    assert TrainTestSplits.of(reversed(LABELLED_PATHS), seed=7) == splits
    two = TrainTestSplits.of([row for row in LABELLED_PATHS if row[1] != "pug"], seed=7)
    assert two.u["cat"] == splits.u["cat"]
    assert TrainTestSplits.of(LABELLED_PATHS, seed=8).u["cat"] != splits.u["cat"]
    same_paths = TrainTestSplits.of(
        [(path, "other") for path, label in LABELLED_PATHS if label == "cat"], seed=7
    )
    assert same_paths.u["other"] != splits.u["cat"]


def test_positions_are_stable() -> None:
    """A change would make all results incomparable with those of earlier runs."""
    u = positions("cat", ["cat_1.jpg", "cat_2.jpg", "cat_3.jpg"], seed=0)
    assert sorted(u, key=lambda path: u[path]) == ["cat_1.jpg", "cat_3.jpg", "cat_2.jpg"]


def test_splits_of_larger_shares_contain_smaller_ones() -> None:
    splits = TrainTestSplits.of(LABELLED_PATHS, seed=7)
    before: set[str] = set()
    for share in (0.1, 0.3, 0.5, 0.9):
        trains = {path for path, label, _, u in splits.rows() if label == "cat" and u < share}
        assert before <= trains
        assert abs(len(trains) - share * 23) <= 0.5
        before = trains
    assert splits.sizes(ClassPair("pairs", "cat", "dog"), 0.5) == (11, 11, 12, 12)
    assert sum(splits.sizes(ClassPair("one-vs-all", "cat", "all"), 0.5)) == len(LABELLED_PATHS)


def test_class_pairs_of_task() -> None:
    names = ["pug", "cat", "dog"]
    sides = [(pair.positive, pair.negative) for pair in class_pairs(names, "pairs")]
    assert sides == [("cat", "dog"), ("cat", "pug"), ("dog", "pug")]
    both = class_pairs(names, "both")
    assert [pair.task for pair in both] == ["pairs"] * 3 + ["one-vs-all"] * 3
    one = [(pair.positive, pair.negative) for pair in class_pairs(names, "both", "dog")]
    assert one == [("dog", "cat"), ("dog", "pug"), ("dog", "all")]


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("great_pyrenees", "great_pyrenees"),
        ("all", "%61ll"),
        ("..", "%2E."),
        ("_hidden", "%5Fhidden"),
        ("a/b:c", "a%2Fb%3Ac"),
        ("a_VS_b", "a_%56S_b"),
        ("100%", "100%25"),
        ("hérisson", "h%C3%A9risson"),
    ],
)
def test_path_segment_encodes_special_names(label: str, name: str) -> None:
    assert path_segment(label) == name


def test_class_pair_folder() -> None:
    assert ClassPair("pairs", "cat", "dog").folder == "cat_VS_dog"
    assert ClassPair("one-vs-all", "cat", "all").folder == "cat_VS_all"
    assert ClassPair("pairs", "cat", "all").folder == "cat_VS_%61ll"
