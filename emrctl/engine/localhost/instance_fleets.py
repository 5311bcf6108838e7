"""Instance fleets of EMR clusters: their form in requests, and task fleets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from emrctl.aws.errors import RejectedRequestError, get_or_none
from emrctl.engine.localhost import instance_groups
from emrctl.engine.localhost.resource_type import Aws, Inputs, Outputs, ResourceType, pascal

_TARGETS = ("targetOnDemandCapacity", "targetSpotCapacity")
INPUTS = ("instanceTypeConfigs", "launchSpecifications", "name", *_TARGETS)
_TYPES = ("instanceType", "weightedCapacity", "bidPrice", "bidPriceAsPercentageOfOnDemandPrice")
_ONLY_ONE = "a cluster has one task fleet, which EMR can resize, but neither delete nor replace"
_HINT = "Create a new cluster: `emrctl down`, then `emrctl up`."


def fleet_request(role: str, inputs: Inputs) -> dict[str, Any]:
    """Return a fleet in the form of RunJobFlow and AddInstanceFleet.

    As with Pulumi's provider, a bid of 0 % is omitted.
    """
    launch = inputs.get("launchSpecifications") or {}
    specifications = {
        name: pascal(launch[f"{key}Specifications"][0])
        for name, key in (("OnDemandSpecification", "onDemand"), ("SpotSpecification", "spot"))
        if launch.get(f"{key}Specifications")
    }
    return {
        "Name": inputs.get("name", role.lower()),
        "InstanceFleetType": role,
        "InstanceTypeConfigs": [_type_request(item) for item in inputs["instanceTypeConfigs"]],
        **pascal({name: inputs.get(name, 0) for name in _TARGETS}),
        **({"LaunchSpecifications": specifications} if specifications else {}),
    }


def _type_request(inputs: Mapping[str, Any]) -> dict[str, Any]:
    request: dict[str, Any] = pascal({key: inputs[key] for key in _TYPES if inputs.get(key)})
    return request | instance_groups.volumes_request(inputs)


class _TaskFleet(ResourceType):
    """A task fleet. EMR cannot delete fleets: it is resized to no capacity, as by the provider."""

    def create(self, aws: Aws, inputs: Inputs) -> str:
        existing = [
            fleet["Id"]
            for fleet in _fleets(aws, inputs["clusterId"])
            if fleet["InstanceFleetType"] == "TASK"
        ]
        if existing:
            msg = f"cluster {inputs['clusterId']} has the task fleet {existing[0]} already"
            raise RejectedRequestError(f"{msg}: {_ONLY_ONE}", hint=_HINT)
        response = aws.client("emr").add_instance_fleet(
            ClusterId=inputs["clusterId"], InstanceFleet=fleet_request("TASK", inputs)
        )
        return str(response["InstanceFleetId"])

    def find(self, aws: Aws, inputs: Inputs) -> str | None:
        """Return the id of the cluster's task fleet if it has capacity."""
        for fleet in _fleets(aws, inputs["clusterId"]):
            if fleet["InstanceFleetType"] == "TASK" and _capacity(fleet):
                return None if _is_gone(fleet) else str(fleet["Id"])
        return None

    def settle(self, aws: Aws, id_: str, inputs: Inputs) -> None:
        """Wait until the fleet is RUNNING; raise `ProvisioningError` if it cannot be."""
        while True:
            fleet = self._fleet(aws, id_, inputs) or {"Status": {"State": "TERMINATED"}}
            if fleet["Status"]["State"] == "RUNNING":
                return
            what = f"the task fleet of {inputs['clusterId']} with {_capacity(fleet)} units"
            instance_groups.check_changing(fleet["Status"], what, "fleets.task")
            aws.pause()

    def read(self, aws: Aws, id_: str, inputs: Inputs) -> Outputs | None:
        fleet = self._fleet(aws, id_, inputs)
        if fleet is None or _is_gone(fleet):
            return None
        names = ("provisionedOnDemandCapacity", "provisionedSpotCapacity")
        return {name: fleet[name[0].upper() + name[1:]] for name in names}

    def observe(self, aws: Aws, id_: str, inputs: Inputs) -> Outputs:
        fleet = self._fleet(aws, id_, inputs) or {}
        return {name: fleet.get(name[0].upper() + name[1:], 0) for name in _TARGETS}

    def update(self, aws: Aws, id_: str, inputs: Inputs, keys: frozenset[str]) -> None:
        if keys:
            _resize(aws, inputs, {"InstanceFleetId": id_, **_targets(inputs)})

    def delete(self, aws: Aws, id_: str, inputs: Inputs) -> None:
        if self.read(aws, id_, inputs) is not None:
            _resize(aws, inputs, {"InstanceFleetId": id_, **_targets({})})

    def _fleet(self, aws: Aws, id_: str, inputs: Inputs) -> dict[str, Any] | None:
        return next((item for item in _fleets(aws, inputs["clusterId"]) if item["Id"] == id_), None)


def _targets(inputs: Inputs) -> dict[str, Any]:
    targets: dict[str, Any] = pascal({name: inputs.get(name, 0) for name in _TARGETS})
    return targets


def _resize(aws: Aws, inputs: Inputs, change: Mapping[str, Any]) -> None:
    aws.client("emr").modify_instance_fleet(ClusterId=inputs["clusterId"], InstanceFleet=change)


def _fleets(aws: Aws, cluster_id: str) -> Iterator[dict[str, Any]]:
    """Yield the cluster's fleets; none if it has groups or does not exist."""
    pages = aws.client("emr").get_paginator("list_instance_fleets")
    found = get_or_none(
        lambda: [
            item for page in pages.paginate(ClusterId=cluster_id) for item in page["InstanceFleets"]
        ],
        instance_groups.UNKNOWN,
    )
    yield from found or ()


def _capacity(fleet: Mapping[str, Any]) -> int:
    return int(fleet.get("TargetOnDemandCapacity", 0) + fleet.get("TargetSpotCapacity", 0))


def _is_gone(fleet: Mapping[str, Any]) -> bool:
    return fleet["Status"]["State"] in instance_groups.GONE


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:emr/instanceFleet:InstanceFleet": _TaskFleet(
        can_terminate=True,
        updates=frozenset(_TARGETS),
        replaces=frozenset({"clusterId", "instanceTypeConfigs", "launchSpecifications", "name"}),
        parent="clusterId",
        only_one=(_ONLY_ONE, _HINT),
    ),
}
