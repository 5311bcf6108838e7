"""Gates: which differences break them, and which may be noise."""

from __future__ import annotations

from typing import Any

import pytest

from emrctl.compare.comparison import Comparison, compare
from emrctl.compare.gates import Gate, check, parse
from emrctl.compare.records import RunRecord
from emrctl.errors import GateError, InconclusiveGateError, NotFoundError, UsageError


def runs(name: str, *durations: float, **more: Any) -> list[RunRecord]:
    """Repeats of one configuration."""
    settings = {"executors": len(name)}
    return [
        RunRecord(id=f"{name}{n}", label=name, duration_s=took, settings=settings, **more)
        for n, took in enumerate(durations)
    ]


def of(*groups: list[RunRecord]) -> Comparison:
    return compare([record for group in groups for record in group])


@pytest.mark.parametrize(
    ("text", "gate"),
    [
        ("duration_s:10%", Gate("duration_s", 10)),
        ("duration_s:+2.5", Gate("duration_s", 2.5)),
        ("figures.tasks.one-vs-all.f1:-1%", Gate("figures.tasks.one-vs-all.f1", -1)),
    ],
)
def test_parse_returns_figure_and_percentage(text: str, gate: Gate) -> None:
    assert parse(text) == gate
    assert parse(str(gate)) == gate


@pytest.mark.parametrize("text", ["", "duration_s", "duration_s:", ":10%", "duration_s:10x"])
def test_parse_rejects_other_texts(text: str) -> None:
    with pytest.raises(UsageError, match="--fail-if"):
        parse(text)


def near(value: float) -> tuple[float, ...]:
    """Three repeats of about this duration."""
    return value, value * 1.004, value * 0.996


@pytest.mark.parametrize(
    ("took", "most", "exit_code"),
    [
        (105, 10, 0),
        (110, 10, 9),
        (115, 10, 8),
        (50, 10, 0),
        (100, 0, 9),
        (90, 0, 0),
        (94, -10, 0),
        (90, -10, 9),
        (85, -10, 8),
    ],
)
def test_check_uses_the_interval(took: float, most: float, exit_code: int) -> None:
    comparison, gates = (
        of(runs("a", *near(100)), runs("bb", *near(took))),
        [Gate("duration_s", most)],
    )
    if not exit_code:
        check(comparison, gates)
        return
    with pytest.raises(GateError, match=rf"duration of bb is .*from 100 to {took} s") as caught:
        check(comparison, gates)
    assert caught.value.exit_code == exit_code
    assert ("inconclusive" in caught.value.message) == (exit_code == 9)


def test_check_of_single_times_is_inconclusive() -> None:
    for durations in ((100.0,), near(100)):
        with pytest.raises(InconclusiveGateError, match="without repeats on both sides"):
            check(of(runs("a", *durations), runs("bb", 200)), [Gate("duration_s", 10)])


def test_check_names_every_configuration_that_breaks_a_gate() -> None:
    comparison = of(
        runs("a", *near(100)),
        runs("bb", *near(150)),
        runs("ccc", *near(90)),
        runs("dddd", *near(200)),
        runs("eeeee", *near(110)),
    )
    with pytest.raises(GateError) as caught:
        check(comparison, [Gate("duration_s", 10), Gate("duration_s", 60)])
    assert [line.split(" is ")[0] for line in caught.value.message.splitlines()] == [
        "duration_s:+10%: duration of bb",
        "duration_s:+10%: duration of dddd",
        "duration_s:+60%: duration of dddd",
    ]


def test_check_of_a_failed_run_fails() -> None:
    for first, second in (("COMPLETED", "FAILED"), ("FAILED", "COMPLETED")):
        found = of(runs("a", 100, state=first), runs("bb", 90, state=second))
        with pytest.raises(GateError, match="is FAILED"):
            check(found, [Gate("duration_s", 10)])


def test_check_accepts_result_figures_with_and_without_prefix() -> None:
    def reported(*accuracies: float) -> Comparison:
        each = zip("ab", accuracies, strict=True)
        groups = (
            runs(name * (at + 1), 9, result={"rows": 5, "accuracy": value})
            for at, (name, value) in enumerate(each)
        )
        return of(*groups)

    for name in ("accuracy", "result.accuracy"):
        check(reported(0.90, 0.895), [Gate(name, -1)])
        with pytest.raises(GateError, match=r"accuracy of bb is −2\.2 %"):  # noqa: RUF001
            check(reported(0.90, 0.88), [Gate(name, -1)])
    check(reported(0.9, 0.9), [Gate("rows", 0)])  # the same in all runs: no row in the table


def test_check_of_a_zero_reference_exceeds_any_percentage() -> None:
    def failing(*tasks: float) -> Comparison:
        groups = (runs("a" * (at + 1), 9, result={"broken": n}) for at, n in enumerate(tasks))
        return of(*groups)

    with pytest.raises(GateError, match=r"broken of aa is \+inf %"):
        check(failing(0, 1), [Gate("broken", 500)])


def test_check_without_the_figure_in_one_run_fails() -> None:
    found = of(runs("a", 9, result={"accuracy": 0.9}), runs("bb", 9))
    with pytest.raises(GateError, match="bb has no accuracy"):
        check(found, [Gate("accuracy", -1)])


def test_check_of_an_unknown_figure_lists_the_figures() -> None:
    with pytest.raises(NotFoundError, match="no figure 'speed'") as caught:
        check(of(runs("a", 1), runs("bb", 1)), [Gate("speed", 1)])
    assert "duration_s" in caught.value.hint


def test_check_of_a_single_configuration_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="compare with the reference"):
        check(of(runs("a", 1)), [Gate("duration_s", 1)])


@pytest.mark.parametrize(
    ("percent", "ratio", "broken"),
    [
        (50, 1.5, False),
        (50, 1.51, True),
        (-50, 0.5, False),
        (-50, 0.49, True),
        (0, 1.0, False),
        (0, 1.01, True),
        (0, 0.5, False),
    ],
)
def test_gate_allows_the_change_itself(percent: float, ratio: float, broken: bool) -> None:
    assert Gate("duration_s", percent).is_broken_by(ratio) is broken
