"""Look up existing subnets and VPCs by the tags in the spec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emrctl.errors import NotFoundError, SpecError
from emrctl.spec import NetworkSpec, ProjectSpec

if TYPE_CHECKING:
    from emrctl.aws.target import Target


def resolve_network(project: ProjectSpec, target: Target) -> ProjectSpec:
    """Return the project with the network's tags replaced by ids.

    `NotFoundError` if nothing has the tags, `SpecError` if the subnets cannot be used together.
    """
    network = project.cluster.network
    if not network.existing or _has_ids(network):
        return project
    subnets = _subnets(network, target)
    vpcs = sorted({str(item["VpcId"]) for item in subnets})
    if len(vpcs) > 1:
        hint = "Set network.vpc, or list the ids in network.subnets."
        raise SpecError(f"network.subnets are in several VPCs: {', '.join(vpcs)}", hint=hint)
    # Sorted, because AWS returns subnets in any order, and the program must not change with it.
    ids = tuple(sorted(str(item["SubnetId"]) for item in subnets))
    if len(ids) > 1 and project.cluster.one_subnet:
        msg = f"network.subnets match {len(ids)} subnets ({', '.join(ids)}), but nodes need one"
        raise SpecError(msg, hint=f"Set network.subnets to one of them{_or_fleets(project)}.")
    network = network.model_copy(update={"subnets": ids, "vpc": vpcs[0]})
    cluster = project.cluster.model_copy(update={"network": network})
    return project.model_copy(update={"cluster": cluster})


def _or_fleets(project: ProjectSpec) -> str:
    has_fleets = "fleets" in type(project.cluster).model_fields
    return ", or use fleets, which take several subnets" if has_fleets else ""


def _has_ids(network: NetworkSpec) -> bool:
    return isinstance(network.vpc, str) and isinstance(network.subnets, tuple)


def _subnets(network: NetworkSpec, target: Target) -> list[dict[str, Any]]:
    ec2 = target.client("ec2")
    if isinstance(network.subnets, tuple):
        filters = [{"Name": "subnet-id", "Values": list(network.subnets)}]
    else:
        filters = _tag_filters(network.subnets)
    if isinstance(network.vpc, dict):
        vpcs = ec2.describe_vpcs(Filters=_tag_filters(network.vpc))["Vpcs"]
        if not vpcs:
            raise _not_found("VPC", network.vpc, target)
        filters.append({"Name": "vpc-id", "Values": [item["VpcId"] for item in vpcs]})
    elif network.vpc is not None:
        filters.append({"Name": "vpc-id", "Values": [network.vpc]})
    pages = ec2.get_paginator("describe_subnets").paginate(Filters=filters)
    subnets = [item for page in pages for item in page["Subnets"]]
    if not subnets:
        raise _not_found("subnet", network.subnets, target)
    return subnets


def _tag_filters(tags: dict[str, str]) -> list[dict[str, Any]]:
    return [{"Name": f"tag:{key}", "Values": [value]} for key, value in sorted(tags.items())]


def _not_found(resource: str, query: Any, target: Target) -> NotFoundError:
    names = query if isinstance(query, tuple) else [f"{k}={v}" for k, v in query.items()]
    msg = f"no {resource} in {target.region} has the id or tags {', '.join(names)}"
    return NotFoundError(msg, hint="Check network.vpc, network.subnets and the region.")
