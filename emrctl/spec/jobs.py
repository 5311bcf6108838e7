"""What runs on a cluster: Spark's settings, jobs, experiments."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from emrctl.spec.types import Count, Memory, Name, Properties, Spec, Texts

DeployMode = Literal["client", "cluster"]


class SparkSettings(Spec):
    """How a step asks Spark for room; what is None is left to EMR's defaults."""

    executors: Count | None = None
    executor_cores: Count | None = None
    executor_memory: Memory | None = None
    memory_overhead: Memory | None = None
    driver_memory: Memory | None = None
    partitions: Count | None = None
    dynamic_allocation: bool | None = None
    min_executors: Annotated[int, Field(ge=0)] | None = None
    max_executors: Count | None = None
    deploy_mode: DeployMode | None = None
    conf: Properties = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        low, high = self.min_executors, self.max_executors
        if low is not None and high is not None and low > high:
            raise ValueError(f"min_executors is {low}, above max_executors, which is {high}")
        if self.dynamic_allocation is False and (low is not None or high is not None):
            raise ValueError("min_executors and max_executors need dynamic_allocation")
        return self

    def merged(self, over: SparkSettings) -> SparkSettings:
        """These settings, with every one that `over` sets put in their place."""
        ours = self.model_dump(exclude_unset=True)
        theirs = over.model_dump(exclude_unset=True, exclude_none=True)
        conf = {**self.conf, **over.conf}
        return SparkSettings.model_validate({**ours, **theirs, "conf": conf})

    def as_dict(self) -> dict[str, Any]:
        """What was set and nothing else, `conf` only where it holds something."""
        found = self.model_dump(exclude_none=True)
        return found if found["conf"] else {k: v for k, v in found.items() if k != "conf"}


class JobSpec(Spec):
    """A named job: a program of `jobs/` or the user's own, with arguments and settings."""

    script: str
    args: Texts = ()
    py_files: tuple[str, ...] = ()
    env: Properties = Field(default_factory=dict)
    settings: SparkSettings = SparkSettings()
    tags: Properties = Field(default_factory=dict)


class PublishedSpec(Spec):
    """How long cells of an experiment took somebody else on the same data, in minutes."""

    by: Annotated[str, Field(min_length=1)]
    minutes: dict[str, Annotated[float, Field(gt=0)]]


class ExperimentSpec(Spec):
    """Runs of one job that differ in declared factors.

    `factors` spans a grid: each factor maps its levels to settings or arguments. `configurations`
    names the cells one by one instead. A trial is one cell and one repeat of it. `published` times
    are shown beside ours.
    """

    name: Name
    job: str
    args: Texts = ()
    settings: SparkSettings = SparkSettings()
    factors: dict[str, tuple[Any, ...]] = Field(default_factory=dict)
    configurations: dict[str, SparkSettings] = Field(default_factory=dict)
    repeats: Count = 1
    description: str = ""
    published: PublishedSpec | None = None

    @model_validator(mode="after")
    def _one_design(self) -> Self:
        if bool(self.factors) == bool(self.configurations):
            raise ValueError("an experiment has either factors or configurations")
        for name in self.factors:
            if name not in SparkSettings.model_fields:
                raise ValueError(f"factor '{name}' is no Spark setting; {_known_factors()}")
        return self

    @model_validator(mode="after")
    def _published_of_its_own(self) -> Self:
        """Cells are known by their names only where they are named one by one."""
        strange = set(self.published.minutes) - set(self.configurations) if self.published else ()
        if strange:
            raise ValueError(f"published.minutes: no configuration is called '{min(strange)}'")
        return self


def _known_factors() -> str:
    return f"known are {', '.join(name for name in SparkSettings.model_fields if name != 'conf')}"
