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
