"""An open project: its configuration, target, clusters and store of runs."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emrctl.aws.target import Target, resolve
from emrctl.errors import NotFoundError
from emrctl.runs.record import ClusterFacts
from emrctl.runs.storage import LocalStorage, S3Storage
from emrctl.runs.store import Store
from emrctl.spec.config import Config

if TYPE_CHECKING:
    from emrctl.clusters.model import Cluster
    from emrctl.provision.stacks import Deployment
    from emrctl.remote.nodes import PrimaryConnection
    from emrctl.runs.adapters import Backend, RunAdapter
    from emrctl.spec import ProjectSpec


@dataclass(frozen=True)
class Workspace:
    """A project and what its commands use; the target is resolved on first use."""

    config: Config

    @property
    def project(self) -> ProjectSpec:
        """The project's spec."""
        return self.config.project

    @functools.cached_property
    def target(self) -> Target:
        """The target; `NotFoundError` if it is an emulator that is not running."""
        header = self.config.header
        return resolve(header.target, header.region, header.profile)

    @property
    def deployment(self) -> Deployment:
        """The project on its target, for `emrctl.provision`."""
        from emrctl.provision.stacks import Deployment

        return Deployment(self.project, self.target, self.config.root)

    @property
    def target_or_none(self) -> Target | None:
        """The target, None if it is an emulator that is not running."""
        try:
            return self.target
        except NotFoundError:
            return None

    @functools.cached_property
    def store(self) -> Store:
        """The project's runs.

        A folder of the project for an emulator, as its buckets are temporary; on AWS the project's
        bucket, which all users of the project share.
        """
        target = self.target_or_none
        if target is None or not target.shared:
            return Store(LocalStorage(self.config.state_folder / "runs"))
        from emrctl.provision.bucket import bucket_name

        bucket = bucket_name(self.project, target)
        return Store(S3Storage(target.client("s3"), bucket))

    def adapter(self, cluster_id: str) -> RunAdapter:
        """Return the adapter for runs on a cluster."""
        from emrctl.runs.adapters import adapter_of

        return adapter_of(cluster_id, self.target, self.primary)

    def backend(self, cluster: ClusterFacts) -> Backend:
        """Return the backend for steps of a cluster."""
        return self.adapter(cluster.id).backend(cluster)

    def primary(self, cluster_id: str) -> PrimaryConnection:
        """Return the SSH connection to the primary of an EC2 cluster, one per cluster."""
        from emrctl.remote.nodes import PrimaryConnection

        if cluster_id not in self._primaries:
            self._primaries[cluster_id] = PrimaryConnection(self.target, cluster_id)
        return self._primaries[cluster_id]

    @functools.cached_property
    def _primaries(self) -> dict[str, PrimaryConnection]:
        return {}

    def cluster(self, name: str | None = None) -> Cluster:
        """Return the running cluster of this name, by default the one of emrctl.yaml.

        Raises `NotFoundError` if there is none.
        """
        from emrctl.clusters import registry

        return registry.find_cluster(self.project, self.target, name)
