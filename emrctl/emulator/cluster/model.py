"""State of an emulated EMR cluster: instance groups, nodes and steps."""

from __future__ import annotations

import contextlib
import secrets
import string
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from emrctl.aws.listing import EMR_ACTIVE

STARTING = "STARTING"
PROVISIONING = "PROVISIONING"
BOOTSTRAPPING = "BOOTSTRAPPING"
RUNNING = "RUNNING"
WAITING = "WAITING"
TERMINATING = "TERMINATING"
TERMINATED = "TERMINATED"
TERMINATED_WITH_ERRORS = "TERMINATED_WITH_ERRORS"

PENDING = "PENDING"
CANCEL_PENDING = "CANCEL_PENDING"
COMPLETED = "COMPLETED"
CANCELLED = "CANCELLED"
FAILED = "FAILED"
INTERRUPTED = "INTERRUPTED"

RESIZING = "RESIZING"
RECONFIGURING = "RECONFIGURING"
SUSPENDED = "SUSPENDED"

# Code and message of instances and groups of clusters that have ended.
CLUSTER_TERMINATED = ("CLUSTER_TERMINATED", "Job flow terminated")

# A node that gets no new containers, and a node that is being removed.
DRAINING = "DRAINING"
REMOVING = "REMOVING"

# Limit of the local EMR, whose instances are folders and processes of one machine.
MAX_INSTANCES = 256

MASTER = "MASTER"
ON_DEMAND, SPOT = "ON_DEMAND", "SPOT"
# Members of a fleet with its targets in capacity units.
TARGETS = {ON_DEMAND: "TargetOnDemandCapacity", SPOT: "TargetSpotCapacity"}


def new_id(prefix: str) -> str:
    """Return a random id in EMR's format: the prefix and 13 uppercase letters or digits."""
    alphabet = string.ascii_uppercase + string.digits
    return prefix + "".join(secrets.choice(alphabet) for _ in range(13))


@dataclass
class Timeline:
    """When a resource was created, ready (a step: started) and ended, in epoch seconds."""

    created: float = field(default_factory=time.time)
    ready: float | None = None
    ended: float | None = None


@dataclass(kw_only=True)
class EmulatedStep:
    """A step."""

    name: str
    action_on_failure: str
    jar: dict[str, Any]
    execution_role: str | None = None
    # S3MonitoringConfiguration of the step.
    monitoring: dict[str, str] = field(default_factory=dict)
    id: str = field(default_factory=lambda: new_id("s-"))
    state: str = PENDING
    message: str = ""
    failure: dict[str, str] = field(default_factory=dict)
    timeline: Timeline = field(default_factory=Timeline)
    cancelled: bool = False

    @property
    def args(self) -> list[str]:
        """Arguments of the step's JAR."""
        return list(self.jar.get("Args", []))

    @property
    def properties(self) -> dict[str, str]:
        """Properties of the step's JAR."""
        return {one["Key"]: one.get("Value", "") for one in self.jar.get("Properties", [])}

    @property
    def unfinished(self) -> bool:
        """Whether the step is pending, running or being cancelled."""
        return self.state == PENDING or self.running

    @property
    def running(self) -> bool:
        """Whether the step's processes may be running."""
        return self.state in (RUNNING, CANCEL_PENDING)


@dataclass(kw_only=True)
class InstanceGroup:
    """An instance group or fleet; `count` is its number of instances once it is resized."""

    role: str
    instance_type: str
    count: int
    request: dict[str, Any]
    id: str = field(default_factory=lambda: new_id("ig-"))
    state: str = PROVISIONING
    code: str = ""
    reason: str = ""
    timeline: Timeline = field(default_factory=Timeline)
    auto_scaling: dict[str, Any] | None = None
    # Configurations of the running daemons, and those that were applied last without an error.
    active_configurations: list[dict[str, Any]] | None = None
    applied_configurations: list[dict[str, Any]] | None = None
    configurations_version: int = 0
    applied_version: int = 0
    # Units of a fleet's Spot target that On-Demand instances provide (SWITCH_TO_ON_DEMAND).
    on_demand_for_spot: int = 0

    @property
    def requested_configurations(self) -> list[dict[str, Any]]:
        """The group's own configurations of the last request, or of a fleet's first type."""
        source = (self.request.get("InstanceTypeConfigs") or [self.request])[0]
        return list(source.get("Configurations", []))

    @property
    def configurations(self) -> list[dict[str, Any]]:
        """The group's own configurations that its nodes have."""
        active = self.active_configurations
        return self.requested_configurations if active is None else active

    @property
    def is_fleet(self) -> bool:
        """Whether this is an instance fleet."""
        return "InstanceTypeConfigs" in self.request

    @property
    def market(self) -> str:
        """Market of an instance group's instances; a fleet's first one."""
        default = next((m for m, name in TARGETS.items() if self.request.get(name)), ON_DEMAND)
        return str(self.request.get("Market", default))

    def weight(self, instance_type: str) -> int:
        """Return the capacity units of an instance; EMR's default is 1, as for groups."""
        types = () if self.role == MASTER else self.request.get("InstanceTypeConfigs", ())
        weights = {one["InstanceType"]: one.get("WeightedCapacity", 1) for one in types}
        return int(weights.get(instance_type, 1))

    @property
    def targets(self) -> dict[str, int]:
        """Capacity units that instances of each market have to provide."""
        if not self.is_fleet:
            return {self.market: self.count}
        on_demand, spot = (int(self.request.get(name, 0)) for name in TARGETS.values())
        switched = min(spot, self.on_demand_for_spot)
        return {ON_DEMAND: on_demand + switched, SPOT: spot - switched}

    def set_targets(self, targets: Mapping[str, int]) -> None:
        """Change the units of each market in the request, of a group its number of instances."""
        if not self.is_fleet:
            self.count = sum(targets.values())
            return
        switched = min(self.on_demand_for_spot, targets[ON_DEMAND])
        self.on_demand_for_spot = switched
        units = (targets[ON_DEMAND] - switched, targets[SPOT] + switched)
        self.request = self.request | dict(zip(TARGETS.values(), units, strict=True))


@dataclass(kw_only=True, eq=False)
class EmulatedNode:
    """An instance of an instance group or fleet, with its capacity units."""

    group: InstanceGroup
    ec2_id: str
    public_dns: str
    public_ip: str
    private_dns: str
    private_ip: str
    # By default those of the group; units 0: the weight of the type.
    instance_type: str = ""
    market: str = ""
    units: int = 0
    id: str = field(default_factory=lambda: new_id("ci-"))
    state: str = PROVISIONING
    code: str = ""
    reason: str = ""
    # DRAINING, REMOVING or empty.
    removal: str = ""
    timeline: Timeline = field(default_factory=Timeline)
    # In a fleet, those of the type when the instance was launched.
    type_configurations: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Set the defaults."""
        self.instance_type = self.instance_type or self.group.instance_type
        self.market = self.market or self.group.market
        self.units = self.units or self.group.weight(self.instance_type)
        for one in self.group.request.get("InstanceTypeConfigs", ()):
            if one["InstanceType"] == self.instance_type:
                self.type_configurations = list(one.get("Configurations", []))

    @property
    def primary(self) -> bool:
        """Whether this is the cluster's primary node."""
        return self.group.role == MASTER

    @property
    def configurations(self) -> list[dict[str, Any]]:
        """Configurations of the group, or of the instance type in a fleet."""
        return self.type_configurations if self.group.is_fleet else self.group.configurations

    @property
    def active(self) -> bool:
        """Whether the node has not been terminated."""
        return self.state != TERMINATED

    def end(self, now: float, code: str = "", reason: str = "") -> None:
        """Set the node to TERMINATED; the first reason is kept."""
        self.state, self.timeline.ended = TERMINATED, now
        if code and not self.code:
            self.code, self.reason = code, reason


@dataclass(frozen=True, kw_only=True)
class Termination:
    """Final state of a cluster and the reason for it."""

    code: str
    message: str
    state: str = TERMINATED
    details: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """Exit code of a step and, if it failed, EMR's FailureDetails."""

    exit_code: int
    failure: dict[str, str] = field(default_factory=dict)


def _ignore(_cluster: EmulatedCluster) -> None:
    """Do nothing."""


@dataclass(kw_only=True, eq=False)
class EmulatedCluster:
    """A cluster: the RunJobFlow request and its current state.

    Change its fields within `changing()`.
    """

    request: dict[str, Any]
    region: str
    account: str
    id: str = field(default_factory=lambda: new_id("j-"))
    state: str = STARTING
    code: str = ""
    message: str = "Configuring cluster software (local)"
    details: tuple[dict[str, Any], ...] = ()
    timeline: Timeline = field(default_factory=Timeline)
    groups: list[InstanceGroup] = field(default_factory=list)
    nodes: list[EmulatedNode] = field(default_factory=list)
    steps: list[EmulatedStep] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    security_groups: tuple[str | None, str | None, str | None] = (None, None, None)
    # Availability zone of the instances.
    zone: str = ""
    protected: bool = False
    keep_alive: bool = False
    replace_unhealthy: bool = False
    visible: bool = True
    concurrency: int = 1
    auto_termination: dict[str, Any] | None = None
    managed_scaling: dict[str, Any] | None = None
    warnings: list[str] = field(default_factory=list)
    termination: Termination | None = None
    idle_since: float | None = None
    changed: threading.Condition = field(default_factory=threading.Condition)
    # Called with the cluster after each change, with the lock held.
    on_change: Callable[[EmulatedCluster], None] = _ignore

    def __post_init__(self) -> None:
        """Set the zone to the requested one, if any."""
        self.zone = self.zone or next(iter(self.zones), f"{self.region}a")

    @property
    def arn(self) -> str:
        """ARN of the cluster."""
        return f"arn:aws:elasticmapreduce:{self.region}:{self.account}:cluster/{self.id}"

    @property
    def name(self) -> str:
        """Name of the cluster."""
        return str(self.request["Name"])

    @property
    def has_fleets(self) -> bool:
        """Whether the cluster has instance fleets, not instance groups."""
        return bool(self.request["Instances"].get("InstanceFleets"))

    @property
    def zones(self) -> list[str]:
        """The Availability Zones that the request names."""
        placement = self.request.get("Instances", {}).get("Placement", {})
        zones = [placement.get("AvailabilityZone"), *placement.get("AvailabilityZones", [])]
        return [zone for zone in zones if zone]

    @property
    def subnets(self) -> list[str]:
        """The subnets that the request names."""
        instances = self.request["Instances"]
        subnets = [instances.get("Ec2SubnetId"), *instances.get("Ec2SubnetIds", [])]
        return [subnet for subnet in subnets if subnet]

    @property
    def subnet(self) -> str | None:
        """The subnet of the instances, the first that the request names, or None."""
        return next(iter(self.subnets), None)

    @property
    def active(self) -> bool:
        """Whether the cluster accepts steps."""
        return self.state in EMR_ACTIVE

    @property
    def log_uri(self) -> str | None:
        """S3 prefix of the cluster's logs, `s3://bucket/prefix/j-…/`, or None without a LogUri."""
        return self._log_prefix(self.request.get("LogUri"))

    def step_log_uri(self, step: EmulatedStep) -> str | None:
        """S3 prefix of a step's logs: that of its own LogUri, or of the cluster's."""
        return self._log_prefix(step.monitoring.get("LogUri")) or self.log_uri

    def _log_prefix(self, log_uri: str | None) -> str | None:
        if not log_uri:
            return None
        path = str(log_uri).split("://", 1)[-1].strip("/")
        return f"s3://{path}/{self.id}/"

    @property
    def active_nodes(self) -> list[EmulatedNode]:
        """Nodes that have not been terminated."""
        return [node for node in self.nodes if node.active]

    @property
    def primary(self) -> EmulatedNode:
        """The primary node that runs the ResourceManager and the NameNode: the first active one."""
        primaries = [node for node in self.nodes if node.primary]
        return next((node for node in primaries if node.active), primaries[0])

    @property
    def highly_available(self) -> bool:
        """Whether the cluster has three primary nodes, one of which may fail."""
        return any(group.role == MASTER and group.count > 1 for group in self.groups)

    @property
    def workers(self) -> list[EmulatedNode]:
        """Core and task nodes that have not been terminated."""
        return [node for node in self.active_nodes if not node.primary]

    def staying_nodes(self, group: InstanceGroup) -> list[EmulatedNode]:
        """Return the active nodes of a group, without those that are being removed."""
        return [node for node in self.active_nodes if node.group is group and not node.removal]

    def end_instances(self, now: float) -> None:
        """Set all nodes and groups to TERMINATED, with EMR's reason for the end of a cluster."""
        for node in self.active_nodes:
            node.end(now, *CLUSTER_TERMINATED)
        for group in self.groups:
            group.state, group.timeline.ended = TERMINATED, now
            group.code, group.reason = CLUSTER_TERMINATED

    def step(self, step_id: str) -> EmulatedStep | None:
        """Return the step with this id, or None."""
        return next((step for step in self.steps if step.id == step_id), None)

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the lock of the cluster; wake threads that wait for a change at the end."""
        with self.changed:
            yield
            self.on_change(self)
            self.changed.notify_all()

    def terminate(self, reason: Termination) -> None:
        """Change the state to TERMINATING. Only the first reason is kept."""
        with self.changing():
            if self.termination is None and self.active:
                self.termination = reason
                self.state, self.code, self.message = TERMINATING, reason.code, reason.message
                self.details = reason.details
