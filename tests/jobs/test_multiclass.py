"""Classification among all classes, and its figures."""

import numpy as np
import pytest

from svm.multiclass import (
    MulticlassScorer,
    confusion_figures,
    confusion_rows,
    multiclass_rows,
    obstacles,
    predict,
    vote,
)
from svm.splits import ClassPair, TrainingTask


def test_vote_agrees_with_scikit_learn() -> None:
    """As OneVsOneClassifier derives classes from margins."""
    from sklearn.utils.multiclass import _ovr_decision_function

    rng = np.random.default_rng(2)
    sides = np.array([(a, b) for a in range(4) for b in range(a + 1, 4)])
    margins = rng.standard_normal((50, len(sides)))
    expected = _ovr_decision_function(margins < 0, -margins, 4)
    np.testing.assert_array_equal(vote(margins, sides, 4), expected.argmax(axis=1))


def test_predict_by_one_vs_all_returns_largest_margin() -> None:
    rows = np.eye(3)
    weights = np.array([[0.1, 0.2, 0.9], [0.3, 0.8, 0.1], [0.5, 0.1, 0.2]])
    sides = np.array([(2, -1), (0, -1), (1, -1)])
    assert list(predict(rows, (weights, sides), 3)) == [1, 0, 2]


def test_obstacles_name_missing_and_large_models() -> None:
    pairs = [TrainingTask(ClassPair("pairs", a, b), (0.5,)) for a, b in ("ab", "ac", "bc")]
    assert obstacles(pairs, 3, 10) == {"pairs": ""}
    assert "not all models" in obstacles(pairs[:2], 3, 10)["pairs"]
    assert "MB on the driver" in obstacles(pairs, 3, 1 << 30)["pairs"]
    assert MulticlassScorer(["a", "b", "c"], []).tasks == set()


def test_confusion_figures_and_rows() -> None:
    confusion = np.array([[8, 2, 0], [1, 4, 0], [0, 0, 0]])
    figures = confusion_figures(confusion)
    assert figures["accuracy"] == 12 / 15
    assert figures["balanced_accuracy"] == pytest.approx((0.8 + 0.8) / 2)
    assert figures["macro_f1"] == pytest.approx((16 / 19 + 8 / 11) / 2)
    assert figures["majority_baseline"] == 10 / 15
    confusions = {("pairs", 0.5): confusion}
    assert multiclass_rows(confusions, 3, "gram")[0]["method"] == "voting"
    cells = confusion_rows(confusions, ["a", "b", "c"])
    assert {(cell["label"], cell["said"]): cell["n"] for cell in cells}["a", "b"] == 2
    assert len(cells) == 4
