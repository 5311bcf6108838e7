"""Statistics of few repeats: is one configuration faster than another, and how certain is that.

Times are compared as logarithms, so that a difference is a ratio. Two to five repeats estimate
their own variance poorly, so it is moderated by a prior (see `emrctl.compare.variance`). The two
sides may vary differently: the p-value is the mean of that of equal variances (moderated t) and
that of separate ones (the Behrens-Fisher distribution), weighted by the evidence for each. From
`MANN_WHITNEY_REPEATS` on each side, a difference must also show in the ranks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special

from emrctl.compare.ranks import mann_whitney
from emrctl.compare.variance import DEFAULT_PRIOR, Side, VariancePrior, fit_prior, resolution, valid
from emrctl.errors import UsageError

__all__ = [
    "DEFAULT_PRIOR",
    "Difference",
    "VariancePrior",
    "difference",
    "fit_prior",
    "holm",
    "repeats_to_show",
]

Verdict = Literal["faster", "slower", "no difference", "inconclusive"]

# "No difference" without a threshold: the interval excludes differences of 5 % or more.
EQUIVALENCE = 0.05
MANN_WHITNEY_REPEATS = 6
POWER = 0.8
MAX_REPEATS = 10_000
_INFINITE = 1e6  # degrees of freedom; more make no difference


@dataclass(frozen=True)
class Difference:
    """The times of `other` compared with those of `reference`.

    `ratio` is that of the geometric means, `low` and `high` its interval; `p_value` is two-sided
    for a ratio of 1. `smallest_detectable` is the smallest slow-down (0.05 is 5 %) that this many
    repeats, varying as these do, show with a probability of 80 %. All but `ratio` are None if a
    side has one time; `ratio` too if a side has none.
    """

    ratio: float | None
    low: float | None
    high: float | None
    p_value: float | None
    smallest_detectable: float | None
    verdict: Verdict


def difference(
    reference: Sequence[float],
    other: Sequence[float],
    *,
    prior: VariancePrior | None = None,
    threshold: float = 0.0,
    confidence: float = 0.95,
) -> Difference:
    """Compare the times of two configurations; `prior` is by default `DEFAULT_PRIOR`.

    The verdict is "slower" if the whole interval is above 1 + `threshold`, "faster" if it is below
    1 / (1 + `threshold`), so that exchanging the sides exchanges the verdicts. It is "no
    difference" if the interval is between these two, or between those of 5 % if the threshold is 0:
    too few repeats are no evidence of equality. Otherwise, and with fewer than two times on a
    side, it is "inconclusive". From 6 times on each side, "slower" and "faster" also require
    that the Mann-Whitney test beyond the threshold is significant, and `p_value` is the larger of
    both tests.

    Values that are not positive and finite are ignored. Raises `UsageError` if `threshold` is
    negative or `confidence` is not between 0 and 1.
    """
    if not (threshold >= 0 and 0 < confidence < 1):
        raise UsageError(f"threshold {threshold} is negative or confidence {confidence} not in 0…1")
    first, second = valid(reference), valid(other)
    if min(len(first), len(second)) < 2:
        ratio = _mean_ratio(first, second) if first and second else None
        return Difference(ratio, None, None, None, None, "inconclusive")
    model = _Posterior.of(first, second, prior or DEFAULT_PRIOR)
    half = model.half_width(1 - confidence)
    low, high = (_exp(model.mean + sign * half) for sign in (-1, 1))
    detectable = _exp(half + model.half_width(2 * (1 - POWER))) - 1
    verdict = _verdict(first, second, (low, high), threshold, 1 - confidence)
    p_value = model.p_value(abs(model.mean))
    if min(len(first), len(second)) >= MANN_WHITNEY_REPEATS:
        p_value = max(p_value, mann_whitney(first, second))
    return Difference(_exp(model.mean), low, high, p_value, detectable, verdict)


def _verdict(
    first: list[float],
    second: list[float],
    interval: tuple[float, float],
    threshold: float,
    alpha: float,
) -> Verdict:
    limit = 1 + threshold
    verdict: Verdict = "inconclusive"
    if interval[0] > limit:
        verdict = "slower"
    elif interval[1] < 1 / limit:
        verdict = "faster"
    else:
        equivalent = limit if threshold else 1 + EQUIVALENCE
        if 1 / equivalent <= interval[0] and interval[1] <= equivalent:
            return "no difference"
        return "inconclusive"
    if min(len(first), len(second)) >= MANN_WHITNEY_REPEATS:
        factor = limit if verdict == "slower" else 1 / limit
        if mann_whitney([value * factor for value in first], second) >= alpha:
            return "inconclusive"
    return verdict


def repeats_to_show(
    effect: float,
    reference: Sequence[float],
    other: Sequence[float],
    *,
    prior: VariancePrior | None = None,
    confidence: float = 0.95,
) -> int | None:
    """Return how many repeats of each side show a slow-down of `effect` (0.05 is 5 %).

    That is with a probability of 80 %, if further repeats vary as those at hand and the prior let
    expect; a single time on a side is enough to ask. None if a side has no valid time, or if more
    than 10,000 repeats are needed. Raises `UsageError` if `effect` is not positive.
    """
    if not effect > 0:
        raise UsageError(f"an effect of {effect} needs no repeats to show; it must be above 0")
    first, second = valid(reference), valid(other)
    if not first or not second:
        return None
    model = _Posterior.of(first, second, prior or DEFAULT_PRIOR)
    variance = model.variance
    for count in range(2, MAX_REPEATS + 1):
        freedom = 2 * (count - 1) + model.prior_freedom
        needed = special.stdtrit(freedom, 0.5 + confidence / 2) + special.stdtrit(freedom, POWER)
        if needed * math.sqrt(variance / count) <= math.log1p(effect):
            return count
    return None


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return p-values corrected for their number (Holm 1979); None where there is none."""
    order = sorted((value, at) for at, value in enumerate(p_values) if value is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (value, at) in enumerate(order):
        largest = max(largest, min(1.0, value * (len(order) - rank)))
        corrected[at] = largest
    return corrected


# Quantiles of a distribution at which it is averaged: dense at both ends.
_QUANTILES = 1 / (1 + np.exp(-np.linspace(-12, 12, 49)))
_SHARES = _QUANTILES * (1 - _QUANTILES) / (_QUANTILES * (1 - _QUANTILES)).sum()


@dataclass(frozen=True)
class _Posterior:
    """The difference of two mean logarithms: a mixture of scaled t distributions around `mean`.

    `variance` is the sum of the moderated variances of one time of each side.
    """

    mean: float
    variance: float
    prior_freedom: float
    weights: np.ndarray
    freedoms: np.ndarray
    scales: np.ndarray

    @classmethod
    def of(cls, first: list[float], second: list[float], prior: VariancePrior) -> _Posterior:
        step = resolution([*first, *second])
        sides = [Side.of(times, step) for times in (first, second)]
        counts = np.array([len(first), len(second)])
        weight = min(prior.degrees_of_freedom, _INFINITE)
        typical = np.array([prior.variance(math.exp(side.mean)) + side.floor for side in sides])
        own = np.array([side.variance for side in sides])
        freedom = counts - 1.0

        total = weight + freedom
        moderated = (weight * typical + freedom * own) / np.maximum(total, 1e-9)
        moderated = np.where(total > 0, moderated, typical)
        separate = _behrens_fisher(moderated / counts, np.maximum(total, 1e-9))

        both = freedom.sum()
        pooled_own = (freedom * own).sum() / max(both, 1e-9)
        pooled = (weight * typical.mean() + both * pooled_own) / max(weight + both, 1e-9)
        equal = _probability_equal(
            weight, np.append(typical, typical.mean()), np.append(own, pooled_own), freedom
        )
        return cls(
            mean=sides[1].mean - sides[0].mean,
            variance=float(moderated.sum()),
            prior_freedom=weight,
            weights=np.append((1 - equal) * _SHARES, equal),
            freedoms=np.append(np.full(len(_SHARES), total.sum()), weight + both),
            scales=np.append(separate, math.sqrt(pooled * (1 / counts).sum())),
        )

    def p_value(self, distance: float) -> float:
        """Return the probability of a deviation from `mean` by at least `distance`."""
        tails = special.stdtr(self.freedoms, -distance / self.scales)
        return min(1.0, 2 * float(self.weights @ tails))

    def half_width(self, alpha: float) -> float:
        """Return the distance with `p_value` `alpha`, by regula falsi (Illinois) on logarithms."""
        low = high = math.log(self.scales.min())
        while (above := self._log_ratio(low, alpha)) < 0:
            low -= 1
        while (below := self._log_ratio(high, alpha)) > 0:
            high += 1
        while high - low > 1e-9:
            middle = (low * below - high * above) / (below - above)
            value = self._log_ratio(middle, alpha)
            if abs(value) < 1e-7:
                return math.exp(middle)
            if value > 0:
                low, above, below = middle, value, below / 2
            else:
                high, below, above = middle, value, above / 2
        return math.exp(high)

    def _log_ratio(self, log_distance: float, alpha: float) -> float:
        return math.log(max(self.p_value(math.exp(log_distance)), 1e-300) / alpha)


def _behrens_fisher(variances: np.ndarray, freedoms: np.ndarray) -> np.ndarray:
    """Return the scales of t distributions whose average is that of two t-distributed means.

    The share of one side's chi-square in the sum of both is beta distributed; given the share, the
    difference has one t distribution with the sum of the degrees of freedom.
    """
    half = freedoms / 2
    share = np.clip(special.betaincinv(half[0], half[1], _QUANTILES), 1e-12, 1 - 1e-12)
    sums = variances[0] * freedoms[0] / share + variances[1] * freedoms[1] / (1 - share)
    scales: np.ndarray = np.sqrt(sums / freedoms.sum())
    return scales


def _probability_equal(
    weight: float, typical: np.ndarray, own: np.ndarray, freedom: np.ndarray
) -> float:
    """Return the probability that both sides have one variance; before looking, it is 1/2.

    `typical` and `own` are the variances of the prior and the repeats: of each side, and of both.
    """
    if weight == 0:
        return 0.0
    freedoms = np.append(freedom, freedom.sum())
    evidence = (
        special.gammaln((weight + freedoms) / 2)
        - special.gammaln(weight / 2)
        + weight / 2 * np.log(weight * typical)
        - (weight + freedoms) / 2 * np.log(weight * typical + freedoms * own)
    )
    return float(special.expit(evidence[2] - evidence[0] - evidence[1]))


def _mean_ratio(first: list[float], second: list[float]) -> float:
    return _exp(float(np.log(second).mean() - np.log(first).mean()))


def _exp(value: float) -> float:
    """Return exp(value), infinity where it is too large."""
    return math.exp(value) if value < 709 else math.inf
