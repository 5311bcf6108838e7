"""EMR's clusters of a project: their tags are the registry."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from emrctl.aws.listing import tags
from emrctl.aws.s3 import EVENT_LOG_PREFIX
from emrctl.clusters.model import ENDED, Cluster, Node
from emrctl.errors import EmrctlError
from emrctl.spec import AnyClusterSpec, ClusterSpec, ProjectSpec

if TYPE_CHECKING:
    from emrctl.aws.target import Target

ACTIVE = ("STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING")
_ROLES = {"MASTER": "primary", "CORE": "core", "TASK": "task"}


def clusters(
    project: ProjectSpec, target: Target, *, leaving: bool = False, ended: bool = False
) -> Iterator[Cluster]:
    """Those that are at work, newest first; with `leaving` and `ended` also the others."""
    states = ACTIVE + (("TERMINATING",) if leaving else ()) + (ENDED if ended else ())
    return (_observed(project, target, item) for item in _ours(project, target, states))


def _ours(
    project: ProjectSpec, target: Target, states: tuple[str, ...]
) -> Iterator[dict[str, Any]]:
    """EMR's description of every cluster with the project's tag, in EMR's order: newest first."""
    emr = target.client("emr")
    for page in emr.get_paginator("list_clusters").paginate(ClusterStates=list(states)):
        for item in page["Clusters"]:
            if not item["Name"].startswith(f"{project.project}-"):
                continue
            found: dict[str, Any] = emr.describe_cluster(ClusterId=item["Id"])["Cluster"]
            if tags(found).get("emrctl:project") == project.project:
                yield found


def _observed(project: ProjectSpec, target: Target, found: dict[str, Any]) -> Cluster:
    name, state = found["Name"].removeprefix(f"{project.project}-"), found["Status"]["State"]
    groups = _groups(target, found)
    wanted = project.with_cluster(name).cluster
    log_uri = re.sub(r"^s3n:", "s3:", found.get("LogUri") or "")
    bucket = log_uri.removeprefix("s3://").partition("/")[0]
    dns = found.get("MasterPublicDnsName") or ""
    spec = _spec(wanted, found["ReleaseLabel"], groups)
    return Cluster(
        name=name,
        stack=found["Name"],
        id=found["Id"],
        arn=found.get("ClusterArn", ""),
        state=state,
        reason=_reason(found),
        spec=spec,
        region=project.region,
        bucket=bucket,
        created=str(found["Status"].get("Timeline", {}).get("CreationDateTime", "")),
        primary_dns=dns,
        log_uri=log_uri,
        event_log_uri=f"s3://{bucket}/{EVENT_LOG_PREFIX}",
        nodes=() if state in ENDED else _nodes(target, found["Id"], groups),
        urls={} if state in ENDED else _urls(target, found["Id"], dns),
    )


def _groups(target: Target, found: dict[str, Any]) -> list[dict[str, Any]]:
    """The cluster's groups; fleets in the form of groups, but with neither one type nor a count."""
    emr, id_ = target.client("emr"), found["Id"]
    if found.get("InstanceCollectionType") != "INSTANCE_FLEET":
        groups: list[dict[str, Any]] = emr.list_instance_groups(ClusterId=id_)["InstanceGroups"]
        return groups
    fleets = emr.list_instance_fleets(ClusterId=id_)["InstanceFleets"]
    return [{"Id": item["Id"], "InstanceGroupType": item["InstanceFleetType"]} for item in fleets]


def _reason(found: dict[str, Any]) -> str:
    reason = found["Status"].get("StateChangeReason", {})
    words = (reason.get("Code", ""), reason.get("Message", ""))
    return ": ".join(word for word in words if word)


def _spec(wanted: AnyClusterSpec, release: str, groups: list[dict[str, Any]]) -> ClusterSpec:
    """The spec with the release, types and counts that the cluster really has.

    The project may be about clusters of another kind by now: then EMR's defaults stand in.
    """
    if not isinstance(wanted, ClusterSpec):
        wanted = ClusterSpec(name=wanted.name, tags=wanted.tags)
    seen: dict[str, Any] = {"release": release}
    for group in groups:
        role = _ROLES[group["InstanceGroupType"]]
        if role in {"primary", "core"} and "InstanceType" in group:
            real = {"type": group["InstanceType"], "count": group["RequestedInstanceCount"]}
            seen[role] = getattr(wanted, role).model_copy(update=real)
    return wanted.model_copy(update=seen)


def _nodes(target: Target, id_: str, groups: list[dict[str, Any]]) -> tuple[Node, ...]:
    roles = {group["Id"]: _ROLES[group["InstanceGroupType"]] for group in groups}
    pages = target.client("emr").get_paginator("list_instances").paginate(ClusterId=id_)
    nodes = [_node(item, roles) for page in pages for item in page["Instances"]]
    living = [node for node in nodes if node.state != "TERMINATED"]
    return tuple(sorted(living, key=lambda node: (node.role != "primary", node.id)))


def _node(item: dict[str, Any], roles: Mapping[str, str]) -> Node:
    return Node(
        id=item["Ec2InstanceId"],
        role=roles.get(str(item.get("InstanceGroupId") or item.get("InstanceFleetId")), "task"),
        type=item.get("InstanceType", ""),
        state=item["Status"]["State"],
        private_dns=item.get("PrivateDnsName", ""),
        public_dns=item.get("PublicDnsName", ""),
        private_ip=item.get("PrivateIpAddress", ""),
        public_ip=item.get("PublicIpAddress", ""),
    )


def _urls(target: Target, id_: str, dns: str) -> dict[str, str]:
    """Where the pages are: on AWS the primary's ports, on localhost what the emulator says."""
    if target.endpoint is None:
        ports = {"yarn": 8088, "spark": 20888, "history": 18080}
        return {name: f"http://{dns}:{port}" for name, port in ports.items()} if dns else {}
    try:
        clusters = target.fetch(f"{target.endpoint}/emrctl/status")["clusters"]
    except (OSError, ValueError, KeyError, EmrctlError):
        return {}  # the cluster can be shown without its pages
    return next((dict(item.get("urls", {})) for item in clusters if item["id"] == id_), {})
