"""Counts stored and evicted partitions of persisted RDDs; needs block updates in the log."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from emrctl.metrics.model import CachedRdd

_MAX_RDDS = 200


@dataclass
class _Blocks:
    """Partitions of one RDD: bytes in memory and on disk by executor and partition."""

    sizes: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    memory_bytes: int = 0
    disk_bytes: int = 0
    stored: int = 0
    evicted: int = 0
    largest_memory_bytes: int = 0
    largest_disk_bytes: int = 0


class CachedBlocks:
    """The blocks of each persisted RDD."""

    def __init__(self) -> None:
        self._rdds: defaultdict[int, _Blocks] = defaultdict(_Blocks)

    def update(self, number: int, key: tuple[str, str], memory_bytes: int, disk_bytes: int) -> None:
        """Set the sizes of a block of RDD `number` by executor and name; both 0 if removed."""
        rdd = self._rdds[number]
        before = rdd.sizes.pop(key, (0, 0))
        if memory_bytes or disk_bytes:
            rdd.sizes[key] = (memory_bytes, disk_bytes)
        rdd.evicted += bool(before[0] and not memory_bytes)
        rdd.memory_bytes += memory_bytes - before[0]
        rdd.disk_bytes += disk_bytes - before[1]
        rdd.stored = max(rdd.stored, len(rdd.sizes))
        rdd.largest_memory_bytes = max(rdd.largest_memory_bytes, rdd.memory_bytes)
        rdd.largest_disk_bytes = max(rdd.largest_disk_bytes, rdd.disk_bytes)

    def unpersist(self, number: int) -> None:
        """Forget the blocks of an RDD that the job removed: they are not evicted."""
        if (rdd := self._rdds.get(number)) is not None:
            rdd.sizes.clear()
            rdd.memory_bytes = rdd.disk_bytes = 0

    def add_to(self, persisted: Mapping[int, CachedRdd]) -> tuple[CachedRdd, ...]:
        """Return the first persisted RDDs with what is known of their blocks."""
        return tuple(
            self._with_blocks(persisted[number]) for number in sorted(persisted)[:_MAX_RDDS]
        )

    def _with_blocks(self, cached: CachedRdd) -> CachedRdd:
        blocks = self._rdds.get(cached.rdd)
        if blocks is None:
            return cached
        return replace(
            cached,
            stored=blocks.stored,
            evicted=blocks.evicted,
            memory_bytes=blocks.largest_memory_bytes,
            disk_bytes=blocks.largest_disk_bytes,
        )
