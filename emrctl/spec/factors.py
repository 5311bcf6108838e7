"""Factors of an experiment and the configurations that combine their values.

A factor is a Spark setting (`executors`), a Spark property (`conf.spark.x`), an argument of the job
(`args.--reg`, or `args.reg` for `{reg}` in the arguments), an environment variable (`env.NAME`) or
a field of the cluster (`cluster.core.type`).
"""

from __future__ import annotations

import difflib
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from pydantic import model_validator

from emrctl.aws.spark_conf import memory_mb
from emrctl.spec.constraints import Value, identifier
from emrctl.spec.jobs import SparkSettings
from emrctl.spec.types import Spec, fault_at, text_of, to_text
from emrctl.spec.yaml import Null, reason

PREFIXES = ("conf", "args", "env", "cluster")
# Placeholders in arguments that a submission replaces.
_RESERVED = ("run", "bucket")
_SIZES = ("executor_memory", "memory_overhead", "driver_memory")
MAX_CONFIGURATIONS = 10_000


class RangeSpec(Spec):
    """A numeric range of a sampled factor, `low` and `high` included.

    With `log` the logarithm is uniform. `unit` is appended to the number, e.g. `g`.
    """

    low: float
    high: float
    log: bool = False
    integer: bool = False
    unit: str = ""

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"low ({self.low:g}) must be below high ({self.high:g})")
        if self.log and self.low <= 0:
            raise ValueError(f"log requires a positive low, not {self.low:g}")
        if self.integer and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError("integer requires whole numbers for low and high")
        return self

    def at(self, share: float) -> str:
        """Return the text of the value at a share of the range, 0 ≤ share < 1."""
        low, high = self.low, self.high + self.integer
        value = low * (high / low) ** share if self.log else low + share * (high - low)
        number = f"{min(math.floor(value), int(self.high))}" if self.integer else f"{value:.6g}"
        return number + self.unit


Levels = tuple[Any, ...] | RangeSpec


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """One combination of factor values, `values` by factor, and what a run of it is submitted with.

    `cluster` maps dotted fields of the cluster to their values. `position` is that in the
    experiment, counted from 0.
    """

    name: str
    position: int
    values: Mapping[str, Any]
    settings: SparkSettings
    args: tuple[str, ...]
    env: Mapping[str, str]
    cluster: Mapping[str, str | None]

    def features(self) -> dict[str, Value | None]:
        """Return the factors' values as numbers, booleans or texts; memory settings in MB.

        A value is None if it is the default of Spark, or that of emrctl.yaml for the cluster.
        """
        features: dict[str, Value | None] = {}
        for name, value in self.values.items():
            if isinstance(value, Mapping):  # of `conf`
                features |= {f"conf.{key}": feature("", item) for key, item in value.items()}
            else:
                features[name] = feature(name, value)
        return features

    def named_values(self) -> dict[str, Value | None]:
        """Return what a constraint can name: the factors, and Spark settings that are set."""
        values = self.settings.model_dump(exclude={"conf"}, exclude_none=True)
        named = {key: feature(key, value) for key, value in values.items() if value != ()}
        named |= {f"conf.{key}": feature("", value) for key, value in self.settings.conf.items()}
        return {identifier(key): value for key, value in {**named, **self.features()}.items()}

    def at(self, position: int) -> Configuration:
        """Return the configuration at another position."""
        return replace(self, position=position)


def feature(name: str, value: Any) -> Value | None:
    """Return a factor's value as a number, boolean or text; a memory setting in MB."""
    if value is None or isinstance(value, bool):
        return value
    if name in _SIZES:
        return memory_mb(str(value))
    text = to_text(value)
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    try:
        number = float(text)
    except ValueError:
        return text
    if not math.isfinite(number):
        return text
    return int(number) if number.is_integer() else number


def check_levels(factor: str, levels: Any) -> Levels:
    """Return the converted levels of a factor; `ValidationError` at the one that is invalid."""
    if isinstance(levels, Mapping | RangeSpec):
        return RangeSpec.model_validate(levels)
    if not isinstance(levels, list | tuple) or not levels:
        raise ValueError("a factor needs a list of values, or a range {low: …, high: …}")
    converted = []
    for index, level in enumerate(levels):
        try:
            converted.append(convert(factor, level))
        except ValueError as error:
            raise fault_at((index,), reason_of(error)) from error
    return tuple(converted)


def convert(factor: str, value: Any) -> Any:
    """Return a value with the type of its factor; None is a default. Raises `ValueError`."""
    prefix, dot, _ = factor.partition(".")
    if not dot:
        return getattr(SparkSettings.model_validate({factor: value}), factor)
    if prefix == "cluster" and (value is None or isinstance(value, Null)):
        return None
    text = text_of(value)
    if not isinstance(text, str):
        raise ValueError("must be a number, a text, true or false")  # noqa: TRY004 - for pydantic
    return text


def factor_fault(factor: str) -> str:
    """Return why a factor's name is invalid, or an empty text."""
    prefix, dot, rest = factor.partition(".")
    known = list(SparkSettings.options())
    if (not dot and factor in known) or (dot and rest and prefix in PREFIXES):
        return ""
    names = [*known, *(f"{item}.…" for item in PREFIXES)]
    near = difflib.get_close_matches(factor, known, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(names)}"
    return f"factor '{factor}' is not a Spark setting; {hint}"


def combine(
    values: Mapping[str, Any], *, settings: SparkSettings, args: Sequence[str], name: str = ""
) -> Configuration:
    """Return the configuration of these factor values on top of common settings and arguments.

    Raises `ValueError` if the settings contradict each other or an argument has no place.
    """
    plain = {key: value for key, value in values.items() if "." not in key and value is not None}
    groups: dict[str, dict[str, Any]] = {prefix: {} for prefix in PREFIXES}
    for key, value in values.items():
        prefix, dot, rest = key.partition(".")
        if dot:
            groups[prefix][rest] = value
    conf = {**plain.get("conf", {}), **groups["conf"]}
    own = SparkSettings.model_validate({**plain, "conf": conf})
    return Configuration(
        name=name or shown(values),
        position=0,
        values=values,
        settings=settings.merged(own),
        args=_replace_arguments(args, groups["args"]),
        env=groups["env"],
        cluster=groups["cluster"],
    )


def shown(values: Mapping[str, Any]) -> str:
    """Return factor values as text, e.g. `executors=2, partitions=8`."""
    texts = {key: "default" if value is None else to_text(value) for key, value in values.items()}
    return ", ".join(f"{key}={text}" for key, text in texts.items())


def _replace_arguments(args: Sequence[str], values: Mapping[str, str]) -> tuple[str, ...]:
    """Return the arguments with the values of options and placeholders."""
    words = list(args)
    for name, value in values.items():
        if not name.startswith("-"):
            placeholder = f"{{{name}}}"
            if name in _RESERVED or not any(placeholder in word for word in words):
                raise ValueError(f"args.{name}: no argument contains {placeholder}")
            words = [word.replace(placeholder, value) for word in words]
        elif name in words:
            at = words.index(name) + 1
            words[at : at + 1] = [value]
        else:
            words = [word for word in words if not word.startswith(f"{name}=")] + [name, value]
    return tuple(words)


# --- designs --------------------------------------------------------------------------------------


def sample(factors: Mapping[str, Levels], shares: Sequence[float]) -> dict[str, Any]:
    """Return the values at a share of each factor's range or list."""
    return {
        name: convert(name, levels.at(share))
        if isinstance(levels, RangeSpec)
        else levels[min(int(share * len(levels)), len(levels) - 1)]
        for (name, levels), share in zip(factors.items(), shares, strict=True)
    }


def latin_hypercube(samples: int, factors: int, rng: random.Random) -> Iterator[list[float]]:
    """Yield points of which exactly one is in each of `samples` equal strata of every factor."""
    strata = [shuffled(range(samples), rng) for _ in range(factors)]
    for index in range(samples):
        yield [(column[index] + rng.random()) / samples for column in strata]


def shuffled(items: Sequence[Any], rng: random.Random) -> list[Any]:
    """Return the items in random order, the same for a seed on every version of Python."""
    keys = [rng.random() for _ in items]
    return [items[index] for index in sorted(range(len(keys)), key=keys.__getitem__)]


def path_of(error: ValueError) -> tuple[str | int, ...]:
    """Return the path of the first fault of a validation error; empty for another error."""
    errors = getattr(error, "errors", None)
    return tuple(errors()[0]["loc"]) if errors else ()


def reason_of(error: ValueError) -> str:
    """Return the first message of a validation error, or the text of another error."""
    errors = getattr(error, "errors", None)
    return reason(errors()[0]["msg"] if errors else str(error))
