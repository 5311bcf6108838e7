"""Compares runs with a reference: differing settings, figures, ratios and verdicts.

Runs with equal settings are repeats of one configuration. Only repeats show how certain a
difference is.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from emrctl.compare import results, verdicts
from emrctl.compare.figures import FigureRow, figure_rows
from emrctl.compare.records import MAX_WITH_METRICS, Configuration, RunRecord, SettingsKey
from emrctl.errors import UsageError
from emrctl.runs.backends.launcher import DRIVER_ENV, EXECUTOR_ENV
from emrctl.spec.jobs import SparkSettings

if TYPE_CHECKING:
    from emrctl.compare.diagnoses import Diagnosis
    from emrctl.compare.stages import StageComparison
    from emrctl.compare.statistics import VariancePrior, Verdict

NO_RESULTS_NOTE = (
    "the jobs reported no results: nothing shows that all computed the same; "
    "`emrctl submit --check-output` compares what they wrote"
)
LOCAL_NOTE = "runs on localhost: their durations do not predict those on EMR"


@dataclass(frozen=True)
class SettingRow:
    """A setting that differs; None if a configuration uses the default."""

    name: str
    values: tuple[str | None, ...]


@dataclass(frozen=True)
class Comparison:
    """The result of comparing runs, with one verdict per configuration.

    `verdicts` are sentences. `outcomes` are those on the duration; None for the reference, and
    where the runs allow no verdict. `results` compares what the jobs computed with the reference.
    `prior` is None unless two configurations have repeats.
    """

    configurations: tuple[Configuration, ...]
    reference: int
    settings: tuple[SettingRow, ...]
    figures: tuple[FigureRow, ...]
    verdicts: tuple[str, ...]
    outcomes: tuple[Verdict | None, ...]
    results: tuple[results.ResultCheck, ...]
    notes: tuple[str, ...]
    prior: VariancePrior | None = None

    def row(self, key: str) -> FigureRow | None:
        """Return the row of the figure `key`; None if no run has the figure."""
        return next((row for row in self.figures if row.key == key), None)

    @functools.cached_property
    def stages(self) -> tuple[tuple[int, StageComparison], ...]:
        """The stages of each configuration against the reference, by its index."""
        from emrctl.compare.stages import compare_stages

        reference = self.configurations[self.reference].metrics
        compared = (
            (n, compare_stages(reference, item.metrics))
            for n, item in enumerate(self.configurations)
            if n != self.reference
        )
        return tuple((n, item) for n, item in compared if item is not None)

    @functools.cached_property
    def diagnoses(self) -> tuple[Diagnosis, ...]:
        """The findings of each configuration."""
        from emrctl.compare.diagnoses import of_runs

        return tuple(of_runs(item.completed_records) for item in self.configurations)


def compare(
    records: Sequence[RunRecord], reference: int = 0, *, prior: VariancePrior | None = None
) -> Comparison:
    """Compare `records` with the configuration of `records[reference]`.

    Figures of runs that did not complete are ignored, and a run that is named twice counts once.
    If all settings are equal, each run is a configuration of its own. `prior` says how much times
    of repeats vary, by default as public runs do.
    """
    if not records:
        raise UsageError("there are no runs to compare", hint="Name at least one run.")
    if not 0 <= reference < len(records):
        raise UsageError(f"reference {reference} is not an index of {len(records)} runs")
    chosen = records[reference]
    unique = list({record.id: record for record in records}.values())
    groups = _group(unique)
    at = next(n for n, group in enumerate(groups) if chosen.id in {item.id for item in group})
    configurations = _label(groups)
    repeats = [len(item.completed_records) for item in configurations]
    if sum(count > 1 for count in repeats) < 2:
        prior = None  # no two sides with repeats
    elif prior is None:
        from emrctl.compare.statistics import DEFAULT_PRIOR

        prior = DEFAULT_PRIOR
    rows = figure_rows(configurations, at, prior)
    checks = tuple(results.check(configurations[at], item) for item in configurations)
    judged = [
        verdicts.judge(configurations, rows, at, n, check.differences)
        for n, check in enumerate(checks)
    ]
    notes = _notes(configurations, len(records) - len(unique), prior, checks)
    return Comparison(
        configurations=configurations,
        reference=at,
        settings=_setting_rows(configurations),
        figures=rows,
        verdicts=tuple(sentence for sentence, _ in judged),
        outcomes=tuple(outcome for _, outcome in judged),
        results=checks,
        notes=tuple(notes),
        prior=prior,
    )


def _group(records: Sequence[RunRecord]) -> list[tuple[RunRecord, ...]]:
    groups: dict[SettingsKey, list[RunRecord]] = {}
    for record in records:
        groups.setdefault(record.settings_key(), []).append(record)
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


def _notes(
    configurations: tuple[Configuration, ...],
    twice: int,
    prior: VariancePrior | None,
    checks: tuple[results.ResultCheck, ...],
) -> Iterable[str]:
    if any(item.local for item in configurations):
        yield LOCAL_NOTE
    if twice and len(configurations) == 1:
        yield "a run compared with itself shows nothing: name another run"
    elif twice:
        yield "runs that are named twice count once"
    if prior is not None:
        yield f"how much times vary is estimated with {prior}"
    elif len(configurations) > 1 and all(len(item.records) == 1 for item in configurations):
        yield verdicts.ONE_RUN_EACH
    records = [record for item in configurations for record in item.records]
    for source in sorted({record.published_by for record in records} - {""}):
        yield f"published durations are from {source}, on other machines: compare only the ratios"
    if len(records) > MAX_WITH_METRICS:
        yield f"more than {MAX_WITH_METRICS} runs: figures of Spark and results are left out"
    else:
        is_table = all(record.is_row for record in records)
        if len(checks) > 1 and not is_table and not any(check.compared for check in checks):
            yield NO_RESULTS_NOTE
        yield from _record_notes(records)


def _record_notes(records: Iterable[RunRecord]) -> Iterable[str]:
    """Yield the runs' warnings and what is missing of their metrics."""
    for record in records:
        yield from (f"{record.id}: {warning}" for warning in record.warnings)
        if record.metrics is None and not record.is_row:
            yield f"{record.id}: no event log was pulled, so Spark's figures are missing"
        elif record.metrics is not None and not record.metrics.complete:
            yield f"{record.id}: the event log is incomplete, its figures are lower bounds"
