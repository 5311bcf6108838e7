"""Speed-up and efficiency over a scale (executors, cores or nodes), and time against cost.

Amdahl (1967): a share s of the work is serial, T(n) = T(1) x (s + (1 - s) / n); the speed-up is at
most 1 / s. Gustafson (1988): work done per second grows linearly, R(n) = R(1) x (s + (1 - s) x n).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emrctl.compare.comparison import Comparison
from emrctl.compare.figures import FigureRow

LEAST_SCALES = 3
# Settings that change the scale of a run, and those that follow from it.
SCALE_SETTINGS = frozenset(
    {
        "executors",
        "executor_cores",
        "cluster.core",
        "conf.spark.executor.instances",
        "conf.spark.executor.cores",
        "conf.spark.cores.max",
        "conf.spark.default.parallelism",
    }
)


@dataclass(frozen=True, kw_only=True)
class Point:
    """The repeats at one scale; speed-up and efficiency are relative to the smallest scale.

    `mean_s` is the geometric mean; an efficiency of 1 is a speed-up equal to the growth of the
    scale.
    """

    scale: int
    times_s: tuple[float, ...]
    mean_s: float
    speed_up: float
    efficiency: float


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A law fitted to the points: `serial` is s, with its confidence interval.

    `error` is the root mean square of the relative residuals, `unit_s` the time at scale 1 and
    `base` the smallest measured scale.
    """

    law: str
    serial: float
    low: float
    high: float
    error: float
    unit_s: float
    base: int

    def seconds(self, scale: float) -> float:
        """Return the time at `scale` according to the law."""
        if self.law == "Amdahl":
            return self.unit_s * (self.serial + (1 - self.serial) / scale)
        return self.unit_s / (self.serial + (1 - self.serial) * scale)

    def speed_up(self, scale: float) -> float:
        """Return the speed-up at `scale` against the smallest measured scale."""
        return self.seconds(self.base) / self.seconds(scale)


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """Points by scale and the laws fitted to them; `refused` is why there are no fits.

    `unit` names the scale, e.g. executors.
    """

    unit: str
    points: tuple[Point, ...]
    fits: tuple[Fit, ...] = ()
    refused: str | None = None


def measure(
    times_s: Mapping[int, Sequence[float]], *, unit: str = "executors", confidence: float = 0.95
) -> Scaling:
    """Return speed-up, efficiency and fits of `times_s`: for each scale the times of its runs.

    Times that are not positive and finite are ignored, as are scales below 1. Laws are fitted to
    at least three scales; with fewer, two parameters describe any points.
    """
    clean = {
        scale: tuple(float(value) for value in values if 0 < value < math.inf)
        for scale, values in sorted(times_s.items())
        if scale >= 1
    }
    clean = {scale: values for scale, values in clean.items() if values}
    means = {scale: statistics.geometric_mean(values) for scale, values in clean.items()}
    points = []
    for scale, values in clean.items():
        base = next(iter(means))
        speed_up = means[base] / means[scale]
        points.append(
            Point(
                scale=scale,
                times_s=values,
                mean_s=means[scale],
                speed_up=speed_up,
                efficiency=speed_up * base / scale,
            )
        )
    if len(points) < LEAST_SCALES:
        refused = f"{len(points)} of at least {LEAST_SCALES} different numbers of {unit} measured"
        return Scaling(unit=unit, points=tuple(points), refused=refused)
    fits = (_amdahl(points, confidence), _gustafson(points, confidence))
    return Scaling(unit=unit, points=tuple(points), fits=fits)


def _amdahl(points: Sequence[Point], confidence: float) -> Fit:
    samples = [(1 / point.scale, time) for point in points for time in point.times_s]
    line = _fit_line(samples, confidence)
    return _fit("Amdahl", line, line.constant + line.slope, points[0].scale)


def _gustafson(points: Sequence[Point], confidence: float) -> Fit:
    samples = [(float(point.scale), 1 / time) for point in points for time in point.times_s]
    line = _fit_line(samples, confidence)
    return _fit("Gustafson", line, 1 / (line.constant + line.slope), points[0].scale)


def _fit(law: str, line: _Line, unit_s: float, base: int) -> Fit:
    return Fit(
        law=law,
        serial=line.share,
        low=max(0.0, line.share - line.margin),
        high=min(1.0, line.share + line.margin),
        error=line.error,
        unit_s=unit_s,
        base=base,
    )


@dataclass(frozen=True)
class _Line:
    """y = constant + slope x, both at least 0; `share` = constant / (constant + slope)."""

    constant: float
    slope: float
    margin: float
    error: float

    @property
    def share(self) -> float:
        return self.constant / (self.constant + self.slope)


def _fit_line(samples: Sequence[tuple[float, float]], confidence: float) -> _Line:
    """Fit a line with relative errors of equal variance; `margin` is that of the share.

    The variance of the errors is that of the residuals or, if larger, that of the means around the
    line: then the law does not hold exactly, and repeats do not narrow the interval. The margin is
    that of a quotient by linear approximation.
    """
    from scipy.special import stdtrit

    count = len(samples)
    # Weighted sums: dividing the equation by y makes relative errors absolute.
    weights = [1 / y**2 for _, y in samples]
    w, x = sum(weights), sum(k * x for k, (x, _) in zip(weights, samples, strict=True))
    xx = sum(k * x * x for k, (x, _) in zip(weights, samples, strict=True))
    y = sum(1 / y for _, y in samples)
    xy = sum(x / y for x, y in samples)
    determinant = w * xx - x * x
    constant, slope = (xx * y - x * xy) / determinant, (w * xy - x * y) / determinant
    if constant < 0:
        constant, slope = 0.0, xy / xx
    elif slope < 0:
        constant, slope = y / w, 0.0
    residuals = [(constant + slope * x) / y - 1 for x, y in samples]
    error = math.sqrt(statistics.fmean(residual**2 for residual in residuals))
    groups: dict[float, list[float]] = {}
    for (x_value, _), residual in zip(samples, residuals, strict=True):
        groups.setdefault(x_value, []).append(residual)
    around = sum(len(group) * statistics.fmean(group) ** 2 for group in groups.values())
    variance, freedom = max(
        (sum(residual**2 for residual in residuals) / (count - 2), count - 2),
        (around / (len(groups) - 2), len(groups) - 2),
    )
    total = constant + slope
    by_constant, by_slope = slope / total**2, -constant / total**2
    spread = (by_constant**2 * xx - 2 * by_constant * by_slope * x + by_slope**2 * w) / determinant
    quantile = float(stdtrit(freedom, (1 + confidence) / 2))
    return _Line(constant, slope, quantile * math.sqrt(max(0.0, variance * spread)), error)


def of_comparison(comparison: Comparison) -> Scaling | None:
    """Return the scaling of configurations that differ in their scale only; None if they do not."""
    names = {row.name for row in comparison.settings}
    if not names or not names <= SCALE_SETTINGS:
        return None
    executors, cores = _scales(comparison.row("executors")), _scales(comparison.row("cores"))
    # Executors measure the scale only if all have equally many cores.
    by_executors = _proportional(executors, cores)
    scales, unit = (executors, "executors") if by_executors else (cores, "executor cores")
    if len({*scales} - {None}) < 2:
        return None
    times: dict[int, list[float]] = {}
    for scale, item in zip(scales, comparison.configurations, strict=True):
        if scale is not None:
            seconds = (record.duration_s for record in item.completed_records)
            times.setdefault(scale, []).extend(value for value in seconds if value is not None)
    return measure(times, unit=unit)


def _scales(row: FigureRow | None) -> list[int | None]:
    """Return the scale of each configuration; None if its runs differ or do not report it."""
    if row is None:
        return []
    return [
        int(item.mean) if item and item.minimum == item.maximum and item.mean >= 1 else None
        for item in row.measures
    ]


def _proportional(scales: Sequence[int | None], cores: Sequence[int | None]) -> bool:
    pairs = zip(scales, cores, strict=True) if len(scales) == len(cores) else ()
    return len({core / scale for scale, core in pairs if scale and core}) == 1


def pareto_front(points: Sequence[tuple[float | None, float | None]]) -> tuple[int, ...]:
    """Return the indices of the points that no other point beats, by the first coordinate.

    Both coordinates (time and cost) are better if lower. Points with a missing or NaN coordinate
    are ignored; of equal points all are returned.
    """
    valid = [
        (first, second, index)
        for index, (first, second) in enumerate(points)
        if first is not None and second is not None and not math.isnan(first + second)
    ]
    front: list[tuple[float, float, int]] = []
    for point in sorted(valid):
        if not front or point[1] < front[-1][1] or point[:2] == front[-1][:2]:
            front.append(point)
    return tuple(index for _, _, index in front)
