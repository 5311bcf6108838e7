"""What of a project's clusters stands, asked of AWS: their tags are the registry."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from emrctl.aws.errors import translated
from emrctl.clusters.ec2 import clusters as of_instances
from emrctl.clusters.emr import clusters as of_emr
from emrctl.clusters.model import Cluster, Node
from emrctl.errors import CredentialsError, NotFoundError
from emrctl.spec import ProjectSpec

if TYPE_CHECKING:
    from emrctl.aws.target import Target

__all__ = ["Cluster", "Node", "find_cluster", "list_clusters", "show"]

_REGISTRIES = {"emr": of_emr, "ec2": of_instances}


def list_clusters(
    project: ProjectSpec, target: Target, *, ended: bool = False
) -> tuple[Cluster, ...]:
    """The project's clusters of every kind, newest first; with `ended` also those that are no more.

    Those of another kind than the spec's are left out where the caller may not list them.
    """
    found = _clusters(project, target, leaving=True, ended=ended)
    # EC2 tells whole seconds: of two of one second the one that stands is the newer.
    by_age = sorted(found, key=lambda cluster: (cluster.created, not cluster.ended), reverse=True)
    return tuple(by_age)


def find_cluster(project: ProjectSpec, target: Target, name: str | None = None) -> Cluster:
    """The standing cluster called `name`, by default the spec's; `NotFoundError` names others.

    One that is stopped stands too.
    """
    wanted = name or project.cluster.name
    names: list[str] = []
    for cluster in _clusters(project, target):
        if cluster.name == wanted:
            return cluster
        names.append(cluster.name)
    hint = f"Running: {', '.join(names)}." if names else "Bring it up with `emrctl up`."
    raise NotFoundError(f"no cluster '{wanted}' of {project.project} runs", hint=hint)


def show(project: ProjectSpec, target: Target, name: str | None = None) -> Cluster:
    """The cluster called `name`: the running one, else the last that ended, with its reason."""
    try:
        return find_cluster(project, target, name)
    except NotFoundError:
        wanted = name or project.cluster.name
        for cluster in list_clusters(project, target, ended=True):
            if cluster.name == wanted:
                return cluster
        raise


def _clusters(
    project: ProjectSpec, target: Target, *, leaving: bool = False, ended: bool = False
) -> Iterator[Cluster]:
    """First those of the spec's kind: an account may have no right to ask for the others."""
    own = project.cluster.kind
    for kind, clusters in sorted(_REGISTRIES.items(), key=lambda item: item[0] != own):
        try:
            with translated("listing clusters"):
                yield from clusters(project, target, leaving=leaving, ended=ended)
        except CredentialsError:
            if kind == own:
                raise
