"""TrainTestSplits, class pairs and folder names."""

import pytest

from svm.splits import ClassPair, TrainTestSplits, class_pairs, path_segment, positions

ROWS = [(f"{label}_{n}.jpg", label) for label in ("cat", "dog", "pug") for n in range(23)]


def test_positions_are_evenly_spaced() -> None:
    u = sorted(positions("cat", [f"cat_{n}.jpg" for n in range(10)], seed=1).values())
    assert u == pytest.approx([0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95])


def test_splits_depend_on_seed_label_and_path_only() -> None:
    splits = TrainTestSplits.of(ROWS, seed=7)
    assert TrainTestSplits.of(reversed(ROWS), seed=7) == splits
    two = TrainTestSplits.of([row for row in ROWS if row[1] != "pug"], seed=7)
    assert two.u["cat"] == splits.u["cat"]
    assert TrainTestSplits.of(ROWS, seed=8).u["cat"] != splits.u["cat"]
    same_paths = TrainTestSplits.of(
        [(path, "other") for path, label in ROWS if label == "cat"], seed=7
    )
    assert same_paths.u["other"] != splits.u["cat"]


def test_positions_are_stable() -> None:
    """A change would make all results incomparable with those of earlier runs."""
    u = positions("cat", ["cat_1.jpg", "cat_2.jpg", "cat_3.jpg"], seed=0)
    assert sorted(u, key=lambda path: u[path]) == ["cat_1.jpg", "cat_3.jpg", "cat_2.jpg"]


def test_splits_of_larger_shares_contain_smaller_ones() -> None:
    splits = TrainTestSplits.of(ROWS, seed=7)
    before: set[str] = set()
    for share in (0.1, 0.3, 0.5, 0.9):
        trains = {path for path, label, _, u in splits.rows() if label == "cat" and u < share}
        assert before <= trains
        assert abs(len(trains) - share * 23) <= 0.5
        before = trains
    assert splits.sizes(ClassPair("pairs", "cat", "dog"), 0.5) == (11, 11, 12, 12)
    assert sum(splits.sizes(ClassPair("one-vs-all", "cat", "all"), 0.5)) == len(ROWS)


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
