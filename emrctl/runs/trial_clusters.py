"""Clusters of an experiment: the project's own, or one for each distinct cluster of its factors.

A cluster that an experiment creates is named after the experiment and the hash of its spec, so that
a resumed experiment uses it again. It terminates itself after `ttl_s` if the client is killed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from emrctl.clusters.model import Cluster
from emrctl.errors import EmrctlError, NotFoundError
from emrctl.runs.workspace import Workspace
from emrctl.spec import ProjectSpec, check_local

if TYPE_CHECKING:
    from emrctl.provision.stacks import Deployment

_NAME_LENGTH, _HASH_LENGTH = 22, 8
_TTL_S = 4 * 3600

Note = Callable[[str], None]


class TrialClusters:
    """One cluster at a time for the trials of an experiment; `note` reports what is created.

    `close` deletes the cluster that was created, unless `keep` is set.
    """

    def __init__(self, workspace: Workspace, experiment: str, note: Note, *, keep: bool) -> None:
        self._workspace, self._experiment, self._note = workspace, experiment, note
        self._keep = keep
        self._current: Cluster | None = None
        self._created: ProjectSpec | None = None
        self._projects: dict[tuple[tuple[str, str | None], ...], ProjectSpec] = {}

    def project(self, fields: Mapping[str, str | None]) -> ProjectSpec:
        """Return the project with the cluster for these fields, which need not exist yet."""
        key = tuple(sorted(fields.items()))
        if key not in self._projects:
            self._projects[key] = self._named(fields)
        return self._projects[key]

    def _named(self, fields: Mapping[str, str | None]) -> ProjectSpec:
        own = self._workspace.project
        project = own.with_cluster_fields(fields)
        if project.cluster == own.cluster and (not fields or self._exists(own)):
            return own
        ttl = {} if project.cluster.ttl_s else {"ttl_s": str(_TTL_S)}
        document = project.cluster.model_dump(mode="json", exclude={"name"})
        text = json.dumps(document, sort_keys=True).encode()
        digest = hashlib.sha256(text).hexdigest()[:_HASH_LENGTH]
        prefix = self._experiment[:_NAME_LENGTH].rstrip("-")
        return project.with_cluster_fields(ttl).with_cluster(f"{prefix}-{digest}")

    def check(self, fields: Mapping[str, str | None]) -> ProjectSpec:
        """Return the project for these fields; `SpecError` if the target does not support it."""
        project = self.project(fields)
        if self._workspace.target.is_local:
            check_local(project)
        return project

    def is_current(self, fields: Mapping[str, str | None]) -> bool:
        """Return whether `get` returns the cluster without deleting another one."""
        return self._current is None or self._current.name == self.project(fields).cluster.name

    def get(self, fields: Mapping[str, str | None]) -> Cluster:
        """Return the cluster for these fields; it replaces the one that was created before."""
        project = self.project(fields)
        if self._current is not None and self._current.name == project.cluster.name:
            return self._current
        self.close()
        if project is self._workspace.project:
            self._current = self._workspace.cluster()
        else:
            self._current = self._create(project)
        return self._current

    def forget(self) -> None:
        """Look for the cluster again, or create it again, as it was terminated."""
        self._current = None

    def close(self) -> None:
        """Delete the cluster that was created, unless it is kept."""
        project, self._created, self._current = self._created, None, None
        if project is None:
            return
        name = project.cluster.name
        if self._keep:
            self._note(f"Cluster {name} is kept: delete it with `emrctl down --cluster {name}`.")
            return
        from emrctl.provision import lifecycle

        self._note(f"Deleting cluster {name}")
        lifecycle.down(self._deployment(project))

    def delete_left(self) -> None:
        """Delete clusters for which `project` was called: those that killed clients left."""
        from emrctl.provision import lifecycle, stacks

        own = self._workspace.project
        others = {item.cluster_stack: item for item in self._projects.values() if item is not own}
        if self._keep or not others:
            return
        for state in stacks.list_stacks(self._workspace.deployment):
            project = others.get(state.stack)
            if project is not None and state.resources and not state.gone:
                self._note(f"Deleting cluster {project.cluster.name}")
                lifecycle.down(self._deployment(project))

    def _create(self, project: ProjectSpec) -> Cluster:
        from emrctl.provision import lifecycle

        group = project.cluster.core_group
        self._note(f"Creating cluster {project.cluster.name}: {group.count} {group.type}")
        self._created = project  # first: an interrupted creation is deleted, too
        try:
            return lifecycle.up(self._deployment(project))
        except EmrctlError:
            self.close()
            raise

    def _exists(self, project: ProjectSpec) -> bool:
        from emrctl.clusters import registry

        try:
            registry.find_cluster(project, self._workspace.target)
        except NotFoundError:
            return False
        return True

    def _deployment(self, project: ProjectSpec) -> Deployment:
        return replace(self._workspace.deployment, spec=project)
