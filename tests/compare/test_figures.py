from __future__ import annotations

import pytest

from emrctl.compare.comparison import Comparison, compare
from emrctl.compare.figures import Ratio, measure
from emrctl.compare.records import RunRecord
from emrctl.compare.variance import VariancePrior


def groups(*durations: tuple[float, ...], **results: tuple[float, ...]) -> Comparison:
    """Compare configurations with these durations, and with these numbers in their results."""
    records = []
    for at, values in enumerate(durations):
        for n, duration_s in enumerate(values):
            result = {name: numbers[at] for name, numbers in results.items()}
            settings = {"executors": at + 1}
            records.append(
                RunRecord(
                    id=f"{at}-{n}", duration_s=duration_s, settings=settings, result=result or None
                )
            )
    return compare(records)


def ratio_of(comparison: Comparison, key: str = "duration_s", at: int = 1) -> Ratio:
    row = comparison.row(key)
    assert row is not None
    ratio = row.ratios[at]
    assert ratio is not None
    return ratio


def test_measure_has_sample_deviation() -> None:
    found = measure([1.0, 2.0, 4.0])
    assert found is not None
    assert (found.mean, found.minimum, found.maximum, found.count) == (7 / 3, 1.0, 4.0, 3)
    assert found.stddev == pytest.approx(1.5275252317)
    assert measure([]) is None


def test_figures_leave_out_numbers_whose_sum_overflows() -> None:
    comparison = groups((10.0, 10.0), (20.0, 20.0), rows=(1e308, 1e308), words=(5, 6))
    keys = [row.key for row in comparison.figures]
    assert "result.words" in keys
    assert "result.rows" not in keys


def test_ratio_of_repeats_has_interval_and_p_value() -> None:
    ratio = ratio_of(groups((100.1, 101.2, 99.3), (110.7, 111.2, 112.1)))
    assert ratio.low is not None
    assert ratio.high is not None
    assert ratio.low < ratio.value < ratio.high
    assert ratio.value == pytest.approx(1.1109, abs=1e-3)
    assert ratio.verdict == "slower"
    assert ratio.p_corrected == ratio.p_value


def test_ratio_of_single_runs_is_inconclusive() -> None:
    for durations in (((10.0,), (20.0,)), ((10.0, 10.1), (20.0,)), ((10.0,), (20.0, 20.2))):
        ratio = ratio_of(groups(*durations))
        assert (ratio.verdict, ratio.low, ratio.p_value) == ("inconclusive", None, None)


def test_ratio_of_counts_is_exact() -> None:
    ratio = ratio_of(groups((10.0,), (10.0,), rows=(100, 98)), "result.rows")
    assert ratio == Ratio(0.98)


def test_ratio_of_a_varying_count_has_an_interval() -> None:
    records = [
        RunRecord(id=f"{at}{n}", duration_s=1.0, settings={"executors": at}, result={"rows": value})
        for at, values in ((1, (100, 104, 98)), (2, (150, 151, 149)))
        for n, value in enumerate(values)
    ]
    ratio = ratio_of(compare(records), "result.rows")
    assert ratio.low is not None
    assert ratio.low > 1.3
    assert ratio.verdict == "slower"


def test_ratio_to_zero_is_missing() -> None:
    row = groups((10.0,), (10.0,), rows=(0, 5)).row("result.rows")
    assert row is not None
    assert row.ratios == (None, None)


def test_corrected_p_values_turn_weak_differences_inconclusive() -> None:
    reference, weak = (100.1, 101.2, 99.3), (103.1, 104.3, 103.7)
    alone = ratio_of(groups(reference, weak))
    assert alone.verdict == "slower"
    assert alone.p_value is not None
    assert alone.p_value < 0.05
    others = [(100.4 + n / 10, 101.2, 99.1) for n in range(9)]
    among = ratio_of(groups(reference, weak, *others))
    assert among.p_value == alone.p_value
    assert among.p_corrected == pytest.approx(10 * alone.p_value)
    assert among.verdict == "inconclusive"


def test_prior_changes_the_interval() -> None:
    durations = ((100.1, 101.2, 99.3), (110.7, 111.2, 112.1))
    records = [
        RunRecord(id=f"{at}{n}", duration_s=value, settings={"executors": at})
        for at, values in enumerate(durations)
        for n, value in enumerate(values)
    ]
    noisy = compare(records, prior=VariancePrior(deviation=0.1, degrees_of_freedom=20.0))
    assert ratio_of(noisy).verdict == "inconclusive"
    assert ratio_of(noisy).further_repeats is not None
