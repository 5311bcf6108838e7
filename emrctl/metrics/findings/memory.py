"""Rules about memory: garbage collection, spill, heaps, containers and caches."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from emrctl.metrics.findings.base import (
    Advice,
    Finding,
    RunView,
    count_of,
    ids,
    memory,
    size,
    stage_names,
)
from emrctl.metrics.findings.tasks import PARALLELISM, PARTITIONS
from emrctl.metrics.model import CachedRdd, ExecutorMetrics, StageMetrics

_HEAP = "JVMHeapMemory"
_DRIVER_MEMORY = "spark.driver.memory"
_KILLED = re.compile(
    r"exceeding (?:physical |virtual )?memory limits|OOMKilled"
    r"|exit(?:ed with)? (?:code|status)[: ]+137\b",
    re.IGNORECASE,
)
_OUT_OF_MEMORY = re.compile(r"exit(?:ed with)? (?:code|status)[: ]+52\b", re.IGNORECASE)


def gc(view: RunView) -> Iterator[Finding]:
    """Garbage collection that takes a large share of the task time."""
    run = view.run
    share = run.jvm_gc_time_ms / run.executor_run_time_ms if run.executor_run_time_ms else 0.0
    excess = run.jvm_gc_time_ms - view.limit("gc_normal") * run.executor_run_time_ms
    seconds = view.over_cores(excess)
    if share < view.limit("gc_share") or not view.is_significant(seconds):
        return
    worst = sorted(run.stages, key=lambda stage: -stage.jvm_gc_time_ms)[:3]
    advice = _against_gc(view)
    yield Finding(
        kind="gc",
        evidence=f"{share:.0%} of the tasks' run time was garbage collection, most in "
        f"{stage_names(worst)}",
        advice=advice.text,
        seconds=seconds,
        stages=ids(worst),
        figures={"gc_share": round(share, 3), "heap_mb": view.settings.heap_mb},
        settings=advice.settings,
    )


def _against_gc(view: RunView) -> Advice:
    rows, heap_mb = _measured(view)
    peak_mb = max((row.peak_memory[_HEAP] for row in rows), default=0) / 2**20
    if rows and peak_mb <= view.limit("heap_empty") * heap_mb:
        return Advice(
            f"At most {peak_mb:.0f} of {heap_mb} MB of heap were used, so a larger heap does not "
            "help: fewer cores per executor, longer runs (a JVM collects most at its start), or "
            "fewer short-lived objects."
        )
    key = _heap_key(view)
    wanted = memory(view.settings.heap_mb * 1.5)
    text = f"Set {key}={wanted}, persist less (serialized or on disk), or use fewer cores per "
    return Advice(f"{text}executor.", {key: wanted})


def spill(view: RunView) -> Iterator[Finding]:
    """Data that was spilled to disk while sorting or grouping."""
    run = view.run
    stages = [stage for stage in run.stages if stage.disk_spilled_bytes]
    if run.disk_spilled_bytes < view.limit("spill_bytes"):
        return
    # Written once and read once, on one disk per host.
    hosts = len({row.host for row in run.busy_rows}) or 1
    seconds = 2 * run.disk_spilled_bytes / view.limit("disk_bytes_s") / hosts
    if not view.is_significant(seconds):
        return
    worst = max(stages, key=lambda stage: stage.disk_spilled_bytes)
    text, settings = _against_spill(view, worst)
    yield Finding(
        kind="spill",
        evidence=f"{size(run.disk_spilled_bytes)} spilled to disk "
        f"({size(run.memory_spilled_bytes)} in memory), most in stage {worst.id} ({worst.name}), "
        f"{count_of(worst.tasks, 'task')}",
        advice=text,
        seconds=seconds,
        stages=ids(stages),
        figures={"disk_bytes": run.disk_spilled_bytes, "memory_bytes": run.memory_spilled_bytes},
        settings=settings,
    )


def _against_spill(view: RunView, stage: StageMetrics) -> Advice:
    spread = stage.memory_spilled_bytes_quantiles
    if spread and spread.max > view.limit("skew_ratio") * max(1, spread.median):
        return Advice("Only some partitions spill: distribute the largest key first.")
    wanted = str(2 * stage.tasks)
    if not stage.shuffle_read_bytes:
        text = f"Split the input into {wanted} partitions, or give each executor more memory."
        return Advice(text)
    key = PARTITIONS if view.run.sql else PARALLELISM
    if view.settings.text(key) == wanted:
        return Advice(f"{key} is already {wanted}: give each executor more memory, or fewer cores.")
    return Advice(f"Set {key}={wanted}, or give each executor more memory.", {key: wanted})


def memory_unused(view: RunView) -> Iterator[Finding]:
    """Heaps of executors or of the driver that are mostly unused."""
    yield from _driver_unused(view)
    rows, heap = _measured(view)
    if not rows or view.run.disk_spilled_bytes or view.task_time_s < view.limit("heap_task_s"):
        return
    peak = max(row.peak_memory[_HEAP] for row in rows) / 2**20
    wanted = _smaller_heap(view, peak, heap)
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
    full = [row for row in rows if row.peak_memory[_HEAP] >= view.limit("heap_full") * heap * 2**20]
    strained = run.jvm_gc_time_ms >= view.limit("gc_share") * max(1, run.executor_run_time_ms)
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


def _smaller_heap(view: RunView, peak_mb: float, heap_mb: int) -> str:
    """Return a heap with half as much again as the peak; empty if the heap is not mostly unused."""
    room_mb = heap_mb - peak_mb
    if peak_mb > view.limit("heap_empty") * heap_mb or room_mb < view.limit("heap_worth_mb"):
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
    if (
        peak_mb < view.limit("heap_full") * heap_mb
        or gc_s < view.limit("gc_share") * view.duration_s
    ):
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
    wanted = _smaller_heap(view, peak_mb, heap_mb)
    if not peak_mb or not wanted or view.task_time_s < view.limit("heap_task_s"):
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
    rows = [] if view.settings.local else view.workers
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


def low_overhead(view: RunView) -> Iterator[Finding]:
    """A memory overhead that is set below Spark's default."""
    process = view.settings.executor
    default = max(384, int(0.10 * process.heap_mb))
    if view.settings.local or not view.run.environment or process.overhead_mb >= default:
        return
    key = "spark.executor.memoryOverhead"
    wanted = memory(default)
    yield Finding(
        kind="low_overhead",
        severity="low",
        evidence=f"executors have {process.overhead_mb} MB beside a heap of {process.heap_mb} MB; "
        f"Spark's default is {default} MB, EMR's {max(384, int(0.1875 * process.heap_mb))} MB",
        advice=f"Set {key}={wanted}, or remove the setting: Python workers, network buffers and "
        "threads need it, and YARN kills containers that exceed it.",
        figures={"overhead_mb": process.overhead_mb, "default_mb": default},
        settings={key: wanted},
    )


def cache_evicted(view: RunView) -> Iterator[Finding]:
    """Persisted data that left the memory, or did not fit into it."""
    held = sum(item.memory_bytes for item in view.run.cached)
    room = sum(row.storage_total_bytes for row in view.run.busy_rows)
    full = room > 0 and held >= view.limit("storage_full") * room
    hit = [item for item in view.run.cached if _does_not_fit(view, item, full=full)]
    if not hit:
        return
    worst = max(hit, key=lambda item: item.partitions - item.stored + item.evicted)
    yield Finding(
        kind="cache_evicted",
        severity="medium",
        evidence=f"RDD {worst.rdd} ({worst.name[:60]}): at most {worst.stored} of "
        f"{worst.partitions} partitions were stored, {worst.evicted} evicted; "
        f"{size(worst.memory_bytes)} in memory, {size(worst.disk_bytes)} on disk; "
        f"the storage has {size(room)}",
        advice="Partitions that are not stored are computed again: persist less (fewer columns, "
        "unpersist() early), use MEMORY_AND_DISK or a serialized level, or more memory: "
        f"{_heap_key(view)} above {view.settings.heap_mb}m.",
        figures={
            "partitions": worst.partitions,
            "stored": worst.stored,
            "evicted": worst.evicted,
            "room_bytes": room,
        },
    )


def _does_not_fit(view: RunView, item: CachedRdd, *, full: bool) -> bool:
    """Return whether partitions were evicted, or not stored in a full memory, or on disk."""
    lost = item.evicted + (max(0, item.partitions - item.stored) if full and item.stored else 0)
    total = item.memory_bytes + item.disk_bytes
    return lost > view.limit("evicted_share") * max(1, item.partitions) or (
        item.memory_bytes > 0 and item.disk_bytes > view.limit("on_disk_share") * total
    )


def _heap_key(view: RunView) -> str:
    return _DRIVER_MEMORY if view.settings.local else "spark.executor.memory"
