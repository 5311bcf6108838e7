"""The state of the emulated EMR: clusters, their controllers, and API errors."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from emrctl.emulator.api import ec2_records
from emrctl.emulator.cluster import model
from emrctl.emulator.cluster.controller import ClusterController
from emrctl.emulator.cluster.model import EmulatedCluster, EmulatedNode, InstanceGroup, Termination
from emrctl.emulator.cluster.runtime import ClusterRuntime

_log = logging.getLogger(__name__)

Operation = Callable[["Service", str, dict[str, Any]], dict[str, Any]]


class ApiError(Exception):
    """An error response of EMR with status 400."""

    def __init__(self, message: str, *, code: str = "ValidationException") -> None:
        """Store the message and the error code of EMR's model."""
        super().__init__(message)
        self.message = message
        self.code = code


def invalid(message: str) -> ApiError:
    """Return an `InvalidRequestException`."""
    return ApiError(message, code="InvalidRequestException")


@dataclass(eq=False)
class Service:
    """All clusters of this emulator, terminated ones included."""

    runtime: ClusterRuntime
    clusters: dict[str, EmulatedCluster] = field(default_factory=dict)
    controllers: dict[str, ClusterController] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def cluster(self, cluster_id: str) -> EmulatedCluster:
        """Return the cluster with that id; raises EMR's error if there is none."""
        cluster = self.clusters.get(cluster_id)
        if cluster is None:
            raise invalid(f"Cluster id '{cluster_id}' is not valid.")
        return cluster

    def controller(self, cluster_id: str) -> ClusterController:
        """Return the controller of the cluster with that id."""
        return self.controllers[self.cluster(cluster_id).id]

    def group(self, group_id: str) -> tuple[EmulatedCluster, InstanceGroup]:
        """Return the instance group or fleet with that id, and its cluster."""
        for cluster in self.clusters.values():
            for group in cluster.groups:
                if group.id == group_id:
                    return cluster, group
        raise invalid(f"Instance group id '{group_id}' is not valid.")

    def begin(self, cluster: EmulatedCluster) -> None:
        """Create the cluster's EC2 records and start its controller."""
        cluster.security_groups = ec2_records.security_groups(cluster)
        for group in cluster.groups:
            cluster.nodes += ec2_records.nodes(cluster, group, group.count)
        controller = ClusterController(
            cluster, self.runtime, lambda nodes: self.release(cluster, nodes)
        )
        with self.lock:
            self.clusters[cluster.id] = cluster
            self.controllers[cluster.id] = controller
        controller.start()

    def resize(self, cluster: EmulatedCluster, group: InstanceGroup, count: int) -> None:
        """Resize the group in the background; the newest nodes are removed first."""
        with cluster.changed:
            if not cluster.active:
                raise ApiError(CLOSED)
            if cluster.state not in (model.RUNNING, model.WAITING):
                raise ApiError(
                    f"Instance groups cannot be resized while the cluster is {cluster.state}."
                )
            present = [node for node in cluster.active_nodes if node.group is group]
            group.count = count
            if count == len(present):
                return
            group.state = "RESIZING"
            controller = self.controllers[cluster.id]
            if count < len(present):
                controller.remove_nodes(present[count:])
                return
            new = ec2_records.nodes(cluster, group, count - len(present))
            cluster.nodes += new
            controller.add_nodes(new)

    def release(self, cluster: EmulatedCluster, nodes: Sequence[EmulatedNode]) -> None:
        """Terminate the nodes' EC2 records."""
        ec2_records.terminate(cluster, nodes)

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


CLOSED = "A job flow that is shutting down, terminated, or finished may not be modified."


def find(rows: Sequence[Any], **values_by_field: Any) -> list[Any]:
    """Return the rows whose fields have one of the values; None and [] match everything."""
    return [
        row
        for row in rows
        if all(
            not values or getattr(row, name) in values for name, values in values_by_field.items()
        )
    ]


def page(
    key: str, rows: Sequence[Mapping[str, Any]], ask: Mapping[str, Any], size: int = 50
) -> dict[str, Any]:
    """Return one page of the rows, with the marker of the next page if there is one."""
    try:
        start = int(ask.get("Marker") or 0)
    except ValueError:
        raise invalid(f"Marker '{ask['Marker']}' is not valid.") from None
    answer: dict[str, Any] = {key: list(rows[start : start + size])}
    return answer | ({"Marker": str(start + size)} if len(rows) > start + size else {})
