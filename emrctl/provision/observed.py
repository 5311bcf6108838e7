"""What of a project's clusters stands, asked of AWS: their tags are the registry."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from emrctl.engine.failures import translated
from emrctl.errors import EmrctlError, NotFoundError
from emrctl.specs import ClusterSpec, ProjectSpec

if TYPE_CHECKING:
    from emrctl.target import Target

ENDED = ("TERMINATED", "TERMINATED_WITH_ERRORS")
ACTIVE = ("STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING")
EVENT_LOGS = "eventlogs/"
_ROLES = {"MASTER": "primary", "CORE": "core", "TASK": "task"}


@dataclass(frozen=True, kw_only=True)
class Node:
    """One instance of a cluster; `id` is EC2's."""

    id: str
    role: str
    type: str
    state: str
    private_dns: str
    public_dns: str


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A cluster as AWS has it now; `spec` is the project's, with what was observed in it.

    `urls` are the addresses of the YARN, Spark and history pages. `reason` says why it ended.
    """

    name: str
    stack: str
    id: str
    arn: str
    state: str
    spec: ClusterSpec
    bucket: str
    created: str
    reason: str = ""
    primary_dns: str = ""
    log_uri: str = ""
    event_log_uri: str = ""
    nodes: tuple[Node, ...] = ()
    urls: Mapping[str, str] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether it is no more; `up` makes a new one."""
        return self.state in ENDED

    @property
    def hourly_usd(self) -> float:
        """What its instances cost an hour on AWS, EMR's fee included."""
        return 0.0 if self.ended else self.spec.hourly_usd


def list_clusters(
    project: ProjectSpec, target: Target, *, ended: bool = False
) -> tuple[Cluster, ...]:
    """The project's clusters, newest first; with `ended` also those that are no more."""
    states = ACTIVE + ("TERMINATING",) + (ENDED if ended else ())
    with translated("listing clusters"):
        return tuple(_observed(project, target, item) for item in _ours(project, target, states))


def find_cluster(project: ProjectSpec, target: Target, name: str | None = None) -> Cluster:
    """The running cluster called `name`, by default the spec's; `NotFoundError` names others."""
    stack = project.with_cluster(name).cluster_stack
    with translated("listing clusters"):
        found = list(_ours(project, target, ACTIVE))
        for item in found:
            if item["Name"] == stack:
                return _observed(project, target, item)
    names = [_short(project, item["Name"]) for item in found]
    wanted = name or project.cluster.name
    hint = f"Running: {', '.join(names)}." if names else "Bring it up with `emrctl up`."
    raise NotFoundError(f"no cluster '{wanted}' of {project.project} runs", hint=hint)


def show(project: ProjectSpec, target: Target, name: str | None = None) -> Cluster:
    """The cluster called `name`: the running one, else the last that ended, with its reason."""
    try:
        return find_cluster(project, target, name)
    except NotFoundError:
        wanted = name or project.cluster.name
        for cluster in list_clusters(project, target, ended=True):
            if cluster.name == wanted:
                return cluster
        raise


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
            tags = {tag["Key"]: tag["Value"] for tag in found.get("Tags", [])}
            if tags.get("emrctl:project") == project.project:
                yield found


def _short(project: ProjectSpec, stack: str) -> str:
    return stack.removeprefix(f"{project.project}-")


def _observed(project: ProjectSpec, target: Target, found: dict[str, Any]) -> Cluster:
    name, state = _short(project, found["Name"]), found["Status"]["State"]
    groups = _groups(target, found)
    log_uri = re.sub(r"^s3n:", "s3:", found.get("LogUri") or "")
    bucket = log_uri.removeprefix("s3://").partition("/")[0]
    dns = found.get("MasterPublicDnsName") or ""
    return Cluster(
        name=name,
        stack=found["Name"],
        id=found["Id"],
        arn=found.get("ClusterArn", ""),
        state=state,
        reason=_reason(found),
        spec=_spec(project.with_cluster(name).cluster, found["ReleaseLabel"], groups),
        bucket=bucket,
        created=str(found["Status"].get("Timeline", {}).get("CreationDateTime", "")),
        primary_dns=dns,
        log_uri=log_uri,
        event_log_uri=f"s3://{bucket}/{EVENT_LOGS}",
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


def _spec(wanted: ClusterSpec, release: str, groups: list[dict[str, Any]]) -> ClusterSpec:
    """The spec with the release, types and counts that the cluster really has."""
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
