"""Replay a search on a table of measured configurations."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from emrctl.aws import instance_types
from emrctl.compare import timings
from emrctl.errors import UsageError
from emrctl.tune import Goal, features, samplers

FALSE = {"false", "no", "0", "failed", ""}


@dataclass(frozen=True)
class Columns:
    """The columns of a table of measurements.

    `where` selects rows. Rows whose `completed` column is false, and rows without a time, failed.
    """

    time: str
    features: Sequence[str]
    where: Mapping[str, str]
    completed: str | None = None


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """Configurations with the values measured of each; NaN for a failure."""

    candidates: Sequence[Mapping[str, float | str]]
    values: Sequence[Sequence[float]]

    def truth(self) -> list[float]:
        """Return the mean of each configuration, infinite if it failed more often than not."""
        means = []
        for values in self.values:
            good = [value for value in values if math.isfinite(value)]
            failed = 2 * len(good) <= len(values)
            means.append(math.inf if failed else math.fsum(good) / len(good))
        return means


def read(path: Path, columns: Columns, goal: Goal) -> Measurements:
    """Read a CSV or TSV table with a header; a cost is time times price times number of machines.

    Raises `UsageError` naming the file, and the line where there is one: no such column, a time
    that is no number, no rows, or nothing that a price is known of.
    """
    if goal == Goal.both:
        raise UsageError("a replay has one goal", hint="Set --goal time or --goal cost.")
    header, rows = timings.table(path)
    needed = (columns.time, *columns.features, *columns.where, columns.completed)
    timings.require_columns(path, header, (name for name in needed if name is not None))
    timings.require_configuration(path, columns.time, columns.features)
    if columns.completed in (columns.time, *columns.features):
        raise UsageError(f"{path}: --completed {columns.completed}: the column has another use")
    groups: dict[tuple[str, ...], list[float]] = {}
    for line, row in rows:
        if all(row[name] == value for name, value in columns.where.items()):
            key = tuple(row[name] for name in columns.features)
            groups.setdefault(key, []).append(_time(path, line, row, columns))
    levels = zip(*map(_numbers_or_texts, zip(*groups, strict=True)), strict=True)
    candidates = [dict(zip(columns.features, key, strict=True)) for key in levels]
    if len(candidates) < 2:
        hint = "Check --where and --features."
        raise UsageError(f"{path}: {len(candidates)} configurations to search", hint=hint)
    values = list(groups.values())
    if goal == Goal.cost:
        prices = _prices(path, candidates)
        values = [[v * usd / 3600 for v in own] for own, usd in zip(values, prices, strict=True)]
    measurements = Measurements(candidates=candidates, values=values)
    if not any(map(math.isfinite, measurements.truth())):
        raise UsageError(f"{path}: no configuration succeeded")
    return measurements


def _time(path: Path, line: int, row: Mapping[str, str], columns: Columns) -> float:
    text = row[columns.time]
    if columns.completed and row[columns.completed].lower() in FALSE:
        return math.nan
    try:
        value = float(text or "nan")
    except ValueError:
        raise UsageError(f"{path}, line {line}: {columns.time} is '{text}', no number") from None
    if not math.isnan(value):
        timings.require_time(path, line, columns.time, text, value)
    return value


def _numbers_or_texts(column: Sequence[str]) -> list[float | str]:
    try:
        return [int(text) if text.isdecimal() else float(text) for text in column]
    except ValueError:
        return list(column)


def _prices(path: Path, candidates: Sequence[Mapping[str, float | str]]) -> list[float]:
    """Return the USD per hour of each cluster: on demand in us-east-1, without EMR's fee."""
    prices = []
    for item in candidates:
        count, rates = 1.0, list[float]()
        for name, value in item.items():
            role = features.classify(name)
            if value in instance_types.INSTANCE_TYPES:
                rates.append(instance_types.instance_type(str(value)).ec2_usd)
            elif isinstance(value, str):
                continue
            elif role == ("node", "price"):
                rates.insert(0, value)
            elif role == ("node", "count"):
                count *= value
        text = ", ".join(f"{name}={value}" for name, value in item.items())
        if not rates:
            hint = "Add a column of instance types that `emrctl prices` lists, or of prices."
            raise UsageError(f"{path}: the price of {text} is not known", hint=hint)
        usd = rates[0] * count
        if not 1e-9 <= usd <= 1e12:
            raise UsageError(f"{path}: the price of {text} is {usd:g} USD per hour, not above 0")
        prices.append(usd)
    return prices


def regrets(measurements: Measurements, sampler: str, *, runs: int, seed: int) -> list[float]:
    """Search once; return after each run how far the best measured is from the best of all.

    A fraction: 0.05 means that the best configuration measured so far is 5 % worse, by means of
    all measurements. Each run returns one of a configuration's measurements at random.
    """
    rng = random.Random(seed)  # noqa: S311 - not for secrets
    truth = measurements.truth()
    search = samplers.create(sampler, measurements.candidates, seed=seed)
    best, lowest = math.inf, min(truth)
    result = []
    for _ in range(runs):
        at = search.ask()
        search.tell(at, rng.choice(measurements.values[at]))
        best = min(best, truth[at])
        result.append(best / lowest - 1)
    return result


@dataclass(frozen=True, kw_only=True)
class Replay:
    """Searches with one sampler and several seeds; the lists have one number per run.

    `within` is the share of searches whose best configuration is good enough, `behind` the median
    by which it is worse than the best of all, as a fraction.
    """

    sampler: str
    within: list[float]
    behind: list[float]


@dataclass(frozen=True)
class Searches:
    """Searches with seeds 0 to `seeds` - 1 of `runs` runs each, at most one per configuration.

    Good enough is at most `within` worse than the best, a fraction.
    """

    runs: int
    seeds: int
    within: float

    def replay(self, measurements: Measurements, sampler: str) -> Replay:
        """Return how one sampler does."""
        if not 0 <= self.within < math.inf:
            raise UsageError(f"--within {100 * self.within:g}: not a percentage of 0 or more")
        runs = min(self.runs, len(measurements.candidates))
        every = [regrets(measurements, sampler, runs=runs, seed=seed) for seed in range(self.seeds)]
        columns = list(zip(*every, strict=True))
        return Replay(
            sampler=sampler,
            within=[
                sum(value <= self.within for value in column) / len(every) for column in columns
            ],
            behind=[median(column) for column in columns],
        )
