"""How much repeats vary: a prior for the variance of few repeats, fitted on many configurations.

The method is that of Smyth 2004, "Linear models and empirical Bayes methods for assessing
differential expression in microarray experiments", with maximum likelihood in place of moments of
the variances' logarithms: a few groups of equal times (rounded to seconds) or with an outlier
dominate those moments.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import special

_REFERENCE_S = 150.0  # time of `VariancePrior.deviation`


@dataclass(frozen=True)
class VariancePrior:
    """How much repeats vary: variances of logarithms are scaled inverse chi-square distributed.

    `deviation` is the typical standard deviation of the logarithm (0.01 is about 1 %) of a time of
    150 s, and (time / 150 s) ** `exponent` times that from 1 to 100,000 s. `degrees_of_freedom`
    says how much the configurations agree: 0 ignores the prior, infinity ignores the repeats at
    hand. `groups` is the number of configurations with repeats that it was fitted on.
    """

    deviation: float
    degrees_of_freedom: float
    exponent: float = 0.0
    groups: int = 0
    source: str = ""

    def variance(self, time_s: float) -> float:
        """Return the typical variance of the logarithm of a time."""
        factor = math.exp(self.exponent * float(_scaled(math.log(time_s))))
        return (self.deviation * factor) ** 2

    def __str__(self) -> str:
        """Return name and size, as in the notes of a comparison."""
        noun = "configuration" if self.groups == 1 else "configurations"
        return f"{self.groups:,} {noun} with repeats: {self.source or 'given times'}"


# Fitted by bench/bench_compare.py on run times of Will, Bader and Thamsen, "Towards Collaborative
# Optimization of Cluster Configurations for Distributed Dataflow Jobs", 2020. The fit has 1.44
# degrees of freedom; fewer are used because other jobs differ more than those of one study.
DEFAULT_PRIOR = VariancePrior(
    deviation=0.0135,
    degrees_of_freedom=1.0,
    exponent=-0.17,
    groups=468,
    source="public EMR runs (C3O, 2020)",
)


class Side(NamedTuple):
    """Mean and variance of the logarithms of times, with the variance of their rounding."""

    mean: float
    variance: float
    freedom: int
    floor: float

    @classmethod
    def of(cls, times: Sequence[float], resolution: float) -> Side:
        """Summarise positive times that are multiples of `resolution`, 0 if they are exact."""
        logs = np.log(times)
        mean = float(logs.mean())
        # Rounding errors are uniform; the second term is that of floating point.
        floor = (resolution / math.exp(mean)) ** 2 / 12 + 1e-12
        variance = float(logs.var(ddof=1)) if len(times) > 1 else 0.0
        return cls(mean, max(variance, floor), len(times) - 1, floor)


def valid(times: Iterable[float | None]) -> list[float]:
    """Return the positive and finite times, sorted."""
    numbers = sorted(float(value) for value in times if value is not None)
    return [value for value in numbers if math.isfinite(value) and value > 0]


def _scaled(log_time: float | np.ndarray) -> np.ndarray:
    """Return log(time / 150 s) for the trend of a prior, which does not extend without end."""
    return np.clip(log_time, 0.0, math.log(1e5)) - math.log(_REFERENCE_S)


def resolution(times: Sequence[float]) -> float:
    """Return the largest of 1, 0.1, 0.01 and 0.001 s that all times are multiples of, or 0."""
    for digits in range(4):
        if all(value == round(value, digits) for value in times):
            return 10.0**-digits
    return 0.0


def fit_prior(groups: Iterable[Sequence[float]], *, source: str = "") -> VariancePrior:
    """Fit the prior on groups of times; each group are the repeats of one configuration.

    Values that are not positive and finite are ignored, and groups with fewer than two others.
    The likelihood is combined with weak priors around `DEFAULT_PRIOR`, which is the result
    without groups. Times that are all multiples of 1, 0.1, 0.01 or 0.001 s are taken as rounded.
    """
    sides = [Side.of(times, resolution(times)) for times in map(valid, groups) if len(times) > 1]
    if not sides:
        return DEFAULT_PRIOR
    means, variances, freedom, floors = np.array(sides).T
    scaled = _scaled(means)
    start = np.array(
        [
            math.log(DEFAULT_PRIOR.deviation),
            math.log(DEFAULT_PRIOR.degrees_of_freedom),
            DEFAULT_PRIOR.exponent,
        ]
    )
    # One configuration more or less; the exponent is hardly known from times of one size.
    widths = np.array([1.0, 1.5, 0.1])

    def score(point: np.ndarray) -> float:
        typical = np.exp(2 * (point[0] + point[2] * scaled)) + floors
        prior = math.exp(point[1])
        log_f = (
            -special.betaln(freedom / 2, prior / 2)
            + freedom / 2 * np.log(freedom * variances / (prior * typical))
            - (freedom + prior) / 2 * np.log1p(freedom * variances / (prior * typical))
        )
        return float(log_f.sum() - (((point - start) / widths) ** 2).sum() / 2)

    deviation, prior, exponent = _maximise(score, start)
    return VariancePrior(
        deviation=math.exp(deviation),
        degrees_of_freedom=math.exp(prior),
        exponent=float(exponent),
        groups=len(sides),
        source=source,
    )


def _maximise(score: Callable[[np.ndarray], float], start: np.ndarray) -> np.ndarray:
    """Return the maximum of a smooth function by pattern search."""
    best, value, step = start, score(start), 0.5
    while step > 1e-4:
        points = [best + sign * step * axis for axis in np.eye(len(start)) for sign in (1, -1)]
        scores = [score(point) for point in points]
        at = int(np.argmax(scores))
        if scores[at] > value + 1e-9:
            best, value = points[at], scores[at]
        else:
            step /= 2
    return best
