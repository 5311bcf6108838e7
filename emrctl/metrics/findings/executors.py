"""Rules about executors: idle, missing, and their memory."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from emrctl.metrics import timeline
from emrctl.metrics.findings.base import (
    Finding,
    RunView,
    count_of,
    ids,
    limit,
    memory,
    stage_names,
)
from emrctl.metrics.model import ExecutorMetrics

_HEAP = "JVMHeapMemory"
_DRIVER_MEMORY = "spark.driver.memory"
_KILLED = re.compile(
    r"exceeding (?:physical |virtual )?memory limits|OOMKilled"
    r"|exit(?:ed with)? (?:code|status)[: ]+137\b",
    re.IGNORECASE,
)
_OUT_OF_MEMORY = re.compile(r"exit(?:ed with)? (?:code|status)[: ]+52\b", re.IGNORECASE)
_IDLE = re.compile(r"idle|killed by driver|decommission", re.IGNORECASE)


def _workers(view: RunView) -> list[ExecutorMetrics]:
    """Return the executors that existed long enough to work."""
    rows = [row for row in view.run.executors if not row.is_driver and row.cores]
    return [row for row in rows if timeline.lifetime_s(row, view.run) >= limit("idle_life_s")]


def idle_executors(view: RunView) -> Iterator[Finding]:
    """Executors that did almost no work while others were busy."""
    rows = _workers(view)
    total = sum(row.task_time_ms for row in rows)
    if len(rows) < 2 or not total or not view.cores:
        return
    life = {row.id: row.cores * timeline.lifetime_s(row, view.run) for row in rows}
    fair = {name: total * share / sum(life.values()) for name, share in life.items()}
    idle = [row for row in rows if row.task_time_ms < limit("idle_fair_share") * fair[row.id]]
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
    return limit("idle_share") if view.settings.dynamic else limit("idle_share") / 2


def _idle(
    view: RunView, idle: list[ExecutorMetrics], busiest: ExecutorMetrics, seconds: float
) -> Finding:
    rows = _workers(view)
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
    if pairs < limit("churn_returns") or life > limit("churn_life_s"):
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


def _start_up_s(view: RunView, added: list[ExecutorMetrics]) -> float:
    """Return how long stages had fewer cores than at the peak because executors were starting."""
    peak = timeline.peak_cores(view.run) / view.settings.task_cpus
    seconds = 0.0
    for stage in view.run.stages:
        begin = stage.submitted_ms
        span = timeline.working(stage)
        if begin is None or span is None or not peak:
            continue
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


def memory_unused(view: RunView) -> Iterator[Finding]:
    """Heaps of executors or of the driver that are mostly unused."""
    yield from _driver_unused(view)
    rows, heap = _measured(view)
    if not rows or view.run.disk_spilled_bytes or view.task_time_s < limit("heap_task_s"):
        return
    peak = max(row.peak_memory[_HEAP] for row in rows) / 2**20
    wanted = _smaller_heap(peak, heap)
    if not wanted:
        return
    key = "spark.executor.memory"
    yield Finding(
        kind="memory_unused",
        severity="low",
        evidence=f"no executor used more than {peak:.0f} of {heap} MB of heap",
        advice=f"Set {key}={wanted}: more executors fit, or smaller nodes suffice.",
        figures={"heap_mb": heap, "peak_mb": round(peak)},
        settings={key: wanted},
    )


def memory_short(view: RunView) -> Iterator[Finding]:
    """Full heaps: tasks failed with OutOfMemoryError or spent their time in garbage collection."""
    yield from _driver_short(view)
    run, (rows, heap) = view.run, _measured(view)
    failed = sum(
        count
        for stage in run.stages
        for cause, count in stage.failures.items()
        if "OutOfMemoryError" in cause
    )
    exited = [row for row in run.executors if _OUT_OF_MEMORY.search(row.remove_reason or "")]
    full = [row for row in rows if row.peak_memory[_HEAP] >= limit("heap_full") * heap * 2**20]
    strained = run.jvm_gc_time_ms >= limit("gc_share") * max(1, run.executor_run_time_ms)
    if not failed and not exited and not (full and strained):
        return
    seconds = view.over_cores(
        sum(stage.failed_time_ms for stage in run.stages) if failed or exited else 0
    )
    key = "spark.driver.memory" if view.settings.local else "spark.executor.memory"
    wanted = memory(view.settings.heap_mb * 2)
    parts = [f"{failed} tasks failed with OutOfMemoryError"] if failed else []
    parts += [f"{len(exited)} executors ran out of memory (exit code 52)"] if exited else []
    parts += [f"{len(full)} heaps of {heap} MB were full"] if full and strained else []
    yield Finding(
        kind="memory_short",
        severity="high" if failed or exited else "",
        evidence="; ".join(parts),
        advice=f"Set {key}={wanted}, or use fewer cores per executor or smaller partitions.",
        seconds=seconds,
        stages=ids(stage for stage in run.stages if stage.tasks_failed),
        figures={"died": failed, "executors": len(exited), "heap_mb": view.settings.heap_mb},
        settings={key: wanted},
    )


def _smaller_heap(peak_mb: float, heap_mb: int) -> str:
    """Return a heap with half as much again as the peak; empty if the heap is not mostly unused."""
    if peak_mb > limit("heap_empty") * heap_mb or heap_mb - peak_mb < limit("heap_worth_mb"):
        return ""
    return memory(max(1024, math.ceil(peak_mb * 1.5 / 512) * 512))


def _driver_peak(view: RunView) -> tuple[float, int, int]:
    """Return the driver's peak of heap in MB, its heap in MB and its GC time in ms; 0 if unknown.

    With a local master the driver is the executor, which the other rules cover.
    """
    rows = [] if view.settings.local else [row for row in view.run.executors if row.is_driver]
    peak = max((row.peak_memory.get(_HEAP, 0) for row in rows), default=0)
    gc_ms = max((row.peak_memory.get("TotalGCTime", 0) for row in rows), default=0)
    return peak / 2**20, view.settings.driver.heap_mb, gc_ms


def _driver_short(view: RunView) -> Iterator[Finding]:
    peak_mb, heap_mb, gc_ms = _driver_peak(view)
    gc_s = gc_ms / 1000
    if peak_mb < limit("heap_full") * heap_mb or gc_s < limit("gc_share") * view.duration_s:
        return
    wanted = memory(heap_mb * 2)
    yield Finding(
        kind="memory_short",
        evidence=f"the driver's heap of {heap_mb} MB was full, {gc_s:.1f} s of garbage collection",
        advice=f"Set {_DRIVER_MEMORY}={wanted}, or collect and broadcast less data.",
        seconds=min(gc_s, view.duration_s),
        figures={"driver_heap_mb": heap_mb, "driver_gc_s": round(gc_s, 1)},
        settings={_DRIVER_MEMORY: wanted},
    )


def _driver_unused(view: RunView) -> Iterator[Finding]:
    peak_mb, heap_mb, _ = _driver_peak(view)
    wanted = _smaller_heap(peak_mb, heap_mb)
    if not peak_mb or not wanted or view.task_time_s < limit("heap_task_s"):
        return
    yield Finding(
        kind="memory_unused",
        severity="low",
        evidence=f"the driver used at most {peak_mb:.0f} of {heap_mb} MB of heap",
        advice=f"Set {_DRIVER_MEMORY}={wanted}: in cluster mode more executors fit.",
        figures={"driver_heap_mb": heap_mb, "driver_peak_mb": round(peak_mb)},
        settings={_DRIVER_MEMORY: wanted},
    )


def _measured(view: RunView) -> tuple[list[ExecutorMetrics], int]:
    """Return the executors whose heap was measured, and the heap size in MB."""
    rows = [] if view.settings.local else _workers(view)
    return [row for row in rows if row.peak_memory.get(_HEAP)], view.settings.heap_mb


def container_killed(view: RunView) -> Iterator[Finding]:
    """Executors killed by YARN or the node for their memory."""
    run = view.run
    killed = [row for row in run.executors if _KILLED.search(row.remove_reason or "")]
    diagnostics = run.yarn.diagnostics if run.yarn and _KILLED.search(run.yarn.diagnostics) else ""
    if not killed and not diagnostics:
        return
    lost = [stage for stage in run.stages if "ExecutorLostFailure" in stage.failures]
    seconds = view.over_cores(sum(stage.failed_time_ms for stage in lost))
    key = "spark.executor.memoryOverhead"
    now = view.settings.executor.overhead_mb
    wanted = memory(now * 2)
    names = ", ".join(row.id for row in killed[:5]) or "the driver"
    cores = max((row.cores for row in killed), default=1)
    where = f" while {stage_names(lost)} ran" if lost else ""
    yield Finding(
        kind="container_killed",
        severity="high",
        evidence=f"containers killed (exit code 137): executors {names}{where}",
        advice=f"Set {key}={wanted}: Python workers use that memory. "
        + (f"Or use fewer than {cores} cores per executor." if cores > 1 else ""),
        seconds=seconds,
        stages=ids(lost),
        figures={"executors": len(killed), "overhead_mb": now},
        settings={key: wanted},
    )
