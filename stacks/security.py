"""EMR's security configuration: metadata service, encryption at rest and in transit."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pulumi

from emrctl.spec import ProjectSpec
from stacks.sdk import emr


def configuration(project: ProjectSpec) -> pulumi.Input[str]:
    """The name of the security configuration: the spec's own, or one that is made for it.

    The name holds a hash: EMR changes no security configuration in place, and a new name
    replaces the cluster that used the old one.
    """
    existing = project.emr.security.configuration
    if existing is not None:
        return existing
    text = json.dumps(document(project))
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    made = emr.SecurityConfiguration(
        "security", name=f"{project.cluster_stack}-{digest}", configuration=text
    )
    name: pulumi.Output[str] = made.name
    return name


def document(project: ProjectSpec) -> dict[str, Any]:
    """Nodes answer the metadata service's second version alone; encryption where it is wanted."""
    found: dict[str, Any] = {
        "InstanceMetadataServiceConfiguration": {
            "MinimumInstanceMetadataServiceVersion": 2,
            "HttpPutResponseHopLimit": 1,
        }
    }
    spec = project.emr.security
    if spec.at_rest or spec.in_transit:
        found["EncryptionConfiguration"] = {
            "EnableAtRestEncryption": spec.at_rest,
            "EnableInTransitEncryption": spec.in_transit is not None,
            **({"AtRestEncryptionConfiguration": _at_rest(project)} if spec.at_rest else {}),
            **(
                {"InTransitEncryptionConfiguration": _in_transit(project)}
                if spec.in_transit
                else {}
            ),
        }
    return found


def _at_rest(project: ProjectSpec) -> dict[str, Any]:
    key, disk = project.storage.kms_key, project.emr.security.disk_key
    objects: dict[str, Any] = {"EncryptionMode": "SSE-S3"}
    if key is not None:
        objects = {"EncryptionMode": "SSE-KMS", "AwsKmsKey": key}
    found: dict[str, Any] = {"S3EncryptionConfiguration": objects}
    if disk is not None:
        found["LocalDiskEncryptionConfiguration"] = {
            "EncryptionKeyProviderType": "AwsKms",
            "AwsKmsKey": disk,
            "EnableEbsEncryption": True,
        }
    return found


def _in_transit(project: ProjectSpec) -> dict[str, Any]:
    provider = {
        "CertificateProviderType": "PEM",
        "S3Object": project.emr.security.in_transit,
    }
    return {"TLSCertificateConfiguration": provider}
