"""Rules about executors: idle, missing, late and lost."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from emrctl.metrics import timeline
from emrctl.metrics.findings.base import (
    Finding,
    RunView,
    count_of,
    memory,
)
from emrctl.metrics.model import ExecutorMetrics

_IDLE = re.compile(r"idle|killed by driver|decommission", re.IGNORECASE)
_ALLOCATION = "spark.dynamicAllocation"


def idle_executors(view: RunView) -> Iterator[Finding]:
    """Executors that did almost no work while others were busy."""
    rows = view.workers
    total = sum(row.task_time_ms for row in rows)
    if len(rows) < 2 or not total or not view.cores:
        return
    life = {row.id: row.cores * timeline.lifetime_s(row, view.run) for row in rows}
    fair = {name: total * share / sum(life.values()) for name, share in life.items()}
    idle = [row for row in rows if row.task_time_ms < view.limit("idle_fair_share") * fair[row.id]]
    if sum(life[row.id] for row in idle) < _idle_share(view) * sum(life.values()):
        return
    busiest = max(rows, key=lambda row: row.task_time_ms)
    slots = max(1, view.settings.slots(busiest.cores))
    seconds = (busiest.task_time_ms - fair[busiest.id]) / 1000 / slots
    seconds = min(seconds, sum(end - begin for begin, end in view.spans) / 1000)
    if view.is_significant(seconds):
        yield _idle(view, idle, busiest, seconds)


def _idle_share(view: RunView) -> float:
    """Return the threshold; higher with dynamic allocation, which removes idle executors late."""
    return view.limit("idle_share") if view.settings.dynamic else view.limit("idle_share") / 2


def _idle(
    view: RunView, idle: list[ExecutorMetrics], busiest: ExecutorMetrics, seconds: float
) -> Finding:
    rows = view.workers
    share = busiest.task_time_ms / sum(row.task_time_ms for row in rows)
    names = ", ".join(row.id for row in idle[:5]) + (" …" if len(idle) > 5 else "")
    return Finding(
        kind="idle_executors",
        evidence=f"{len(idle)} of {len(rows)} executors ({names}) did almost no work; "
        f"executor {busiest.id} did {share:.0%} of the work",
        advice=_spread(view, len(rows)),
        seconds=seconds,
        figures={"idle": len(idle), "executors": len(rows), "busiest_share": round(share, 3)},
    )


def _spread(view: RunView, executors: int) -> str:
    most = max((stage.tasks for stage in view.completed), default=0)
    cores = round(view.cores)
    if most < cores:
        return (
            f"No stage has more than {count_of(most, 'task')} for {cores} {view.slots}: use "
            f"{2 * cores} partitions, or request fewer than {executors} executors."
        )
    text = "There are enough tasks, but they run where their data is cached or was read. "
    wait = view.settings.text("spark.locality.wait", "3s")
    if wait not in {"0", "0s", "0ms"}:
        text += f"A spark.locality.wait below {wait} lets other executors run them, and "
    return f"{text}repartition() distributes the data before it is persisted."


def allocation_churn(view: RunView) -> Iterator[Finding]:
    """Executors that dynamic allocation removed as idle shortly before requesting others."""
    rows = [row for row in view.run.executors if not row.is_driver and row.added_ms is not None]
    removed = [row for row in rows if row.removed_ms and _IDLE.search(row.remove_reason or "")]
    if not view.settings.dynamic or not removed:
        return
    first = min(row.removed_ms or 0 for row in removed)
    added = [row for row in rows if (row.added_ms or 0) > first]
    lives = sorted(timeline.lifetime_s(row, view.run) for row in removed)
    life = lives[len(lives) // 2]
    pairs = min(len(added), len(removed))
    if pairs < view.limit("churn_returns") or life > view.limit("churn_life_s"):
        return
    seconds = _start_up_s(view, added)
    key = "spark.dynamicAllocation.executorIdleTimeout"
    now = view.settings.text(key, "60s")
    yield Finding(
        kind="allocation_churn",
        evidence=f"{len(removed)} executors were removed as idle, {len(added)} added later; "
        f"half of those removed lived {life:.0f} s or less",
        advice=f"Set {key} (now {now}) above the pauses between jobs, or "
        f"spark.dynamicAllocation.minExecutors={_mean(view)}.",
        seconds=seconds,
        figures={"sent": len(removed), "fetched": len(added), "median_life_s": life},
    )


def _start_up_s(view: RunView, added: list[ExecutorMetrics], since_ms: int = 0) -> float:
    """Return how long stages had fewer cores than at the peak because executors were starting.

    Times before `since_ms` are left out.
    """
    peak = timeline.peak_cores(view.run) / view.settings.task_cpus
    seconds = 0.0
    for stage in view.run.stages:
        span = timeline.working(stage)
        if stage.submitted_ms is None or span is None or not peak:
            continue
        begin = max(stage.submitted_ms, since_ms)
        late = [row.added_ms or 0 for row in added if begin < (row.added_ms or 0) < span[1]]
        if late:
            missing = 1 - view.cores_within((begin, max(late))) / peak
            seconds += max(0.0, missing) * (max(late) - begin) / 1000
    return seconds


def _mean(view: RunView) -> int:
    held = timeline.core_seconds(view.run)
    each = max((row.cores for row in view.run.busy_rows), default=1)
    return max(1, round(held / each / view.duration_s)) if view.duration_s else 1


def missing_executors(view: RunView) -> Iterator[Finding]:
    """Fewer executors than requested, even at the peak."""
    requested, peak = view.settings.requested_executors, view.run.peak_executors
    if view.settings.local or requested is None or peak >= requested or not view.run.complete:
        return
    work = sum(end - begin for begin, end in view.spans) / 1000
    seconds = work * (1 - peak / requested)
    yield Finding(
        kind="missing_executors",
        severity="high" if peak * 2 < requested else "medium",
        evidence=f"{requested} executors were requested, at most {peak} were running",
        advice=_room(view, requested, peak),
        seconds=seconds,
        figures={"asked": requested, "came": peak},
    )


def _room(view: RunView, requested: int, peak: int) -> str:
    memory_ = view.settings.executor
    each = memory_.container_mb
    cluster = view.run.cluster
    if cluster is not None and cluster.memory_total_mb:
        total = f"{cluster.memory_total_mb} MB on {len(cluster.nodes)} nodes"
        text = f"Each needs a container of {each} MB, and YARN has {total} including the driver: "
    else:
        parts = f"heap {memory_.heap_mb} MB and {memory_.beside_mb} MB beside it"
        text = f"Each needs a container of {each} MB ({parts}) on one node: "
    return f"{text}request {max(peak, 1)}, smaller ones, or add nodes until {requested} fit."


def cold_start(view: RunView) -> Iterator[Finding]:
    """A first stage that waits for its first executor."""
    started = [s for s in view.run.stages if s.submitted_ms is not None and s.first_task_ms]
    first = min(started, key=lambda stage: stage.submitted_ms or 0, default=None)
    if first is None or view.settings.local:
        return
    seconds = ((first.first_task_ms or 0) - (first.submitted_ms or 0)) / 1000
    if seconds < view.limit("cold_start_s"):
        return
    yield Finding(
        kind="cold_start",
        evidence=f"stage {first.id} ({first.name}) waited {seconds:.1f} s for its first task, "
        "until an executor was running",
        advice=_against_cold_start(view),
        seconds=seconds,
        stages=(first.id,),
        figures={"wait_s": seconds},
    )


def _against_cold_start(view: RunView) -> str:
    backlog = view.settings.text(f"{_ALLOCATION}.schedulerBacklogTimeout", "1s")
    if view.settings.dynamic and not view.settings.requested_executors and backlog != "1s":
        return (
            f"Executors are requested after {backlog} only: remove {_ALLOCATION}."
            f"schedulerBacklogTimeout, or set {_ALLOCATION}.initialExecutors."
        )
    return (
        "The cluster had no room or was adding nodes: check other applications and the queue in "
        "YARN, keep core nodes running, or submit steps one after another."
    )


def slow_ramp(view: RunView) -> Iterator[Finding]:
    """Dynamic allocation that reaches the peak late while tasks are waiting."""
    rows = [row for row in view.run.executors if not row.is_driver and row.added_ms is not None]
    begins = [stage.first_task_ms for stage in view.run.stages if stage.first_task_ms is not None]
    if not view.settings.dynamic or not begins or len(rows) < 2:
        return
    at_once = sum((row.added_ms or 0) <= min(begins) for row in rows)
    removed = any(row.removed_ms and _IDLE.search(row.remove_reason or "") for row in rows)
    peak = view.run.peak_executors
    if removed or at_once > view.limit("ramp_share") * peak:
        return
    # The wait for the first executor does not depend on how many are added later.
    seconds = _start_up_s(view, rows, min(begins))
    if not view.is_significant(seconds):
        return
    last = (max(row.added_ms or 0 for row in rows) - min(begins)) / 1000
    yield Finding(
        kind="slow_ramp",
        evidence=f"{at_once} of {peak} executors were running at the first task, the last one was "
        f"added {last:.1f} s later",
        advice=f"Set {_ALLOCATION}.initialExecutors={peak}, or lower "
        f"{_ALLOCATION}.sustainedSchedulerBacklogTimeout "
        f"({view.settings.text(f'{_ALLOCATION}.sustainedSchedulerBacklogTimeout', '1s')}).",
        seconds=seconds,
        figures={"at_once": at_once, "peak": peak, "ramp_s": last},
        settings={f"{_ALLOCATION}.initialExecutors": str(peak)},
    )


def large_executors(view: RunView) -> Iterator[Finding]:
    """Executors with more cores than one JVM uses well."""
    largest = max(view.workers, key=lambda row: row.cores, default=None)
    if largest is None or view.settings.local or largest.cores < view.limit("large_cores"):
        return
    parts = -(-largest.cores // 5)
    cores = math.ceil(largest.cores / parts)
    settings = {
        "spark.executor.cores": str(cores),
        "spark.executor.memory": memory(max(1024, view.settings.heap_mb // parts)),
    }
    yield Finding(
        kind="large_executors",
        severity="low",
        evidence=f"executors have {largest.cores} cores and {view.settings.heap_mb} MB of heap: "
        "one garbage collection stops all of their tasks, and they share one connection pool",
        advice="Use more executors of 4 or 5 cores: "
        + ", ".join(f"{key}={value}" for key, value in settings.items())
        + ".",
        figures={"cores": largest.cores, "heap_mb": view.settings.heap_mb},
        settings=settings,
    )
