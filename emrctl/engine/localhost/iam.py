"""IAM's resource types: roles, their policies, instance profiles."""

from __future__ import annotations

from typing import Any

from emrctl.aws.errors import get_or_none
from emrctl.engine.localhost.resource_type import (
    Aws,
    Inputs,
    Outputs,
    ResourceType,
    document,
    pairs,
    tags_of,
)

_GONE = "NoSuchEntity"


def _create_role(aws: Aws, inputs: Inputs) -> str:
    made = aws.client("iam").create_role(
        RoleName=inputs["name"],
        AssumeRolePolicyDocument=inputs["assumeRolePolicy"],
        Description=inputs.get("description", ""),
        Tags=pairs(inputs.get("tags")),
    )
    return str(made["Role"]["RoleName"])


def _role(aws: Aws, name: str) -> dict[str, Any] | None:
    found = get_or_none(lambda: aws.client("iam").get_role(RoleName=name), _GONE)
    return None if found is None else found["Role"]


def _find_role(aws: Aws, inputs: Inputs) -> str | None:
    return None if _role(aws, str(inputs["name"])) is None else str(inputs["name"])


def _read_role(aws: Aws, name: str, _inputs: Inputs) -> Outputs | None:
    role = _role(aws, name)
    return None if role is None else {"arn": role["Arn"], "uniqueId": role["RoleId"]}


def _observe_role(aws: Aws, name: str, inputs: Inputs) -> Outputs:
    role = _role(aws, name) or {}
    return {
        "assumeRolePolicy": document(
            role["AssumeRolePolicyDocument"], inputs.get("assumeRolePolicy")
        ),
        "description": role.get("Description", ""),
        "tags": tags_of(aws.client("iam").list_role_tags(RoleName=name)["Tags"]),
    }


def _update_role(aws: Aws, name: str, inputs: Inputs, keys: frozenset[str]) -> None:
    iam = aws.client("iam")
    if "assumeRolePolicy" in keys:
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=inputs["assumeRolePolicy"])
    if "description" in keys:
        iam.update_role(RoleName=name, Description=inputs.get("description", ""))
    if "tags" in keys:
        old = {tag["Key"] for tag in iam.list_role_tags(RoleName=name)["Tags"]}
        iam.untag_role(RoleName=name, TagKeys=sorted(old - set(inputs.get("tags", {}))))
        iam.tag_role(RoleName=name, Tags=pairs(inputs.get("tags")))


def _delete_role(aws: Aws, name: str, _inputs: Inputs) -> None:
    get_or_none(lambda: aws.client("iam").delete_role(RoleName=name), _GONE)


def _put_policy(aws: Aws, inputs: Inputs) -> str:
    aws.client("iam").put_role_policy(
        RoleName=inputs["role"], PolicyName=inputs["name"], PolicyDocument=inputs["policy"]
    )
    return f"{inputs['role']}:{inputs['name']}"


def _read_policy(aws: Aws, id_: str, _inputs: Inputs) -> Outputs | None:
    role, _, name = id_.partition(":")
    found = get_or_none(
        lambda: aws.client("iam").get_role_policy(RoleName=role, PolicyName=name), _GONE
    )
    return None if found is None else {}


def _observe_policy(aws: Aws, id_: str, inputs: Inputs) -> Outputs:
    role, _, name = id_.partition(":")
    found = aws.client("iam").get_role_policy(RoleName=role, PolicyName=name)
    return {"policy": document(found["PolicyDocument"], inputs.get("policy"))}


def _update_policy(aws: Aws, _id: str, inputs: Inputs, _keys: frozenset[str]) -> None:
    _put_policy(aws, inputs)


def _delete_policy(aws: Aws, id_: str, _inputs: Inputs) -> None:
    role, _, name = id_.partition(":")
    get_or_none(lambda: aws.client("iam").delete_role_policy(RoleName=role, PolicyName=name), _GONE)


def _attach(aws: Aws, inputs: Inputs) -> str:
    aws.client("iam").attach_role_policy(RoleName=inputs["role"], PolicyArn=inputs["policyArn"])
    return f"{inputs['role']}/{inputs['policyArn']}"


def _read_attachment(aws: Aws, id_: str, _inputs: Inputs) -> Outputs | None:
    role, _, arn = id_.partition("/")
    found = get_or_none(
        lambda: aws.client("iam").list_attached_role_policies(RoleName=role), _GONE
    ) or {"AttachedPolicies": []}
    return {} if any(item["PolicyArn"] == arn for item in found["AttachedPolicies"]) else None


def _detach(aws: Aws, id_: str, _inputs: Inputs) -> None:
    role, _, arn = id_.partition("/")
    get_or_none(lambda: aws.client("iam").detach_role_policy(RoleName=role, PolicyArn=arn), _GONE)


def _create_profile(aws: Aws, inputs: Inputs) -> str:
    iam, name = aws.client("iam"), str(inputs["name"])
    iam.create_instance_profile(InstanceProfileName=name, Tags=pairs(inputs.get("tags")))
    return name


def _settle_profile(aws: Aws, name: str, inputs: Inputs) -> None:
    """The profile holds the role; by itself, so that a create cut off before it is mended."""
    found = _profile(aws, name)
    if found is not None and not found["Roles"]:
        aws.client("iam").add_role_to_instance_profile(
            InstanceProfileName=name, RoleName=inputs["role"]
        )


def _profile(aws: Aws, name: str) -> dict[str, Any] | None:
    iam = aws.client("iam")
    found = get_or_none(lambda: iam.get_instance_profile(InstanceProfileName=name), _GONE)
    return None if found is None else found["InstanceProfile"]


def _find_profile(aws: Aws, inputs: Inputs) -> str | None:
    return None if _profile(aws, str(inputs["name"])) is None else str(inputs["name"])


def _read_profile(aws: Aws, name: str, _inputs: Inputs) -> Outputs | None:
    found = _profile(aws, name)
    return None if found is None else {"arn": found["Arn"]}


def _update_profile(aws: Aws, name: str, inputs: Inputs, _keys: frozenset[str]) -> None:
    iam, tags = aws.client("iam"), inputs.get("tags", {})
    found = _profile(aws, name) or {}
    old = {tag["Key"] for tag in found.get("Tags", [])}
    iam.untag_instance_profile(InstanceProfileName=name, TagKeys=sorted(old - set(tags)))
    iam.tag_instance_profile(InstanceProfileName=name, Tags=pairs(tags))


def _delete_profile(aws: Aws, name: str, _inputs: Inputs) -> None:
    iam, found = aws.client("iam"), _profile(aws, name)
    if found is None:
        return
    for role in found["Roles"]:
        iam.remove_role_from_instance_profile(InstanceProfileName=name, RoleName=role["RoleName"])
    iam.delete_instance_profile(InstanceProfileName=name)


RESOURCE_TYPES = {
    "aws:iam/role:Role": ResourceType(
        create=_create_role,
        read=_read_role,
        update=_update_role,
        delete=_delete_role,
        find=_find_role,
        observe=_observe_role,
        updates=frozenset({"assumeRolePolicy", "description", "tags"}),
        replaces=frozenset({"name"}),
        unique=("name",),
    ),
    "aws:iam/rolePolicy:RolePolicy": ResourceType(
        create=_put_policy,
        read=_read_policy,
        update=_update_policy,
        delete=_delete_policy,
        observe=_observe_policy,
        updates=frozenset({"policy"}),
        replaces=frozenset({"role", "name"}),
    ),
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": ResourceType(
        create=_attach,
        read=_read_attachment,
        delete=_detach,
        replaces=frozenset({"role", "policyArn"}),
    ),
    "aws:iam/instanceProfile:InstanceProfile": ResourceType(
        create=_create_profile,
        read=_read_profile,
        update=_update_profile,
        delete=_delete_profile,
        settle=_settle_profile,
        find=_find_profile,
        updates=frozenset({"tags"}),
        replaces=frozenset({"name", "role"}),
        unique=("name",),
    ),
}
