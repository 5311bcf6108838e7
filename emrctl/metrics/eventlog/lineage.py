"""Which RDDs were computed more than once: those that no stage found kept when it began."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct, field

from emrctl.metrics.model import Reuse, StageMetrics

# Groups of stages that are kept, and of each the stages that are named.
_GROUPS, _NAMED = 5, 10


class _Level(Struct):
    """A storage level."""

    disk: bool = field(name="Use Disk", default=False)
    memory: bool = field(name="Use Memory", default=False)


class _Rdd(Struct):
    """One of a stage's RDDs; the stage's own stands first, what it is made of follows."""

    id: int = field(name="RDD ID")
    name: str = field(name="Name", default="")
    parents: list[int] = field(name="Parent IDs", default_factory=list)
    level: _Level = field(name="Storage Level", default_factory=_Level)

    @property
    def kept(self) -> bool:
        """Whether the job asked Spark to keep it."""
        return self.level.disk or self.level.memory


_decode = msgspec.json.Decoder(list[_Rdd]).decode


class Lineage:
    """Stages by the RDDs that they computed; an RDD of one stage alone costs two numbers."""

    def __init__(self) -> None:
        self._first: dict[int, int] = {}
        self._again: dict[int, list[int]] = {}
        self._about: dict[int, tuple[str, bool]] = {}
        self._query: dict[int, int] = {}

    def query(self, execution: int, stages: Iterable[int]) -> None:
        """These stages are of one query: what it does twice it does so by its own plan."""
        self._query.update(dict.fromkeys(stages, execution))

    def stage(self, stage_id: int, infos: bytes) -> None:
        """Take over the first attempt of a stage; `infos` is its `RDD Info`."""
        try:
            rdds = {rdd.id: rdd for rdd in reversed(_decode(infos))}
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return
        for rdd in _computed(rdds):
            first = self._first.setdefault(rdd.id, stage_id)
            if first == stage_id:
                continue
            if rdd.id not in self._again:
                self._again[rdd.id] = [first]
                self._about[rdd.id] = (rdd.name, not rdd.parents)
            self._again[rdd.id].append(stage_id)

    def reuses(self, stages: Mapping[int, StageMetrics]) -> tuple[Reuse, ...]:
        """The costliest RDDs that several stages computed, each the last one they share."""
        groups: dict[tuple[int, ...], int] = {}
        for rdd, shared in self._again.items():
            key = tuple(stage for stage in self._apart(shared) if stage in stages)
            if len(key) > 1:
                groups[key] = max(rdd, groups.get(key, rdd))
        found = [self._reuse(rdd, [stages[stage] for stage in key]) for key, rdd in groups.items()]
        found.sort(key=lambda reuse: (-reuse.repeated_time_ms, reuse.rdd))
        return tuple(found[:_GROUPS])

    def _apart(self, shared: Iterable[int]) -> Iterable[int]:
        """One stage of each query, and all that are of none."""
        return {("query", self._query[s]) if s in self._query else s: s for s in shared}.values()

    def _reuse(self, rdd: int, stages: list[StageMetrics]) -> Reuse:
        name, source = self._about[rdd]
        return Reuse(
            rdd=rdd,
            name=name,
            is_source=source,
            stages=tuple(stage.id for stage in stages[:_NAMED]),
            times=len(stages),
            names=tuple(dict.fromkeys(stage.name for stage in stages))[:_NAMED],
            repeated_input_bytes=_repeated(stage.input_bytes for stage in stages),
            repeated_time_ms=_repeated(stage.task_time_ms for stage in stages),
        )


def _repeated(values: Iterable[int]) -> int:
    """What all but one of the stages can have repeated: none more than the least of them."""
    found = list(values)
    return (len(found) - 1) * min(found)


def _computed(rdds: dict[int, _Rdd]) -> Iterable[_Rdd]:
    """The RDDs that had to be made for the first of `rdds`: nothing behind one that is kept."""
    waiting = list(rdds)[-1:]
    seen = set(waiting)
    while waiting:
        rdd = rdds.get(waiting.pop())
        if rdd is None or rdd.kept:
            continue
        yield rdd
        waiting += [parent for parent in rdd.parents if parent not in seen]
        seen.update(rdd.parents)
