"""The storage stack: a private, encrypted, TLS-only bucket that is protected from deletion."""

from __future__ import annotations

import json

import pytest

from emrctl.spec import ProjectSpec
from tests.stacks.conftest import PETS, Evaluate, pets


def test_bucket_is_protected_and_has_default_name(storage: Evaluate) -> None:
    resources = storage(PETS)
    assert resources["bucket"].protect
    assert resources["bucket"].inputs["bucket"] == "pets-emrctl-123456789012-eu-central-1"
    assert resources.outputs["bucket"] == "pets-emrctl-123456789012-eu-central-1"


def test_bucket_with_name_in_spec_uses_it(storage: Evaluate) -> None:
    project = ProjectSpec.model_validate({"project": "pets", "storage": {"bucket": "my-pets"}})
    assert storage(project).outputs["bucket"] == "my-pets"


def test_bucket_blocks_public_access(storage: Evaluate) -> None:
    resources = storage(PETS)
    block = resources["public-access"].inputs
    assert all(
        block[key]
        for key in (
            "blockPublicAcls",
            "blockPublicPolicy",
            "ignorePublicAcls",
            "restrictPublicBuckets",
        )
    )
    assert resources["ownership"].inputs["rule"] == {"objectOwnership": "BucketOwnerEnforced"}


def test_bucket_policy_denies_only_requests_without_tls(storage: Evaluate) -> None:
    document = json.loads(storage(PETS)["tls-only"].inputs["policy"])
    (statement,) = document["Statement"]
    assert (statement["Effect"], statement["Principal"]) == ("Deny", "*")
    assert statement["Resource"] == ["arn:bucket", "arn:bucket/*"]
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


@pytest.mark.parametrize(
    ("key", "algorithm"), [(None, "AES256"), ("arn:aws:kms:eu-central-1:1:key/k", "aws:kms")]
)
def test_bucket_encryption_uses_spec_key(
    storage: Evaluate, key: str | None, algorithm: str
) -> None:
    project = ProjectSpec.model_validate({"project": "pets", "storage": {"kms_key": key}})
    (rule,) = storage(project)["encryption"].inputs["rules"]
    assert rule["applyServerSideEncryptionByDefault"]["sseAlgorithm"] == algorithm


@pytest.mark.parametrize(("enabled", "status"), [(True, "Enabled"), (False, "Suspended")])
def test_bucket_versioning_follows_spec(storage: Evaluate, *, enabled: bool, status: str) -> None:
    project = ProjectSpec.model_validate({"project": "pets", "storage": {"versioning": enabled}})
    assert storage(project)["versioning"].inputs["versioningConfiguration"] == {"status": status}


def test_lifecycle_expires_logs_old_versions_and_incomplete_uploads(storage: Evaluate) -> None:
    rules = {rule["id"]: rule for rule in storage(PETS)["lifecycle"].inputs["rules"]}
    assert rules["logs"]["filter"] == {"prefix": "logs/"}
    assert rules["logs"]["expiration"] == {"days": 30}
    assert rules["private"]["filter"] == {"prefix": "private/"}
    assert rules["private"]["expiration"] == {"days": 1}
    assert rules["private"]["noncurrentVersionExpiration"] == {"noncurrentDays": 1}
    assert rules["old-versions"]["noncurrentVersionExpiration"] == {"noncurrentDays": 30}
    aborted = rules["unfinished-uploads"]["abortIncompleteMultipartUpload"]
    assert aborted == {"daysAfterInitiation": 3}


def test_bucket_access_logs_go_to_another_bucket(storage: Evaluate) -> None:
    resources = storage(pets({"access_logs": "the-logs"}))
    inputs = resources["access-logs"].inputs
    assert (inputs["targetBucket"], inputs["targetPrefix"]) == ("the-logs", "pets/")
    assert "access-logs" not in storage(pets())
