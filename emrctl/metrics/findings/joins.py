"""Rules about joins and broadcasts."""

from __future__ import annotations

import re
from collections.abc import Iterator

from emrctl.metrics.findings.base import (
    Advice,
    Finding,
    RunView,
    count_of,
    ids,
    size,
)
from emrctl.metrics.model import SqlMetrics, SqlOperator

_THRESHOLD = "spark.sql.autoBroadcastJoinThreshold"
_TIMEOUT = "spark.sql.broadcastTimeout"
_TIMED_OUT = re.compile(r"could not execute broadcast in", re.IGNORECASE)
_SHUFFLED_JOINS = ("SortMergeJoin", "ShuffledHashJoin")
_OTHER = {"left": "right", "right": "left"}


def wide_broadcast(view: RunView) -> Iterator[Finding]:
    """A large table that was broadcast to every executor."""
    largest = max(view.run.sql, key=lambda query: query.largest_broadcast_bytes, default=None)
    if largest is None:
        return
    sent, heap = largest.largest_broadcast_bytes, view.settings.heap_mb * 2**20
    wide = sent >= max(view.limit("broadcast_least"), view.limit("broadcast_heap") * heap)
    if sent < view.limit("broadcast_bytes") and not wide:
        return
    threshold = view.settings.text(_THRESHOLD, "10MB")
    seconds = sent / view.limit("disk_bytes_s")
    yield Finding(
        kind="wide_broadcast",
        evidence=f"query {largest.id} broadcast a table of {size(sent)} to each executor, "
        f"which has {size(heap)} of heap",
        advice=f"{_THRESHOLD} is {threshold}: lower it, or remove the broadcast hint, so that the "
        "tables are shuffled instead; select fewer columns before the join.",
        seconds=seconds,
        figures={"bytes": sent, "heap_bytes": heap},
    )


def missed_broadcast(view: RunView) -> Iterator[Finding]:
    """Joins that shuffle a large table although the other side could be broadcast."""
    hosts = len({row.host for row in view.run.busy_rows}) or 1
    cases = [
        (query, join, side, join.figures[f"{_OTHER[side]}_bytes"])
        for query, join in view.operators(*_SHUFFLED_JOINS)
        for side in _broadcastable(join)
        if _is_small(view, join, side)
    ]
    seconds = sum(2 * large / view.limit("disk_bytes_s") / hosts for *_, large in cases)
    if not cases or not view.is_significant(seconds):
        return
    query, join, side, large = max(cases, key=lambda case: case[3])
    small = join.figures[f"{side}_bytes"]
    advice = _broadcast_it(view, small)
    yield Finding(
        kind="missed_broadcast",
        evidence=f"query {query.id} joins {size(large)} with {size(small)} by {join.name}: both "
        f"were shuffled{_more(len(cases), 'join')}",
        advice=advice.text,
        seconds=min(seconds, view.query_s(query)),
        stages=query.stages,
        figures={"small_bytes": small, "large_bytes": large, "joins": len(cases)},
        settings=advice.settings,
    )


def _broadcastable(join: SqlOperator) -> tuple[str, ...]:
    """Return the sides that Spark can broadcast for this type of join."""
    if "FullOuter" in join.detail:
        return ()
    if "RightOuter" in join.detail:
        return ("left",)
    if any(word in join.detail for word in ("LeftOuter", "LeftSemi", "LeftAnti", "Existence")):
        return ("right",)
    return ("left", "right")


def _is_small(view: RunView, join: SqlOperator, side: str) -> bool:
    small = join.figures.get(f"{side}_bytes")
    large = join.figures.get(f"{_OTHER[side]}_bytes", 0)
    if not small or small * 2 > large:
        return False
    allowed = view.limit("small_side_bytes")
    if large > view.limit("large_other_bytes"):
        allowed = view.limit("large_side_bytes")
    elif large > view.limit("medium_other_bytes"):
        allowed = view.limit("medium_side_bytes")
    return small <= allowed


def _broadcast_it(view: RunView, small: int) -> Advice:
    now_mb = view.settings.mb(_THRESHOLD, "10m", "b")
    if view.settings.text(_THRESHOLD).strip().startswith("-"):
        text = f"{_THRESHOLD} is off: set {_THRESHOLD}=10m, the default."
        return Advice(text, {_THRESHOLD: "10m"})
    if small / 2**20 > now_mb:
        wanted = f"{max(10, round(small / 2**20 * 1.5))}m"
        return Advice(f"Set {_THRESHOLD}={wanted}, or use a broadcast hint.", {_THRESHOLD: wanted})
    return Advice(
        "Spark overestimates the size of the small side: use a broadcast hint, or compute table "
        "statistics (ANALYZE TABLE)."
    )


def nested_loop_join(view: RunView) -> Iterator[Finding]:
    """Joins without an equal key: every row is compared with every row of the other side."""
    cases = [
        (join.figures.get("left_rows", 0) * join.figures.get("right_rows", 0), query, join)
        for query, join in view.operators("BroadcastNestedLoopJoin", "CartesianProduct")
    ]
    cases = [case for case in cases if case[0] >= view.limit("pairs")]
    if not cases:
        return
    pairs, query, join = max(cases, key=lambda case: case[0])
    yield Finding(
        kind="nested_loop_join",
        evidence=f"query {query.id}: {join.name} compared {join.figures['left_rows']:,} x "
        f"{join.figures['right_rows']:,} rows and returned {join.figures.get('rows', 0):,}"
        f"{_more(len(cases), 'join')}",
        advice="Join by an equal key, if only a coarse one (day, region, bucket of a range), and "
        "filter the rest. A cross join that is not intended lacks its condition.",
        seconds=_longest_s(view, query),
        stages=query.stages,
        figures={"pairs": pairs, "rows": join.figures.get("rows", 0)},
    )


def exploding_join(view: RunView) -> Iterator[Finding]:
    """Joins by equal keys that return many more rows than they read: keys occur many times."""
    cases = [
        (join.figures["rows"], query, join)
        for query, join in view.operators(*_SHUFFLED_JOINS, "BroadcastHashJoin")
        if join.figures.get("rows", 0) >= view.limit("join_rows") and _input_rows(join)
    ]
    cases = [case for case in cases if case[0] >= view.limit("join_ratio") * _input_rows(case[2])]
    if not cases:
        return
    rows, query, join = max(cases, key=lambda case: case[0])
    ratio = rows / _input_rows(join)
    yield Finding(
        kind="exploding_join",
        evidence=f"query {query.id}: {join.name} returned {rows:,} rows, {ratio:.0f} x the "
        f"larger input{_more(len(cases), 'join')}",
        advice="The key occurs many times on both sides: join by more columns, or aggregate or "
        "drop duplicates of one side before the join.",
        seconds=_longest_s(view, query) * (1 - 1 / ratio),
        stages=query.stages,
        figures={"rows": rows, "ratio": round(ratio, 1)},
    )


def _input_rows(join: SqlOperator) -> int:
    """Return the rows of the larger input; 0 if one of them is unknown."""
    sides = [join.figures.get(f"{side}_rows", 0) for side in _OTHER]
    return max(sides) if all(sides) else 0


def _longest_s(view: RunView, query: SqlMetrics) -> float:
    """Return the length of the longest stage of a query."""
    return max((view.wall_s(stage) for stage in view.stages_of(query)), default=0.0)


def _more(count: int, noun: str) -> str:
    return f"; {count_of(count - 1, f'more {noun}')}" if count > 1 else ""


def broadcast_timeout(view: RunView) -> Iterator[Finding]:
    """Queries that failed because a table to broadcast was not ready in time."""
    failed = [query for query in view.run.sql if _TIMED_OUT.search(query.error)]
    if not failed:
        return
    seconds = sum(map(view.query_s, failed))
    now = view.settings.text(_TIMEOUT, "300")
    yield Finding(
        kind="broadcast_timeout",
        severity="high",
        evidence=f"queries {', '.join(str(query.id) for query in failed[:5])} failed: a table "
        f"was not broadcast within {now} s",
        advice=f"Make that side of the join smaller or faster, or set {_THRESHOLD}=-1 so that it "
        f"is shuffled; {_TIMEOUT} above {now} only waits longer.",
        seconds=min(seconds, view.duration_s),
        stages=ids(stage for query in failed for stage in view.stages_of(query)),
        figures={"queries": len(failed)},
        settings=view.settings.differs({_THRESHOLD: "-1"}),
    )
