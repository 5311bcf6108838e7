"""Clusters of EC2 instances of a project, found by the tags of the instances."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from emrctl.aws.listing import (
    EC2_EXISTING,
    EC2_STARTED,
    EC2_TERMINATED,
    EC2_TERMINATING,
    instances,
    tags,
)
from emrctl.aws.s3 import EVENT_LOG_PREFIX, LOG_PREFIX
from emrctl.aws.target import Target
from emrctl.clusters.model import Cluster, Node
from emrctl.spec import AnyClusterSpec, Ec2ClusterSpec, ProjectSpec
from emrctl.spec.ec2 import NO_SSH
from emrctl.spec.project import as_kind

PAGE_PORTS = {"master": 8080, "spark": 4040}
_CLUSTER_STATES = {
    "pending": "STARTING",
    "running": "RUNNING",
    "stopping": "STOPPING",
    "stopped": "STOPPED",
    "shutting-down": "TERMINATING",
    "terminated": "TERMINATED",
}

Instance = dict[str, Any]
"""EC2's description of an instance."""


def list_clusters(
    project: ProjectSpec, target: Target, *, terminating: bool = False, ended: bool = False
) -> Iterator[Cluster]:
    """Yield clusters with an existing primary, newest first; optionally also terminated ones."""
    states = (*EC2_EXISTING, *((EC2_TERMINATING,) if terminating else ()))
    states += (EC2_TERMINATED,) if ended else ()
    items = describe_nodes(target, "project", project.project, states)
    primaries = [item for item in items if tags(item).get("emrctl:role") == "primary"]
    for primary in sorted(primaries, key=lambda item: item["LaunchTime"], reverse=True):
        yield _to_cluster(project, target, primary, items)


def describe_nodes(
    target: Target,
    owner: Literal["project", "stack"],
    name: str,
    states: Sequence[str] = EC2_EXISTING,
) -> list[Instance]:
    """Return EC2's description of the nodes of a project or of a stack in these states."""
    filters = [
        {"Name": f"tag:emrctl:{owner}", "Values": [name]},
        {"Name": "tag-key", "Values": ["emrctl:role"]},
        {"Name": "instance-state-name", "Values": list(states)},
    ]
    return list(instances(target.client("ec2"), Filters=filters))


def _to_cluster(
    project: ProjectSpec, target: Target, primary: Instance, items: Sequence[Instance]
) -> Cluster:
    labels, id_ = tags(primary), primary["InstanceId"]
    stack, bucket = labels.get("emrctl:stack", ""), labels.get("emrctl:bucket", "")
    name = stack.removeprefix(f"{project.project}-")
    gone = state(primary) == EC2_TERMINATED
    nodes = () if gone else _nodes(stack, primary, items)
    dns = _dns(primary)
    host = target.page_host(dns, primary.get("PrivateIpAddress", ""))
    return Cluster(
        name=name,
        stack=stack,
        id=id_,
        arn=f"arn:aws:ec2:{target.region}:{primary['OwnerId']}:instance/{id_}",
        state=_CLUSTER_STATES[state(primary)],
        reason=_reason(primary),
        spec=_spec(project.with_cluster(name or None).cluster, primary, nodes),
        region=project.region,
        bucket=bucket,
        created=str(first_launch(primary)),
        primary_dns=dns,
        log_uri=f"s3://{bucket}/{LOG_PREFIX}",
        event_log_uri=f"s3://{bucket}/{EVENT_LOG_PREFIX}",
        nodes=nodes,
        urls={page: f"http://{host}:{port}" for page, port in PAGE_PORTS.items()} if host else {},
    )


def state(instance: Mapping[str, Any]) -> str:
    """Return the state of an instance."""
    return str(instance["State"]["Name"])


def _nodes(stack: str, primary: Instance, items: Sequence[Instance]) -> tuple[Node, ...]:
    """Return the primary, then the stack's workers by number."""
    workers = [
        item
        for item in items
        if tags(item).get("emrctl:stack") == stack
        and tags(item).get("emrctl:role") == "worker"
        and state(item) in EC2_EXISTING
    ]
    return tuple(to_node(item) for item in (primary, *sorted(workers, key=_number)))


def _number(worker: Instance) -> tuple[int, str]:
    digits = tags(worker).get("emrctl:node", "").rpartition("-")[2]
    return (int(digits) if digits.isdigit() else 0, str(worker["InstanceId"]))


def to_node(instance: Instance) -> Node:
    """Return the instance as a node, by its tags."""
    labels = tags(instance)
    return Node(
        id=instance["InstanceId"],
        role=labels["emrctl:role"],
        type=instance["InstanceType"],
        state=state(instance).upper(),
        private_dns=instance.get("PrivateDnsName", ""),
        public_dns=instance.get("PublicDnsName", ""),
        private_ip=instance.get("PrivateIpAddress", ""),
        public_ip=instance.get("PublicIpAddress", ""),
        name=labels.get("emrctl:node", ""),
        session=labels.get("emrctl:ssh") == NO_SSH,
    )


def _dns(primary: Instance) -> str:
    """Return the public name, in a private network the private one; empty unless started."""
    if state(primary) not in EC2_STARTED:
        return ""
    return primary.get("PublicDnsName") or primary.get("PrivateDnsName") or ""


def _reason(primary: Instance) -> str:
    if state(primary) in EC2_STARTED:
        return ""
    return str(primary.get("StateReason", {}).get("Message") or "")


def first_launch(instance: Mapping[str, Any]) -> Any:
    """Return when the instance was created; `LaunchTime` changes with each start."""
    interfaces = instance.get("NetworkInterfaces") or ()
    attached = [item.get("Attachment", {}).get("AttachTime") for item in interfaces]
    times = (*attached, instance.get("LaunchTime"))
    return min([time for time in times if time], default=None)


def _spec(spec: AnyClusterSpec, primary: Instance, nodes: Sequence[Node]) -> Ec2ClusterSpec:
    """Return the spec with the observed Spark version, types and worker count."""
    spec = as_kind(spec, Ec2ClusterSpec)
    workers = [node for node in nodes if node.role == "worker"]
    observed: dict[str, Any] = {
        "spark": tags(primary).get("emrctl:spark", spec.spark),
        "primary": spec.primary.model_copy(update={"type": primary["InstanceType"]}),
    }
    if nodes:
        type_ = workers[0].type if workers else spec.worker.type
        update = {"type": type_, "count": len(workers)}
        observed["worker"] = spec.worker.model_copy(update=update)
    return spec.model_copy(update=observed)
