"""What the user wants: a project's spec, checked, frozen, knowing neither AWS nor Pulumi.

Every model refuses unknown keys. The models' field names are the keys of `emrctl.yaml`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from emrctl import catalog
from emrctl.errors import SpecError

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}[a-z0-9]$")]
Memory = Annotated[str, Field(pattern=r"^[1-9][0-9]*[mMgG]$")]
Count = Annotated[int, Field(ge=1)]
DeployMode = Literal["client", "cluster"]

_MEMORY = re.compile(r"([1-9][0-9]*)([mMgG])")
_EMR_LABEL = re.compile(r"emr-(\d+)\.(\d+)\.(\d+)")


def _text(value: Any) -> Any:
    """What YAML read as a number or a truth value, as the text that EMR and Spark take."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


def _texts(value: Any) -> Any:
    return [_text(item) for item in value] if isinstance(value, list | tuple) else value


def _text_values(value: Any) -> Any:
    return {k: _text(item) for k, item in value.items()} if isinstance(value, dict) else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_texts)]
Properties = Annotated[dict[str, str], BeforeValidator(_text_values)]


def memory_mb(text: str) -> int:
    """Megabytes of a size as Spark writes it (`4g`, `4743M`)."""
    found = _MEMORY.fullmatch(text)
    if found is None:
        raise SpecError(f"'{text}' is no memory size", hint="Write it as 512m or 4g.")
    return int(found[1]) * (1024 if found[2] in "gG" else 1)


class Spec(BaseModel):
    """A frozen part of `emrctl.yaml` that refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StorageSpec(Spec):
    """The bucket of a project: runs, logs, code and data."""

    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")] | None = None
    versioning: bool = True
    kms_key: str | None = None
    expire_logs_days: Count = 30
    expire_uploads_days: Count = 3


class NetworkSpec(Spec):
    """The VPC that a cluster gets of its own."""

    cidr: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+\.\d+/\d+$")] = "10.42.0.0/16"
    zone: str | None = None


class GroupSpec(Spec):
    """One group of equal instances; `type` is an EC2 instance type."""

    type: str = "m5.xlarge"
    count: Count = 1
    volume_gb: Annotated[int, Field(ge=10)] = 64

    @field_validator("type")
    @classmethod
    def _known_type(cls, value: str) -> str:
        try:
            catalog.instance_type(value)
        except SpecError as error:
            raise ValueError(f"{error}. {error.hint}") from error
        return value


class BootstrapSpec(Spec):
    """A script that every node runs before applications are installed.

    `script` is a name in `bootstrap/`, a local path or an `s3://` address.
    """

    script: str
    args: Texts = ()
    name: str | None = None


class Classification(Spec):
    """One of EMR's configuration classifications; values are strings on the wire."""

    classification: str
    properties: Properties = {}
    configurations: tuple[Classification, ...] = ()

    def as_emr(self) -> dict[str, Any]:
        """The form that EMR's API and `configurations_json` take."""
        document: dict[str, Any] = {
            "Classification": self.classification,
            "Properties": dict(self.properties),
        }
        if self.configurations:
            document["Configurations"] = [inner.as_emr() for inner in self.configurations]
        return document


class ClusterSpec(Spec):
    """An EMR cluster: one primary, core nodes, what they run first and how long they live."""

    name: Name = "main"
    kind: Literal["emr"] = "emr"
    release: Annotated[str, Field(pattern=_EMR_LABEL.pattern)] = "emr-7.5.0"
    primary: GroupSpec = GroupSpec()
    core: GroupSpec = GroupSpec(count=2)
    bootstrap: tuple[BootstrapSpec, ...] = (BootstrapSpec(script="python.sh", args=("boto3",)),)
    configurations: tuple[Classification, ...] = ()
    step_concurrency: Annotated[int, Field(ge=1, le=256)] = 1
    idle_timeout_s: Annotated[int, Field(ge=60, le=604_800)] = 3600
    termination_protection: bool = False
    network: NetworkSpec = NetworkSpec()
    tags: Properties = {}

    @field_validator("bootstrap", mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return value
        return [{"script": item} if isinstance(item, str) else item for item in value]

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.primary.count != 1:
            raise ValueError(f"primary.count is {self.primary.count}: a cluster has 1 primary node")
        if len(self.bootstrap) > 16:
            raise ValueError(f"{len(self.bootstrap)} bootstrap actions: EMR takes 16 at most")
        return self

    @property
    def hourly_usd(self) -> float:
        """What the instances cost an hour on AWS, on demand, EMR's fee included."""
        groups = (self.primary, self.core)
        return sum(g.count * catalog.instance_type(g.type).hourly_usd for g in groups)


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
    conf: Properties = {}

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
    env: Properties = {}
    settings: SparkSettings = SparkSettings()
    tags: Properties = {}


class ExperimentSpec(Spec):
    """Runs of one job that differ in declared factors.

    `factors` spans a grid: each factor maps its levels to settings or arguments. `configurations`
    names the cells one by one instead. A trial is one cell and one repeat of it.
    """

    name: Name
    job: str
    args: Texts = ()
    settings: SparkSettings = SparkSettings()
    factors: dict[str, tuple[Any, ...]] = {}
    configurations: dict[str, SparkSettings] = {}
    repeats: Count = 1
    description: str = ""

    @model_validator(mode="after")
    def _one_design(self) -> Self:
        if bool(self.factors) == bool(self.configurations):
            raise ValueError("an experiment has either factors or configurations")
        for name in self.factors:
            if name not in SparkSettings.model_fields:
                raise ValueError(f"factor '{name}' is no Spark setting; {_known_factors()}")
        return self


def _known_factors() -> str:
    return f"known are {', '.join(name for name in SparkSettings.model_fields if name != 'conf')}"


class ProjectSpec(Spec):
    """All of `emrctl.yaml`."""

    project: Name
    target: Literal["aws", "local"] = "local"
    region: Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")] = "us-east-1"
    profile: str | None = None
    storage: StorageSpec = StorageSpec()
    cluster: ClusterSpec = ClusterSpec()
    jobs: dict[str, JobSpec] = {}
    experiments: dict[str, ExperimentSpec] = {}
    tags: Properties = {}

    @property
    def storage_stack(self) -> str:
        """Name of the stack that holds the bucket."""
        return f"{self.project}-storage"

    @property
    def cluster_stack(self) -> str:
        """Name of the stack that holds the cluster."""
        return f"{self.project}-{self.cluster.name}"

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if self.cluster.name == "storage":
            raise ValueError("cluster.name is 'storage', which is the name of the bucket's stack")
        return self

    def with_cluster(self, name: str | None) -> ProjectSpec:
        """The same project with its cluster called `name`; itself where `name` is None."""
        if name is None or name == self.cluster.name:
            return self
        cluster = {**self.cluster.model_dump(exclude_unset=True), "name": name}
        return ProjectSpec.model_validate(
            {**self.model_dump(exclude_unset=True), "cluster": cluster}
        )
