"""Find the clusters of a project on AWS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from emrctl.aws.errors import translated
from emrctl.clusters.kinds import KINDS
from emrctl.clusters.model import Cluster
from emrctl.errors import CredentialsError, NotFoundError
from emrctl.spec import ProjectSpec

if TYPE_CHECKING:
    from emrctl.aws.target import Target


def list_clusters(
    project: ProjectSpec, target: Target, *, ended: bool = False
) -> tuple[Cluster, ...]:
    """Return the project's clusters of both kinds, newest first; with `ended` terminated ones too.

    Clusters of the other kind than the spec's are omitted if the caller may not list them.
    """
    clusters = _clusters(project, target, terminating=True, ended=ended)
    # EC2's times are whole seconds: of two clusters with the same time the running one is newer.
    return tuple(sorted(clusters, key=lambda item: (item.created, not item.ended), reverse=True))


def find_cluster(project: ProjectSpec, target: Target, name: str | None = None) -> Cluster:
    """Return the running or stopped cluster called `name`; default: the spec's.

    `NotFoundError` names the others.
    """
    name = name or project.cluster.name
    others: list[str] = []
    for cluster in _clusters(project, target):
        if cluster.name == name:
            return cluster
        others.append(cluster.name)
    hint = f"Running: {', '.join(others)}." if others else "Create it with `emrctl up`."
    raise NotFoundError(f"no cluster '{name}' of {project.project} is running", hint=hint)


def show(project: ProjectSpec, target: Target, name: str | None = None) -> Cluster:
    """Return the cluster called `name`; if it is not running, the last terminated one."""
    try:
        return find_cluster(project, target, name)
    except NotFoundError:
        name = name or project.cluster.name
        for cluster in list_clusters(project, target, ended=True):
            if cluster.name == name:
                return cluster
        raise


def _clusters(
    project: ProjectSpec, target: Target, *, terminating: bool = False, ended: bool = False
) -> Iterator[Cluster]:
    """Yield the clusters of the spec's kind first: the caller may lack access to the others."""
    own = project.cluster.kind
    for name, kind in sorted(KINDS.items(), key=lambda item: item[0] != own):
        try:
            with translated("listing clusters"):
                yield from kind.list_clusters(project, target, terminating=terminating, ended=ended)
        except CredentialsError:
            if name == own:
                raise
