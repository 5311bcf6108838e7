"""The few figures of a query's plan that say something of a run: files and broadcasts.

A plan is most of its line. It is not parsed: the numbers of the figures that are wanted are found
by their names, and their values stand in small events of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec

from emrctl.metrics.model import SqlMetrics

# What the figure is to a query, the name by which its operator is known, its own name.
_WANTED = (
    ("largest_broadcast_bytes", b'"time to broadcast"', b"data size"),
    ("files_read", b'"number of files read"', b"number of files read"),
    ("files_read_bytes", b'"number of files read"', b"size of files read"),
    ("files_written", b'"number of written files"', b"number of written files"),
    ("files_written_bytes", b'"number of written files"', b"written output"),
)
_NUMBER = {
    name: re.compile(rb'"' + name + rb'"\s*,\s*"accumulatorId"\s*:\s*(\d{1,18})\b')
    for _, _, name in _WANTED
}
_updates = msgspec.json.Decoder(list[tuple[int, int]]).decode
_LARGEST = 1 << 62


class SqlFigures:
    """Figures of queries while the log goes by."""

    def __init__(self) -> None:
        self._meaning: dict[int, str] = {}
        self._values: dict[int, dict[int, int]] = {}

    def plan(self, plan: bytes) -> None:
        """Take over which figures a plan has."""
        for meaning, mark, name in _WANTED:
            for number in _numbers(plan, mark, _NUMBER[name]):
                self._meaning[number] = meaning

    def values(self, execution: int, updates: bytes) -> None:
        """Take over values of a query's figures."""
        try:
            found = _updates(updates)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return
        for number, value in found:
            if number in self._meaning and 0 < value < _LARGEST:
                self._values.setdefault(execution, {})[number] = value

    def completed(self, query: SqlMetrics) -> SqlMetrics:
        """The query with its figures."""
        found: dict[str, Any] = {}
        for number, value in self._values.get(query.id, {}).items():
            name = self._meaning[number]
            had = found.get(name, 0)
            found[name] = max(had, value) if name.startswith("largest_") else had + value
        return replace(query, **found)


def _numbers(plan: bytes, mark: bytes, number: re.Pattern[bytes]) -> Iterator[int]:
    """The figure's number in each list of figures that has `mark` in it."""
    at = plan.find(mark)
    while at >= 0:
        end = plan.find(b"]", at)
        end = len(plan) if end < 0 else end
        found = number.search(plan, max(plan.rfind(b"[", 0, at), 0), end)
        if found:
            yield int(found[1])
        at = plan.find(mark, end)
