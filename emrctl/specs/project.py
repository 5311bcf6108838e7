"""All of a project: its bucket, its cluster, its jobs and experiments."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from emrctl.specs.base import Name, Properties, Spec
from emrctl.specs.cluster import BootstrapSpec, ClusterSpec
from emrctl.specs.engine import EngineSpec
from emrctl.specs.jobs import ExperimentSpec, JobSpec
from emrctl.specs.place import StorageSpec


class ProjectSpec(Spec):
    """All of `emrctl.yaml`.

    `waivers` maps rules of checkov and Security Hub that this project does not hold to the reason;
    those of `emrctl.specs.waivers` are there already.
    """

    project: Name
    target: Literal["aws", "local"] = "local"
    region: Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")] = "us-east-1"
    profile: str | None = None
    storage: StorageSpec = StorageSpec()
    cluster: ClusterSpec = ClusterSpec()
    engine: EngineSpec = EngineSpec()
    jobs: dict[str, JobSpec] = Field(default_factory=dict)
    experiments: dict[str, ExperimentSpec] = Field(default_factory=dict)
    tags: Properties = Field(default_factory=dict)
    waivers: Properties = Field(default_factory=dict)

    @property
    def storage_stack(self) -> str:
        """Name of the stack that holds the bucket."""
        return f"{self.project}-storage"

    @property
    def cluster_stack(self) -> str:
        """Name of the stack that holds the cluster."""
        return f"{self.project}-{self.cluster.name}"

    @property
    def bootstrap_actions(self) -> tuple[BootstrapSpec, ...]:
        """The spec's own, and the one that ends the cluster after its time."""
        spec = self.cluster
        limit = BootstrapSpec(script="ttl.sh", args=(str(spec.ttl_s), self.region))
        return (*spec.bootstrap, limit) if spec.limited else spec.bootstrap

    @property
    def endpoint_services(self) -> tuple[str, ...]:
        """AWS's services that nodes without a public address reach by endpoints, S3 left out.

        A node asks EMR about its own cluster, and STS who it is.
        """
        spec = self.cluster
        if spec.network.endpoints is not None:
            return spec.network.endpoints
        keys = (self.storage.kms_key, spec.security.disk_key, spec.security.log_key)
        sessions = ("ssm", "ssmmessages", "ec2messages") if spec.roles.ssm else ()
        return ("elasticmapreduce", "sts", *(("kms",) if any(keys) else ()), *sessions)

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if self.cluster.name == "storage":
            raise ValueError("cluster.name is 'storage', which is the name of the bucket's stack")
        return self

    @field_validator("waivers")
    @classmethod
    def _reasons(cls, value: dict[str, str]) -> dict[str, str]:
        bare = sorted(rule for rule, reason in value.items() if len(reason.split()) < 3)
        if bare:
            raise ValueError(
                f"waiver of {', '.join(bare)}: say in a sentence why it does not matter"
            )
        return value

    def with_cluster(self, name: str | None) -> ProjectSpec:
        """The same project with its cluster called `name`; itself where `name` is None."""
        if name is None or name == self.cluster.name:
            return self
        cluster = {**self.cluster.model_dump(exclude_unset=True), "name": name}
        return ProjectSpec.model_validate(
            {**self.model_dump(exclude_unset=True), "cluster": cluster}
        )
