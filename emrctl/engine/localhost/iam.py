"""IAM resource types: roles, role policies and instance profiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from emrctl.aws import listing
from emrctl.engine.localhost.resource_type import (
    ApiResource,
    Aws,
    Inputs,
    Outputs,
    ResourceType,
    policy_document,
    tag_list,
    user_tags,
)


@dataclass(frozen=True, kw_only=True)
class _IamResource(ApiResource):
    """A resource type of IAM."""

    service: str = "iam"
    missing: tuple[str, ...] = ("NoSuchEntity",)

    def create_arguments(self, inputs: Inputs) -> dict[str, Any]:
        """Return the arguments of the first operation, with tags where they are supported."""
        tags = {"Tags": tag_list(inputs.get("tags"))} if "tags" in self.updates else {}
        return super().create_arguments(inputs) | tags

    def replace_tags(self, aws: Aws, name: str, inputs: Inputs) -> None:
        """Set the tags of `inputs` and remove all others."""
        iam, key, tags = aws.client("iam"), self.split_key(name), inputs.get("tags", {})
        kind = self.operations[0].removeprefix("create_")
        removed = listing.tags(self.describe(aws, name) or {}).keys() - set(tags)
        getattr(iam, f"untag_{kind}")(**key, TagKeys=sorted(removed))
        getattr(iam, f"tag_{kind}")(**key, Tags=tag_list(tags))


class _Role(_IamResource):
    """A role with its trust policy."""

    def observe(self, aws: Aws, id_: str, inputs: Inputs) -> Outputs:
        role = self.describe(aws, id_) or {}
        return {
            "assumeRolePolicy": policy_document(
                role["AssumeRolePolicyDocument"], inputs.get("assumeRolePolicy")
            ),
            "description": role.get("Description", ""),
            "tags": user_tags(role),
        }

    def update(self, aws: Aws, id_: str, inputs: Inputs, keys: frozenset[str]) -> None:
        iam = aws.client("iam")
        if "assumeRolePolicy" in keys:
            iam.update_assume_role_policy(RoleName=id_, PolicyDocument=inputs["assumeRolePolicy"])
        if "description" in keys:
            iam.update_role(RoleName=id_, Description=inputs.get("description", ""))
        if "tags" in keys:
            self.replace_tags(aws, id_, inputs)


class _RolePolicy(_IamResource):
    """A policy embedded in a role."""

    def observe(self, aws: Aws, id_: str, inputs: Inputs) -> Outputs:
        current = (self.describe(aws, id_) or {})["PolicyDocument"]
        return {"policy": policy_document(current, inputs.get("policy"))}


class _RolePolicyAttachment(_IamResource):
    """The attachment of a managed policy to a role."""

    def describe(self, aws: Aws, id_: str) -> dict[str, Any] | None:
        """Return the attached policy; None if it is not attached."""
        role, _, arn = id_.partition(self.separator)
        policies = aws.client("iam").list_attached_role_policies(RoleName=role)["AttachedPolicies"]
        return next((policy for policy in policies if policy["PolicyArn"] == arn), None)


class _InstanceProfile(_IamResource):
    """An instance profile with its role."""

    def settle(self, aws: Aws, id_: str, inputs: Inputs) -> None:
        """Add the role; not part of the creation, so that an interrupted one is completed."""
        profile = self.describe(aws, id_)
        if profile is not None and not profile["Roles"]:
            aws.client("iam").add_role_to_instance_profile(
                InstanceProfileName=id_, RoleName=inputs["role"]
            )

    def update(self, aws: Aws, id_: str, inputs: Inputs, keys: frozenset[str]) -> None:
        if "tags" in keys:
            self.replace_tags(aws, id_, inputs)

    def delete(self, aws: Aws, id_: str, inputs: Inputs) -> None:
        iam = aws.client("iam")
        for role in (self.describe(aws, id_) or {}).get("Roles", ()):
            iam.remove_role_from_instance_profile(
                InstanceProfileName=id_, RoleName=role["RoleName"]
            )
        super().delete(aws, id_, inputs)


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:iam/role:Role": _Role(
        operations=("create_role", "get_role", "delete_role"),
        arguments={
            "name": "RoleName",
            "assumeRolePolicy": "AssumeRolePolicyDocument",
            "description": "Description",
        },
        key=("RoleName",),
        item="Role",
        outputs={"arn": "Arn", "uniqueId": "RoleId"},
        updates=frozenset({"assumeRolePolicy", "description", "tags"}),
        unique=("name",),
    ),
    "aws:iam/rolePolicy:RolePolicy": _RolePolicy(
        operations=("put_role_policy", "get_role_policy", "delete_role_policy"),
        arguments={"role": "RoleName", "name": "PolicyName", "policy": "PolicyDocument"},
        key=("RoleName", "PolicyName"),
        updates=frozenset({"policy"}),
    ),
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": _RolePolicyAttachment(
        operations=("attach_role_policy", "list_attached_role_policies", "detach_role_policy"),
        arguments={"role": "RoleName", "policyArn": "PolicyArn"},
        key=("RoleName", "PolicyArn"),
        separator="/",
    ),
    "aws:iam/instanceProfile:InstanceProfile": _InstanceProfile(
        operations=("create_instance_profile", "get_instance_profile", "delete_instance_profile"),
        arguments={"name": "InstanceProfileName"},
        key=("InstanceProfileName",),
        item="InstanceProfile",
        outputs={"arn": "Arn"},
        updates=frozenset({"tags"}),
        replaces=frozenset({"role"}),
        unique=("name",),
    ),
}
