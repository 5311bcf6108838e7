"""What an EMR cluster is: groups, nodes, steps and their states, in EMR's own words."""

from __future__ import annotations

import secrets
import string
import threading
import time
from dataclasses import dataclass, field
from typing import Any

STARTING = "STARTING"
BOOTSTRAPPING = "BOOTSTRAPPING"
RUNNING = "RUNNING"
WAITING = "WAITING"
TERMINATING = "TERMINATING"
TERMINATED = "TERMINATED"
TERMINATED_WITH_ERRORS = "TERMINATED_WITH_ERRORS"
ALIVE = (STARTING, BOOTSTRAPPING, RUNNING, WAITING)

PENDING = "PENDING"
CANCEL_PENDING = "CANCEL_PENDING"
COMPLETED = "COMPLETED"
CANCELLED = "CANCELLED"
FAILED = "FAILED"
INTERRUPTED = "INTERRUPTED"
UNFINISHED = (PENDING, CANCEL_PENDING, RUNNING)

MASTER = "MASTER"
LOCAL_TAG = "emrctl:local"


def new_id(prefix: str) -> str:
    """An id as EMR makes them: the prefix and 13 capitals or digits."""
    alphabet = string.ascii_uppercase + string.digits
    return prefix + "".join(secrets.choice(alphabet) for _ in range(13))


@dataclass
class Timeline:
    """When something was made, began (or was ready) and ended; seconds since 1970."""

    created: float = field(default_factory=time.time)
    ready: float | None = None
    ended: float | None = None


@dataclass(kw_only=True)
class EmulatedStep:
    """One step of a cluster."""

    name: str
    action: str
    jar: dict[str, Any]
    id: str = field(default_factory=lambda: new_id("s-"))
    state: str = PENDING
    message: str = ""
    failure: dict[str, str] = field(default_factory=dict)
    times: Timeline = field(default_factory=Timeline)
    cancelled: bool = False

    @property
    def args(self) -> list[str]:
        """The arguments of the step's jar."""
        return list(self.jar.get("Args", []))

    @property
    def unfinished(self) -> bool:
        """Whether the step waits or runs."""
        return self.state in UNFINISHED


@dataclass(kw_only=True)
class InstanceGroup:
    """An instance group."""

    role: str
    instance_type: str
    count: int
    request: dict[str, Any]
    id: str = field(default_factory=lambda: new_id("ig-"))
    state: str = "PROVISIONING"
    times: Timeline = field(default_factory=Timeline)
    auto_scaling: dict[str, Any] | None = None


@dataclass(kw_only=True, eq=False)
class EmulatedNode:
    """One instance of a group."""

    group: InstanceGroup
    ec2_id: str
    public_dns: str
    public_ip: str
    private_dns: str
    private_ip: str
    id: str = field(default_factory=lambda: new_id("ci-"))
    state: str = "PROVISIONING"
    reason: str = ""
    times: Timeline = field(default_factory=Timeline)

    @property
    def primary(self) -> bool:
        """Whether this is the cluster's primary node."""
        return self.group.role == MASTER

    @property
    def alive(self) -> bool:
        """Whether the node has not been terminated."""
        return self.state != TERMINATED


@dataclass(frozen=True, kw_only=True)
class Termination:
    """How and why a cluster ends."""

    code: str
    message: str
    state: str = TERMINATED
    details: tuple[dict[str, Any], ...] = ()


@dataclass(kw_only=True, eq=False)
class EmulatedCluster:
    """A cluster: what was asked for, and what has become of it.

    `changed` guards every field: whoever changes one holds it and notifies.
    """

    request: dict[str, Any]
    region: str
    account: str
    id: str = field(default_factory=lambda: new_id("j-"))
    state: str = STARTING
    code: str = ""
    message: str = "Configuring cluster software (local)"
    details: tuple[dict[str, Any], ...] = ()
    times: Timeline = field(default_factory=Timeline)
    groups: list[InstanceGroup] = field(default_factory=list)
    nodes: list[EmulatedNode] = field(default_factory=list)
    steps: list[EmulatedStep] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    security_groups: tuple[str | None, str | None, str | None] = (None, None, None)
    protected: bool = False
    keep_alive: bool = False
    replace_unhealthy: bool = False
    visible: bool = True
    concurrency: int = 1
    auto_termination: dict[str, Any] | None = None
    managed_scaling: dict[str, Any] | None = None
    warnings: list[str] = field(default_factory=list)
    ending: Termination | None = None
    idle_since: float | None = None
    changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def arn(self) -> str:
        """The cluster's ARN."""
        return f"arn:aws:elasticmapreduce:{self.region}:{self.account}:cluster/{self.id}"

    @property
    def name(self) -> str:
        """The cluster's name."""
        return str(self.request["Name"])

    @property
    def alive(self) -> bool:
        """Whether the cluster takes steps."""
        return self.state in ALIVE

    @property
    def log_uri(self) -> str | None:
        """Where logs go, as `s3://bucket/prefix/j-…/`; None where nobody wants them."""
        given = self.request.get("LogUri")
        if not given:
            return None
        bare = str(given).split("://", 1)[-1].strip("/")
        return f"s3://{bare}/{self.id}/"

    @property
    def live_nodes(self) -> list[EmulatedNode]:
        """Nodes that have not been terminated."""
        return [node for node in self.nodes if node.alive]

    @property
    def primary(self) -> EmulatedNode:
        """The first primary node."""
        return next(node for node in self.nodes if node.primary)

    @property
    def workers(self) -> list[EmulatedNode]:
        """Core and task nodes that have not been terminated."""
        return [node for node in self.live_nodes if not node.primary]

    def step(self, step_id: str) -> EmulatedStep | None:
        """The step of that id."""
        return next((step for step in self.steps if step.id == step_id), None)

    def end(self, ending: Termination) -> None:
        """The cluster is TERMINATING; the first reason given stays."""
        with self.changed:
            if self.ending is None and self.alive:
                self.ending = ending
                self.state, self.code, self.message = TERMINATING, ending.code, ending.message
                self.details = ending.details
            self.changed.notify_all()
