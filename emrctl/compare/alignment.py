"""Aligns the stages of two runs by structure: call site, operators, lineage, job and position.

Stage ids say little: skipped stages, retried jobs and adaptive execution shift them, and edited
code shifts line numbers.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field

from emrctl.metrics.model import RunMetrics, StageMetrics

# Paths and URIs in names: only the last part is kept.
_FOLDERS = re.compile(r"(?:\b[a-z][a-z0-9+.-]*:/)?(?:/[^\s/:<>]*)+/(?=[^\s/:<>])", re.IGNORECASE)
_LINE = re.compile(r":\d+$")
_DIGITS = re.compile(r"\d+")
# Candidates with fewer common operators are different work at one call site, as all of SQL's are.
_LEAST_SIMILARITY = 1 / 3
# Beyond this number of pairs of equal stages, the first of one run are those of the other.
_MAX_CELLS = 40_000


@dataclass(frozen=True)
class Stage:
    """All attempts of one stage; `site` is its normalised call site without the line number."""

    attempts: tuple[StageMetrics, ...]
    site: str
    line: str
    operators: tuple[str, ...]
    lineage: int = 0
    job_key: int = field(default=0, compare=False)

    @property
    def id(self) -> int:
        """The id of the stage."""
        return self.attempts[0].id

    @property
    def name(self) -> str:
        """Name of the stage, its call site as in Spark, without folders."""
        return _FOLDERS.sub("", self.attempts[0].name) or f"stage {self.id}"

    @property
    def tasks(self) -> int:
        """Number of tasks of the complete stage."""
        return max(attempt.tasks for attempt in self.attempts)


Pair = tuple[Stage | None, Stage | None]


def stages(run: RunMetrics) -> tuple[Stage, ...]:
    """Return the stages that ran, in the order of their submission."""
    attempts: defaultdict[int, list[StageMetrics]] = defaultdict(list)
    for stage in run.stages:
        if stage.submitted_ms is not None or stage.first_task_ms is not None:
            attempts[stage.id].append(stage)
    keys: dict[int, int] = {}
    by_job: defaultdict[int | None, list[Hashable]] = defaultdict(list)
    for id_ in sorted(attempts):
        first = attempts[id_][0]
        own = (*_site(first.name), _operators(first))
        parents = sorted(keys.get(parent, 0) for parent in first.parents)
        keys[id_] = hash((own[0], own[2], *parents))
        by_job[first.job].append((own[0], own[2]))
    jobs = {job: hash(tuple(sorted(map(repr, work)))) for job, work in by_job.items()}
    found = [
        Stage(
            tuple(items),
            *_site(items[0].name),
            _operators(items[0]),
            keys[id_],
            jobs[items[0].job],
        )
        for id_, items in attempts.items()
    ]
    return tuple(sorted(found, key=lambda stage: (_submitted(stage), stage.id)))


def _submitted(stage: Stage) -> int:
    first = stage.attempts[0]
    return first.submitted_ms or first.first_task_ms or 0


def _site(name: str) -> tuple[str, str]:
    """Return the call site without folders, numbers and line, and the line."""
    text = _FOLDERS.sub("", name)
    line = _LINE.search(text)
    return _DIGITS.sub("#", _LINE.sub("", text)), line[0] if line else ""


def _operators(stage: StageMetrics) -> tuple[str, ...]:
    return tuple(_DIGITS.sub("#", _FOLDERS.sub("", name)) for name in stage.operators)


def align(reference: Sequence[Stage], other: Sequence[Stage]) -> tuple[Pair, ...]:
    """Return pairs of equal stages, then the stages of one run only; each stage is in one pair.

    Equal structure is required at first, then ever fewer of its parts. Stages that are equal in
    these keep their order.
    """
    left, right = list(enumerate(reference)), list(enumerate(other))
    pairs: list[tuple[int, Stage, Stage]] = []
    for key in _KEYS:
        left_groups, right_groups = _group(left, key), _group(right, key)
        matched: tuple[set[int], set[int]] = (set(), set())
        for value, ours in left_groups.items():
            for one, two in _in_order(ours, right_groups.get(value, [])):
                pairs.append((one, reference[one], other[two]))
                matched[0].add(one)
                matched[1].add(two)
        left = [item for item in left if item[0] not in matched[0]]
        right = [item for item in right if item[0] not in matched[1]]
    pairs.sort(key=lambda pair: pair[0])
    return (
        *((one, two) for _, one, two in pairs),
        *((stage, None) for _, stage in left),
        *((None, stage) for _, stage in right),
    )


# From strict to loose.
_KEYS: tuple[Callable[[Stage], Hashable], ...] = (
    lambda stage: (stage.site, stage.line, stage.operators, stage.lineage, stage.job_key),
    lambda stage: (stage.site, stage.line, stage.operators, stage.lineage),
    lambda stage: (stage.site, stage.operators, stage.lineage),
    lambda stage: (stage.site, stage.operators),
    lambda stage: (stage.site, stage.line),
    lambda stage: stage.site,
    lambda stage: (stage.operators, stage.lineage) if stage.operators else None,
)
Numbered = tuple[int, Stage]


def _group(
    items: Iterable[Numbered], key: Callable[[Stage], Hashable]
) -> dict[Hashable, list[Numbered]]:
    groups: defaultdict[Hashable, list[Numbered]] = defaultdict(list)
    for item in items:
        value = key(item[1])
        if value is not None:
            groups[value].append(item)
    return groups


def _in_order(left: list[Numbered], right: list[Numbered]) -> Iterable[tuple[int, int]]:
    """Return as many pairs as possible that keep the order, of these the most similar ones."""
    if len(left) * len(right) > _MAX_CELLS or len(left) == len(right) == 1:
        pairs = zip(left, right, strict=False)
        return [(one[0], two[0]) for one, two in pairs if _cost(one[1], two[1]) < math.inf]
    # The best (pairs, -cost) of the first n and m, as in an edit distance.
    best = [[(0, 0.0)] * (len(right) + 1) for _ in range(len(left) + 1)]
    for n, (_, one) in enumerate(left, 1):
        for m, (_, two) in enumerate(right, 1):
            cost = _cost(one, two)
            pairs_before, gain = best[n - 1][m - 1]
            both = (pairs_before + 1, gain - cost) if cost < math.inf else (-1, 0.0)
            best[n][m] = max(best[n - 1][m], best[n][m - 1], both)
    return _trace(best, left, right)


def _trace(
    best: list[list[tuple[int, float]]], left: list[Numbered], right: list[Numbered]
) -> Iterable[tuple[int, int]]:
    n, m = len(left), len(right)
    while n and m:
        if best[n][m] == best[n - 1][m]:
            n -= 1
        elif best[n][m] == best[n][m - 1]:
            m -= 1
        else:
            n, m = n - 1, m - 1
            yield left[n][0], right[m][0]


def _cost(one: Stage, two: Stage) -> float:
    """Return how much two stages differ in operators and tasks; infinity if too much."""
    ours, theirs = set(one.operators), set(two.operators)
    similarity = len(ours & theirs) / len(ours | theirs) if ours and theirs else 1.0
    if similarity < _LEAST_SIMILARITY:
        return math.inf
    moved = 0.5 * (one.line != two.line) + 0.5 * (one.lineage != two.lineage)
    return 1 - similarity + moved + abs(math.log((one.tasks + 1) / (two.tasks + 1)))
