"""A stack's deployment as exported by Pulumi."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from emrctl.engine.checkpoint import ResourceState

ROOT = "pulumi:pulumi:Stack"


@dataclass(frozen=True, kw_only=True)
class PendingOperation:
    """An operation that was started and has no recorded result."""

    kind: str
    resource: Mapping[str, Any]

    @property
    def urn(self) -> str:
        """URN of the resource."""
        return str(self.resource["urn"])


class Snapshot:
    """A stack's deployment document."""

    def __init__(self, document: Mapping[str, Any] | None) -> None:
        self.document = dict(document or {})

    @property
    def _resources(self) -> list[dict[str, Any]]:
        return list(self.document.get("resources") or [])

    @property
    def entries(self) -> list[ResourceState]:
        """The resources on AWS in the order of creation."""
        return [
            _state(serial, item)
            for serial, item in enumerate(self._resources, 1)
            if item.get("custom") and not str(item["type"]).startswith("pulumi:")
        ]

    @property
    def outputs(self) -> dict[str, Any]:
        """The outputs of the program."""
        roots = [item for item in self._resources if item["type"] == ROOT]
        return dict(roots[0].get("outputs") or {}) if roots else {}

    @property
    def pending(self) -> list[PendingOperation]:
        """The operations that were running when the engine was killed."""
        items = self.document.get("pending_operations") or []
        return [PendingOperation(kind=item["type"], resource=item["resource"]) for item in items]

    def without_pending(self, created: list[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the document without pending operations and with the resources they created."""
        kept = {k: v for k, v in self.document.items() if k != "pending_operations"}
        return {**kept, "resources": [*self._resources, *created]}


def _state(serial: int, item: Mapping[str, Any]) -> ResourceState:
    return ResourceState(
        urn=item["urn"],
        type=item["type"],
        name=name_of(item["urn"]),
        serial=serial,
        status="settling" if item.get("initErrors") else "done",
        id=item.get("id") or None,
        protect=bool(item.get("protect")),
        inputs=dict(item.get("inputs") or {}),
        outputs=dict(item.get("outputs") or {}),
    )


def name_of(urn: str) -> str:
    """Return the resource's name, the last part of its URN."""
    return urn.rpartition("::")[2]
