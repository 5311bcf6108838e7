"""Spark settings and jobs."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from emrctl import redact
from emrctl.spec.types import (
    Coordinates,
    Count,
    Heap,
    Listed,
    Memory,
    Properties,
    Spec,
    Texts,
    split_text,
    to_text,
)

DeployMode = Literal["client", "cluster"]


@dataclass(frozen=True)
class SparkOption:
    """Help text of a Spark setting, its Spark properties and spark-submit's option for it.

    spark-submit gets `option` if there is one, otherwise each property through `--conf`. `staged`
    settings are files that the step gets, or packages that are installed for it.
    """

    metavar: str
    help: str
    spark: str = ""
    option: str | None = None
    staged: bool = False

    @property
    def properties(self) -> tuple[str, ...]:
        """The names of the Spark properties."""
        return tuple(self.spark.split())


class SparkSettings(Spec):
    """Spark settings of a step; for those that are None EMR's defaults apply.

    Each setting is declared here only: the keys of `emrctl.yaml`, the flags of `emrctl submit`,
    factors of experiments, run records and spark-submit's arguments derive from the fields.
    """

    executors: Annotated[
        Count | None,
        SparkOption("N", "Number of executors.", "spark.executor.instances", "--num-executors"),
    ] = None
    executor_cores: Annotated[
        Count | None,
        SparkOption("N", "Cores per executor.", "spark.executor.cores", "--executor-cores"),
    ] = None
    executor_memory: Annotated[
        Heap | None,
        SparkOption(
            "SIZE", "Heap per executor, e.g. 4g.", "spark.executor.memory", "--executor-memory"
        ),
    ] = None
    memory_overhead: Annotated[
        Memory | None,
        SparkOption("SIZE", "Overhead per executor, e.g. 1g.", "spark.executor.memoryOverhead"),
    ] = None
    driver_memory: Annotated[
        Heap | None,
        SparkOption(
            "SIZE", "Heap of the driver, e.g. 2g.", "spark.driver.memory", "--driver-memory"
        ),
    ] = None
    partitions: Annotated[
        Count | None,
        SparkOption(
            "N",
            "RDD and shuffle partitions.",
            "spark.default.parallelism spark.sql.shuffle.partitions",
        ),
    ] = None
    dynamic_allocation: Annotated[
        bool | None,
        SparkOption("", "Scale executors (default).", "spark.dynamicAllocation.enabled"),
    ] = None
    min_executors: Annotated[
        Annotated[int, Field(ge=0)] | None,
        SparkOption("N", "Minimum when scaling.", "spark.dynamicAllocation.minExecutors"),
    ] = None
    max_executors: Annotated[
        Count | None,
        SparkOption("N", "Maximum when scaling.", "spark.dynamicAllocation.maxExecutors"),
    ] = None
    deploy_mode: Annotated[
        DeployMode | None,
        SparkOption(
            "MODE",
            "client (default) or cluster.",
            "spark.submit.deployMode",
            "--deploy-mode",
        ),
    ] = None
    files: Annotated[
        Listed,
        # With --files instead of the property a driver in client mode on YARN would not get them.
        SparkOption("PATHS", "Files of the program; repeatable.", "spark.files", staged=True),
    ] = ()
    archives: Annotated[
        Listed,
        SparkOption(
            *("PATHS", "Archives, FILE#FOLDER; repeatable.", "spark.archives", "--archives"),
            staged=True,
        ),
    ] = ()
    jars: Annotated[
        Listed,
        SparkOption(
            "PATHS",
            "JARs for all JVMs; repeatable.",
            "spark.jars",
            "--jars",
            staged=True,
        ),
    ] = ()
    packages: Annotated[
        tuple[Coordinates, ...],
        split_text,
        SparkOption(
            *("NAMES", "Maven group:artifact:version.", "spark.jars.packages", "--packages"),
            staged=True,
        ),
    ] = ()
    requirements: Annotated[
        str | None, SparkOption("FILE", "Python packages, a requirements file.", staged=True)
    ] = None
    conf: Annotated[Properties, SparkOption("KEY=VALUE", "Any Spark property; repeatable.")] = (
        Field(default_factory=dict)
    )

    @model_validator(mode="after")
    def _check_executor_bounds(self) -> Self:
        low, high = self.min_executors, self.max_executors
        if low is not None and high is not None and low > high:
            raise ValueError(f"min_executors is {low}, above max_executors, which is {high}")
        if self.dynamic_allocation is False and (low is not None or high is not None):
            raise ValueError("min_executors and max_executors need dynamic_allocation")
        return self

    @classmethod
    @functools.cache
    def options(cls) -> dict[str, SparkOption]:
        """Return the declaration of each setting by its name."""
        return {
            name: next(item for item in field.metadata if isinstance(item, SparkOption))
            for name, field in cls.model_fields.items()
        }

    def values(self) -> Iterator[tuple[SparkOption, str]]:
        """Yield each setting that has a value, except `conf`, with the text Spark takes for it."""
        for name, option in self.options().items():
            value = getattr(self, name)
            if option.spark and value not in (None, ()):
                text = to_text(value)
                yield option, text.lower() if isinstance(value, bool) else text

    def properties(self) -> dict[str, str]:
        """Return the Spark properties in effect: an option of spark-submit overrides `conf`."""
        values = list(self.values())
        plain = {key: v for item, v in values if not item.option for key in item.properties}
        options = {key: v for item, v in values if item.option for key in item.properties}
        return {**plain, **self.conf, **options}

    @property
    def mode(self) -> str:
        """The deploy mode in effect, client by default."""
        return self.properties().get("spark.submit.deployMode", "client")

    def merged(self, over: SparkSettings) -> SparkSettings:
        """Return these settings overridden by those set in `over`.

        `conf` is merged by key. Lists of files, JARs and packages are joined.
        """
        own = self.model_dump(exclude_unset=True)
        others = over.model_dump(exclude_unset=True, exclude_none=True)
        for name in others.keys() & own.keys():
            if isinstance(own[name], tuple):
                others[name] = tuple(dict.fromkeys((*own[name], *others[name])))
        conf = {**self.conf, **over.conf}
        return SparkSettings.model_validate({**own, **others, "conf": conf})

    def record(self) -> dict[str, Any]:
        """Return the settings that have a value, secrets in `conf` redacted, for run records."""
        values = {
            name: _redacted(value)
            for name, value in self.model_dump(mode="json", exclude={"conf"}).items()
            if value not in (None, [])
        }
        return values | ({"conf": redact.mapping(self.conf)} if self.conf else {})


def _redacted(value: Any) -> Any:
    if isinstance(value, list):
        return [_redacted(item) for item in value]
    return redact.text(value) if isinstance(value, str) else value


def _sources(value: Any) -> Any:
    return dict(zip(value, value, strict=True)) if isinstance(value, list | tuple) else value


_PARAMETER = "ssm:"


def parameter_name(source: str) -> str | None:
    """Return the name or ARN of a secret in Parameter Store; None if it is in Secrets Manager."""
    is_parameter = source.startswith(_PARAMETER) or ":ssm:" in source
    return source.removeprefix(_PARAMETER) if is_parameter else None


class JobSpec(Spec):
    """A named job: a program of `jobs/` or a user's file, with arguments and settings.

    `check_output` are data sets whose row count and checksum are compared between runs.
    """

    script: str
    args: Texts = ()
    py_files: tuple[str, ...] = ()
    env: Properties = Field(default_factory=dict)
    # Sources of secrets by the variable's name; a list of names is short for equal sources.
    secrets: Annotated[Properties, BeforeValidator(_sources)] = Field(default_factory=dict)
    settings: SparkSettings = SparkSettings()
    tags: Properties = Field(default_factory=dict)
    check_output: Texts = ()
