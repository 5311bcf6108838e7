"""The engine's own events, told as every engine tells them."""

from __future__ import annotations

import re
import threading
import time
from typing import Any

from emrctl.engine.base import Event, Operation, Report, ResourceChange
from emrctl.engine.localhost.provider import short
from emrctl.engine.pulumi.snapshot import name_of

# Each of the engine's operations that touches AWS, and what we call it. `replace` itself is only
# announced: its two halves are what is done.
_TOUCHING: dict[str, Operation] = {
    "create": "create",
    "update": "update",
    "delete": "delete",
    "create-replacement": "replace",
    "delete-replaced": "delete",
    "import": "import",
}
_PLANNED: dict[str, Operation] = {
    "same": "same",
    "create": "create",
    "update": "update",
    "delete": "delete",
    "replace": "replace",
    "import": "import",
}
_COLOURS = re.compile(r"<\{%[^%]*%\}>")


class EventListener:
    """Hears the engine; `changes` are what was done, `planned` what would be."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._began: dict[tuple[str, str], float] = {}
        self._lock = threading.Lock()
        self.planned: list[ResourceChange] = []
        self.changes: list[ResourceChange] = []
        self.errors: list[tuple[str, str]] = []

    def hear(self, event: Any) -> None:
        """One event of the engine's; those of its own bookkeeping are passed over."""
        with self._lock:
            if event.resource_pre_event is not None:
                self._begins(event.resource_pre_event)
            elif event.res_outputs_event is not None:
                self._ends(event.res_outputs_event)
            elif event.res_op_failed_event is not None:
                self._fails(event.res_op_failed_event.metadata)
            elif event.diagnostic_event is not None:
                self._hears_of(event.diagnostic_event)

    def said(self, urn: str) -> str:
        """What the engine said went wrong with a resource."""
        return " ".join(message for about, message in self.errors if about == urn)

    def _begins(self, event: Any) -> None:
        found = event.metadata
        if _own(found):
            return
        if found.op.value in _PLANNED:
            self.planned.append(_change(_PLANNED[found.op.value], found))
        operation = _TOUCHING.get(found.op.value)
        if operation is not None and not event.planning:
            self._began[found.urn, found.op.value] = time.monotonic()
            self._tell(operation, found, "started")

    def _ends(self, event: Any) -> None:
        found = event.metadata
        if _own(found):
            return
        if found.op.value in _PLANNED:
            self.changes.append(_change(_PLANNED[found.op.value], found))
        operation = _TOUCHING.get(found.op.value)
        if operation is not None and not event.planning:
            self._tell(operation, found, "done", self._seconds(found))

    def _fails(self, found: Any) -> None:
        operation = _TOUCHING.get(found.op.value)
        if operation is not None and not _own(found):
            message = self.said(found.urn)
            self._tell(operation, found, "failed", self._seconds(found), message)

    def _hears_of(self, event: Any) -> None:
        if event.severity == "error":
            words = _COLOURS.sub("", event.message).strip()
            self.errors.append((event.urn or "", words))

    def _seconds(self, found: Any) -> float | None:
        began = self._began.pop((found.urn, found.op.value), None)
        return None if began is None else time.monotonic() - began

    def _tell(
        self,
        operation: Operation,
        found: Any,
        status: Any,
        seconds: float | None = None,
        message: str = "",
    ) -> None:
        self._report(
            Event(
                operation=operation,
                type=found.type,
                name=name_of(found.urn),
                status=status,
                seconds=seconds,
                message=message,
            )
        )


def _own(found: Any) -> bool:
    """Whether it is of the engine's bookkeeping: the stack itself, or a provider."""
    return str(found.type).startswith("pulumi:")


def _change(operation: Operation, found: Any) -> ResourceChange:
    state = found.new if found.new is not None and found.new.id else found.old
    return ResourceChange(
        operation=operation,
        type=found.type,
        name=name_of(found.urn),
        id=(state.id or None) if state is not None else None,
        keys=_keys(operation, found),
    )


def _keys(operation: Operation, found: Any) -> tuple[str, ...]:
    if operation == "replace":
        return tuple(sorted(found.keys or ()))
    if operation == "update":
        return tuple(sorted(found.detailed_diff or found.diffs or ()))
    return ()


def drift(found: list[ResourceChange]) -> tuple[ResourceChange, ...]:
    """Of what a refresh found, what is no longer as it was."""
    return tuple(change for change in found if change.operation in {"update", "delete"})


def label(type_: str, name: str) -> str:
    """A resource as messages name it."""
    return f"{short(type_)} '{name}'"
