"""Runs side by side against a reference: what was set differently, and what came of it.

Pure arithmetic over records. Runs of equal settings are repeats of one configuration and are
grouped; a spread is told only where there are repeats, and a single run never claims one.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from emrctl.compare import figures
from emrctl.compare.figures import Figure
from emrctl.compare.records import RunRecord
from emrctl.errors import UsageError

TIMES = "\N{MULTIPLICATION SIGN}"
ONE_RUN_EACH = "one run each: a difference may be noise"
LOCAL_NOTE = "runs on localhost: the timings are localhost's, not EMR's"


@dataclass(frozen=True)
class Measure:
    """A figure over the repeats of one configuration.

    `stddev` is the sample's (n - 1 in the denominator), None of a single run.
    """

    mean: float
    minimum: float
    maximum: float
    count: int
    stddev: float | None = None


@dataclass(frozen=True)
class Ratio:
    """A mean over the reference's; `stddev` by propagation, where both have repeats."""

    value: float
    stddev: float | None = None


@dataclass(frozen=True)
class Configuration:
    """The runs of equal settings; `label` is unlike every other's."""

    label: str
    records: tuple[RunRecord, ...]

    @property
    def counted(self) -> tuple[RunRecord, ...]:
        """The runs whose figures count: those that completed."""
        return tuple(record for record in self.records if record.counted)

    @property
    def local(self) -> bool:
        """Whether any of the runs was on localhost."""
        return any(record.local for record in self.records)

    @property
    def state(self) -> str:
        """The runs' state; where they differ, how many completed."""
        states = {record.state for record in self.records}
        if len(states) == 1:
            return states.pop()
        return f"{len(self.counted)} of {len(self.records)} COMPLETED"


@dataclass(frozen=True)
class SettingRow:
    """One setting that differs; None where a configuration leaves it to the defaults."""

    name: str
    values: tuple[str | None, ...]


@dataclass(frozen=True)
class FigureRow:
    """One figure over the configurations, with the ratios of the means to the reference's."""

    key: str
    label: str
    unit: str
    measures: tuple[Measure | None, ...]
    ratios: tuple[Ratio | None, ...]


@dataclass(frozen=True)
class Comparison:
    """Everything that a table, a page or a gate needs; one verdict for each configuration."""

    configurations: tuple[Configuration, ...]
    reference: int
    settings: tuple[SettingRow, ...]
    figures: tuple[FigureRow, ...]
    verdicts: tuple[str, ...]
    notes: tuple[str, ...]

    def row(self, key: str) -> FigureRow | None:
        """The row of the figure `key`; None where no run has it."""
        return next((row for row in self.figures if row.key == key), None)


def compare(records: Sequence[RunRecord], reference: int = 0) -> Comparison:
    """The comparison of `records` with the configuration of `records[reference]`.

    Runs that did not complete are shown and not counted. Where all settings are equal, each run
    stands for itself: then it is the runs that are compared.
    """
    if not records:
        raise UsageError("there are no runs to compare", hint="Name at least one run.")
    if not 0 <= reference < len(records):
        raise UsageError(f"reference {reference} is none of {len(records)} runs")
    groups = _grouped(records)
    at = next(n for n, group in enumerate(groups) if records[reference] in group)
    configurations = _labelled(groups)
    rows = _figure_rows(configurations, at)
    return Comparison(
        configurations=configurations,
        reference=at,
        settings=_setting_rows(configurations),
        figures=rows,
        verdicts=tuple(_verdict(configurations, rows, at, n) for n in range(len(groups))),
        notes=tuple(_notes(configurations)),
    )


def _grouped(records: Sequence[RunRecord]) -> list[tuple[RunRecord, ...]]:
    groups: dict[tuple[tuple[str, str], ...], list[RunRecord]] = {}
    for record in records:
        groups.setdefault(tuple(sorted(record.traits().items())), []).append(record)
    if len(groups) == 1:
        return [(record,) for record in records]
    return [tuple(group) for group in groups.values()]


def _labelled(groups: list[tuple[RunRecord, ...]]) -> tuple[Configuration, ...]:
    names = [group[0].label or group[0].id for group in groups]
    return tuple(
        Configuration(name if names.count(name) == 1 else f"{name} ({group[0].id})", group)
        for name, group in zip(names, groups, strict=True)
    )


def _setting_rows(configurations: Iterable[Configuration]) -> tuple[SettingRow, ...]:
    traits = [configuration.records[0].traits() for configuration in configurations]
    names = dict.fromkeys(name for found in traits for name in found)
    rows = (SettingRow(name, tuple(found.get(name) for found in traits)) for name in names)
    return tuple(row for row in rows if len(set(row.values)) > 1)


def _figure_rows(configurations: tuple[Configuration, ...], at: int) -> tuple[FigureRow, ...]:
    records = tuple(record for item in configurations for record in item.records)
    wanted = (*figures.FIGURES, *figures.result_figures(records))
    rows = (_figure_row(figure, configurations, at) for figure in wanted)
    return tuple(row for row in rows if any(measure is not None for measure in row.measures))


def _figure_row(figure: Figure, configurations: tuple[Configuration, ...], at: int) -> FigureRow:
    measures = tuple(measure(map(figure.of, item.counted)) for item in configurations)
    against = [ratio(found, measures[at]) for found in measures]
    if against[at] is not None:
        against[at] = Ratio(1.0)  # to itself, however its repeats spread
    return FigureRow(figure.key, figure.label, figure.unit, measures, tuple(against))


def measure(values: Iterable[float | None]) -> Measure | None:
    """Mean, range and sample deviation of the values that are there; None of none."""
    found = [value for value in values if value is not None and math.isfinite(value)]
    if not found:
        return None
    spread = statistics.stdev(found) if len(found) > 1 else None
    return Measure(statistics.fmean(found), min(found), max(found), len(found), spread)


def ratio(ours: Measure | None, reference: Measure | None) -> Ratio | None:
    """Ours over the reference's; None where one is absent or the reference is 0.

    The deviation is that of a quotient of independent means, r x sqrt((s/m)^2 + (t/n)^2), as
    hyperfine has it.
    """
    if ours is None or reference is None or reference.mean == 0:
        return None
    value = ours.mean / reference.mean
    if ours.stddev is None or reference.stddev is None or ours.mean == 0:
        return Ratio(value)
    parts = math.hypot(ours.stddev / ours.mean, reference.stddev / reference.mean)
    return Ratio(value, abs(value) * parts)


def _verdict(
    configurations: tuple[Configuration, ...], rows: tuple[FigureRow, ...], at: int, n: int
) -> str:
    ours, reference = configurations[n], configurations[at]
    by_key = {row.key: row for row in rows}
    first = _pace(by_key.get("duration_s"), ours, reference, (n, at))
    return "; ".join([first, *_remarks(by_key, n, at)]) if ours.counted else first


def _pace(
    row: FigureRow | None, ours: Configuration, reference: Configuration, places: tuple[int, int]
) -> str:
    """How long, or how many times slower or faster than the reference, in the fewest words."""
    n, at = places
    if not ours.counted:
        return f"{ours.state}: no figure to compare"
    mine, theirs = (row.measures[n], row.measures[at]) if row else (None, None)
    found = row.ratios[n] if row else None
    if mine is None:
        return "its duration is not known"
    if n == at:
        return f"the reference: {mine.mean:.1f} s{_runs(mine)}"
    if theirs is None or found is None or found.value <= 0:
        return f"{mine.mean:.1f} s; {reference.label} has no duration to compare with"
    return f"{_times(found, reference.label)}{_doubt(mine, theirs)}"


def _runs(mine: Measure) -> str:
    if mine.stddev is None:
        return ", one run"
    return f" ± {mine.stddev:.1f}, {mine.count} runs"


def _times(found: Ratio, name: str) -> str:
    slower = found.value >= 1
    value = found.value if slower else 1 / found.value
    if f"{value:.2f}" == "1.00":
        return f"as fast as {name}"
    # The relative deviation of 1/r is that of r.
    spread = "" if found.stddev is None else f" ± {found.stddev / found.value * value:.2f}"
    return f"{value:.2f}{spread} {TIMES} {'slower' if slower else 'faster'} than {name}"


def _doubt(mine: Measure, theirs: Measure) -> str:
    if mine.count == theirs.count == 1:
        return f" ({ONE_RUN_EACH})"
    if mine.count == 1 or theirs.count == 1:
        return " (one side ran once: a difference may be noise)"
    if overlap(mine, theirs):
        return " (the ranges overlap: may be noise)"
    return f" (every one of {mine.count} and {theirs.count} runs)"


def overlap(mine: Measure, theirs: Measure) -> bool:
    """Whether some run of either is among the other's: then a difference may be noise."""
    return mine.minimum <= theirs.maximum and theirs.minimum <= mine.maximum


def _remarks(rows: dict[str, FigureRow], n: int, at: int) -> list[str]:
    """What stands out beside the duration; thresholds are where a reader would look twice."""

    def mean(key: str, place: int) -> float | None:
        found = rows[key].measures[place] if key in rows else None
        return None if found is None else found.mean

    found = []
    busy, busy_there = mean("busy_percent", n), mean("busy_percent", at)
    if busy is not None and busy_there is not None and abs(busy - busy_there) >= 10:
        found.append(f"cores {busy:.0f} % busy against {busy_there:.0f} %")
    uneven = mean("imbalance", n)
    if uneven is not None and uneven >= 1.5:
        found.append(f"tasks badly spread: {uneven:.1f} {TIMES} the mean on one executor")
    failed = mean("failed_tasks", n)
    if failed:
        found.append(f"{failed:g} failed tasks")
    cost, cost_there = mean("cost_usd", n), mean("cost_usd", at)
    if n != at and cost is not None and cost_there:
        found.append(f"{cost / cost_there:.2f} {TIMES} the cost")
    return found


def _notes(configurations: tuple[Configuration, ...]) -> Iterable[str]:
    if any(item.local for item in configurations):
        yield LOCAL_NOTE
    if len(configurations) > 1 and all(len(item.records) == 1 for item in configurations):
        yield ONE_RUN_EACH
    told = {record.published_by for item in configurations for record in item.records}
    for source in sorted(told - {""}):
        yield f"published durations are from {source}: on other machines, only ratios compare"
    for item in configurations:
        for record in item.records:
            if record.metrics is None:
                yield f"{record.id}: no event log was pulled, so Spark's figures are missing"
            elif not record.metrics.complete:
                yield f"{record.id}: the event log is not whole, its figures are lower bounds"
