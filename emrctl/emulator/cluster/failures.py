"""Clusters that fail to start: the reasons that EMR reports, and faults that cause them."""

from __future__ import annotations

from emrctl.emulator.cluster import model, s3_files
from emrctl.emulator.cluster.model import BootstrapFailedError, EmulatedCluster, Termination
from emrctl.emulator.faults import INSUFFICIENT_CAPACITY, BootstrapFailure, Capacity, Faults


class NoCapacityError(Exception):
    """EC2 cannot launch instances of a type."""

    def __init__(self, code: str, instance_type: str, message: str) -> None:
        """Store EMR's error code, the type and EMR's message."""
        super().__init__(message)
        self.code = code
        self.instance_type = instance_type
        self.message = message

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


_DOCUMENTATION = "https://docs.aws.amazon.com/emr/latest/ManagementGuide"


def check_capacity(faults: Faults, instance_type: str) -> None:
    """Raise `NoCapacityError` if a fault is active for the next launch of instances."""
    fault = faults.take(Capacity)
    if fault is None:
        return
    if fault.reason == INSUFFICIENT_CAPACITY:
        code = "INTERNAL_ERROR_EC2_INSUFFICIENT_CAPACITY_AZ"
        message = f"EC2 is out of capacity for {instance_type}."
    else:
        code = "VALIDATION_ERROR_INSTANCE_TYPE_NOT_SUPPORTED"
        message = (
            f"The requested instance type {instance_type} is not supported in the requested "
            "Availability Zone."
        )
    raise NoCapacityError(code, instance_type, message)


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
