"""Key pair, roles and instance profile."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from emrctl.aws.errors import get_or_none
from emrctl.aws.listing import tags
from emrctl.provision.preflight.finding import Finding, Look, Topic, error, warning

_EMR = "elasticmapreduce.amazonaws.com"


def _key_pair(look: Look) -> Iterator[Finding]:
    name = look.cluster.key_pair
    if name is None:
        yield from _free_key(look)
        return
    ec2, missing = look.client("ec2"), "InvalidKeyPair.NotFound"
    if get_or_none(lambda: ec2.describe_key_pairs(KeyNames=[name]), missing) is not None:
        return
    known = [item["KeyName"] for item in ec2.describe_key_pairs()["KeyPairs"]]
    there = f"There are {', '.join(known[:5])}" if known else "There is none"
    hint = f"{there}; `aws ec2 create-key-pair --key-name {name}` makes one."
    yield error("key pair", f"there is no key pair '{name}' in {look.target.region}", hint)


def _free_key(look: Look) -> Iterator[Finding]:
    """A key pair that emrctl makes for instances has a name that nobody else's has."""
    if look.cluster.kind != "ec2":
        return
    stack = look.project.cluster_stack
    asked = {"Filters": [{"Name": "key-name", "Values": [stack]}]}
    for item in look.client("ec2").describe_key_pairs(**asked)["KeyPairs"]:
        if item["KeyName"] == stack and tags(item).get("emrctl:stack") != stack:
            hint = "Take another `project` or cluster.name, or give cluster.key_pair."
            what = f"the key pair '{stack}' exists already, and is not emrctl's"
            yield error("key pair", what, hint)


def _service_role(look: Look) -> Iterator[Finding]:
    name = look.emr.roles.service
    if name is None:
        yield from _free(look, f"{look.project.cluster_stack}-service")
        return
    role = _role(look, name)
    if role is None:
        hint = "`aws emr create-default-roles` makes EMR's own; or leave roles.service out."
        yield error("roles", f"there is no role '{name}' for EMR", hint)
    elif _EMR not in json.dumps(role.get("AssumeRolePolicyDocument", "")):
        hint = f"Let {_EMR} assume it, or leave roles.service out."
        yield error("roles", f"EMR may not take the role '{name}'", hint)


def _profile(look: Look) -> Iterator[Finding]:
    name = look.cluster.roles.instance_profile
    if name is None:
        yield from _free(look, f"{look.project.cluster_stack}-nodes")
        return
    iam = look.client("iam")
    found = get_or_none(lambda: iam.get_instance_profile(InstanceProfileName=name), "NoSuchEntity")
    if found is None:
        hint = "`aws iam list-instance-profiles` names them; or leave roles.instance_profile out."
        yield error("instance profile", f"there is no instance profile '{name}'", hint)
        return
    if look.cluster.kind == "ec2":
        return
    roles = [role["RoleName"] for role in found["InstanceProfile"]["Roles"]]
    if roles != [name]:
        held = ", ".join(roles) or "none"
        hint = "EMR takes a profile that has its role's name: make one so."
        yield error("instance profile", f"profile '{name}' holds the role {held}", hint)


def _free(look: Look, name: str) -> Iterator[Finding]:
    """A role that emrctl makes has a name that nobody else's has."""
    role = _role(look, name)
    if role is not None and tags(role).get("emrctl:project") != look.project.project:
        hint = "Take another `project` or cluster.name, or delete the role."
        yield error("roles", f"the role '{name}' exists already, and is not emrctl's", hint)


def _role(look: Look, name: str) -> dict[str, Any] | None:
    iam = look.client("iam")
    found = get_or_none(lambda: iam.get_role(RoleName=name.rpartition("/")[2]), "NoSuchEntity")
    return None if found is None else dict(found["Role"])


def _boundary(look: Look) -> Iterator[Finding]:
    arn = look.cluster.roles.permissions_boundary
    if arn is None:
        return
    iam = look.client("iam")
    if get_or_none(lambda: iam.get_policy(PolicyArn=arn), "NoSuchEntity") is None:
        hint = "Look at roles.permissions_boundary: it is a policy's ARN."
        yield error("roles", f"there is no policy {arn}", hint)


def _administrator(look: Look) -> Iterator[Finding]:
    caller = str(look.client("sts").get_caller_identity().get("Arn", ""))
    if caller.endswith(":root"):
        hint = "Work as a role or a user: what root does cannot be limited."
        yield warning("caller", "the caller is the account's root user", hint)


TOPICS = (
    Topic(about="key pair", check=_key_pair),
    Topic(about="roles", check=_service_role, kind="emr"),
    Topic(about="instance profile", check=_profile),
    Topic(about="permissions boundary", check=_boundary),
    Topic(about="caller", check=_administrator),
)
