"""Inputs of the Pulumi program that are looked up: existing networks; images, key and SSH range.

Tags of subnets and VPCs are replaced by ids. The others are for EC2 clusters: image parameters are
resolved once per cluster, the private key is kept in emrctl's home, and the address of the caller
is looked up for each `up`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emrctl import paths
from emrctl.aws import errors
from emrctl.aws.listing import tags
from emrctl.aws.target import Target
from emrctl.clusters.ec2 import describe_nodes
from emrctl.errors import NotFoundError, ProvisioningError, SpecError
from emrctl.spec import Ec2ClusterSpec, NetworkSpec, ProjectSpec
from emrctl.spec.ec2 import CALLER, NO_SSH

# AWS's client for sessions: the only access to nodes without SSH.
SESSION_PLUGIN = "session-manager-plugin"
_CHECK_IP = "https://checkip.amazonaws.com"
_TIMEOUT_S = 5.0
_KEY_PLACEHOLDER = "ssh-ed25519 to-be-made"


def program_settings(project: ProjectSpec, target: Target, create_key: bool) -> dict[str, str]:
    """Return `image_primary`, `image_worker`, `public_key` and `ssh_from` of an EC2 cluster.

    With `create_key` a missing private key is created in emrctl's home; without it, as in a
    preview, its public key is a placeholder. There is no `public_key` if the spec has a key pair.
    """
    spec = project.ec2
    with errors.translated("looking up the inputs of instances"):
        instances = describe_nodes(target, "stack", project.cluster_stack)
        settings = find_images(spec, target, instances)
        if spec.key_pair is None:
            in_use = any(item.get("KeyName") == project.cluster_stack for item in instances)
            settings["public_key"] = _public_key(project, target, create=create_key, in_use=in_use)
    return settings | {"ssh_from": ssh_range(spec, target)}


def find_images(
    spec: Ec2ClusterSpec, target: Target, instances: Sequence[dict[str, Any]] = ()
) -> dict[str, str]:
    """Return `image_primary` and `image_worker`.

    The value of an image parameter changes every few weeks. Existing instances and new workers
    keep the image of the cluster; otherwise each `up` would replace all instances.
    """
    current = {tags(item).get("emrctl:image"): str(item["ImageId"]) for item in instances}
    images = {}
    for role, type_ in (("primary", spec.primary.type), ("worker", spec.worker.type)):
        name = spec.image(type_)
        if not name.startswith("ami-"):
            name = current.get(name) or _image_of_parameter(name, target)
        images[f"image_{role}"] = name
    return images


def _image_of_parameter(path: str, target: Target) -> str:
    from botocore.exceptions import ClientError

    try:
        value = target.client("ssm").get_parameter(Name=path)["Parameter"]["Value"]
    except ClientError as error:
        if errors.error_code(error) != "ParameterNotFound":
            raise
        hint = "Set cluster.ami to an image id, or to an SSM parameter that contains one."
        msg = f"SSM has no parameter {path} in {target.region}"
        raise NotFoundError(msg, hint=hint) from error
    if not str(value).startswith("ami-"):
        hint = "Set cluster.ami to a parameter that contains an image id."
        msg = f"SSM parameter {path} does not contain an image id: {value}"
        raise ProvisioningError(msg, hint=hint)
    return str(value)


# --- key pair -------------------------------------------------------------------------------------


def _public_key(project: ProjectSpec, target: Target, *, create: bool, in_use: bool) -> str:
    """Return the public half of the key in emrctl's home.

    `NotFoundError` if instances use a key whose private half is not on this machine.
    """
    stack = project.cluster_stack
    file = paths.key_file(stack)
    local = _read_public_key(file) if file.exists() else None
    remote = _ec2_public_key(target, stack) if in_use else None
    if in_use and (local is None or remote not in {None, local}):
        msg = f"the private key of the running cluster {stack} is not in {file}"
        hint = "Copy it from the machine that created the cluster, or run `emrctl down` first."
        raise NotFoundError(msg, hint=hint)
    if local is not None:
        return local
    return _create_key(file) if create else _KEY_PLACEHOLDER


def _ec2_public_key(target: Target, name: str) -> str | None:
    """Return the public key of EC2's key pair, without its comment."""
    filters = [{"Name": "key-name", "Values": [name]}]
    answer = target.client("ec2").describe_key_pairs(Filters=filters, IncludePublicKey=True)
    keys = [str(item.get("PublicKey", "")) for item in answer["KeyPairs"]]
    return " ".join(keys[0].split()[:2]) if keys and keys[0] else None


def _create_key(file: Path) -> str:
    """Create the private key file unless it exists; return its public key."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    text = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    paths.create_private(file, text)
    return _read_public_key(file)


def _read_public_key(file: Path) -> str:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    try:
        key = serialization.load_ssh_private_key(file.read_bytes(), password=None)
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        hint = "Restore the cluster's private key, or delete the file."
        raise ProvisioningError(f"{file} is not a private key: {error}", hint=hint) from error
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return public.decode()


# --- SSH access -----------------------------------------------------------------------------------


def ssh_range(spec: Ec2ClusterSpec, target: Target) -> str:
    """Return the CIDR range that may connect to the nodes by SSH; empty if none may."""
    if spec.ssh == NO_SSH:
        return ""
    if spec.ssh != CALLER:
        return spec.ssh
    return target.caller_range or f"{caller_address()}/32"


def caller_address() -> str:
    """Return this machine's public IPv4 address; `ProvisioningError` if it is unknown."""
    import urllib.request

    try:
        with urllib.request.urlopen(_CHECK_IP, timeout=_TIMEOUT_S) as answer:
            return str(ipaddress.IPv4Address(answer.read(64).decode().strip()))
    except (OSError, ValueError) as error:
        msg = f"could not read this machine's public address from {_CHECK_IP}: {error}"
        hint = "Set cluster.ssh to your range of addresses, e.g. 203.0.113.7/32."
        raise ProvisioningError(msg, hint=hint) from error


# --- existing network -----------------------------------------------------------------------------


def resolve_network(project: ProjectSpec, target: Target) -> ProjectSpec:
    """Return the project with the network's tags replaced by ids.

    `NotFoundError` if nothing has the tags, `SpecError` if the subnets cannot be used together.
    """
    network = project.cluster.network
    if not network.existing or _has_ids(network):
        return project
    subnets = _subnets(network, target)
    vpcs = sorted({str(item["VpcId"]) for item in subnets})
    if len(vpcs) > 1:
        hint = "Set network.vpc, or list the ids in network.subnets."
        raise SpecError(f"network.subnets are in several VPCs: {', '.join(vpcs)}", hint=hint)
    # Sorted, because AWS returns subnets in any order, and the program must not change with it.
    ids = tuple(sorted(str(item["SubnetId"]) for item in subnets))
    if len(ids) > 1 and project.cluster.one_subnet:
        msg = f"network.subnets match {len(ids)} subnets ({', '.join(ids)}), but nodes need one"
        raise SpecError(msg, hint=f"Set network.subnets to one of them{_or_fleets(project)}.")
    network = network.model_copy(update={"subnets": ids, "vpc": vpcs[0]})
    cluster = project.cluster.model_copy(update={"network": network})
    return project.model_copy(update={"cluster": cluster})


def _or_fleets(project: ProjectSpec) -> str:
    has_fleets = "fleets" in type(project.cluster).model_fields
    return ", or use fleets, which take several subnets" if has_fleets else ""


def _has_ids(network: NetworkSpec) -> bool:
    return isinstance(network.vpc, str) and isinstance(network.subnets, tuple)


def _subnets(network: NetworkSpec, target: Target) -> list[dict[str, Any]]:
    ec2 = target.client("ec2")
    if isinstance(network.subnets, tuple):
        filters = [{"Name": "subnet-id", "Values": list(network.subnets)}]
    else:
        filters = _tag_filters(network.subnets)
    if isinstance(network.vpc, dict):
        vpcs = ec2.describe_vpcs(Filters=_tag_filters(network.vpc))["Vpcs"]
        if not vpcs:
            raise _not_found("VPC", network.vpc, target)
        filters.append({"Name": "vpc-id", "Values": [item["VpcId"] for item in vpcs]})
    elif network.vpc is not None:
        filters.append({"Name": "vpc-id", "Values": [network.vpc]})
    pages = ec2.get_paginator("describe_subnets").paginate(Filters=filters)
    subnets = [item for page in pages for item in page["Subnets"]]
    if not subnets:
        raise _not_found("subnet", network.subnets, target)
    return subnets


def _tag_filters(tags: dict[str, str]) -> list[dict[str, Any]]:
    return [{"Name": f"tag:{key}", "Values": [value]} for key, value in sorted(tags.items())]


def _not_found(resource: str, query: Any, target: Target) -> NotFoundError:
    names = query if isinstance(query, tuple) else [f"{k}={v}" for k, v in query.items()]
    msg = f"no {resource} in {target.region} has the id or tags {', '.join(names)}"
    return NotFoundError(msg, hint="Check network.vpc, network.subnets and the region.")
