"""What a killed engine left without an end: found on AWS, or known not to be there."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from emrctl.engine.base import Event, Report
from emrctl.engine.localhost.provider import RESOURCE_TYPES, Provider
from emrctl.engine.pulumi.snapshot import PendingOperation, Snapshot, name_of

_CUT_OFF = "it was being made when the engine was killed"


def adopted(snapshot: Snapshot, provider: Provider, report: Report) -> list[Mapping[str, Any]]:
    """The resources whose making was cut off, and which are there all the same, ready for use."""
    known = {(entry.type, entry.id) for entry in snapshot.entries}
    found = []
    for pending in snapshot.pending:
        if pending.kind == "creating" and pending.resource["type"] in RESOURCE_TYPES:
            made = _found(pending, provider, known, report)
            if made is not None:
                found.append(made)
    return found


def _found(
    pending: PendingOperation,
    provider: Provider,
    known: set[tuple[str, str | None]],
    report: Report,
) -> Mapping[str, Any] | None:
    token, inputs = pending.resource["type"], dict(pending.resource.get("inputs") or {})
    id_ = provider.find(token, inputs)
    if id_ is None or (token, id_) in known:
        return None
    began = time.monotonic()
    name = name_of(pending.urn)
    event = Event(operation="create", type=token, name=name, status="started", message=_CUT_OFF)
    report(event)
    outputs = provider.settle(token, id_, inputs)
    took = time.monotonic() - began
    report(
        Event(
            operation="create",
            type=token,
            name=name,
            status="done",
            seconds=took,
            message=_CUT_OFF,
        )
    )
    return {**pending.resource, "id": id_, "outputs": outputs}


def touched(snapshot: Snapshot) -> list[str]:
    """The resources whose change or deletion was cut off: AWS must be asked how they are now."""
    urns = {entry.urn for entry in snapshot.entries}
    return sorted({p.urn for p in snapshot.pending if p.kind != "creating"} & urns)
