"""jobs/_scores.py and jobs/_multiclass.py: what answers are worth."""

import numpy as np
import pytest
from _learning import Group
from _multiclass import Ballot, answers, cells_of, rows_of, wanted
from _scores import auc, class_figures, figures, mcnemar, scores_of, votes
from _solvers import Task


def test_figures_of_a_test() -> None:
    told = figures([10, 8, 90, 81])
    assert told["n_test"] == 100
    assert told["n_correct"] == 89
    assert told["accuracy"] == 0.89
    assert told["balanced_accuracy"] == pytest.approx(0.85)
    assert told["majority_baseline"] == 0.9
    assert figures([0, 0, 4, 4])["balanced_accuracy"] is None
    assert figures([0, 0, 0, 0])["accuracy"] is None


def test_f1_and_the_confusion_of_a_test() -> None:
    told = figures([10, 8, 90, 81], 0.9)
    assert (told["tp"], told["fn"], told["fp"], told["tn"]) == (8, 2, 9, 81)
    assert told["f1"] == pytest.approx(16 / 27)
    assert told["roc_auc"] == 0.9
    assert figures([0, 0, 4, 4])["f1"] is None


def test_auc_is_scikit_learns() -> None:
    from sklearn.metrics import roc_auc_score

    made = np.random.default_rng(0)
    for _ in range(20):
        positive = made.random(40) < 0.3
        margins = np.round(made.standard_normal(40) + positive, 1)  # with ties
        if positive.any() and not positive.all():
            assert auc(margins, positive) == pytest.approx(roc_auc_score(positive, margins))
    assert auc(np.zeros(4), np.array([True, False, True, False])) == 0.5
    assert auc(np.ones(2), np.array([True, True])) is None


def test_scores_count_the_rows_that_test() -> None:
    margins = np.array([[1.0, -1.0, 0.0, 2.0, -3.0]])
    positive = np.array([True, True, True, False, False])
    (score,) = scores_of(margins, positive, np.array([[True, True, False, True, True]]))
    assert score.counts == (2, 1, 2, 1)
    assert score.auc == pytest.approx(0.5)
    bits = np.unpackbits(np.frombuffer(score.says, np.uint8), count=5)
    assert list(bits) == [1, 0, 0, 1, 0]


def test_votes_are_scikit_learns() -> None:
    """Beside OneVsOneClassifier's own way from margins to a class."""
    from sklearn.utils.multiclass import _ovr_decision_function

    made = np.random.default_rng(2)
    ends = np.array([(a, b) for a in range(4) for b in range(a + 1, 4)])
    margins = made.standard_normal((50, len(ends)))
    theirs = _ovr_decision_function(margins < 0, -margins, 4)
    np.testing.assert_array_equal(votes(margins, ends, 4), theirs.argmax(axis=1))


def test_one_vs_all_says_the_largest_margin() -> None:
    rows = np.eye(3)
    weights = np.array([[0.1, 0.2, 0.9], [0.3, 0.8, 0.1], [0.5, 0.1, 0.2]])
    ends = np.array([(2, -1), (0, -1), (1, -1)])
    assert list(answers(rows, (weights, ends), 3)) == [1, 0, 2]


def test_a_ballot_needs_every_model() -> None:
    pairs = [Task(Group("pairs", a, b), (0.5,)) for a, b in ("ab", "ac", "bc")]
    assert wanted(pairs, 3, 10) == {"pairs": ""}
    assert "not all models" in wanted(pairs[:2], 3, 10)["pairs"]
    assert "MB on the driver" in wanted(pairs, 3, 1 << 30)["pairs"]
    assert Ballot(["a", "b", "c"], []).names == set()


def test_figures_of_all_classes() -> None:
    confusion = np.array([[8, 2, 0], [1, 4, 0], [0, 0, 0]])
    told = class_figures(confusion)
    assert told["accuracy"] == 12 / 15
    assert told["balanced_accuracy"] == pytest.approx((0.8 + 0.8) / 2)
    assert told["macro_f1"] == pytest.approx((16 / 19 + 8 / 11) / 2)
    assert told["majority_baseline"] == 10 / 15
    made = {("pairs", 0.5): confusion}
    assert rows_of(made, 3, "gram")[0]["method"] == "voting"
    cells = cells_of(made, ["a", "b", "c"])
    assert {(cell["label"], cell["said"]): cell["n"] for cell in cells}["a", "b"] == 2
    assert len(cells) == 4


def test_mcnemar_is_a_fair_coins() -> None:
    from scipy.stats import binomtest

    for first, second in ((0, 0), (3, 9), (9, 3), (5, 5), (400, 460), (0, 12)):
        n = first + second
        wanted_p = binomtest(first, n).pvalue if n else 1.0
        assert mcnemar(first, second) == pytest.approx(wanted_p)
