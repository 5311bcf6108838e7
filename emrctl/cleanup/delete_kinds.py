"""How each kind of thing ends: what is asked of AWS, and when it is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from emrctl.aws.listing import instances
from emrctl.aws.polling import Pace
from emrctl.cleanup.resources import BUCKET, CLUSTER, ROLE, Thing
from emrctl.engine.localhost.resource_type import absent, code_of
from emrctl.errors import WaitTimeoutError
from emrctl.provision.bucket import delete_objects

if TYPE_CHECKING:
    from emrctl.aws.target import Target

# Interfaces of endpoints and load balancers go minutes after their owners.
_PATIENCE_S = 300.0
_OVER_S = 1800.0
_BUSY = frozenset(
    {
        "DependencyViolation",
        "InvalidIPAddress.InUse",
        "InvalidPlacementGroup.InUse",
        "VolumeInUse",
        "DeleteConflict",
    }
)


def _nothing(_target: Target, _things: Sequence[Thing]) -> None:
    """Nothing needs to be done before."""


def _over(_target: Target, _things: Sequence[Thing]) -> bool:
    return True


@dataclass(frozen=True, kw_only=True)
class How:
    """`before` is done for all of a kind, `end` for each; `over` says whether all have ended."""

    end: Callable[[Target, str], None]
    before: Callable[[Target, Sequence[Thing]], None] = _nothing
    over: Callable[[Target, Sequence[Thing]], bool] = _over

    def patiently(self, target: Target, one: Thing, pace: Pace) -> None:
        """`end`, again and again while something that is on its way out still holds the thing."""
        from botocore.exceptions import ClientError

        until = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return self.end(target, one.id)
            except ClientError as error:
                if code_of(error) not in _BUSY or time.monotonic() > until:
                    raise
            pace.rest()

    def wait(self, target: Target, things: Sequence[Thing], pace: Pace) -> None:
        """All have ended; `WaitTimeoutError` after half an hour."""
        until = time.monotonic() + _OVER_S
        while things and not self.over(target, things):
            if time.monotonic() > until:
                names = ", ".join(one.id for one in things)
                hint = "Run `emrctl gc` again."
                raise WaitTimeoutError(f"{names}: not ended after half an hour", hint=hint)
            pace.saw(changed=False)
            pace.rest()


_NOT_OVER = ["pending", "running", "shutting-down", "stopping", "stopped"]


def _ids(things: Sequence[Thing]) -> list[str]:
    return [one.id for one in things]


# --- what runs ------------------------------------------------------------------------------------


def _end_cluster(target: Target, id_: str) -> None:
    if _is_instance(id_):
        _end_instance(target, id_)
        return
    target.client("emr").terminate_job_flows(JobFlowIds=[id_])


def _clusters_over(target: Target, things: Sequence[Thing]) -> bool:
    """One listing of each kind tells of all: what still lives is in it."""
    plain = [one for one in things if _is_instance(one.id)]
    wanted = set(_ids(things)) - set(_ids(plain))
    if plain and not _instances_over(target, plain):
        return False
    if not wanted:
        return True
    states = ["STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING", "TERMINATING"]
    pages = target.client("emr").get_paginator("list_clusters").paginate(ClusterStates=states)
    return not any(item["Id"] in wanted for page in pages for item in page["Clusters"])


def _is_instance(id_: str) -> bool:
    """Whether a cluster is one of plain instances: its id is its primary's."""
    return id_.startswith("i-")


def _end_instance(target: Target, id_: str) -> None:
    ec2 = target.client("ec2")
    absent(lambda: ec2.terminate_instances(InstanceIds=[id_]), "InvalidInstanceID.NotFound")


def _instances_over(target: Target, things: Sequence[Thing]) -> bool:
    filters = [
        {"Name": "instance-id", "Values": _ids(things)},
        {"Name": "instance-state-name", "Values": _NOT_OVER},
    ]
    return not any(instances(target.client("ec2"), Filters=filters))


def _end_volume(target: Target, id_: str) -> None:
    ec2 = target.client("ec2")
    absent(lambda: ec2.delete_volume(VolumeId=id_), "InvalidVolume.NotFound")


# --- networks -------------------------------------------------------------------------------------


def _end_nat(target: Target, id_: str) -> None:
    ec2 = target.client("ec2")
    absent(lambda: ec2.delete_nat_gateway(NatGatewayId=id_), "NatGatewayNotFound")


def _nats_over(target: Target, things: Sequence[Thing]) -> bool:
    filters = [
        {"Name": "nat-gateway-id", "Values": _ids(things)},
        {"Name": "state", "Values": ["pending", "available", "deleting"]},
    ]
    return not target.client("ec2").describe_nat_gateways(Filter=filters)["NatGateways"]


def _end_endpoint(target: Target, id_: str) -> None:
    target.client("ec2").delete_vpc_endpoints(VpcEndpointIds=[id_])


def _endpoints_over(target: Target, things: Sequence[Thing]) -> bool:
    return all(_endpoint_over(target, one.id) for one in things)


def _endpoint_over(target: Target, id_: str) -> bool:
    ec2 = target.client("ec2")
    found = absent(
        lambda: ec2.describe_vpc_endpoints(VpcEndpointIds=[id_]), "InvalidVpcEndpointId.NotFound"
    )
    items = found["VpcEndpoints"] if found else []
    return all(str(item.get("State", "")).lower() == "deleted" for item in items)


def _end_interface(target: Target, id_: str) -> None:
    ec2 = target.client("ec2")
    absent(
        lambda: ec2.delete_network_interface(NetworkInterfaceId=id_),
        "InvalidNetworkInterfaceID.NotFound",
    )


def _end_address(target: Target, id_: str) -> None:
    ec2 = target.client("ec2")
    absent(lambda: ec2.release_address(AllocationId=id_), "InvalidAllocationID.NotFound")


def _revoke_all(target: Target, things: Sequence[Thing]) -> None:
    ec2 = target.client("ec2")
    filters = [{"Name": "group-id", "Values": _ids(things)}]
    pages = ec2.get_paginator("describe_security_group_rules").paginate(Filters=filters)
    for rule in [rule for page in pages for rule in page["SecurityGroupRules"]]:
        way = "egress" if rule["IsEgress"] else "ingress"
        revoke = getattr(ec2, f"revoke_security_group_{way}")
        revoke(GroupId=rule["GroupId"], SecurityGroupRuleIds=[rule["SecurityGroupRuleId"]])


def _end_group(target: Target, id_: str) -> None:
    ec2 = target.client("ec2")
    absent(lambda: ec2.delete_security_group(GroupId=id_), "InvalidGroup.NotFound")


def _end_internet_gateway(target: Target, id_: str) -> None:
    ec2 = target.client("ec2")
    for item in ec2.describe_internet_gateways(InternetGatewayIds=[id_])["InternetGateways"]:
        for place in item["Attachments"]:
            ec2.detach_internet_gateway(InternetGatewayId=id_, VpcId=place["VpcId"])
    ec2.delete_internet_gateway(InternetGatewayId=id_)


def _end_subnet(target: Target, id_: str) -> None:
    ec2 = target.client("ec2")
    absent(lambda: ec2.delete_subnet(SubnetId=id_), "InvalidSubnetID.NotFound")


def _end_table(target: Target, id_: str) -> None:
    ec2 = target.client("ec2")
    for table in ec2.describe_route_tables(RouteTableIds=[id_])["RouteTables"]:
        for place in table["Associations"]:
            if place.get("Main"):
                return  # it goes with its VPC
            ec2.disassociate_route_table(AssociationId=place["RouteTableAssociationId"])
    ec2.delete_route_table(RouteTableId=id_)


def _end_vpc(target: Target, id_: str) -> None:
    ec2 = target.client("ec2")
    absent(lambda: ec2.delete_vpc(VpcId=id_), "InvalidVpcID.NotFound")


def _end_key_pair(target: Target, id_: str) -> None:
    target.client("ec2").delete_key_pair(KeyName=id_)


def _end_placement(target: Target, id_: str) -> None:
    ec2 = target.client("ec2")
    absent(lambda: ec2.delete_placement_group(GroupName=id_), "InvalidPlacementGroup.Unknown")


# --- who and where --------------------------------------------------------------------------------


def _end_configuration(target: Target, id_: str) -> None:
    target.client("emr").delete_security_configuration(Name=id_)


def _end_role(target: Target, id_: str) -> None:
    """The role, its policies and the instance profiles that hold nothing else."""
    iam = target.client("iam")
    for profile in _pages(iam, "list_instance_profiles_for_role", "InstanceProfiles", id_):
        name = profile["InstanceProfileName"]
        iam.remove_role_from_instance_profile(InstanceProfileName=name, RoleName=id_)
        iam.delete_instance_profile(InstanceProfileName=name)
    for policy in _pages(iam, "list_attached_role_policies", "AttachedPolicies", id_):
        iam.detach_role_policy(RoleName=id_, PolicyArn=policy["PolicyArn"])
    for name in _pages(iam, "list_role_policies", "PolicyNames", id_):
        iam.delete_role_policy(RoleName=id_, PolicyName=name)
    iam.delete_role(RoleName=id_)


def _pages(iam: Any, operation: str, items: str, role: str) -> list[Any]:
    pages = iam.get_paginator(operation).paginate(RoleName=role)
    return [item for page in pages for item in page[items]]


def _end_bucket(target: Target, id_: str) -> None:
    s3 = target.client("s3")
    delete_objects(s3, id_)
    s3.delete_bucket(Bucket=id_)


ORDER: dict[str, How] = {
    CLUSTER: How(end=_end_cluster, over=_clusters_over),
    "instance": How(end=_end_instance, over=_instances_over),
    "volume": How(end=_end_volume),
    "NAT gateway": How(end=_end_nat, over=_nats_over),
    "endpoint": How(end=_end_endpoint, over=_endpoints_over),
    "network interface": How(end=_end_interface),
    "address": How(end=_end_address),
    "security group": How(end=_end_group, before=_revoke_all),
    "internet gateway": How(end=_end_internet_gateway),
    "subnet": How(end=_end_subnet),
    "route table": How(end=_end_table),
    "VPC": How(end=_end_vpc),
    "key pair": How(end=_end_key_pair),
    "placement group": How(end=_end_placement),
    "security configuration": How(end=_end_configuration),
    ROLE: How(end=_end_role),
    BUCKET: How(end=_end_bucket),
}
