"""The service role and the instance profile of an EMR cluster."""

from __future__ import annotations

import json

from tests.stacks.conftest import PETS, Evaluate, pets


def test_service_role_trusts_own_account_and_passes_only_node_role(cluster: Evaluate) -> None:
    resources = cluster(PETS)
    trust = json.loads(resources["service-role"].inputs["assumeRolePolicy"])["Statement"][0]
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": "123456789012"}}
    passing = json.loads(resources["pass-role"].inputs["policy"])["Statement"][0]
    assert (passing["Action"], passing["Resource"]) == ("iam:PassRole", "arn:node-role")
    assert passing["Condition"] == {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}


def test_instance_profile_has_name_of_its_role(cluster: Evaluate) -> None:
    resources = cluster(PETS)
    assert resources["instance-profile"].inputs["name"] == resources["node-role"].inputs["name"]


def test_existing_roles_are_used_by_name(cluster: Evaluate) -> None:
    roles = {"service": "EMR_DefaultRole", "instance_profile": "EMR_EC2_DefaultRole"}
    resources = cluster(pets(roles=roles))
    assert resources.of("Role") == []
    inputs = resources["cluster"].inputs
    assert inputs["serviceRole"] == "EMR_DefaultRole"
    assert inputs["ec2Attributes"]["instanceProfile"] == "EMR_EC2_DefaultRole"
    assert resources.outputs["instance_profile"] == "EMR_EC2_DefaultRole"


def test_service_role_may_pass_existing_profile(cluster: Evaluate) -> None:
    resources = cluster(pets(roles={"instance_profile": "mine"}))
    passing = json.loads(resources["pass-role"].inputs["policy"])["Statement"][0]
    assert passing["Resource"] == "arn:aws:iam::123456789012:role/mine"
    assert [item.name for item in resources.of("Role")] == ["service-role"]
