"""IAM resource types: roles, role policies and instance profiles."""

from __future__ import annotations

from typing import Any

from emrctl.aws import listing
from emrctl.aws.errors import get_or_none
from emrctl.engine.localhost.resource_type import (
    Aws,
    Inputs,
    Outputs,
    ResourceType,
    policy_document,
    tag_list,
    user_tags,
)

_NOT_FOUND = "NoSuchEntity"


def _create_role(aws: Aws, inputs: Inputs) -> str:
    response = aws.client("iam").create_role(
        RoleName=inputs["name"],
        AssumeRolePolicyDocument=inputs["assumeRolePolicy"],
        Description=inputs.get("description", ""),
        Tags=tag_list(inputs.get("tags")),
    )
    return str(response["Role"]["RoleName"])


def _role(aws: Aws, name: str) -> dict[str, Any] | None:
    response = get_or_none(lambda: aws.client("iam").get_role(RoleName=name), _NOT_FOUND)
    return None if response is None else response["Role"]


def _find_role(aws: Aws, inputs: Inputs) -> str | None:
    return None if _role(aws, str(inputs["name"])) is None else str(inputs["name"])


def _read_role(aws: Aws, name: str, _inputs: Inputs) -> Outputs | None:
    role = _role(aws, name)
    return None if role is None else {"arn": role["Arn"], "uniqueId": role["RoleId"]}


def _observe_role(aws: Aws, name: str, inputs: Inputs) -> Outputs:
    role = _role(aws, name) or {}
    return {
        "assumeRolePolicy": policy_document(
            role["AssumeRolePolicyDocument"], inputs.get("assumeRolePolicy")
        ),
        "description": role.get("Description", ""),
        "tags": user_tags(aws.client("iam").list_role_tags(RoleName=name)),
    }


def _update_role(aws: Aws, name: str, inputs: Inputs, keys: frozenset[str]) -> None:
    iam = aws.client("iam")
    if "assumeRolePolicy" in keys:
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=inputs["assumeRolePolicy"])
    if "description" in keys:
        iam.update_role(RoleName=name, Description=inputs.get("description", ""))
    if "tags" in keys:
        old = listing.tags(iam.list_role_tags(RoleName=name)).keys()
        iam.untag_role(RoleName=name, TagKeys=sorted(old - set(inputs.get("tags", {}))))
        iam.tag_role(RoleName=name, Tags=tag_list(inputs.get("tags")))


def _delete_role(aws: Aws, name: str, _inputs: Inputs) -> None:
    get_or_none(lambda: aws.client("iam").delete_role(RoleName=name), _NOT_FOUND)


def _put_policy(aws: Aws, inputs: Inputs) -> str:
    aws.client("iam").put_role_policy(
        RoleName=inputs["role"], PolicyName=inputs["name"], PolicyDocument=inputs["policy"]
    )
    return f"{inputs['role']}:{inputs['name']}"


def _policy(aws: Aws, id_: str) -> dict[str, Any] | None:
    role, _, name = id_.partition(":")
    iam = aws.client("iam")
    policy: dict[str, Any] | None = get_or_none(
        lambda: iam.get_role_policy(RoleName=role, PolicyName=name), _NOT_FOUND
    )
    return policy


def _read_policy(aws: Aws, id_: str, _inputs: Inputs) -> Outputs | None:
    return None if _policy(aws, id_) is None else {}


def _observe_policy(aws: Aws, id_: str, inputs: Inputs) -> Outputs:
    current = (_policy(aws, id_) or {})["PolicyDocument"]
    return {"policy": policy_document(current, inputs.get("policy"))}


def _update_policy(aws: Aws, _id: str, inputs: Inputs, _keys: frozenset[str]) -> None:
    _put_policy(aws, inputs)


def _delete_policy(aws: Aws, id_: str, _inputs: Inputs) -> None:
    role, _, name = id_.partition(":")
    get_or_none(
        lambda: aws.client("iam").delete_role_policy(RoleName=role, PolicyName=name), _NOT_FOUND
    )


def _attach(aws: Aws, inputs: Inputs) -> str:
    aws.client("iam").attach_role_policy(RoleName=inputs["role"], PolicyArn=inputs["policyArn"])
    return f"{inputs['role']}/{inputs['policyArn']}"


def _read_attachment(aws: Aws, id_: str, _inputs: Inputs) -> Outputs | None:
    role, _, arn = id_.partition("/")
    iam = aws.client("iam")
    response = get_or_none(lambda: iam.list_attached_role_policies(RoleName=role), _NOT_FOUND)
    policies = response["AttachedPolicies"] if response else ()
    return {} if any(policy["PolicyArn"] == arn for policy in policies) else None


def _detach(aws: Aws, id_: str, _inputs: Inputs) -> None:
    role, _, arn = id_.partition("/")
    get_or_none(
        lambda: aws.client("iam").detach_role_policy(RoleName=role, PolicyArn=arn), _NOT_FOUND
    )


def _create_profile(aws: Aws, inputs: Inputs) -> str:
    iam, name = aws.client("iam"), str(inputs["name"])
    iam.create_instance_profile(InstanceProfileName=name, Tags=tag_list(inputs.get("tags")))
    return name


def _settle_profile(aws: Aws, name: str, inputs: Inputs) -> None:
    """Add the role; not part of the creation, so that an interrupted one is completed."""
    profile = _profile(aws, name)
    if profile is not None and not profile["Roles"]:
        aws.client("iam").add_role_to_instance_profile(
            InstanceProfileName=name, RoleName=inputs["role"]
        )


def _profile(aws: Aws, name: str) -> dict[str, Any] | None:
    iam = aws.client("iam")
    response = get_or_none(lambda: iam.get_instance_profile(InstanceProfileName=name), _NOT_FOUND)
    return None if response is None else response["InstanceProfile"]


def _find_profile(aws: Aws, inputs: Inputs) -> str | None:
    return None if _profile(aws, str(inputs["name"])) is None else str(inputs["name"])


def _read_profile(aws: Aws, name: str, _inputs: Inputs) -> Outputs | None:
    profile = _profile(aws, name)
    return None if profile is None else {"arn": profile["Arn"]}


def _update_profile(aws: Aws, name: str, inputs: Inputs, _keys: frozenset[str]) -> None:
    iam, tags = aws.client("iam"), inputs.get("tags", {})
    old = listing.tags(_profile(aws, name) or {}).keys()
    iam.untag_instance_profile(InstanceProfileName=name, TagKeys=sorted(old - set(tags)))
    iam.tag_instance_profile(InstanceProfileName=name, Tags=tag_list(tags))


def _delete_profile(aws: Aws, name: str, _inputs: Inputs) -> None:
    iam, profile = aws.client("iam"), _profile(aws, name)
    if profile is None:
        return
    for role in profile["Roles"]:
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
