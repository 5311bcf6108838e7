"""Discover the resources on an account that have emrctl's tags, over EMR, EC2, IAM and S3."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from emrctl.aws import listing
from emrctl.aws.errors import get_or_none, translated
from emrctl.aws.listing import EC2_EXISTING, EC2_STOPPED, EMR_ACTIVE, EMR_TERMINATING, tags
from emrctl.aws.target import Target
from emrctl.cleanup.discovery_network import PROJECT_TAG_FILTER, list_network, tagged_resource
from emrctl.cleanup.resources import (
    BUCKET,
    CLUSTER,
    GLOBAL,
    PROJECT,
    ROLE,
    STACK,
    AwsResource,
    expiry,
)
from emrctl.clusters.ec2 import first_launch
from emrctl.cost import instance_usd, total_usd, volume_usd
from emrctl.errors import EmrctlError

_ACTIVE_INSTANCE_STATES = ["AWAITING_FULFILLMENT", "PROVISIONING", "BOOTSTRAPPING", "RUNNING"]
_ROLE_DESCRIPTION = "emrctl: "
_THREADS = 8
_SERVICES = ("emr", "ec2")
_ROLE_TAG = "emrctl:role"


@dataclass(frozen=True, kw_only=True)
class Discovery:
    """The resources that were listed, and a note for each listing that failed.

    `unlisted` are the regions whose clusters could not be listed, so that nothing there can be
    called orphaned.
    """

    resources: tuple[AwsResource, ...]
    notes: tuple[str, ...] = ()
    unlisted: frozenset[str] = frozenset()

    def __add__(self, other: Discovery) -> Discovery:
        """Return the union of both."""
        return Discovery(
            resources=self.resources + other.resources,
            notes=self.notes + other.notes,
            unlisted=self.unlisted | other.unlisted,
        )


def all_regions(target: Target) -> tuple[str, ...]:
    """Return the account's enabled regions, the target's own first."""
    with translated("listing the account's regions"):
        regions = target.client("ec2").describe_regions()["Regions"]
    names = sorted(str(item["RegionName"]) for item in regions)
    return (target.region, *(name for name in names if name != target.region))


def discover(target: Target, regions: Sequence[str] = ()) -> Discovery:
    """Return the resources with emrctl's tags in the regions, by default in the target's own.

    What the caller may not list is left out and noted. Raises `CredentialsError` if AWS does not
    accept the caller's credentials.
    """
    target.account()
    targets = [replace(target, region=name) for name in regions or (target.region,)]
    for regional in targets:  # boto3 creates clients in one thread at a time only
        for service in _SERVICES:
            regional.client(service)
    with ThreadPoolExecutor(max_workers=_THREADS) as pool:
        parts = list(pool.map(_discover_region, targets))
    parts += [_list(target, GLOBAL, _list_roles), _list(target, GLOBAL, _list_buckets)]
    discovery = sum(parts, Discovery(resources=()))
    # Security configurations have no tags: their names begin with the name of their stack.
    stacks = {item.stack: item.project for item in discovery.resources}
    configurations = [
        item for regional in targets for item in _list_security_configurations(regional, stacks)
    ]
    return discovery + Discovery(resources=tuple(configurations))


_Lister = Callable[["Target"], Iterable[AwsResource]]


def _discover_region(target: Target) -> Discovery:
    region = target.region
    return _list(target, region, _list_clusters) + _list(target, region, list_network)


def _list(target: Target, region: str, lister: _Lister) -> Discovery:
    resources: list[AwsResource] = []
    try:
        with translated(f"listing {_LISTED[lister]} ({region})"):
            resources += lister(target)
    except EmrctlError as error:
        unlisted = frozenset({region} if lister is _list_clusters else ())
        return Discovery(resources=tuple(resources), notes=(error.message,), unlisted=unlisted)
    return Discovery(resources=tuple(resources))


# --- clusters, instances, volumes -----------------------------------------------------------------


def _list_clusters(target: Target) -> Iterator[AwsResource]:
    """Yield active clusters with the cost of their nodes, then instances that belong to none.

    EC2 clusters come first, since the caller may have no permission to list EMR clusters.
    """
    disk_costs, detached = _list_volumes(target)
    all_instances = list(_describe_instances(target))
    nodes = [item for item in all_instances if _ROLE_TAG in tags(item)]
    for item in sorted(nodes, key=lambda node: tags(node)[_ROLE_TAG]):
        yield _instance_resource(target, item, disk_costs)
    yield from detached
    clusters = {item["Id"]: item for item in _describe_emr_clusters(target)}
    for item in clusters.values():
        yield _emr_cluster(target, item, disk_costs)
    for item in all_instances:
        cluster_id = tags(item).get("aws:elasticmapreduce:job-flow-id")
        if _ROLE_TAG not in tags(item) and cluster_id not in clusters:
            yield _instance_resource(target, item, disk_costs)


def _describe_emr_clusters(target: Target) -> Iterator[dict[str, Any]]:
    emr = target.client("emr")
    states = [*EMR_ACTIVE, EMR_TERMINATING]
    pages = emr.get_paginator("list_clusters").paginate(ClusterStates=states)
    for page in pages:
        for item in page["Clusters"]:
            cluster: dict[str, Any] = emr.describe_cluster(ClusterId=item["Id"])["Cluster"]
            if PROJECT in tags(cluster):
                yield cluster


def _emr_cluster(
    target: Target, item: dict[str, Any], disk_costs: Mapping[str, float]
) -> AwsResource:
    created = item["Status"].get("Timeline", {}).get("CreationDateTime")
    pages = target.client("emr").get_paginator("list_instances")
    nodes = [
        node
        for page in pages.paginate(ClusterId=item["Id"], InstanceStates=_ACTIVE_INSTANCE_STATES)
        for node in page["Instances"]
    ]
    costs = [_node_usd(node, target.region) for node in nodes]
    costs += [disk_costs.get(str(node.get("Ec2InstanceId")), 0.0) for node in nodes]
    # Clusters of the first emrctl have no stack tag: their name is the stack's.
    return replace(
        tagged_resource(target, CLUSTER, item["Id"], {STACK: item["Name"], **tags(item)}),
        name=item["Name"],
        state=item["Status"]["State"],
        created=created,
        expires=expiry(tags(item), created),
        hourly_usd=total_usd(costs),
        protected=bool(item.get("TerminationProtected")),
    )


def _node_usd(node: dict[str, Any], region: str) -> float | None:
    spot = node.get("Market") == "SPOT"
    return instance_usd(str(node.get("InstanceType", "")), region, emr=True, spot=spot)


def _describe_instances(target: Target) -> Iterator[dict[str, Any]]:
    states = {"Name": "instance-state-name", "Values": list(EC2_EXISTING)}
    filters = [PROJECT_TAG_FILTER, states]
    return listing.instances(target.client("ec2"), Filters=filters)


def _instance_resource(
    target: Target, item: dict[str, Any], disk_costs: Mapping[str, float]
) -> AwsResource:
    """Return an instance, a primary as its cluster; a stopped one costs only its disks."""
    state = item["State"]["Name"]
    cost: float | None = 0.0
    if state not in EC2_STOPPED:
        spot = item.get("InstanceLifecycle") == "spot"
        cost = instance_usd(item["InstanceType"], target.region, emr=False, spot=spot)
    primary = tags(item).get(_ROLE_TAG) == "primary"
    kind = CLUSTER if primary else "instance"
    resource = tagged_resource(target, kind, item["InstanceId"], tags(item))
    created = first_launch(item)
    return replace(
        resource,
        name=resource.stack if primary else resource.name,
        state=state,
        created=created,
        expires=expiry(tags(item), created),
        hourly_usd=total_usd([cost, disk_costs.get(item["InstanceId"], 0.0)]),
    )


def _list_volumes(target: Target) -> tuple[dict[str, float], list[AwsResource]]:
    """Return the hourly cost of each instance's volumes, and the detached volumes."""
    disk_costs: dict[str, float] = {}
    detached: list[AwsResource] = []
    pages = target.client("ec2").get_paginator("describe_volumes")
    for page in pages.paginate(Filters=[PROJECT_TAG_FILTER]):
        for item in page["Volumes"]:
            cost = volume_usd(item.get("VolumeType", "gp3"), item["Size"])
            for attachment in item.get("Attachments", ()):
                id_ = attachment["InstanceId"]
                disk_costs[id_] = disk_costs.get(id_, 0.0) + cost
            if not item.get("Attachments"):
                resource = tagged_resource(target, "volume", item["VolumeId"], tags(item))
                created = item.get("CreateTime")
                detached.append(
                    replace(resource, created=created, hourly_usd=cost, state=item["State"])
                )
    return disk_costs, detached


# --- global resources -----------------------------------------------------------------------------


def _list_roles(target: Target) -> Iterator[AwsResource]:
    """Yield roles with emrctl's description and tags; instance profiles are deleted with them."""
    iam = target.client("iam")
    for page in iam.get_paginator("list_roles").paginate():
        for item in page["Roles"]:
            if not str(item.get("Description", "")).startswith(_ROLE_DESCRIPTION):
                continue
            role_tags = tags(iam.list_role_tags(RoleName=item["RoleName"]))
            if PROJECT in role_tags:
                resource = tagged_resource(target, ROLE, item["RoleName"], role_tags)
                yield replace(resource, region=GLOBAL, created=item.get("CreateDate"))


def _list_buckets(target: Target) -> Iterator[AwsResource]:
    s3 = target.client("s3")
    for item in s3.list_buckets()["Buckets"]:
        name = item["Name"]

        def get_tags(name: str = name) -> Any:
            return s3.get_bucket_tagging(Bucket=name)

        # Buckets of others may refuse the call.
        answer = get_or_none(
            get_tags, "NoSuchTagSet", "NoSuchBucket", "AccessDenied", "PermanentRedirect"
        )
        bucket_tags = tags(answer or {}, "TagSet")
        if PROJECT in bucket_tags:
            resource = tagged_resource(target, BUCKET, name, bucket_tags)
            created = item.get("CreationDate")
            yield replace(resource, region=GLOBAL, created=created, hourly_usd=None)


def _list_security_configurations(
    target: Target, stacks: Mapping[str, str]
) -> Iterator[AwsResource]:
    from botocore.exceptions import ClientError

    try:
        pages = target.client("emr").get_paginator("list_security_configurations").paginate()
        names = [item["Name"] for page in pages for item in page["SecurityConfigurations"]]
    except (ClientError, NotImplementedError):
        return  # they are free
    for name in names:
        stack, _, digest = name.rpartition("-")
        if stack in stacks and len(digest) == len("0123abcd"):
            own_tags = {PROJECT: stacks[stack], STACK: stack}
            yield tagged_resource(target, "security configuration", name, own_tags)


_LISTED: dict[_Lister, str] = {
    _list_clusters: "clusters, instances and volumes",
    list_network: "networks",
    _list_roles: "roles",
    _list_buckets: "buckets",
}
