"""Spec of a project: bucket, cluster of either kind, engine, jobs and experiments."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails

from emrctl.aws import rules
from emrctl.errors import SpecError
from emrctl.metrics.limits import LIMITS
from emrctl.spec.ec2 import Ec2ClusterSpec
from emrctl.spec.emr import BootstrapSpec, ClusterSpec
from emrctl.spec.experiments import ExperimentSpec, TuneSpec
from emrctl.spec.factors import reason_of
from emrctl.spec.jobs import JobSpec
from emrctl.spec.network_security import StorageSpec
from emrctl.spec.types import Name, Spec, Tags, fault_at

# Tags that emrctl sets on the resources of a cluster.
_OWN_TAGS = 6

KINDS: dict[str, type[ClusterSpec | Ec2ClusterSpec]] = {
    "emr": ClusterSpec,
    "ec2": Ec2ClusterSpec,
}
AnyClusterSpec = ClusterSpec | Ec2ClusterSpec
T = TypeVar("T", ClusterSpec, Ec2ClusterSpec)
# Dotted keys that need AWS if they differ from their default.
_BOTH = (
    "cluster.network.private",
    "cluster.network.nat",
    "cluster.network.endpoints",
    "cluster.network.close_default_group",
    "cluster.roles.permissions_boundary",
    "cluster.roles.ssm",
    "cluster.security.disk_key",
    "storage.access_logs",
)
AWS_ONLY_EMR = (
    "cluster.gpu",
    "cluster.ami",
    "cluster.root_volume_gb",
    "cluster.key_pair",
    "cluster.network.vpc",
    "cluster.network.subnets",
    "cluster.roles.service",
    "cluster.roles.instance_profile",
    "cluster.security.at_rest",
    "cluster.security.in_transit",
    "cluster.security.log_key",
    "cluster.security.configuration",
    *_BOTH,
)
# Instances can use existing networks and profiles on localhost as on AWS.
AWS_ONLY_EC2 = ("cluster.placement", *_BOTH)
_AWS_ONLY = {"emr": AWS_ONLY_EMR, "ec2": AWS_ONLY_EC2}


def _of_its_kind(value: Any) -> Any:
    """Validate the value as a cluster of its kind, by default emr.

    Not a pydantic union, which would report the errors of every kind.
    """
    if isinstance(value, Spec):
        return value
    if not isinstance(value, dict):
        fault = InitErrorDetails(type="dict_type", loc=(), input=value)
        raise ValidationError.from_exception_data("cluster", [fault])
    kind = value.get("kind", "emr")
    if not isinstance(kind, str) or kind not in KINDS:
        expected = {"expected": " or ".join(f"'{name}'" for name in KINDS)}
        fault = InitErrorDetails(type="literal_error", loc=("kind",), input=kind, ctx=expected)
        raise ValidationError.from_exception_data("cluster", [fault])
    return KINDS[kind].model_validate(value)


def as_kind(spec: AnyClusterSpec, kind: type[T]) -> T:
    """Return `spec` if it is of that kind, otherwise the kind's defaults with its name and tags."""
    return spec if isinstance(spec, kind) else kind(name=spec.name, tags=spec.tags)


class EngineSpec(Spec):
    """State backend and secrets provider of stacks on AWS; not used on localhost.

    `state` is a folder (relative to the project's), `s3://bucket/prefix`, or `cloud` for Pulumi
    Cloud. `secrets_provider` is `passphrase` or a key in Pulumi's notation
    (`awskms://alias/NAME?region=REGION`).
    """

    state: str = ".emrctl/pulumi"
    secrets_provider: str = "passphrase"

    @field_validator("state")
    @classmethod
    def _check_state(cls, value: str) -> str:
        scheme, separator, rest = value.partition("://")
        if not value or (separator and (scheme != "s3" or not rest.strip("/"))):
            raise ValueError(f"'{value}' is not a folder, s3://bucket/prefix or 'cloud'")
        return value

    @field_validator("secrets_provider")
    @classmethod
    def _check_provider(cls, value: str) -> str:
        known = ("awskms", "azurekeyvault", "gcpkms", "hashivault")
        if value not in {"passphrase", "default"} and value.partition("://")[0] not in known:
            names = ", ".join(f"{name}://…" for name in known)
            raise ValueError(
                f"unknown secrets provider '{value}': use passphrase, default, {names}"
            )
        return value


def _known_thresholds(value: dict[str, float]) -> dict[str, float]:
    for name in value:
        if name not in LIMITS:
            near = difflib.get_close_matches(name, LIMITS, n=1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(LIMITS)}"
            raise fault_at((name,), f"unknown threshold; {hint}")
    return value


#: Thresholds of findings by name, in the units of `emrctl.metrics.limits`.
Thresholds = Annotated[
    dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]], AfterValidator(_known_thresholds)
]


class ProjectSpec(Spec):
    """The content of `emrctl.yaml`."""

    project: Name
    target: Literal["aws", "local"] = "local"
    region: Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")] = "us-east-1"
    profile: str | None = None
    storage: StorageSpec = StorageSpec()
    cluster: Annotated[AnyClusterSpec, BeforeValidator(_of_its_kind)] = ClusterSpec()
    engine: EngineSpec = EngineSpec()
    jobs: dict[str, JobSpec] = Field(default_factory=dict)
    experiments: dict[str, ExperimentSpec] = Field(default_factory=dict)
    tune: TuneSpec = TuneSpec()
    findings: Thresholds = Field(default_factory=dict)
    tags: Tags = Field(default_factory=dict)

    @property
    def storage_stack(self) -> str:
        """Name of the bucket's stack."""
        return f"{self.project}-storage"

    @property
    def cluster_stack(self) -> str:
        """Name of the cluster's stack."""
        return f"{self.project}-{self.cluster.name}"

    @property
    def emr(self) -> ClusterSpec:
        """The cluster if it is an EMR cluster; raises `SpecError` otherwise."""
        if isinstance(self.cluster, ClusterSpec):
            return self.cluster
        raise _other_kind(self.cluster.name, "emr", self.cluster.kind)

    @property
    def ec2(self) -> Ec2ClusterSpec:
        """The cluster if it is an EC2 cluster; raises `SpecError` otherwise."""
        if isinstance(self.cluster, Ec2ClusterSpec):
            return self.cluster
        raise _other_kind(self.cluster.name, "ec2", self.cluster.kind)

    @property
    def bootstrap_actions(self) -> tuple[BootstrapSpec, ...]:
        """Bootstrap actions of every node."""
        return self.cluster.bootstrap_actions(self.region)

    @property
    def endpoint_services(self) -> tuple[str, ...]:
        """Services with VPC endpoints for nodes without a public address, without S3."""
        spec = self.cluster
        if spec.network.endpoints is not None:
            return spec.network.endpoints
        keys = (self.storage.kms_key, spec.security.disk_key, spec.security.log_key)
        sessions = ("ssm", "ssmmessages", "ec2messages") if spec.roles.ssm else ()
        return (spec.endpoint_service, "sts", *(("kms",) if any(keys) else ()), *sessions)

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if self.cluster.name == "storage":
            raise ValueError(
                "cluster.name cannot be 'storage', which is the name of the bucket's stack"
            )
        return self

    @model_validator(mode="after")
    def _check_tags(self) -> Self:
        """Check the tags of the cluster's resources, which have those of the project too."""
        own = [f"emrctl:{number}" for number in range(_OWN_TAGS)]
        for path, tags in ((("tags",), self.tags), (("cluster", "tags"), self.cluster.tags)):
            for key in tags:
                if key.lower().startswith("emrctl:"):
                    raise fault_at((*path, key), "the prefix emrctl: is reserved by emrctl")
        fault = rules.tags_fault([*own, *{**self.tags, **self.cluster.tags}])
        if fault:
            key, reason = fault
            path = ("cluster", "tags") if key in self.cluster.tags else ("tags",)
            raise fault_at((*path, key), reason)
        return self

    @model_validator(mode="after")
    def _check_experiments(self) -> Self:
        for name, experiment in self.experiments.items():
            self.check_cluster_factors(experiment, ("experiments", name))
        return self

    def check_cluster_factors(
        self, experiment: ExperimentSpec, path: tuple[str | int, ...] = ()
    ) -> None:
        """Raise `ValidationError` at the first configuration whose cluster is invalid."""
        checked: list[Mapping[str, str | None]] = []
        for item in experiment.combinations:
            if item.cluster and item.cluster not in checked:
                checked.append(item.cluster)
                key = f"cluster.{next(iter(item.cluster))}"
                at = ("configurations", item.name, key)
                try:
                    self.with_cluster_fields(item.cluster)
                except ValueError as error:
                    where = at if experiment.configurations else ("factors", key)
                    reason = f"{item.name}: {reason_of(error)}"
                    raise fault_at((*path, *where), reason) from error

    def with_cluster_fields(self, fields: Mapping[str, str | None]) -> ProjectSpec:
        """Return the project with these fields of its cluster, by dotted name; None: unchanged.

        Raises `ValidationError` if the cluster has no such field or the value is invalid.
        """
        cluster: dict[str, Any] = self.cluster.model_dump(exclude_unset=True)
        cluster["kind"] = self.cluster.kind
        effective = self.cluster.model_dump()
        for name, value in fields.items():
            *parents, last = name.split(".")
            if parents and isinstance(effective.get(parents[0]), dict) and value is not None:
                # With the defaults of the whole: those of a part alone differ, e.g. its count.
                cluster[parents[0]] = {**effective[parents[0]], **cluster.get(parents[0], {})}
            inner: Any = cluster
            for part in parents:
                inner = inner.setdefault(part, {}) if isinstance(inner, dict) else None
            if not isinstance(inner, dict) or name in {"name", "kind"}:
                raise ValueError(f"cluster.{name} cannot be a factor")
            if value is not None:
                inner[last] = value
        others = self.model_dump(exclude_unset=True, exclude={"experiments", "cluster"})
        return ProjectSpec.model_validate({**others, "cluster": cluster})

    def with_cluster(self, name: str | None) -> ProjectSpec:
        """Return the project with its cluster renamed; itself if `name` is None."""
        if name is None or name == self.cluster.name:
            return self
        values = self.cluster.model_dump(exclude_unset=True)
        cluster = {**values, "name": name, "kind": self.cluster.kind}
        return ProjectSpec.model_validate(
            {**self.model_dump(exclude_unset=True), "cluster": cluster}
        )


def _other_kind(name: str, wanted: str, kind: str) -> SpecError:
    msg = f"cluster '{name}' has kind {kind}, not {wanted}"
    return SpecError(msg, hint=f"Set `cluster.kind: {wanted}`, or use --cluster.")


def aws_only_keys(project: ProjectSpec) -> tuple[str, ...]:
    """Return the keys of the spec that are not supported on localhost."""
    kind = project.cluster.kind
    defaults = type(project).model_validate({"project": project.project, "cluster": {"kind": kind}})
    return tuple(key for key in _AWS_ONLY[kind] if _at(project, key) != _at(defaults, key))


def check_local(project: ProjectSpec) -> None:
    """Raise `SpecError` with the keys that are not supported on localhost."""
    keys = aws_only_keys(project)
    if keys:
        verb = "is" if len(keys) == 1 else "are"
        msg = f"{', '.join(keys)} {verb} not supported on localhost"
        raise SpecError(msg, hint="Remove them from emrctl.yaml, or set `target: aws`.")


def _at(project: ProjectSpec, key: str) -> Any:
    value: Any = project
    for part in key.split("."):
        value = getattr(value, part)
    return value
