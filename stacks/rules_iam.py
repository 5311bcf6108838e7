"""Rules of roles and policies."""

from __future__ import annotations

import json
from collections.abc import Iterator

from stacks.rules import Resources, documents, listed, rule

# What IAM lets nobody limit to resources; the rules of others do not count them either.
_UNLIMITED = {"ec2:DescribeInstances"}


@rule("no action of a whole service", "CKV_AWS_62", "CKV_AWS_63", "IAM.1", "IAM.21")
def _actions(found: Resources) -> Iterator[str]:
    for name, statement in documents(found):
        for action in listed(statement["Action"]):
            if "*" in action:
                yield f"{name}: {action}"


@rule("no resource is everything", "CKV_AWS_355", "CKV_AWS_289", "CKV_AWS_290")
def _resources(found: Resources) -> Iterator[str]:
    for name, statement in documents(found):
        actions = set(listed(statement["Action"])) - _UNLIMITED
        if actions and "*" in listed(statement["Resource"]):
            yield f"{name}: {statement.get('Sid', statement['Action'])} on *"


@rule("nobody gives himself more", "CKV_AWS_286")
def _escalation(found: Resources) -> Iterator[str]:
    for name, statement in documents(found):
        actions = [action for action in listed(statement["Action"]) if action.startswith("iam:")]
        if actions != ["iam:PassRole"] and actions:
            yield f"{name}: {', '.join(actions)}"
        if actions and "iam:PassedToService" not in json.dumps(statement.get("Condition", {})):
            yield f"{name}: {', '.join(actions)} to any service"


@rule("no secrets are read", "CKV_AWS_287", "CKV_AWS_288")
def _secrets(found: Resources) -> Iterator[str]:
    readers = ("secretsmanager:", "ssm:GetParameter")
    for name, statement in documents(found):
        for action in listed(statement["Action"]):
            if action.startswith(readers):
                yield f"{name}: {action}"


@rule("keys decrypt for their own alone", "KMS.1", "KMS.2")
def _keys(found: Resources) -> Iterator[str]:
    for name, statement in documents(found):
        decrypts = {"kms:Decrypt", "kms:ReEncryptFrom"} & set(listed(statement["Action"]))
        many = any(item.endswith("key/*") or item == "*" for item in listed(statement["Resource"]))
        if decrypts and many and "kms:ResourceAliases" not in json.dumps(statement):
            yield f"{name}: every key of the account"


@rule("roles are taken by AWS's services alone", "CKV_AWS_60", "CKV_AWS_61")
def _trust(found: Resources) -> Iterator[str]:
    for item in found.of("Role"):
        for statement in json.loads(item.inputs["assumeRolePolicy"])["Statement"]:
            if set(statement["Principal"]) != {"Service"}:
                yield f"{item.name}: {statement['Principal']}"


@rule("EMR acts for this account alone", "iam_role_cross_service_confused_deputy_prevention")
def _deputy(found: Resources) -> Iterator[str]:
    for item in found.of("Role"):
        for statement in json.loads(item.inputs["assumeRolePolicy"])["Statement"]:
            service = str(statement["Principal"].get("Service", ""))
            if service.startswith("elasticmapreduce") and "Condition" not in statement:
                yield item.name


@rule("nodes are managed by Systems Manager", "SSM.1")
def _managed(found: Resources) -> Iterator[str]:
    policies = [item.inputs["policyArn"] for item in found.of("RolePolicyAttachment")]
    nodes = [item for item in found.of("Role") if "ec2." in item.inputs["assumeRolePolicy"]]
    if nodes and not any(str(arn).endswith("AmazonSSMManagedInstanceCore") for arn in policies):
        yield "their role may not"
