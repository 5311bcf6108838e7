"""Region, quotas, block public access, roles, key pairs, the caller and its SSH access."""

from __future__ import annotations

import ipaddress
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from typing import Any

from emrctl.aws import instance_types
from emrctl.aws.errors import get_or_none
from emrctl.aws.listing import EC2_STARTED, instances, tags
from emrctl.clusters import program_inputs
from emrctl.errors import EmrctlError
from emrctl.provision.preflight.finding import (
    PreflightCheck,
    PreflightContext,
    PreflightFinding,
    error,
    warning,
)
from emrctl.spec import AnyClusterSpec
from emrctl.spec.ec2 import CALLER, NO_SSH

_EMR_SERVICE = "elasticmapreduce.amazonaws.com"
# First letter of a family, and the codes of its vCPU quotas: on demand, spot.
_QUOTAS = {
    "standard": ("L-1216C47A", "L-34B43A08"),
    "g": ("L-DB2E81BA", "L-3819A6DF"),
    "p": ("L-417A185B", "L-7212CCBC"),
}
_VPC_QUOTA = "L-F678F1CE"
_CLEANUP, _SPOT = "AWSServiceRoleForEMRCleanup", "AWSServiceRoleForEC2Spot"

Vcpus = Counter[tuple[str, bool]]
"""vCPUs by quota: family, and whether they are spot."""


def _check_region(context: PreflightContext) -> Iterator[PreflightFinding]:
    region, ec2 = context.region, context.client("ec2")
    answer = get_or_none(
        ec2.describe_regions, "InvalidParameterValue", RegionNames=[region], AllRegions=True
    )
    if not answer or not answer["Regions"]:
        yield error(f"AWS has no region {region}", "Check `region` in emrctl.yaml.")
    elif answer["Regions"][0].get("OptInStatus") == "not-opted-in":
        hint = "Enable it in the account settings, or set another `region`."
        yield error(f"the account has not enabled region {region}", hint)


def _check_quotas(context: PreflightContext) -> Iterator[PreflightFinding]:
    """Compare the cluster's vCPUs with the quotas, less those of other running instances."""
    used = _used_vcpus(context)
    for (family, spot), count in cluster_vcpus(context.cluster).items():
        quota_code = _QUOTAS[family][spot]
        limit = _quota(context, "ec2", quota_code)
        if limit is None or count <= (free := limit - used[family, spot]):
            continue
        market = "spot" if spot else "on-demand"
        what = (
            f"the cluster needs {count} vCPUs of {market} {family} instances, and "
            f"{max(0, free):.0f} of the account's {limit:.0f} in {context.region} are free"
        )
        hint = (
            "Use fewer nodes, or request `aws service-quotas request-service-quota-increase "
            f"--service-code ec2 --quota-code {quota_code} "
            f"--desired-value {int(limit - free + count)}`."
        )
        yield error(what, hint)


def _quota(context: PreflightContext, service: str, quota_code: str) -> float | None:
    """Return the account's quota, or its default; None if there is none."""
    client = context.client("service-quotas")
    for call in (client.get_service_quota, client.get_aws_default_service_quota):
        answer = get_or_none(
            call, "NoSuchResourceException", ServiceCode=service, QuotaCode=quota_code
        )
        if answer is not None:
            return float(answer["Quota"]["Value"])
    return None


def cluster_vcpus(spec: AnyClusterSpec) -> Vcpus:
    """Return the vCPUs that the cluster needs; of fleets those of the largest choice."""
    vcpus: Vcpus = Counter()
    for group in spec.groups.values():
        _add(vcpus, group.type, group.count, spot=group.bid_usd is not None)
    fleets = spec.fleets
    for fleet in (fleets.primary, fleets.core, fleets.task) if fleets else ():
        for spot, units in ((False, fleet.on_demand), (True, fleet.spot)) if fleet else ():
            if fleet is not None and units:
                counts = [(item.type, fleet.instances(item, units)) for item in fleet.types]
                type_, count = max(
                    counts, key=lambda pair: instance_types.instance_type(pair[0]).vcpus * pair[1]
                )
                _add(vcpus, type_, count, spot=spot)
    return vcpus


def _add(vcpus: Vcpus, type_: str, count: int, *, spot: bool) -> None:
    vcpus[quota_family(type_), spot] += count * instance_types.instance_type(type_).vcpus


def quota_family(type_: str) -> str:
    """Return the family whose quota includes an instance type."""
    return type_[:1] if type_[:1] in _QUOTAS else "standard"


def _used_vcpus(context: PreflightContext) -> Vcpus:
    """Return the vCPUs of running instances of other stacks."""
    filters = [{"Name": "instance-state-name", "Values": list(EC2_STARTED)}]
    used: Vcpus = Counter()
    for item in instances(context.client("ec2"), Filters=filters):
        if tags(item).get("emrctl:stack") != context.project.cluster_stack:
            cpu = item.get("CpuOptions", {})
            key = (quota_family(item["InstanceType"]), item.get("InstanceLifecycle") == "spot")
            used[key] += cpu.get("CoreCount", 1) * cpu.get("ThreadsPerCore", 1)
    return used


def _check_vpcs(context: PreflightContext) -> Iterator[PreflightFinding]:
    if context.cluster.network.existing:
        return
    vpcs = context.client("ec2").describe_vpcs()["Vpcs"]
    stack = context.project.cluster_stack
    if any(tags(item).get("emrctl:stack") == stack for item in vpcs):
        return
    limit = _quota(context, "vpc", _VPC_QUOTA)
    if limit is not None and len(vpcs) >= limit:
        what = f"the account has {len(vpcs)} VPCs in {context.region}; its quota is {limit:.0f}"
        hint = f"Delete one, request quota {_VPC_QUOTA}, or set network.subnets to existing ones."
        yield error(what, hint)


def _check_public_access(context: PreflightContext) -> Iterator[PreflightFinding]:
    answer = context.client("emr").get_block_public_access_configuration()
    if answer["BlockPublicAccessConfiguration"]["BlockPublicSecurityGroupRules"]:
        return
    what = f"EMR's block public access is off in {context.region} (Security Hub EMR.2)"
    hint = (
        "Enable it for the account: `aws emr put-block-public-access-configuration "
        "--block-public-access-configuration BlockPublicSecurityGroupRules=true`."
    )
    yield warning(what, hint)


def _check_cleanup_role(context: PreflightContext) -> Iterator[PreflightFinding]:
    yield from _linked_role(context, _CLEANUP, "elasticmapreduce.amazonaws.com")


def _check_spot_role(context: PreflightContext) -> Iterator[PreflightFinding]:
    if any(spot for _, spot in cluster_vcpus(context.cluster)):
        yield from _linked_role(context, _SPOT, "spot.amazonaws.com")


def _linked_role(context: PreflightContext, name: str, service: str) -> Iterator[PreflightFinding]:
    if get_or_none(context.client("iam").get_role, "NoSuchEntity", RoleName=name) is None:
        hint = (
            "AWS creates it with the first cluster if the caller has "
            "iam:CreateServiceLinkedRole; otherwise an administrator runs `aws iam "
            f"create-service-linked-role --aws-service-name {service}`."
        )
        what = f"the account has no service-linked role {name} yet"
        yield warning(what, hint)


# --- identities -----------------------------------------------------------------------------------


def _check_key_pair(context: PreflightContext) -> Iterator[PreflightFinding]:
    name, ec2 = context.cluster.key_pair, context.client("ec2")
    if name is None:
        return
    if get_or_none(ec2.describe_key_pairs, "InvalidKeyPair.NotFound", KeyNames=[name]) is None:
        names = [item["KeyName"] for item in ec2.describe_key_pairs()["KeyPairs"]][:5]
        hint = (
            f"Existing key pairs: {', '.join(names) or 'none'}. "
            f"Create it with `aws ec2 create-key-pair --key-name {name}`."
        )
        yield error(f"there is no key pair '{name}' in {context.region}", hint)


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
            yield error(what, hint)


def _check_service_role(context: PreflightContext) -> Iterator[PreflightFinding]:
    name = context.project.emr.roles.service
    if name is None:
        yield from _name_taken(context, f"{context.project.cluster_stack}-service")
        return
    role = _role(context, name)
    if role is None:
        hint = "Create EMR's default with `aws emr create-default-roles`, or omit roles.service."
        yield error(f"there is no role '{name}' for EMR", hint)
    elif _EMR_SERVICE not in json.dumps(role.get("AssumeRolePolicyDocument", "")):
        hint = f"Allow {_EMR_SERVICE} to assume it, or omit roles.service."
        yield error(f"EMR may not assume the role '{name}'", hint)


def _check_profile(context: PreflightContext) -> Iterator[PreflightFinding]:
    name = context.cluster.roles.instance_profile
    if name is None:
        yield from _name_taken(context, f"{context.project.cluster_stack}-nodes")
    elif _profile(context, name) is None:
        hint = "List them with `aws iam list-instance-profiles`, or omit roles.instance_profile."
        yield error(f"there is no instance profile '{name}'", hint)


def _check_profile_role(context: PreflightContext) -> Iterator[PreflightFinding]:
    name = context.cluster.roles.instance_profile
    profile = name and _profile(context, name)
    if profile:
        roles = [role["RoleName"] for role in profile["Roles"]]
        if roles != [name]:
            what = f"profile '{name}' has the role {', '.join(roles) or 'none'}"
            hint = "EMR needs an instance profile with the name of its role: create one."
            yield error(what, hint)


def _profile(context: PreflightContext, name: str) -> dict[str, Any] | None:
    request = context.client("iam").get_instance_profile
    answer = get_or_none(request, "NoSuchEntity", InstanceProfileName=name)
    return None if answer is None else dict(answer["InstanceProfile"])


def _name_taken(context: PreflightContext, name: str) -> Iterator[PreflightFinding]:
    """Check that the name of a role that emrctl creates is free."""
    role = _role(context, name)
    if role is not None and tags(role).get("emrctl:project") != context.project.project:
        hint = "Set another `project` or cluster.name, or delete the role."
        yield error(f"the role '{name}' exists and was not created by emrctl", hint)


def _role(context: PreflightContext, name: str) -> dict[str, Any] | None:
    name = name.rpartition("/")[2]
    answer = get_or_none(context.client("iam").get_role, "NoSuchEntity", RoleName=name)
    return None if answer is None else dict(answer["Role"])


def _check_boundary(context: PreflightContext) -> Iterator[PreflightFinding]:
    arn = context.cluster.roles.permissions_boundary
    if arn is None:
        return
    if get_or_none(context.client("iam").get_policy, "NoSuchEntity", PolicyArn=arn) is None:
        hint = "Set roles.permissions_boundary to the ARN of a policy."
        yield error(f"there is no policy {arn}", hint)


def _check_caller(context: PreflightContext) -> Iterator[PreflightFinding]:
    caller = str(context.client("sts").get_caller_identity().get("Arn", ""))
    if caller.endswith(":root"):
        hint = "Use a role or a user: permissions of the root user cannot be limited."
        yield warning("the caller is the account's root user", hint)


def _check_ssh(context: PreflightContext) -> Iterator[PreflightFinding]:
    """Check that the caller's address is in `cluster.ssh`, or can use Session Manager."""
    ssh = context.project.ec2.ssh
    if ssh == NO_SSH:
        yield from _session_plugin()
        return
    try:
        address = ipaddress.IPv4Address(program_inputs.caller_address())
    except EmrctlError as failure:
        if ssh == CALLER:
            yield error(failure.message, failure.hint)
        return
    if ssh == CALLER:
        return
    network = ipaddress.IPv4Network(ssh)
    # A private range is reached by a VPN, in which this machine has another address.
    if address not in network and not network.is_private:
        hint = f"Set cluster.ssh to {CALLER}, or to a range that includes {address}."
        yield warning(f"this machine's address {address} is not in cluster.ssh {ssh}", hint)


def _session_plugin() -> Iterator[PreflightFinding]:
    if shutil.which(program_inputs.SESSION_PLUGIN) is None:
        hint = "Install AWS's Session Manager plugin for the AWS CLI, or set cluster.ssh."
        what = f"cluster.ssh is {NO_SSH}, and {program_inputs.SESSION_PLUGIN} is not on PATH"
        yield error(what, hint)


CHECKS = (
    PreflightCheck(about="region", check=_check_region),
    PreflightCheck(about="quotas", check=_check_quotas),
    PreflightCheck(about="VPCs", check=_check_vpcs),
    PreflightCheck(about="block public access", check=_check_public_access, kind="emr"),
    PreflightCheck(about="service-linked roles", check=_check_cleanup_role, kind="emr"),
    PreflightCheck(about="service-linked roles", check=_check_spot_role),
    PreflightCheck(about="key pair", check=_check_key_pair),
    PreflightCheck(about="key pair", check=_check_own_key_pair, kind="ec2"),
    PreflightCheck(about="roles", check=_check_service_role, kind="emr"),
    PreflightCheck(about="instance profile", check=_check_profile),
    PreflightCheck(about="instance profile", check=_check_profile_role, kind="emr"),
    PreflightCheck(about="permissions boundary", check=_check_boundary),
    PreflightCheck(about="caller", check=_check_caller),
    PreflightCheck(about="SSH", check=_check_ssh, kind="ec2"),
)
