"""The kinds of clusters and what differs between them; find a project's clusters of both kinds.

A spec selects its kind with `kind: emr` or `kind: ec2`. The other tables by kind are
`spec/project.py` (specs), `stacks/program.py` (resources) and `runs/adapters.py` (steps, live
REST APIs); other modules use these instead of comparing names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from emrctl.aws import instance_types
from emrctl.aws.errors import translated
from emrctl.aws.target import Target
from emrctl.clusters import ec2, emr, program_inputs
from emrctl.clusters.emr import ClusterFailure
from emrctl.clusters.model import Cluster
from emrctl.clusters.sizing import StandaloneWorkers
from emrctl.errors import CredentialsError, NotFoundError
from emrctl.spec import AnyClusterSpec, ProjectSpec


@dataclass(frozen=True, kw_only=True)
class ClusterKind:
    """A kind of cluster.

    - `can_stop`: its instances can be stopped and started.
    - `set_up_over_ssh`: emrctl installs Spark on its nodes, instead of EMR.
    - `presigned_pages`: EMR signs URLs of its pages.
    - `allow_termination`: prepares the deletion of the spec's cluster.
    """

    name: str
    list_clusters: Callable[..., Iterator[Cluster]]
    program_settings: Callable[[ProjectSpec, Target, bool], dict[str, str]]
    recent_failure: Callable[[ProjectSpec, Target], ClusterFailure | None]
    executor_memory_mb: Callable[[AnyClusterSpec], int]
    can_stop: bool
    set_up_over_ssh: bool
    presigned_pages: bool
    allow_termination: Callable[[ProjectSpec, Target], None] = lambda _project, _target: None

    def uses_folders(self, target: Target) -> bool:
        """Return whether the nodes are folders of this machine, without SSH servers."""
        return target.emr_nodes_are_folders and not self.set_up_over_ssh


def _yarn_memory_mb(spec: AnyClusterSpec) -> int:
    groups = (spec.core_group, *spec.task_groups)
    return sum(group.count * instance_types.instance_type(group.type).yarn_mb for group in groups)


def _worker_memory_mb(spec: AnyClusterSpec) -> int:
    workers = StandaloneWorkers.of(spec.core_group.type, spec.core_group.count)
    return workers.count * workers.memory_mb


EMR = ClusterKind(
    name="emr",
    list_clusters=emr.list_clusters,
    program_settings=lambda _project, _target, _create: {},
    recent_failure=emr.recent_failure,
    executor_memory_mb=_yarn_memory_mb,
    can_stop=False,
    set_up_over_ssh=False,
    presigned_pages=True,
    allow_termination=emr.allow_termination,
)
EC2 = ClusterKind(
    name="ec2",
    list_clusters=ec2.list_clusters,
    program_settings=program_inputs.program_settings,
    recent_failure=lambda _project, _target: None,
    executor_memory_mb=_worker_memory_mb,
    can_stop=True,
    set_up_over_ssh=True,
    presigned_pages=False,
)
KINDS = {kind.name: kind for kind in (EMR, EC2)}


def kind_of(spec: AnyClusterSpec) -> ClusterKind:
    """Return the kind of a spec."""
    return KINDS[spec.kind]


# --- clusters of a project ------------------------------------------------------------------------


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
    if not target.single_region:
        hint += " For a cluster in another region set `region` in emrctl.yaml, or EMRCTL_REGION."
    msg = f"no cluster '{name}' of {project.project} is running in {target.region}"
    raise NotFoundError(msg, hint=hint)


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
