"""Rules of EC2 instances that the program declares itself."""

from __future__ import annotations

from collections.abc import Iterator

from stacks.rules import Resource, Resources, rule


def _token_only(item: Resource) -> bool:
    options = item.inputs.get("metadataOptions") or {}
    return bool(options.get("httpTokens") == "required")


def unencrypted(found: Resources) -> Iterator[str]:
    """Instances whose disks are not encrypted."""
    for item in found.of("Instance"):
        if not (item.inputs.get("rootBlockDevice") or {}).get("encrypted"):
            yield f"{item.name}: its disk is not encrypted"


def untokened(found: Resources) -> Iterator[str]:
    """Instances whose metadata service answers whoever asks."""
    for item in found.of("Instance"):
        if not _token_only(item):
            yield f"{item.name}: the first version is answered too"


@rule("disks of instances are encrypted", "CKV_AWS_8")
def _disks(found: Resources) -> Iterator[str]:
    yield from unencrypted(found)


@rule("instances have no public address", "CKV_AWS_88")
def _addresses(found: Resources) -> Iterator[str]:
    for item in found.of("Instance"):
        if item.inputs.get("associatePublicIpAddress"):
            yield f"{item.name} has one"


@rule("instances report each minute", "CKV_AWS_126")
def _monitored(found: Resources) -> Iterator[str]:
    yield from (item.name for item in found.of("Instance") if not item.inputs.get("monitoring"))


@rule("instances have a way of their own to their disks", "CKV_AWS_135")
def _optimized(found: Resources) -> Iterator[str]:
    yield from (item.name for item in found.of("Instance") if not item.inputs.get("ebsOptimized"))


@rule("instances have a role", "CKV2_AWS_41")
def _roles(found: Resources) -> Iterator[str]:
    for item in found.of("Instance"):
        if not item.inputs.get("iamInstanceProfile"):
            yield f"{item.name} has none"
