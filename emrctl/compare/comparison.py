"""Compares runs with a reference: differing settings, figures, ratios and verdicts.

Runs with equal settings are repeats of one configuration. Deviations are computed only from
repeats.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from emrctl.compare.records import FIGURES, Figure, RunRecord, result_figures
from emrctl.errors import UsageError
from emrctl.runs.backends.launcher import DRIVER_ENV, EXECUTOR_ENV
from emrctl.spec.jobs import SparkSettings

TIMES = "\N{MULTIPLICATION SIGN}"
ONE_RUN_EACH = "one run each: a difference may be noise"
LOCAL_NOTE = "runs on localhost: their durations do not predict those on EMR"


@dataclass(frozen=True)
class Measure:
    """A figure over the repeats of one configuration.

    `stddev` is the sample standard deviation (n - 1), None for a single run.
    """

    mean: float
    minimum: float
    maximum: float
    count: int
    stddev: float | None = None


@dataclass(frozen=True)
class Ratio:
    """A mean divided by that of the reference; `stddev` only if both have repeats."""

    value: float
    stddev: float | None = None


@dataclass(frozen=True)
class Configuration:
    """The runs with equal settings; `label` is unique."""

    label: str
    records: tuple[RunRecord, ...]

    @property
    def completed_records(self) -> tuple[RunRecord, ...]:
        """The completed runs; only their figures are compared."""
        return tuple(record for record in self.records if record.completed)

    @property
    def local(self) -> bool:
        """Whether any of the runs was on localhost."""
        return any(record.local for record in self.records)

    @property
    def state(self) -> str:
        """The runs' state; if they differ, the number of completed runs."""
        states = {record.state for record in self.records}
        if len(states) == 1:
            return states.pop()
        return f"{len(self.completed_records)} of {len(self.records)} COMPLETED"


@dataclass(frozen=True)
class SettingRow:
    """A setting that differs; None if a configuration uses the default."""

    name: str
    values: tuple[str | None, ...]


@dataclass(frozen=True)
class FigureRow:
    """A figure of each configuration, with ratios to the reference."""

    key: str
    label: str
    unit: str
    measures: tuple[Measure | None, ...]
    ratios: tuple[Ratio | None, ...]


@dataclass(frozen=True)
class Comparison:
    """The result of comparing runs, with one verdict per configuration."""

    configurations: tuple[Configuration, ...]
    reference: int
    settings: tuple[SettingRow, ...]
    figures: tuple[FigureRow, ...]
    verdicts: tuple[str, ...]
    notes: tuple[str, ...]

    def row(self, key: str) -> FigureRow | None:
        """Return the row of the figure `key`; None if no run has the figure."""
        return next((row for row in self.figures if row.key == key), None)


def compare(records: Sequence[RunRecord], reference: int = 0) -> Comparison:
    """Compare `records` with the configuration of `records[reference]`.

    Figures of runs that did not complete are ignored. If all settings are equal, each run is a
    configuration of its own.
    """
    if not records:
        raise UsageError("there are no runs to compare", hint="Name at least one run.")
    if not 0 <= reference < len(records):
        raise UsageError(f"reference {reference} is not an index of {len(records)} runs")
    groups = _group(records)
    at = next(n for n, group in enumerate(groups) if records[reference] in group)
    configurations = _label(groups)
    rows = _figure_rows(configurations, at)
    return Comparison(
        configurations=configurations,
        reference=at,
        settings=_setting_rows(configurations),
        figures=rows,
        verdicts=tuple(_verdict(configurations, rows, at, n) for n in range(len(groups))),
        notes=tuple(_notes(configurations)),
    )


def _group(records: Sequence[RunRecord]) -> list[tuple[RunRecord, ...]]:
    groups: dict[tuple[tuple[str, str], ...], list[RunRecord]] = {}
    for record in records:
        traits = replace(record, properties={}).traits()
        groups.setdefault(tuple(sorted(traits.items())), []).append(record)
    parts = [part for group in groups.values() for part in _split(group)]
    return parts if len(parts) > 1 else [(record,) for record in records]


def _split(group: list[RunRecord]) -> list[tuple[RunRecord, ...]]:
    """Split runs with equal settings by the other Spark properties that were in effect.

    These are not known of runs without metrics, which join the first part.
    """
    parts: dict[tuple[tuple[str, str], ...], list[RunRecord]] = {}
    for record in sorted(group, key=lambda item: not item.properties):
        key = tuple(sorted(record.properties.items())) or next(iter(parts), ())
        parts.setdefault(key, []).append(record)
    return [tuple(part) for part in parts.values()]


def _label(groups: list[tuple[RunRecord, ...]]) -> tuple[Configuration, ...]:
    names = [group[0].label or group[0].id for group in groups]
    return tuple(
        Configuration(name if names.count(name) == 1 else f"{name} ({group[0].id})", group)
        for name, group in zip(names, groups, strict=True)
    )


def _setting_rows(configurations: Iterable[Configuration]) -> tuple[SettingRow, ...]:
    records = [configuration.records[0] for configuration in configurations]
    traits = _named_once(records)
    names = dict.fromkeys(name for values in traits for name in values)
    chosen = {f"conf.{name}" for record in records for name in record.settings.get("conf", ())}
    properties = {f"conf.{name}" for record in records for name in record.properties} - chosen

    def differs(name: str) -> bool:
        # Many properties follow from release and deploy mode, and those of configurations without
        # metrics are not known.
        values: dict[Any, set[str | None]] = {}
        for record, own in zip(records, traits, strict=True):
            if name not in properties:
                values.setdefault(None, set()).add(own.get(name))
            elif record.properties:
                platform = own.get("cluster.release"), own.get("deploy_mode")
                values.setdefault(platform, set()).add(own.get(name))
        return any(len(different) > 1 for different in values.values())

    rows = (SettingRow(name, tuple(values.get(name) for values in traits)) for name in names)
    return tuple(row for row in rows if differs(row.name))


def _named_once(records: Sequence[RunRecord]) -> list[dict[str, str]]:
    """Return the traits of each run; a property is under the option that sets it in any run."""
    options = SparkSettings.options()
    aliases: dict[str, str] = {}
    for record in records:
        for name in record.settings.keys() & options.keys():
            aliases |= {f"conf.{key}": name for key in options[name].properties}
        for name in record.settings.get("env", ()):
            aliases |= {
                f"conf.{prefix}{name}": f"env.{name}" for prefix in (EXECUTOR_ENV, DRIVER_ENV)
            }
    traits = [record.traits() for record in records]
    for own in traits:
        for alias in aliases.keys() & own.keys():
            own.setdefault(aliases[alias], own.pop(alias))
    return traits


def _figure_rows(configurations: tuple[Configuration, ...], at: int) -> tuple[FigureRow, ...]:
    records = tuple(record for item in configurations for record in item.records)
    all_figures = (*FIGURES, *result_figures(records))
    rows = (_figure_row(figure, configurations, at) for figure in all_figures)
    return tuple(row for row in rows if any(measure is not None for measure in row.measures))


def _figure_row(figure: Figure, configurations: tuple[Configuration, ...], at: int) -> FigureRow:
    measures = tuple(measure(map(figure.of, item.completed_records)) for item in configurations)
    ratios = [ratio(item, measures[at]) for item in measures]
    if ratios[at] is not None:
        ratios[at] = Ratio(1.0)  # the reference to itself, without deviation
    return FigureRow(figure.key, figure.label, figure.unit, measures, tuple(ratios))


def measure(values: Iterable[float | None]) -> Measure | None:
    """Return mean, range and deviation of the finite values; None if there are none."""
    numbers = [value for value in values if value is not None and math.isfinite(value)]
    if not numbers:
        return None
    stddev = statistics.stdev(numbers) if len(numbers) > 1 else None
    return Measure(statistics.fmean(numbers), min(numbers), max(numbers), len(numbers), stddev)


def ratio(item: Measure | None, reference: Measure | None) -> Ratio | None:
    """Return the ratio of the means; None if one is missing or the reference is 0.

    The deviation is that of a quotient of independent means, r x sqrt((s/m)^2 + (t/n)^2), as in
    hyperfine.
    """
    if item is None or reference is None or reference.mean == 0:
        return None
    value = item.mean / reference.mean
    if item.stddev is None or reference.stddev is None or item.mean == 0:
        return Ratio(value)
    relative = math.hypot(item.stddev / item.mean, reference.stddev / reference.mean)
    return Ratio(value, abs(value) * relative)


def _verdict(
    configurations: tuple[Configuration, ...], rows: tuple[FigureRow, ...], at: int, n: int
) -> str:
    """Return the verdict on configuration `n` against the reference `at`."""
    item, reference = configurations[n], configurations[at]
    if not item.completed_records:
        return f"{item.state}: no completed run to compare"
    by_key = {row.key: row for row in rows}
    speed = _speed(by_key.get("duration_s"), reference.label, n, at)
    return "; ".join([speed, *_remarks(by_key, n, at)])


def _speed(row: FigureRow | None, reference_label: str, n: int, at: int) -> str:
    """Return the duration, or how many times slower or faster than the reference."""
    measure, reference = (row.measures[n], row.measures[at]) if row else (None, None)
    ratio = row.ratios[n] if row else None
    if measure is None:
        return "duration unknown"
    if n == at:
        runs = "one run" if measure.stddev is None else f"{measure.count} runs"
        deviation = "" if measure.stddev is None else f" ± {measure.stddev:.1f}"
        return f"the reference: {measure.mean:.1f} s{deviation}, {runs}"
    if reference is None or ratio is None or ratio.value <= 0:
        return f"{measure.mean:.1f} s; {reference_label} has no duration to compare with"
    return f"{_times(ratio, reference_label)} ({_certainty(measure, reference)})"


def _times(ratio: Ratio, reference_label: str) -> str:
    slower = ratio.value >= 1
    value = ratio.value if slower else 1 / ratio.value
    if f"{value:.2f}" == "1.00":
        return f"as fast as {reference_label}"
    # The relative deviation of 1/r is that of r.
    stddev = "" if ratio.stddev is None else f" ± {ratio.stddev / ratio.value * value:.2f}"
    return f"{value:.2f}{stddev} {TIMES} {'slower' if slower else 'faster'} than {reference_label}"


def _certainty(item: Measure, reference: Measure) -> str:
    if item.count == reference.count == 1:
        return ONE_RUN_EACH
    if item.count == 1 or reference.count == 1:
        return "one side has a single run: a difference may be noise"
    if overlap(item, reference):
        return "the ranges overlap: may be noise"
    return f"the ranges of {item.count} and {reference.count} runs do not overlap"


def overlap(item: Measure, reference: Measure) -> bool:
    """Return whether the ranges overlap: then a difference may be noise."""
    return item.minimum <= reference.maximum and reference.minimum <= item.maximum


def _remarks(rows: dict[str, FigureRow], n: int, at: int) -> list[str]:
    """Return other figures of configuration `n` that deserve attention."""

    def mean(key: str, index: int) -> float | None:
        measure = rows[key].measures[index] if key in rows else None
        return None if measure is None else measure.mean

    remarks = []
    busy, reference_busy = mean("busy_percent", n), mean("busy_percent", at)
    if busy is not None and reference_busy is not None and abs(busy - reference_busy) >= 10:
        remarks.append(f"cores {busy:.0f} % busy against {reference_busy:.0f} %")
    imbalance = mean("imbalance", n)
    if imbalance is not None and imbalance >= 1.5:
        remarks.append(
            f"tasks unevenly distributed: {imbalance:.1f} {TIMES} the mean on one executor"
        )
    failed = mean("failed_tasks", n)
    if failed:
        remarks.append(f"{failed:g} failed tasks")
    cost, reference_cost = mean("cost_usd", n), mean("cost_usd", at)
    if n != at and cost is not None and reference_cost:
        remarks.append(f"{cost / reference_cost:.2f} {TIMES} the cost")
    return remarks


def _notes(configurations: tuple[Configuration, ...]) -> Iterable[str]:
    if any(item.local for item in configurations):
        yield LOCAL_NOTE
    if len(configurations) > 1 and all(len(item.records) == 1 for item in configurations):
        yield ONE_RUN_EACH
    records = [record for item in configurations for record in item.records]
    for source in sorted({record.published_by for record in records} - {""}):
        yield f"published durations are from {source}, on other machines: compare only the ratios"
    for record in records:
        yield from (f"{record.id}: {warning}" for warning in record.warnings)
        if record.metrics is None:
            yield f"{record.id}: no event log was pulled, so Spark's figures are missing"
        elif not record.metrics.complete:
            yield f"{record.id}: the event log is incomplete, its figures are lower bounds"
