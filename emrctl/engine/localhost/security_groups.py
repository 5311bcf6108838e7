"""EC2 resource types: security groups and their rules."""

from __future__ import annotations

from functools import partial
from typing import Any

from emrctl.aws.errors import get_or_none
from emrctl.engine.localhost.network import observe_tags, tag_specifications, update_tags
from emrctl.engine.localhost.resource_type import Aws, Inputs, Outputs, ResourceType

_NO_GROUP = "InvalidGroup.NotFound"
_NO_RULE = "InvalidSecurityGroupRuleId.NotFound"
_RULE_INPUTS = frozenset(
    {
        "securityGroupId",
        "referencedSecurityGroupId",
        "cidrIpv4",
        "ipProtocol",
        "fromPort",
        "toPort",
        "description",
    }
)


def _create_group(aws: Aws, inputs: Inputs) -> str:
    response = aws.client("ec2").create_security_group(
        GroupName=inputs["name"],
        Description=inputs["description"],
        VpcId=inputs["vpcId"],
        TagSpecifications=tag_specifications("security-group", inputs),
    )
    _revoke(aws, str(response["GroupId"]))  # AWS allows all egress by default
    return str(response["GroupId"])


def _revoke(aws: Aws, id_: str) -> None:
    ec2, rules = aws.client("ec2"), _rules(aws, id_)
    ingress = [rule["SecurityGroupRuleId"] for rule in rules if not rule["IsEgress"]]
    egress = [rule["SecurityGroupRuleId"] for rule in rules if rule["IsEgress"]]
    if ingress:
        ec2.revoke_security_group_ingress(GroupId=id_, SecurityGroupRuleIds=ingress)
    if egress:
        ec2.revoke_security_group_egress(GroupId=id_, SecurityGroupRuleIds=egress)


def _rules(aws: Aws, id_: str) -> list[dict[str, Any]]:
    filters = [{"Name": "group-id", "Values": [id_]}]
    response = aws.client("ec2").describe_security_group_rules(Filters=filters)
    return list(response["SecurityGroupRules"])


def _group(aws: Aws, id_: str) -> dict[str, Any] | None:
    ec2 = aws.client("ec2")
    response = get_or_none(lambda: ec2.describe_security_groups(GroupIds=[id_]), _NO_GROUP)
    return response["SecurityGroups"][0] if response else None


def _read_group(aws: Aws, id_: str, _inputs: Inputs) -> Outputs | None:
    group = _group(aws, id_)
    return None if group is None else {"ownerId": group["OwnerId"]}


def _find_group(aws: Aws, inputs: Inputs) -> str | None:
    filters = [
        {"Name": "group-name", "Values": [inputs["name"]]},
        {"Name": "vpc-id", "Values": [inputs["vpcId"]]},
    ]
    groups = aws.client("ec2").describe_security_groups(Filters=filters)["SecurityGroups"]
    return str(groups[0]["GroupId"]) if groups else None


def _delete_group(aws: Aws, id_: str, inputs: Inputs) -> None:
    if _group(aws, id_) is None:
        return
    if inputs.get("revokeRulesOnDelete"):
        _revoke(aws, id_)
    get_or_none(lambda: aws.client("ec2").delete_security_group(GroupId=id_), _NO_GROUP)


def _permission(inputs: Inputs) -> dict[str, Any]:
    permission: dict[str, Any] = {"IpProtocol": inputs["ipProtocol"]}
    for key, name in (("fromPort", "FromPort"), ("toPort", "ToPort")):
        if key in inputs:
            permission[name] = inputs[key]
    text = {"Description": inputs["description"]} if inputs.get("description") else {}
    if "cidrIpv4" in inputs:
        permission["IpRanges"] = [{"CidrIp": inputs["cidrIpv4"], **text}]
    if "referencedSecurityGroupId" in inputs:
        pair = {"GroupId": inputs["referencedSecurityGroupId"], **text}
        permission["UserIdGroupPairs"] = [pair]
    return permission


def _authorize(direction: str, aws: Aws, inputs: Inputs) -> str:
    call = getattr(aws.client("ec2"), f"authorize_security_group_{direction}")
    response = call(
        GroupId=inputs["securityGroupId"],
        IpPermissions=[_permission(inputs)],
        TagSpecifications=tag_specifications("security-group-rule", inputs),
    )
    return str(response["SecurityGroupRules"][0]["SecurityGroupRuleId"])


def _find_rule(direction: str, aws: Aws, inputs: Inputs) -> str | None:
    for rule in _rules(aws, str(inputs["securityGroupId"])):
        source = rule.get("ReferencedGroupInfo", {}).get("GroupId")
        same = (
            rule["IsEgress"] == (direction == "egress")
            and rule["IpProtocol"] == inputs["ipProtocol"]
            and rule.get("CidrIpv4") == inputs.get("cidrIpv4")
            and source == inputs.get("referencedSecurityGroupId")
        )
        if same:
            return str(rule["SecurityGroupRuleId"])
    return None


def _read_rule(aws: Aws, id_: str, inputs: Inputs) -> Outputs | None:
    group = str(inputs["securityGroupId"])
    if _group(aws, group) is None:
        return None
    exists = any(rule["SecurityGroupRuleId"] == id_ for rule in _rules(aws, group))
    return {"securityGroupRuleId": id_} if exists else None


def _delete_rule(direction: str, aws: Aws, id_: str, inputs: Inputs) -> None:
    if _read_rule(aws, id_, inputs) is None:
        return
    call = getattr(aws.client("ec2"), f"revoke_security_group_{direction}")
    group = inputs["securityGroupId"]
    get_or_none(lambda: call(GroupId=group, SecurityGroupRuleIds=[id_]), _NO_RULE, _NO_GROUP)


def _rule_type(direction: str) -> ResourceType:
    return ResourceType(
        create=partial(_authorize, direction),
        read=_read_rule,
        update=update_tags,
        delete=partial(_delete_rule, direction),
        find=partial(_find_rule, direction),
        updates=frozenset({"tags"}),
        replaces=_RULE_INPUTS,
        unique=("securityGroupId",),
    )


RESOURCE_TYPES = {
    "aws:ec2/securityGroup:SecurityGroup": ResourceType(
        create=_create_group,
        read=_read_group,
        update=update_tags,
        delete=_delete_group,
        find=_find_group,
        observe=observe_tags,
        updates=frozenset({"tags", "revokeRulesOnDelete"}),
        replaces=frozenset({"name", "description", "vpcId"}),
        unique=("name", "vpcId"),
    ),
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": _rule_type("ingress"),
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": _rule_type("egress"),
}
