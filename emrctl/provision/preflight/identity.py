"""Key pair, roles, instance profile, the caller and its SSH access."""

from __future__ import annotations

import ipaddress
import json
import shutil
from collections.abc import Iterator
from functools import partial
from typing import Any

from emrctl.aws.errors import get_or_none
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
from emrctl.spec.ec2 import CALLER, NO_SSH

_EMR_SERVICE = "elasticmapreduce.amazonaws.com"


def _check_key_pair(context: PreflightContext) -> Iterator[PreflightFinding]:
    name, ec2 = context.cluster.key_pair, context.client("ec2")
    if name is None:
        return
    call = partial(ec2.describe_key_pairs, KeyNames=[name])
    if get_or_none(call, "InvalidKeyPair.NotFound") is None:
        names = [item["KeyName"] for item in ec2.describe_key_pairs()["KeyPairs"]][:5]
        hint = (
            f"Existing key pairs: {', '.join(names) or 'none'}. "
            f"Create it with `aws ec2 create-key-pair --key-name {name}`."
        )
        yield error("key pair", f"there is no key pair '{name}' in {context.region}", hint)


def _check_own_key_pair(context: PreflightContext) -> Iterator[PreflightFinding]:
    """Check that the name of the key pair that emrctl creates is free."""
    if context.cluster.key_pair is not None:
        return
    stack = context.project.cluster_stack
    filters = [{"Name": "key-name", "Values": [stack]}]
    for item in context.client("ec2").describe_key_pairs(Filters=filters)["KeyPairs"]:
        if item["KeyName"] == stack and tags(item).get("emrctl:stack") != stack:
            hint = "Set another `project` or cluster.name, or set cluster.key_pair."
            what = f"the key pair '{stack}' exists and was not created by emrctl"
            yield error("key pair", what, hint)


def _check_service_role(context: PreflightContext) -> Iterator[PreflightFinding]:
    name = context.emr.roles.service
    if name is None:
        yield from _name_taken(context, f"{context.project.cluster_stack}-service")
        return
    role = _role(context, name)
    if role is None:
        hint = "Create EMR's default with `aws emr create-default-roles`, or omit roles.service."
        yield error("roles", f"there is no role '{name}' for EMR", hint)
    elif _EMR_SERVICE not in json.dumps(role.get("AssumeRolePolicyDocument", "")):
        hint = f"Allow {_EMR_SERVICE} to assume it, or omit roles.service."
        yield error("roles", f"EMR may not assume the role '{name}'", hint)


def _check_profile(context: PreflightContext) -> Iterator[PreflightFinding]:
    name = context.cluster.roles.instance_profile
    if name is None:
        yield from _name_taken(context, f"{context.project.cluster_stack}-nodes")
    elif _profile(context, name) is None:
        hint = "List them with `aws iam list-instance-profiles`, or omit roles.instance_profile."
        yield error("instance profile", f"there is no instance profile '{name}'", hint)


def _check_profile_role(context: PreflightContext) -> Iterator[PreflightFinding]:
    name = context.cluster.roles.instance_profile
    profile = name and _profile(context, name)
    if profile:
        roles = [role["RoleName"] for role in profile["Roles"]]
        if roles != [name]:
            what = f"profile '{name}' has the role {', '.join(roles) or 'none'}"
            hint = "EMR needs an instance profile with the name of its role: create one."
            yield error("instance profile", what, hint)


def _profile(context: PreflightContext, name: str) -> dict[str, Any] | None:
    call = partial(context.client("iam").get_instance_profile, InstanceProfileName=name)
    answer = get_or_none(call, "NoSuchEntity")
    return None if answer is None else dict(answer["InstanceProfile"])


def _name_taken(context: PreflightContext, name: str) -> Iterator[PreflightFinding]:
    """Check that the name of a role that emrctl creates is free."""
    role = _role(context, name)
    if role is not None and tags(role).get("emrctl:project") != context.project.project:
        hint = "Set another `project` or cluster.name, or delete the role."
        yield error("roles", f"the role '{name}' exists and was not created by emrctl", hint)


def _role(context: PreflightContext, name: str) -> dict[str, Any] | None:
    call = partial(context.client("iam").get_role, RoleName=name.rpartition("/")[2])
    answer = get_or_none(call, "NoSuchEntity")
    return None if answer is None else dict(answer["Role"])


def _check_boundary(context: PreflightContext) -> Iterator[PreflightFinding]:
    arn = context.cluster.roles.permissions_boundary
    if arn is None:
        return
    call = partial(context.client("iam").get_policy, PolicyArn=arn)
    if get_or_none(call, "NoSuchEntity") is None:
        hint = "Set roles.permissions_boundary to the ARN of a policy."
        yield error("roles", f"there is no policy {arn}", hint)


def _check_caller(context: PreflightContext) -> Iterator[PreflightFinding]:
    caller = str(context.client("sts").get_caller_identity().get("Arn", ""))
    if caller.endswith(":root"):
        hint = "Use a role or a user: permissions of the root user cannot be limited."
        yield warning("caller", "the caller is the account's root user", hint)


def _check_ssh(context: PreflightContext) -> Iterator[PreflightFinding]:
    """Check that the caller's address is in `cluster.ssh`, or can use Session Manager."""
    ssh = context.ec2.ssh
    if ssh == NO_SSH:
        yield from _session_plugin()
        return
    try:
        address = ipaddress.IPv4Address(program_inputs.caller_address())
    except EmrctlError as failure:
        if ssh == CALLER:
            yield error("SSH", failure.message, failure.hint)
        return
    if ssh == CALLER:
        return
    network = ipaddress.IPv4Network(ssh)
    # A private range is reached by a VPN, in which this machine has another address.
    if address not in network and not network.is_private:
        hint = f"Set cluster.ssh to {CALLER}, or to a range that includes {address}."
        yield warning("SSH", f"this machine's address {address} is not in cluster.ssh {ssh}", hint)


def _session_plugin() -> Iterator[PreflightFinding]:
    if shutil.which(program_inputs.SESSION_PLUGIN) is None:
        hint = "Install AWS's Session Manager plugin for the AWS CLI, or set cluster.ssh."
        what = f"cluster.ssh is {NO_SSH}, and {program_inputs.SESSION_PLUGIN} is not on PATH"
        yield error("SSH", what, hint)


CHECKS = (
    PreflightCheck(about="key pair", check=_check_key_pair),
    PreflightCheck(about="key pair", check=_check_own_key_pair, kind="ec2"),
    PreflightCheck(about="roles", check=_check_service_role, kind="emr"),
    PreflightCheck(about="instance profile", check=_check_profile),
    PreflightCheck(about="instance profile", check=_check_profile_role, kind="emr"),
    PreflightCheck(about="permissions boundary", check=_check_boundary),
    PreflightCheck(about="caller", check=_check_caller),
    PreflightCheck(about="SSH", check=_check_ssh, kind="ec2"),
)
