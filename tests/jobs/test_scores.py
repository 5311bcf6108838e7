"""Scores of binary models, and of all models among all classes."""

import numpy as np
import pytest

from svm.dataset import ClassPair, TrainingTask
from svm.scores import (
    MulticlassScorer,
    confusion_figures,
    confusion_rows,
    figures,
    multiclass_rows,
    obstacles,
    predict,
    roc_auc,
    score_models,
    vote,
)


def test_figures_of_counts() -> None:
    row = figures([10, 8, 90, 81])
    assert row["n_test"] == 100
    assert row["n_correct"] == 89
    assert row["accuracy"] == 0.89
    assert row["balanced_accuracy"] == pytest.approx(0.85)
    assert row["majority_baseline"] == 0.9
    assert figures([0, 0, 4, 4])["balanced_accuracy"] is None
    assert figures([0, 0, 0, 0])["accuracy"] is None


def test_figures_include_f1_and_confusion() -> None:
    row = figures([10, 8, 90, 81], 0.9)
    assert (row["tp"], row["fn"], row["fp"], row["tn"]) == (8, 2, 9, 81)
    assert row["f1"] == pytest.approx(16 / 27)
    assert row["roc_auc"] == 0.9
    assert figures([0, 0, 4, 4])["f1"] is None


def test_roc_auc_equals_scikit_learn() -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    for _ in range(20):
        positive = rng.random(40) < 0.3
        margins = np.round(rng.standard_normal(40) + positive, 1)  # with ties
        if positive.any() and not positive.all():
            assert roc_auc(margins, positive) == pytest.approx(roc_auc_score(positive, margins))
    assert roc_auc(np.zeros(4), np.array([True, False, True, False])) == 0.5
    assert roc_auc(np.ones(2), np.array([True, True])) is None


def test_score_models_counts_test_rows_only() -> None:
    margins = np.array([[1.0, -1.0, 0.0, 2.0, -3.0]])
    positive = np.array([True, True, True, False, False])
    (score,) = score_models(margins, positive, np.array([[True, True, False, True, True]]))
    assert score.counts == (2, 1, 2, 1)
    assert score.auc == pytest.approx(0.5)
    bits = np.unpackbits(np.frombuffer(score.predictions, np.uint8), count=5)
    assert list(bits) == [1, 0, 0, 1, 0]


# All classes


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
    row = confusion_figures(confusion)
    assert row["accuracy"] == 12 / 15
    assert row["balanced_accuracy"] == pytest.approx((0.8 + 0.8) / 2)
    assert row["macro_f1"] == pytest.approx((16 / 19 + 8 / 11) / 2)
    assert row["majority_baseline"] == 10 / 15
    confusions = {("pairs", 0.5): confusion}
    assert multiclass_rows(confusions, 3, "gram")[0]["method"] == "voting"
    cells = confusion_rows(confusions, ["a", "b", "c"])
    assert {(cell["label"], cell["predicted"]): cell["n"] for cell in cells}["a", "b"] == 2
    assert len(cells) == 4
