"""EC2's resource types: a VPC, its parts, and its routes. Security groups have a file of theirs."""

from __future__ import annotations

from typing import Any

from emrctl.aws.errors import get_or_none
from emrctl.engine.localhost.resource_type import (
    Aws,
    Inputs,
    Outputs,
    ResourceType,
    pairs,
    tags_of,
)

STACK_TAG = "emrctl:stack"


def marked(kind: str, inputs: Inputs) -> list[dict[str, Any]]:
    """The tags of `inputs` for a create call; none at all where there are none."""
    tags = pairs(inputs.get("tags"))
    return [{"ResourceType": kind, "Tags": tags}] if tags else []


def retag(aws: Aws, id_: str, inputs: Inputs) -> None:
    """The resource has the tags of `inputs` and no others."""
    ec2, tags = aws.client("ec2"), inputs.get("tags", {})
    filters = [{"Name": "resource-id", "Values": [id_]}]
    old = {tag["Key"] for tag in ec2.describe_tags(Filters=filters)["Tags"]}
    if old - set(tags):
        ec2.delete_tags(Resources=[id_], Tags=[{"Key": key} for key in sorted(old - set(tags))])
    if tags:
        ec2.create_tags(Resources=[id_], Tags=pairs(tags))


def observe_tags(aws: Aws, id_: str, _inputs: Inputs) -> Outputs:
    """The resource's tags as they are now."""
    filters = [{"Name": "resource-id", "Values": [id_]}]
    return {"tags": tags_of(aws.client("ec2").describe_tags(Filters=filters)["Tags"])}


def ours(inputs: Inputs) -> list[dict[str, Any]] | None:
    """The filter that finds what this stack made; None where nothing would tell it apart."""
    stack = inputs.get("tags", {}).get(STACK_TAG)
    return None if stack is None else [{"Name": f"tag:{STACK_TAG}", "Values": [stack]}]


def _create_vpc(aws: Aws, inputs: Inputs) -> str:
    made = aws.client("ec2").create_vpc(
        CidrBlock=inputs["cidrBlock"], TagSpecifications=marked("vpc", inputs)
    )
    return str(made["Vpc"]["VpcId"])


def _settle_vpc(aws: Aws, id_: str, inputs: Inputs) -> None:
    _update_vpc(aws, id_, inputs, frozenset({"enableDnsSupport", "enableDnsHostnames"}))


def _update_vpc(aws: Aws, id_: str, inputs: Inputs, keys: frozenset[str]) -> None:
    ec2 = aws.client("ec2")
    # Host names need DNS support: it must be set first, and one call sets one attribute.
    for key in ("enableDnsSupport", "enableDnsHostnames"):
        if key in keys and key in inputs:
            attribute = key[:1].upper() + key[1:]
            ec2.modify_vpc_attribute(VpcId=id_, **{attribute: {"Value": inputs[key]}})
    if "tags" in keys:
        retag(aws, id_, inputs)


def _read_vpc(aws: Aws, id_: str, _inputs: Inputs) -> Outputs | None:
    found = get_or_none(
        lambda: aws.client("ec2").describe_vpcs(VpcIds=[id_]), "InvalidVpcID.NotFound"
    )
    return {"arn": _arn(aws, found["Vpcs"][0], "vpc", id_)} if found else None


def _arn(aws: Aws, item: dict[str, Any], kind: str, id_: str) -> str:
    return f"arn:aws:ec2:{aws.target.region}:{item.get('OwnerId', '')}:{kind}/{id_}"


def _find_vpc(aws: Aws, inputs: Inputs) -> str | None:
    return _found(aws, "describe_vpcs", "Vpcs", "VpcId", inputs)


def _found(aws: Aws, call: str, several: str, key: str, inputs: Inputs) -> str | None:
    filters = ours(inputs)
    if filters is None:
        return None
    if "vpcId" in inputs and call != "describe_internet_gateways":
        filters.append({"Name": "vpc-id", "Values": [inputs["vpcId"]]})
    items = getattr(aws.client("ec2"), call)(Filters=filters)[several]
    return str(items[-1][key]) if items else None


def _delete_vpc(aws: Aws, id_: str, _inputs: Inputs) -> None:
    get_or_none(lambda: aws.client("ec2").delete_vpc(VpcId=id_), "InvalidVpcID.NotFound")


def _create_subnet(aws: Aws, inputs: Inputs) -> str:
    zone = inputs.get("availabilityZone")
    made = aws.client("ec2").create_subnet(
        VpcId=inputs["vpcId"],
        CidrBlock=inputs["cidrBlock"],
        TagSpecifications=marked("subnet", inputs),
        **({"AvailabilityZone": zone} if zone else {}),
    )
    return str(made["Subnet"]["SubnetId"])


def _settle_subnet(aws: Aws, id_: str, inputs: Inputs) -> None:
    _update_subnet(aws, id_, inputs, frozenset({"mapPublicIpOnLaunch"}))


def _update_subnet(aws: Aws, id_: str, inputs: Inputs, keys: frozenset[str]) -> None:
    if "mapPublicIpOnLaunch" in keys:
        public = {"Value": bool(inputs.get("mapPublicIpOnLaunch"))}
        aws.client("ec2").modify_subnet_attribute(SubnetId=id_, MapPublicIpOnLaunch=public)
    if "tags" in keys:
        retag(aws, id_, inputs)


_NO_SUBNET = "InvalidSubnetID.NotFound"


def _read_subnet(aws: Aws, id_: str, _inputs: Inputs) -> Outputs | None:
    found = get_or_none(lambda: aws.client("ec2").describe_subnets(SubnetIds=[id_]), _NO_SUBNET)
    if found is None:
        return None
    subnet = found["Subnets"][0]
    return {"arn": subnet["SubnetArn"], "availabilityZone": subnet["AvailabilityZone"]}


def _find_subnet(aws: Aws, inputs: Inputs) -> str | None:
    return _found(aws, "describe_subnets", "Subnets", "SubnetId", inputs)


def _delete_subnet(aws: Aws, id_: str, _inputs: Inputs) -> None:
    get_or_none(lambda: aws.client("ec2").delete_subnet(SubnetId=id_), _NO_SUBNET)


def _create_gateway(aws: Aws, inputs: Inputs) -> str:
    made = aws.client("ec2").create_internet_gateway(
        TagSpecifications=marked("internet-gateway", inputs)
    )
    return str(made["InternetGateway"]["InternetGatewayId"])


_NO_GATEWAY = "InvalidInternetGatewayID.NotFound"


def _gateway(aws: Aws, id_: str) -> dict[str, Any] | None:
    ec2 = aws.client("ec2")
    found = get_or_none(
        lambda: ec2.describe_internet_gateways(InternetGatewayIds=[id_]), _NO_GATEWAY
    )
    return None if found is None else found["InternetGateways"][0]


def _settle_gateway(aws: Aws, id_: str, inputs: Inputs) -> None:
    found = _gateway(aws, id_)
    if found is not None and not found["Attachments"]:
        aws.client("ec2").attach_internet_gateway(InternetGatewayId=id_, VpcId=inputs["vpcId"])


def _read_gateway(aws: Aws, id_: str, _inputs: Inputs) -> Outputs | None:
    found = _gateway(aws, id_)
    return None if found is None else {"arn": _arn(aws, found, "internet-gateway", id_)}


def _find_gateway(aws: Aws, inputs: Inputs) -> str | None:
    call = "describe_internet_gateways"
    return _found(aws, call, "InternetGateways", "InternetGatewayId", inputs)


def _delete_gateway(aws: Aws, id_: str, _inputs: Inputs) -> None:
    found = _gateway(aws, id_)
    if found is None:
        return
    ec2 = aws.client("ec2")
    for place in found["Attachments"]:
        ec2.detach_internet_gateway(InternetGatewayId=id_, VpcId=place["VpcId"])
    ec2.delete_internet_gateway(InternetGatewayId=id_)


def _retag(aws: Aws, id_: str, inputs: Inputs, _keys: frozenset[str]) -> None:
    retag(aws, id_, inputs)


def _create_endpoint(aws: Aws, inputs: Inputs) -> str:
    made = aws.client("ec2").create_vpc_endpoint(
        VpcId=inputs["vpcId"],
        ServiceName=inputs["serviceName"],
        VpcEndpointType=inputs["vpcEndpointType"],
        RouteTableIds=inputs["routeTableIds"],
        TagSpecifications=marked("vpc-endpoint", inputs),
    )
    return str(made["VpcEndpoint"]["VpcEndpointId"])


_NO_ENDPOINT = "InvalidVpcEndpointId.NotFound"


def _read_endpoint(aws: Aws, id_: str, _inputs: Inputs) -> Outputs | None:
    ec2 = aws.client("ec2")
    found = get_or_none(lambda: ec2.describe_vpc_endpoints(VpcEndpointIds=[id_]), _NO_ENDPOINT)
    return {"state": found["VpcEndpoints"][0]["State"]} if found else None


def _find_endpoint(aws: Aws, inputs: Inputs) -> str | None:
    return _found(aws, "describe_vpc_endpoints", "VpcEndpoints", "VpcEndpointId", inputs)


def _delete_endpoint(aws: Aws, id_: str, _inputs: Inputs) -> None:
    ec2 = aws.client("ec2")
    get_or_none(lambda: ec2.delete_vpc_endpoints(VpcEndpointIds=[id_]), _NO_ENDPOINT)


RESOURCE_TYPES = {
    "aws:ec2/vpc:Vpc": ResourceType(
        create=_create_vpc,
        read=_read_vpc,
        update=_update_vpc,
        delete=_delete_vpc,
        settle=_settle_vpc,
        find=_find_vpc,
        observe=observe_tags,
        updates=frozenset({"enableDnsSupport", "enableDnsHostnames", "tags"}),
        replaces=frozenset({"cidrBlock"}),
    ),
    "aws:ec2/subnet:Subnet": ResourceType(
        create=_create_subnet,
        read=_read_subnet,
        update=_update_subnet,
        delete=_delete_subnet,
        settle=_settle_subnet,
        find=_find_subnet,
        observe=observe_tags,
        updates=frozenset({"mapPublicIpOnLaunch", "tags"}),
        replaces=frozenset({"vpcId", "cidrBlock", "availabilityZone"}),
        # Two subnets of one VPC cannot share addresses.
        unique=("vpcId",),
    ),
    "aws:ec2/internetGateway:InternetGateway": ResourceType(
        create=_create_gateway,
        read=_read_gateway,
        update=_retag,
        delete=_delete_gateway,
        settle=_settle_gateway,
        find=_find_gateway,
        observe=observe_tags,
        updates=frozenset({"tags"}),
        replaces=frozenset({"vpcId"}),
    ),
    "aws:ec2/vpcEndpoint:VpcEndpoint": ResourceType(
        create=_create_endpoint,
        read=_read_endpoint,
        update=_retag,
        delete=_delete_endpoint,
        find=_find_endpoint,
        observe=observe_tags,
        updates=frozenset({"tags"}),
        replaces=frozenset({"vpcId", "serviceName", "vpcEndpointType", "routeTableIds"}),
    ),
}
