"""jobs/_learning.py: splits, groups and names, without Spark."""

import pytest
from _learning import Group, Splits, file_name, groups, positions

ROWS = [(f"{label}_{n}.jpg", label) for label in ("cat", "dog", "pug") for n in range(23)]


def test_a_splits_places_are_even_and_each_once() -> None:
    u = sorted(positions("cat", [f"cat_{n}.jpg" for n in range(10)], seed=1).values())
    assert u == pytest.approx([0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95])


def test_splits_depend_on_seed_label_and_path_alone() -> None:
    whole = Splits.of(ROWS, seed=7)
    assert Splits.of(reversed(ROWS), seed=7) == whole
    two = Splits.of([row for row in ROWS if row[1] != "pug"], seed=7)
    assert two.u["cat"] == whole.u["cat"]
    assert Splits.of(ROWS, seed=8).u["cat"] != whole.u["cat"]
    same_paths = Splits.of([(path, "other") for path, label in ROWS if label == "cat"], seed=7)
    assert same_paths.u["other"] != whole.u["cat"]


def test_splits_stay_what_they_are() -> None:
    """Published runs are compared by them: a change here is a change of every result."""
    u = positions("cat", ["cat_1.jpg", "cat_2.jpg", "cat_3.jpg"], seed=0)
    assert sorted(u, key=lambda path: u[path]) == ["cat_1.jpg", "cat_3.jpg", "cat_2.jpg"]


def test_splits_are_nested_and_as_large_as_asked() -> None:
    splits = Splits.of(ROWS, seed=7)
    before: set[str] = set()
    for share in (0.1, 0.3, 0.5, 0.9):
        trains = {path for path, label, _, u in splits.rows() if label == "cat" and u < share}
        assert before <= trains
        assert abs(len(trains) - share * 23) <= 0.5
        before = trains
    assert splits.sizes(Group("pairs", "cat", "dog"), 0.5) == (11, 11, 12, 12)
    assert sum(splits.sizes(Group("one-vs-all", "cat", "all"), 0.5)) == len(ROWS)


def test_the_models_asked_for() -> None:
    names = ["pug", "cat", "dog"]
    pairs = [(group.positive, group.negative) for group in groups(names, "pairs")]
    assert pairs == [("cat", "dog"), ("cat", "pug"), ("dog", "pug")]
    both = groups(names, "both")
    assert [group.task for group in both] == ["pairs"] * 3 + ["one-vs-all"] * 3
    one = [(group.positive, group.negative) for group in groups(names, "both", "dog")]
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
def test_a_classs_name_in_a_path(label: str, name: str) -> None:
    assert file_name(label) == name


def test_a_models_folder() -> None:
    assert Group("pairs", "cat", "dog").folder == "cat_VS_dog"
    assert Group("one-vs-all", "cat", "all").folder == "cat_VS_all"
    assert Group("pairs", "cat", "all").folder == "cat_VS_%61ll"
