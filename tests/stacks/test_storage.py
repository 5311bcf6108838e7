"""The bucket: private, encrypted, reached over TLS alone, and hard to lose."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from emrctl.spec import ProjectSpec

Evaluate = Callable[[ProjectSpec], Any]
PETS = ProjectSpec(project="pets")


def test_the_bucket_is_protected_and_has_a_name_of_its_own(storage: Evaluate) -> None:
    found = storage(PETS)
    assert found["bucket"].protect
    assert found["bucket"].inputs["bucket"] == "pets-emrctl-123456789012-eu-central-1"
    assert found.outputs["bucket"] == "pets-emrctl-123456789012-eu-central-1"


def test_the_spec_may_name_the_bucket(storage: Evaluate) -> None:
    project = ProjectSpec.model_validate({"project": "pets", "storage": {"bucket": "my-pets"}})
    assert storage(project).outputs["bucket"] == "my-pets"


def test_nothing_of_it_is_public(storage: Evaluate) -> None:
    found = storage(PETS)
    block = found["public-access"].inputs
    assert all(
        block[key]
        for key in (
            "blockPublicAcls",
            "blockPublicPolicy",
            "ignorePublicAcls",
            "restrictPublicBuckets",
        )
    )
    assert found["ownership"].inputs["rule"] == {"objectOwnership": "BucketOwnerEnforced"}


def test_what_comes_without_tls_is_denied_and_nothing_else(storage: Evaluate) -> None:
    document = json.loads(storage(PETS)["tls-only"].inputs["policy"])
    (statement,) = document["Statement"]
    assert (statement["Effect"], statement["Principal"]) == ("Deny", "*")
    assert statement["Resource"] == ["arn:bucket", "arn:bucket/*"]
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


@pytest.mark.parametrize(
    ("key", "algorithm"), [(None, "AES256"), ("arn:aws:kms:eu-central-1:1:key/k", "aws:kms")]
)
def test_it_is_encrypted(storage: Evaluate, key: str | None, algorithm: str) -> None:
    project = ProjectSpec.model_validate({"project": "pets", "storage": {"kms_key": key}})
    (rule,) = storage(project)["encryption"].inputs["rules"]
    assert rule["applyServerSideEncryptionByDefault"]["sseAlgorithm"] == algorithm


@pytest.mark.parametrize(("wanted", "status"), [(True, "Enabled"), (False, "Suspended")])
def test_versions_are_kept_as_the_spec_says(
    storage: Evaluate, *, wanted: bool, status: str
) -> None:
    project = ProjectSpec.model_validate({"project": "pets", "storage": {"versioning": wanted}})
    assert storage(project)["versioning"].inputs["versioningConfiguration"] == {"status": status}


def test_logs_old_versions_and_unfinished_uploads_expire(storage: Evaluate) -> None:
    rules = {rule["id"]: rule for rule in storage(PETS)["lifecycle"].inputs["rules"]}
    assert rules["logs"]["filter"] == {"prefix": "logs/"}
    assert rules["logs"]["expiration"] == {"days": 30}
    assert rules["old-versions"]["noncurrentVersionExpiration"] == {"noncurrentDays": 30}
    aborted = rules["unfinished-uploads"]["abortIncompleteMultipartUpload"]
    assert aborted == {"daysAfterInitiation": 3}
