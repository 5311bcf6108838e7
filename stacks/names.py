"""Names and tags: by them everything that emrctl made is found again. No Pulumi in here."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from emrctl.spec import ProjectSpec

MANAGED_POLICIES = "for-use-with-amazon-emr-managed-policies"


def bucket(project: ProjectSpec, settings: Mapping[str, str]) -> str:
    """The bucket's name that the spec gives, else one that no other account or region has."""
    if project.storage.bucket is not None:
        return project.storage.bucket
    return f"{project.project}-emrctl-{settings['account']}-{settings['region']}"


def tags(project: ProjectSpec, stack: str) -> dict[str, str]:
    """The user's tags and emrctl's own, which win; a cluster's own tags stay off the bucket.

    AmazonEMRServicePolicy_v2 touches only what carries its `for-use-with-…` tag.
    """
    own = {"emrctl:project": project.project, "emrctl:stack": stack}
    if stack == project.storage_stack:
        return {**project.tags, **own, MANAGED_POLICIES: "true"}
    if project.cluster.kind == "emr":
        own[MANAGED_POLICIES] = "true"
    return {**project.tags, **project.cluster.tags, **own}


def spec_hash(project: ProjectSpec) -> str:
    """Twelve hex digits that change whenever the cluster's spec does."""
    return hashlib.sha256(project.cluster.model_dump_json().encode()).hexdigest()[:12]
