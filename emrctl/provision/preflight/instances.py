"""What clusters of EC2 instances need alone: an image, a way in, a wheelhouse."""

from __future__ import annotations

import ipaddress
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

from emrctl.aws import instance_types
from emrctl.aws.errors import get_or_none
from emrctl.clusters import ec2_inputs
from emrctl.errors import EmrctlError
from emrctl.provision.preflight.finding import Finding, Look, Topic, error, warning
from emrctl.spec import MachineSpec
from emrctl.spec.ec2 import CALLER, NOBODY

_MISSING = ("InvalidAMIID.NotFound", "InvalidAMIID.Unavailable", "InvalidAMIID.Malformed")


def _images(look: Look) -> Iterator[Finding]:
    """The images that the spec comes to are there, fit their instances and their disks."""
    try:
        found = ec2_inputs.find_images(look.ec2, look.target)
    except EmrctlError as failure:
        yield error("machine image", failure.message, failure.hint)
        return
    answer = get_or_none(
        lambda: look.client("ec2").describe_images(ImageIds=sorted(set(found.values()))), *_MISSING
    )
    seen = {item["ImageId"]: item for item in (answer or {}).get("Images", ())}
    for role, spec in (("primary", look.ec2.primary), ("worker", look.ec2.worker)):
        image = found[f"image_{role}"]
        if image not in seen:
            hint = "An image belongs to one region: copy it there, or look at cluster.ami."
            yield error("machine image", f"there is no {image} in {look.target.region}", hint)
        else:
            yield from _fits(seen[image], role, spec)


def _fits(image: Mapping[str, Any], role: str, spec: MachineSpec) -> Iterator[Finding]:
    name, arch = image["ImageId"], str(image.get("Architecture", ""))
    wanted = instance_types.instance_type(spec.type).arch
    if arch and arch != wanted:
        hint = f"Take an image for {wanted}, or types of {arch}."
        yield error("machine image", f"{name} is for {arch}, and {spec.type} is {wanted}", hint)
    if image.get("RootDeviceType", "ebs") != "ebs":
        hint = "Take an image whose root device is an EBS volume."
        yield error("machine image", f"{name} has no disk that could be encrypted", hint)
    disks = image.get("BlockDeviceMappings", ())
    roots = [one for one in disks if one.get("DeviceName") == image.get("RootDeviceName")]
    least = max((int(one.get("Ebs", {}).get("VolumeSize", 0)) for one in roots), default=0)
    if spec.root_gb < least:
        what = f"{name} needs a disk of {least} GB, and {role}.root_gb is {spec.root_gb}"
        yield error("machine image", what, f"Set cluster.{role}.root_gb: {least}.")


def _way_in(look: Look) -> Iterator[Finding]:
    """Whoever runs emrctl comes from an address that is let in."""
    given = look.ec2.ssh
    if given == NOBODY:
        yield from _plugin()
        return
    try:
        here = ipaddress.IPv4Address(ec2_inputs.caller_address())
    except EmrctlError as failure:
        if given == CALLER:
            yield error("SSH", failure.message, failure.hint)
        return
    if given == CALLER:
        return
    inside = ipaddress.IPv4Network(given)
    # A private range is reached by a VPN, in which this machine has another address.
    if here not in inside and not inside.is_private:
        hint = f"Set cluster.ssh: {CALLER}, or to a range that holds {here}."
        yield warning("SSH", f"this machine comes from {here}, outside cluster.ssh {given}", hint)


def _plugin() -> Iterator[Finding]:
    if shutil.which(ec2_inputs.SESSION_PLUGIN) is None:
        hint = "Install AWS's Session Manager plugin for the AWS CLI, or set cluster.ssh."
        what = f"cluster.ssh is {NOBODY}, and {ec2_inputs.SESSION_PLUGIN} is not on PATH"
        yield error("SSH", what, hint)


def _wheelhouse(look: Look) -> Iterator[Finding]:
    place = look.ec2.wheelhouse
    if place is None:
        return
    bucket, _, prefix = place.removeprefix("s3://").rstrip("/").partition("/")
    asked = {"Bucket": bucket, "Prefix": f"{prefix}/" if prefix else "", "MaxKeys": 1}
    found = get_or_none(lambda: look.client("s3").list_objects_v2(**asked), "NoSuchBucket")
    if found is None or not found.get("Contents"):
        hint = "Put the wheels there, or leave cluster.wheelhouse out."
        yield error("wheelhouse", f"nothing lies in {place}", hint)


TOPICS = (
    Topic(about="machine image", check=_images, kind="ec2"),
    Topic(about="SSH", check=_way_in, kind="ec2"),
    Topic(about="wheelhouse", check=_wheelhouse, kind="ec2"),
)
