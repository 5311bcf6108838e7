"""The program's resources against checkov's and Security Hub's rules: held, or waived with why."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

from emrctl.engine.embedded.evaluate import Declared
from emrctl.spec import ProjectSpec
from emrctl.spec.waivers import DEFAULTS, of_kind
from stacks import ruleset

Evaluate = Callable[[ProjectSpec], Any]
KEY = "arn:aws:kms:eu-central-1:123456789012:key/k"
# The rules of the contract's table that speak of something the program declares.
APPLY = {
    *("EMR.1", "EMR.3", "EMR.4"),
    *("S3.5", "S3.6", "S3.8", "S3.9", "S3.12", "S3.13", "S3.14", "S3.17", "S3.2", "S3.3"),
    *("EC2.2", "EC2.3", "EC2.6", "EC2.8", "EC2.9", "EC2.10", "EC2.13", "EC2.15", "EC2.18"),
    *("EC2.19", "SSM.1", "IAM.1", "IAM.21", "KMS.1", "KMS.2"),
    *(f"CKV_AWS_{n}" for n in (171, 349, 350, 351, 114, 53, 54, 55, 56, 18, 19, 20, 21, 144, 145)),
    *(f"CKV_AWS_{n}" for n in (300, 70, 379, 79, 46, 23, 24, 25, 260, 277, 382, 130, 60, 61, 62)),
    *("CKV_AWS_8", "CKV_AWS_88", "CKV_AWS_126", "CKV_AWS_135", "CKV2_AWS_41"),
    *(f"CKV_AWS_{n}" for n in (63, 286, 287, 288, 289, 290, 355)),
    *(f"CKV2_AWS_{n}" for n in (55, 6, 61, 62, 65, 5, 12)),
}
# What no resource of a stack can hold: settings of the account, and of instances that EMR makes.
NOT_OURS = {
    "EMR.2": "of the account and region: preflight looks at it",
    "CKV_AWS_390": "of the account and region: preflight looks at it",
    "S3.1": "of the account",
    "EC2.7": "of the account and region",
    "KMS.4": "the keys are the user's",
    "CKV_AWS_3": "volumes are EMR's: CKV_AWS_350 speaks of them",
    "CKV_AWS_189": "volumes are EMR's: CKV_AWS_350 speaks of them",
}
HARD = {
    "project": "pets",
    "region": "eu-central-1",
    "target": "aws",
    "storage": {"kms_key": KEY, "access_logs": "the-logs"},
    "cluster": {
        "network": {
            "private": True,
            "close_default_group": True,
            "endpoints": ["ec2", "elasticmapreduce", "sts", "kms"],
        },
        "roles": {"ssm": True},
        "security": {
            "at_rest": True,
            "disk_key": KEY,
            "log_key": KEY,
            "in_transit": "s3://pets/certificates/c.zip",
        },
    },
}
HARD_EC2 = HARD | {
    "cluster": {
        "kind": "ec2",
        "ssh": "none",
        "wheelhouse": "s3://wheels/",
        "network": {"private": True, "close_default_group": True},
        "roles": {"ssm": True},
        "security": {"disk_key": KEY},
    }
}
# What even that does not hold: nothing that a cluster's stack should have.
NEVER = {"CKV_AWS_144", "CKV2_AWS_62", "EC2.6", "CKV2_AWS_11"}


@pytest.fixture
def broken(storage: Evaluate, cluster: Evaluate) -> Callable[[ProjectSpec], set[str]]:
    """Ids of the rules that a project's two stacks break."""

    def run(project: ProjectSpec) -> set[str]:
        items = [*storage(project).values(), *cluster(project).values()]
        return {item.rule for item in ruleset.broken(items)}

    return run


def test_the_rules_that_apply_are_all_there() -> None:
    assert set(ruleset.every()) >= APPLY
    assert not set(NOT_OURS) & set(ruleset.every())


def test_a_default_project_holds_every_rule_or_says_why_not(
    broken: Callable[[ProjectSpec], set[str]],
) -> None:
    assert broken(ProjectSpec(project="pets")) == set(DEFAULTS)  # none too many, none too few


def test_a_default_cluster_of_instances_holds_every_rule_or_says_why_not(
    broken: Callable[[ProjectSpec], set[str]],
) -> None:
    project = ProjectSpec.model_validate({"project": "pets", "cluster": {"kind": "ec2"}})
    assert broken(project) == set(of_kind("ec2"))


def test_one_that_wants_everything_holds_nearly_all_of_them(
    broken: Callable[[ProjectSpec], set[str]],
) -> None:
    assert broken(ProjectSpec.model_validate(HARD_EC2)) == NEVER | {"CKV_AWS_126"}


def test_a_project_that_wants_everything_holds_nearly_all(
    broken: Callable[[ProjectSpec], set[str]],
) -> None:
    assert broken(ProjectSpec.model_validate(HARD)) == NEVER


@pytest.mark.parametrize(
    "wanted",
    [
        {"network": {"private": True, "nat": True}},
        {"network": {"subnets": ["subnet-1"], "vpc": "vpc-1"}},
        {"fleets": {"core": {"types": [{"type": "m5.xlarge"}], "spot": 2}}},
        {"task": [{"count": 2, "bid_usd": 0.1}], "scaling": {"maximum": 9}},
        {"buckets": [{"name": "data", "prefix": "in", "access": "write", "kms_key": "alias/d"}]},
    ],
)
def test_whatever_is_asked_for_breaks_nothing_more(
    broken: Callable[[ProjectSpec], set[str]], wanted: dict[str, Any]
) -> None:
    project = ProjectSpec.model_validate({"project": "pets", "cluster": wanted})
    assert broken(project) <= set(DEFAULTS)


def test_every_waiver_is_of_a_rule_and_has_a_reason() -> None:
    assert set(DEFAULTS) <= set(ruleset.every())
    assert all(len(reason.split()) > 4 for reason in DEFAULTS.values())


# What each rule is for: one change to what is declared, and the rules that must see it.
SPOILED: tuple[tuple[str, dict[str, Any], set[str]], ...] = (
    ("public-access", {"blockPublicPolicy": False}, {"CKV_AWS_54", "S3.8"}),
    ("ownership", {"rule": {"objectOwnership": "ObjectWriter"}}, {"CKV2_AWS_65", "S3.12"}),
    ("versioning", {"versioningConfiguration": {"status": "Suspended"}}, {"CKV_AWS_21"}),
    ("lifecycle", {"rules": [{"id": "logs"}]}, {"CKV_AWS_300"}),
    ("tls-only", {"policy": json.dumps({"Statement": []})}, {"CKV_AWS_379", "S3.5"}),
    (
        "tls-only",
        {"policy": json.dumps({"Statement": [{"Effect": "Allow", "Principal": "*"}]})},
        {"CKV_AWS_70", "S3.6"},
    ),
    ("core-from-primary", {"cidrIpv4": "0.0.0.0/0"}, {"CKV_AWS_24", "EC2.13", "CKV_AWS_277"}),
    ("core-from-primary", {"description": ""}, {"CKV_AWS_23"}),
    ("subnet", {"mapPublicIpOnLaunch": True}, {"EMR.1", "CKV_AWS_130"}),
    ("primary-to-s3", {"cidrIpv4": "0.0.0.0/0", "ipProtocol": "-1"}, {"CKV_AWS_382"}),
    ("cluster", {"securityConfiguration": None}, {"CKV2_AWS_55"}),
    ("cluster", {"kerberosAttributes": {"kdcAdminPassword": "x"}}, {"CKV_AWS_114"}),
    ("cluster", {"configurationsJson": '{"fs.s3a.secret.key": "x"}'}, {"CKV_AWS_46"}),
    ("cluster", {"ec2Attributes": {}}, {"CKV2_AWS_5"}),
    ("security", {"configuration": "{}"}, {"EC2.8", "EMR.3", "EMR.4", "CKV_AWS_351"}),
    ("default-group", {"ingress": [{"protocol": "-1"}]}, {"EC2.2"}),
    ("encryption", {"bucket": "another"}, {"CKV_AWS_19", "S3.4"}),
)
SPOILED_EC2: tuple[tuple[str, dict[str, Any], set[str]], ...] = (
    ("primary", {"rootBlockDevice": {"encrypted": False}}, {"CKV_AWS_8", "EC2.3"}),
    ("worker-1", {"associatePublicIpAddress": True}, {"CKV_AWS_88"}),
    ("worker-1", {"metadataOptions": {"httpTokens": "optional"}}, {"EC2.8", "CKV_AWS_79"}),
    ("primary", {"ebsOptimized": False}, {"CKV_AWS_135"}),
    ("primary", {"iamInstanceProfile": None}, {"CKV2_AWS_41"}),
    ("nodes-from-nodes", {"cidrIpv4": "0.0.0.0/0"}, {"CKV_AWS_24", "EC2.13"}),
)


@pytest.mark.parametrize(("name", "change", "ids"), SPOILED)
def test_each_rule_sees_what_it_is_for(
    storage: Evaluate, cluster: Evaluate, name: str, change: dict[str, Any], ids: set[str]
) -> None:
    project = ProjectSpec.model_validate(HARD)
    items = {**storage(project), **cluster(project)}
    items[name] = _changed(items[name], change)
    assert {item.rule for item in ruleset.broken(items.values())} >= ids


@pytest.mark.parametrize(("name", "change", "ids"), SPOILED_EC2)
def test_each_rule_sees_what_it_is_for_on_instances(
    storage: Evaluate, cluster: Evaluate, name: str, change: dict[str, Any], ids: set[str]
) -> None:
    project = ProjectSpec.model_validate(HARD_EC2)
    items = {**storage(project), **cluster(project)}
    items[name] = _changed(items[name], change)
    assert {item.rule for item in ruleset.broken(items.values())} >= ids


POLICIES: tuple[tuple[dict[str, Any], set[str]], ...] = (
    ({"Action": "s3:*", "Resource": "arn:aws:s3:::x"}, {"CKV_AWS_62", "IAM.21"}),
    ({"Action": ["ec2:DescribeVpcs"], "Resource": "*"}, {"CKV_AWS_355"}),
    ({"Action": "iam:PassRole", "Resource": "arn:aws:iam::1:role/x"}, {"CKV_AWS_286"}),
    ({"Action": "kms:Decrypt", "Resource": "arn:aws:kms:eu:1:key/*"}, {"KMS.1", "KMS.2"}),
    ({"Action": "secretsmanager:GetSecretValue", "Resource": "arn:x"}, {"CKV_AWS_287"}),
)


@pytest.mark.parametrize(("statement", "ids"), POLICIES)
def test_policies_that_allow_too_much_are_seen(
    cluster: Evaluate, statement: dict[str, Any], ids: set[str]
) -> None:
    items = cluster(ProjectSpec.model_validate(HARD))
    policy = json.dumps({"Statement": [statement]})
    items["node-data"] = _changed(items["node-data"], {"policy": policy})
    assert {item.rule for item in ruleset.broken(items.values())} >= ids


@pytest.mark.parametrize(
    ("role", "trust", "id_"),
    [
        ("node-role", {"Principal": {"AWS": "*"}}, "CKV_AWS_60"),
        (
            "service-role",
            {"Principal": {"Service": "elasticmapreduce.amazonaws.com"}},
            "iam_role_cross_service_confused_deputy_prevention",
        ),
    ],
)
def test_roles_that_others_could_take_are_seen(
    cluster: Evaluate, role: str, trust: dict[str, Any], id_: str
) -> None:
    items = cluster(ProjectSpec.model_validate(HARD))
    items[role] = _changed(items[role], {"assumeRolePolicy": json.dumps({"Statement": [trust]})})
    assert id_ in {item.rule for item in ruleset.broken(items.values())}


def _changed(item: Declared, change: dict[str, Any]) -> Declared:
    return dataclasses.replace(item, inputs={**item.inputs, **change})
