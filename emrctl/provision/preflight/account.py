"""Region, quotas, block of public access, service-linked roles."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from emrctl.aws import instance_types
from emrctl.aws.errors import get_or_none
from emrctl.aws.listing import instances, tags
from emrctl.provision.preflight.finding import Finding, Look, Topic, error, warning
from emrctl.spec import AnyClusterSpec

# Letters of a family, and the quotas of vCPUs that count it: on demand, spot.
_QUOTAS = {
    "standard": ("L-1216C47A", "L-34B43A08"),
    "g": ("L-DB2E81BA", "L-3819A6DF"),
    "p": ("L-417A185B", "L-7212CCBC"),
}
_VPCS = "L-F678F1CE"
_CLEANUP, _SPOT = "AWSServiceRoleForEMRCleanup", "AWSServiceRoleForEC2Spot"


def _region(look: Look) -> Iterator[Finding]:
    region = look.target.region
    asked = {"RegionNames": [region], "AllRegions": True}
    found = get_or_none(
        lambda: look.client("ec2").describe_regions(**asked), "InvalidParameterValue"
    )
    if not found or not found["Regions"]:
        yield error("region", f"AWS has no region {region}", "Look at `region` in emrctl.yaml.")
    elif found["Regions"][0].get("OptInStatus") == "not-opted-in":
        hint = "Enable it in the account's settings, or take another `region`."
        yield error("region", f"the account has not switched {region} on", hint)


def _quotas(look: Look) -> Iterator[Finding]:
    """vCPUs that are wanted beside those in use; our own cluster's count as wanted alone."""
    wanted = vcpus(look.cluster)
    used = _used(look)
    for (family, spot), count in wanted.items():
        quota_code = _QUOTAS[family][spot]
        limit = _limit(look, "ec2", quota_code)
        free = None if limit is None else limit - used.get((family, spot), 0)
        if limit is None or free is None or count <= free:
            continue
        market = "spot" if spot else "on demand"
        what = (
            f"{count} vCPUs of {family} instances {market} are wanted, and {max(0, free):.0f} of "
            f"the account's {limit:.0f} in {look.target.region} are free"
        )
        total = int(limit - free + count)
        hint = (
            "Ask for more: `aws service-quotas request-service-quota-increase --service-code ec2 "
            f"--quota-code {quota_code} --desired-value {total}`; or take fewer nodes."
        )
        yield error("quotas", what, hint)


def _limit(look: Look, service: str, quota_code: str) -> float | None:
    """The account's quota; None where AWS keeps none."""
    client = look.client("service-quotas")
    for call in (client.get_service_quota, client.get_aws_default_service_quota):
        asked = {"ServiceCode": service, "QuotaCode": quota_code}
        found = get_or_none(partial(call, **asked), "NoSuchResourceException")
        if found is not None:
            return float(found["Quota"]["Value"])
    return None


def vcpus(spec: AnyClusterSpec) -> dict[tuple[str, bool], int]:
    """vCPUs that the cluster takes, by the quota that counts them: kind of family, spot or not.

    Of a fleet those of its largest choice.
    """
    found: dict[tuple[str, bool], int] = {}

    def add(name: str, count: int, *, spot: bool) -> None:
        key = (quota_family(name), spot)
        found[key] = found.get(key, 0) + count * instance_types.instance_type(name).vcpus

    if spec.kind == "ec2" or spec.fleets is None:
        groups = (spec.primary_group, spec.core_group, *(spec.task if spec.kind == "emr" else ()))
        for group in groups:
            add(group.type, group.count, spot=group.bid_usd is not None)
        return found
    for fleet in (spec.fleets.primary, spec.fleets.core, spec.fleets.task):
        for spot, units in ((False, fleet.on_demand), (True, fleet.spot)) if fleet else ():
            if fleet is not None and units:
                sizes = {
                    item: instance_types.instance_type(item.type).vcpus for item in fleet.types
                }
                item = max(sizes, key=lambda one: sizes[one] * fleet.instances(one, units))
                add(item.type, fleet.instances(item, units), spot=spot)
    return found


def quota_family(name: str) -> str:
    """Which quota counts an instance type."""
    letter = name[:1]
    return letter if letter in _QUOTAS else "standard"


def _used(look: Look) -> dict[tuple[str, bool], int]:
    states = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
    found: dict[tuple[str, bool], int] = {}
    for item in instances(look.client("ec2"), Filters=states):
        if tags(item).get("emrctl:stack") == look.project.cluster_stack:
            continue
        cpu = item.get("CpuOptions", {})
        count = cpu.get("CoreCount", 1) * cpu.get("ThreadsPerCore", 1)
        key = (quota_family(item["InstanceType"]), item.get("InstanceLifecycle") == "spot")
        found[key] = found.get(key, 0) + count
    return found


def _vpcs(look: Look) -> Iterator[Finding]:
    if look.cluster.network.existing:
        return
    every = look.client("ec2").describe_vpcs()["Vpcs"]
    stack = look.project.cluster_stack
    if any(tags(item).get("emrctl:stack") == stack for item in every):
        return
    limit = _limit(look, "vpc", _VPCS)
    if limit is not None and len(every) >= limit:
        what = (
            f"the account has {len(every)} VPCs in {look.target.region}, and may have {limit:.0f}"
        )
        hint = "Delete one, ask for more (quota L-F678F1CE), or give network.subnets of yours."
        yield error("VPCs", what, hint)


def _block(look: Look) -> Iterator[Finding]:
    answer = look.client("emr").get_block_public_access_configuration()
    if answer["BlockPublicAccessConfiguration"]["BlockPublicSecurityGroupRules"]:
        return
    what = f"EMR's block of public access is off in {look.target.region} (Security Hub EMR.2)"
    hint = (
        "Switch it on for the account: `aws emr put-block-public-access-configuration "
        "--block-public-access-configuration BlockPublicSecurityGroupRules=true`."
    )
    yield warning("block of public access", what, hint)


def _linked_roles(look: Look) -> Iterator[Finding]:
    wanted = {_CLEANUP: "elasticmapreduce.amazonaws.com"} if look.cluster.kind == "emr" else {}
    if any(spot for _, spot in vcpus(look.cluster)):
        wanted[_SPOT] = "spot.amazonaws.com"
    for name, service in wanted.items():
        iam = look.client("iam")
        if get_or_none(partial(iam.get_role, RoleName=name), "NoSuchEntity") is None:
            hint = (
                "AWS makes it with the first cluster if the caller may "
                f"iam:CreateServiceLinkedRole; else an administrator: `aws iam "
                f"create-service-linked-role --aws-service-name {service}`."
            )
            what = f"the account has not got the service-linked role {name} yet"
            yield warning("service-linked roles", what, hint)


TOPICS = (
    Topic(about="region", check=_region),
    Topic(about="quotas", check=_quotas),
    Topic(about="VPCs", check=_vpcs),
    Topic(about="block of public access", check=_block, kind="emr"),
    Topic(about="service-linked roles", check=_linked_roles),
)
