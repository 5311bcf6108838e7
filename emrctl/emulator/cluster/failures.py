"""Clusters that fail to start: the reasons that EMR reports, and faults that cause them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from emrctl.emulator.cluster import model, s3_files
from emrctl.emulator.cluster.model import (
    EmulatedCluster,
    EmulatedNode,
    InstanceGroup,
    Termination,
)
from emrctl.emulator.faults import INSUFFICIENT_CAPACITY, BootstrapFailure, Capacity, Faults


class BootstrapFailedError(Exception):
    """A bootstrap action returned a non-zero exit code or could not be downloaded."""

    def __init__(self, node: EmulatedNode, number: int, exit_code: int, *, error: str = "") -> None:
        """Store the node, the number of the action (from 1) and the exit code or the error."""
        super().__init__(f"bootstrap action {number} on {node.ec2_id}: {error or exit_code}")
        self.node = node
        self.number = number
        self.exit_code = exit_code
        self.error = error


class NoCapacityError(Exception):
    """EC2 cannot launch instances of a type."""

    def __init__(self, code: str, instance_type: str, message: str) -> None:
        """Store EMR's error code, the type and EMR's message."""
        super().__init__(message)
        self.code = code
        self.instance_type = instance_type
        self.message = message

    @property
    def insufficient(self) -> bool:
        """Whether EC2 has no capacity, not: the type does not exist in the zone."""
        return "INSUFFICIENT_CAPACITY" in self.code

    def termination(self, cluster: EmulatedCluster) -> Termination:
        """Return the reason that EMR reports for the cluster, with ErrorDetails."""
        details = {
            "ErrorCode": self.code,
            "ErrorMessage": self.message,
            "ErrorData": [
                {"instance-type": self.instance_type, "availability-zone": cluster.zone},
                {"public-doc": f"{_DOCUMENTATION}/{self.code}.html"},
            ],
        }
        code = "_".join(self.code.split("_")[:2])  # INTERNAL_ERROR or VALIDATION_ERROR
        return Termination(
            code=code,
            message=f"{self.message} (local)",
            state=model.TERMINATED_WITH_ERRORS,
            details=(details,),
        )


# Of fleets whose launch specifications do not set it.
_FLEET_TIMEOUT_MINUTES = 60
_DOCUMENTATION = "https://docs.aws.amazon.com/emr/latest/ManagementGuide"


@dataclass(eq=False)
class CapacityFaults:
    """The capacity faults of one launch, of a cluster or a resize: each is counted once."""

    faults: Faults
    active: list[Capacity] = field(default_factory=list)

    def check(self, instance_type: str, market: str) -> None:
        """Raise `NoCapacityError` if EC2 cannot launch instances of the type in the market."""

        def concerned(fault: Capacity) -> bool:
            return fault.concerns(instance_type, market)

        fault = next(filter(concerned, self.active), None)
        if fault is None and (fault := self.faults.take(Capacity, concerned)) is not None:
            self.active.append(fault)
        if fault is not None:
            raise _no_capacity(fault, instance_type)


def _no_capacity(fault: Capacity, instance_type: str) -> NoCapacityError:
    if fault.reason == INSUFFICIENT_CAPACITY:
        code = "INTERNAL_ERROR_EC2_INSUFFICIENT_CAPACITY_AZ"
        message = f"EC2 is out of capacity for {instance_type}."
    else:
        code = "VALIDATION_ERROR_INSTANCE_TYPE_NOT_SUPPORTED"
        message = (
            f"The requested instance type {instance_type} is not supported in the requested "
            "Availability Zone."
        )
    return NoCapacityError(code, instance_type, message)


def fleet_timeout(group: InstanceGroup, error: NoCapacityError) -> Termination:
    """Return the reason that EMR reports if a fleet has too few Spot instances at its timeout."""
    specification = group.request.get("LaunchSpecifications", {}).get("SpotSpecification", {})
    minutes = specification.get("TimeoutDurationMinutes", _FLEET_TIMEOUT_MINUTES)
    message = (
        f"The {group.role} instance fleet {group.id} did not get its Spot instances within the "
        f"provisioning timeout of {minutes} minutes: {error.message} (local: at once)"
    )
    state = model.TERMINATED_WITH_ERRORS
    return Termination(code="INSTANCE_FLEET_TIMEOUT", message=message, state=state)


def check_bootstrap(faults: Faults, cluster: EmulatedCluster) -> None:
    """Raise `BootstrapFailedError` if a fault is active for a bootstrap action of the cluster."""
    actions = len(cluster.request.get("BootstrapActions", []))
    fault = faults.take(BootstrapFailure, lambda one: one.action <= actions)
    if fault is None:
        return
    folder = f"node/{cluster.primary.ec2_id}/bootstrap-actions/{fault.action}"
    end = f"waitProcessCompletion ended with exit code {fault.exit_code}"
    logs = {
        "controller": f"{s3_files.timestamp()} INFO {end}\n",
        "stdout": "",
        "stderr": f"exit code {fault.exit_code}, caused by the fault {fault.kind}\n",
    }
    for name, text in logs.items():
        s3_files.upload(cluster, f"{folder}/{name}", text.encode())
    raise BootstrapFailedError(cluster.primary, fault.action, fault.exit_code)


def fatal(cluster: EmulatedCluster, failed: Mapping[EmulatedNode, Exception]) -> Exception | None:
    """Return the error that terminates a cluster some of whose first nodes did not start.

    EMR replaces a few core and task instances and continues. It does not publish how many are too
    many: here the primary, more than half of the others, or all core instances.
    """
    for node, error in failed.items():
        if node.primary:
            return error
    core = [node for node in cluster.workers if node.group.role == "CORE"]
    no_core = bool(core) and all(node in failed for node in core)
    if no_core or 2 * len(failed) > len(cluster.workers):
        return next(iter(failed.values()), None)
    return None


def bootstrap_failure(error: BootstrapFailedError) -> Termination:
    """Return the reason that EMR reports for a failed bootstrap action, with ErrorDetails."""
    role = "master" if error.node.primary else "worker"
    problem = error.error or "returned a non-zero return code"
    instance = f"On the {role} instance ({error.node.ec2_id})"
    message = f"{instance}, bootstrap action {error.number} {problem}"
    suffix = "PRIMARY" if error.node.primary else "WORKER"
    cause = f"BA_DOWNLOAD_FAILED_{suffix}" if error.error else f"{suffix}_WITH_NON_ZERO_CODE"
    details = {
        "ErrorCode": f"BOOTSTRAP_FAILURE_{cause}",
        "ErrorMessage": message,
        "ErrorData": [
            {"instance-id": error.node.ec2_id, "bootstrap-action": str(error.number)},
            {"exit-code": str(error.exit_code)},
        ],
    }
    return Termination(
        code="BOOTSTRAP_FAILURE",
        message=f"{message} (local)",
        state=model.TERMINATED_WITH_ERRORS,
        details=(details,),
    )


def instance_failure(node: EmulatedNode, reason: str) -> Termination:
    """Return the reason for the termination of a cluster without primaries or workers."""
    cause, what = "NO_SLAVE_LEFT", "All slaves in the job flow were terminated"
    if node.primary:
        cause, what = "MASTER_FAILED", f"The master node {node.ec2_id} failed"
    message = f"{what}: {reason}"
    details = {
        "ErrorCode": f"INSTANCE_FAILURE_{cause}",
        "ErrorMessage": message,
        "ErrorData": [{"instance-id": node.ec2_id}],
    }
    return Termination(
        code="INSTANCE_FAILURE",
        message=f"{message} (local)",
        state=model.TERMINATED_WITH_ERRORS,
        details=(details,),
    )
