"""An observed cluster of either kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from emrctl.aws.listing import EMR_TERMINATED
from emrctl.cost import instances_usd
from emrctl.spec import AnyClusterSpec


@dataclass(frozen=True, kw_only=True)
class Node:
    """One instance of a cluster; `id` is its EC2 instance id.

    Nodes of EC2 clusters have a `name` (`primary`, `worker-1`) and the state of the instance.
    Nodes with `session` are reached only through Session Manager. `spot` is set for nodes of EMR.
    """

    id: str
    role: str
    type: str
    state: str
    private_dns: str
    public_dns: str
    private_ip: str = ""
    public_ip: str = ""
    name: str = ""
    session: bool = False
    spot: bool = False


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A cluster as AWS describes it; `spec` is the project's, with the observed types and counts.

    `urls` are the URLs of the YARN or master, Spark and history pages. `reason` is why the cluster
    terminated. The id of an EC2 cluster is that of its primary instance and survives a stop.
    """

    name: str
    stack: str
    id: str
    arn: str
    state: str
    spec: AnyClusterSpec
    region: str
    bucket: str
    created: str
    reason: str = ""
    primary_dns: str = ""
    log_uri: str = ""
    event_log_uri: str = ""
    nodes: tuple[Node, ...] = ()
    urls: Mapping[str, str] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether the cluster is terminated; `up` creates a new one."""
        return self.state in EMR_TERMINATED

    @property
    def stopped(self) -> bool:
        """Whether its instances are stopped or stopping."""
        return self.state in {"STOPPING", "STOPPED"}

    @property
    def hourly_usd(self) -> float:
        """Price per hour of the instances, with EMR's fee and without disks; 0 unless running."""
        return 0.0 if self.ended or self.stopped else instances_usd(self.spec, self.region)
