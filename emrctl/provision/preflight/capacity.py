"""Instance types, EMR release, machine images, and existing subnets."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from emrctl.aws import instance_types, releases
from emrctl.aws.errors import error_code, get_or_none
from emrctl.aws.listing import tags
from emrctl.clusters import program_inputs
from emrctl.errors import EmrctlError
from emrctl.provision.preflight.finding import (
    PreflightCheck,
    PreflightContext,
    PreflightFinding,
    error,
    warning,
)
from emrctl.spec import MachineSpec, local_spark

_NO_IMAGE = ("InvalidAMIID.NotFound", "InvalidAMIID.Unavailable", "InvalidAMIID.Malformed")
_SPARE_ADDRESSES = 5
_MANAGED_TAG = "for-use-with-amazon-emr-managed-policies"
_DNS = {"enableDnsSupport": "dns-support", "enableDnsHostnames": "dns-hostnames"}


def _check_types(context: PreflightContext) -> Iterator[PreflightFinding]:
    """Check that one zone offers all types: the requested zone, or any zone of the region."""
    types = context.cluster.types
    offers = _zones_by_type(context, types)
    for name in types:
        if not offers.get(name):
            what = f"{context.region} does not offer {name}"
            yield error(what, f"Use another type{_alternatives(context, name)}.")
    offered = [offers[name] for name in types if offers.get(name)]
    shared = set.intersection(*offered) if offered else set()
    requested = _requested_zones(context)
    if requested:
        for name in types:
            missing = sorted(requested - offers.get(name, requested))
            if missing and offers.get(name):
                hint = f"These zones offer it: {', '.join(sorted(offers[name]))}; set network.zone."
                yield error(f"{', '.join(missing)} does not offer {name}", hint)
    elif offered and not shared:
        hint = "Use types that one zone offers together."
        yield error(f"no zone offers all of {', '.join(types)}", hint)
    elif shared != set().union(*offered):
        hint = f"Set network.zone to one of {', '.join(sorted(shared))}."
        yield warning(f"not every zone offers {', '.join(types)}", hint)


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
    return {item["AvailabilityZone"] for item in _describe_subnets(context) or ()}


def _alternatives(context: PreflightContext, name: str) -> str:
    """Return types of the same size that the region offers."""
    types = tuple(item.name for item in instance_types.no_smaller(name))
    offered = [other for other, zones in _zones_by_type(context, types).items() if zones][:3]
    return f": {', '.join(offered)}" if offered else ""


def _check_release(context: PreflightContext) -> Iterator[PreflightFinding]:
    """Check that the release exists; localhost does not know the latest ones."""
    release = context.project.emr.release
    list_labels = context.client("emr").list_release_labels
    prefix = {"Prefix": release.partition(".")[0]}
    labels = _pages(partial(list_labels, Filters=prefix), "ReleaseLabels", "NextToken")
    later = not context.target.account_limits and not releases.fault(release, labels)
    if release not in labels and not later:
        near = difflib.get_close_matches(release, labels, n=3, cutoff=0) or labels[:3]
        hint = f"Use another release: {', '.join(near)}." if near else "Check cluster.release."
        yield error(f"EMR has no release {release} in {context.region}", hint)


def _check_spark(context: PreflightContext) -> Iterator[PreflightFinding]:
    """Check that the cluster runs the Spark of its release."""
    spec = context.project.emr
    if not context.target.spark_from_pypi:
        if spec.spark is not None:
            what = f"cluster.spark ({spec.spark}) is for localhost: EMR runs the release's Spark"
            yield warning(what, f"{spec.release} has Spark {releases.release(spec.release).spark}.")
        return
    try:
        choice = local_spark.choose(spec.release, spec.spark)
    except EmrctlError as failure:
        yield error(failure.message, failure.hint)
        return
    if choice.warning:
        versions = ", ".join(local_spark.local_versions())
        hint = f"localhost has Spark {versions}; cluster.spark selects another version of PyPI."
        yield warning(choice.warning.rstrip("."), hint)


def _check_release_types(context: PreflightContext) -> Iterator[PreflightFinding]:
    release = context.project.emr.release
    list_types = context.client("emr").list_supported_instance_types
    items = _pages(partial(list_types, ReleaseLabel=release), "SupportedInstanceTypes", "Marker")
    supported = {item["Type"] for item in items}
    for name in context.cluster.types:
        if supported and name not in supported:
            near = difflib.get_close_matches(name, sorted(supported), n=3, cutoff=0)
            hint = f"Use {', '.join(near)}, or a later release."
            yield error(f"{release} does not support {name}", hint)


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
    id_ = context.project.emr.ami
    if id_ is not None:
        image = _describe_images(context, [id_]).get(id_)
        if image is None:
            yield _no_image(context, id_)
        else:
            for name in context.cluster.types:
                yield from _architecture(image, id_, name)


def _check_ec2_images(context: PreflightContext) -> Iterator[PreflightFinding]:
    """Check that the images exist and fit the instance types and disks."""
    cluster = context.project.ec2
    try:
        ids = program_inputs.find_images(cluster, context.target)
    except EmrctlError as failure:
        yield error(failure.message, failure.hint)
        return
    images = _describe_images(context, sorted(set(ids.values())))
    for role, spec in (("primary", cluster.primary), ("worker", cluster.worker)):
        id_ = ids[f"image_{role}"]
        if id_ not in images:
            yield _no_image(context, id_)
        else:
            yield from _architecture(images[id_], id_, spec.type)
            yield from _root_device(images[id_], role, spec)


def _describe_images(context: PreflightContext, ids: list[str]) -> dict[str, Mapping[str, Any]]:
    answer = get_or_none(context.client("ec2").describe_images, *_NO_IMAGE, ImageIds=ids)
    images = answer["Images"] if answer else ()
    return {item.get("ImageId", ids[0]): item for item in images}


def _no_image(context: PreflightContext, id_: str) -> PreflightFinding:
    hint = "Images belong to one region: copy it there, or change cluster.ami."
    return error(f"there is no {id_} in {context.region}", hint)


def _architecture(image: Mapping[str, Any], id_: str, type_: str) -> Iterator[PreflightFinding]:
    actual = str(image.get("Architecture", ""))
    required = instance_types.instance_type(type_).arch
    if actual and actual != required:
        hint = f"Use an image for {required}, or types of {actual}."
        yield error(f"{id_} is for {actual}, and {type_} is {required}", hint)


def _root_device(
    image: Mapping[str, Any], role: str, spec: MachineSpec
) -> Iterator[PreflightFinding]:
    id_ = image["ImageId"]
    if image.get("RootDeviceType", "ebs") != "ebs":
        hint = "Use an image whose root device is an EBS volume."
        yield error(f"the root device of {id_} cannot be encrypted", hint)
    disks = image.get("BlockDeviceMappings", ())
    roots = [item for item in disks if item.get("DeviceName") == image.get("RootDeviceName")]
    least = max((int(item.get("Ebs", {}).get("VolumeSize", 0)) for item in roots), default=0)
    if spec.root_gb < least:
        what = f"{id_} needs a disk of {least} GB, and {role}.root_gb is {spec.root_gb}"
        yield error(what, f"Set cluster.{role}.root_gb: {least}.")


def _check_configuration(context: PreflightContext) -> Iterator[PreflightFinding]:
    from botocore.exceptions import ClientError

    name = context.project.emr.security.configuration
    if name is None:
        return
    try:
        context.client("emr").describe_security_configuration(Name=name)
    except ClientError as failure:
        if error_code(failure) != "InvalidRequestException":
            raise
        hint = "List them with `aws emr list-security-configurations`."
        what = f"there is no security configuration '{name}' in {context.region}"
        yield error(what, hint)


# --- subnets --------------------------------------------------------------------------------------


def _check_subnets(context: PreflightContext) -> Iterator[PreflightFinding]:
    subnets = _describe_subnets(context)
    if subnets is None:
        names = ", ".join(context.cluster.network.subnets)
        hint = "Check network.subnets and the region."
        yield error(f"{names}: not all of them are in {context.region}", hint)
    for subnet in subnets or ():
        yield from _addresses(context, subnet)
        yield from _routes(context, subnet)


def _check_emr_subnets(context: PreflightContext) -> Iterator[PreflightFinding]:
    """Check what only EMR needs: the tag for its service role, and DNS in the VPC."""
    subnets = _describe_subnets(context)
    for subnet in subnets or ():
        name = subnet["SubnetId"]
        if context.project.emr.roles.service is None and tags(subnet).get(_MANAGED_TAG) != "true":
            tag = f"Key={_MANAGED_TAG},Value=true"
            hint = f"Run `aws ec2 create-tags --resources {name} --tags {tag}`."
            yield error(f"{name} lacks the tag that EMR's service role requires", hint)
    if subnets:
        yield from _dns(context, str(context.cluster.network.vpc))


def _describe_subnets(context: PreflightContext) -> list[dict[str, Any]] | None:
    """Return the existing subnets of the spec; None if one does not exist."""
    network = context.cluster.network
    if not network.existing:
        return []
    request, ids = context.client("ec2").describe_subnets, list(network.subnets)
    answer = get_or_none(request, "InvalidSubnetID.NotFound", SubnetIds=ids)
    return None if answer is None else list(answer["Subnets"])


def _addresses(context: PreflightContext, subnet: Mapping[str, Any]) -> Iterator[PreflightFinding]:
    name, spec = subnet["SubnetId"], context.cluster
    if subnet["VpcId"] != spec.network.vpc:
        what = f"{name} is in {subnet['VpcId']}, not in {spec.network.vpc}"
        yield error(what, "Change or omit network.vpc.")
    nodes, free = spec.nodes_at_most, subnet["AvailableIpAddressCount"]
    what = f"{name} has {free} free addresses, and the cluster may have {nodes} nodes"
    if free < nodes:
        yield error(what, "Use a larger subnet, or fewer nodes.")
    elif free < nodes + _SPARE_ADDRESSES:
        yield warning(what, "A node that is being replaced keeps its address a while.")


def _routes(context: PreflightContext, subnet: Mapping[str, Any]) -> Iterator[PreflightFinding]:
    name, private = subnet["SubnetId"], context.cluster.network.private
    routes = _route_table(context, subnet)
    default = [route for route in routes if route.get("DestinationCidrBlock") == "0.0.0.0/0"]
    internet = any(str(route.get("GatewayId", "")).startswith("igw-") for route in default)
    s3 = any(str(route.get("GatewayId", "")).startswith("vpce-") for route in routes)
    if not private and not internet:
        hint = "Add a route for 0.0.0.0/0 to an internet gateway, or set network.private."
        yield error(f"{name} has no route to an internet gateway", hint)
    elif private and internet:
        what = f"{name} has a route to an internet gateway, and network.private is true"
        yield warning(what, "Nodes get no public address and cannot use the gateway.")
    elif private and not (default or s3):
        hint = "Add a gateway endpoint for S3 to its route table, or a NAT gateway."
        yield error(f"{name} has no route to S3", hint)


def _route_table(context: PreflightContext, subnet: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the routes of the subnet's own table, or of its VPC's main table."""
    ec2 = context.client("ec2")
    own = [{"Name": "association.subnet-id", "Values": [subnet["SubnetId"]]}]
    main = [
        {"Name": "vpc-id", "Values": [subnet["VpcId"]]},
        {"Name": "association.main", "Values": ["true"]},
    ]
    for filters in (own, main):
        tables = ec2.describe_route_tables(Filters=filters)["RouteTables"]
        if tables:
            return [route for table in tables for route in table.get("Routes", [])]
    return []


def _dns(context: PreflightContext, vpc: str) -> Iterator[PreflightFinding]:
    ec2 = context.client("ec2")
    for attribute, flag in _DNS.items():
        answer = get_or_none(
            ec2.describe_vpc_attribute, "InvalidVpcID.NotFound", VpcId=vpc, Attribute=attribute
        )
        if answer is not None and not answer[f"{attribute[:1].upper()}{attribute[1:]}"]["Value"]:
            hint = f"Run `aws ec2 modify-vpc-attribute --vpc-id {vpc} --enable-{flag}`."
            yield error(f"{vpc} has {attribute} off, and EMR needs it", hint)


CHECKS = (
    PreflightCheck(about="instance types", check=_check_types),
    PreflightCheck(about="release", check=_check_release, kind="emr", needs_account=False),
    PreflightCheck(about="Spark", check=_check_spark, kind="emr", needs_account=False),
    PreflightCheck(about="release", check=_check_release_types, kind="emr"),
    PreflightCheck(about="machine image", check=_check_emr_image, kind="emr"),
    PreflightCheck(about="security configuration", check=_check_configuration, kind="emr"),
    PreflightCheck(about="machine image", check=_check_ec2_images, kind="ec2"),
    PreflightCheck(about="subnets", check=_check_subnets),
    PreflightCheck(about="subnets", check=_check_emr_subnets, kind="emr"),
)
