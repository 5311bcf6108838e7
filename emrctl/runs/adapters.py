"""How runs use a cluster, by its kind: steps, resources, live REST APIs and billed instances."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from emrctl.aws.target import Target
from emrctl.clusters import sizing
from emrctl.clusters.model import Cluster
from emrctl.errors import ProvisioningError, UsageError
from emrctl.remote import pages, ssh
from emrctl.remote.nodes import PrimaryConnection
from emrctl.runs.backends.emr import EmrBackend
from emrctl.runs.backends.spark_submit import YARN
from emrctl.runs.backends.standalone import Ec2Backend
from emrctl.runs.record import TAGS, ClusterFacts, Run
from emrctl.spec import ClusterSpec, SparkSettings
from emrctl.spec.project import as_kind

if TYPE_CHECKING:
    from emrctl.metrics.live.nodes import InstanceUse
    from emrctl.metrics.live.rest import Fetch
    from emrctl.metrics.live.snapshot import LiveSources


Backend = EmrBackend | Ec2Backend
_MASTER_PORT = 7077


@dataclass(frozen=True, kw_only=True)
class MasterConf:
    """Spark's master and the properties that request resources from it.

    `warning` is set if the cluster has no room for all executors.
    """

    master: str = YARN
    conf: Mapping[str, str] = field(default_factory=dict)
    warning: str | None = None


@dataclass(frozen=True)
class _Emr:
    """EMR: steps over its API, Spark on YARN."""

    target: Target
    # EMR's fee is part of the price, and CloudWatch keeps metrics of the cluster.
    is_emr: ClassVar = True

    def backend(self, cluster: ClusterFacts) -> Backend:
        """Return the backend for steps of a cluster."""
        return EmrBackend(self.target, cluster.id, cluster.log_uri)

    def master_conf(self, cluster: Cluster, settings: SparkSettings) -> MasterConf:
        """Return master and conf for these settings; `UsageError` if no node fits an executor.

        On localhost also if none fits beside the driver: EMR sizes executors by what is free.
        """
        capacity = sizing.container_capacity(as_kind(cluster.spec, ClusterSpec), settings)
        if capacity.most_room == 0 and self.target.kind == "local":
            free_mb = capacity.node_mb - capacity.first_mb
            raise UsageError(
                f"an executor needs a container of {capacity.executor_mb} MB, and {free_mb} MB are "
                f"free beside the {capacity.first}'s container ({capacity.first_mb} MB) on "
                f"{capacity.most_nodes} nodes of {capacity.node_mb} MB",
                hint="Set a smaller --executor-memory or --driver-memory: localhost does not "
                "reduce the size of executors at run time.",
            )
        return MasterConf(warning=capacity.warning)

    def application_conf(self, run: Run) -> dict[str, str]:
        """Return the properties by which the run's application is found while it runs."""
        return {"spark.app.name": run.job, TAGS: run.application_tag}

    def live_sources(self, cluster: ClusterFacts) -> LiveSources:
        """Return the REST APIs of the cluster manager and of Spark drivers."""
        from emrctl.metrics.live.managers import ResourceManager
        from emrctl.metrics.live.snapshot import LiveSources

        target = self.target
        yarn = target.page(cluster.id, cluster.primary_dns, "yarn")
        proxy = target.page(cluster.id, cluster.primary_dns, "proxy")
        return LiveSources(
            manager=ResourceManager(lambda path: target.fetch(f"{yarn}{path}")),
            spark=lambda app_id: lambda path: target.fetch(f"{proxy}/{app_id}{path}"),
        )

    def list_instances(self, cluster_id: str) -> tuple[InstanceUse, ...]:
        """Return all instances that the cluster has or had."""
        from emrctl.metrics.live import nodes

        return nodes.list_emr_instances(self.target.client("emr"), cluster_id)


@dataclass(frozen=True)
class _Standalone:
    """Spark standalone on EC2: steps, master and drivers are reached over SSH."""

    target: Target
    connect: Callable[[str], PrimaryConnection]
    is_emr: ClassVar = False

    def backend(self, cluster: ClusterFacts) -> Backend:
        primary = self.connect(cluster.id)
        return Ec2Backend(self.target, cluster.id, cluster.log_uri or "", primary)

    def master_conf(self, cluster: Cluster, settings: SparkSettings) -> MasterConf:
        group = cluster.spec.core_group
        workers = sizing.StandaloneWorkers.of(group.type, group.count)
        allocation = sizing.allocate(workers, settings)
        return MasterConf(
            master=f"spark://{_primary_ip(cluster)}:{_MASTER_PORT}",
            conf=allocation.conf(settings),
            warning=allocation.warning,
        )

    def application_conf(self, run: Run) -> dict[str, str]:
        # A standalone master has no tags: the property identifies the event log only.
        name = f"{run.job} {run.application_tag}"
        return {"spark.app.name": name, TAGS: run.application_tag}

    def live_sources(self, cluster: ClusterFacts) -> LiveSources:
        from emrctl.metrics.live.managers import Master
        from emrctl.metrics.live.snapshot import LiveSources

        primary = self.connect(cluster.id)
        return LiveSources(
            manager=Master(_fetch(primary, pages.STANDALONE["master"])),
            spark=lambda app_id: _fetch_from_driver(primary, app_id),
        )

    def list_instances(self, cluster_id: str) -> tuple[InstanceUse, ...]:
        from emrctl.metrics.live import nodes

        return nodes.list_ec2_instances(self.target.client("ec2"), cluster_id)


RunAdapter = _Emr | _Standalone


def adapter_of(
    cluster_id: str, target: Target, connect: Callable[[str], PrimaryConnection]
) -> RunAdapter:
    """Return the adapter of a cluster; the id of an EC2 cluster is that of its primary."""
    return _Standalone(target, connect) if cluster_id.startswith("i-") else _Emr(target)


def _primary_ip(cluster: Cluster) -> str:
    for node in cluster.nodes:
        if node.role == "primary" and node.state == "RUNNING":
            return node.private_ip
    hint = "Start a stopped cluster with `emrctl start`."
    raise ProvisioningError(f"the primary of '{cluster.name}' is not running", hint=hint)


def _fetch(primary: PrimaryConnection, port: int) -> Fetch:
    return lambda path: ssh.get_json(primary.connection(), (primary.private_ip, port), path)


def _fetch_from_driver(primary: PrimaryConnection, application_id: str) -> Fetch:
    """Return a function that fetches from the driver; its port is looked up by the first call."""

    @functools.cache
    def port() -> int:
        return pages.driver_port(lambda port, path: _fetch(primary, port)(path), application_id)

    def fetch(path: str) -> Any:
        return _fetch(primary, port())(path)

    return fetch
