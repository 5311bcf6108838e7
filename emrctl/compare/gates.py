"""Gates (`emrctl compare --fail-if FIGURE:PERCENT`): allowed changes against the reference.

Times and costs vary from run to run: their gates use the interval of the ratio. Figures that do
not vary, such as tasks and input bytes, are compared exactly.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from emrctl.compare.comparison import Comparison
from emrctl.compare.figures import FigureRow, Ratio
from emrctl.compare.records import RESULT_PREFIX
from emrctl.compare.verdicts import percent
from emrctl.errors import GateError, InconclusiveGateError, NotFoundError, UsageError

_FORM = re.compile(r"(?P<figure>[\w.\-]+):(?P<percent>[+-]?\d+(\.\d+)?)%?")


@dataclass(frozen=True)
class Gate:
    """The figure may be larger by `percent`, or smaller if `percent` is negative."""

    figure: str
    percent: float

    def __str__(self) -> str:
        """Return the gate as typed."""
        return f"{self.figure}:{self.percent:+g}%"

    def is_broken_by(self, ratio: float) -> bool:
        """Return whether a figure with this ratio to the reference exceeds the allowed change."""
        change = 100 * (ratio - 1)
        return change < self.percent if self.percent < 0 else change > self.percent


@dataclass(frozen=True)
class Violation:
    """A configuration that breaks a gate, or if not `certain`, may break it."""

    text: str
    certain: bool = True


def parse(text: str) -> Gate:
    """Parse `duration_s:10%` (at most 10 % above) or `figures.mean_accuracy:-1%` (1 % below)."""
    match = _FORM.fullmatch(text)
    if match is None:
        hint = "Use FIGURE:PERCENT, e.g. duration_s:10% or result.figures.mean_accuracy:-1%."
        raise UsageError(f"--fail-if {text}: not a figure with a percentage", hint=hint)
    return Gate(match["figure"], float(match["percent"]))


def check(comparison: Comparison, gates: Sequence[Gate]) -> None:
    """Raise `GateError` if a configuration certainly breaks a gate.

    A configuration without a completed run breaks every gate. Otherwise raise
    `InconclusiveGateError` if an interval contains the limit, or a time has no repeats on both
    sides.
    """
    if not gates:
        return
    if len(comparison.configurations) < 2:
        raise UsageError(
            "--fail-if needs a run to compare with the reference", hint="Name two or more runs."
        )
    violations = [item for gate in gates for item in _violations(comparison, gate)]
    broken = [item.text for item in violations if item.certain]
    if broken:
        raise GateError(
            "\n".join(broken), hint="`emrctl compare` without --fail-if prints all figures."
        )
    if violations:
        raise InconclusiveGateError(
            "\n".join(item.text for item in violations),
            hint="Compare more repeats, for example of an experiment with `repeats: 5`.",
        )


def _violations(comparison: Comparison, gate: Gate) -> Iterator[Violation]:
    row = _find_row(comparison, gate.figure)
    for at, configuration in enumerate(comparison.configurations):
        if not configuration.completed_records:
            yield Violation(f"{gate}: {configuration.label} is {configuration.state}")
        elif row is not None and at != comparison.reference:
            yield from _violation(comparison, gate, row, at)


def _violation(comparison: Comparison, gate: Gate, row: FigureRow, at: int) -> Iterator[Violation]:
    name = comparison.configurations[at].label
    measure, reference = row.measures[at], row.measures[comparison.reference]
    if measure is None or reference is None:
        yield Violation(
            f"{gate}: {name if measure is None else 'the reference'} has no {row.label}"
        )
        return
    different = comparison.results[at].differences
    if different and row.key == "duration_s":
        yield Violation(f"{gate}: {name} reported different results: {different[0]}", certain=False)
        return
    ratio = row.ratios[at] or Ratio(float("inf") if measure.mean > 0 else 1.0)
    change = f"{percent(ratio.value)} %, from {reference.mean:.4g} to {measure.mean:.4g} {row.unit}"
    text = f"{gate}: {row.label} of {name} is {change}".rstrip()
    if ratio.verdict is None:
        if gate.is_broken_by(ratio.value):
            yield Violation(text)
    elif ratio.low is None or ratio.high is None:
        yield Violation(f"{text}; inconclusive without repeats on both sides", certain=False)
    else:
        broken = [gate.is_broken_by(limit) for limit in (ratio.low, ratio.high)]
        interval = f"95 % interval {percent(ratio.low)} to {percent(ratio.high)} %"
        if any(broken):
            inconclusive = "" if all(broken) else "; inconclusive"
            yield Violation(f"{text}; {interval}{inconclusive}", certain=all(broken))


def _find_row(comparison: Comparison, figure: str) -> FigureRow | None:
    """Return the row of the figure; None if the figure has the same value in all runs."""
    for key in (figure, RESULT_PREFIX + figure):
        row = comparison.row(key)
        if row is not None:
            return row
    records = [record for item in comparison.configurations for record in item.completed_records]
    if any(figure.removeprefix(RESULT_PREFIX) in record.result_numbers for record in records):
        return None
    keys = ", ".join(row.key for row in comparison.figures)
    raise NotFoundError(f"the runs have no figure '{figure}'", hint=f"Available: {keys}.")
