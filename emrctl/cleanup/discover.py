"""What of emrctl's stands on an account, asked of EMR, EC2, IAM and S3."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from emrctl.aws import listing
from emrctl.aws.listing import tags
from emrctl.aws.translate import translated
from emrctl.cleanup.discover_ec2 import ROLE_TAG, machine
from emrctl.cleanup.discover_network import TAGGED, thing
from emrctl.cleanup.discover_network import listed as network_parts
from emrctl.cleanup.resources import (
    BUCKET,
    CLUSTER,
    EVERYWHERE,
    PROJECT,
    ROLE,
    STACK,
    Thing,
    expiry,
)
from emrctl.cost.resource import instance, total, volume
from emrctl.errors import EmrctlError

if TYPE_CHECKING:
    from emrctl.aws.target import Target

LIVING = ("STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING", "TERMINATING")
_AT_WORK = ["AWAITING_FULFILLMENT", "PROVISIONING", "BOOTSTRAPPING", "RUNNING"]
_OURS = "emrctl: "
_AT_ONCE = 8
_SERVICES = ("emr", "ec2")


@dataclass(frozen=True, kw_only=True)
class Look:
    """All that was seen, and in words what could not be looked at.

    `blind` are the regions whose clusters could not be listed: nobody knows what is used there.
    """

    things: tuple[Thing, ...]
    notes: tuple[str, ...] = ()
    blind: frozenset[str] = frozenset()

    def __add__(self, other: Look) -> Look:
        """Both together."""
        return Look(
            things=self.things + other.things,
            notes=self.notes + other.notes,
            blind=self.blind | other.blind,
        )


def all_regions(target: Target) -> tuple[str, ...]:
    """Every region that the account has switched on, the target's own first."""
    with translated("listing the account's regions"):
        found = target.client("ec2").describe_regions()["Regions"]
    names = sorted(str(item["RegionName"]) for item in found)
    return (target.region, *(name for name in names if name != target.region))


def look(target: Target, regions: Sequence[str] = ()) -> Look:
    """Everything with emrctl's tags in these regions, by default the target's own.

    What the caller may not list is left out and noted; `CredentialsError` where AWS does not
    know the caller at all.
    """
    target.account()
    places = [replace(target, region=name) for name in regions or (target.region,)]
    for place in places:  # boto3 makes clients in one thread at a time only
        for service in _SERVICES:
            place.client(service)
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        found = list(pool.map(_region, places))
    whole = Look(things=())
    for part in (*found, _asked(target, EVERYWHERE, _roles), _asked(target, EVERYWHERE, _buckets)):
        whole += part
    return _with_configurations(places, whole)


_Lister = Callable[["Target"], Iterable[Thing]]


def _region(target: Target) -> Look:
    return _asked(target, target.region, _at_work) + _asked(target, target.region, network_parts)


def _asked(target: Target, where: str, lister: _Lister) -> Look:
    things: list[Thing] = []
    doing = f"listing {_NAMES[lister]} ({where})"
    try:
        with translated(doing):
            things += lister(target)
    except EmrctlError as error:
        blind = frozenset({where} if lister is _at_work else ())
        return Look(things=tuple(things), notes=(error.message,), blind=blind)
    return Look(things=tuple(things))


# --- clusters and what runs -----------------------------------------------------------------------


def _at_work(target: Target) -> Iterator[Thing]:
    """Living clusters with the cost of their nodes, then instances that belong to none.

    First those of plain instances: an account may have no right to ask EMR for the others.
    """
    disks, volumes = _volumes(target)
    every = list(_instances(target))
    own = [one for one in every if ROLE_TAG in tags(one)]
    for one in sorted(own, key=lambda item: tags(item)[ROLE_TAG]):
        yield machine(target, one, disks)
    yield from volumes
    clusters = {item["Id"]: item for item in _clusters(target)}
    for item in clusters.values():
        yield _cluster(target, item, disks)
    for one in every:
        marks = tags(one)
        if ROLE_TAG not in marks and marks.get("aws:elasticmapreduce:job-flow-id") not in clusters:
            yield machine(target, one, disks)


def _clusters(target: Target) -> Iterator[dict[str, Any]]:
    emr = target.client("emr")
    for page in emr.get_paginator("list_clusters").paginate(ClusterStates=list(LIVING)):
        for item in page["Clusters"]:
            found: dict[str, Any] = emr.describe_cluster(ClusterId=item["Id"])["Cluster"]
            if PROJECT in tags(found):
                yield found


def _cluster(target: Target, item: dict[str, Any], disks: dict[str, float]) -> Thing:
    created = item["Status"].get("Timeline", {}).get("CreationDateTime")
    pages = target.client("emr").get_paginator("list_instances")
    nodes = [
        node
        for page in pages.paginate(ClusterId=item["Id"], InstanceStates=_AT_WORK)
        for node in page["Instances"]
    ]
    costs = [_node_usd(node, target.region) for node in nodes]
    costs += [disks.get(str(node.get("Ec2InstanceId")), 0.0) for node in nodes]
    marks = tags(item)
    # Clusters of the first emrctl carry no stack: it is their name.
    own = thing(target, CLUSTER, item["Id"], {STACK: item["Name"], **marks})
    return replace(
        own,
        name=item["Name"],
        state=item["Status"]["State"],
        created=created,
        expires=expiry(marks, created),
        hourly_usd=total(costs),
        protected=bool(item.get("TerminationProtected")),
    )


def _node_usd(node: dict[str, Any], region: str) -> float | None:
    spot = node.get("Market") == "SPOT"
    return instance(str(node.get("InstanceType", "")), region, emr=True, spot=spot)


def _instances(target: Target) -> Iterator[dict[str, Any]]:
    alive = ["pending", "running", "stopping", "stopped"]
    filters = [TAGGED, {"Name": "instance-state-name", "Values": alive}]
    return listing.instances(target.client("ec2"), Filters=filters)


def _volumes(target: Target) -> tuple[dict[str, float], list[Thing]]:
    """What the disks of each instance cost, and the disks that hang on none."""
    disks: dict[str, float] = {}
    loose: list[Thing] = []
    pages = target.client("ec2").get_paginator("describe_volumes")
    for page in pages.paginate(Filters=[TAGGED]):
        for item in page["Volumes"]:
            cost = volume(item.get("VolumeType", "gp3"), item["Size"])
            for holder in item.get("Attachments", ()):
                disks[holder["InstanceId"]] = disks.get(holder["InstanceId"], 0.0) + cost
            if not item.get("Attachments"):
                own = thing(target, "volume", item["VolumeId"], tags(item))
                made = item.get("CreateTime")
                loose.append(replace(own, created=made, hourly_usd=cost, state=item["State"]))
    return disks, loose


# --- what has no region ---------------------------------------------------------------------------


def _roles(target: Target) -> Iterator[Thing]:
    """Roles whose description and tags are emrctl's; an instance profile goes with its role."""
    iam = target.client("iam")
    for page in iam.get_paginator("list_roles").paginate():
        for item in page["Roles"]:
            if not str(item.get("Description", "")).startswith(_OURS):
                continue
            answer = iam.list_role_tags(RoleName=item["RoleName"])
            marks = tags(answer)
            if PROJECT in marks:
                own = thing(target, ROLE, item["RoleName"], marks)
                yield replace(own, region=EVERYWHERE, created=item.get("CreateDate"))


def _buckets(target: Target) -> Iterator[Thing]:
    from emrctl.engine.localhost.resource_type import absent

    s3 = target.client("s3")
    for item in s3.list_buckets()["Buckets"]:
        name = item["Name"]

        def asked(name: str = name) -> Any:
            return s3.get_bucket_tagging(Bucket=name)

        # Others' buckets answer as they like; only those with our tags are ours.
        answer = absent(asked, "NoSuchTagSet", "NoSuchBucket", "AccessDenied", "PermanentRedirect")
        marks = tags(answer or {}, "TagSet")
        if PROJECT in marks:
            own = thing(target, BUCKET, name, marks)
            made = item.get("CreationDate")
            yield replace(own, region=EVERYWHERE, created=made, hourly_usd=None)


def _with_configurations(places: Sequence[Target], seen: Look) -> Look:
    """Security configurations carry no tags: those whose names begin with a stack's are its own."""
    stacks = {one.stack: one.project for one in seen.things}
    for place in places:
        here = [*_configurations(place, stacks)]
        seen += Look(things=tuple(here))
    return seen


def _configurations(target: Target, stacks: dict[str, str]) -> Iterator[Thing]:
    from botocore.exceptions import ClientError

    try:
        pages = target.client("emr").get_paginator("list_security_configurations").paginate()
        names = [item["Name"] for page in pages for item in page["SecurityConfigurations"]]
    except (ClientError, NotImplementedError):
        return  # they cost nothing, and the local EMR cannot list them
    for name in names:
        stack, _, digest = name.rpartition("-")
        if stack in stacks and len(digest) == len("0123abcd"):
            marks = {PROJECT: stacks[stack], STACK: stack}
            yield thing(target, "security configuration", name, marks)


_NAMES: dict[_Lister, str] = {
    _at_work: "clusters, instances and disks",
    network_parts: "networks",
    _roles: "roles",
    _buckets: "buckets",
}
