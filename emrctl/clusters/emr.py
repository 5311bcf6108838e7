"""EMR clusters of a project, found by their tags, and why one of them failed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from emrctl.aws import error_codes, instance_types
from emrctl.aws.errors import translated
from emrctl.aws.listing import EMR_ACTIVE, EMR_TERMINATED, EMR_TERMINATING, tags
from emrctl.aws.s3 import EVENT_LOG_PREFIX
from emrctl.aws.target import Target
from emrctl.clusters.instance_groups import ROLES, observed_spec, role_of
from emrctl.clusters.model import Cluster, Node
from emrctl.spec import ClusterSpec, ProjectSpec
from emrctl.spec.project import as_kind

PAGE_PORTS = {"yarn": 8088, "spark": 20888, "history": 18080}
# Operations of boto3's paginators, and the key of their responses.
_GROUPS = ("list_instance_groups", "InstanceGroups")
_FLEETS = ("list_instance_fleets", "InstanceFleets")


def list_clusters(
    project: ProjectSpec, target: Target, *, terminating: bool = False, ended: bool = False
) -> Iterator[Cluster]:
    """Yield active clusters, newest first; optionally also terminating and terminated ones."""
    states = [*EMR_ACTIVE, *((EMR_TERMINATING,) if terminating else ())]
    states += EMR_TERMINATED if ended else ()
    emr = target.client("emr")
    for page in emr.get_paginator("list_clusters").paginate(ClusterStates=states):
        for item in page["Clusters"]:
            if not item["Name"].startswith(f"{project.project}-"):
                continue
            description = emr.describe_cluster(ClusterId=item["Id"])["Cluster"]
            if tags(description).get("emrctl:project") == project.project:
                yield _to_cluster(project, target, description)


def allow_termination(project: ProjectSpec, target: Target) -> None:
    """Turn off termination protection if EMR turned it on against the spec.

    It does for three primaries, whatever a request says.
    """
    spec = project.emr
    if spec.primary_group.count == 1 or spec.termination_protection:
        return
    emr = target.client("emr")
    for cluster in list_clusters(project, target):
        if cluster.stack == project.cluster_stack:
            emr.set_termination_protection(JobFlowIds=[cluster.id], TerminationProtected=False)


def _to_cluster(project: ProjectSpec, target: Target, description: dict[str, Any]) -> Cluster:
    name = description["Name"].removeprefix(f"{project.project}-")
    id_, state = description["Id"], description["Status"]["State"]
    groups = _groups(target, description)
    spec = as_kind(project.with_cluster(name).cluster, ClusterSpec)
    log_uri = re.sub(r"^s3n:", "s3:", description.get("LogUri") or "")
    bucket = log_uri.removeprefix("s3://").partition("/")[0]
    dns = description.get("MasterPublicDnsName") or ""
    return Cluster(
        name=name,
        stack=description["Name"],
        id=id_,
        arn=description.get("ClusterArn", ""),
        state=state,
        reason=_reason(description),
        spec=observed_spec(spec, description["ReleaseLabel"], groups),
        region=project.region,
        bucket=bucket,
        created=str(description["Status"].get("Timeline", {}).get("CreationDateTime", "")),
        primary_dns=dns,
        log_uri=log_uri,
        event_log_uri=f"s3://{bucket}/{EVENT_LOG_PREFIX}",
        nodes=() if state in EMR_TERMINATED else _nodes(target, id_, groups),
        urls={} if state in EMR_TERMINATED else _urls(target, id_, dns),
    )


def _groups(target: Target, description: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the instance groups or the instance fleets."""
    emr, id_ = target.client("emr"), description["Id"]
    fleets = description.get("InstanceCollectionType") == "INSTANCE_FLEET"
    operation, key = _FLEETS if fleets else _GROUPS
    return [
        item for page in emr.get_paginator(operation).paginate(ClusterId=id_) for item in page[key]
    ]


def _reason(description: dict[str, Any]) -> str:
    reason = description["Status"].get("StateChangeReason", {})
    return ": ".join(part for part in (reason.get("Code"), reason.get("Message")) if part)


def _nodes(target: Target, id_: str, groups: list[dict[str, Any]]) -> tuple[Node, ...]:
    roles = {group["Id"]: role_of(group) for group in groups}
    pages = target.client("emr").get_paginator("list_instances").paginate(ClusterId=id_)
    nodes = [_node(item, roles) for page in pages for item in page["Instances"]]
    existing = [node for node in nodes if node.state not in EMR_TERMINATED]
    return tuple(sorted(existing, key=lambda node: (ROLES.index(node.role), node.id)))


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
        spot=item.get("Market") == "SPOT",
    )


def _urls(target: Target, id_: str, dns: str) -> dict[str, str]:
    """Return the URLs of the pages: ports of the primary, or those that the emulator reports."""
    urls = target.emulator_urls(id_)
    if urls is not None or not dns:
        return urls or {}
    return {page: f"http://{dns}:{port}" for page, port in PAGE_PORTS.items()}


# --- failures -------------------------------------------------------------------------------------

_RECENT = timedelta(hours=2)
_SUGGESTIONS = 3
_NO_CAPACITY = ("CAPACITY", "NOT_SUPPORTED", "out of capacity", "not supported")
_REQUESTED = {"", "USER_REQUEST", "ALL_STEPS_COMPLETED"}


@dataclass(frozen=True, kw_only=True)
class ClusterFailure:
    """EMR's code and message, what they mean (empty if unknown) and what to do."""

    code: str
    message: str
    cause: str
    hint: str

    def __str__(self) -> str:
        """Return the cause and EMR's message in one line."""
        answer = ": ".join(part for part in (self.code, self.message) if part)
        return f"{self.cause} ({answer})" if self.cause and answer else self.cause or answer


def recent_failure(project: ProjectSpec, target: Target) -> ClusterFailure | None:
    """Return why the newest cluster of the stack failed, if that was in the last two hours."""
    emr = target.client("emr")
    with translated("reading why the cluster terminated"):
        answer = emr.list_clusters(
            ClusterStates=["TERMINATED_WITH_ERRORS"], CreatedAfter=datetime.now(UTC) - _RECENT
        )
        for item in answer["Clusters"]:
            if item["Name"] == project.cluster_stack:
                description = emr.describe_cluster(ClusterId=item["Id"])["Cluster"]
                return find_failure(description["Status"])
    return None


def find_failure(status: Mapping[str, Any]) -> ClusterFailure | None:
    """Return the failure in `Status` of DescribeCluster; None if running or ended on request."""
    reason = status.get("StateChangeReason", {})
    code, message = str(reason.get("Code", "")), str(reason.get("Message", ""))
    details = list(status.get("ErrorDetails", ()))
    if code in _REQUESTED and not details:
        return None
    if details:
        code = str(details[0].get("ErrorCode") or code)
        message = str(details[0].get("ErrorMessage") or message)
    known = error_codes.cluster_failure(code) or error_codes.cluster_failure(message)
    cause, hint = known or ("", "Run `emrctl up` again to create a new cluster.")
    hint = _with_alternatives(hint, code, message, details)
    return ClusterFailure(code=code, message=message, cause=cause, hint=hint)


def _with_alternatives(hint: str, code: str, message: str, details: list[dict[str, Any]]) -> str:
    """Return the hint, with alternatives to an instance type that has no capacity."""
    facts = {
        key: value
        for detail in details
        for data in detail.get("ErrorData", ())
        for key, value in data.items()
    }
    name = str(facts.get("instance-type", "")) or _type_in(message)
    no_capacity = any(word in code + message for word in _NO_CAPACITY)
    if name not in instance_types.INSTANCE_TYPES or not no_capacity:
        return hint
    zone = facts.get("availability-zone")
    where = f"{name} in {zone}" if zone else name
    return f"{hint} Alternatives to {where}: {', '.join(alternatives(name))}."


def _type_in(message: str) -> str:
    words = (word.strip(".,'\"()[]") for word in message.split())
    return next((word for word in words if word in instance_types.INSTANCE_TYPES), "")


def alternatives(name: str) -> tuple[str, ...]:
    """Return types of other families with as many cores and no less memory, cheapest first."""
    family = instance_types.instance_type(name).family
    prices = instance_types.shipped()["regions"][instance_types.PRICES_REGION]["ec2"]
    fitting = [
        item
        for item in instance_types.no_smaller(name)
        if item.family != family and item.name in prices
    ]
    fitting.sort(key=lambda item: item.ec2_usd)
    return tuple(item.name for item in fitting[:_SUGGESTIONS])
