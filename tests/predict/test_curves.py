"""Time over scale."""

from __future__ import annotations

import math

import pytest

from emrctl.errors import UsageError
from emrctl.predict import curves


def amdahl(*scales: int, serial_s: float = 40.0, work_s: float = 400.0) -> dict[int, list[float]]:
    """Times of three repeats with 1 % of spread around a serial part and a parallel part."""
    return {n: [(serial_s + work_s / n) * k for k in (0.99, 1.0, 1.01)] for n in scales}


def test_curve_between_measured_scales_is_close() -> None:
    estimate = curves.fit(amdahl(2, 4, 12)).at(7)
    truth = 40 + 400 / 7
    assert estimate.value == pytest.approx(truth, rel=0.03)
    assert estimate.low < truth < estimate.high
    assert estimate.refused is None


def test_curve_of_nodes_without_one_for_the_application_master_is_close() -> None:
    """Twice the nodes are three times the executors from 2 to 4."""
    truth = {n: 60 + 300 / (n - 1) for n in (2, 4, 6, 8, 12)}
    curve = curves.fit({n: [truth[n]] * 3 for n in (2, 6, 12)})
    assert curve.at(4).value == pytest.approx(truth[4], rel=0.03)
    assert curve.at(8).value == pytest.approx(truth[8], rel=0.02)


def test_curve_with_scale_1_has_no_node_without_tasks() -> None:
    truth = {n: 40 + 400 / n for n in (1, 2, 4, 8)}
    curve = curves.fit({n: [truth[n]] * 3 for n in (1, 4, 8)})
    assert curve.at(2).value == pytest.approx(truth[2], rel=0.02)


def test_interval_of_a_job_without_parallel_part_is_narrower() -> None:
    """Task waves move only the time of tasks."""
    flat = curves.fit({n: [60.0, 60.0, 60.0] for n in (2, 4, 8)}).at(6)
    steep = curves.fit({n: [600.0 / n] * 3 for n in (2, 4, 8)}).at(6)
    assert flat.high / flat.low < 1.12
    assert steep.high / steep.low > 1.15


def test_curve_near_largest_scale_extrapolates_with_a_wider_interval() -> None:
    curve = curves.fit(amdahl(2, 4, 8))
    inside, outside = curve.at(6), curve.at(14)
    assert outside.refused is None
    assert outside.value == pytest.approx(40 + 400 / 14, rel=0.12)
    assert outside.high / outside.low > inside.high / inside.low


def test_curve_far_outside_measured_scales_is_refused() -> None:
    curve = curves.fit(amdahl(4, 8))
    assert "far above" in (curve.at(100).refused or "")
    assert "far below" in (curve.at(2).refused or "")


def test_interval_with_more_confidence_is_wider() -> None:
    curve = curves.fit(amdahl(2, 8))
    narrow, wide = curve.at(4, confidence=0.5), curve.at(4, confidence=0.99)
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high


def test_cliff_between_scales_widens_the_interval_up_to_the_slow_side() -> None:
    # Data is cached from four nodes on: twelve times faster than two nodes in proportion.
    points = {2: [4800.0], 6: [140.0, 141.0], 12: [80.0, 81.0]}
    curve = curves.fit(points)
    assert curve.cliffs == ((2, 6),)
    at = curve.at(4)
    assert at.low < 200
    assert at.high >= 2400
    assert at.value < 300  # from the scales above the cliff
    assert curve.at(9).high < 130  # not widened above the cliff
    assert "cliff" in (curve.at(1).refused or "")
    assert curve.at(30).refused is not None


def test_two_scales_of_one_run_each_give_a_wide_interval() -> None:
    estimate = curves.fit({2: [100.0], 8: [40.0]}).at(4)
    assert 40 < estimate.value < 100
    assert estimate.high / estimate.low > 1.1


def test_one_scale_refuses_all_others() -> None:
    curve = curves.fit({4: [50.0, 52.0]})
    assert curve.at(4).refused is None
    assert curve.at(4).value == pytest.approx(51, rel=0.01)
    assert curve.at(5).refused == "only scale 4 was measured"


def test_order_of_scales_and_integers_do_not_matter() -> None:
    sorted_points, others = curves.fit({2: [100.0], 8: [40.0]}), curves.fit({8: [40], 2: [100]})
    assert sorted_points == others


def test_equal_times_give_a_flat_curve() -> None:
    estimate = curves.fit({n: [60.0, 60.0] for n in (1, 4, 8)}).at(2)
    assert estimate.value == pytest.approx(60, rel=0.03)


def test_outlier_among_repeats_has_little_influence() -> None:
    points = amdahl(2, 4, 12)
    points[4] = [139.0, 140.0, 140.0, 141.0, 300.0]
    assert curves.fit(points).at(7).value == pytest.approx(40 + 400 / 7, rel=0.04)


def test_two_clusters_of_repeats_widen_the_interval() -> None:
    points = amdahl(2, 4, 12)
    points[2] = [240.0, 240.0, 240.0, 900.0, 910.0]
    steady, clustered = curves.fit(amdahl(2, 4, 12)).at(2), curves.fit(points).at(2)
    assert clustered.high / clustered.low > steady.high / steady.low


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_unusable_times_are_ignored(bad: float) -> None:
    assert curves.fit({2: [100.0, bad], 4: [bad], 8: [40.0]}) == curves.fit({2: [100.0], 8: [40.0]})


@pytest.mark.parametrize("points", [{}, {2: []}, {2: [0.0]}, {0: [1.0], 2: [1.0]}, {-1: [1.0]}])
def test_points_without_usable_scale_are_rejected(points: dict[int, list[float]]) -> None:
    with pytest.raises(UsageError):
        curves.fit(points)


@pytest.mark.parametrize(("scale", "confidence"), [(0, 0.9), (-2, 0.9), (4, 0.0), (4, 1.0)])
def test_at_rejects_invalid_arguments(scale: int, confidence: float) -> None:
    with pytest.raises(UsageError):
        curves.fit({2: [1.0], 4: [1.0]}).at(scale, confidence)


@pytest.mark.parametrize("unit", [1e-6, 1e9])
def test_value_does_not_depend_on_the_unit(unit: float) -> None:
    scaled = curves.fit({n: [t * unit for t in times] for n, times in amdahl(2, 4, 12).items()})
    assert scaled.at(7).value == pytest.approx(curves.fit(amdahl(2, 4, 12)).at(7).value * unit)


def test_at_of_enormous_times_is_finite() -> None:
    estimate = curves.fit({2: [1e300, 9.9], 4: [1e300, 1e-12], 100: [1.0]}).at(1)
    assert 0 <= estimate.low <= estimate.value <= estimate.high < math.inf


@pytest.mark.parametrize(
    ("times", "repeat_sd", "error"),
    [
        # One run: 2 % between repeats, and 1.25 x that of the mean as the error of a median.
        ([50.0], 0.02, 0.025),
        # Variances 0.02^2 with 4 and 2 x 0.05^2 with 1 degrees of freedom.
        (
            [50 * math.exp(-0.05), 50 * math.exp(0.05)],
            math.sqrt((4 * 0.0004 + 0.005) / 5),
            1.25 * math.sqrt((4 * 0.0004 + 0.005) / 5) / math.sqrt(2),
        ),
    ],
)
def test_one_scale_has_the_interval_of_its_variances(
    times: list[float], repeat_sd: float, error: float
) -> None:
    """The curve passes through its only scale: there is no deviation but that of runs."""
    curve = curves.fit({4: times})
    assert curve.repeat_sd == pytest.approx(repeat_sd)
    assert curve.errors == pytest.approx((error,))
    at = curve.at(4)
    sd = math.sqrt(0.0009 + error**2 + 0.0009 + repeat_sd**2)
    assert at.value == pytest.approx(50)
    assert (at.low, at.high) == pytest.approx(
        (50 * math.exp(-1.6449 * sd), 50 * math.exp(1.6449 * sd)), rel=1e-3
    )


def test_error_of_a_median_is_that_of_its_ranks_if_larger() -> None:
    # Ranks 2 -+ sqrt(5) / 2 of five logarithms 0, 0, 0, 1, 1: 0 and 1, 0.5 apart from the middle.
    curve = curves.fit({1: [1.0, 1.0, 1.0, math.e, math.e]})
    assert curve.times == pytest.approx((1,))
    assert curve.errors == pytest.approx((0.5,))
    equal = curves.fit({1: [1.0] * 5})
    assert equal.repeat_sd == pytest.approx(0.02 * math.sqrt(4 / 8))
    assert equal.errors == pytest.approx((1.25 * equal.repeat_sd / math.sqrt(5),))


def test_deviation_of_repeats_is_the_median_of_the_scales() -> None:
    # Variances 0.02, 0.08 and 0.5 with one degree of freedom each, and a scale with one run.
    pairs = {n: [math.exp(-half), math.exp(half)] for n, half in ((1, 0.1), (2, 0.2), (4, 0.5))}
    curve = curves.fit({**pairs, 8: [1.0]})
    assert curve.repeat_sd == pytest.approx(math.sqrt((4 * 0.0004 + 3 * 0.08) / 7))


@pytest.mark.parametrize(
    ("points", "scale", "refused"),
    [
        ({4: [9.0], 8: [5.0]}, 2, "far below"),
        ({4: [9.0], 8: [5.0]}, 3, None),
        ({4: [9.0], 8: [5.0]}, 24, None),
        ({4: [9.0], 8: [5.0]}, 25, "far above"),
        ({4: [90.0], 8: [5.0]}, 3, "memory cliff"),
        ({4: [90.0], 8: [5.0]}, 12, None),
        ({4: [90.0], 8: [5.0]}, 13, "far above"),
    ],
)
def test_scales_are_refused_from_half_and_three_times_the_measured_ones(
    points: dict[int, list[float]], scale: int, refused: str | None
) -> None:
    reason = curves.fit(points).at(scale).refused
    assert (refused or "") in (reason or "")
    assert (reason is None) == (refused is None)


@pytest.mark.parametrize(("time", "cliffs"), [(38.5, ()), (38.4, ((4, 8),))])
def test_cliff_is_a_drop_of_the_work_by_30_percent(
    time: float, cliffs: tuple[tuple[int, int], ...]
) -> None:
    # 100 x 4 = 1.3 x 8 x 38.46
    assert curves.fit({4: [100.0], 8: [time]}).cliffs == cliffs


def test_interval_within_a_cliff_reaches_the_time_in_proportion() -> None:
    at = curves.fit({2: [4800.0], 6: [140.0]}).at(4)
    assert at.high == pytest.approx(2400 * math.exp(0.04))


@pytest.mark.parametrize(
    ("scale", "interval"),
    [
        (3, (170.998013, 156.863843, 185.875839)),
        (7, (97.233559, 89.222274, 105.984258)),
        (20, (62.838451, 54.362986, 71.905528)),
    ],
)
def test_curve_has_the_constants_that_were_validated(
    scale: int, interval: tuple[float, float, float]
) -> None:
    """They were chosen on public times of jobs: other ones need another validation."""
    at = curves.fit({2: [240.0, 242.0], 4: [139.0], 12: [75.0, 74.0, 76.0]}).at(scale)
    assert (at.value, at.low, at.high) == pytest.approx(interval, rel=1e-5)
