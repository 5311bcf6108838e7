from __future__ import annotations

import math
import random
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from emrctl.compare.comparison import compare
from emrctl.compare.records import RunRecord
from emrctl.compare.scaling import Fit, Scaling, measure, of_comparison, pareto_front
from emrctl.metrics.model import ExecutorMetrics, RunMetrics


def amdahl(scale: int, serial: float, unit_s: float = 100.0) -> float:
    return unit_s * (serial + (1 - serial) / scale)


def fit(scaling: Scaling, law: str) -> Fit:
    return next(item for item in scaling.fits if item.law == law)


def test_measure_returns_speed_up_and_efficiency_against_the_smallest_scale() -> None:
    scaling = measure({8: [10.0], 2: [20.0, 20.0], 4: [10.0]})
    assert [point.scale for point in scaling.points] == [2, 4, 8]
    assert [point.speed_up for point in scaling.points] == pytest.approx([1.0, 2.0, 2.0])
    assert [point.efficiency for point in scaling.points] == pytest.approx([1.0, 1.0, 0.5])


@pytest.mark.parametrize("serial", [0.0, 0.05, 0.5, 1.0])
def test_amdahl_fit_of_exact_times_returns_the_serial_share(serial: float) -> None:
    scaling = measure({n: [amdahl(n, serial)] for n in (1, 2, 4, 8)})
    found = fit(scaling, "Amdahl")
    assert found.serial == pytest.approx(serial, abs=1e-9)
    assert found.error == pytest.approx(0.0, abs=1e-9)
    assert found.high - found.low == pytest.approx(0.0, abs=1e-6)
    assert found.seconds(16) == pytest.approx(amdahl(16, serial))
    assert found.speed_up(8) == pytest.approx(amdahl(1, serial) / amdahl(8, serial))


def test_gustafson_fit_of_exact_times_returns_the_serial_share() -> None:
    scaling = measure({n: [100 / (0.2 + 0.8 * n)] for n in (2, 4, 8)})
    found = fit(scaling, "Gustafson")
    assert (found.serial, found.unit_s) == pytest.approx((0.2, 100.0))
    assert found.speed_up(8) == pytest.approx(6.6 / 1.8)
    assert fit(scaling, "Amdahl").error > found.error


def test_interval_of_amdahl_contains_the_truth_in_most_samples() -> None:
    dice = random.Random(4)  # noqa: S311
    hits = 0
    for _ in range(200):
        times = {
            n: [amdahl(n, 0.1) * math.exp(dice.gauss(0, 0.02)) for _ in range(3)]
            for n in (1, 2, 4, 8)
        }
        found = fit(measure(times), "Amdahl")
        hits += found.low <= 0.1 <= found.high
    assert 180 <= hits <= 198


def test_interval_is_wide_if_the_law_does_not_hold() -> None:
    times = {1: 100.0, 2: 60.0, 4: 30.0, 8: 29.0}
    one = fit(measure({n: [time] for n, time in times.items()}), "Amdahl")
    many = fit(measure({n: [time] * 20 for n, time in times.items()}), "Amdahl")
    assert one.high - one.low > 0.1
    assert many.high - many.low > 0.1


def test_super_linear_times_have_no_serial_share() -> None:
    found = fit(measure({1: [100.0], 2: [30.0], 4: [8.0]}), "Amdahl")
    assert (found.serial, found.low) == (0.0, 0.0)
    assert found.error > 0.1


def test_times_that_grow_with_the_scale_are_serial() -> None:
    found = fit(measure({1: [10.0], 2: [11.0], 4: [13.0]}), "Amdahl")
    assert (found.serial, found.high) == (1.0, 1.0)


@pytest.mark.parametrize("scales", [(), (2,), (2, 4)])
def test_measure_refuses_fits_of_fewer_than_three_scales(scales: Sequence[int]) -> None:
    scaling = measure({n: [1.0, 2.0] for n in scales}, unit="nodes")
    assert scaling.fits == ()
    assert scaling.refused == f"{len(scales)} of at least 3 different numbers of nodes measured"
    assert len(scaling.points) == len(scales)


def test_measure_ignores_invalid_times_and_scales() -> None:
    scaling = measure({0: [1.0], 2: [math.nan, -1.0, 0.0], 4: [math.inf, 8], 8: [4]})
    assert [(point.scale, point.times_s) for point in scaling.points] == [(4, (8.0,)), (8, (4.0,))]


def test_equal_times_are_all_serial() -> None:
    found = fit(measure({1: [5, 5], 2: [5, 5], 3: [5, 5]}), "Amdahl")
    assert (found.serial, found.low, found.high) == pytest.approx((1.0, 1.0, 1.0))


def by_least_squares(times: dict[int, list[float]]) -> tuple[float, float]:
    """Return the serial share of Amdahl's law and its margin, by the delta method."""
    samples = [(float(scale), second) for scale, values in times.items() for second in values]
    scales, seconds = np.array(samples).T
    design = np.column_stack([1 / seconds, 1 / (scales * seconds)])  # of relative errors
    (constant, slope), squares, *_ = np.linalg.lstsq(design, np.ones(len(samples)), rcond=None)
    freedom, total = len(samples) - 2, constant + slope
    covariance = np.linalg.inv(design.T @ design) * squares[0] / freedom
    gradient = np.array([slope, -constant]) / total**2
    margin = stats.t.ppf(0.975, freedom) * math.sqrt(gradient @ covariance @ gradient)
    return constant / total, margin


@pytest.mark.parametrize(
    "times",
    [
        {1: [100.0], 2: [62.0], 4: [38.0], 8: [31.0], 16: [24.0]},
        {n: [amdahl(n, 0.2) * k for k in (0.99, 1.01)] for n in (1, 2, 4, 8)},
    ],
)
def test_interval_of_the_serial_share_is_that_of_weighted_least_squares(
    times: dict[int, list[float]],
) -> None:
    share, margin = by_least_squares(times)
    found = fit(measure(times), "Amdahl")
    assert found.serial == pytest.approx(share)
    assert (found.low, found.high) == pytest.approx((share - margin, share + margin))


# Comparisons


def record(executors: int, duration_s: float, cores: int = 2, **settings: object) -> RunRecord:
    rows = tuple(ExecutorMetrics(id=str(n), cores=cores, added_ms=0) for n in range(executors))
    metrics = RunMetrics(start_ms=0, end_ms=1000, executors=rows, peak_executors=executors)
    return RunRecord(
        id=f"r{executors}-{duration_s}",
        settings={"executors": executors, **settings},
        duration_s=duration_s,
        metrics=metrics,
    )


def test_of_comparison_uses_executors_if_only_they_differ() -> None:
    runs = [record(n, 100 / n + repeat) for n in (1, 2, 4) for repeat in (0, 1)]
    scaling = of_comparison(compare(runs))
    assert scaling is not None
    assert (scaling.unit, scaling.refused) == ("executors", None)
    assert [len(point.times_s) for point in scaling.points] == [2, 2, 2]


def test_of_comparison_uses_cores_if_executors_differ_in_size() -> None:
    runs = [record(2, 9.0, 1), record(2, 5.0, 2, executor_cores=2), record(1, 3.0, 8)]
    scaling = of_comparison(compare(runs))
    assert scaling is not None
    assert scaling.unit == "executor cores"
    assert [point.scale for point in scaling.points] == [2, 4, 8]


def test_of_comparison_is_none_if_other_settings_differ() -> None:
    runs = [record(1, 9.0), record(2, 5.0, partitions=8)]
    assert of_comparison(compare(runs)) is None
    assert of_comparison(compare([record(1, 9.0), record(1, 8.0)])) is None


def test_of_comparison_is_none_without_metrics() -> None:
    runs = [RunRecord(id=str(n), settings={"executors": n}, duration_s=1.0) for n in (1, 2)]
    assert of_comparison(compare(runs)) is None


# Pareto front


def test_pareto_front_returns_points_that_no_other_beats() -> None:
    points = [(10.0, 1.0), (5.0, 2.0), (6.0, 2.0), (2.0, 9.0), (10.0, 1.5)]
    assert pareto_front(points) == (3, 1, 0)


def test_pareto_front_keeps_equal_points_and_ignores_missing_ones() -> None:
    assert pareto_front([(1.0, 1.0), (1.0, 1.0), (None, 0.0), (0.0, math.nan)]) == (0, 1)
    assert pareto_front([]) == ()
