"""Experiments: runs of one job that differ in declared factors."""

from __future__ import annotations

import functools
import itertools
import math
import random
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from emrctl.spec.constraints import parse
from emrctl.spec.factors import (
    MAX_CONFIGURATIONS,
    Configuration,
    Levels,
    RangeSpec,
    check_levels,
    combine,
    convert,
    factor_fault,
    latin_hypercube,
    path_of,
    reason_of,
    sample,
    shown,
)
from emrctl.spec.jobs import SparkSettings
from emrctl.spec.types import Count, Name, Spec, Texts, Usd, fault_at

# Further random points that replace those of a design which violate the constraints.
_TRIES_PER_SAMPLE = 200
# Stratified designs of which the one with the most valid points is taken.
_HYPERCUBES = 20


def _share(value: Any) -> Any:
    """Convert `5%` to 0.05."""
    if isinstance(value, str) and value.strip().endswith("%"):
        return float(value.strip()[:-1]) / 100
    if isinstance(value, float):
        return value
    raise ValueError("must be a percentage like 5%")


def _parse(text: str) -> str:
    parse(text)
    return text


class PublishedSpec(Spec):
    """Published durations of an experiment's configurations on the same data, in minutes."""

    by: Annotated[str, Field(min_length=1)]
    minutes: dict[str, Annotated[float, Field(gt=0)]]


class BudgetSpec(Spec):
    """Limits of an experiment over all of its runs: their number, time and cost.

    `time_s` or `hours` is the time in which at least one run was running, `usd` the price of the
    clusters for that time.
    """

    runs: Count | None = None
    time_s: Annotated[float, Field(gt=0)] | None = None
    hours: Annotated[float, Field(gt=0)] | None = None
    usd: Usd | None = None

    @model_validator(mode="after")
    def _check_time(self) -> Self:
        if self.time_s is not None and self.hours is not None:
            raise ValueError("set time_s or hours, not both")
        return self

    @property
    def seconds(self) -> float | None:
        """The time limit in seconds."""
        return 3600 * self.hours if self.hours is not None else self.time_s


class TuneSpec(Spec):
    """How `emrctl tune` searches, where options of the command do not say so.

    `limit` cancels a trial after this multiple of the default's duration. `repeats` is how often
    the default and the best configurations run at the end. `budget` replaces the experiment's.
    """

    goal: Literal["time", "cost", "both"] = "time"
    sampler: Literal["search", "tpe", "gp", "qmc", "grid", "random"] = "search"
    limit: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 3.0
    repeats: Count = 3
    parallel: Count | None = None
    keep: bool = False
    budget: BudgetSpec | None = None

    def merged(self, over: TuneSpec) -> TuneSpec:
        """Return this spec overridden by what is set in `over`."""
        fields = over.model_fields_set
        return self.model_copy(update={name: getattr(over, name) for name in fields})


class StopSpec(Spec):
    """When to stop repeating a configuration before all repeats.

    `interval`: its ratio to the reference is known within this share, e.g. 5 %. `worse`: it is
    certainly slower than the fastest configuration.
    """

    interval: Annotated[float, BeforeValidator(_share), Field(gt=0, lt=1)] | None = None
    worse: bool = False

    @model_validator(mode="after")
    def _check_rules(self) -> Self:
        if self.interval is None and not self.worse:
            raise ValueError("set interval, e.g. 5%, or worse: true")
        return self


class ExperimentSpec(Spec):
    """Runs of one job that differ in declared factors.

    `factors` maps settings to lists of values or ranges; `design` combines them. `configurations`
    names the values of each configuration instead. A trial is one configuration and one repeat of
    it; `repeats` is the maximum if `stop` is set. `warm_up` runs per cluster are not compared.
    `seed` determines samples and the order of trials. `check_output` are data sets whose rows and
    checksums are compared, besides those of the job. `tune` is for `emrctl tune`. `published`
    durations are shown next to the measured ones.
    """

    name: Name
    job: str
    args: Texts = ()
    settings: SparkSettings = SparkSettings()
    factors: dict[str, Any] = Field(default_factory=dict)
    configurations: dict[str, dict[str, Any]] = Field(default_factory=dict)
    design: Literal["grid", "random", "latin_hypercube"] = "grid"
    samples: Annotated[int, Field(ge=1, le=MAX_CONFIGURATIONS)] | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    constraints: tuple[Annotated[str, AfterValidator(_parse)], ...] = ()
    repeats: Annotated[int, Field(ge=1, le=1000)] = 1
    warm_up: Annotated[int, Field(ge=0, le=10)] = 0
    parallel: Annotated[int, Field(ge=1, le=256)] = 1
    budget: BudgetSpec = BudgetSpec()
    stop: StopSpec | None = None
    tune: TuneSpec = TuneSpec()
    check_output: Texts = ()
    description: str = ""
    published: PublishedSpec | None = None

    @field_validator("factors")
    @classmethod
    def _convert_factors(cls, factors: dict[str, Any]) -> dict[str, Levels]:
        """Convert each level to the type of its setting."""
        return {name: _located(name, check_levels, levels) for name, levels in factors.items()}

    @field_validator("configurations")
    @classmethod
    def _convert_configurations(
        cls, configurations: dict[str, dict[str, Any]]
    ) -> dict[str, dict[str, Any]]:
        """Convert each value to the type of its setting; `conf: {key: value}` to `conf.key`."""
        converted: dict[str, dict[str, Any]] = {}
        for name, values in configurations.items():
            conf = values.get("conf", {})
            if not isinstance(conf, Mapping):
                raise fault_at((name, "conf"), "must be a mapping of Spark properties")
            named = {key: value for key, value in values.items() if key != "conf"}
            named |= {f"conf.{key}": value for key, value in conf.items()}
            converted[name] = {
                key: _located(key, convert, value, name) for key, value in named.items()
            }
        return converted

    @model_validator(mode="after")
    def _check_factors(self) -> Self:
        if bool(self.factors) == bool(self.configurations):
            raise ValueError("an experiment needs either factors or configurations")
        if self.configurations and (self.design != "grid" or self.samples is not None):
            raise fault_at(("design",), "design and samples require factors")
        if self.factors and (self.design == "grid") != (self.samples is None):
            if self.design == "grid":
                raise fault_at(("samples",), "requires design: random or latin_hypercube")
            raise fault_at(("design",), f"{self.design} requires samples")
        ranges = [name for name, levels in self.factors.items() if isinstance(levels, RangeSpec)]
        if self.design == "grid" and ranges:
            reason = "a range requires design: random or latin_hypercube, and samples"
            raise fault_at(("factors", ranges[0]), reason)
        return self

    @model_validator(mode="after")
    def _check_published(self) -> Self:
        unknown = set(self.published.minutes) - set(self.configurations) if self.published else ()
        if unknown:
            raise ValueError(f"published.minutes: no configuration is called '{min(unknown)}'")
        return self

    @model_validator(mode="after")
    def _check_configurations(self) -> Self:
        if not self.combinations:
            raise fault_at(("constraints",), "no configuration satisfies the constraints")
        return self

    @functools.cached_property
    def combinations(self) -> tuple[Configuration, ...]:
        """The configurations that satisfy the constraints, the reference first."""
        if self.configurations:
            return tuple(self._listed())
        points = self._grid() if self.design == "grid" else self._sampled()
        items = (self.combine(values) for values in points)
        return tuple(self._numbered(item for item in items if self.allows(item)))

    def combine(self, values: Mapping[str, Any], name: str = "") -> Configuration:
        """Return the configuration with these values of factors; `ValidationError` if invalid."""
        path = ("configurations", name) if name else ("factors",)
        try:
            return combine(values, settings=self.settings, args=self.args, name=name)
        except ValueError as error:
            prefix = "" if name else f"{shown(values)}: "
            raise fault_at(path, f"{prefix}{reason_of(error)}") from error

    def allows(self, item: Configuration) -> bool:
        """Return whether a configuration satisfies the constraints."""
        for index, text in enumerate(self.constraints):
            try:
                if not parse(text).holds(item.named_values()):
                    return False
            except ValueError as error:
                reason = f"{error}, in configuration '{item.name}'"
                raise fault_at(("constraints", index), reason) from error
        return True

    def _listed(self) -> Iterator[Configuration]:
        for item in self._numbered(self.combine(v, k) for k, v in self.configurations.items()):
            if not self.allows(item):
                raise fault_at(("configurations", item.name), "does not satisfy the constraints")
            yield item

    def _numbered(self, items: Iterable[Configuration]) -> Iterator[Configuration]:
        for position, item in enumerate(items):
            yield item.at(position)

    def _grid(self) -> Iterator[dict[str, Any]]:
        size = math.prod(len(levels) for levels in self.factors.values())
        if size > MAX_CONFIGURATIONS:
            limit = f"the limit is {MAX_CONFIGURATIONS:,}"
            reason = f"a grid of {size:,} configurations: {limit}; use design: random"
            raise fault_at(("factors",), reason)
        for levels in itertools.product(*self.factors.values()):
            yield dict(zip(self.factors, levels, strict=True))

    def _sampled(self) -> list[dict[str, Any]]:
        """Return up to `samples` distinct points that satisfy the constraints.

        Points of a Latin hypercube that violate them are replaced by random ones.
        """
        rng, samples = random.Random(f"design {self.seed}"), self.samples or 0  # noqa: S311
        best: dict[str, dict[str, Any]] = {}
        for _ in range(_HYPERCUBES if self.design == "latin_hypercube" else 0):
            points = latin_hypercube(samples, len(self.factors), rng)
            best = max(best, self._allowed(points), key=len)
            if len(best) == samples:
                break
        for _ in range(_TRIES_PER_SAMPLE * samples):
            if len(best) == samples:
                break
            best |= self._allowed([[rng.random() for _ in self.factors]])
        return list(best.values())

    def _allowed(self, points: Iterable[list[float]]) -> dict[str, dict[str, Any]]:
        """Return the points at these shares that satisfy the constraints, by name."""
        allowed = {}
        for shares in points:
            values = sample(self.factors, shares)
            item = self.combine(values)
            if self.allows(item):
                allowed[item.name] = values
        return allowed


def _located(factor: str, check: Any, value: Any, configuration: str | None = None) -> Any:
    """Return the checked value of a factor; `ValidationError` with its path."""
    path = (factor,) if configuration is None else (configuration, factor)
    fault = factor_fault(factor)
    if fault:
        raise fault_at(path, fault)
    try:
        return check(factor, value)
    except ValueError as error:
        raise fault_at((*path, *path_of(error)), reason_of(error)) from error
