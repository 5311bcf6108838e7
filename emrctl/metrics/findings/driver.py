"""Rules about the driver and the order of the work."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from statistics import median as median_of

from emrctl.metrics import timeline
from emrctl.metrics.findings.base import (
    Finding,
    RunView,
    ids,
    size,
    stage_names,
)
from emrctl.metrics.model import Reuse, StageMetrics

# In interactive sessions and query servers a pause is not work of the driver.
_INTERACTIVE = re.compile(r"shell|thrift|zeppelin|livy|notebook|jupyter|databricks", re.IGNORECASE)
_MAX_RESULT = "spark.driver.maxResultSize"


def driver_bound(view: RunView) -> Iterator[Finding]:
    """Time in which executors were running and no stage was."""
    run, total = view.run, view.duration_s
    names = (run.app_name or "", *(k for k in run.environment if "repl" in k or "databricks" in k))
    if not view.spans or run.end_ms is None or any(map(_INTERACTIVE.search, names)):
        return
    ready = _ready_ms(view)
    gaps = [(max(ready, begin), end) for begin, end in _gaps(view) if end > ready]
    seconds = sum(end - begin for begin, end in gaps) / 1000
    if seconds < view.limit("driver_least_s") or seconds < view.limit("driver_share") * total:
        return
    longest = max(end - begin for begin, end in gaps) / 1000
    yield Finding(
        kind="driver_bound",
        evidence=f"no task ran for {seconds:.1f} of {total:.1f} s although executors were running; "
        f"the longest pause took {longest:.1f} s, {_before(view, gaps)}",
        advice="Check what the driver does then: collect() and pandas on large data, files read or "
        "written by the driver, sequential jobs that threads could submit in parallel.",
        seconds=seconds,
        figures={"driver_s": seconds, "longest_s": longest, "pauses": len(gaps)},
    )


def _ready_ms(view: RunView) -> int:
    """Return when the first executor was running and the session was set up."""
    added = [row.added_ms for row in view.run.busy_rows if row.added_ms is not None]
    return min(added, default=view.spans[0][0]) + round(1000 * view.limit("start_up_s"))


def _gaps(view: RunView) -> list[timeline.Span]:
    """Return pauses between stages, including before the first and after the last.

    A submitted stage without tasks waits for executors, not for the driver.
    """
    spans = timeline.merged(
        (min(span[0], stage.submitted_ms or span[0]), span[1])
        for stage in view.run.stages
        if (span := timeline.working(stage)) is not None
    )
    first = spans[0][0] if view.start_ms is None else view.start_ms
    last = spans[-1][1] if view.run.end_ms is None else view.run.end_ms
    ends = [first, *(end for _, end in spans)]
    begins = [*(begin for begin, _ in spans), last]
    return [(end, begin) for end, begin in zip(ends, begins, strict=True) if begin > end]


def _before(view: RunView, gaps: list[timeline.Span]) -> str:
    """Return which stage followed the longest pause."""
    _, end = max(gaps, key=lambda gap: gap[1] - gap[0])
    following = [
        s for s in view.run.stages if s.first_task_ms is not None and s.first_task_ms >= end
    ]
    if not following:
        return "at the end"
    first = min(following, key=lambda stage: stage.first_task_ms or 0)
    return f"before stage {first.id} ({first.name})"


def uncached_reuse(view: RunView) -> Iterator[Finding]:
    """An RDD that several stages computed again."""
    first = next((reuse for reuse in view.run.reuses if _should_persist(reuse)), None)
    if first is None:
        return
    seconds = view.over_cores(first.repeated_time_ms)
    if not view.is_significant(seconds):
        return
    read = f", {size(first.repeated_input_bytes)} read again" if first.repeated_input_bytes else ""
    called = f" ({first.name})" if first.name else ""
    shown = ", ".join(map(str, first.stages[:5])) + (" …" if first.times > 5 else "")
    yield Finding(
        kind="uncached_reuse",
        evidence=f"RDD {first.rdd}{called} was computed by {first.times} stages ({shown}): "
        f"{'; '.join(first.names[:3])}{read}",
        advice="Call persist() on what these stages share before the first one, and unpersist() "
        "after the last.",
        seconds=seconds,
        stages=first.stages,
        figures={"times": first.times, "input_bytes": first.repeated_input_bytes},
    )


def _should_persist(reuse: Reuse) -> bool:
    """Return whether input was read again, or the same code computed the RDD again.

    Different work over one source shares only reading it, which costs nothing for a list in the
    driver's memory.
    """
    same = len(reuse.names) < reuse.times
    return reuse.repeated_input_bytes > 0 or (same and not reuse.is_source)


def large_result(view: RunView) -> Iterator[Finding]:
    """Tasks that return so much data to the driver that twice as much fails."""
    cases = [stage for stage in view.completed if _is_result(stage)]
    worst = max(cases, key=lambda stage: stage.result_bytes or 0, default=None)
    allowed = view.settings.mb(_MAX_RESULT, "1g", "b") * 2**20 or view.settings.driver.heap_mb << 20
    refused = [s for s in view.run.stages if _MAX_RESULT in (s.failure_reason or "")]
    returned = (worst.result_bytes or 0) if worst else 0
    if not refused and returned < view.limit("result_share") * allowed:
        return
    hit = [*refused, *([worst] if worst and not refused else [])]
    what = f"{stage_names(hit)} exceeded" if refused else f"tasks of {stage_names(hit)} returned"
    yield Finding(
        kind="large_result",
        severity="high" if refused else "medium",
        evidence=f"{what} {size(allowed if refused else returned)}; {_MAX_RESULT} is "
        f"{size(allowed)}",
        advice="Write the data to S3 instead of collect() or toPandas(), or aggregate or limit() "
        f"it first. A larger {_MAX_RESULT} needs a larger driver heap, too.",
        seconds=returned / view.limit("disk_bytes_s"),
        stages=ids(hit),
        figures={"bytes": returned, "allowed_bytes": allowed},
    )


def _is_result(stage: StageMetrics) -> bool:
    """Return whether results are the job's own: a broadcast is another finding."""
    return bool(stage.result_bytes) and "BroadcastExchange" not in stage.operators


def long_lineage(view: RunView) -> Iterator[Finding]:
    """An iteration in which each stage depends on all earlier rounds."""
    longest = max(view.run.stages, key=lambda stage: stage.rdds, default=None)
    sizes = len({stage.rdds for stage in view.run.stages})
    if longest is None or longest.rdds < view.limit("lineage_rdds"):
        return
    if sizes < view.limit("lineage_growth"):
        return
    yield Finding(
        kind="long_lineage",
        severity="low",
        evidence=f"stage {longest.id} ({longest.name}) has a lineage of {longest.rdds} RDDs, "
        f"which grew over {sizes} stages",
        advice="Cut the lineage every few rounds: checkpoint() with sc.setCheckpointDir() on HDFS "
        "or S3, or localCheckpoint(). Otherwise scheduling slows down with each round, and a lost "
        "partition is computed from the first round on.",
        stages=(longest.id,),
        figures={"rdds": longest.rdds, "sizes": sizes},
    )


def many_queries(view: RunView) -> Iterator[Finding]:
    """A loop of short queries from the same line of code."""
    groups: defaultdict[str, list[float]] = defaultdict(list)
    for query in view.run.sql:
        if query.end_ms is not None:
            groups[query.description].append(view.query_s(query))
    name, times = max(groups.items(), key=lambda item: len(item[1]), default=("", []))
    if len(times) < view.limit("queries") or median_of(times) > view.limit("query_s"):
        return
    seconds = min(sum(times) - max(times), view.duration_s)
    if not view.is_significant(seconds):
        return
    yield Finding(
        kind="many_queries",
        evidence=f"{len(times)} queries of {median_of(times):.2f} s each from one place "
        f"({name}), {sum(times):.1f} s in total",
        advice="Planning and scheduling take most of that time: replace the loop by one query "
        "(groupBy, isin, a join with the list of keys), or submit queries from several threads.",
        seconds=seconds,
        figures={"queries": len(times), "median_s": round(median_of(times), 3)},
    )
