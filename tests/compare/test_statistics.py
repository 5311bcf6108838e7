from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from emrctl.compare.statistics import (
    DEFAULT_PRIOR,
    Difference,
    VariancePrior,
    difference,
    holm,
    repeats_to_show,
)
from emrctl.errors import UsageError

REFERENCE = [100.1, 101.4, 99.2]
NO_PRIOR = VariancePrior(deviation=0.01, degrees_of_freedom=0.0)
FIXED = VariancePrior(deviation=0.02, degrees_of_freedom=math.inf)


def by(factor: float, times: Sequence[float] = REFERENCE) -> list[float]:
    return [factor * value for value in times]


@pytest.mark.parametrize(
    ("factor", "verdict"),
    [(1.15, "slower"), (1 / 1.15, "faster"), (1.0, "no difference"), (1.025, "inconclusive")],
)
def test_difference_has_the_verdict_of_its_interval(factor: float, verdict: str) -> None:
    result = difference(REFERENCE, by(factor))
    assert result.verdict == verdict
    assert result.ratio == pytest.approx(factor)
    assert result.low is not None
    assert result.high is not None
    assert result.low < factor < result.high
    assert result.low * result.high == pytest.approx(factor**2)


def test_difference_of_exchanged_sides_is_the_inverse() -> None:
    other = [121.0, 118.5, 119.7, 120.2]
    forth = difference(REFERENCE, other, threshold=0.05)
    back = difference(other, REFERENCE, threshold=0.05)
    assert (forth.verdict, back.verdict) == ("slower", "faster")
    assert forth.p_value == pytest.approx(back.p_value)
    assert forth.low is not None
    assert back.high == pytest.approx(1 / forth.low)


def test_difference_does_not_depend_on_the_order_or_type_of_times() -> None:
    expected = difference([100, 102, 101], [110, 112, 113])
    assert difference((101, 100, 102), np.array([113.0, 110.0, 112.0])) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("factor", "threshold", "verdict"),
    [
        (1.15, 0.05, "slower"),
        (1.15, 0.15, "inconclusive"),
        (1.05, 0.15, "no difference"),
        (0.96, 0.15, "no difference"),
        (0.8, 0.10, "faster"),
        (0.8, 0.25, "inconclusive"),
        (1.0, 0.01, "inconclusive"),
    ],
)
def test_difference_beyond_a_threshold(factor: float, threshold: float, verdict: str) -> None:
    assert difference(REFERENCE, by(factor), threshold=threshold).verdict == verdict


@pytest.mark.parametrize(
    ("reference", "other", "ratio"),
    [
        ([1.0], [2.0], 2.0),
        ([1.0, 1.1], [2.2], 2.2 / math.sqrt(1.1)),
        ([2.0], [1.0, 1.0, 1.0], 0.5),
        ([], [1.0, 2.0], None),
        ([1.0, 2.0], [], None),
        ([], [], None),
        ([4.0, math.nan, 0.0, -1.0, math.inf], [2.0, 2.0], 0.5),
    ],
)
def test_difference_without_repeats_is_inconclusive(
    reference: list[float], other: list[float], ratio: float | None
) -> None:
    result = difference(reference, other)
    assert result.ratio == pytest.approx(ratio)
    assert dataclasses.replace(result, ratio=None) == Difference(
        None, None, None, None, None, "inconclusive"
    )


def test_difference_ignores_invalid_times() -> None:
    valid = difference(REFERENCE, by(1.1))
    assert difference([*REFERENCE, math.nan, 0.0], [-5.0, *by(1.1), math.inf]) == valid


def test_difference_of_equal_times_is_not_certain_beyond_their_rounding() -> None:
    seconds = difference([100, 100, 100], [100, 100, 100])
    assert (seconds.ratio, seconds.verdict, seconds.p_value) == (1.0, "no difference", 1.0)
    coarse = difference([3, 3, 3], [3, 3, 3])
    assert coarse.verdict == "inconclusive"
    assert coarse.high is not None
    assert coarse.high > 1.1
    assert difference([100, 100, 100], [120, 120, 120]).verdict == "slower"


@pytest.mark.parametrize(
    ("reference", "other"),
    [
        ([1e300, 1.1e300], [1e-300, 1e-300]),
        ([1e-300, 1e-300], [1e300, 1.1e300]),
        ([5e-324, 5e-324], [5e-324, 5e-324]),
        ([1, 1e6, 1e12], [1, 1e6, 1e12]),
    ],
)
def test_difference_of_extreme_times_has_no_nan(reference: list[float], other: list[float]) -> None:
    values = dataclasses.asdict(difference(reference, other))
    values.pop("verdict")
    assert not any(math.isnan(value) for value in values.values())


def test_difference_with_an_infinite_prior_is_a_z_test() -> None:
    result = difference(REFERENCE, by(1.05), prior=FIXED)
    error = 0.02 * math.sqrt(2 / 3)
    assert result.low == pytest.approx(1.05 * math.exp(-1.959964 * error), rel=1e-4)
    z = math.log(1.05) / error
    assert result.p_value == pytest.approx(math.erfc(z / math.sqrt(2)), rel=1e-3)
    assert result.smallest_detectable == pytest.approx(
        math.expm1((1.959964 + 0.841621) * error), rel=1e-3
    )


def test_difference_without_prior_is_that_of_behrens_and_fisher() -> None:
    # 12 and 6 degrees of freedom, equal standard errors: 2.301 at 5 % (Fisher and Yates, table VI).
    logs = np.array([-1.0, 1.0])
    first = np.exp(np.concatenate([np.zeros(11), logs * math.sqrt(13 * 6)]) / 100)
    second = np.exp(np.concatenate([np.zeros(5), logs * math.sqrt(7 * 3)]) / 100)
    distance = 2.301 * math.sqrt(2) / 100
    result = difference(list(first), list(second * math.exp(distance)), prior=NO_PRIOR)
    assert result.low == pytest.approx(1.0, abs=1e-4)


def test_difference_with_a_noisier_side_is_less_certain() -> None:
    quiet = [100.1, 100.4, 99.8, 100.2, 100.3]
    noisy = [90.3, 121.7, 111.2]
    assert difference(quiet, by(1.08, quiet)).verdict == "slower"
    assert difference(quiet, noisy).verdict == "inconclusive"


def test_difference_from_six_repeats_also_needs_ranks() -> None:
    # The mean of the logarithms differs, but a third of the ranks contradict it.
    reference = [100.0, 100.1, 100.2, 100.3, 100.4, 100.5]
    other = [99.1, 99.2, 104.5, 104.7, 104.6, 104.4]
    narrow = VariancePrior(deviation=0.005, degrees_of_freedom=100.0)
    result = difference(reference, other, prior=narrow)
    assert result.low is not None
    assert result.low > 1
    assert result.p_value is not None
    assert result.p_value > 0.05
    assert result.verdict == "inconclusive"
    assert difference(reference[:5], other[:5], prior=narrow).verdict == "slower"


@pytest.mark.parametrize("arguments", [{"threshold": -0.1}, {"confidence": 1.0}, {"confidence": 0}])
def test_difference_rejects_invalid_arguments(arguments: Any) -> None:
    with pytest.raises(UsageError, match="threshold"):
        difference(REFERENCE, REFERENCE, **arguments)


def test_difference_covers_the_true_ratio_and_raises_few_false_alarms() -> None:
    rng = np.random.default_rng(20)
    covered = alarms = 0
    size = 300
    for _ in range(size):
        deviations = 0.0135 * np.sqrt(3 / rng.chisquare(3, 2))
        reference, other = (np.exp(rng.normal(5, s, 3)) for s in deviations)
        result = difference(list(reference), list(other))
        assert result.low is not None
        assert result.high is not None
        covered += result.low <= 1 <= result.high
        alarms += result.verdict in {"faster", "slower"}
    assert 0.92 <= covered / size <= 0.99
    assert alarms / size <= 0.07


def test_repeats_to_show_falls_with_the_effect() -> None:
    assert repeats_to_show(0.05, [100.0], [100.0]) == 3
    few, many = (repeats_to_show(effect, REFERENCE, REFERENCE) for effect in (0.1, 0.01))
    assert few is not None
    assert many is not None
    assert 2 <= few < many
    assert repeats_to_show(1e-6, REFERENCE, REFERENCE) is None
    assert repeats_to_show(0.05, [], REFERENCE) is None
    with pytest.raises(UsageError, match="must be above 0"):
        repeats_to_show(0.0, REFERENCE, REFERENCE)


def test_repeats_to_show_of_known_variance_is_the_textbook_number() -> None:
    # (1.96 + 0.84)^2 x 2 x 0.02^2 / log(1.05)^2 = 2.64
    assert repeats_to_show(0.05, REFERENCE, REFERENCE, prior=FIXED) == 3


def test_holm_corrects_p_values_step_by_step() -> None:
    assert holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
    assert holm([None]) == [None]


def test_default_prior_names_its_source() -> None:
    assert str(DEFAULT_PRIOR) == "468 configurations with repeats: public EMR runs (C3O, 2020)"


def test_difference_is_that_of_the_simulations() -> None:
    """The values of the model whose error rates `bench_compare` shows, for unequal sides."""
    result = difference([100.0, 102.0, 101.0], [110.0, 112.0, 113.0, 109.5])
    values = (result.low, result.high, result.p_value, result.smallest_detectable)
    assert values == pytest.approx((1.07095942, 1.13022330, 4.7530480e-4, 0.03729904), rel=1e-5)


def test_half_width_is_the_distance_of_a_p_value() -> None:
    prior = VariancePrior(deviation=0.02, degrees_of_freedom=3.0)
    for alpha in (0.3, 0.05, 1e-4):
        result = difference(REFERENCE, by(1.1), prior=prior, confidence=1 - alpha)
        assert result.low is not None
        at_limit = difference(REFERENCE, by(1.1 / result.low), prior=prior)
        assert at_limit.p_value == pytest.approx(alpha, rel=1e-5)


@pytest.mark.parametrize(("count", "verdict"), [(5, "slower"), (6, "inconclusive")])
def test_ranks_beyond_the_threshold_are_needed_from_six_repeats(count: int, verdict: str) -> None:
    """Two of the other times are no longer than 5 % above the reference."""
    reference = [100.0, 100.1, 100.2, 100.3, 100.4, 100.5][:count]
    other = [104.9, 105.0, 112.5, 112.7, 112.6, 112.4][:count]
    narrow = VariancePrior(deviation=0.005, degrees_of_freedom=100.0)
    assert difference(reference, other, prior=narrow, threshold=0.05).verdict == verdict
    assert difference(reference, other, prior=narrow).verdict == "slower"


def test_repeats_to_show_uses_the_variance_of_both_sides() -> None:
    # (1.960 + 0.842)^2 x 2 x 0.02^2 / log(1.02)^2 = 16.01; 9.2 with 1.282 in place of 1.960.
    assert repeats_to_show(0.02, [100.0], [100.0], prior=FIXED) == 17
    assert repeats_to_show(0.02, [100.0], [100.0], prior=FIXED, confidence=0.8) == 10
    # (t(0.975) + t(0.8)) x sqrt(2 x 0.0002 / n) is 0.076 for n = 2 and 0.043 for n = 3.
    spread = [math.exp(-0.01), math.exp(0.01)]
    assert repeats_to_show(0.05, spread, spread, prior=NO_PRIOR) == 3
