"""Delete AWS resources in dependency order.

Clusters first, then instances and volumes, then the network. Security groups reference each other,
so all rules are revoked before the first group is deleted. What cannot be deleted is reported and
the rest is still deleted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from emrctl.aws.errors import error_code, get_or_none, translated
from emrctl.aws.listing import EC2_EXISTING, EC2_TERMINATING, EMR_ACTIVE, EMR_TERMINATING, instances
from emrctl.aws.polling import Backoff
from emrctl.aws.target import Target
from emrctl.cleanup.resources import BUCKET, CLUSTER, GLOBAL, ROLE, AwsResource
from emrctl.errors import EmrctlError, WaitTimeoutError
from emrctl.provision.bucket import delete_objects

Report = Callable[[str], None]

# Network interfaces of endpoints and load balancers disappear minutes after their owners.
_RETRY_S = 300.0
_WAIT_S = 1800.0
_IN_USE_CODES = frozenset(
    {
        "DependencyViolation",
        "InvalidIPAddress.InUse",
        "InvalidPlacementGroup.InUse",
        "VolumeInUse",
        "DeleteConflict",
    }
)


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """The resources that were deleted, and those that remain with the reason."""

    deleted: tuple[AwsResource, ...]
    remaining: tuple[tuple[AwsResource, str], ...]


def delete(target: Target, resources: Sequence[AwsResource], report: Report) -> Deletion:
    """Delete the resources; those that fail remain, with the reason. Can be repeated.

    Clusters with termination protection, and everything in their stacks, are not touched.
    """
    protected = {item.stack for item in resources if item.protected}
    remaining = [(item, _protection(item)) for item in resources if item.stack in protected]
    deleted: list[AwsResource] = []
    for kind, deleter in DELETERS.items():
        of_kind = [item for item in resources if item.kind == kind and item.stack not in protected]
        for region in sorted({item.region for item in of_kind}):
            regional = target if region == GLOBAL else replace(target, region=region)
            items = [item for item in of_kind if item.region == region]
            failed = _delete_all(regional, deleter, items, report)
            remaining += failed
            deleted += [item for item in items if item not in [other for other, _ in failed]]
    return Deletion(deleted=tuple(deleted), remaining=tuple(remaining))


def _protection(item: AwsResource) -> str:
    owner = "it is" if item.protected else "its cluster is"
    return f"{owner} protected against termination"


def _delete_all(
    target: Target, deleter: Deleter, resources: Sequence[AwsResource], report: Report
) -> list[tuple[AwsResource, str]]:
    """Delete resources of one kind in one region; return the failures with their reasons."""
    failed: list[tuple[AwsResource, str]] = []
    pace, requested = Backoff(target.poll_s), list[AwsResource]()
    try:
        with translated(f"preparing to delete {len(resources)} {resources[0].kind} resources"):
            if deleter.prepare is not None:
                deleter.prepare(target, resources)
    except EmrctlError as error:
        return [(item, error.message) for item in resources]
    for item in resources:
        report(f"  deleting {item.kind} {item.id} ({item.region})")
        try:
            with translated(f"deleting {item.kind} {item.id}"):
                _retry_while_in_use(deleter, target, item.id, pace)
            requested.append(item)
        except EmrctlError as error:
            failed.append((item, error.message))
    try:
        with translated(f"waiting until {len(requested)} {resources[0].kind} resources are gone"):
            _wait(deleter, target, requested, pace)
    except EmrctlError as error:
        failed += [(item, error.message) for item in requested]
    return failed


def _retry_while_in_use(deleter: Deleter, target: Target, id_: str, pace: Backoff) -> None:
    """Delete, and retry while a resource that is being deleted still uses this one."""
    from botocore.exceptions import ClientError

    deadline = time.monotonic() + _RETRY_S
    while True:
        try:
            return deleter.delete(target, id_)
        except ClientError as error:
            if error_code(error) not in _IN_USE_CODES or time.monotonic() > deadline:
                raise
        pace.wait()


def _wait(
    deleter: Deleter, target: Target, resources: Sequence[AwsResource], pace: Backoff
) -> None:
    deadline = time.monotonic() + _WAIT_S
    while resources and deleter.gone is not None and not deleter.gone(target, resources):
        if time.monotonic() > deadline:
            names = ", ".join(item.id for item in resources)
            raise WaitTimeoutError(
                f"{names}: not deleted after {_WAIT_S / 60:.0f} min", hint="Run `emrctl gc` again."
            )
        pace.succeeded(changed=False)
        pace.wait()


@dataclass(frozen=True, kw_only=True)
class Deleter:
    """How one kind of resource is deleted.

    `prepare` runs once for all of a kind and region, `delete` for each id; `gone` returns whether
    all of them have been deleted, if that takes a while.
    """

    delete: Callable[[Target, str], None]
    prepare: Callable[[Target, Sequence[AwsResource]], None] | None = None
    gone: Callable[[Target, Sequence[AwsResource]], bool] | None = None


def _ec2(operation: str, parameter: str, *absent_codes: str, many: bool = False) -> Any:
    """Return a function that calls one EC2 operation with the id and ignores absent resources."""

    def call(target: Target, id_: str) -> None:
        request = getattr(target.client("ec2"), operation)
        get_or_none(lambda: request(**{parameter: [id_] if many else id_}), *absent_codes)

    return call


def _ids(resources: Sequence[AwsResource]) -> list[str]:
    return [item.id for item in resources]


# --- clusters and instances -----------------------------------------------------------------------


def _is_instance(id_: str) -> bool:
    """Return whether it is an EC2 cluster, which has the id of its primary."""
    return id_.startswith("i-")


_terminate_instance = _ec2(
    "terminate_instances", "InstanceIds", "InvalidInstanceID.NotFound", many=True
)


def _terminate_cluster(target: Target, id_: str) -> None:
    if _is_instance(id_):
        _terminate_instance(target, id_)
    else:
        target.client("emr").terminate_job_flows(JobFlowIds=[id_])


def _clusters_gone(target: Target, resources: Sequence[AwsResource]) -> bool:
    """One listing per kind of cluster answers for all of them."""
    primaries = [item for item in resources if _is_instance(item.id)]
    emr_ids = set(_ids(resources)) - set(_ids(primaries))
    if primaries and not _instances_gone(target, primaries):
        return False
    if not emr_ids:
        return True
    states = [*EMR_ACTIVE, EMR_TERMINATING]
    pages = target.client("emr").get_paginator("list_clusters").paginate(ClusterStates=states)
    return not any(item["Id"] in emr_ids for page in pages for item in page["Clusters"])


def _instances_gone(target: Target, resources: Sequence[AwsResource]) -> bool:
    filters = [
        {"Name": "instance-id", "Values": _ids(resources)},
        {"Name": "instance-state-name", "Values": [*EC2_EXISTING, EC2_TERMINATING]},
    ]
    return not any(instances(target.client("ec2"), Filters=filters))


# --- networks -------------------------------------------------------------------------------------


def _nat_gateways_gone(target: Target, resources: Sequence[AwsResource]) -> bool:
    filters = [
        {"Name": "nat-gateway-id", "Values": _ids(resources)},
        {"Name": "state", "Values": ["pending", "available", "deleting"]},
    ]
    return not target.client("ec2").describe_nat_gateways(Filter=filters)["NatGateways"]


def _endpoints_gone(target: Target, resources: Sequence[AwsResource]) -> bool:
    return all(_endpoint_gone(target.client("ec2"), item.id) for item in resources)


def _endpoint_gone(ec2: Any, id_: str) -> bool:
    answer = get_or_none(
        lambda: ec2.describe_vpc_endpoints(VpcEndpointIds=[id_]), "InvalidVpcEndpointId.NotFound"
    )
    endpoints = answer["VpcEndpoints"] if answer else []
    return all(str(item.get("State", "")).lower() == "deleted" for item in endpoints)


def _revoke_all_rules(target: Target, resources: Sequence[AwsResource]) -> None:
    ec2 = target.client("ec2")
    filters = [{"Name": "group-id", "Values": _ids(resources)}]
    pages = ec2.get_paginator("describe_security_group_rules").paginate(Filters=filters)
    for rule in [rule for page in pages for rule in page["SecurityGroupRules"]]:
        direction = "egress" if rule["IsEgress"] else "ingress"
        revoke = getattr(ec2, f"revoke_security_group_{direction}")
        revoke(GroupId=rule["GroupId"], SecurityGroupRuleIds=[rule["SecurityGroupRuleId"]])


def _delete_internet_gateway(target: Target, id_: str) -> None:
    ec2 = target.client("ec2")
    for item in ec2.describe_internet_gateways(InternetGatewayIds=[id_])["InternetGateways"]:
        for attachment in item["Attachments"]:
            ec2.detach_internet_gateway(InternetGatewayId=id_, VpcId=attachment["VpcId"])
    ec2.delete_internet_gateway(InternetGatewayId=id_)


def _delete_route_table(target: Target, id_: str) -> None:
    ec2 = target.client("ec2")
    for table in ec2.describe_route_tables(RouteTableIds=[id_])["RouteTables"]:
        for association in table["Associations"]:
            if association.get("Main"):
                return  # deleted with its VPC
            ec2.disassociate_route_table(AssociationId=association["RouteTableAssociationId"])
    ec2.delete_route_table(RouteTableId=id_)


# --- roles, configurations, buckets ---------------------------------------------------------------


def _delete_security_configuration(target: Target, id_: str) -> None:
    target.client("emr").delete_security_configuration(Name=id_)


def _delete_role(target: Target, id_: str) -> None:
    """Delete the role, its policies and its instance profiles."""
    iam = target.client("iam")
    for profile in _of_role(iam, "list_instance_profiles_for_role", "InstanceProfiles", id_):
        name = profile["InstanceProfileName"]
        iam.remove_role_from_instance_profile(InstanceProfileName=name, RoleName=id_)
        iam.delete_instance_profile(InstanceProfileName=name)
    for policy in _of_role(iam, "list_attached_role_policies", "AttachedPolicies", id_):
        iam.detach_role_policy(RoleName=id_, PolicyArn=policy["PolicyArn"])
    for name in _of_role(iam, "list_role_policies", "PolicyNames", id_):
        iam.delete_role_policy(RoleName=id_, PolicyName=name)
    iam.delete_role(RoleName=id_)


def _of_role(iam: Any, operation: str, key: str, role: str) -> list[Any]:
    pages = iam.get_paginator(operation).paginate(RoleName=role)
    return [item for page in pages for item in page[key]]


def _delete_bucket(target: Target, id_: str) -> None:
    s3 = target.client("s3")
    delete_objects(s3, id_)
    s3.delete_bucket(Bucket=id_)


# In dependency order: nothing uses a resource once those before it are gone.
DELETERS: dict[str, Deleter] = {
    CLUSTER: Deleter(delete=_terminate_cluster, gone=_clusters_gone),
    "instance": Deleter(delete=_terminate_instance, gone=_instances_gone),
    "volume": Deleter(delete=_ec2("delete_volume", "VolumeId", "InvalidVolume.NotFound")),
    "NAT gateway": Deleter(
        delete=_ec2("delete_nat_gateway", "NatGatewayId", "NatGatewayNotFound"),
        gone=_nat_gateways_gone,
    ),
    "endpoint": Deleter(
        delete=_ec2("delete_vpc_endpoints", "VpcEndpointIds", many=True), gone=_endpoints_gone
    ),
    "network interface": Deleter(
        delete=_ec2(
            "delete_network_interface",
            "NetworkInterfaceId",
            "InvalidNetworkInterfaceID.NotFound",
        )
    ),
    "address": Deleter(
        delete=_ec2("release_address", "AllocationId", "InvalidAllocationID.NotFound")
    ),
    "security group": Deleter(
        delete=_ec2("delete_security_group", "GroupId", "InvalidGroup.NotFound"),
        prepare=_revoke_all_rules,
    ),
    "internet gateway": Deleter(delete=_delete_internet_gateway),
    "subnet": Deleter(delete=_ec2("delete_subnet", "SubnetId", "InvalidSubnetID.NotFound")),
    "route table": Deleter(delete=_delete_route_table),
    "VPC": Deleter(delete=_ec2("delete_vpc", "VpcId", "InvalidVpcID.NotFound")),
    "key pair": Deleter(delete=_ec2("delete_key_pair", "KeyName")),
    "placement group": Deleter(
        delete=_ec2("delete_placement_group", "GroupName", "InvalidPlacementGroup.Unknown")
    ),
    "security configuration": Deleter(delete=_delete_security_configuration),
    ROLE: Deleter(delete=_delete_role),
    BUCKET: Deleter(delete=_delete_bucket),
}
