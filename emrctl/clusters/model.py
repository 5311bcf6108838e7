"""A cluster as AWS has it, of whatever kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from emrctl.cost.estimate import instances_usd
from emrctl.spec import AnyClusterSpec

ENDED = ("TERMINATED", "TERMINATED_WITH_ERRORS")
STILL = ("STOPPING", "STOPPED")


@dataclass(frozen=True, kw_only=True)
class Node:
    """One instance of a cluster; `id` is EC2's.

    Nodes of EC2 clusters have a `name` (`primary`, `worker-1`), and EC2's own states. To one with
    `session` only Session Manager leads.
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


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A cluster as AWS has it now; `spec` is the project's, with what was observed in it.

    `urls` are the addresses of the YARN or master, Spark and history pages. `reason` says why it
    ended. The id of a cluster of EC2 instances is that of its primary, and stays over a stop.
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
        """Whether it is no more; `up` makes a new one."""
        return self.state in ENDED

    @property
    def stopped(self) -> bool:
        """Whether its instances stand still, or are about to: only `start` brings them back."""
        return self.state in STILL

    @property
    def hourly_usd(self) -> float:
        """Price per hour of the instances, with EMR's fee and without disks; 0 unless running."""
        return 0.0 if self.ended or self.stopped else instances_usd(self.spec, self.region)
