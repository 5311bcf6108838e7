"""Figures of configurations: values of the repeats, ratios to the reference, certainty."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from emrctl.compare.records import FIGURES, Configuration, Figure, result_figures

if TYPE_CHECKING:
    from emrctl.compare.statistics import VariancePrior, Verdict

CONFIDENCE = 0.95
SHOWN_EFFECT = 0.05  # of `Ratio.further_repeats`


@dataclass(frozen=True)
class Measure:
    """A figure over the repeats of one configuration.

    `stddev` is the sample standard deviation (n - 1), None for a single run.
    """

    mean: float
    minimum: float
    maximum: float
    count: int
    stddev: float | None = None


@dataclass(frozen=True)
class Ratio:
    """A figure divided by that of the reference, and how certain the difference is.

    `value` is the ratio of the geometric means of times and costs, and of the means of others.
    `low` to `high` is its 95 % interval, `p_corrected` the p-value after Holm's correction for the
    number of configurations, `smallest_detectable` the smallest slow-down that these repeats could
    show (0.05 is 5 %), `further_repeats` how many more of each side would show one of 5 %. All of
    them are None without repeats on both sides, or if the figure does not vary. `verdict` is None
    for the reference and for figures that do not vary.
    """

    value: float
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    p_corrected: float | None = None
    smallest_detectable: float | None = None
    further_repeats: int | None = None
    verdict: Verdict | None = None


@dataclass(frozen=True)
class FigureRow:
    """A figure of each configuration, with ratios to the reference."""

    key: str
    label: str
    unit: str
    measures: tuple[Measure | None, ...]
    ratios: tuple[Ratio | None, ...]


def figure_rows(
    configurations: tuple[Configuration, ...], at: int, prior: VariancePrior | None
) -> tuple[FigureRow, ...]:
    """Compare each figure of `FIGURES` and of the jobs' results with configuration `at`."""
    records = tuple(record for item in configurations for record in item.records)
    all_figures = (*FIGURES, *result_figures(records))
    rows = (_figure_row(figure, configurations, at, prior) for figure in all_figures)
    return tuple(row for row in rows if any(measure is not None for measure in row.measures))


def _figure_row(
    figure: Figure,
    configurations: tuple[Configuration, ...],
    at: int,
    prior: VariancePrior | None,
) -> FigureRow:
    values = [finite(map(figure.of, item.completed_records)) for item in configurations]
    ratios = [
        Ratio(1.0) if n == at and any(numbers) else ratio(figure, values[at], numbers, prior)
        for n, numbers in enumerate(values)
    ]
    measures = tuple(map(measure, values))
    return FigureRow(figure.key, figure.label, figure.unit, measures, tuple(_corrected(ratios)))


def finite(values: Iterable[float | None]) -> list[float]:
    """Return the finite values; sums and squares of those above 1e100 would overflow."""
    return [value for value in values if value is not None and abs(value) <= 1e100]


def ratio(
    figure: Figure, reference: list[float], values: list[float], prior: VariancePrior | None
) -> Ratio | None:
    """Compare a figure's values with those of the reference; None without a ratio.

    The variance of times and costs is moderated by `prior`; that of other figures is their own.
    """
    if not values or not reference or math.fsum(reference) == 0:
        return None
    varies = figure.varies or len({*values}) > 1 or len({*reference}) > 1
    if not varies or min(*values, *reference) <= 0:
        return Ratio(statistics.fmean(values) / statistics.fmean(reference))
    if min(len(values), len(reference)) < 2:
        value = statistics.geometric_mean(values) / statistics.geometric_mean(reference)
        return Ratio(value, verdict="inconclusive")
    from emrctl.compare.statistics import VariancePrior, difference, repeats_to_show

    used = prior if figure.varies else VariancePrior(deviation=1.0, degrees_of_freedom=0.0)
    result = difference(reference, values, prior=used, confidence=CONFIDENCE)
    repeats = repeats_to_show(SHOWN_EFFECT, reference, values, prior=used, confidence=CONFIDENCE)
    further = None if repeats is None else max(0, repeats - min(len(values), len(reference)))
    detectable = result.smallest_detectable
    return Ratio(
        value=result.ratio or 0.0,
        low=result.low,
        high=result.high,
        p_value=result.p_value,
        smallest_detectable=detectable if detectable is None or detectable < 100 else None,
        further_repeats=further,
        verdict=result.verdict,
    )


def _corrected(ratios: Sequence[Ratio | None]) -> Iterable[Ratio | None]:
    """Correct p-values for their number; a difference that is then uncertain is inconclusive."""
    p_values = [None if item is None else item.p_value for item in ratios]
    if all(value is None for value in p_values):
        return ratios
    from emrctl.compare.statistics import holm

    return [
        item
        if item is None or p_corrected is None
        else replace(
            item,
            p_corrected=p_corrected,
            verdict="inconclusive"
            if item.verdict in {"faster", "slower"} and p_corrected >= 1 - CONFIDENCE
            else item.verdict,
        )
        for item, p_corrected in zip(ratios, holm(p_values), strict=True)
    ]


def measure(numbers: Sequence[float]) -> Measure | None:
    """Return mean, range and deviation of finite values; None if there are none."""
    if not numbers:
        return None
    stddev = statistics.stdev(numbers) if len(numbers) > 1 else None
    return Measure(statistics.fmean(numbers), min(numbers), max(numbers), len(numbers), stddev)
