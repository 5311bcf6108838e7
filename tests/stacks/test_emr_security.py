"""EMR's security configuration: IMDSv2 and encryption."""

from __future__ import annotations

import json

from tests.stacks.conftest import KEY, PETS, Evaluate, pets

PRIVATE = {"network": {"private": True}}


def test_security_configuration_requires_imdsv2(cluster: Evaluate) -> None:
    resources = cluster(PETS)
    document = json.loads(resources["security"].inputs["configuration"])
    metadata = document["InstanceMetadataServiceConfiguration"]
    assert metadata["MinimumInstanceMetadataServiceVersion"] == 2
    assert (
        resources["cluster"].inputs["securityConfiguration"] == resources["security"].inputs["name"]
    )


def test_security_configuration_encrypts_at_rest_in_transit_and_logs(cluster: Evaluate) -> None:
    security = {
        "at_rest": True,
        "disk_key": KEY,
        "log_key": KEY,
        "in_transit": "s3://pets/certificates/c.zip",
    }
    resources = cluster(pets({"kms_key": KEY}, security=security))
    document = json.loads(resources["security"].inputs["configuration"])
    encryption = document["EncryptionConfiguration"]
    assert encryption["EnableAtRestEncryption"]
    assert encryption["EnableInTransitEncryption"]
    at_rest = encryption["AtRestEncryptionConfiguration"]
    assert at_rest["S3EncryptionConfiguration"] == {"EncryptionMode": "SSE-KMS", "AwsKmsKey": KEY}
    assert at_rest["LocalDiskEncryptionConfiguration"]["EnableEbsEncryption"]
    certificate = encryption["InTransitEncryptionConfiguration"]["TLSCertificateConfiguration"]
    assert certificate["S3Object"] == "s3://pets/certificates/c.zip"
    assert resources["cluster"].inputs["logEncryptionKmsKeyId"] == KEY
    assert "PRIVATE KEY" not in json.dumps([item.inputs for item in resources.values()])


def test_security_configuration_without_key_uses_sse_s3(cluster: Evaluate) -> None:
    resources = cluster(pets(security={"at_rest": True}))
    encryption = json.loads(resources["security"].inputs["configuration"])[
        "EncryptionConfiguration"
    ]
    assert encryption["AtRestEncryptionConfiguration"] == {
        "S3EncryptionConfiguration": {"EncryptionMode": "SSE-S3"}
    }
    assert not encryption["EnableInTransitEncryption"]


def test_security_configuration_name_changes_with_content(cluster: Evaluate) -> None:
    plain = cluster(pets())["security"].inputs["name"]
    assert cluster(pets(security={"at_rest": True}))["security"].inputs["name"] != plain
    named = cluster(pets(security={"configuration": "existing"}))
    assert named.of("SecurityConfiguration") == []
    assert named["cluster"].inputs["securityConfiguration"] == "existing"
