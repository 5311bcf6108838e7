"""What must be known before instances are launched: their image, their key, who may come in.

None of it is in the spec as it is needed: images are looked up once and then kept, the private key
lies in emrctl's home, and the caller's address is where the caller is today.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emrctl import paths
from emrctl.aws import errors, listing
from emrctl.aws.listing import tags
from emrctl.errors import NotFoundError, ProvisioningError
from emrctl.spec import Ec2ClusterSpec, ProjectSpec
from emrctl.spec.ec2 import CALLER, NOBODY

if TYPE_CHECKING:
    from emrctl.aws.target import Target

# AWS's own program; without SSH nothing else leads to a node.
SESSION_PLUGIN = "session-manager-plugin"
_WHERE = "https://checkip.amazonaws.com"
_TIMEOUT_S = 5.0
_ALIVE = ["pending", "running", "stopping", "stopped"]
_LOOPBACK = "127.0.0.1/32"
_TO_BE_MADE = "ssh-ed25519 to-be-made"


def settings(project: ProjectSpec, target: Target, *, make: bool = True) -> dict[str, str]:
    """`image_primary`, `image_worker`, `public_key` and `ssh_from` of the project's instances.

    Nothing for a cluster that is not made of EC2 instances. With `make` the private key is in
    emrctl's home afterwards; without it nothing is made, and a key that would be is a stand-in.
    """
    if project.cluster.kind != "ec2":
        return {}
    spec = project.ec2
    with errors.translated("looking up what the instances need"):
        alive = list(instances(project, target))
        found = images(spec, target, alive)
        if spec.key_pair is None:
            opened = any(item.get("KeyName") == project.cluster_stack for item in alive)
            found["public_key"] = _public_key(project, target, make=make, opened=opened)
    found["ssh_from"] = ssh_from(spec, target)
    return found


def instances(project: ProjectSpec, target: Target) -> Iterator[dict[str, Any]]:
    """EC2's description of every instance of the project's cluster that is not gone."""
    filters = [
        {"Name": "tag:emrctl:stack", "Values": [project.cluster_stack]},
        {"Name": "tag-key", "Values": ["emrctl:role"]},
        {"Name": "instance-state-name", "Values": _ALIVE},
    ]
    return listing.instances(target.client("ec2"), Filters=filters)


def images(
    spec: Ec2ClusterSpec, target: Target, alive: list[dict[str, Any]] | None = None
) -> dict[str, str]:
    """`image_primary` and `image_worker`: of instances that stand, as long as the spec says so.

    A parameter names another image every few weeks. New workers take the old one as long as the
    cluster stands, or each `up` would make all instances anew.
    """
    kept = {}
    for item in alive or ():
        kept[tags(item).get("emrctl:image")] = str(item["ImageId"])
    found = {}
    for role, type_ in (("primary", spec.primary.type), ("worker", spec.worker.type)):
        named = spec.image(type_)
        if named.startswith("ami-"):
            found[f"image_{role}"] = named
        else:
            found[f"image_{role}"] = kept.get(named) or _looked_up(named, target)
    return found


def _looked_up(path: str, target: Target) -> str:
    from botocore.exceptions import ClientError

    try:
        found = target.client("ssm").get_parameter(Name=path)["Parameter"]["Value"]
    except ClientError as error:
        if errors.error_code(error) != "ParameterNotFound":
            raise
        hint = "Look at cluster.ami: an image's id, or the path of a parameter that names one."
        msg = f"SSM has no parameter {path} in {target.region}"
        raise NotFoundError(msg, hint=hint) from error
    if not str(found).startswith("ami-"):
        hint = "Take a parameter that holds an image's id."
        raise ProvisioningError(f"the parameter {path} names no image: {found}", hint=hint)
    return str(found)


# --- the key --------------------------------------------------------------------------------------


def _public_key(project: ProjectSpec, target: Target, *, make: bool, opened: bool) -> str:
    """The public half of the key in emrctl's home, which is made where there is none.

    Nobody else has the private half: without it instances that it `opened` could not be reached.
    """
    stack = project.cluster_stack
    file = paths.key_file(stack)
    ours = _public_half(file) if file.exists() else None
    there = _known_key(target, stack) if opened else None
    if opened and (ours is None or there not in {None, ours}):
        msg = f"the key of {stack}, which stands, is not in {file}"
        hint = "Copy it from where the cluster was made, or take the cluster down first."
        raise NotFoundError(msg, hint=hint)
    if ours is None:
        ours = _made(file) if make else _TO_BE_MADE
    return ours


def _known_key(target: Target, name: str) -> str | None:
    """The public key that EC2 has under this name, without its comment."""
    filters = [{"Name": "key-name", "Values": [name]}]
    found = target.client("ec2").describe_key_pairs(Filters=filters, IncludePublicKey=True)
    keys = [str(item.get("PublicKey", "")) for item in found["KeyPairs"]]
    return " ".join(keys[0].split()[:2]) if keys and keys[0] else None


def _made(file: Path) -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    text = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    paths.create_private(file, text)
    return _public_half(file)


def _public_half(file: Path) -> str:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    try:
        key = serialization.load_ssh_private_key(file.read_bytes(), password=None)
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        hint = "Put the cluster's key back there, or move the file away."
        raise ProvisioningError(f"{file} holds no private key: {error}", hint=hint) from error
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return public.decode()


# --- who may come in ------------------------------------------------------------------------------


def ssh_from(spec: Ec2ClusterSpec, target: Target) -> str:
    """The range of addresses from which nodes are reached; empty where nobody is to come in."""
    if spec.ssh == NOBODY:
        return ""
    if spec.ssh != CALLER:
        return spec.ssh
    return _LOOPBACK if target.kind == "local" else f"{address()}/32"


def address() -> str:
    """This machine's address as AWS sees it; `ProvisioningError` where nobody says."""
    import urllib.request

    try:
        with urllib.request.urlopen(_WHERE, timeout=_TIMEOUT_S) as answer:
            return str(ipaddress.IPv4Address(answer.read(64).decode().strip()))
    except (OSError, ValueError) as error:
        msg = f"{_WHERE} did not say from which address this machine comes: {error}"
        hint = "Set cluster.ssh to your range of addresses, as 203.0.113.7/32."
        raise ProvisioningError(msg, hint=hint) from error
