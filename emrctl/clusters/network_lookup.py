"""Subnets and VPCs that exist already, looked up by the tags that the spec gives for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emrctl.errors import NotFoundError, SpecError
from emrctl.spec import NetworkSpec, ProjectSpec

if TYPE_CHECKING:
    from emrctl.aws.target import Target


def resolved(project: ProjectSpec, target: Target) -> ProjectSpec:
    """The project with ids in place of the network's tags; itself where there is nothing to find.

    `NotFoundError` where nothing carries the tags, `SpecError` where more does than can be used.
    """
    network = project.cluster.network
    if not network.existing or _known(network):
        return project
    found = _subnets(network, target)
    vpcs = sorted({str(item["VpcId"]) for item in found})
    if len(vpcs) > 1:
        hint = "Give network.vpc as well, or the ids of network.subnets."
        raise SpecError(f"network.subnets lie in several VPCs: {', '.join(vpcs)}", hint=hint)
    # Sorted: the same subnets in the same order, whatever order AWS names them in.
    ids = tuple(sorted(str(item["SubnetId"]) for item in found))
    if len(ids) > 1 and project.cluster.one_subnet:
        msg = f"network.subnets are {len(ids)} subnets ({', '.join(ids)}), and nodes stand in one"
        fleets = ", or fleets, which take any of several" if project.cluster.kind == "emr" else ""
        raise SpecError(msg, hint=f"Give one of the ids{fleets}.")
    place = network.model_copy(update={"subnets": ids, "vpc": vpcs[0]})
    cluster = project.cluster.model_copy(update={"network": place})
    return project.model_copy(update={"cluster": cluster})


def _known(network: NetworkSpec) -> bool:
    return isinstance(network.vpc, str) and isinstance(network.subnets, tuple)


def _subnets(network: NetworkSpec, target: Target) -> list[dict[str, Any]]:
    ec2, wanted = target.client("ec2"), _asked(network)
    if isinstance(network.vpc, dict):
        vpcs = ec2.describe_vpcs(Filters=_tagged(network.vpc))["Vpcs"]
        if not vpcs:
            raise _nothing("VPC", network.vpc, target)
        wanted["Filters"].append({"Name": "vpc-id", "Values": [item["VpcId"] for item in vpcs]})
    elif network.vpc is not None:
        wanted["Filters"].append({"Name": "vpc-id", "Values": [network.vpc]})
    pages = ec2.get_paginator("describe_subnets").paginate(**wanted)
    found = [item for page in pages for item in page["Subnets"]]
    if not found:
        raise _nothing("subnet", network.subnets, target)
    return found


def _asked(network: NetworkSpec) -> dict[str, Any]:
    if isinstance(network.subnets, tuple):
        return {"Filters": [{"Name": "subnet-id", "Values": list(network.subnets)}]}
    return {"Filters": _tagged(network.subnets)}


def _tagged(tags: dict[str, str]) -> list[dict[str, Any]]:
    return [{"Name": f"tag:{key}", "Values": [value]} for key, value in sorted(tags.items())]


def _nothing(what: str, wanted: Any, target: Target) -> NotFoundError:
    marks = wanted if isinstance(wanted, tuple) else [f"{k}={v}" for k, v in wanted.items()]
    msg = f"no {what} in {target.region} is or carries {', '.join(marks)}"
    hint = "Look at network.vpc and network.subnets, and at the region."
    return NotFoundError(msg, hint=hint)
