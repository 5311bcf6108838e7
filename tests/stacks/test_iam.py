"""The service role and the instance profile of an EMR cluster, and their policies.

Policies are checked by a linter that knows AWS's definitions of actions and conditions. The linter
(parliament) is installed into its own environment: it needs older libraries.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emrctl.spec import ProjectSpec
from stacks import iam
from tests.stacks.conftest import PETS, Evaluate, Resources, pets

ROOT = Path(__file__).parents[2]
PINS = ("parliament==1.6.4", "setuptools<81")
LINTER = ROOT / ".cache" / "iam-linter" / "parliament-1.6.4"
KEY = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
# Reads policies by name from stdin, prints the findings of each.
PROGRAM = """
import json, sys, warnings
warnings.simplefilter("ignore")
import parliament
findings = {}
for name, text in json.load(sys.stdin).items():
    policy = parliament.analyze_policy_string(text)
    findings[name] = [[item.issue, str(item.detail)] for item in policy.findings]
print(json.dumps(findings))
"""

EVERYTHING = {
    "project": "pets",
    "target": "aws",
    "region": "eu-central-1",
    "storage": {"kms_key": "alias/pets"},
    "cluster": {
        "bootstrap": ["s3://elsewhere/setup.sh"],
        "buckets": [
            "open-data",
            {"name": "shared", "prefix": "in/", "kms_key": KEY},
            {"name": "results", "prefix": "out", "access": "write"},
        ],
        "roles": {"ssm": True, "permissions_boundary": "arn:aws:iam::123456789012:policy/limit"},
        "security": {
            "at_rest": True,
            "disk_key": KEY,
            "log_key": KEY,
            "in_transit": "s3://elsewhere/certificates.zip",
        },
        "primary": {"count": 3},
        "termination_protection": True,
        "placement": "spread",
    },
    "jobs": {
        "load": {
            "script": "load.py",
            "secrets": {
                "DB_PWD": "prod/db#password",
                "DB_USER": "prod/db#user",
                "API_KEY": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:api",
                "SALT": "ssm:/prod/salt",
            },
        }
    },
}
# Statements (Sid) with a wildcard resource other than a bucket's objects, with the reason.
WILDCARDS = {
    "TerminateCluster": "the cluster's id is not known yet: a condition requires its tag",
    "Key": "an alias is not a resource: a condition requires kms:ResourceAliases",
}

# Findings of the linter that AWS accepts, with a reason.
ACCEPTED = {
    "Unknown condition kms:ResourceAliases": "KMS supports it since 2020, which the linter's "
    "definitions lack",
}


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


@pytest.fixture(scope="session")
def linter() -> Path:
    """Return a Python with the linter, installed once into the cache folder."""
    python = LINTER / "bin" / "python"
    stamp = LINTER / "complete"
    if not stamp.is_file():
        uv = [str(Path(sys.executable).parent / "uv")]
        _run([*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(LINTER)])
        _run([*uv, "pip", "install", "--quiet", "--python", str(python), *PINS])
        stamp.touch()
    return python


def _run(command: list[str], text: str = "") -> str:
    # The linter has another environment than the tests.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr[-2000:]}"
    return done.stdout


def _policies(resources: Resources) -> dict[str, str]:
    return {item.name: item.inputs["policy"] for item in resources.of("RolePolicy")}


def _statements(resources: Resources) -> Iterator[dict[str, Any]]:
    for text in _policies(resources).values():
        yield from json.loads(text)["Statement"]


@pytest.mark.parametrize("document", [{"project": "pets"}, EVERYTHING], ids=["minimal", "all"])
def test_linter_has_no_findings(linter: Path, cluster: Evaluate, document: dict[str, Any]) -> None:
    policies = _policies(cluster(ProjectSpec.model_validate(document)))
    policies["pass-role"] = policies["pass-role"].replace(
        '"arn:node-role"', f'"{_role("pets-main-nodes")}"'
    )
    results = json.loads(_run([str(linter), "-c", PROGRAM], json.dumps(policies)))
    assert set(results) == set(policies)
    findings = [f"{name}: {item}" for name, items in results.items() for item in items]
    assert [text for text in findings if not any(part in text for part in ACCEPTED)] == []


def test_linter_reports_invalid_statements(linter: Path) -> None:
    wrong = {"Effect": "Allow", "Action": ["s3:GetObjekt"], "Resource": "arn:aws:s3:::x/*"}
    misplaced = {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": "arn:aws:s3:::x"}
    for statement, issue in ((wrong, "UNKNOWN_ACTION"), (misplaced, "RESOURCE_MISMATCH")):
        text = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        results = json.loads(_run([str(linter), "-c", PROGRAM], json.dumps({"x": text})))
        assert issue in {item[0] for item in results["x"]}


@pytest.mark.parametrize("document", [{"project": "pets"}, EVERYTHING], ids=["minimal", "all"])
def test_wildcard_resource_has_reason(cluster: Evaluate, document: dict[str, Any]) -> None:
    for statement in _statements(cluster(ProjectSpec.model_validate(document))):
        actions, resources = statement["Action"], statement["Resource"]
        assert not any("*" in action for action in actions)
        for resource in [resources] if isinstance(resources, str) else resources:
            own_objects = resource.startswith("arn:aws:s3:::") and resource.endswith("/*")
            assert "*" not in resource or own_objects or statement["Sid"] in WILDCARDS, resource


def test_node_policy_limits_further_buckets_to_prefix(cluster: Evaluate) -> None:
    resources = cluster(ProjectSpec.model_validate(EVERYTHING))
    by_sid = {item["Sid"]: item for item in _statements(resources) if "Sid" in item}
    assert by_sid["Bucket0Objects"]["Action"] == ["s3:GetObject"]
    assert by_sid["Bucket0Objects"]["Resource"] == "arn:aws:s3:::open-data/*"
    assert by_sid["Bucket1"]["Condition"] == {"StringLike": {"s3:prefix": ["in", "in/*"]}}
    assert by_sid["Bucket1Objects"]["Resource"] == "arn:aws:s3:::shared/in/*"
    assert by_sid["Bucket1Key"]["Resource"] == KEY
    assert "s3:PutObject" in by_sid["Bucket2Objects"]["Action"]
    assert "s3:GetBucketLocation" in by_sid["Bucket2Location"]["Action"]
    assert by_sid["ScriptsAndCertificates"]["Resource"] == [
        "arn:aws:s3:::elsewhere/setup.sh",
        "arn:aws:s3:::elsewhere/certificates.zip",
    ]


def test_nodes_may_read_secrets_of_jobs_only(cluster: Evaluate) -> None:
    by_sid = {item["Sid"]: item for item in _statements(cluster(PETS)) if "Sid" in item}
    assert not {"Secrets", "Parameters"} & set(by_sid)
    resources = cluster(ProjectSpec.model_validate(EVERYTHING))
    by_sid = {item["Sid"]: item for item in _statements(resources) if "Sid" in item}
    manager = "arn:aws:secretsmanager:eu-central-1:123456789012:secret"
    assert by_sid["Secrets"]["Action"] == ["secretsmanager:GetSecretValue"]
    assert by_sid["Secrets"]["Resource"] == [f"{manager}:api", f"{manager}:prod/db-??????"]
    assert by_sid["Parameters"]["Action"] == ["ssm:GetParameter"]
    assert by_sid["Parameters"]["Resource"] == [
        "arn:aws:ssm:eu-central-1:123456789012:parameter/prod/salt"
    ]


def test_service_role_may_use_disk_and_log_keys(cluster: Evaluate) -> None:
    resources = cluster(ProjectSpec.model_validate(EVERYTHING))
    keys = {
        item["Sid"]: item
        for item in json.loads(resources["service-keys"].inputs["policy"])["Statement"]
    }
    assert keys["DiskKeyGrant"]["Condition"] == {"Bool": {"kms:GrantIsForAWSResource": "true"}}
    assert {item["Resource"] for item in keys.values()} == {KEY}


def test_attached_policies_are_aws_managed(cluster: Evaluate) -> None:
    resources = cluster(ProjectSpec.model_validate(EVERYTHING))
    attached = {item.inputs["policyArn"] for item in resources.of("RolePolicyAttachment")}
    assert attached == {iam.SERVICE_POLICY, iam.PLACEMENT_POLICY, iam.SESSION_POLICY}
    boundaries = {item.inputs["permissionsBoundary"] for item in resources.of("Role")}
    assert boundaries == {"arn:aws:iam::123456789012:policy/limit"}


def test_policies_have_no_wildcard_action_or_resource(cluster: Evaluate) -> None:
    for statement in _statements(cluster(PETS)):
        actions = statement["Action"]
        for action in [actions] if isinstance(actions, str) else actions:
            assert "*" not in action
        assert statement["Resource"] != "*"


def test_node_policy_allows_only_project_bucket(cluster: Evaluate) -> None:
    policy = json.loads(cluster(PETS)["node-data"].inputs["policy"])
    arns = [statement["Resource"] for statement in policy["Statement"]]
    assert arns[:2] == ["arn:aws:s3:::pets", "arn:aws:s3:::pets/*"]
    assert [item["Sid"] for item in policy["Statement"][2:]] == ["TerminateCluster"]


@pytest.mark.parametrize(
    ("key", "resource"),
    [
        ("1234-abcd", "arn:aws:kms:eu-central-1:123456789012:key/1234-abcd"),
        ("arn:aws:kms:eu-central-1:9:key/k", "arn:aws:kms:eu-central-1:9:key/k"),
        ("alias/pets", "arn:aws:kms:eu-central-1:123456789012:key/*"),
    ],
)
def test_node_policy_allows_only_bucket_key(cluster: Evaluate, key: str, resource: str) -> None:
    spec = ProjectSpec.model_validate({"project": "pets", "storage": {"kms_key": key}})
    statement = json.loads(cluster(spec)["node-data"].inputs["policy"])["Statement"][-1]
    assert (statement["Sid"], statement["Resource"]) == ("Key", resource)
    if key.startswith("alias/"):  # an alias is not a resource
        aliases = statement["Condition"]["ForAnyValue:StringEquals"]
        assert aliases == {"kms:ResourceAliases": "alias/pets"}


def test_node_policy_allows_terminating_only_own_cluster(cluster: Evaluate) -> None:
    policy = json.loads(cluster(PETS)["node-data"].inputs["policy"])["Statement"]
    (statement,) = [item for item in policy if item["Sid"] == "TerminateCluster"]
    assert statement["Action"] == ["elasticmapreduce:TerminateJobFlows"]
    tag = {"aws:ResourceTag/emrctl:stack": "pets-main"}
    assert statement["Condition"] == {"StringEquals": tag}


def _role(name: str) -> str:
    return f"arn:aws:iam::123456789012:role/{name}"
