"""Conversion of the engine's events to emrctl's."""

from __future__ import annotations

import re
import threading
import time
from typing import Any, Literal

from emrctl.engine.base import Event, Operation, Report, ResourceChange
from emrctl.engine.pulumi.snapshot import name_of

# Operations of the engine that change resources. A `replace` only precedes its two halves.
_EXECUTED: dict[str, Operation] = {
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
_COLORS = re.compile(r"<\{%[^%]*%\}>")


class EventListener:
    """Collects the engine's events: `planned` and executed `changes`, and `errors` by URN."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._began: dict[tuple[str, str], float] = {}
        self._lock = threading.Lock()
        self.planned: list[ResourceChange] = []
        self.changes: list[ResourceChange] = []
        self.errors: list[tuple[str, str]] = []

    def handle(self, event: Any) -> None:
        """Handle one event; those of the stack itself and of providers are ignored."""
        with self._lock:
            if event.resource_pre_event is not None:
                self._on_start(event.resource_pre_event)
            elif event.res_outputs_event is not None:
                self._on_end(event.res_outputs_event)
            elif event.res_op_failed_event is not None:
                self._send(event.res_op_failed_event, "failed")
            elif event.diagnostic_event is not None:
                diagnostic = event.diagnostic_event
                if diagnostic.severity == "error":
                    message = _COLORS.sub("", diagnostic.message).strip()
                    self.errors.append((diagnostic.urn or "", message))

    def error_of(self, urn: str) -> str:
        """Return the error messages of a resource."""
        return " ".join(message for other, message in self.errors if other == urn)

    def _on_start(self, event: Any) -> None:
        step = event.metadata
        if step.op.value in _PLANNED and not _is_internal(step):
            self.planned.append(_change(_PLANNED[step.op.value], step))
        if not event.planning:
            self._began[step.urn, step.op.value] = time.monotonic()
            self._send(event, "started")

    def _on_end(self, event: Any) -> None:
        step = event.metadata
        if step.op.value in _PLANNED and not _is_internal(step):
            self.changes.append(_change(_PLANNED[step.op.value], step))
        if not event.planning:
            self._send(event, "done")

    def _send(self, event: Any, status: Literal["started", "done", "failed"]) -> None:
        step = event.metadata
        operation = _EXECUTED.get(step.op.value)
        if operation is None or _is_internal(step):
            return
        seconds = None
        if status != "started":
            began = self._began.pop((step.urn, step.op.value), None)
            seconds = None if began is None else time.monotonic() - began
        self._report(
            Event(
                operation=operation,
                type=step.type,
                name=name_of(step.urn),
                status=status,
                seconds=seconds,
                message=self.error_of(step.urn) if status == "failed" else "",
            )
        )


def _is_internal(step: Any) -> bool:
    """Whether the step is of the stack itself or of a provider."""
    return str(step.type).startswith("pulumi:")


def _change(operation: Operation, step: Any) -> ResourceChange:
    state = step.new if step.new is not None and step.new.id else step.old
    keys: Any = ()
    if operation == "replace":
        keys = step.keys
    elif operation == "update":
        keys = step.detailed_diff or step.diffs
    return ResourceChange(
        operation=operation,
        type=step.type,
        name=name_of(step.urn),
        id=(state.id or None) if state is not None else None,
        keys=tuple(sorted(keys or ())),
    )


def drift(changes: list[ResourceChange]) -> tuple[ResourceChange, ...]:
    """Return the updates and deletions of a refresh."""
    return tuple(change for change in changes if change.operation in {"update", "delete"})
