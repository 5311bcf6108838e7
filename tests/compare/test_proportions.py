from __future__ import annotations

import math

import pytest
from scipy import stats

from emrctl.compare.proportions import mcnemar, power, sample_size, two_proportions
from emrctl.errors import UsageError


def test_two_proportions_of_a_small_difference_is_not_significant() -> None:
    result = two_proportions(0.07, 1062, 0.08, 982)
    assert result.z == pytest.approx(0.858, abs=1e-3)
    assert result.p_one_sided == pytest.approx(0.195, abs=5e-4)
    assert result.p_value == pytest.approx(2 * result.p_one_sided)
    assert result.low < 0 < result.difference < result.high


def test_two_proportions_interval_is_newcombes() -> None:
    # Newcombe 1998, example (a) of method 10: 56/70 and 48/80.
    result = two_proportions(48 / 80, 80, 56 / 70, 70)
    assert (result.low, result.high) == pytest.approx((0.0524, 0.3339), abs=1e-4)


def test_two_proportions_of_extreme_shares_has_no_error() -> None:
    for share in (0.0, 1.0):
        result = two_proportions(share, 5, share, 7)
        assert (result.difference, result.z, result.p_value) == (0.0, 0.0, 1.0)
        assert result.low < 0 < result.high


@pytest.mark.parametrize(("share", "count"), [(1.1, 5), (-0.1, 5), (0.5, 0)])
def test_two_proportions_rejects_invalid_arguments(share: float, count: int) -> None:
    with pytest.raises(UsageError):
        two_proportions(share, count, 0.5, 10)


def test_sample_size_is_the_textbook_number() -> None:
    # (1.96 sqrt(2 x 0.15 x 0.85) + 0.8416 sqrt(0.09 + 0.16))^2 / 0.01 = 198.96
    assert sample_size(0.1, 0.2) == 199
    assert sample_size(0.07, 0.08) == sample_size(0.08, 0.07) == 10_890
    one_sided = sample_size(0.07, 0.08, one_sided=True)
    assert one_sided is not None
    assert one_sided < 10_890
    assert sample_size(0.3, 0.3) is None


def test_mcnemar_is_the_exact_binomial_test() -> None:
    assert mcnemar(1, 9) == pytest.approx(22 / 1024)
    assert mcnemar(9, 1) == mcnemar(1, 9)
    assert mcnemar(5, 5) == 1.0
    assert mcnemar(0, 0) == 1.0


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),  # Newcombe 1998, table II, method 10
    [((9, 10), (3, 10), 0.1705, 0.8090), ((0, 10), (0, 20), -0.1611, 0.2775)],
)
def test_two_proportions_interval_of_small_samples_is_newcombes(
    first: tuple[int, int], second: tuple[int, int], low: float, high: float
) -> None:
    (x, n), (y, m) = first, second
    result = two_proportions(y / m, m, x / n, n)
    assert (result.low, result.high) == pytest.approx((low, high), abs=6e-5)


def test_two_proportions_p_value_equals_chi_square_without_correction() -> None:
    result = two_proportions(12 / 80, 80, 30 / 95, 95)
    chi = stats.chi2_contingency([[12, 68], [30, 65]], correction=False)
    assert result.p_value == pytest.approx(chi.pvalue)
    assert result.z**2 == pytest.approx(chi.statistic)


def test_power_agrees_with_sample_size_and_exact_sums() -> None:
    n = sample_size(0.1, 0.2, power=0.8)
    assert n is not None
    assert power(0.1, n, 0.2, n) == pytest.approx(0.8, abs=3e-3)
    first, second = stats.binom(n, 0.1).pmf(range(n + 1)), stats.binom(n, 0.2).pmf(range(n + 1))
    exact = sum(
        first[x] * second[y]
        for x in range(5, 45)
        for y in range(15, 75)
        if abs(y - x) > 1.959964 * math.sqrt((x + y) * (2 * n - x - y) / (2 * n))
    )
    assert power(0.1, n, 0.2, n) == pytest.approx(exact, abs=0.01)


def test_power_of_certain_and_of_no_difference() -> None:
    assert power(0.0, 100, 1.0, 100) == 1.0
    assert power(0.3, 500, 0.3, 500) == pytest.approx(0.05)
    assert power(0.0, 5, 0.0, 5) == 0.0
    with pytest.raises(UsageError):
        power(0.5, 0, 0.5, 10)
