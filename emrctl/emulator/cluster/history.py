"""Clusters on disk: a new emulator lists the clusters of earlier ones as terminated.

Each cluster is a JSON file that is replaced when the cluster changes, before the change is
acknowledged. Files survive the death of the emulator; like EMR, it forgets clusters after 2 months.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from emrctl.emulator.cluster import model
from emrctl.emulator.cluster.model import (
    EmulatedCluster,
    EmulatedNode,
    EmulatedStep,
    InstanceGroup,
    Termination,
    Timeline,
)
from emrctl.paths import write_atomically

_log = logging.getLogger(__name__)

_KEPT_S = 60 * 24 * 3600
_NOT_SAVED = ("changed", "on_change")
_TYPES: Mapping[str, Any] = {
    "groups": list[InstanceGroup],
    "nodes": list[EmulatedNode],
    "steps": list[EmulatedStep],
    "timeline": Timeline,
    "termination": Termination | None,
    "details": tuple[dict[str, Any], ...],
    "security_groups": tuple[str | None, str | None, str | None],
}
_DIED = "The EMR on localhost was stopped before the cluster was terminated (local)"
_STEP_DIED = "The EMR on localhost was stopped before the step was completed"


class ClusterHistory:
    """The files of all clusters, in one folder."""

    def __init__(self, folder: Path) -> None:
        """Create the folder if necessary."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._saved: dict[str, bytes] = {}

    def save(self, cluster: EmulatedCluster) -> None:
        """Write the cluster's file if the cluster has changed; log a warning if that fails."""
        names = [f.name for f in dataclasses.fields(cluster) if f.name not in _NOT_SAVED]
        text = msgspec.json.encode({name: getattr(cluster, name) for name in names})
        if self._saved.get(cluster.id) == text:
            return
        try:
            write_atomically(self._folder / f"{cluster.id}.json", text, 0o600)
        except OSError as error:
            _log.warning("could not save cluster %s: %s", cluster.id, error)
        else:
            self._saved[cluster.id] = text

    def load(self) -> Iterator[EmulatedCluster]:
        """Yield the clusters of earlier emulators, terminated; delete old and damaged files."""
        for path in sorted(self._folder.glob("j-*.json")):
            try:
                cluster = _cluster(msgspec.json.decode(path.read_bytes()))
            except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
                _log.warning("ignoring %s: %s", path, error)
                continue
            if time.time() - (cluster.timeline.ended or cluster.timeline.created) > _KEPT_S:
                with contextlib.suppress(OSError):
                    path.unlink()
                continue
            terminate(cluster)
            self.save(cluster)
            yield cluster


def _cluster(document: Any) -> EmulatedCluster:
    """Return the cluster of a file; raises TypeError or `msgspec.ValidationError`."""
    values = dict(document)
    for name, type_ in _TYPES.items():
        if name in values:
            values[name] = msgspec.convert(values[name], type_)
    cluster = EmulatedCluster(**values)
    groups = {group.id: group for group in cluster.groups}
    for node in cluster.nodes:
        node.group = groups.get(node.group.id, node.group)
    return cluster


def terminate(cluster: EmulatedCluster) -> None:
    """Set the states of a cluster whose emulator died: everything unfinished has ended."""
    if cluster.timeline.ended is not None:
        return
    now = time.time()
    for step in cluster.steps:
        if step.unfinished:
            step.state, step.message, step.timeline.ended = model.INTERRUPTED, _STEP_DIED, now
    for node in cluster.active_nodes:
        node.state, node.timeline.ended = model.TERMINATED, now
    for group in cluster.groups:
        group.state, group.timeline.ended = model.TERMINATED, now
    reason = cluster.termination or Termination(code="INTERNAL_ERROR", message=_DIED)
    cluster.termination, cluster.timeline.ended = reason, now
    cluster.state, cluster.code, cluster.message = reason.state, reason.code, reason.message
    cluster.details = reason.details
