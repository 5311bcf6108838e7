"""Figures of a streaming query, added up over its batches."""

from __future__ import annotations

import statistics
from typing import Any


class BatchFigures:
    """Figures of the batches of a query; Spark itself keeps the progress of the last 100 only.

    Attributes:
        last: Number of the last batch with rows, -1 before the first one. Numbers continue in a
            later job with the same checkpoint.
    """

    def __init__(self) -> None:
        self.last = -1
        self._batches = self._rows = self._late = 0
        self._busy_s = self._longest_s = 0.0
        self._recent: list[Any] = []
        self._state: dict[str, Any] = {}

    def add(self, progress: list[Any]) -> bool:
        """Add the batches of `query.recentProgress`; return whether any is new."""
        self._recent = [item for item in progress if item["numInputRows"]]
        new = [item for item in self._recent if item["batchId"] > self.last]
        for item in new:
            duration_s = item["durationMs"]["triggerExecution"] / 1000
            self.last = item["batchId"]
            self._batches += 1
            self._rows += item["numInputRows"]
            self._busy_s += duration_s
            self._longest_s = max(self._longest_s, duration_s)
            self._late += sum(one["numRowsDroppedByWatermark"] for one in item["stateOperators"])
        if progress:
            operators = progress[-1]["stateOperators"]
            self._state = {
                "state_rows": sum(one["numRowsTotal"] for one in operators),
                "state_bytes": sum(one["memoryUsedBytes"] for one in operators),
                "watermark": progress[-1].get("eventTime", {}).get("watermark"),
            }
        return bool(new)

    def to_json(self) -> dict[str, Any]:
        """Return the figures for result.json; medians are those of the last 100 batches."""
        arrivals = [
            one["inputRowsPerSecond"] for one in self._recent if "inputRowsPerSecond" in one
        ]
        durations = [one["durationMs"]["triggerExecution"] / 1000 for one in self._recent]
        return {
            "batches": self._batches,
            "last_batch": self.last,
            "rows": self._rows,
            "late_rows": self._late,
            "input_rows_per_s": round(statistics.median(arrivals), 1) if arrivals else None,
            "processed_rows_per_s": round(self._rows / self._busy_s, 1) if self._busy_s else None,
            "batch_s": statistics.median(durations) if durations else None,
            "longest_batch_s": self._longest_s or None,
            **self._state,
        }
