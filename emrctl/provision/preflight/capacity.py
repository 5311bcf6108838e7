"""Instance types against zones, release and machine image."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from emrctl.aws import instance_types
from emrctl.aws.errors import error_code, get_or_none
from emrctl.provision.preflight.finding import Finding, Look, Topic, error, warning


def _offered(look: Look) -> Iterator[Finding]:
    """Every type in the zone that is asked for, or else in a zone that all of them share."""
    types = look.cluster.types
    offers = _zones(look, types)
    for name in types:
        if not offers.get(name):
            what = f"{look.target.region} has no {name} at all"
            yield error("instance types", what, f"Take another type{_instead(look, name)}.")
    known = [offers[name] for name in types if offers.get(name)]
    shared = set.intersection(*known) if known else set()
    wanted = wanted_zones(look)
    if wanted:
        for name in types:
            missing = sorted(wanted - offers.get(name, wanted))
            if missing and offers.get(name):
                hint = f"It is offered in {', '.join(sorted(offers[name]))}: set network.zone."
                yield error("instance types", f"{', '.join(missing)} has no {name}", hint)
    elif known and not shared:
        hint = "Take types that one zone has together."
        yield error("instance types", f"no zone has all of {', '.join(types)}", hint)
    elif shared != set().union(*known):
        hint = f"Set network.zone to one of {', '.join(sorted(shared))}."
        yield warning("instance types", f"not every zone has {', '.join(types)}", hint)


def _zones(look: Look, types: tuple[str, ...]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {name: set() for name in types}
    pages = (
        look.client("ec2")
        .get_paginator("describe_instance_type_offerings")
        .paginate(
            LocationType="availability-zone",
            Filters=[{"Name": "instance-type", "Values": list(types)}],
        )
    )
    for page in pages:
        for item in page["InstanceTypeOfferings"]:
            found.setdefault(item["InstanceType"], set()).add(item["Location"])
    return found


def wanted_zones(look: Look) -> set[str]:
    """The zones that the nodes must stand in; empty where AWS chooses."""
    network = look.cluster.network
    if network.existing:
        answer = get_or_none(
            lambda: look.client("ec2").describe_subnets(SubnetIds=list(network.subnets)),
            "InvalidSubnetID.NotFound",
        )
        return {item["AvailabilityZone"] for item in answer["Subnets"]} if answer else set()
    return {network.zone} if network.zone else set()


def _instead(look: Look, name: str) -> str:
    """Other types of the same size that the region has."""
    near = tuple(item.name for item in instance_types.no_smaller(name))
    offered = [other for other, zones in _zones(look, near).items() if zones][:3]
    return f": {', '.join(offered)}" if offered else ""


def _release(look: Look) -> Iterator[Finding]:
    emr, release = look.client("emr"), look.emr.release
    labels: list[str] = []
    asked = {"Filters": {"Prefix": release.partition(".")[0]}}
    while True:
        page = emr.list_release_labels(**asked)
        labels += page.get("ReleaseLabels", [])
        if not page.get("NextToken"):
            break
        asked["NextToken"] = page["NextToken"]
    if release not in labels:
        near = difflib.get_close_matches(release, labels, n=3, cutoff=0) or labels[:3]
        hint = f"Take one that it has: {', '.join(near)}." if near else "Look at cluster.release."
        yield error("release", f"EMR has no release {release} in {look.target.region}", hint)
        return
    yield from _supported(look)


def _supported(look: Look) -> Iterator[Finding]:
    emr, release = look.client("emr"), look.emr.release
    known: set[str] = set()
    asked = {"ReleaseLabel": release}
    while True:
        page = emr.list_supported_instance_types(**asked)
        known |= {item["Type"] for item in page.get("SupportedInstanceTypes", [])}
        if not page.get("Marker"):
            break
        asked["Marker"] = page["Marker"]
    for name in look.cluster.types:
        if known and name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0)
            hint = f"Take {', '.join(near)}, or a later release."
            yield error("release", f"{release} does not run on {name}", hint)


def _image(look: Look) -> Iterator[Finding]:
    image = look.emr.ami
    if image is None:
        return
    missing = ("InvalidAMIID.NotFound", "InvalidAMIID.Unavailable")
    answer = get_or_none(lambda: look.client("ec2").describe_images(ImageIds=[image]), *missing)
    if not answer or not answer["Images"]:
        hint = "An image belongs to one region: copy it there, or look at cluster.ami."
        yield error("machine image", f"there is no {image} in {look.target.region}", hint)
        return
    arch = str(answer["Images"][0].get("Architecture", ""))
    for name in look.cluster.types:
        wanted = instance_types.instance_type(name).arch
        if arch and arch != wanted:
            hint = f"Take an image for {wanted}, or types of {arch}."
            yield error("machine image", f"{image} is for {arch}, and {name} is {wanted}", hint)


def _configuration(look: Look) -> Iterator[Finding]:
    name = look.emr.security.configuration
    if name is None:
        return
    emr = look.client("emr")
    from botocore.exceptions import ClientError

    try:
        emr.describe_security_configuration(Name=name)
    except ClientError as failure:
        if error_code(failure) != "InvalidRequestException":
            raise
        hint = "`aws emr list-security-configurations` names them."
        what = f"there is no security configuration '{name}' in {look.target.region}"
        yield error("security configuration", what, hint)


TOPICS = (
    Topic(about="instance types", check=_offered),
    Topic(about="release", check=_release, kind="emr"),
    Topic(about="machine image", check=_image, kind="emr"),
    Topic(about="security configuration", check=_configuration, kind="emr"),
)
