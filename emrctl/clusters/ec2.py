"""A project's clusters of EC2 instances: the instances' tags are the registry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from emrctl.aws.listing import instances, tags
from emrctl.aws.s3 import EVENT_LOG_PREFIX, LOG_PREFIX
from emrctl.clusters.model import ENDED, Cluster, Node
from emrctl.spec import AnyClusterSpec, Ec2ClusterSpec, ProjectSpec
from emrctl.spec.ec2 import NOBODY

if TYPE_CHECKING:
    from emrctl.aws.target import Target

PAGES = {"master": 8080, "spark": 4040}
_STATES = {
    "pending": "STARTING",
    "running": "RUNNING",
    "stopping": "STOPPING",
    "stopped": "STOPPED",
    "shutting-down": "TERMINATING",
    "terminated": "TERMINATED",
}
_STANDING = ("pending", "running", "stopping", "stopped")

Described = dict[str, Any]


def clusters(
    project: ProjectSpec, target: Target, *, leaving: bool = False, ended: bool = False
) -> Iterator[Cluster]:
    """Those whose primary stands, newest first; with `leaving` and `ended` also the others."""
    states = _STANDING + (("shutting-down",) if leaving else ())
    states += ("terminated",) if ended else ()
    every = list(describe_instances(project, target, states))
    primaries = [item for item in every if tags(item).get("emrctl:role") == "primary"]
    for primary in sorted(primaries, key=lambda item: item["LaunchTime"], reverse=True):
        yield _observed(project, target, primary, every)


def describe_instances(
    project: ProjectSpec, target: Target, states: Sequence[str]
) -> Iterator[Described]:
    """EC2's description of the project's instances in these states."""
    filters = [
        {"Name": "tag:emrctl:project", "Values": [project.project]},
        {"Name": "tag-key", "Values": ["emrctl:role"]},
        {"Name": "instance-state-name", "Values": list(states)},
    ]
    return instances(target.client("ec2"), Filters=filters)


def _observed(
    project: ProjectSpec, target: Target, primary: Described, every: Sequence[Described]
) -> Cluster:
    marks = tags(primary)
    stack, bucket = marks.get("emrctl:stack", ""), marks.get("emrctl:bucket", "")
    name = stack.removeprefix(f"{project.project}-")
    state = _STATES[primary["State"]["Name"]]
    nodes = () if state in ENDED else _nodes(stack, primary, every)
    where = f"arn:aws:ec2:{target.region}:{primary['OwnerId']}"
    dns = _reached_at(primary)
    # On localhost a page is seen where it is served; on AWS its public name leads there.
    pages = dns if target.endpoint is None else primary.get("PrivateIpAddress", "") if dns else ""
    spec = _spec(project.with_cluster(name or None).cluster, primary, nodes)
    return Cluster(
        name=name,
        stack=stack,
        id=primary["InstanceId"],
        arn=f"{where}:instance/{primary['InstanceId']}",
        state=state,
        reason=_reason(primary),
        spec=spec,
        region=project.region,
        bucket=bucket,
        created=str(first_made(primary)),
        primary_dns=dns,
        log_uri=f"s3://{bucket}/{LOG_PREFIX}",
        event_log_uri=f"s3://{bucket}/{EVENT_LOG_PREFIX}",
        nodes=nodes,
        urls={page: f"http://{pages}:{port}" for page, port in PAGES.items()} if pages else {},
    )


def _nodes(stack: str, primary: Described, every: Sequence[Described]) -> tuple[Node, ...]:
    """The primary, then workers by their number; those of an earlier cluster are not among them."""
    workers = [
        item
        for item in every
        if tags(item).get("emrctl:stack") == stack
        and tags(item).get("emrctl:role") == "worker"
        and item["State"]["Name"] in _STANDING
    ]
    return tuple(node(item) for item in (primary, *sorted(workers, key=_number)))


def _number(item: Described) -> tuple[int, str]:
    digits = tags(item).get("emrctl:node", "").rpartition("-")[2]
    return (int(digits) if digits.isdigit() else 0, str(item["InstanceId"]))


def node(item: Described) -> Node:
    """An instance as a node, by its tags."""
    marks = tags(item)
    return Node(
        id=item["InstanceId"],
        role=marks["emrctl:role"],
        type=item["InstanceType"],
        state=str(item["State"]["Name"]).upper(),
        private_dns=item.get("PrivateDnsName", ""),
        public_dns=item.get("PublicDnsName", ""),
        private_ip=item.get("PrivateIpAddress", ""),
        public_ip=item.get("PublicIpAddress", ""),
        name=marks.get("emrctl:node", ""),
        session=marks.get("emrctl:ssh") == NOBODY,
    )


def _reached_at(primary: Described) -> str:
    """Its public name; in a private network the private one. Nothing while it stands still."""
    if primary["State"]["Name"] not in {"pending", "running"}:
        return ""
    return primary.get("PublicDnsName") or primary.get("PrivateDnsName") or ""


def _reason(primary: Described) -> str:
    if primary["State"]["Name"] in {"pending", "running"}:
        return ""
    return str(primary.get("StateReason", {}).get("Message") or "")


def first_made(item: Mapping[str, Any]) -> Any:
    """When an instance was made; a launch is also each start after a stop."""
    interfaces = item.get("NetworkInterfaces") or ()
    joined = [one.get("Attachment", {}).get("AttachTime") for one in interfaces]
    return min([when for when in (*joined, item.get("LaunchTime")) if when], default=None)


def _spec(wanted: AnyClusterSpec, primary: Described, nodes: Sequence[Node]) -> Ec2ClusterSpec:
    """The spec with the version, types and count that the cluster really has."""
    if not isinstance(wanted, Ec2ClusterSpec):
        wanted = Ec2ClusterSpec(name=wanted.name, tags=wanted.tags)
    workers = [node for node in nodes if node.role == "worker"]
    seen: dict[str, Any] = {
        "spark": tags(primary).get("emrctl:spark", wanted.spark),
        "primary": wanted.primary.model_copy(update={"type": primary["InstanceType"]}),
    }
    if nodes:
        type_ = workers[0].type if workers else wanted.worker.type
        real = {"type": type_, "count": len(workers)}
        seen["worker"] = wanted.worker.model_copy(update=real)
    return wanted.model_copy(update=seen)
