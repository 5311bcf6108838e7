from __future__ import annotations

import math

import numpy as np
import pytest

from emrctl.compare.variance import DEFAULT_PRIOR, VariancePrior, fit_prior, resolution


def groups(deviation: float, count: int, size: int = 4, seed: int = 1) -> list[list[float]]:
    rng = np.random.default_rng(seed)
    return [list(np.exp(rng.normal(5, deviation, size))) for _ in range(count)]


def test_fit_prior_finds_deviation_and_agreement() -> None:
    prior = fit_prior(groups(0.05, 200), source="mine")
    assert prior.deviation == pytest.approx(0.05, rel=0.1)
    assert prior.degrees_of_freedom > 15
    assert (prior.groups, prior.source) == (200, "mine")


def test_fit_prior_of_disagreeing_groups_has_few_degrees_of_freedom() -> None:
    rng = np.random.default_rng(2)
    mixed = [
        list(np.exp(rng.normal(5, 0.02 * math.sqrt(3 / rng.chisquare(3)), 5))) for _ in range(400)
    ]
    prior = fit_prior(mixed)
    assert 2 < prior.degrees_of_freedom < 4.5
    assert prior.deviation == pytest.approx(0.02, rel=0.15)


def test_fit_prior_accepts_groups_of_different_sizes() -> None:
    mixed = groups(0.03, 60, size=2) + groups(0.03, 40, size=9) + [[5.0], []]
    prior = fit_prior(mixed)
    assert prior.groups == 100
    assert prior.deviation == pytest.approx(0.03, rel=0.2)


def test_fit_prior_without_repeats_is_the_default() -> None:
    assert fit_prior([]) == DEFAULT_PRIOR
    assert fit_prior([[1.0], [], [2.0, math.nan, 0.0, -3.0]]) == DEFAULT_PRIOR


def test_fit_prior_of_few_groups_is_between_them_and_the_default() -> None:
    few = fit_prior(groups(0.2, 2))
    assert DEFAULT_PRIOR.deviation < few.deviation < 0.2
    assert fit_prior(groups(0.2, 40)).deviation == pytest.approx(0.2, rel=0.2)


def test_fit_prior_is_robust_to_outliers_and_equal_times() -> None:
    clean = groups(0.02, 100)
    spoilt = clean + [[100.0, 100.0, 100.0, 300.0]] * 5 + [[60.0, 60.0, 60.0]] * 5
    prior, expected = fit_prior(spoilt), fit_prior(clean)
    assert prior.deviation == pytest.approx(expected.deviation, rel=0.15)
    assert prior.degrees_of_freedom < expected.degrees_of_freedom


def test_fit_prior_of_rounded_times_does_not_take_them_as_exact() -> None:
    prior = fit_prior([[40, 40, 40]] * 50)
    assert prior.deviation > 0.001
    assert prior.degrees_of_freedom < 1e4


def test_fit_prior_finds_that_short_jobs_vary_more() -> None:
    rng = np.random.default_rng(3)
    short = [list(np.exp(rng.normal(math.log(10), 0.08, 5))) for _ in range(100)]
    long = [list(np.exp(rng.normal(math.log(1000), 0.02, 5))) for _ in range(100)]
    prior = fit_prior(short + long)
    assert prior.exponent == pytest.approx(-0.3, abs=0.05)
    assert math.sqrt(prior.variance(10)) == pytest.approx(0.08, rel=0.15)
    assert math.sqrt(prior.variance(1000)) == pytest.approx(0.02, rel=0.15)


def test_fit_prior_of_extreme_times_is_finite() -> None:
    for times in ([1e-300, 1e300], [5e-324, 5e-324], [1e308, 1.1e308]):
        prior = fit_prior([times] * 3)
        assert math.isfinite(prior.deviation)
        assert prior.deviation > 0


def test_variance_follows_the_trend_within_its_limits() -> None:
    prior = VariancePrior(deviation=0.02, degrees_of_freedom=4.0, exponent=-0.5)
    assert prior.variance(150.0) == pytest.approx(0.0004)
    assert prior.variance(600.0) == pytest.approx(0.0001)
    assert prior.variance(1e-9) == prior.variance(1.0)
    assert prior.variance(1e200) == prior.variance(1e5)


@pytest.mark.parametrize(
    ("times", "step"),
    [([1.0, 20.0], 1.0), ([1.5, 2.0], 0.1), ([1.25, 2.0], 0.01), ([0.001], 0.001), ([1 / 3], 0.0)],
)
def test_resolution_is_the_unit_of_all_times(times: list[float], step: float) -> None:
    assert resolution(times) == step
