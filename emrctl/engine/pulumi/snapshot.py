"""What Pulumi's own state says of a stack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from emrctl.engine.checkpoint import ResourceState

ROOT = "pulumi:pulumi:Stack"


@dataclass(frozen=True, kw_only=True)
class PendingOperation:
    """Something that was begun and whose end nobody wrote down."""

    kind: str
    resource: Mapping[str, Any]

    @property
    def urn(self) -> str:
        """Whose it is."""
        return str(self.resource["urn"])


class Snapshot:
    """A stack's deployment as Pulumi exports it."""

    def __init__(self, document: Mapping[str, Any] | None) -> None:
        self.document = dict(document or {})

    @property
    def entries(self) -> list[ResourceState]:
        """Every resource on AWS, in the order in which they were made."""
        return [_entry(index, item) for index, item in enumerate(self._resources) if _real(item)]

    @property
    def outputs(self) -> dict[str, Any]:
        """What the program exported."""
        roots = [item for item in self._resources if item["type"] == ROOT]
        return dict(roots[0].get("outputs") or {}) if roots else {}

    @property
    def pending(self) -> list[PendingOperation]:
        """What a killed engine left without an end."""
        found = self.document.get("pending_operations") or []
        return [PendingOperation(kind=item["type"], resource=item["resource"]) for item in found]

    def settled(self, adopted: list[Mapping[str, Any]]) -> dict[str, Any]:
        """The document without its pending operations, and with what they had made."""
        resources = [*self._resources, *adopted]
        kept = {k: v for k, v in self.document.items() if k != "pending_operations"}
        return {**kept, "resources": resources}

    @property
    def _resources(self) -> list[dict[str, Any]]:
        return list(self.document.get("resources") or [])


def _real(item: Mapping[str, Any]) -> bool:
    return bool(item.get("custom")) and not str(item["type"]).startswith("pulumi:")


def _entry(index: int, item: Mapping[str, Any]) -> ResourceState:
    return ResourceState(
        urn=item["urn"],
        type=item["type"],
        name=name_of(item["urn"]),
        serial=index + 1,
        status="settling" if item.get("initErrors") else "done",
        id=item.get("id") or None,
        protect=bool(item.get("protect")),
        inputs=dict(item.get("inputs") or {}),
        outputs=dict(item.get("outputs") or {}),
    )


def name_of(urn: str) -> str:
    """The last part of a resource's URN: the name by which the program declares it."""
    return urn.rpartition("::")[2]
