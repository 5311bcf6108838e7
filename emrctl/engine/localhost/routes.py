"""EC2's route tables, their routes, and which subnet goes by them."""

from __future__ import annotations

from typing import Any

from emrctl.aws.errors import get_or_none
from emrctl.engine.localhost.network import marked, ours, retag
from emrctl.engine.localhost.resource_type import Aws, Inputs, Outputs, ResourceType

_NO_TABLE = "InvalidRouteTableID.NotFound"
_NO_ROUTE = "InvalidRoute.NotFound"
_NO_LINK = "InvalidAssociationID.NotFound"


def _create_table(aws: Aws, inputs: Inputs) -> str:
    made = aws.client("ec2").create_route_table(
        VpcId=inputs["vpcId"], TagSpecifications=marked("route-table", inputs)
    )
    return str(made["RouteTable"]["RouteTableId"])


def _table(aws: Aws, id_: str) -> dict[str, Any] | None:
    ec2 = aws.client("ec2")
    found = get_or_none(lambda: ec2.describe_route_tables(RouteTableIds=[id_]), _NO_TABLE)
    return found["RouteTables"][0] if found else None


def _read_table(aws: Aws, id_: str, _inputs: Inputs) -> Outputs | None:
    return None if _table(aws, id_) is None else {}


def _update_table(aws: Aws, id_: str, inputs: Inputs, _keys: frozenset[str]) -> None:
    retag(aws, id_, inputs)


def _find_table(aws: Aws, inputs: Inputs) -> str | None:
    filters = ours(inputs)
    if filters is None:
        return None
    filters.append({"Name": "vpc-id", "Values": [inputs["vpcId"]]})
    tables = aws.client("ec2").describe_route_tables(Filters=filters)["RouteTables"]
    return str(tables[-1]["RouteTableId"]) if tables else None


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
    found = _table(aws, table) or {"Routes": []}
    there = any(route.get("DestinationCidrBlock") == cidr for route in found["Routes"])
    return f"{table}_{cidr}" if there else None


def _read_route(aws: Aws, _id: str, inputs: Inputs) -> Outputs | None:
    return None if _find_route(aws, inputs) is None else {"state": "active"}


def _update_route(aws: Aws, _id: str, inputs: Inputs, _keys: frozenset[str]) -> None:
    aws.client("ec2").replace_route(
        RouteTableId=inputs["routeTableId"],
        DestinationCidrBlock=inputs["destinationCidrBlock"],
        GatewayId=inputs["gatewayId"],
    )


def _delete_route(aws: Aws, id_: str, _inputs: Inputs) -> None:
    table, _, cidr = id_.partition("_")
    get_or_none(
        lambda: aws.client("ec2").delete_route(RouteTableId=table, DestinationCidrBlock=cidr),
        _NO_ROUTE,
        _NO_TABLE,
    )


def _link(aws: Aws, inputs: Inputs) -> str:
    made = aws.client("ec2").associate_route_table(
        RouteTableId=inputs["routeTableId"], SubnetId=inputs["subnetId"]
    )
    return str(made["AssociationId"])


def _find_link(aws: Aws, inputs: Inputs) -> str | None:
    found = _table(aws, str(inputs["routeTableId"])) or {"Associations": []}
    for item in found["Associations"]:
        if item.get("SubnetId") == inputs["subnetId"]:
            return str(item["RouteTableAssociationId"])
    return None


def _read_link(aws: Aws, _id: str, inputs: Inputs) -> Outputs | None:
    return None if _find_link(aws, inputs) is None else {}


def _unlink(aws: Aws, id_: str, _inputs: Inputs) -> None:
    get_or_none(lambda: aws.client("ec2").disassociate_route_table(AssociationId=id_), _NO_LINK)


RESOURCE_TYPES = {
    "aws:ec2/routeTable:RouteTable": ResourceType(
        create=_create_table,
        read=_read_table,
        update=_update_table,
        delete=_delete_table,
        find=_find_table,
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
        create=_link,
        read=_read_link,
        delete=_unlink,
        find=_find_link,
        replaces=frozenset({"routeTableId", "subnetId"}),
        # A subnet goes by one table at a time.
        unique=("subnetId",),
    ),
}
