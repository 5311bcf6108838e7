"""A stack's deployment as exported by Pulumi, and the operations that a killed engine left."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from emrctl.engine.base import Event, Report
from emrctl.engine.checkpoint import ResourceState
from emrctl.engine.localhost.provider import RESOURCE_TYPES, Provider

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


def find_interrupted_creations(
    snapshot: Snapshot, provider: Provider, report: Report
) -> list[Mapping[str, Any]]:
    """Return the resources that exist though their creation is pending, once they are usable."""
    known = {(entry.type, entry.id) for entry in snapshot.entries}
    resources: list[Mapping[str, Any]] = []
    for pending in snapshot.pending:
        if pending.kind == "creating" and pending.resource["type"] in RESOURCE_TYPES:
            token, inputs = pending.resource["type"], dict(pending.resource.get("inputs") or {})
            id_ = provider.find(token, inputs)
            if id_ is not None and (token, id_) not in known:
                outputs = _settle(pending, id_, inputs, provider, report)
                resources.append({**pending.resource, "id": id_, "outputs": outputs})
    return resources


def _settle(
    pending: PendingOperation, id_: str, inputs: dict[str, Any], provider: Provider, report: Report
) -> dict[str, Any]:
    token, began = pending.resource["type"], time.monotonic()
    event = Event(
        operation="create",
        type=token,
        name=name_of(pending.urn),
        status="started",
        message="the engine was killed during its creation",
    )
    report(event)
    outputs = provider.settle(token, id_, inputs)
    report(dataclasses.replace(event, status="done", seconds=time.monotonic() - began))
    return outputs


def interrupted_changes(snapshot: Snapshot) -> list[str]:
    """Return the URNs of the resources whose update or deletion is pending."""
    urns = {entry.urn for entry in snapshot.entries}
    return sorted({item.urn for item in snapshot.pending if item.kind != "creating"} & urns)
