"""Time of a job over its scale (executors or nodes), from measurements at a few scales.

Model: log time = log(T (f + (1 - f) (m / m0)^-a)) + g(n) + noise. m = n - r, where r = 1 if one
node or executor runs no tasks: on YARN the application master's container takes the place of an
executor, so twice the nodes are more than twice the executors. f is the share of the time at the
mean m0 that more executors do not shorten, a the exponent of the remaining share and g a Gaussian
process with a Matern 3/2 kernel over log n. The posterior averages over a grid of f, a and r, so
three measured scales do not have to determine them. The priors and the variances were chosen on
public times of Spark jobs on EMR (C3O), each job predicted with constants chosen on the others:
`bench/choose_curve_priors.py` repeats that.

Cliffs: data that fits into memory from some scale on makes time x n drop. The measured scales are
split there, and each part has a curve of its own.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from emrctl.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

# Prior of f: exp(-f); of a: log-normal, about 1 for work that is all parallel, larger where much of
# the time is fixed.
_SHARE_RATE = 1.0
_EXPONENT_LOG_MEAN, _EXPONENT_LOG_SLOPE, _EXPONENT_LOG_SD = 0.05, 0.2, 0.2
# Prior of r: usual on EMR, but not where the scale is a number of executors.
_RESERVED = {0: 0.2, 1: 0.8}
# Variance and length (in log n) of the deviation from the curve that neighbouring scales share.
_SHARED_VARIANCE, _LENGTH = 0.002, 1.0
# Variance of the deviation of a single scale, for example from the number of task waves: if only
# one scale was measured, if the time does not depend on the scale, and what is added if it is in
# proportion to 1/n.
_SCALE_VARIANCE, _FIXED_VARIANCE, _WAVE_VARIANCE = 0.0009, 0.0003, 0.0018
# Standard deviation of log time between repeats, and its weight in degrees of freedom.
_REPEAT_SD, _REPEAT_WEIGHT = 0.02, 4
# Time x n may drop by noise and by larger caches; beyond this ratio it is a cliff.
_CLIFF_RATIO = 1.3
# Extrapolation beyond these multiples of the smallest and the largest measured scale is refused.
_LOWEST, _HIGHEST = 0.5, 3.0
_FLAT_PRIOR_VARIANCE = 100.0
# exp() of more is not a finite number.
_LARGEST_LOG = 700.0


@dataclass(frozen=True)
class Estimate:
    """Time of one run in the unit of the measurements, with its prediction interval.

    `refused` is the reason why the estimate should not be used, or None. The values are finite
    also if it is refused.
    """

    value: float
    low: float
    high: float
    refused: str | None = None


@dataclass(frozen=True)
class Curve:
    """Time over scale; `times` are medians of the repeats at `scales`, which are sorted.

    `errors` are standard errors of the logarithms of the medians, `repeat_sd` is the standard
    deviation of the logarithm of one run.
    """

    scales: tuple[int, ...]
    times: tuple[float, ...]
    errors: tuple[float, ...]
    repeat_sd: float

    def at(self, scale: int, confidence: float = 0.9) -> Estimate:
        """Return the time of one run at `scale` with an interval that contains it at `confidence`.

        Raises `UsageError` if `scale` is below 1 or `confidence` is not between 0 and 1.
        """
        if not scale >= 1 or math.isinf(scale):
            raise UsageError(f"scale {scale} is not a positive number")
        if not 0 < confidence < 1:
            raise UsageError(f"confidence {confidence} is not between 0 and 1")
        parts = self._parts
        below = [part for part in parts if part.scales[0] <= scale]
        part = below[-1] if below else parts[0]
        if scale > part.scales[-1] and part is not parts[-1]:
            return self._in_cliff(part, parts[len(below)], scale, confidence)
        value, low, high = part.posterior.quantiles(scale, confidence)
        return Estimate(value, low, high, self._refusal(scale))

    @cached_property
    def cliffs(self) -> tuple[tuple[int, int], ...]:
        """Neighbouring measured scales between which the time drops more than in proportion."""
        rows = list(zip(self.scales, self.times, strict=True))
        return tuple(
            (scale, next_scale)
            for (scale, time), (next_scale, next_time) in itertools.pairwise(rows)
            if scale * time > _CLIFF_RATIO * next_scale * next_time
        )

    @cached_property
    def posterior(self) -> _Posterior:
        """The posterior of the curve through all scales."""
        return _Posterior(self)

    @cached_property
    def _parts(self) -> list[Curve]:
        starts = [0, *(self.scales.index(after) for _, after in self.cliffs), len(self.scales)]
        return [
            Curve(self.scales[i:j], self.times[i:j], self.errors[i:j], self.repeat_sd)
            for i, j in itertools.pairwise(starts)
        ]

    def _in_cliff(self, lower: Curve, upper: Curve, scale: int, confidence: float) -> Estimate:
        """Return the estimate of the curve above the cliff, and an interval up to the one below.

        The cliff can be anywhere between the two measured scales.
        """
        value, low, high = upper.posterior.quantiles(scale, confidence)
        proportional = lower.times[-1] * lower.scales[-1] / scale
        return Estimate(value, low, max(high, proportional * math.exp(2 * self.repeat_sd)))

    def _refusal(self, scale: int) -> str | None:
        first, last = self.scales[0], self.scales[-1]
        measured = ", ".join(map(str, self.scales))
        if len(self.scales) == 1 and scale != first:
            return f"only scale {first} was measured"
        if scale < first and self.cliffs:
            return f"below the smallest measured scale ({first}) of a job with a memory cliff"
        if scale <= _LOWEST * first:
            return f"far below the measured scales ({measured}): data may not fit in memory"
        if scale > _HIGHEST * last or (self.cliffs and scale > _HIGHEST / 2 * last):
            return f"far above the measured scales ({measured})"
        return None


def fit(points: Mapping[int, Sequence[float]]) -> Curve:
    """Fit a curve to times by scale, in any order, each with one or more repeats.

    Times that are not positive finite numbers are ignored, and scales without any other time.
    A single scale is enough for a curve, whose `at` refuses all other scales. Raises `UsageError`
    if no scale has a usable time or a scale is below 1.
    """
    for scale in points:
        if not scale >= 1:
            raise UsageError(f"scale {scale} is not a positive number")
    logs = {
        int(scale): sorted(math.log(time) for time in map(float, times) if 0 < time < math.inf)
        for scale, times in sorted(points.items())
    }
    logs = {scale: values for scale, values in logs.items() if values}
    if not logs:
        raise UsageError("no scale has a time above zero")
    repeat_sd = _repeat_sd(logs.values())
    return Curve(
        tuple(logs),
        tuple(math.exp(_at_rank(values, (len(values) - 1) / 2)) for values in logs.values()),
        tuple(_median_error(values, repeat_sd) for values in logs.values()),
        repeat_sd,
    )


def _at_rank(values: Sequence[float], rank: float) -> float:
    low = max(math.floor(rank), 0)
    high = min(low + 1, len(values) - 1)
    return values[low] + (rank - low) * (values[high] - values[low])


def _repeat_sd(groups: Any) -> float:
    """Return the standard deviation of one run: median of those of the scales, with a prior."""
    total, weight = _REPEAT_WEIGHT * _REPEAT_SD**2, float(_REPEAT_WEIGHT)
    variances = []
    for values in groups:
        if len(values) > 1:
            mean = sum(values) / len(values)
            freedom = len(values) - 1
            variances.append((sum((x - mean) ** 2 for x in values) / freedom, freedom))
    if variances:
        # One outlier among the repeats must not widen the whole curve.
        typical = _at_rank(sorted(v for v, _ in variances), (len(variances) - 1) / 2)
        freedom = sum(count for _, count in variances)
        total, weight = total + freedom * typical, weight + freedom
    return math.sqrt(total / weight)


def _median_error(values: Sequence[float], repeat_sd: float) -> float:
    """Return the standard error of the median, from ranks: large for two clusters of times."""
    count = len(values)
    typical = 1.25 * repeat_sd / math.sqrt(count)
    half = math.sqrt(count) / 2
    middle = (count - 1) / 2
    spread = _at_rank(values, min(middle + half, count - 1)) - _at_rank(
        values, max(middle - half, 0)
    )
    return max(typical, spread / 2) if count > 2 else typical


def _scale_variance(scales: Array, logs: Array) -> float:
    """Return the variance of the deviation of a scale: waves only move the time of tasks."""
    if len(scales) == 1:
        return _SCALE_VARIANCE
    exponent = float(logs[0] - logs[-1]) / math.log(scales[-1] / scales[0])
    return _FIXED_VARIANCE + _WAVE_VARIANCE * min(max(exponent, 0.0), 1.0) ** 2


class _Posterior:
    """The curves of a grid of (f, a, r) with their weights given the measurements."""

    def __init__(self, curve: Curve) -> None:
        import numpy as np

        # A job that ran at scale 1 had a worker there.
        counts = [count for count in _RESERVED if count < curve.scales[0]]
        grid = np.meshgrid(np.linspace(0.0, 0.97, 12), np.linspace(-2.4, 2.4, 9), counts)
        self._share, deviation, self._reserved = (axis.ravel() for axis in grid)
        self._exponent = np.exp(
            _EXPONENT_LOG_MEAN + _EXPONENT_LOG_SLOPE * self._share + _EXPONENT_LOG_SD * deviation
        )
        self._scales = np.array(curve.scales, float)
        self._center = np.exp(np.log(self._workers(self._scales)).mean(axis=1, keepdims=True))
        logs = np.log(np.array(curve.times))
        scale_variance = _scale_variance(self._scales, logs)
        self._noise = scale_variance + curve.repeat_sd**2
        covariance = self._kernel(self._scales) + np.diag(
            scale_variance + np.array(curve.errors) ** 2
        )
        self._inverse = np.linalg.inv(covariance)
        self._level = float(logs.mean())
        self._residuals = logs - self._level - self._shapes(self._scales)
        fit_error = np.einsum("hi,ij,hj->h", self._residuals, self._inverse, self._residuals)
        reserved_weight = np.array([_RESERVED[count] for count in self._reserved])
        log_weight = np.log(reserved_weight) - _SHARE_RATE * self._share
        log_weight -= 0.5 * (fit_error + deviation**2)
        weight = np.exp(log_weight - log_weight.max())
        self._weights: Array = weight / weight.sum()

    def quantiles(self, scale: int, confidence: float) -> tuple[float, float, float]:
        """Return the mean time and both ends of its central interval."""
        import numpy as np
        from scipy.special import ndtr

        gain = self._kernel(np.array([float(scale)]))[0] @ self._inverse
        logs = self._level + self._shapes(np.array([float(scale)]))[:, 0] + self._residuals @ gain
        shared = _FLAT_PRIOR_VARIANCE + _SHARED_VARIANCE
        variance = shared - float(gain @ self._kernel(np.array([float(scale)]))[0])
        sd = math.sqrt(max(variance, 0.0) + self._noise)
        grid = np.linspace(logs.min() - 8 * sd, logs.max() + 8 * sd, 1000)
        likely = self._weights > 1e-9
        below = self._weights[likely] @ ndtr((grid - logs[likely, None]) / sd)
        tail = (1 - confidence) / 2
        low, high = np.interp([tail, 1 - tail], below, grid)
        value = float(self._weights @ logs)
        ends = np.exp(np.minimum([value, min(low, value), max(high, value)], _LARGEST_LOG))
        return float(ends[0]), float(ends[1]), float(ends[2])

    def _workers(self, scales: Array) -> Array:
        """Return the scales without what is reserved, which is at most half, by hypothesis."""
        import numpy as np

        workers: Array = np.maximum(scales - self._reserved[:, None], scales / 2)
        return workers

    def _shapes(self, scales: Array) -> Array:
        import numpy as np

        ratio = self._workers(scales) / self._center
        fixed = self._share[:, None]
        shapes: Array = np.log(fixed + (1 - fixed) * ratio ** -self._exponent[:, None])
        return shapes

    def _kernel(self, scales: Array) -> Array:
        import numpy as np

        distance = np.abs(np.log(scales)[:, None] - np.log(self._scales)[None, :])
        ratio = math.sqrt(3) * distance / _LENGTH
        kernel: Array = _FLAT_PRIOR_VARIANCE + _SHARED_VARIANCE * (1 + ratio) * np.exp(-ratio)
        return kernel
