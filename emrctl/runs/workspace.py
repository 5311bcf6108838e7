"""A project opened for work: its configuration, its target, its store of runs."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emrctl.aws.target import Target, resolve
from emrctl.errors import NotFoundError
from emrctl.remote.nodes import PrimaryConnection
from emrctl.runs import store
from emrctl.runs.backends.base import Backend
from emrctl.runs.backends.emr import EmrBackend
from emrctl.runs.backends.standalone import Ec2Backend

if TYPE_CHECKING:
    from emrctl.clusters.model import Cluster
    from emrctl.provision.stacks import Deployment
    from emrctl.spec import ProjectSpec
    from emrctl.spec.config import Config


@dataclass(frozen=True)
class Workspace:
    """What every verb about runs needs; the target is asked for only when something needs it."""

    config: Config

    @property
    def project(self) -> ProjectSpec:
        """The project's spec."""
        return self.config.project

    @functools.cached_property
    def target(self) -> Target:
        """The target; `NotFoundError` where the emulator does not run."""
        return resolve(self.project.target, self.project.region, self.project.profile)

    @property
    def deployment(self) -> Deployment:
        """The project on its target, for `emrctl.provision`."""
        from emrctl.provision.stacks import Deployment

        return Deployment(self.project, self.target, self.config.root)

    @property
    def target_or_none(self) -> Target | None:
        """The target, or None where the emulator does not run."""
        try:
            return self.target
        except NotFoundError:
            return None

    @functools.cached_property
    def store(self) -> store.Store:
        """The project's runs.

        Locally a folder of the project, so that runs outlive the emulator and its buckets; on AWS
        the project's bucket, so that a second laptop sees them.
        """
        if self.project.target == "local":
            return store.Store(store.Folder(self.config.state_folder / "runs"))
        from emrctl.provision.bucket import bucket_name

        bucket = bucket_name(self.project, self.target)
        return store.Store(store.Bucket(self.target.client("s3"), bucket))

    def backend(self, cluster_id: str, log_uri: str | None) -> Backend:
        """Steps of the cluster with that id, whose logs go to `log_uri`."""
        if store.kind_of(cluster_id) == "ec2":
            primary = self.primary(cluster_id)
            return Ec2Backend(self.target, cluster_id, log_uri or "", primary)
        return EmrBackend(self.target, cluster_id, log_uri)

    def primary(self, cluster_id: str) -> PrimaryConnection:
        """The way to the primary of a cluster of EC2 instances: one connection for all uses."""
        if cluster_id not in self._primaries:
            self._primaries[cluster_id] = PrimaryConnection(self.target, cluster_id)
        return self._primaries[cluster_id]

    @functools.cached_property
    def _primaries(self) -> dict[str, PrimaryConnection]:
        return {}

    def cluster(self, name: str | None = None) -> Cluster:
        """The running cluster called `name`, by default the spec's; `NotFoundError` where none."""
        from emrctl.clusters import registry

        return registry.find_cluster(self.project, self.target, name)
