"""Finds RDDs that several stages computed because they were not persisted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct, field

from emrctl.metrics.model import Reuse, StageMetrics

_MAX_GROUPS, _MAX_STAGES = 5, 10


class _StorageLevel(Struct):
    disk: bool = field(name="Use Disk", default=False)
    memory: bool = field(name="Use Memory", default=False)


class _Rdd(Struct):
    """One of a stage's RDDs: the stage's own is listed first, its ancestors follow."""

    id: int = field(name="RDD ID")
    name: str = field(name="Name", default="")
    parents: list[int] = field(name="Parent IDs", default_factory=list)
    level: _StorageLevel = field(name="Storage Level", default_factory=_StorageLevel)

    @property
    def persisted(self) -> bool:
        """Whether the job persisted it."""
        return self.level.disk or self.level.memory


_decode = msgspec.json.Decoder(list[_Rdd]).decode


class Lineage:
    """The stages that computed each RDD; an RDD of a single stage takes two numbers."""

    def __init__(self) -> None:
        self._first_stage: dict[int, int] = {}
        self._stages: dict[int, list[int]] = {}
        self._name_and_is_source: dict[int, tuple[str, bool]] = {}
        self._query: dict[int, int] = {}

    def add_query(self, execution: int, stages: Iterable[int]) -> None:
        """Assign stages to a query: repetitions within a query are part of its plan."""
        self._query.update(dict.fromkeys(stages, execution))

    def add_stage(self, stage_id: int, rdd_info: bytes) -> None:
        """Add the first attempt of a stage with its `RDD Info`."""
        try:
            rdds = {rdd.id: rdd for rdd in reversed(_decode(rdd_info))}
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return
        for rdd in _computed(rdds):
            first = self._first_stage.setdefault(rdd.id, stage_id)
            if first == stage_id:
                continue
            if rdd.id not in self._stages:
                self._stages[rdd.id] = [first]
                self._name_and_is_source[rdd.id] = (rdd.name, not rdd.parents)
            self._stages[rdd.id].append(stage_id)

    def reuses(self, stages: Mapping[int, StageMetrics]) -> tuple[Reuse, ...]:
        """Return the most expensive recomputed RDDs, for each group of stages the last one."""
        groups: dict[tuple[int, ...], int] = {}
        for rdd, stage_ids in self._stages.items():
            key = tuple(stage for stage in self._one_per_query(stage_ids) if stage in stages)
            if len(key) > 1:
                groups[key] = max(rdd, groups.get(key, rdd))
        reuses = [self._reuse(rdd, [stages[id_] for id_ in key]) for key, rdd in groups.items()]
        reuses.sort(key=lambda reuse: (-reuse.repeated_time_ms, reuse.rdd))
        return tuple(reuses[:_MAX_GROUPS])

    def _one_per_query(self, stages: Iterable[int]) -> Iterable[int]:
        """Return one stage of each query, and all stages outside queries."""
        return {("query", self._query[s]) if s in self._query else s: s for s in stages}.values()

    def _reuse(self, rdd: int, stages: list[StageMetrics]) -> Reuse:
        name, is_source = self._name_and_is_source[rdd]
        return Reuse(
            rdd=rdd,
            name=name,
            is_source=is_source,
            stages=tuple(stage.id for stage in stages[:_MAX_STAGES]),
            times=len(stages),
            names=tuple(dict.fromkeys(stage.name for stage in stages))[:_MAX_STAGES],
            repeated_input_bytes=_repeated([stage.input_bytes for stage in stages]),
            repeated_time_ms=_repeated([stage.task_time_ms for stage in stages]),
        )


def _repeated(values: list[int]) -> int:
    """Return the upper bound of repeated work: each repetition costs at most the smallest value."""
    return (len(values) - 1) * min(values)


def _computed(rdds: dict[int, _Rdd]) -> Iterable[_Rdd]:
    """Yield the RDDs computed for the first of `rdds`, without the ancestors of persisted ones."""
    waiting = list(rdds)[-1:]
    seen = set(waiting)
    while waiting:
        rdd = rdds.get(waiting.pop())
        if rdd is None or rdd.persisted:
            continue
        yield rdd
        waiting += [parent for parent in rdd.parents if parent not in seen]
        seen.update(rdd.parents)
