"""Instance types, EMR release and machine images."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from emrctl.aws import instance_types
from emrctl.aws.errors import error_code, get_or_none
from emrctl.clusters import program_inputs
from emrctl.errors import EmrctlError
from emrctl.provision.preflight.finding import (
    PreflightCheck,
    PreflightContext,
    PreflightFinding,
    error,
    warning,
)
from emrctl.spec import MachineSpec

_NO_IMAGE = ("InvalidAMIID.NotFound", "InvalidAMIID.Unavailable", "InvalidAMIID.Malformed")
_IMAGE, _TYPES = "machine image", "instance types"


def _check_types(context: PreflightContext) -> Iterator[PreflightFinding]:
    """Check that one zone offers all types: the requested zone, or any zone of the region."""
    types = context.cluster.types
    offers = _zones_by_type(context, types)
    for name in types:
        if not offers.get(name):
            what = f"{context.region} does not offer {name}"
            yield error(_TYPES, what, f"Use another type{_alternatives(context, name)}.")
    offered = [offers[name] for name in types if offers.get(name)]
    shared = set.intersection(*offered) if offered else set()
    requested = _requested_zones(context)
    if requested:
        for name in types:
            missing = sorted(requested - offers.get(name, requested))
            if missing and offers.get(name):
                hint = f"These zones offer it: {', '.join(sorted(offers[name]))}; set network.zone."
                yield error(_TYPES, f"{', '.join(missing)} does not offer {name}", hint)
    elif offered and not shared:
        hint = "Use types that one zone offers together."
        yield error(_TYPES, f"no zone offers all of {', '.join(types)}", hint)
    elif shared != set().union(*offered):
        hint = f"Set network.zone to one of {', '.join(sorted(shared))}."
        yield warning(_TYPES, f"not every zone offers {', '.join(types)}", hint)


def _zones_by_type(context: PreflightContext, types: tuple[str, ...]) -> dict[str, set[str]]:
    zones: dict[str, set[str]] = {name: set() for name in types}
    paginator = context.client("ec2").get_paginator("describe_instance_type_offerings")
    filters = [{"Name": "instance-type", "Values": list(types)}]
    for page in paginator.paginate(LocationType="availability-zone", Filters=filters):
        for item in page["InstanceTypeOfferings"]:
            zones.setdefault(item["InstanceType"], set()).add(item["Location"])
    return zones


def _requested_zones(context: PreflightContext) -> set[str]:
    """Return the zones of the spec or of its existing subnets; empty if AWS chooses."""
    network = context.cluster.network
    if not network.existing:
        return {network.zone} if network.zone else set()
    call = partial(context.client("ec2").describe_subnets, SubnetIds=list(network.subnets))
    answer = get_or_none(call, "InvalidSubnetID.NotFound")
    return {item["AvailabilityZone"] for item in answer["Subnets"]} if answer else set()


def _alternatives(context: PreflightContext, name: str) -> str:
    """Return types of the same size that the region offers."""
    types = tuple(item.name for item in instance_types.no_smaller(name))
    offered = [other for other, zones in _zones_by_type(context, types).items() if zones][:3]
    return f": {', '.join(offered)}" if offered else ""


def _check_release(context: PreflightContext) -> Iterator[PreflightFinding]:
    release = context.emr.release
    list_labels = context.client("emr").list_release_labels
    prefix = {"Prefix": release.partition(".")[0]}
    labels = _pages(partial(list_labels, Filters=prefix), "ReleaseLabels", "NextToken")
    if release not in labels:
        near = difflib.get_close_matches(release, labels, n=3, cutoff=0) or labels[:3]
        hint = f"Use another release: {', '.join(near)}." if near else "Check cluster.release."
        yield error("release", f"EMR has no release {release} in {context.region}", hint)
        return
    list_types = context.client("emr").list_supported_instance_types
    items = _pages(partial(list_types, ReleaseLabel=release), "SupportedInstanceTypes", "Marker")
    supported = {item["Type"] for item in items}
    for name in context.cluster.types:
        if supported and name not in supported:
            near = difflib.get_close_matches(name, sorted(supported), n=3, cutoff=0)
            hint = f"Use {', '.join(near)}, or a later release."
            yield error("release", f"{release} does not support {name}", hint)


def _pages(call: Any, key: str, token: str) -> list[Any]:
    """Return the items of all pages of a call that boto3 has no paginator for."""
    items: list[Any] = []
    following: dict[str, str] = {}
    while True:
        page = call(**following)
        items += page.get(key, [])
        if not page.get(token):
            return items
        following = {token: page[token]}


def _check_emr_image(context: PreflightContext) -> Iterator[PreflightFinding]:
    if context.emr.ami is not None:
        image = _describe_images(context, [context.emr.ami]).get(context.emr.ami)
        if image is None:
            yield _no_image(context, context.emr.ami)
        else:
            for name in context.cluster.types:
                yield from _architecture(image, context.emr.ami, name)


def _check_ec2_images(context: PreflightContext) -> Iterator[PreflightFinding]:
    """Check that the images exist and fit the instance types and disks."""
    try:
        ids = program_inputs.find_images(context.ec2, context.target)
    except EmrctlError as failure:
        yield error(_IMAGE, failure.message, failure.hint)
        return
    images = _describe_images(context, sorted(set(ids.values())))
    for role, spec in (("primary", context.ec2.primary), ("worker", context.ec2.worker)):
        id_ = ids[f"image_{role}"]
        if id_ not in images:
            yield _no_image(context, id_)
        else:
            yield from _architecture(images[id_], id_, spec.type)
            yield from _root_device(images[id_], role, spec)


def _describe_images(context: PreflightContext, ids: list[str]) -> dict[str, Mapping[str, Any]]:
    call = partial(context.client("ec2").describe_images, ImageIds=ids)
    images = (get_or_none(call, *_NO_IMAGE) or {}).get("Images", ())
    return {item.get("ImageId", ids[0]): item for item in images}


def _no_image(context: PreflightContext, id_: str) -> PreflightFinding:
    hint = "Images belong to one region: copy it there, or change cluster.ami."
    return error(_IMAGE, f"there is no {id_} in {context.region}", hint)


def _architecture(image: Mapping[str, Any], id_: str, type_: str) -> Iterator[PreflightFinding]:
    actual = str(image.get("Architecture", ""))
    required = instance_types.instance_type(type_).arch
    if actual and actual != required:
        hint = f"Use an image for {required}, or types of {actual}."
        yield error(_IMAGE, f"{id_} is for {actual}, and {type_} is {required}", hint)


def _root_device(
    image: Mapping[str, Any], role: str, spec: MachineSpec
) -> Iterator[PreflightFinding]:
    id_ = image["ImageId"]
    if image.get("RootDeviceType", "ebs") != "ebs":
        hint = "Use an image whose root device is an EBS volume."
        yield error(_IMAGE, f"the root device of {id_} cannot be encrypted", hint)
    disks = image.get("BlockDeviceMappings", ())
    roots = [item for item in disks if item.get("DeviceName") == image.get("RootDeviceName")]
    least = max((int(item.get("Ebs", {}).get("VolumeSize", 0)) for item in roots), default=0)
    if spec.root_gb < least:
        what = f"{id_} needs a disk of {least} GB, and {role}.root_gb is {spec.root_gb}"
        yield error(_IMAGE, what, f"Set cluster.{role}.root_gb: {least}.")


def _check_configuration(context: PreflightContext) -> Iterator[PreflightFinding]:
    from botocore.exceptions import ClientError

    name = context.emr.security.configuration
    if name is None:
        return
    try:
        context.client("emr").describe_security_configuration(Name=name)
    except ClientError as failure:
        if error_code(failure) != "InvalidRequestException":
            raise
        hint = "List them with `aws emr list-security-configurations`."
        what = f"there is no security configuration '{name}' in {context.region}"
        yield error("security configuration", what, hint)


CHECKS = (
    PreflightCheck(about=_TYPES, check=_check_types),
    PreflightCheck(about="release", check=_check_release, kind="emr"),
    PreflightCheck(about=_IMAGE, check=_check_emr_image, kind="emr"),
    PreflightCheck(about="security configuration", check=_check_configuration, kind="emr"),
    PreflightCheck(about=_IMAGE, check=_check_ec2_images, kind="ec2"),
)
