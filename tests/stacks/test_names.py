"""Tags of the declared resources."""

from __future__ import annotations

from typing import Any

from tests.stacks.conftest import Evaluate, pets

MANAGED = "for-use-with-amazon-emr-managed-policies"


def test_resources_have_project_and_stack_tags(cluster: Evaluate) -> None:
    resources = cluster(pets(tags={"team": "vision"}))
    untagged = {
        "RolePolicy",
        "RolePolicyAttachment",
        "Route",
        "RouteTableAssociation",
        "SecurityConfiguration",
    }
    for item in resources.values():
        if item.type.rpartition(":")[2] in untagged:
            continue
        tags = item.inputs["tags"]
        assert (tags["emrctl:project"], tags["emrctl:stack"]) == ("pets", "pets-main"), item.name
        assert (tags[MANAGED], tags["team"]) == ("true", "vision")


def test_taggable_resources_have_tags(cluster: Evaluate) -> None:
    spec: dict[str, Any] = {
        "network": {"private": True, "nat": True, "close_default_group": True},
        "roles": {"ssm": True},
        "task": [{}],
    }
    untaggable = {"RolePolicy", "RolePolicyAttachment", "Route", "RouteTableAssociation"}
    untaggable |= {"SecurityConfiguration", "InstanceGroup"}
    for item in cluster(pets(**spec)).values():
        if item.type.rpartition(":")[2] not in untaggable:
            tags = item.inputs["tags"]
            assert tags["for-use-with-amazon-emr-managed-policies"] == "true", item.name
            assert tags["emrctl:stack"] == "pets-main"
