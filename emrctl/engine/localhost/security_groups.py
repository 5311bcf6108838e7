"""EC2's security groups and their rules, each rule a resource."""

from __future__ import annotations

from typing import Any

from emrctl.aws.errors import get_or_none
from emrctl.engine.localhost.network import marked, observe_tags, retag
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
    made = aws.client("ec2").create_security_group(
        GroupName=inputs["name"],
        Description=inputs["description"],
        VpcId=inputs["vpcId"],
        TagSpecifications=marked("security-group", inputs),
    )
    _revoke(aws, str(made["GroupId"]))  # AWS lets everything out; the rules say what may
    return str(made["GroupId"])


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
    found = aws.client("ec2").describe_security_group_rules(Filters=filters)
    return list(found["SecurityGroupRules"])


def _group(aws: Aws, id_: str) -> dict[str, Any] | None:
    ec2 = aws.client("ec2")
    found = get_or_none(lambda: ec2.describe_security_groups(GroupIds=[id_]), _NO_GROUP)
    return found["SecurityGroups"][0] if found else None


def _read_group(aws: Aws, id_: str, _inputs: Inputs) -> Outputs | None:
    found = _group(aws, id_)
    return None if found is None else {"ownerId": found["OwnerId"]}


def _update_group(aws: Aws, id_: str, inputs: Inputs, keys: frozenset[str]) -> None:
    if "tags" in keys:
        retag(aws, id_, inputs)


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
    why = {"Description": inputs["description"]} if inputs.get("description") else {}
    if "cidrIpv4" in inputs:
        permission["IpRanges"] = [{"CidrIp": inputs["cidrIpv4"], **why}]
    if "referencedSecurityGroupId" in inputs:
        pair = {"GroupId": inputs["referencedSecurityGroupId"], **why}
        permission["UserIdGroupPairs"] = [pair]
    return permission


def _create_ingress(aws: Aws, inputs: Inputs) -> str:
    return _authorize(aws, "ingress", inputs)


def _create_egress(aws: Aws, inputs: Inputs) -> str:
    return _authorize(aws, "egress", inputs)


def _authorize(aws: Aws, direction: str, inputs: Inputs) -> str:
    call = getattr(aws.client("ec2"), f"authorize_security_group_{direction}")
    made = call(
        GroupId=inputs["securityGroupId"],
        IpPermissions=[_permission(inputs)],
        TagSpecifications=marked("security-group-rule", inputs),
    )
    return str(made["SecurityGroupRules"][0]["SecurityGroupRuleId"])


def _find_ingress(aws: Aws, inputs: Inputs) -> str | None:
    return _find_rule(aws, inputs, egress=False)


def _find_egress(aws: Aws, inputs: Inputs) -> str | None:
    return _find_rule(aws, inputs, egress=True)


def _find_rule(aws: Aws, inputs: Inputs, *, egress: bool) -> str | None:
    for rule in _rules(aws, str(inputs["securityGroupId"])):
        source = rule.get("ReferencedGroupInfo", {}).get("GroupId")
        same = (
            rule["IsEgress"] == egress
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
    there = any(rule["SecurityGroupRuleId"] == id_ for rule in _rules(aws, group))
    return {"securityGroupRuleId": id_} if there else None


def _update_rule(aws: Aws, id_: str, inputs: Inputs, _keys: frozenset[str]) -> None:
    retag(aws, id_, inputs)


def _delete_ingress(aws: Aws, id_: str, inputs: Inputs) -> None:
    _revoke_one(aws, "ingress", id_, inputs)


def _delete_egress(aws: Aws, id_: str, inputs: Inputs) -> None:
    _revoke_one(aws, "egress", id_, inputs)


def _revoke_one(aws: Aws, direction: str, id_: str, inputs: Inputs) -> None:
    if _read_rule(aws, id_, inputs) is None:
        return
    call = getattr(aws.client("ec2"), f"revoke_security_group_{direction}")
    group = inputs["securityGroupId"]
    get_or_none(lambda: call(GroupId=group, SecurityGroupRuleIds=[id_]), _NO_RULE, _NO_GROUP)


RESOURCE_TYPES = {
    "aws:ec2/securityGroup:SecurityGroup": ResourceType(
        create=_create_group,
        read=_read_group,
        update=_update_group,
        delete=_delete_group,
        find=_find_group,
        observe=observe_tags,
        updates=frozenset({"tags", "revokeRulesOnDelete"}),
        replaces=frozenset({"name", "description", "vpcId"}),
        unique=("name", "vpcId"),
    ),
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": ResourceType(
        create=_create_ingress,
        read=_read_rule,
        update=_update_rule,
        delete=_delete_ingress,
        find=_find_ingress,
        updates=frozenset({"tags"}),
        replaces=_RULE_INPUTS,
        unique=("securityGroupId",),
    ),
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": ResourceType(
        create=_create_egress,
        read=_read_rule,
        update=_update_rule,
        delete=_delete_egress,
        find=_find_egress,
        updates=frozenset({"tags"}),
        replaces=_RULE_INPUTS,
        unique=("securityGroupId",),
    ),
}
