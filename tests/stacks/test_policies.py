"""Every policy that roles get, as IAM would read it: by a linter that knows AWS's own definitions.

The linter (parliament) lives in an environment of its own: it needs older libraries than ours.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from emrctl.spec import ProjectSpec
from stacks import iam

ROOT = Path(__file__).parents[2]
PINS = ("parliament==1.6.4", "setuptools<81")
LINTER = ROOT / ".cache" / "iam-linter" / "parliament-1.6.4"
KEY = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
# Reads policies by name from stdin, prints what it finds of each.
PROGRAM = """
import json, sys, warnings
warnings.simplefilter("ignore")
import parliament
found = {}
for name, text in json.load(sys.stdin).items():
    policy = parliament.analyze_policy_string(text)
    found[name] = [[item.issue, str(item.detail)] for item in policy.findings]
print(json.dumps(found))
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
}
# A resource that ends in a wildcard and is no bucket's own objects, and why it must.
WILDCARDS = {
    "EndItself": "a cluster's id is not known beforehand: the tag in the condition names it",
    "Key": "an alias names no resource: kms:ResourceAliases in the condition names the key",
}

# What the linter finds and AWS does not mind: words of the finding, and why.
ACCEPTED = {
    "Unknown condition kms:ResourceAliases": "KMS has had that condition since 2020: the linter's "
    "definitions of it stop short",
}

Evaluate = Callable[[ProjectSpec], Any]


@pytest.fixture(scope="session")
def linter() -> Path:
    """A Python that has the linter; made once, kept beside other downloads."""
    python = LINTER / "bin" / "python"
    stamp = LINTER / "complete"
    if not stamp.is_file():
        uv = [str(Path(sys.executable).parent / "uv")]
        _run([*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(LINTER)])
        _run([*uv, "pip", "install", "--quiet", "--python", str(python), *PINS])
        stamp.touch()
    return python


def _run(command: list[str], text: str = "") -> str:
    # None of pytest's own environment: the linter's is another.
    outside = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, check=False, env=outside
    )
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr[-2000:]}"
    return done.stdout


def _policies(found: Any) -> dict[str, str]:
    return {item.name: item.inputs["policy"] for item in found.of("RolePolicy")}


def _statements(found: Any) -> Iterator[dict[str, Any]]:
    for text in _policies(found).values():
        yield from json.loads(text)["Statement"]


@pytest.mark.parametrize("document", [{"project": "pets"}, EVERYTHING], ids=["least", "most"])
def test_the_linter_finds_nothing(
    linter: Path, cluster: Evaluate, document: dict[str, Any]
) -> None:
    made = _policies(cluster(ProjectSpec.model_validate(document)))
    made["pass-role"] = made["pass-role"].replace(
        '"arn:node-role"', f'"{_role("pets-main-nodes")}"'
    )
    found = json.loads(_run([str(linter), "-c", PROGRAM], json.dumps(made)))
    assert set(found) == set(made)
    findings = [f"{name}: {item}" for name, items in found.items() for item in items]
    assert [text for text in findings if not any(known in text for known in ACCEPTED)] == []


def test_the_linter_sees_what_is_wrong(linter: Path) -> None:
    wrong = {"Effect": "Allow", "Action": ["s3:GetObjekt"], "Resource": "arn:aws:s3:::x/*"}
    misplaced = {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": "arn:aws:s3:::x"}
    for statement, issue in ((wrong, "UNKNOWN_ACTION"), (misplaced, "RESOURCE_MISMATCH")):
        text = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        found = json.loads(_run([str(linter), "-c", PROGRAM], json.dumps({"x": text})))
        assert issue in {item[0] for item in found["x"]}


@pytest.mark.parametrize("document", [{"project": "pets"}, EVERYTHING], ids=["least", "most"])
def test_a_wildcard_has_a_written_reason(cluster: Evaluate, document: dict[str, Any]) -> None:
    for statement in _statements(cluster(ProjectSpec.model_validate(document))):
        actions, resources = statement["Action"], statement["Resource"]
        assert not any("*" in action for action in actions)
        for resource in [resources] if isinstance(resources, str) else resources:
            own_objects = resource.startswith("arn:aws:s3:::") and resource.endswith("/*")
            assert "*" not in resource or own_objects or statement["Sid"] in WILDCARDS, resource


def test_further_buckets_are_reached_below_their_prefix_alone(cluster: Evaluate) -> None:
    found = cluster(ProjectSpec.model_validate(EVERYTHING))
    by_sid = {item["Sid"]: item for item in _statements(found) if "Sid" in item}
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


def test_emr_s_own_role_uses_the_keys_of_disks_and_logs(cluster: Evaluate) -> None:
    found = cluster(ProjectSpec.model_validate(EVERYTHING))
    keys = {
        item["Sid"]: item
        for item in json.loads(found["service-keys"].inputs["policy"])["Statement"]
    }
    assert keys["DiskKeyGrant"]["Condition"] == {"Bool": {"kms:GrantIsForAWSResource": "true"}}
    assert {item["Resource"] for item in keys.values()} == {KEY}


def test_what_is_attached_is_aws_s_own_and_known(cluster: Evaluate) -> None:
    found = cluster(ProjectSpec.model_validate(EVERYTHING))
    attached = {item.inputs["policyArn"] for item in found.of("RolePolicyAttachment")}
    assert attached == {iam.SERVICE_POLICY, iam.PLACEMENT_POLICY, iam.SESSION_POLICY}
    boundaries = {item.inputs["permissionsBoundary"] for item in found.of("Role")}
    assert boundaries == {"arn:aws:iam::123456789012:policy/limit"}


def _role(name: str) -> str:
    return f"arn:aws:iam::123456789012:role/{name}"
