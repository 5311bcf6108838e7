"""EMR's security configuration: IMDSv2, encryption at rest and in transit."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pulumi

from emrctl.spec import ProjectSpec
from stacks.sdk import emr


def security_configuration(project: ProjectSpec) -> pulumi.Input[str]:
    """Return the name of the spec's security configuration, or declare one.

    The name of a declared one contains a hash of its content: EMR cannot change a security
    configuration in place, and a new name replaces the cluster that uses it.
    """
    existing = project.emr.security.configuration
    if existing is not None:
        return existing
    text = json.dumps(_document(project))
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    configuration = emr.SecurityConfiguration(
        "security", name=f"{project.cluster_stack}-{digest}", configuration=text
    )
    name: pulumi.Output[str] = configuration.name
    return name


def _document(project: ProjectSpec) -> dict[str, Any]:
    document: dict[str, Any] = {
        "InstanceMetadataServiceConfiguration": {
            "MinimumInstanceMetadataServiceVersion": 2,
            "HttpPutResponseHopLimit": 1,
        }
    }
    spec = project.emr.security
    if spec.at_rest or spec.in_transit:
        encryption: dict[str, Any] = {
            "EnableAtRestEncryption": spec.at_rest,
            "EnableInTransitEncryption": spec.in_transit is not None,
        }
        if spec.at_rest:
            encryption["AtRestEncryptionConfiguration"] = _at_rest(project)
        if spec.in_transit:
            certificates = {"CertificateProviderType": "PEM", "S3Object": spec.in_transit}
            encryption["InTransitEncryptionConfiguration"] = {
                "TLSCertificateConfiguration": certificates
            }
        document["EncryptionConfiguration"] = encryption
    return document


def _at_rest(project: ProjectSpec) -> dict[str, Any]:
    key, disk_key = project.storage.kms_key, project.emr.security.disk_key
    s3: dict[str, Any] = {"EncryptionMode": "SSE-S3"}
    if key is not None:
        s3 = {"EncryptionMode": "SSE-KMS", "AwsKmsKey": key}
    configuration: dict[str, Any] = {"S3EncryptionConfiguration": s3}
    if disk_key is not None:
        configuration["LocalDiskEncryptionConfiguration"] = {
            "EncryptionKeyProviderType": "AwsKms",
            "AwsKmsKey": disk_key,
            "EnableEbsEncryption": True,
        }
    return configuration
