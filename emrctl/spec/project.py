"""Spec of a project: bucket, cluster, jobs and experiments."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from emrctl.errors import SpecError
from emrctl.spec.cluster import ClusterField
from emrctl.spec.ec2 import Ec2ClusterSpec
from emrctl.spec.emr import BootstrapSpec, ClusterSpec
from emrctl.spec.engine import EngineSpec
from emrctl.spec.jobs import ExperimentSpec, JobSpec
from emrctl.spec.network_security import StorageSpec
from emrctl.spec.types import Name, Properties, Spec


class ProjectSpec(Spec):
    """The content of `emrctl.yaml`."""

    project: Name
    target: Literal["aws", "local"] = "local"
    region: Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")] = "us-east-1"
    profile: str | None = None
    storage: StorageSpec = StorageSpec()
    cluster: ClusterField = ClusterSpec()
    engine: EngineSpec = EngineSpec()
    jobs: dict[str, JobSpec] = Field(default_factory=dict)
    experiments: dict[str, ExperimentSpec] = Field(default_factory=dict)
    tags: Properties = Field(default_factory=dict)

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
