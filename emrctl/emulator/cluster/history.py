"""Clusters on disk: a new emulator lists the clusters of earlier ones as terminated.

Each cluster is a JSON file that is replaced when the cluster changes, before the change is
acknowledged. Files survive the death of the emulator; like EMR, it forgets clusters after 2 months.
The steps that a cluster ran first are lines of a second file, so that a change of a cluster with
many steps does not write all of them again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import logging
import os
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
_NOT_SAVED = ("changed", "on_change", "steps")
# Ended steps that are moved to the second file at a time.
_BLOCK = 50
_TYPES: Mapping[str, Any] = {
    "groups": list[InstanceGroup],
    "nodes": list[EmulatedNode],
    "timeline": Timeline,
    "termination": Termination | None,
    "details": tuple[dict[str, Any], ...],
    "security_groups": tuple[str | None, str | None, str | None],
}
_DIED = "The EMR on localhost was stopped before the cluster was terminated (local)"
_STEP_DIED = "The EMR on localhost was stopped before the step was completed"


@dataclasses.dataclass
class _Saved:
    """What is on disk of a cluster: its file, and the number and bytes of steps in the other."""

    text: bytes = b""
    moved: int = 0
    moved_bytes: int = 0


class ClusterHistory:
    """The files of all clusters, in one folder."""

    def __init__(self, folder: Path) -> None:
        """Create the folder if necessary."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._saved: dict[str, _Saved] = {}

    def save(self, cluster: EmulatedCluster) -> None:
        """Write the cluster's file if the cluster has changed; log a warning if that fails."""
        saved = self._saved.setdefault(cluster.id, _Saved())
        names = [f.name for f in dataclasses.fields(cluster) if f.name not in _NOT_SAVED]
        values = {name: getattr(cluster, name) for name in names}
        try:
            self._move_ended_steps(cluster, saved)
            steps = {"steps": cluster.steps[saved.moved :], "moved_bytes": saved.moved_bytes}
            text = msgspec.json.encode(values | steps)
            if saved.text != text:
                write_atomically(self._folder / f"{cluster.id}.json", text, 0o600)
        except OSError as error:
            _log.warning("could not save cluster %s: %s", cluster.id, error)
        else:
            saved.text = text

    def _move_ended_steps(self, cluster: EmulatedCluster, saved: _Saved) -> None:
        """Append steps that will not change. What the cluster's file does not count is replaced."""
        rest = itertools.islice(cluster.steps, saved.moved, None)
        ended = [*itertools.takewhile(lambda step: not step.unfinished, rest)]
        if len(ended) < _BLOCK:
            return
        lines = b"".join(msgspec.json.encode(step) + b"\n" for step in ended)
        flags = os.O_WRONLY | os.O_CREAT
        with os.fdopen(os.open(self._steps_file(cluster.id), flags, 0o600), "wb") as file:
            file.truncate(saved.moved_bytes)
            file.seek(saved.moved_bytes)
            file.write(lines)
        saved.moved += len(ended)
        saved.moved_bytes += len(lines)

    def _steps_file(self, cluster_id: str) -> Path:
        return self._folder / f"{cluster_id}.steps.jsonl"

    def load(self) -> Iterator[EmulatedCluster]:
        """Yield the clusters of earlier emulators, terminated; delete old and damaged files."""
        for path in sorted(self._folder.glob("j-*.json")):
            try:
                cluster = self._load(msgspec.json.decode(path.read_bytes()))
            except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
                _log.warning("ignoring %s: %s", path, error)
                continue
            if time.time() - (cluster.timeline.ended or cluster.timeline.created) > _KEPT_S:
                with contextlib.suppress(OSError):
                    path.unlink()
                    self._steps_file(cluster.id).unlink(missing_ok=True)
                continue
            terminate(cluster)
            self.save(cluster)
            yield cluster

    def _load(self, document: Any) -> EmulatedCluster:
        """Return the cluster of a file; raises OSError, TypeError or `msgspec.ValidationError`."""
        values = dict(document)
        steps, moved_bytes = values.pop("steps", []), values.pop("moved_bytes", 0)
        cluster = _cluster(values)
        if moved_bytes:
            with self._steps_file(cluster.id).open("rb") as file:
                lines = file.read(moved_bytes).splitlines()
            cluster.steps += [msgspec.json.decode(line, type=EmulatedStep) for line in lines]
            self._saved[cluster.id] = _Saved(moved=len(lines), moved_bytes=moved_bytes)
        cluster.steps += msgspec.convert(steps, list[EmulatedStep])
        return cluster


def _cluster(values: dict[str, Any]) -> EmulatedCluster:
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
    cluster.end_instances(now)
    reason = cluster.termination or Termination(code="INTERNAL_ERROR", message=_DIED)
    cluster.termination, cluster.timeline.ended = reason, now
    cluster.state, cluster.code, cluster.message = reason.state, reason.code, reason.message
    cluster.details = reason.details
