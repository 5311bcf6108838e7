"""Comparisons as gates: how far a figure may be from the reference's before CI is told no."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from emrctl.compare.comparison import Comparison, FigureRow, overlap
from emrctl.compare.figures import has_result
from emrctl.errors import GateError, NotFoundError, UsageError

_FORM = re.compile(r"(?P<figure>[\w.\-]+):(?P<percent>[+-]?\d+(\.\d+)?)%?")
_REPORTED = "result."


@dataclass(frozen=True)
class Gate:
    """`percent` is how much larger the figure may be; below 0, how much smaller."""

    figure: str
    percent: float

    def __str__(self) -> str:
        """As it is typed."""
        return f"{self.figure}:{self.percent:+g}%"

    def breaks(self, ratio: float) -> bool:
        """Whether a figure of so many times the reference's is further away than it may be."""
        change = 100 * (ratio - 1)
        return change < self.percent if self.percent < 0 else change > self.percent


def parse(text: str) -> Gate:
    """`duration_s:10%` may be 10 % above the reference's, `figures.mean_accuracy:-1%` 1 % below."""
    found = _FORM.fullmatch(text)
    if found is None:
        hint = "Write it as duration_s:10% or result.figures.mean_accuracy:-1%."
        raise UsageError(f"--fail-if {text}: no figure with a percentage", hint=hint)
    return Gate(found["figure"], float(found["percent"]))


def check(comparison: Comparison, gates: Sequence[Gate]) -> None:
    """No configuration breaks a gate; `GateError` names those that do, by how much.

    Where both sides have repeats whose ranges overlap a difference may be noise, and breaks
    nothing; one without a completed run breaks every gate.
    """
    if len(comparison.configurations) < 2:
        raise UsageError("a gate needs a run beside the reference", hint="Name two runs or more.")
    broken = [line for gate in gates for line in _broken(comparison, gate)]
    if broken:
        raise GateError("\n".join(broken), hint="`emrctl compare` without --fail-if shows it all.")


def _broken(comparison: Comparison, gate: Gate) -> Iterator[str]:
    row = _row(comparison, gate.figure)
    for place, configuration in enumerate(comparison.configurations):
        if not configuration.counted:
            yield f"{gate}: {configuration.label} is {configuration.state}"
        elif row is not None and place != comparison.reference:
            yield from _judged(comparison, gate, row, place)


def _judged(comparison: Comparison, gate: Gate, row: FigureRow, place: int) -> Iterator[str]:
    name = comparison.configurations[place].label
    ours, reference = row.measures[place], row.measures[comparison.reference]
    if ours is None or reference is None:
        yield f"{gate}: {name if ours is None else 'the reference'} has no {row.label}"
        return
    ratio = row.ratios[place]
    value = ratio.value if ratio is not None else float("inf" if ours.mean > 0 else 1)
    noise = min(ours.count, reference.count) > 1 and overlap(ours, reference)
    if gate.breaks(value) and not noise:
        change = f"{100 * (value - 1):+.1f} %, from {reference.mean:.4g} to {ours.mean:.4g}"
        yield f"{gate}: {row.label} of {name} is {change} {row.unit}".rstrip()


def _row(comparison: Comparison, figure: str) -> FigureRow | None:
    """The figure's row, by its key with or without `result.`; None where all runs have the same."""
    for key in (figure, f"{_REPORTED}{figure}"):
        found = comparison.row(key)
        if found is not None:
            return found
    records = [record for one in comparison.configurations for record in one.counted]
    if any(has_result(record, figure.removeprefix(_REPORTED)) for record in records):
        return None
    known = ", ".join(row.key for row in comparison.figures)
    raise NotFoundError(f"the runs have no figure '{figure}'", hint=f"They have {known}.")
