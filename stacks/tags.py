"""The tags by which everything that emrctl made is found again."""

from __future__ import annotations

import hashlib

from emrctl.specs import ProjectSpec

MANAGED_POLICIES = "for-use-with-amazon-emr-managed-policies"


def of(project: ProjectSpec, stack: str) -> dict[str, str]:
    """The user's tags and emrctl's own, which win.

    AmazonEMRServicePolicy_v2 touches only what carries its `for-use-with-…` tag.
    """
    own = {"emrctl:project": project.project, "emrctl:stack": stack, MANAGED_POLICIES: "true"}
    return {**project.tags, **project.cluster.tags, **own}


def spec_hash(project: ProjectSpec) -> str:
    """Twelve hex digits that change whenever the cluster's spec does."""
    return hashlib.sha256(project.cluster.model_dump_json().encode()).hexdigest()[:12]
