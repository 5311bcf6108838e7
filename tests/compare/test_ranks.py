from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from emrctl.compare.ranks import mann_whitney


def by_enumeration(first: list[float], second: list[float]) -> float:
    """Return the share of divisions with at least the observed deviation from the mean rank sum."""
    values = sorted([*first, *second])
    rank = {
        value: np.mean([n for n, item in enumerate(values) if item == value]) for value in values
    }
    ranks = [rank[value] for value in [*first, *second]]
    mean = len(first) * np.mean(ranks)
    observed = abs(sum(ranks[: len(first)]) - mean)
    sums = [sum(chosen) for chosen in itertools.combinations(ranks, len(first))]
    extreme = sum(abs(value - mean) >= observed - 1e-9 for value in sums)
    return float(extreme) / len(sums)


@pytest.mark.parametrize(
    ("first", "second", "p_value"),
    [
        ([1, 2, 3], [4, 5, 6], 0.1),
        ([1, 2, 3, 4, 5], [6, 7, 8, 9, 10], 2 / 252),
        ([1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12], 2 / 924),
        ([1, 1], [1, 1], 1.0),
        ([], [1.0], 1.0),
    ],
)
def test_mann_whitney_of_separate_sides_is_exact(
    first: list[float], second: list[float], p_value: float
) -> None:
    assert mann_whitney(first, second) == pytest.approx(p_value)


def test_mann_whitney_with_ties_equals_enumeration() -> None:
    rng = np.random.default_rng(5)
    for size, other in ((3, 4), (6, 6), (2, 7)):
        first = list(map(float, rng.integers(0, 6, size)))
        second = list(map(float, rng.integers(1, 7, other)))
        assert mann_whitney(first, second) == pytest.approx(by_enumeration(first, second))


def test_mann_whitney_of_many_values_continues_the_exact_test() -> None:
    rng = np.random.default_rng(6)
    first, second = list(rng.normal(0, 1, 30)), list(rng.normal(0.5, 1, 30))
    exact = mann_whitney(first, second)
    approximate = mann_whitney(first, [*second, float(np.median(second))])
    assert approximate == pytest.approx(exact, rel=0.2)
    assert mann_whitney([1.0] * 40, [1.0] * 40) == 1.0


def test_mann_whitney_of_more_than_60_values_is_the_normal_approximation() -> None:
    """Separate sides: the rank sum is half of 30 x 31 away from its mean of 930."""
    first, second = list(map(float, range(30))), list(map(float, range(100, 130)))
    exact = 2 / math.comb(60, 30)
    assert mann_whitney(first, second) == pytest.approx(exact, rel=1e-6)
    z = (30 * 31 / 2 - 0.5) / math.sqrt(30 * 31 * 62 / 12)
    approximate = math.erfc(z / math.sqrt(2))
    assert approximate > 1e6 * exact
    assert mann_whitney(first, [*second, 130.0]) == pytest.approx(approximate, rel=1e-6)
