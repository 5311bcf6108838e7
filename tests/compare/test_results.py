from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from emrctl.compare.comparison import NO_RESULTS_NOTE, compare
from emrctl.compare.gates import check as check_gates
from emrctl.compare.gates import parse
from emrctl.compare.records import Configuration, RunRecord
from emrctl.compare.results import ResultCheck, check
from emrctl.errors import InconclusiveGateError
from emrctl.runs.checksums import WeightedSum
from emrctl.runs.record import CheckedOutput


def configuration(label: str, *results: Mapping[str, Any] | None) -> Configuration:
    records = (
        RunRecord(id=f"{label}{n}", result=result, duration_s=10.0)
        for n, result in enumerate(results)
    )
    return Configuration(label, tuple(records))


def checked(one: Mapping[str, Any], two: Mapping[str, Any]) -> ResultCheck:
    return check(configuration("a", one), configuration("b", two))


@pytest.mark.parametrize(
    ("one", "two", "difference"),
    [
        ({"rows": 100}, {"rows": 99}, "rows 99 against 100"),
        ({"rows": 100}, {"rows": "100"}, None),
        ({"figures": {"words": 7}}, {"figures": {"words": 8}}, "figures.words 8 against 7"),
        ({"checksum": "a1"}, {"checksum": "b2"}, "checksum b2 against a1"),
        ({"output_sha256": "a1"}, {"output_sha256": "b2"}, "output_sha256 b2 against a1"),
        ({"converged": True}, {"converged": False}, "converged False against True"),
        ({"sum": 0.1 + 0.2}, {"sum": 0.3}, None),
        ({"sum": 0.3}, {"sum": 0.31}, "sum 0.31 against 0.3"),
        ({"counts": [1, 2]}, {"counts": [1, 3]}, "counts.1 3 against 2"),
        ({"rmse": 120.0}, {"rmse": 120.9}, None),
        ({"rmse": 120.0}, {"rmse": 130.0}, "rmse 130 against 120"),
        ({"accuracy": 0.93}, {"accuracy": 0.935}, None),
        ({"accuracy": 0.93}, {"accuracy": 0.95}, "accuracy 0.95 against 0.93"),
    ],
)
def test_check_reports_different_results(
    one: Mapping[str, Any], two: Mapping[str, Any], difference: str | None
) -> None:
    assert checked(one, two).differences == (() if difference is None else (difference,))
    assert checked(one, one).differences == ()


@pytest.mark.parametrize(
    "name",
    [
        *("train_s", "elapsed", "total_time", "shuffle_bytes", "cost_usd", "started", "partitions"),
        *(
            "seed",
            "python",
            "spark_version",
            "num_executors",
            "host",
            "application_id",
            "n_correct",
        ),
    ],
)
def test_check_ignores_times_sizes_and_settings(name: str) -> None:
    assert checked({name: 1}, {name: 2}) == ResultCheck()
    assert checked({"steps_s": {"x": 1}, "arguments": {"rows": 1}}, {}) == ResultCheck()


def test_check_ignores_values_of_one_side_and_null() -> None:
    assert checked({"rows": 1, "words": None}, {"lines": 2, "words": 5}).differences == ()
    assert check(configuration("a", None), configuration("b", {"rows": 1})) == ResultCheck()


def test_check_of_accuracies_with_counts_is_a_z_test() -> None:
    def result(correct: int, total: int) -> dict[str, Any]:
        return {"n_correct": correct, "n_test": total, "accuracy": correct / total}

    chance = checked(result(74, 1062), result(79, 982))
    assert chance.differences == ()
    [row] = chance.accuracies
    assert (row.test, row.needed is not None and row.needed > 5_000) == ("z-test", True)
    assert row.p_value == pytest.approx(0.355, abs=0.005)
    real = checked(result(900, 1000), result(850, 1000))
    assert real.differences == ("accuracy 0.85 against 0.9 (z-test: p = 0.000723)",)


def test_check_of_accuracies_by_row_is_mcnemars_test() -> None:
    first = [1] * 90 + [0] * 10
    second = [1] * 80 + [0] * 20
    one, two = ({"accuracy": sum(rows) / 100, "correct_by_row": rows} for rows in (first, second))
    [row] = checked(one, two).accuracies
    assert row.test == "McNemar"
    assert row.p_value == pytest.approx(2 / 1024)
    assert row.differs


def test_check_reports_repeats_that_disagree() -> None:
    other = configuration("b", {"rows": 5}, {"rows": 6})
    found = check(configuration("a", {"rows": 5}, {"rows": 5}), other)
    assert found.differences == ("rows differs between repeats: 5, 6",)
    assert check(other, other).differences == found.differences


def test_compare_states_different_results_before_times() -> None:
    records = [
        RunRecord(id="a", duration_s=10.0, result={"rows": 5}),
        RunRecord(id="b", duration_s=5.0, result={"rows": 4}, settings={"executors": 2}),
    ]
    comparison = compare(records)
    assert comparison.verdicts[1].startswith("DIFFERENT RESULTS (rows 4 against 5): inconclusive:")
    assert NO_RESULTS_NOTE not in comparison.notes
    with pytest.raises(InconclusiveGateError, match="reported different results"):
        check_gates(comparison, [parse("duration_s:10%")])


def _output(
    rows: int = 2, weighted: float = 1.5, method: str = "client"
) -> dict[str, CheckedOutput]:
    sums = {"cost": WeightedSum(weighted, 10.0, 1e-9)}
    found = CheckedOutput(
        rows=rows, checksum=f"c{rows}", sums=sums, method=method, files=9, bytes=1
    )
    return {"{run}/rows": found}


@pytest.mark.parametrize(
    ("other", "differences"),
    [
        (_output(weighted=1.5 + 1e-9), ()),
        (_output() | {"s3://b/more": _output()["{run}/rows"]}, ()),
        (
            _output(rows=3),
            ("rows of {run}/rows 3 against 2", "checksum of {run}/rows (client) c3 against c2"),
        ),
        (
            _output(weighted=1.6),
            ("column 'cost' of {run}/rows (client) weighted sum 1.6 against weighted sum 1.5",),
        ),
        # Checksums of other methods differ by themselves.
        (_output(method="Spark", weighted=7.0), ()),
        (_output(rows=3, method="Spark"), ("rows of {run}/rows 3 against 2",)),
    ],
)
def test_check_compares_outputs(
    other: dict[str, CheckedOutput], differences: tuple[str, ...]
) -> None:
    one, two = (
        Configuration(label, (RunRecord(id=label, output=output, duration_s=1.0),))
        for label, output in (("a", _output()), ("b", other))
    )
    found = check(one, two)
    assert found.differences == differences
    assert found.compared > 0


def test_comparison_of_different_outputs_says_so_before_times() -> None:
    records = [
        RunRecord(id=f"{n}", duration_s=10.0, settings={"partitions": n}, output=_output(rows=n))
        for n in (2, 3)
    ]
    compared = compare(records)
    assert compared.verdicts[1].startswith("DIFFERENT RESULTS (rows of {run}/rows 3 against 2")
    assert NO_RESULTS_NOTE not in compared.notes
