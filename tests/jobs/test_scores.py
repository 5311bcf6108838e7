"""Scores of binary models."""

import numpy as np
import pytest

from svm.scores import figures, mcnemar_p, roc_auc, score_models


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


def test_mcnemar_p_is_the_exact_binomial_test() -> None:
    from scipy.stats import binomtest

    for first, second in ((0, 0), (3, 9), (9, 3), (5, 5), (400, 460), (0, 12)):
        n = first + second
        expected = binomtest(first, n).pvalue if n else 1.0
        assert mcnemar_p(first, second) == pytest.approx(expected)
