"""Comparison of two runs by McNemar's test."""

import pytest

from svm.outputs import mcnemar_p


def test_mcnemar_p_is_the_exact_binomial_test() -> None:
    from scipy.stats import binomtest

    for first, second in ((0, 0), (3, 9), (9, 3), (5, 5), (400, 460), (0, 12)):
        n = first + second
        expected = binomtest(first, n).pvalue if n else 1.0
        assert mcnemar_p(first, second) == pytest.approx(expected)
