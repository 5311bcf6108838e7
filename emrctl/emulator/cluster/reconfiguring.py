"""Reconfiguration of running instance groups: new configurations reach daemons and Spark.

As on EMR, daemons are restarted node by node if their classifications change, and a group whose
daemons do not start goes back to the configuration that was applied last.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from emrctl.emulator.cluster import model, threads
from emrctl.emulator.cluster.model import EmulatedCluster, EmulatedNode, InstanceGroup

_log = logging.getLogger(__name__)

# Classifications that are read when a daemon of YARN starts.
_DAEMONS = ("yarn-site", "core-site", "capacity-scheduler", "hadoop-env", "yarn-env")

Configurations = Sequence[Mapping[str, Any]]


class ConfigurationRuntime(Protocol):
    """Configures the nodes of clusters."""

    def configure_spark(self, cluster: EmulatedCluster) -> None:
        """Write Spark's configuration, which the next step reads."""

    def restart_daemons(self, cluster: EmulatedCluster, nodes: Sequence[EmulatedNode]) -> None:
        """Restart the daemons of the nodes with their configuration; raise an error."""


def merged(old: Configurations, new: Configurations) -> list[dict[str, Any]]:
    """Return the configurations of both: EMR's MERGE, where new properties override old ones."""
    rows = {one["Classification"]: dict(one) for one in old}
    for one in new:
        row = rows.setdefault(one["Classification"], {"Classification": one["Classification"]})
        row["Properties"] = row.get("Properties", {}) | one.get("Properties", {})
        nested = merged(row.get("Configurations", []), one.get("Configurations", []))
        if nested:
            row["Configurations"] = nested
    return list(rows.values())


def changed_classifications(old: Configurations, new: Configurations) -> set[str]:
    """Return the classifications with other properties or nested configurations."""

    def content(configurations: Configurations) -> dict[str, Any]:
        return {
            one["Classification"]: (
                one.get("Properties", {}),
                content(one.get("Configurations", [])),
            )
            for one in configurations
        }

    before, after = content(old), content(new)
    return {name for name in before | after if before.get(name) != after.get(name)}


@dataclass(kw_only=True)
class GroupReconfigurer:
    """Applies new configurations to instance groups, in threads of its own."""

    cluster: EmulatedCluster
    runtime: ConfigurationRuntime

    def reconfigure(self, group: InstanceGroup, configurations: list[dict[str, Any]]) -> None:
        """Set RECONFIGURING and apply the configurations in the background."""
        with self.cluster.changing():
            group.active_configurations = group.configurations
            if group.applied_configurations is None:
                group.applied_configurations = group.configurations
            group.request = group.request | {"Configurations": configurations}
            group.configurations_version += 1
            group.state = model.RECONFIGURING
            group.reason = f"Applying configuration version {group.configurations_version} (local)"
        threads.start(self._apply, group)

    def _apply(self, group: InstanceGroup) -> None:
        requested, reason = group.requested_configurations, ""
        try:
            self._activate(group, requested)
        except Exception as error:  # noqa: BLE001
            # Also an option that no shell could read: the group must not stay RECONFIGURING.
            _log.warning("%s: reconfiguring %s: %s", self.cluster.id, group.id, error)
            reason = self._revert(group, str(error))
        with self.cluster.changing():
            if not reason:
                group.applied_configurations = requested
                group.applied_version = group.configurations_version
            if group.state == model.RECONFIGURING:
                group.state, group.reason = model.RUNNING, reason

    def _activate(self, group: InstanceGroup, configurations: list[dict[str, Any]]) -> None:
        changed = changed_classifications(group.configurations, configurations)
        group.active_configurations = configurations
        if group.role == model.MASTER:
            self.runtime.configure_spark(self.cluster)
        if changed.intersection(_DAEMONS):
            nodes = [node for node in self.cluster.active_nodes if node.group is group]
            self.runtime.restart_daemons(self.cluster, nodes)

    def _revert(self, group: InstanceGroup, error: str) -> str:
        """Go back to the configuration that was applied last; return the group's reason."""
        failed = f"Configuration version {group.configurations_version} failed: {error}"
        try:
            self._activate(group, group.applied_configurations or [])
        except Exception as again:  # noqa: BLE001
            _log.error("%s: reverting %s: %s", self.cluster.id, group.id, again)
            return f"{failed}; version {group.applied_version} failed too: {again} (local)"
        return f"{failed}; reverted to version {group.applied_version} (local)"
