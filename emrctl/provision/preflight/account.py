"""Region, quotas, block public access and service-linked roles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial

from emrctl.aws import instance_types
from emrctl.aws.errors import get_or_none
from emrctl.aws.listing import EC2_STARTED, instances, tags
from emrctl.provision.preflight.finding import (
    PreflightCheck,
    PreflightContext,
    PreflightFinding,
    error,
    warning,
)
from emrctl.spec import AnyClusterSpec

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
    call = partial(ec2.describe_regions, RegionNames=[region], AllRegions=True)
    answer = get_or_none(call, "InvalidParameterValue")
    if not answer or not answer["Regions"]:
        yield error("region", f"AWS has no region {region}", "Check `region` in emrctl.yaml.")
    elif answer["Regions"][0].get("OptInStatus") == "not-opted-in":
        hint = "Enable it in the account settings, or set another `region`."
        yield error("region", f"the account has not enabled region {region}", hint)


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
        yield error("quotas", what, hint)


def _quota(context: PreflightContext, service: str, quota_code: str) -> float | None:
    """Return the account's quota, or its default; None if there is none."""
    client = context.client("service-quotas")
    for call in (client.get_service_quota, client.get_aws_default_service_quota):
        request = partial(call, ServiceCode=service, QuotaCode=quota_code)
        answer = get_or_none(request, "NoSuchResourceException")
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
        yield error("VPCs", what, hint)


def _check_public_access(context: PreflightContext) -> Iterator[PreflightFinding]:
    answer = context.client("emr").get_block_public_access_configuration()
    if answer["BlockPublicAccessConfiguration"]["BlockPublicSecurityGroupRules"]:
        return
    what = f"EMR's block public access is off in {context.region} (Security Hub EMR.2)"
    hint = (
        "Enable it for the account: `aws emr put-block-public-access-configuration "
        "--block-public-access-configuration BlockPublicSecurityGroupRules=true`."
    )
    yield warning("block public access", what, hint)


def _check_cleanup_role(context: PreflightContext) -> Iterator[PreflightFinding]:
    yield from _linked_role(context, _CLEANUP, "elasticmapreduce.amazonaws.com")


def _check_spot_role(context: PreflightContext) -> Iterator[PreflightFinding]:
    if any(spot for _, spot in cluster_vcpus(context.cluster)):
        yield from _linked_role(context, _SPOT, "spot.amazonaws.com")


def _linked_role(context: PreflightContext, name: str, service: str) -> Iterator[PreflightFinding]:
    call = partial(context.client("iam").get_role, RoleName=name)
    if get_or_none(call, "NoSuchEntity") is None:
        hint = (
            "AWS creates it with the first cluster if the caller has "
            "iam:CreateServiceLinkedRole; otherwise an administrator runs `aws iam "
            f"create-service-linked-role --aws-service-name {service}`."
        )
        what = f"the account has no service-linked role {name} yet"
        yield warning("service-linked roles", what, hint)


CHECKS = (
    PreflightCheck(about="region", check=_check_region),
    PreflightCheck(about="quotas", check=_check_quotas),
    PreflightCheck(about="VPCs", check=_check_vpcs),
    PreflightCheck(about="block public access", check=_check_public_access, kind="emr"),
    PreflightCheck(about="service-linked roles", check=_check_cleanup_role, kind="emr"),
    PreflightCheck(about="service-linked roles", check=_check_spot_role),
)
