"""The stacks satisfy the rules of checkov and Security Hub, except those listed with a reason."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from emrctl.spec import ProjectSpec
from tests.stacks.conftest import KEY, Evaluate, Resources
from tests.stacks.rules import RULES, violations

# The rules about resources that the program declares.
APPLICABLE = {
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
# Rules that no stack can satisfy: settings of the account, and instances created by EMR.
NOT_APPLICABLE = {
    "EMR.2": "a setting of account and region, checked by preflight",
    "CKV_AWS_390": "a setting of account and region, checked by preflight",
    "S3.1": "a setting of the account",
    "EC2.7": "a setting of account and region",
    "KMS.4": "the keys are the user's",
    "CKV_AWS_3": "EMR creates the volumes: see CKV_AWS_350",
    "CKV_AWS_189": "EMR creates the volumes: see CKV_AWS_350",
}
# Rules that a default EMR project violates, with the reason or the setting that satisfies them.
EMR_EXCEPTIONS = {
    "EMR.1": "a public subnet needs no NAT or endpoints, and security groups admit no one; "
    "network.private: true satisfies it",
    "EMR.3": "the account's defaults encrypt the bucket and EMR's volumes; "
    "security.at_rest: true satisfies it",
    "EMR.4": "needs certificates: `emrctl certificates`, then security.in_transit",
    "CKV_AWS_171": "SSE-KMS needs the user's key: storage.kms_key with security.at_rest",
    "CKV_AWS_349": "disk encryption needs the user's key: security.disk_key",
    "CKV_AWS_350": "disk encryption needs the user's key: security.disk_key",
    "CKV_AWS_351": "needs certificates, as EMR.4: security.in_transit satisfies it",
    "CKV_AWS_18": "an access log needs a second bucket: storage.access_logs",
    "S3.9": "an access log needs a second bucket: storage.access_logs",
    "CKV_AWS_144": "runs can be repeated; a second region doubles the storage cost",
    "CKV_AWS_145": "S3 encrypts with its own keys; a KMS key costs money: storage.kms_key",
    "S3.17": "S3 encrypts with its own keys; a KMS key costs money: storage.kms_key",
    "CKV2_AWS_62": "nothing subscribes: emrctl polls EMR, which is free",
    "CKV_AWS_130": "public addresses replace NAT, and security groups admit no one; "
    "network.private: true satisfies it",
    "EC2.9": "as CKV_AWS_130: network.private: true satisfies it",
    "EC2.15": "as CKV_AWS_130: network.private: true satisfies it",
    "CKV_AWS_382": "EMR's service and package repositories have no fixed addresses; "
    "network.private: true without nat satisfies it",
    "CKV2_AWS_12": "nothing uses the VPC's default group; "
    "network.close_default_group: true satisfies it",
    "EC2.2": "as CKV2_AWS_12: network.close_default_group: true satisfies it",
    "EC2.3": "as CKV_AWS_350: security.disk_key satisfies it",
    "EC2.6": "the VPC holds one short-lived cluster and admits no inbound traffic",
    "CKV2_AWS_11": "as EC2.6: the VPC holds one short-lived cluster",
    "EC2.10": "nodes do not call EC2; network.endpoints: [ec2, …] adds the endpoint",
    "SSM.1": "nodes do not use Session Manager unless roles.ssm is set",
}
_EMR_ONLY = {"EMR.3", "EMR.4", "CKV_AWS_171", "CKV_AWS_349", "CKV_AWS_350", "CKV_AWS_351", "EC2.3"}
EC2_EXCEPTIONS = {
    **{rule: reason for rule, reason in EMR_EXCEPTIONS.items() if rule not in _EMR_ONLY},
    "CKV_AWS_88": "as CKV_AWS_130: network.private: true satisfies it, with ssh or roles.ssm",
    "CKV_AWS_126": "Spark reports what runs on the nodes; detailed monitoring costs extra",
    "CKV_AWS_382": "package repositories have no fixed addresses; network.private: true without "
    "nat satisfies it, with a wheelhouse on S3",
    "EC2.10": "nodes call EC2 once, to terminate themselves; network.endpoints: [ec2, …] adds the "
    "endpoint in a private network",
    "SSM.1": "nodes are reached over SSH from one address; roles.ssm satisfies it",
}
EXCEPTIONS = {"emr": EMR_EXCEPTIONS, "ec2": EC2_EXCEPTIONS}
# Rules that even the strictest project violates.
STRICT_EXCEPTIONS = {"CKV_AWS_144", "CKV2_AWS_62", "EC2.6", "CKV2_AWS_11"}
STRICT: dict[str, Any] = {
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
STRICT_EC2 = STRICT | {
    "cluster": {
        "kind": "ec2",
        "ssh": "none",
        "wheelhouse": "s3://wheels/",
        "network": {"private": True, "close_default_group": True},
        "roles": {"ssm": True},
        "security": {"disk_key": KEY},
    }
}
PRIVATE = {"private": True}
EXISTING = {"subnets": ["subnet-1", "subnet-2"], "vpc": "vpc-1"}
FLEETS = {"core": {"types": [{"type": "m5.xlarge"}], "spot": 2}, "task": {"types": [{}], "spot": 3}}
# Clusters that must satisfy every rule that a default cluster of their kind satisfies.
VARIANTS: tuple[dict[str, Any], ...] = (
    {"network": {"private": True, "nat": True}},
    {"network": {"private": True, "nat": True, "close_default_group": True}},
    {"network": PRIVATE, "roles": {"ssm": True}},
    {"network": {"subnets": ["subnet-1"], "vpc": "vpc-1"}},
    {"network": {"subnets": ["subnet-1"], "vpc": "vpc-1", "private": True}},
    {"fleets": {"core": {"types": [{"type": "m5.xlarge"}], "spot": 2}}},
    {"fleets": FLEETS, "network": EXISTING},
    {"fleets": FLEETS, "scaling": {"maximum": 9}},
    {"task": [{"count": 2, "bid_usd": 0.1}], "scaling": {"maximum": 9}},
    {"core": {"bid_usd": 0.12, "volumes": 3, "volume_gb": 200, "volume_type": "st1"}},
    {"buckets": [{"name": "data", "prefix": "in", "access": "write", "kms_key": "alias/d"}]},
    {"ami": "ami-0a1b", "root_volume_gb": 40, "key_pair": "mine"},
    {"primary": {"count": 3}, "termination_protection": True, "placement": "spread"},
    {"roles": {"service": "EMR_DefaultRole", "instance_profile": "EMR_EC2_DefaultRole"}},
    {"roles": {"instance_profile": "mine"}},
    {"security": {"at_rest": True}},
    {"security": {"configuration": "existing"}},
    {"ttl_s": 0, "bootstrap": ["s3://elsewhere/setup.sh"]},
    {"kind": "ec2", "worker": {"count": 3, "type": "r5.xlarge", "bid_usd": 0.1}},
    {"kind": "ec2", "worker": {"spot": False, "root_gb": 100}, "placement": "cluster"},
    {"kind": "ec2", "network": {"subnets": ["subnet-1"], "vpc": "vpc-1"}, "key_pair": "mine"},
    {"kind": "ec2", "network": PRIVATE, "ssh": "10.0.0.0/8", "wheelhouse": "s3://wheels/3.5/"},
    {"kind": "ec2", "roles": {"instance_profile": "mine"}, "ttl_s": 0},
    {"kind": "ec2", "ssh": "none", "roles": {"ssm": True}},
)


class Evaluator:
    """Evaluates both stacks of a project."""

    def __init__(self, storage: Evaluate, cluster: Evaluate) -> None:
        self._storage, self._cluster = storage, cluster

    def resources(self, spec: dict[str, Any]) -> Resources:
        """Return the resources of both stacks by name."""
        project = ProjectSpec.model_validate(spec)
        return Resources({**self._storage(project), **self._cluster(project)})

    def violations(self, spec: dict[str, Any]) -> set[str]:
        """Return the rules that the project violates."""
        return set(violations(self.resources(spec)))

    def with_change(self, spec: dict[str, Any], name: str, change: dict[str, Any]) -> set[str]:
        """Return the violated rules after changing some inputs of one resource."""
        resources = self.resources(spec)
        declared = resources[name]
        resources[name] = dataclasses.replace(declared, inputs={**declared.inputs, **change})
        return set(violations(resources))


@pytest.fixture
def stacks(storage: Evaluate, cluster: Evaluate) -> Evaluator:
    return Evaluator(storage, cluster)


def test_rules_include_all_applicable_ones() -> None:
    assert set(RULES) >= APPLICABLE
    assert not set(NOT_APPLICABLE) & set(RULES)


@pytest.mark.parametrize("kind", EXCEPTIONS)
def test_default_project_violates_exactly_the_exceptions(stacks: Evaluator, kind: str) -> None:
    spec = {"project": "pets", "cluster": {"kind": kind}}
    assert stacks.violations(spec) == set(EXCEPTIONS[kind])


def test_strict_emr_project_violates_exactly_strict_exceptions(stacks: Evaluator) -> None:
    assert stacks.violations(STRICT) == STRICT_EXCEPTIONS


def test_strict_ec2_project_violates_exactly_strict_exceptions(stacks: Evaluator) -> None:
    assert stacks.violations(STRICT_EC2) == STRICT_EXCEPTIONS | {"CKV_AWS_126"}


@pytest.mark.parametrize("cluster_spec", VARIANTS, ids=json.dumps)
def test_variant_violates_no_further_rules(stacks: Evaluator, cluster_spec: dict[str, Any]) -> None:
    exceptions = set(EXCEPTIONS[cluster_spec.get("kind", "emr")])
    assert stacks.violations({"project": "pets", "cluster": cluster_spec}) <= exceptions


def test_project_without_versioning_violates_versioning_rules(stacks: Evaluator) -> None:
    spec = {"project": "pets", "storage": {"versioning": False}}
    assert stacks.violations(spec) == set(EMR_EXCEPTIONS) | {"CKV_AWS_21", "S3.14"}


def test_exceptions_are_rules_with_reasons() -> None:
    for exceptions in EXCEPTIONS.values():
        assert set(exceptions) <= set(RULES)
        assert all(len(reason.split()) > 4 for reason in exceptions.values())


# A resource of a strict project, a change of its inputs, and the rules that must detect it.
CHANGES: tuple[tuple[str, dict[str, Any], set[str]], ...] = (
    ("public-access", {"blockPublicPolicy": False}, {"CKV_AWS_54", "S3.8"}),
    ("bucket", {"acl": "public-read"}, {"CKV_AWS_20", "S3.2"}),
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
EC2_CHANGES: tuple[tuple[str, dict[str, Any], set[str]], ...] = (
    ("primary", {"rootBlockDevice": {"encrypted": False}}, {"CKV_AWS_8", "EC2.3"}),
    ("worker-1", {"associatePublicIpAddress": True}, {"CKV_AWS_88"}),
    ("worker-1", {"metadataOptions": {"httpTokens": "optional"}}, {"EC2.8", "CKV_AWS_79"}),
    ("primary", {"ebsOptimized": False}, {"CKV_AWS_135"}),
    ("primary", {"iamInstanceProfile": None}, {"CKV2_AWS_41"}),
    ("nodes-from-nodes", {"cidrIpv4": "0.0.0.0/0"}, {"CKV_AWS_24", "EC2.13"}),
)


@pytest.mark.parametrize(("name", "change", "rules"), CHANGES)
def test_rules_detect_change_of_emr_project(
    stacks: Evaluator, name: str, change: dict[str, Any], rules: set[str]
) -> None:
    assert stacks.with_change(STRICT, name, change) >= rules


@pytest.mark.parametrize(("name", "change", "rules"), EC2_CHANGES)
def test_rules_detect_change_of_ec2_project(
    stacks: Evaluator, name: str, change: dict[str, Any], rules: set[str]
) -> None:
    assert stacks.with_change(STRICT_EC2, name, change) >= rules


@pytest.mark.parametrize(
    ("statement", "rules"),
    [
        ({"Action": "s3:*", "Resource": "arn:aws:s3:::x"}, {"CKV_AWS_62", "IAM.21"}),
        ({"Action": ["ec2:DescribeVpcs"], "Resource": "*"}, {"CKV_AWS_355"}),
        ({"Action": "iam:PassRole", "Resource": "arn:aws:iam::1:role/x"}, {"CKV_AWS_286"}),
        ({"Action": "kms:Decrypt", "Resource": "arn:aws:kms:eu:1:key/*"}, {"KMS.1", "KMS.2"}),
        ({"Action": "secretsmanager:GetSecretValue", "Resource": "arn:x"}, {"CKV_AWS_287"}),
    ],
)
def test_rules_detect_too_permissive_policy(
    stacks: Evaluator, statement: dict[str, Any], rules: set[str]
) -> None:
    policy = json.dumps({"Statement": [statement]})
    assert stacks.with_change(STRICT, "node-data", {"policy": policy}) >= rules


@pytest.mark.parametrize(
    ("role", "statement", "rule"),
    [
        ("node-role", {"Principal": {"AWS": "*"}}, "CKV_AWS_60"),
        (
            "service-role",
            {"Principal": {"Service": "elasticmapreduce.amazonaws.com"}},
            "iam_role_cross_service_confused_deputy_prevention",
        ),
    ],
)
def test_rules_detect_too_permissive_trust_policy(
    stacks: Evaluator, role: str, statement: dict[str, Any], rule: str
) -> None:
    policy = json.dumps({"Statement": [statement]})
    assert rule in stacks.with_change(STRICT, role, {"assumeRolePolicy": policy})
