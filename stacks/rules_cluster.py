"""Rules of the EMR cluster, some of which hold for instances too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from stacks import rules_instances
from stacks.rules import Resources, rule


def _encryption(found: Resources) -> dict[str, Any]:
    """What the security configuration says of encryption; one that exists already says nothing."""
    text = found.inputs("SecurityConfiguration").get("configuration", "{}")
    encryption: dict[str, Any] = json.loads(text).get("EncryptionConfiguration", {})
    return encryption


def _disk(found: Resources) -> dict[str, Any]:
    at_rest = _encryption(found).get("AtRestEncryptionConfiguration", {})
    disk: dict[str, Any] = at_rest.get("LocalDiskEncryptionConfiguration", {})
    return disk


@rule("the cluster has a security configuration", "CKV2_AWS_55")
def _configured(found: Resources) -> Iterator[str]:
    if found.of("Cluster") and not found.inputs("Cluster").get("securityConfiguration"):
        yield "it has none"


@rule("encryption at rest is on", "EMR.3")
def _at_rest(found: Resources) -> Iterator[str]:
    if found.of("Cluster") and not _encryption(found).get("EnableAtRestEncryption"):
        yield "it is off"


@rule("encryption in transit is on", "EMR.4", "CKV_AWS_351")
def _in_transit(found: Resources) -> Iterator[str]:
    if found.of("Cluster") and not _encryption(found).get("EnableInTransitEncryption"):
        yield "it is off"


@rule("EMR's objects are encrypted with a key of KMS", "CKV_AWS_171")
def _objects(found: Resources) -> Iterator[str]:
    if found.of("Cluster") and "SSE-KMS" not in json.dumps(_encryption(found)):
        yield "they are not"


@rule("local disks are encrypted", "CKV_AWS_349")
def _disks(found: Resources) -> Iterator[str]:
    on = _encryption(found).get("EnableAtRestEncryption")
    if found.of("Cluster") and not (on and _disk(found)):
        yield "they are not"


@rule("root and EBS volumes are encrypted", "CKV_AWS_350", "EC2.3")
def _volumes(found: Resources) -> Iterator[str]:
    if found.of("Cluster") and not _disk(found).get("EnableEbsEncryption"):
        yield "they are not"
    yield from rules_instances.unencrypted(found)


@rule("nodes answer IMDSv2 alone", "EC2.8", "CKV_AWS_79")
def _metadata(found: Resources) -> Iterator[str]:
    made = found.of("SecurityConfiguration")
    for item in made:
        document = json.loads(item.inputs["configuration"])
        version = document.get("InstanceMetadataServiceConfiguration", {})
        if version.get("MinimumInstanceMetadataServiceVersion") != 2:
            yield f"{item.name}: the first version is answered too"
    yield from rules_instances.untokened(found)


@rule("Kerberos names its realm", "CKV_AWS_114")
def _kerberos(found: Resources) -> Iterator[str]:
    attributes = found.inputs("Cluster").get("kerberosAttributes")
    if attributes is not None and not attributes.get("realm"):
        yield "it has none"


@rule("no secrets lie in the cluster's configuration", "CKV_AWS_46")
def _secrets(found: Resources) -> Iterator[str]:
    text = json.dumps(found.inputs("Cluster").get("configurationsJson", ""))
    if "aws_secret_access_key" in text.lower() or "fs.s3a.secret.key" in text:
        yield "a secret key does"
