"""Instance groups of EMR clusters: their form in requests, resizing, and task groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from emrctl.aws.errors import get_or_none
from emrctl.aws.listing import EMR_TERMINATED, EMR_TERMINATING
from emrctl.engine.localhost.resource_type import Aws, Inputs, Outputs, ResourceType
from emrctl.errors import ProvisioningError

_CHANGING = ("PROVISIONING", "BOOTSTRAPPING", "RECONFIGURING", "RESIZING")
GONE = (EMR_TERMINATING, *EMR_TERMINATED)
UNKNOWN = "InvalidRequestException"


def group_request(role: str, inputs: Inputs) -> dict[str, Any]:
    """Return a group in the form of RunJobFlow and AddInstanceGroups.

    As with Pulumi's provider, a bid makes its instances spot instances.
    """
    bid = inputs.get("bidPrice")
    return {
        "Name": inputs.get("name", role.lower()),
        "InstanceRole": role,
        "InstanceType": inputs["instanceType"],
        "InstanceCount": inputs.get("instanceCount", 1),
        "Market": "SPOT" if bid else "ON_DEMAND",
        **({"BidPrice": bid} if bid else {}),
        **volumes_request(inputs),
    }


def volumes_request(inputs: Inputs) -> dict[str, Any]:
    """Return EbsConfiguration with the volumes of each instance; empty without any."""
    disks = [
        {
            "VolumeSpecification": {"VolumeType": disk["type"], "SizeInGB": disk["size"]},
            "VolumesPerInstance": disk.get("volumesPerInstance", 1),
        }
        for disk in inputs.get("ebsConfigs", [])
    ]
    return {"EbsConfiguration": {"EbsBlockDeviceConfigs": disks}} if disks else {}


def find_group(aws: Aws, cluster_id: str, role: str) -> dict[str, Any]:
    """Return the only group of the cluster with that role."""
    return next(item for item in _groups(aws, cluster_id) if item["InstanceGroupType"] == role)


def resize_group(aws: Aws, cluster_id: str, group_id: str, count: int) -> None:
    """Request `count` instances and wait until they are running."""
    change = {"InstanceGroupId": group_id, "InstanceCount": count}
    aws.client("emr").modify_instance_groups(ClusterId=cluster_id, InstanceGroups=[change])
    wait_for_group(aws, cluster_id, group_id)


def wait_for_group(aws: Aws, cluster_id: str, group_id: str) -> None:
    """Wait until the group is RUNNING; raise `ProvisioningError` if it cannot be."""
    while True:
        group = next(item for item in _groups(aws, cluster_id) if item["Id"] == group_id)
        if group["Status"]["State"] == "RUNNING":
            return
        role, count = group["InstanceGroupType"].lower(), group["RequestedInstanceCount"]
        what = f"the {role} group '{group['Name']}' of {cluster_id} with {count} nodes"
        check_changing(group["Status"], what, role)
        aws.pause()


def check_changing(status: Mapping[str, Any], what: str, key: str) -> None:
    """Raise `ProvisioningError` unless a group or fleet in that status can become RUNNING.

    `key` is the key of the spec below `cluster`.
    """
    if status["State"] not in _CHANGING:
        why = status.get("StateChangeReason", {}).get("Message", "")
        msg = f"{what} is {status['State']}"
        hint = f"Change cluster.{key} in emrctl.yaml, then run `emrctl up`."
        raise ProvisioningError(f"{msg}: {why}" if why else msg, hint=hint)


def _groups(aws: Aws, cluster_id: str) -> Iterator[dict[str, Any]]:
    for page in (
        aws.client("emr").get_paginator("list_instance_groups").paginate(ClusterId=cluster_id)
    ):
        yield from page["InstanceGroups"]


class _TaskGroup(ResourceType):
    """A task group. EMR cannot delete groups: it is resized to no instance, as by the provider."""

    def create(self, aws: Aws, inputs: Inputs) -> str:
        response = aws.client("emr").add_instance_groups(
            JobFlowId=inputs["clusterId"], InstanceGroups=[group_request("TASK", inputs)]
        )
        return str(response["InstanceGroupIds"][0])

    def find(self, aws: Aws, inputs: Inputs) -> str | None:
        """Return the id of the newest active group of that name that has instances."""
        ids = [
            str(item["Id"])
            for item in self._groups(aws, inputs)
            if item["InstanceGroupType"] == "TASK"
            and item["Name"] == inputs["name"]
            and item["RequestedInstanceCount"]
            and item["Status"]["State"] not in GONE
        ]
        return ids[-1] if ids else None

    def settle(self, aws: Aws, id_: str, inputs: Inputs) -> None:
        wait_for_group(aws, inputs["clusterId"], id_)

    def read(self, aws: Aws, id_: str, inputs: Inputs) -> Outputs | None:
        group = self._group(aws, id_, inputs)
        if group is None or group["Status"]["State"] in GONE:
            return None
        return {
            "runningInstanceCount": group["RunningInstanceCount"],
            "status": group["Status"]["State"],
        }

    def observe(self, aws: Aws, id_: str, inputs: Inputs) -> Outputs:
        group = self._group(aws, id_, inputs) or {}
        return {"instanceCount": group.get("RequestedInstanceCount", 0)}

    def update(self, aws: Aws, id_: str, inputs: Inputs, keys: frozenset[str]) -> None:
        if keys:
            resize_group(aws, inputs["clusterId"], id_, int(inputs["instanceCount"]))

    def delete(self, aws: Aws, id_: str, inputs: Inputs) -> None:
        if self.read(aws, id_, inputs) is not None:
            change = {"InstanceGroupId": id_, "InstanceCount": 0}
            aws.client("emr").modify_instance_groups(InstanceGroups=[change])

    def _group(self, aws: Aws, id_: str, inputs: Inputs) -> dict[str, Any] | None:
        return next((item for item in self._groups(aws, inputs) if item["Id"] == id_), None)

    def _groups(self, aws: Aws, inputs: Inputs) -> list[dict[str, Any]]:
        """Return the cluster's groups; none if it does not exist."""
        return get_or_none(lambda: [*_groups(aws, inputs["clusterId"])], UNKNOWN) or []


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:emr/instanceGroup:InstanceGroup": _TaskGroup(
        can_terminate=True,
        updates=frozenset({"instanceCount"}),
        replaces=frozenset({"bidPrice", "clusterId", "ebsConfigs", "instanceType", "name"}),
    ),
}
