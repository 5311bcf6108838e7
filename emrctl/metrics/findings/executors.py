"""Findings in the executors: idle ones, absent ones, and the memory that they were given."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from emrctl.metrics import timeline
from emrctl.metrics.findings.base import Advice, Finding, View, ids, many, memory, named
from emrctl.metrics.findings.limits import limit
from emrctl.metrics.model import ExecutorMetrics

_HEAP = "JVMHeapMemory"
_KILLED = re.compile(
    r"exceeding (?:physical |virtual )?memory limits|OOMKilled"
    r"|exit(?:ed with)? (?:code|status)[: ]+137\b",
    re.IGNORECASE,
)
_OUT_OF_MEMORY = re.compile(r"exit(?:ed with)? (?:code|status)[: ]+52\b", re.IGNORECASE)
_IDLE = re.compile(r"idle|killed by driver|decommission", re.IGNORECASE)


def _workers(view: View) -> list[ExecutorMetrics]:
    """Executors that were there long enough to work."""
    rows = [row for row in view.run.executors if not row.is_driver and row.cores]
    return [row for row in rows if timeline.lifetime_s(row, view.run) >= limit("idle_life_s")]


def idle_executors(view: View) -> Iterator[Finding]:
    """Executors that did next to nothing while others worked."""
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
    seconds = (busiest.task_time_ms - fair[busiest.id]) / 1000 / max(1, busiest.cores)
    seconds = min(seconds, sum(end - begin for begin, end in view.spans) / 1000)
    if view.worth(seconds):
        yield _idle(view, idle, busiest, seconds)


def _idle_share(view: View) -> float:
    """Executors that dynamic allocation will take away are idle for a while: more must be."""
    return limit("idle_share") if view.settings.dynamic else limit("idle_share") / 2


def _idle(
    view: View, idle: list[ExecutorMetrics], busiest: ExecutorMetrics, seconds: float
) -> Finding:
    rows = _workers(view)
    share = busiest.task_time_ms / sum(row.task_time_ms for row in rows)
    names = ", ".join(row.id for row in idle[:5]) + (" …" if len(idle) > 5 else "")
    return Finding(
        kind="idle_executors",
        severity=view.severity(seconds),
        evidence=f"{len(idle)} of {len(rows)} executors ({names}) had next to nothing to do; "
        f"executor {busiest.id} did {share:.0%} of the work",
        advice=_spread(view, len(rows)).text,
        seconds=seconds,
        figures={"idle": len(idle), "executors": len(rows), "busiest_share": round(share, 3)},
    )


def _spread(view: View, executors: int) -> Advice:
    most = max((stage.tasks for stage in view.completed), default=0)
    cores = round(view.cores)
    if most < cores:
        return Advice(
            text=f"No stage has more than {many(most, 'task')} for {cores} cores: make "
            f"{2 * cores} partitions of the data, or ask for fewer than {executors} executors."
        )
    text = "There are tasks enough: they stay where their data is cached or was read. "
    wait = view.settings.text("spark.locality.wait", "3s")
    if wait not in {"0", "0s", "0ms"}:
        text += f"A spark.locality.wait shorter than {wait} lets the others take them, and "
    return Advice(text=text + "repartition() spreads the data before it is persisted.")


def allocation_churn(view: View) -> Iterator[Finding]:
    """Executors that were sent away as idle, and others fetched soon after."""
    rows = [row for row in view.run.executors if not row.is_driver and row.added_ms is not None]
    sent = [row for row in rows if row.removed_ms and _IDLE.search(row.remove_reason or "")]
    if not view.settings.dynamic or not sent:
        return
    first = min(row.removed_ms or 0 for row in sent)
    back = [row for row in rows if (row.added_ms or 0) > first]
    lives = sorted(timeline.lifetime_s(row, view.run) for row in sent)
    life = lives[len(lives) // 2]
    pairs = min(len(back), len(sent))
    if pairs < limit("churn_returns") or life > limit("churn_life_s"):
        return
    seconds = _start_up_s(view, back)
    key = "spark.dynamicAllocation.executorIdleTimeout"
    now = view.settings.text(key, "60s")
    yield Finding(
        kind="allocation_churn",
        severity=view.severity(seconds),
        evidence=f"{len(sent)} executors were sent away as idle, {len(back)} fetched after that; "
        f"half of those sent away lived {life:.0f} s or less",
        advice=f"Keep them longer than {now}: a {key} above the pauses between jobs, or a "
        f"spark.dynamicAllocation.minExecutors of {_mean(view)}.",
        seconds=seconds,
        figures={"sent": len(sent), "fetched": len(back), "median_life_s": life},
    )


def _start_up_s(view: View, back: list[ExecutorMetrics]) -> float:
    """How long stages had fewer cores than at the peak, for some were still on their way."""
    peak = timeline.peak_cores(view.run)
    found = 0.0
    for stage in view.run.stages:
        begin = stage.submitted_ms
        span = timeline.working(stage)
        if begin is None or span is None or not peak:
            continue
        late = [row.added_ms or 0 for row in back if begin < (row.added_ms or 0) < span[1]]
        if late:
            lacking = 1 - view.cores_within((begin, max(late))) / peak
            found += max(0.0, lacking) * (max(late) - begin) / 1000
    return found


def _mean(view: View) -> int:
    held = timeline.core_seconds(view.run)
    each = max((row.cores for row in view.run.busy_rows), default=1)
    return max(1, round(held / each / view.duration_s)) if view.duration_s else 1


def missing_executors(view: View) -> Iterator[Finding]:
    """Fewer executors than were asked for, even at the most."""
    asked, came = view.settings.asked_executors, view.run.peak_executors
    if view.settings.local or asked is None or came >= asked or not view.run.complete:
        return
    work = sum(end - begin for begin, end in view.spans) / 1000
    seconds = work * (1 - came / asked)
    yield Finding(
        kind="missing_executors",
        severity="high" if came * 2 < asked else "medium",
        evidence=f"{asked} executors were asked for, at most {came} came",
        advice=_room(view, asked, came),
        seconds=seconds,
        figures={"asked": asked, "came": came},
    )


def _room(view: View, asked: int, came: int) -> str:
    from emrctl.aws import instance_types

    heap = view.settings.heap_mb
    overhead = view.settings.number("spark.executor.memoryOverhead")
    each = instance_types.container_mb(heap, overhead)
    cluster = view.run.cluster
    if cluster is not None and cluster.memory_total_mb:
        total = f"{cluster.memory_total_mb} MB on {len(cluster.nodes)} nodes"
        text = f"Each needs a container of {each} MB and YARN has {total}, the driver's included: "
    else:
        text = f"Each needs a container of {each} MB (heap {heap} MB and overhead) on one node: "
    return f"{text}ask for {max(came, 1)}, for smaller ones, or for more nodes than hold {asked}."


def memory_unused(view: View) -> Iterator[Finding]:
    """Heaps of which most was never used."""
    rows, heap = _measured(view)
    if not rows or view.run.disk_spilled_bytes or view.task_time_s < limit("heap_task_s"):
        return
    peak = max(row.peak_memory[_HEAP] for row in rows) / 2**20
    if peak > limit("heap_empty") * heap or heap - peak < limit("heap_worth_mb"):
        return
    wanted = max(1024, math.ceil(peak * 1.5 / 512) * 512)
    key = "spark.executor.memory"
    yield Finding(
        kind="memory_unused",
        severity="low",
        evidence=f"of {heap} MB of heap no executor used more than {peak:.0f} MB",
        advice=f"Set {key}={memory(wanted)}: more executors fit, or smaller nodes do.",
        figures={"heap_mb": heap, "peak_mb": round(peak)},
        settings={key: memory(wanted)},
    )


def memory_short(view: View) -> Iterator[Finding]:
    """Heaps that ran full: tasks died of it, or lived on garbage collection."""
    run, (rows, heap) = view.run, _measured(view)
    died = sum(
        count
        for stage in run.stages
        for cause, count in stage.failures.items()
        if "OutOfMemoryError" in cause
    )
    gone = [row for row in run.executors if _OUT_OF_MEMORY.search(row.remove_reason or "")]
    full = [row for row in rows if row.peak_memory[_HEAP] >= limit("heap_full") * heap * 2**20]
    strained = run.jvm_gc_time_ms >= limit("gc_share") * max(1, run.executor_run_time_ms)
    if not died and not gone and not (full and strained):
        return
    seconds = view.over_cores(
        sum(stage.failed_time_ms for stage in run.stages) if died or gone else 0
    )
    key = "spark.driver.memory" if view.settings.local else "spark.executor.memory"
    wanted = memory(view.settings.heap_mb * 2)
    parts = [f"{died} tasks died of OutOfMemoryError"] if died else []
    parts += [f"{len(gone)} executors ended out of memory (exit code 52)"] if gone else []
    parts += [f"{len(full)} heaps of {heap} MB ran full"] if full and strained else []
    yield Finding(
        kind="memory_short",
        severity="high" if died or gone else view.severity(seconds),
        evidence="; ".join(parts),
        advice=f"Set {key}={wanted}, or fewer cores to an executor, or smaller partitions.",
        seconds=seconds,
        stages=ids(stage for stage in run.stages if stage.tasks_failed),
        figures={"died": died, "executors": len(gone), "heap_mb": view.settings.heap_mb},
        settings={key: wanted},
    )


def _measured(view: View) -> tuple[list[ExecutorMetrics], int]:
    """Executors whose heap was measured, and the size of it in MB."""
    rows = [] if view.settings.local else _workers(view)
    return [row for row in rows if row.peak_memory.get(_HEAP)], view.settings.heap_mb


def container_killed(view: View) -> Iterator[Finding]:
    """Executors that the node or YARN killed for their memory."""
    run = view.run
    killed = [row for row in run.executors if _KILLED.search(row.remove_reason or "")]
    said = run.yarn.diagnostics if run.yarn and _KILLED.search(run.yarn.diagnostics) else ""
    if not killed and not said:
        return
    lost = [stage for stage in run.stages if "ExecutorLostFailure" in stage.failures]
    seconds = view.over_cores(sum(stage.failed_time_ms for stage in lost))
    key = "spark.executor.memoryOverhead"
    now = view.settings.mb(key, f"{max(384, int(0.1 * view.settings.heap_mb))}m")
    wanted = memory(now * 2)
    names = ", ".join(row.id for row in killed[:5]) or "the driver's"
    cores = max((row.cores for row in killed), default=1)
    where = f" while {named(lost)} ran" if lost else ""
    yield Finding(
        kind="container_killed",
        severity="high",
        evidence=f"containers killed (exit code 137): executors {names}{where}",
        advice=f"Set {key}={wanted}: Python's workers live there. "
        + (f"Or give an executor fewer than {cores} cores." if cores > 1 else ""),
        seconds=seconds,
        stages=ids(lost),
        figures={"executors": len(killed), "overhead_mb": now},
        settings={key: wanted},
    )
