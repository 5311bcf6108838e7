from __future__ import annotations

from typing import Any

import pytest

from emrctl.compare.comparison import Comparison, compare
from emrctl.compare.records import RunRecord


def comparison(own: tuple[float, ...], reference: tuple[float, ...], **more: Any) -> Comparison:
    records = [
        RunRecord(id=f"r{n}", label="ref", duration_s=value) for n, value in enumerate(reference)
    ]
    records += [
        RunRecord(id=f"o{n}", label="own", duration_s=value, settings={"partitions": 8}, **more)
        for n, value in enumerate(own)
    ]
    return compare(records)


@pytest.mark.parametrize(
    ("own", "reference", "sentence"),
    [
        ((20.0,), (10.0,), "inconclusive: takes 2.00 × as long as ref, but one run each: a difference may be noise"),  # noqa: E501, RUF001
        ((5.0,), (10.0,), "inconclusive: takes 50.0 % less time than ref, but one run each: a difference may be noise"),  # noqa: E501
        ((10.001,), (10.0,), "inconclusive: takes as long as ref, but one run each: a difference may be noise"),  # noqa: E501
        ((20.0, 22.0), (10.0,), "inconclusive: takes 2.10 × as long as ref, but one side has a single run: a difference may be noise"),  # noqa: E501, RUF001
    ],
)  # fmt: skip
def test_verdict_on_single_runs_is_inconclusive(
    own: tuple[float, ...], reference: tuple[float, ...], sentence: str
) -> None:
    assert comparison(own, reference).verdicts[1] == sentence


@pytest.mark.parametrize(
    ("own", "outcome", "start"),
    [
        ((120.1, 121.3, 119.2), "slower", "slower: takes 19.9 % longer than ref (95 % interval +"),
        ((80.1, 81.3, 79.2), "faster", "faster: takes 20.0 % less time than ref (95 % interval −"),  # noqa: RUF001
        ((100.3, 101.1, 99.9), "no difference", "no difference of 5 % or more: takes 0.2 % longer than ref ("),  # noqa: E501
        ((90.3, 130.1, 104.9), "inconclusive", "inconclusive: takes 7.0 % longer than ref, but a difference may be noise ("),  # noqa: E501
    ],
)  # fmt: skip
def test_verdict_on_repeats_states_outcome_and_interval(
    own: tuple[float, ...], outcome: str, start: str
) -> None:
    found = comparison(own, (100.1, 101.2, 99.4))
    assert found.outcomes == (None, outcome)
    assert found.verdicts[1].startswith(start)
    assert "; 3 and 3 runs" in found.verdicts[1]
    inconclusive = outcome == "inconclusive"
    assert ("more repeats of each would show 5 %" in found.verdicts[1]) == inconclusive
    assert ("; they can show +" in found.verdicts[1]) == inconclusive


def test_verdict_is_not_given_for_runs_outside_of_the_cluster() -> None:
    warning = "the step ran no Spark application: nothing ran on the cluster's executors"
    found = comparison((20.0, 20.1), (10.0, 10.1), warnings=(warning,))
    assert found.outcomes == (None, None)
    assert found.verdicts[1] == (
        "no verdict: own did not run on the cluster's executors only (20.1 s)"
    )


def test_verdict_that_is_uncertain_among_many_states_the_corrected_p_value() -> None:
    times = [(100.1, 101.2, 99.3), (103.1, 104.3, 103.7)]
    times += [(100.4 + n / 10, 101.2, 99.1) for n in range(9)]
    records = [
        RunRecord(id=f"{at}{n}", label=f"c{at}", duration_s=value, settings={"executors": at})
        for at, values in enumerate(times)
        for n, value in enumerate(values)
    ]
    sentence = compare(records).verdicts[1]
    assert sentence.startswith("inconclusive: takes 3.5 % longer than c0, but")
    assert "; corrected p = 0." in sentence


def test_verdict_is_not_given_for_failed_runs() -> None:
    found = comparison((20.0, 20.1), (10.0, 10.1), state="FAILED")
    assert found.outcomes == (None, None)
    assert found.verdicts[1] == "FAILED: no completed run to compare"


def test_verdict_on_the_reference_states_its_duration() -> None:
    assert comparison((20.0,), (10.0, 12.0)).verdicts[0] == "the reference: 11.0 s ± 1.4, 2 runs"


def test_verdict_names_the_number_of_runs_of_each_side() -> None:
    found = comparison((120.1, 121.3), (100.1, 101.2, 99.4, 100.6))
    assert "; 4 and 2 runs" in found.verdicts[1]
