"""EC2 resource types of a VPC: subnets, gateways, endpoints, routes and security groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from emrctl.aws.errors import error_code, get_or_none
from emrctl.engine.localhost.resource_type import (
    ApiResource,
    Aws,
    Ec2Resource,
    Inputs,
    Outputs,
    ResourceType,
    pascal,
    replace_tags,
    tag_specifications,
)

_NO_TABLE = "InvalidRouteTableID.NotFound"
_NO_GROUP = "InvalidGroup.NotFound"
_NO_RULE = "InvalidSecurityGroupRuleId.NotFound"
_SAME_RULE = "InvalidPermission.Duplicate"


class _InternetGateway(Ec2Resource):
    """An internet gateway that is attached to a VPC."""

    def settle(self, aws: Aws, id_: str, inputs: Inputs) -> None:
        """Attach it; not part of the creation, so that an interrupted one is completed."""
        gateway = self.describe(aws, id_)
        if gateway is not None and not gateway["Attachments"]:
            aws.client("ec2").attach_internet_gateway(InternetGatewayId=id_, VpcId=inputs["vpcId"])

    def delete(self, aws: Aws, id_: str, inputs: Inputs) -> None:
        ec2 = aws.client("ec2")
        for attachment in (self.describe(aws, id_) or {}).get("Attachments", ()):
            ec2.detach_internet_gateway(InternetGatewayId=id_, VpcId=attachment["VpcId"])
        super().delete(aws, id_, inputs)


class _VpcEndpoint(Ec2Resource):
    """An endpoint of a VPC; EC2's operation deletes several."""

    def delete(self, aws: Aws, id_: str, _inputs: Inputs) -> None:
        if self.describe(aws, id_) is not None:
            self.call(aws, 2, VpcEndpointIds=[id_])


_ROUTE_TABLE = Ec2Resource(
    operations=("create_route_table", "describe_route_tables", "delete_route_table"),
    arguments={"vpcId": "VpcId"},
    key=("RouteTableId",),
    item="RouteTable",
    missing=(_NO_TABLE,),
    updates=frozenset({"tags"}),
)


class _Route(ApiResource):
    """A route: an element of its table's description."""

    def describe(self, aws: Aws, id_: str) -> dict[str, Any] | None:
        table, _, cidr = id_.partition(self.separator)
        routes = (_ROUTE_TABLE.describe(aws, table) or {}).get("Routes", ())
        return next((item for item in routes if item.get("DestinationCidrBlock") == cidr), None)

    def update(self, aws: Aws, _id: str, inputs: Inputs, keys: frozenset[str]) -> None:
        if keys:
            aws.client("ec2").replace_route(**self.create_arguments(inputs))


class _RouteTableAssociation(Ec2Resource):
    """The association of a subnet with its route table."""

    def find(self, aws: Aws, inputs: Inputs) -> str | None:
        table = _ROUTE_TABLE.describe(aws, str(inputs["routeTableId"])) or {}
        for item in table.get("Associations", ()):
            if item.get("SubnetId") == inputs["subnetId"]:
                return str(item["RouteTableAssociationId"])
        return None

    def read(self, aws: Aws, _id: str, inputs: Inputs) -> Outputs | None:
        return None if self.find(aws, inputs) is None else {}


class _SecurityGroup(Ec2Resource):
    """A security group, created without EC2's default rules."""

    def create(self, aws: Aws, inputs: Inputs) -> str:
        """Create the group without rules: EC2 allows all egress by default."""
        id_ = super().create(aws, inputs)
        _revoke(aws, id_)
        return id_

    def find(self, aws: Aws, inputs: Inputs) -> str | None:
        """Return the id of the VPC's group of this name."""
        filters = [
            {"Name": "group-name", "Values": [inputs["name"]]},
            {"Name": "vpc-id", "Values": [inputs["vpcId"]]},
        ]
        groups = self.call(aws, 1, Filters=filters)["SecurityGroups"]
        return str(groups[0]["GroupId"]) if groups else None

    def delete(self, aws: Aws, id_: str, inputs: Inputs) -> None:
        """Delete the group, its rules first if the inputs say so."""
        if self.describe(aws, id_) is not None:
            if inputs.get("revokeRulesOnDelete"):
                _revoke(aws, id_)
            super().delete(aws, id_, inputs)


_SECURITY_GROUP = _SecurityGroup(
    operations=("create_security_group", "describe_security_groups", "delete_security_group"),
    arguments={"name": "GroupName", "description": "Description", "vpcId": "VpcId"},
    key=("GroupId",),
    item="SecurityGroup",
    outputs={"ownerId": "OwnerId"},
    missing=(_NO_GROUP,),
    updates=frozenset({"tags", "revokeRulesOnDelete"}),
    unique=("name", "vpcId"),
)


@dataclass(frozen=True, kw_only=True)
class _SecurityGroupRule(ResourceType):
    """A rule of a security group; `direction` is `ingress` or `egress`."""

    direction: str

    def create(self, aws: Aws, inputs: Inputs) -> str:
        """Create the rule; one that an interrupted creation of its group has left is the same."""
        call = getattr(aws.client("ec2"), f"authorize_security_group_{self.direction}")
        try:
            response = call(
                GroupId=inputs["securityGroupId"],
                IpPermissions=[_permission(inputs)],
                TagSpecifications=tag_specifications("security-group-rule", inputs),
            )
        except aws.client("ec2").exceptions.ClientError as error:
            id_ = self.find(aws, inputs) if error_code(error) == _SAME_RULE else None
            if id_ is None:
                raise
            return id_
        return str(response["SecurityGroupRules"][0]["SecurityGroupRuleId"])

    def find(self, aws: Aws, inputs: Inputs) -> str | None:
        """Return the id of the group's rule with the same protocol and peer."""
        for rule in _rules(aws, str(inputs["securityGroupId"])):
            source = rule.get("ReferencedGroupInfo", {}).get("GroupId")
            same = (
                rule["IsEgress"] == (self.direction == "egress")
                and rule["IpProtocol"] == inputs["ipProtocol"]
                and rule.get("CidrIpv4") == inputs.get("cidrIpv4")
                and source == inputs.get("referencedSecurityGroupId")
            )
            if same:
                return str(rule["SecurityGroupRuleId"])
        return None

    def read(self, aws: Aws, id_: str, inputs: Inputs) -> Outputs | None:
        group = str(inputs["securityGroupId"])
        if _SECURITY_GROUP.describe(aws, group) is None:
            return None
        exists = any(rule["SecurityGroupRuleId"] == id_ for rule in _rules(aws, group))
        return {"securityGroupRuleId": id_} if exists else None

    def update(self, aws: Aws, id_: str, inputs: Inputs, keys: frozenset[str]) -> None:
        if "tags" in keys:
            replace_tags(aws, id_, inputs)

    def delete(self, aws: Aws, id_: str, inputs: Inputs) -> None:
        if self.read(aws, id_, inputs) is None:
            return
        call = getattr(aws.client("ec2"), f"revoke_security_group_{self.direction}")
        rule = {"GroupId": inputs["securityGroupId"], "SecurityGroupRuleIds": [id_]}
        get_or_none(lambda: call(**rule), _NO_RULE, _NO_GROUP)


def _permission(inputs: Inputs) -> dict[str, Any]:
    traffic = ("ipProtocol", "fromPort", "toPort")
    permission: dict[str, Any] = pascal({key: inputs[key] for key in traffic if key in inputs})
    text = {"Description": inputs["description"]} if inputs.get("description") else {}
    if "cidrIpv4" in inputs:
        permission["IpRanges"] = [{"CidrIp": inputs["cidrIpv4"], **text}]
    if "referencedSecurityGroupId" in inputs:
        pair = {"GroupId": inputs["referencedSecurityGroupId"], **text}
        permission["UserIdGroupPairs"] = [pair]
    return permission


def _rules(aws: Aws, id_: str) -> list[dict[str, Any]]:
    filters = [{"Name": "group-id", "Values": [id_]}]
    response = aws.client("ec2").describe_security_group_rules(Filters=filters)
    return list(response["SecurityGroupRules"])


def _revoke(aws: Aws, id_: str) -> None:
    """Revoke all rules of a group."""
    ec2, rules = aws.client("ec2"), _rules(aws, id_)
    ingress = [rule["SecurityGroupRuleId"] for rule in rules if not rule["IsEgress"]]
    egress = [rule["SecurityGroupRuleId"] for rule in rules if rule["IsEgress"]]
    if ingress:
        ec2.revoke_security_group_ingress(GroupId=id_, SecurityGroupRuleIds=ingress)
    if egress:
        ec2.revoke_security_group_egress(GroupId=id_, SecurityGroupRuleIds=egress)


def _rule_type(direction: str) -> _SecurityGroupRule:
    return _SecurityGroupRule(
        direction=direction,
        updates=frozenset({"tags"}),
        replaces=frozenset(
            {
                "securityGroupId",
                "referencedSecurityGroupId",
                "cidrIpv4",
                "ipProtocol",
                "fromPort",
                "toPort",
                "description",
            }
        ),
        unique=("securityGroupId",),
    )


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:ec2/vpc:Vpc": Ec2Resource(
        operations=("create_vpc", "describe_vpcs", "delete_vpc"),
        arguments={"cidrBlock": "CidrBlock"},
        # DNS host names require DNS support.
        attributes=("enableDnsSupport", "enableDnsHostnames"),
        key=("VpcId",),
        item="Vpc",
        missing=("InvalidVpcID.NotFound",),
        updates=frozenset({"enableDnsSupport", "enableDnsHostnames", "tags"}),
    ),
    "aws:ec2/subnet:Subnet": Ec2Resource(
        operations=("create_subnet", "describe_subnets", "delete_subnet"),
        arguments={
            "vpcId": "VpcId",
            "cidrBlock": "CidrBlock",
            "availabilityZone": "AvailabilityZone",
        },
        attributes=("mapPublicIpOnLaunch",),
        key=("SubnetId",),
        item="Subnet",
        outputs={"arn": "SubnetArn", "availabilityZone": "AvailabilityZone"},
        missing=("InvalidSubnetID.NotFound",),
        updates=frozenset({"mapPublicIpOnLaunch", "tags"}),
        # Subnets of a VPC cannot overlap.
        unique=("vpcId",),
    ),
    "aws:ec2/internetGateway:InternetGateway": _InternetGateway(
        operations=(
            "create_internet_gateway",
            "describe_internet_gateways",
            "delete_internet_gateway",
        ),
        arguments={},
        key=("InternetGatewayId",),
        item="InternetGateway",
        missing=("InvalidInternetGatewayID.NotFound",),
        updates=frozenset({"tags"}),
        replaces=frozenset({"vpcId"}),
    ),
    "aws:ec2/vpcEndpoint:VpcEndpoint": _VpcEndpoint(
        operations=("create_vpc_endpoint", "describe_vpc_endpoints", "delete_vpc_endpoints"),
        arguments={
            "vpcId": "VpcId",
            "serviceName": "ServiceName",
            "vpcEndpointType": "VpcEndpointType",
            "routeTableIds": "RouteTableIds",
        },
        key=("VpcEndpointId",),
        item="VpcEndpoint",
        outputs={"state": "State"},
        missing=("InvalidVpcEndpointId.NotFound",),
        updates=frozenset({"tags"}),
    ),
    "aws:ec2/routeTable:RouteTable": _ROUTE_TABLE,
    "aws:ec2/route:Route": _Route(
        service="ec2",
        operations=("create_route", "describe_route_tables", "delete_route"),
        arguments={
            "routeTableId": "RouteTableId",
            "destinationCidrBlock": "DestinationCidrBlock",
            "gatewayId": "GatewayId",
        },
        key=("RouteTableId", "DestinationCidrBlock"),
        separator="_",
        missing=("InvalidRoute.NotFound", _NO_TABLE),
        updates=frozenset({"gatewayId"}),
        unique=("routeTableId", "destinationCidrBlock"),
    ),
    "aws:ec2/routeTableAssociation:RouteTableAssociation": _RouteTableAssociation(
        operations=(
            "associate_route_table",
            "describe_route_tables",
            "disassociate_route_table",
        ),
        arguments={"routeTableId": "RouteTableId", "subnetId": "SubnetId"},
        key=("AssociationId",),
        missing=("InvalidAssociationID.NotFound",),
        # A subnet has one route table.
        unique=("subnetId",),
    ),
    "aws:ec2/securityGroup:SecurityGroup": _SECURITY_GROUP,
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": _rule_type("ingress"),
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": _rule_type("egress"),
}
