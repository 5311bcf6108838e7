"""The two programs of a project, ready for an engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from emrctl import bundled
from emrctl.engine.base import Program
from emrctl.provision.bucket import settings
from emrctl.spec import ProjectSpec

if TYPE_CHECKING:
    from emrctl.aws.target import Target


def storage_program(project: ProjectSpec, target: Target) -> Program:
    """What declares the bucket."""
    bundled.import_stacks()
    known = settings(target)

    def program() -> None:
        from stacks.program import declare_storage

        declare_storage(project, known)

    return program


def cluster_program(
    project: ProjectSpec, found: Mapping[str, str], bucket: str, scripts: Mapping[str, str]
) -> Program:
    """What declares the cluster and all that it stands in; `found` are the program's settings."""
    bundled.import_stacks()
    known = dict(found)

    def program() -> None:
        from stacks.program import declare_cluster

        declare_cluster(project, known, bucket, scripts)

    return program
