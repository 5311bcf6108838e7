"""EC2 resource types of a VPC: subnets, gateways, endpoints, route tables and routes."""

from __future__ import annotations

from functools import partial
from typing import Any

from emrctl.aws import listing
from emrctl.aws.errors import get_or_none
from emrctl.engine.localhost.resource_type import (
    Aws,
    Inputs,
    Outputs,
    ResourceType,
    tag_list,
    user_tags,
)

STACK_TAG = "emrctl:stack"
_NO_VPC = "InvalidVpcID.NotFound"
_NO_SUBNET = "InvalidSubnetID.NotFound"
_NO_GATEWAY = "InvalidInternetGatewayID.NotFound"
_NO_ENDPOINT = "InvalidVpcEndpointId.NotFound"
_NO_TABLE = "InvalidRouteTableID.NotFound"
_NO_ROUTE = "InvalidRoute.NotFound"
_NO_ASSOCIATION = "InvalidAssociationID.NotFound"


def tag_specifications(kind: str, inputs: Inputs) -> list[dict[str, Any]]:
    """Return the tags of `inputs` as an argument of a create call."""
    tags = tag_list(inputs.get("tags"))
    return [{"ResourceType": kind, "Tags": tags}] if tags else []


def replace_tags(aws: Aws, id_: str, inputs: Inputs) -> None:
    """Set the tags of `inputs` and remove all others."""
    ec2, tags = aws.client("ec2"), inputs.get("tags", {})
    filters = [{"Name": "resource-id", "Values": [id_]}]
    removed = sorted(listing.tags(ec2.describe_tags(Filters=filters)).keys() - set(tags))
    if removed:
        ec2.delete_tags(Resources=[id_], Tags=[{"Key": key} for key in removed])
    if tags:
        ec2.create_tags(Resources=[id_], Tags=tag_list(tags))


def update_tags(aws: Aws, id_: str, inputs: Inputs, keys: frozenset[str]) -> None:
    """Replace the tags if they differ."""
    if "tags" in keys:
        replace_tags(aws, id_, inputs)


def observe_tags(aws: Aws, id_: str, _inputs: Inputs) -> Outputs:
    """Return the resource's current tags."""
    filters = [{"Name": "resource-id", "Values": [id_]}]
    return {"tags": user_tags(aws.client("ec2").describe_tags(Filters=filters))}


def stack_filter(inputs: Inputs) -> list[dict[str, Any]] | None:
    """Return the filter for the stack's resources; None if the inputs have no stack tag."""
    stack = inputs.get("tags", {}).get(STACK_TAG)
    return None if stack is None else [{"Name": f"tag:{STACK_TAG}", "Values": [stack]}]


def _find(call: str, key: str, id_key: str, aws: Aws, inputs: Inputs) -> str | None:
    filters = stack_filter(inputs)
    if filters is None:
        return None
    if "vpcId" in inputs and call != "describe_internet_gateways":
        filters.append({"Name": "vpc-id", "Values": [inputs["vpcId"]]})
    items = getattr(aws.client("ec2"), call)(Filters=filters)[key]
    return str(items[-1][id_key]) if items else None


def _arn(aws: Aws, item: dict[str, Any], kind: str, id_: str) -> str:
    return f"arn:aws:ec2:{aws.target.region}:{item.get('OwnerId', '')}:{kind}/{id_}"


def _create_vpc(aws: Aws, inputs: Inputs) -> str:
    response = aws.client("ec2").create_vpc(
        CidrBlock=inputs["cidrBlock"], TagSpecifications=tag_specifications("vpc", inputs)
    )
    return str(response["Vpc"]["VpcId"])


def _settle_vpc(aws: Aws, id_: str, inputs: Inputs) -> None:
    _update_vpc(aws, id_, inputs, frozenset({"enableDnsSupport", "enableDnsHostnames"}))


def _update_vpc(aws: Aws, id_: str, inputs: Inputs, keys: frozenset[str]) -> None:
    ec2 = aws.client("ec2")
    # DNS host names require DNS support, and a call sets one attribute.
    for key in ("enableDnsSupport", "enableDnsHostnames"):
        if key in keys and key in inputs:
            attribute = key[:1].upper() + key[1:]
            ec2.modify_vpc_attribute(VpcId=id_, **{attribute: {"Value": inputs[key]}})
    update_tags(aws, id_, inputs, keys)


def _read_vpc(aws: Aws, id_: str, _inputs: Inputs) -> Outputs | None:
    response = get_or_none(lambda: aws.client("ec2").describe_vpcs(VpcIds=[id_]), _NO_VPC)
    return {"arn": _arn(aws, response["Vpcs"][0], "vpc", id_)} if response else None


def _delete_vpc(aws: Aws, id_: str, _inputs: Inputs) -> None:
    get_or_none(lambda: aws.client("ec2").delete_vpc(VpcId=id_), _NO_VPC)


def _create_subnet(aws: Aws, inputs: Inputs) -> str:
    zone = inputs.get("availabilityZone")
    response = aws.client("ec2").create_subnet(
        VpcId=inputs["vpcId"],
        CidrBlock=inputs["cidrBlock"],
        TagSpecifications=tag_specifications("subnet", inputs),
        **({"AvailabilityZone": zone} if zone else {}),
    )
    return str(response["Subnet"]["SubnetId"])


def _settle_subnet(aws: Aws, id_: str, inputs: Inputs) -> None:
    _update_subnet(aws, id_, inputs, frozenset({"mapPublicIpOnLaunch"}))


def _update_subnet(aws: Aws, id_: str, inputs: Inputs, keys: frozenset[str]) -> None:
    if "mapPublicIpOnLaunch" in keys:
        public = {"Value": bool(inputs.get("mapPublicIpOnLaunch"))}
        aws.client("ec2").modify_subnet_attribute(SubnetId=id_, MapPublicIpOnLaunch=public)
    update_tags(aws, id_, inputs, keys)


def _read_subnet(aws: Aws, id_: str, _inputs: Inputs) -> Outputs | None:
    response = get_or_none(lambda: aws.client("ec2").describe_subnets(SubnetIds=[id_]), _NO_SUBNET)
    if response is None:
        return None
    subnet = response["Subnets"][0]
    return {"arn": subnet["SubnetArn"], "availabilityZone": subnet["AvailabilityZone"]}


def _delete_subnet(aws: Aws, id_: str, _inputs: Inputs) -> None:
    get_or_none(lambda: aws.client("ec2").delete_subnet(SubnetId=id_), _NO_SUBNET)


def _create_gateway(aws: Aws, inputs: Inputs) -> str:
    response = aws.client("ec2").create_internet_gateway(
        TagSpecifications=tag_specifications("internet-gateway", inputs)
    )
    return str(response["InternetGateway"]["InternetGatewayId"])


def _gateway(aws: Aws, id_: str) -> dict[str, Any] | None:
    ec2, ids = aws.client("ec2"), [id_]
    response = get_or_none(
        lambda: ec2.describe_internet_gateways(InternetGatewayIds=ids), _NO_GATEWAY
    )
    return None if response is None else response["InternetGateways"][0]


def _settle_gateway(aws: Aws, id_: str, inputs: Inputs) -> None:
    gateway = _gateway(aws, id_)
    if gateway is not None and not gateway["Attachments"]:
        aws.client("ec2").attach_internet_gateway(InternetGatewayId=id_, VpcId=inputs["vpcId"])


def _read_gateway(aws: Aws, id_: str, _inputs: Inputs) -> Outputs | None:
    gateway = _gateway(aws, id_)
    return None if gateway is None else {"arn": _arn(aws, gateway, "internet-gateway", id_)}


def _delete_gateway(aws: Aws, id_: str, _inputs: Inputs) -> None:
    gateway = _gateway(aws, id_)
    if gateway is None:
        return
    ec2 = aws.client("ec2")
    for attachment in gateway["Attachments"]:
        ec2.detach_internet_gateway(InternetGatewayId=id_, VpcId=attachment["VpcId"])
    ec2.delete_internet_gateway(InternetGatewayId=id_)


def _create_endpoint(aws: Aws, inputs: Inputs) -> str:
    response = aws.client("ec2").create_vpc_endpoint(
        VpcId=inputs["vpcId"],
        ServiceName=inputs["serviceName"],
        VpcEndpointType=inputs["vpcEndpointType"],
        RouteTableIds=inputs["routeTableIds"],
        TagSpecifications=tag_specifications("vpc-endpoint", inputs),
    )
    return str(response["VpcEndpoint"]["VpcEndpointId"])


def _read_endpoint(aws: Aws, id_: str, _inputs: Inputs) -> Outputs | None:
    ec2 = aws.client("ec2")
    response = get_or_none(lambda: ec2.describe_vpc_endpoints(VpcEndpointIds=[id_]), _NO_ENDPOINT)
    return {"state": response["VpcEndpoints"][0]["State"]} if response else None


def _delete_endpoint(aws: Aws, id_: str, _inputs: Inputs) -> None:
    ec2 = aws.client("ec2")
    get_or_none(lambda: ec2.delete_vpc_endpoints(VpcEndpointIds=[id_]), _NO_ENDPOINT)


def _create_table(aws: Aws, inputs: Inputs) -> str:
    response = aws.client("ec2").create_route_table(
        VpcId=inputs["vpcId"], TagSpecifications=tag_specifications("route-table", inputs)
    )
    return str(response["RouteTable"]["RouteTableId"])


def _table(aws: Aws, id_: str) -> dict[str, Any]:
    """Return the description of a route table; empty if it does not exist."""
    ec2 = aws.client("ec2")
    response = get_or_none(lambda: ec2.describe_route_tables(RouteTableIds=[id_]), _NO_TABLE)
    return response["RouteTables"][0] if response else {}


def _read_table(aws: Aws, id_: str, _inputs: Inputs) -> Outputs | None:
    return {} if _table(aws, id_) else None


def _delete_table(aws: Aws, id_: str, _inputs: Inputs) -> None:
    get_or_none(lambda: aws.client("ec2").delete_route_table(RouteTableId=id_), _NO_TABLE)


def _create_route(aws: Aws, inputs: Inputs) -> str:
    table, cidr = inputs["routeTableId"], inputs["destinationCidrBlock"]
    aws.client("ec2").create_route(
        RouteTableId=table, DestinationCidrBlock=cidr, GatewayId=inputs["gatewayId"]
    )
    return f"{table}_{cidr}"


def _find_route(aws: Aws, inputs: Inputs) -> str | None:
    table, cidr = str(inputs["routeTableId"]), inputs["destinationCidrBlock"]
    routes = _table(aws, table).get("Routes", ())
    exists = any(route.get("DestinationCidrBlock") == cidr for route in routes)
    return f"{table}_{cidr}" if exists else None


def _read_route(aws: Aws, _id: str, inputs: Inputs) -> Outputs | None:
    return None if _find_route(aws, inputs) is None else {"state": "active"}


def _update_route(aws: Aws, _id: str, inputs: Inputs, _keys: frozenset[str]) -> None:
    aws.client("ec2").replace_route(
        RouteTableId=inputs["routeTableId"],
        DestinationCidrBlock=inputs["destinationCidrBlock"],
        GatewayId=inputs["gatewayId"],
    )


def _delete_route(aws: Aws, id_: str, _inputs: Inputs) -> None:
    ec2 = aws.client("ec2")
    table, _, cidr = id_.partition("_")
    delete = partial(ec2.delete_route, RouteTableId=table, DestinationCidrBlock=cidr)
    get_or_none(delete, _NO_ROUTE, _NO_TABLE)


def _associate(aws: Aws, inputs: Inputs) -> str:
    response = aws.client("ec2").associate_route_table(
        RouteTableId=inputs["routeTableId"], SubnetId=inputs["subnetId"]
    )
    return str(response["AssociationId"])


def _find_association(aws: Aws, inputs: Inputs) -> str | None:
    for item in _table(aws, str(inputs["routeTableId"])).get("Associations", ()):
        if item.get("SubnetId") == inputs["subnetId"]:
            return str(item["RouteTableAssociationId"])
    return None


def _read_association(aws: Aws, _id: str, inputs: Inputs) -> Outputs | None:
    return None if _find_association(aws, inputs) is None else {}


def _disassociate(aws: Aws, id_: str, _inputs: Inputs) -> None:
    ec2 = aws.client("ec2")
    get_or_none(lambda: ec2.disassociate_route_table(AssociationId=id_), _NO_ASSOCIATION)


RESOURCE_TYPES = {
    "aws:ec2/vpc:Vpc": ResourceType(
        create=_create_vpc,
        read=_read_vpc,
        update=_update_vpc,
        delete=_delete_vpc,
        settle=_settle_vpc,
        find=partial(_find, "describe_vpcs", "Vpcs", "VpcId"),
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
        find=partial(_find, "describe_subnets", "Subnets", "SubnetId"),
        observe=observe_tags,
        updates=frozenset({"mapPublicIpOnLaunch", "tags"}),
        replaces=frozenset({"vpcId", "cidrBlock", "availabilityZone"}),
        # Subnets of a VPC cannot overlap.
        unique=("vpcId",),
    ),
    "aws:ec2/internetGateway:InternetGateway": ResourceType(
        create=_create_gateway,
        read=_read_gateway,
        update=update_tags,
        delete=_delete_gateway,
        settle=_settle_gateway,
        find=partial(_find, "describe_internet_gateways", "InternetGateways", "InternetGatewayId"),
        observe=observe_tags,
        updates=frozenset({"tags"}),
        replaces=frozenset({"vpcId"}),
    ),
    "aws:ec2/vpcEndpoint:VpcEndpoint": ResourceType(
        create=_create_endpoint,
        read=_read_endpoint,
        update=update_tags,
        delete=_delete_endpoint,
        find=partial(_find, "describe_vpc_endpoints", "VpcEndpoints", "VpcEndpointId"),
        observe=observe_tags,
        updates=frozenset({"tags"}),
        replaces=frozenset({"vpcId", "serviceName", "vpcEndpointType", "routeTableIds"}),
    ),
    "aws:ec2/routeTable:RouteTable": ResourceType(
        create=_create_table,
        read=_read_table,
        update=update_tags,
        delete=_delete_table,
        find=partial(_find, "describe_route_tables", "RouteTables", "RouteTableId"),
        updates=frozenset({"tags"}),
        replaces=frozenset({"vpcId"}),
    ),
    "aws:ec2/route:Route": ResourceType(
        create=_create_route,
        read=_read_route,
        update=_update_route,
        delete=_delete_route,
        find=_find_route,
        updates=frozenset({"gatewayId"}),
        replaces=frozenset({"routeTableId", "destinationCidrBlock"}),
        unique=("routeTableId", "destinationCidrBlock"),
    ),
    "aws:ec2/routeTableAssociation:RouteTableAssociation": ResourceType(
        create=_associate,
        read=_read_association,
        delete=_disassociate,
        find=_find_association,
        replaces=frozenset({"routeTableId", "subnetId"}),
        # A subnet has one route table.
        unique=("subnetId",),
    ),
}
