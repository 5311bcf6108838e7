"""The state of the emulated EMR: clusters, their controllers and EC2 records, and API errors."""

from __future__ import annotations

import base64
import binascii
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from emrctl.emulator.api.launching import ClusterInstances, ec2_backend
from emrctl.emulator.cluster import model
from emrctl.emulator.cluster.cluster_metrics import MetricStore
from emrctl.emulator.cluster.controller import ClusterController, ClusterRuntime
from emrctl.emulator.cluster.history import ClusterHistory
from emrctl.emulator.cluster.model import EmulatedCluster, InstanceGroup, Termination
from emrctl.emulator.cluster.reconfiguring import merged
from emrctl.emulator.cluster.scaling import INTERVAL_S
from emrctl.emulator.cluster.shrinking import Shrinking
from emrctl.emulator.faults import Faults
from emrctl.errors import UsageError

_log = logging.getLogger(__name__)

CLOSED = "A job flow that is shutting down, terminated, or finished may not be modified."


class ApiError(Exception):
    """An error response of EMR with status 400."""

    def __init__(
        self, message: str, *, code: str = "ValidationException", reason: str | None = None
    ) -> None:
        """Store the message, the error code of EMR's model and its member `ErrorCode`."""
        super().__init__(message)
        self.message = message
        self.code = code
        self.reason = reason


def invalid(message: str, reason: str = "InvalidRequest") -> ApiError:
    """Return an `InvalidRequestException`."""
    return ApiError(message, code="InvalidRequestException", reason=reason)


def _no_web_ui(_cluster_id: str, _page: str) -> str | None:
    return None


@dataclass(eq=False)
class Service:
    """All clusters of this emulator, terminated ones included, and the settings of its account.

    `web_ui(cluster_id, page)` returns a URL that signs a browser in to `yarn`, `history` or
    `proxy/<application>`, or None if the cluster does not serve it.
    """

    runtime: ClusterRuntime
    history: ClusterHistory | None = None
    faults: Faults = field(default_factory=Faults)
    metrics: MetricStore = field(default_factory=MetricStore)
    clusters: dict[str, EmulatedCluster] = field(default_factory=dict)
    controllers: dict[str, ClusterController] = field(default_factory=dict)
    # By region and name.
    security_configurations: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    # By region.
    public_access: dict[str, dict[str, Any]] = field(default_factory=dict)
    app_uis: dict[str, dict[str, Any]] = field(default_factory=dict)
    web_ui: Callable[[str, str], str | None] = _no_web_ui
    scaling_interval_s: float = INTERVAL_S
    lock: threading.RLock = field(default_factory=threading.RLock)

    def release_labels(self, region: str) -> list[str]:
        """Return all known release labels, newest first."""
        from moto.core import DEFAULT_ACCOUNT_ID
        from moto.emr.models import emr_backends

        return list(emr_backends[DEFAULT_ACCOUNT_ID][region].list_release_labels())

    def cluster(self, cluster_id: str) -> EmulatedCluster:
        """Return the cluster with that id; raises EMR's error if there is none.

        It is found from every region: with a custom endpoint, mrjob signs for the wrong one.
        """
        cluster = self.clusters.get(cluster_id)
        if cluster is None:
            raise invalid(f"Cluster id '{cluster_id}' is not valid.", "NoSuchCluster")
        return cluster

    def group(
        self, group_id: str, cluster_id: str | None = None
    ) -> tuple[EmulatedCluster, InstanceGroup]:
        """Return the instance group or fleet with that id, and its cluster.

        Raise EMR's error if there is none, or if it belongs to another cluster than `cluster_id`.
        """
        clusters = [self.cluster(cluster_id)] if cluster_id else list(self.clusters.values())
        for cluster in clusters:
            for group in cluster.groups:
                if group.id == group_id:
                    return cluster, group
        raise invalid(f"Instance group id '{group_id}' is not valid.")

    def restore(self) -> None:
        """Add the clusters of earlier emulators, which are terminated."""
        if self.history is not None:
            self.clusters.update({cluster.id: cluster for cluster in self.history.load()})

    def save(self, cluster_ids: Iterable[Any]) -> None:
        """Store the clusters with these ids in the history."""
        for cluster_id in cluster_ids:
            if self.history is not None and cluster_id in self.clusters:
                cluster = self.clusters[cluster_id]
                with cluster.changed:
                    self.history.save(cluster)

    def begin(self, cluster: EmulatedCluster) -> None:
        """Create the cluster's EC2 records and start its controller."""
        cluster.security_groups = _security_groups(cluster)
        if cluster.subnet is not None:
            cluster.zone = ec2_backend(cluster).get_subnet(cluster.subnet).availability_zone
        instances = ClusterInstances(cluster, self.faults)
        no_capacity = instances.provision()
        if self.history is not None:
            cluster.on_change = self.history.save
        controller = ClusterController(
            cluster, self.runtime, instances, self.faults, self.metrics, self.scaling_interval_s
        )
        controller.no_capacity = no_capacity
        with self.lock:
            self.clusters[cluster.id] = cluster
            self.controllers[cluster.id] = controller
        controller.thread.start()

    def resize(
        self,
        cluster: EmulatedCluster,
        group: InstanceGroup,
        targets: Mapping[str, int],
        shrinking: Shrinking | None = None,
    ) -> None:
        """Resize the group in the background, to these units by market; raise EMR's error."""
        self.check_resizable(cluster, group)
        self.controllers[cluster.id].resizer.resize(group, targets, shrinking=shrinking)

    def check_resizable(self, cluster: EmulatedCluster, group: InstanceGroup) -> None:
        """Raise EMR's error unless the group can be resized now."""
        with cluster.changed:
            if group.is_fleet and cluster.state not in (model.RUNNING, model.WAITING):
                # Terraform ignores this error, by its text, if the cluster of a fleet has ended.
                raise invalid(
                    "An instance fleet may only be modified when the cluster is running or waiting."
                )
            if cluster.state not in (model.RUNNING, model.WAITING):
                raise ApiError(
                    "An instance group may only be modified when the cluster is running or waiting."
                )
            if group.state == model.RECONFIGURING:
                raise ApiError("An instance group cannot be resized while it is RECONFIGURING.")

    def reconfigure(
        self, cluster: EmulatedCluster, group: InstanceGroup, change: Mapping[str, Any]
    ) -> None:
        """Apply the configurations of a change of ModifyInstanceGroups in the background."""
        configurations = list(change["Configurations"])
        if change.get("ReconfigurationType") == "MERGE":
            configurations = merged(group.configurations, configurations)
        self.controllers[cluster.id].reconfigurer.reconfigure(group, configurations)

    def lose_node(self, cluster_id: str, ec2_id: str, *, spot_interruption: bool) -> None:
        """Terminate an instance as by a failure or a Spot interruption; raise `UsageError`."""
        cluster = self.clusters.get(cluster_id)
        nodes = [] if cluster is None else cluster.active_nodes
        node = next((node for node in nodes if node.ec2_id == ec2_id), None)
        if node is None:
            raise UsageError(f"cluster {cluster_id} has no instance {ec2_id}")
        if spot_interruption and node.market != model.SPOT:
            raise UsageError(f"{ec2_id} is not a Spot instance")
        self.controllers[cluster_id].lose_node(node, spot_interruption=spot_interruption)

    def close(self, *, timeout_s: float = 30.0) -> None:
        """Terminate all clusters."""
        termination = Termination(code="USER_REQUEST", message="The emulator was stopped (local)")
        for controller in list(self.controllers.values()):
            controller.terminate(termination)
        deadline = time.monotonic() + timeout_s
        for controller in list(self.controllers.values()):
            controller.thread.join(timeout=max(0.1, deadline - time.monotonic()))
            if controller.thread.is_alive():
                _log.warning("cluster %s did not terminate in time", controller.cluster.id)


@dataclass(frozen=True)
class Request:
    """A request to the service: its region and its members."""

    service: Service
    region: str
    members: dict[str, Any]

    @property
    def cluster(self) -> EmulatedCluster:
        """The cluster that the request names; raises EMR's error if there is none."""
        keys = ("ClusterId", "JobFlowId", "ResourceId")
        return self.service.cluster(next(self.members[key] for key in keys if key in self.members))

    @property
    def clusters(self) -> list[EmulatedCluster]:
        """All clusters of the request's region."""
        return [one for one in list(self.service.clusters.values()) if one.region == self.region]

    @property
    def open_cluster(self) -> EmulatedCluster:
        """The cluster that the request names; raises EMR's error if it has ended or ends."""
        return opened(self.cluster)

    def page(
        self, key: str, rows: Sequence[Any], size: int = 50, marker: str = "Marker"
    ) -> dict[str, Any]:
        """Return the requested page of the rows, with the marker of the next page if any."""
        start = _start(key, self.members.get(marker) or "", marker)
        size = self.members.get("MaxResults", size)
        answer: dict[str, Any] = {key: list(rows[start : start + size])}
        return answer | ({marker: _marker(key, start + size)} if len(rows) > start + size else {})


def _marker(key: str, start: int) -> str:
    """Return the marker of the page that begins at row `start` of the list `key`."""
    return base64.urlsafe_b64encode(f"{key}:{start}".encode()).decode()


def _start(key: str, value: str, member: str) -> int:
    """Return the row at which the page with this marker begins; raise EMR's error."""
    if not value:
        return 0
    try:
        name, _, start = base64.b64decode(value, b"-_", validate=True).decode().partition(":")
        if name == key and start.isascii() and start.isdigit():
            return int(start)
    except (binascii.Error, ValueError):
        pass
    raise invalid(f"{member} '{value}' is not valid.")


Operation = Callable[[Request], dict[str, Any]]


def opened(cluster: EmulatedCluster) -> EmulatedCluster:
    """Return the cluster; raises EMR's error if it has ended or ends."""
    if not cluster.active:
        raise ApiError(CLOSED)
    return cluster


def find(rows: Sequence[Any], **values_by_field: Any) -> list[Any]:
    """Return the rows whose fields have one of the values; None and [] match everything."""
    return [
        row
        for row in rows
        if all(
            not values or getattr(row, name) in values for name, values in values_by_field.items()
        )
    ]


# -- moto's EC2


def check_network(cluster: EmulatedCluster) -> None:
    """Raise EMR's error for a zone, subnet or security group that does not exist."""
    ec2, instances = ec2_backend(cluster), cluster.request["Instances"]
    if set(cluster.zones) - {one.name for one in ec2.describe_availability_zones()}:
        raise ApiError("Specified Availability Zone is not supported.")
    subnets = {subnet.id: subnet for subnet in ec2.describe_subnets()}
    for name in cluster.subnets:
        if name not in subnets:
            raise ApiError(f"The subnet {name} does not exist.")
    if len({subnets[name].vpc_id for name in cluster.subnets}) > 1:
        raise ApiError("The subnets of an instance fleet must belong to one VPC.")
    names = [
        *_named_security_groups(cluster),
        *instances.get("AdditionalMasterSecurityGroups", []),
        *instances.get("AdditionalSlaveSecurityGroups", []),
    ]
    for name in names:
        if name and ec2.get_security_group_from_id(name) is None:
            raise ApiError(f"The security group '{name}' does not exist.")


def _named_security_groups(cluster: EmulatedCluster) -> tuple[str | None, str | None, str | None]:
    instances = cluster.request["Instances"]
    return (
        instances.get("EmrManagedMasterSecurityGroup"),
        instances.get("EmrManagedSlaveSecurityGroup"),
        instances.get("ServiceAccessSecurityGroup"),
    )


def _security_groups(cluster: EmulatedCluster) -> tuple[str | None, str | None, str | None]:
    """Return the groups of primary, core and service access; create those not named."""
    from moto.emr.utils import EmrSecurityGroupManager

    named = _named_security_groups(cluster)
    if cluster.subnet is None or all(named[:2]):
        return named
    ec2 = ec2_backend(cluster)
    manager = EmrSecurityGroupManager(ec2, ec2.get_subnet(cluster.subnet).vpc_id)
    primary, worker, service = manager.manage_security_groups(*named)
    return primary.id, worker.id, service.id
