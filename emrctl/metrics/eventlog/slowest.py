"""The slowest tasks of a stage attempt, with what tells why they were slow."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from emrctl.metrics.eventlog.events import AnyTaskEnd
from emrctl.metrics.model import Quantiles, Straggler

_KEPT = 8
# What is shorter, or not so much longer than the others, is nobody's straggler.
_SHORTEST_MS = 500
_TIMES_MEDIAN = 1.5

Key = tuple[int, int]


class Slowest:
    """Of successful tasks the few that took longest."""

    def __init__(self) -> None:
        self._heap: list[tuple[Key, Straggler]] = []
        self._floor = _SHORTEST_MS

    def add(self, durations: Sequence[int], ended: Sequence[AnyTaskEnd]) -> None:
        """Look at some more tasks."""
        if max(durations) < self._floor:
            return
        for duration, event in zip(durations, ended, strict=True):
            if duration >= self._floor:
                self._keep((duration, -event.info.id), event)

    def _keep(self, key: Key, event: AnyTaskEnd) -> None:
        if any(key == known for known, _ in self._heap):
            return  # a damaged log's
        # An event holds on to its whole line: what is kept of it is a record.
        if len(self._heap) < _KEPT:
            heapq.heappush(self._heap, (key, _straggler(key[0], event)))
        elif key > self._heap[0][0]:
            heapq.heapreplace(self._heap, (key, _straggler(key[0], event)))
            self._floor = self._heap[0][0][0]

    def record(self, durations: Quantiles | None) -> tuple[Straggler, ...]:
        """The tasks that stand out over the others, the slowest first."""
        if durations is None:
            return ()
        least = max(durations.median * _TIMES_MEDIAN, _SHORTEST_MS)
        found = sorted(self._heap, key=lambda item: item[0], reverse=True)
        return tuple(task for _, task in found if task.duration_ms >= least)

    def close(self, durations: Quantiles | None) -> None:
        """Keep no others than those that stand out."""
        standing = {task.task for task in self.record(durations)}
        self._heap = [item for item in self._heap if item[1].task in standing]


def _straggler(duration_ms: int, event: AnyTaskEnd) -> Straggler:
    figures = event.figures
    if figures is None:
        return Straggler(task=event.info.id, executor=event.info.executor, duration_ms=duration_ms)
    read, taken = figures.shuffle_read, figures.input
    written, given = figures.shuffle_write, figures.output
    return Straggler(
        task=event.info.id,
        executor=event.info.executor,
        duration_ms=duration_ms,
        run_time_ms=figures.run_ms,
        cpu_time_ms=figures.cpu_ns // 1_000_000,
        gc_time_ms=figures.gc_ms,
        fetch_wait_time_ms=read.wait_ms if read else 0,
        read_bytes=(read.local_bytes + read.remote_bytes if read else 0)
        + (taken.read if taken else 0),
        written_bytes=(written.written if written else 0) + (given.written if given else 0),
    )
