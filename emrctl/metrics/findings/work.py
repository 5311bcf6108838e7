"""Rules about the work: driver, garbage collection, spill, files, repeated and failed work."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from emrctl.metrics import timeline
from emrctl.metrics.findings.base import (
    Advice,
    Finding,
    RunView,
    count_of,
    ids,
    limit,
    memory,
    size,
    stage_names,
)
from emrctl.metrics.findings.tasks import PARALLELISM, PARTITIONS
from emrctl.metrics.model import Reuse, SqlMetrics, StageMetrics

# In interactive sessions and query servers a pause is not work of the driver.
_INTERACTIVE = re.compile(r"shell|thrift|zeppelin|livy|notebook|jupyter|databricks", re.IGNORECASE)
# The second one if it was the stage's last task.
_LOST_RACE = ("TaskKilled another attempt succeeded", "TaskKilled Stage finished")


def driver_bound(view: RunView) -> Iterator[Finding]:
    """Time in which executors were running and no stage was."""
    run, total = view.run, view.duration_s
    names = (run.app_name or "", *(k for k in run.environment if "repl" in k or "databricks" in k))
    if not view.spans or run.end_ms is None or any(map(_INTERACTIVE.search, names)):
        return
    ready = _ready_ms(view)
    gaps = [(max(ready, begin), end) for begin, end in _gaps(view) if end > ready]
    seconds = sum(end - begin for begin, end in gaps) / 1000
    if seconds < limit("driver_least_s") or seconds < limit("driver_share") * total:
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
    return min(added, default=view.spans[0][0]) + round(1000 * limit("start_up_s"))


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


def gc(view: RunView) -> Iterator[Finding]:
    """Garbage collection that takes a large share of the task time."""
    run = view.run
    share = run.jvm_gc_time_ms / run.executor_run_time_ms if run.executor_run_time_ms else 0.0
    excess = run.jvm_gc_time_ms - limit("gc_normal") * run.executor_run_time_ms
    seconds = view.over_cores(excess)
    if share < limit("gc_share") or not view.is_significant(seconds):
        return
    worst = sorted(run.stages, key=lambda stage: -stage.jvm_gc_time_ms)[:3]
    key = "spark.driver.memory" if view.settings.local else "spark.executor.memory"
    wanted = memory(view.settings.heap_mb * 1.5)
    yield Finding(
        kind="gc",
        evidence=f"{share:.0%} of the tasks' run time was garbage collection, most in "
        f"{stage_names(worst)}",
        advice=f"Set {key}={wanted}, persist less (serialized or on disk), or use fewer cores per "
        "executor.",
        seconds=seconds,
        stages=ids(worst),
        figures={"gc_share": round(share, 3), "heap_mb": view.settings.heap_mb},
        settings={key: wanted},
    )


def spill(view: RunView) -> Iterator[Finding]:
    """Data that was spilled to disk while sorting or grouping."""
    run = view.run
    stages = [stage for stage in run.stages if stage.disk_spilled_bytes]
    if run.disk_spilled_bytes < limit("spill_bytes"):
        return
    # Written once and read once, on one disk per host.
    hosts = len({row.host for row in run.busy_rows}) or 1
    seconds = 2 * run.disk_spilled_bytes / limit("disk_bytes_s") / hosts
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
    if spread and spread.max > limit("skew_ratio") * max(1, spread.median):
        return Advice("Only some partitions spill: distribute the largest key first.")
    wanted = str(2 * stage.tasks)
    if not stage.shuffle_read_bytes:
        text = f"Split the input into {wanted} partitions, or give each executor more memory."
        return Advice(text)
    key = PARTITIONS if view.run.sql else PARALLELISM
    if view.settings.text(key) == wanted:
        return Advice(f"{key} is already {wanted}: give each executor more memory, or fewer cores.")
    return Advice(f"Set {key}={wanted}, or give each executor more memory.", {key: wanted})


def small_files(view: RunView) -> Iterator[Finding]:
    """Many small files, read or written."""
    for way in ("read", "written"):
        queries = [query for query in view.run.sql if _small(query, way)]
        files = sum(getattr(query, f"files_{way}") for query in queries)
        taken = sum(getattr(query, f"files_{way}_bytes") for query in queries)
        if files:
            yield _files(view, way, files, taken)
    if not any(query.files_read for query in view.run.sql):
        yield from _small_splits(view)


def _small(query: SqlMetrics, way: str) -> bool:
    files, taken = getattr(query, f"files_{way}"), getattr(query, f"files_{way}_bytes")
    return bool(files > limit("files") and taken / files < limit("file_bytes"))


def _small_splits(view: RunView) -> Iterator[Finding]:
    """Without SQL each file is at least one task."""
    stages = []
    for stage in view.completed:
        taken = stage.input_bytes_quantiles
        many = (
            stage.tasks_ok > limit("files") and stage.tasks_ok >= limit("many_tasks") * view.cores
        )
        if many and taken and 0 < taken.median < limit("file_bytes"):
            stages.append(stage)
    if stages:
        worst = max(stages, key=lambda stage: stage.tasks_ok)
        yield _files(view, "read", worst.tasks_ok, worst.input_bytes, stages)


def _files(
    view: RunView, way: str, files: int, taken: int, stages: list[StageMetrics] | None = None
) -> Finding:
    seconds = files * limit("file_open_s") / max(1.0, view.cores)
    wanted = max(1, round(taken / (128 * 2**20)))
    if way == "read":
        advice = f"Rewrite them once as {count_of(wanted, 'file')} of about 128 MB (Parquet)."
    else:
        advice = (
            f"Use coalesce({wanted}) before writing, or repartition by the partitionBy columns."
        )
    return Finding(
        kind="small_files",
        evidence=f"{files} files {way}, {size(taken)} in total, {size(taken / files)} each"
        + (f", in {stage_names(stages)}" if stages else ""),
        advice=advice,
        seconds=seconds,
        stages=ids(stages or ()),
        figures={"files": files, "bytes": taken},
    )


def wide_broadcast(view: RunView) -> Iterator[Finding]:
    """A large table that was broadcast to every executor."""
    largest = max(view.run.sql, key=lambda query: query.largest_broadcast_bytes, default=None)
    if largest is None:
        return
    sent, heap = largest.largest_broadcast_bytes, view.settings.heap_mb * 2**20
    wide = sent >= max(limit("broadcast_least"), limit("broadcast_heap") * heap)
    if sent < limit("broadcast_bytes") and not wide:
        return
    key = "spark.sql.autoBroadcastJoinThreshold"
    threshold = view.settings.text(key, "10MB")
    seconds = sent / limit("disk_bytes_s")
    yield Finding(
        kind="wide_broadcast",
        evidence=f"query {largest.id} broadcast a table of {size(sent)} to each executor, "
        f"which has {size(heap)} of heap",
        advice=f"{key} is {threshold}: lower it, or remove the broadcast hint, so that the tables "
        "are shuffled instead; select fewer columns before the join.",
        seconds=seconds,
        figures={"bytes": sent, "heap_bytes": heap},
    )


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


def failed_work(view: RunView) -> Iterator[Finding]:
    """Failed tasks and repeated stages, with their cost."""
    run = view.run
    again = [stage for stage in run.stages if stage.attempt]
    lost_ms = sum(stage.failed_time_ms for stage in run.stages)
    lost_ms += sum(stage.task_time_ms - stage.failed_time_ms for stage in again)
    finished = run.tasks_ok + run.tasks_failed
    significant = lost_ms >= limit("repeat_share") * view.task_time_s * 1000
    if not run.tasks_failed and not again:
        return
    if not (
        significant or run.jobs_failed or run.tasks_failed >= limit("failure_share") * finished
    ):
        return
    causes: Counter[str] = Counter()
    for stage in run.stages:
        causes.update({k: n for k, n in stage.failures.items() if not k.startswith("TaskKilled")})
    seconds = view.over_cores(lost_ms)
    shown = ", ".join(f"{count} x {cause}" for cause, count in causes.most_common(3))
    jobs = f"{run.jobs_failed} of {run.jobs} jobs failed; " if run.jobs_failed else ""
    hit = [stage for stage in run.stages if stage.tasks_failed or stage.attempt]
    yield Finding(
        kind="failed_work",
        severity="high" if run.jobs_failed else "",
        evidence=f"{jobs}{run.tasks_failed} of {finished} tasks failed "
        f"({shown or 'unknown cause'}), {len(again)} stage attempts were repeated, in "
        f"{stage_names(hit)}; {lost_ms / 1000:.1f} s of task time was lost",
        advice=_against_failure(causes),
        seconds=seconds,
        stages=ids(hit),
        figures={"tasks_failed": run.tasks_failed, "repeats": len(again), "lost_s": lost_ms / 1000},
    )


def _against_failure(causes: Counter[str]) -> str:
    first = causes.most_common(1)[0][0] if causes else ""
    if "OutOfMemory" in first or first.startswith("ExecutorLost"):
        return "Executors are lost: check their exit codes, memory and spot instances first."
    if first.startswith("FetchFailed"):
        return "Shuffle data is lost with its executors: keep the executors alive first."
    if "Python" in first:
        return "The Python code raises an exception: see the traceback in the run's logs."
    return "Find the exception in the run's logs; a permanent failure is retried 4 times in vain."


def fetch_failures(view: RunView) -> Iterator[Finding]:
    """Lost shuffle data, so that earlier stages were repeated."""
    hit = [stage for stage in view.run.stages if stage.failures.get("FetchFailed")]
    if not hit:
        return
    count = sum(stage.failures["FetchFailed"] for stage in hit)
    again = [stage for stage in view.run.stages if stage.attempt]
    seconds = view.over_cores(sum(stage.task_time_ms for stage in again))
    lost = sum(row.removed_ms is not None for row in view.run.executors)
    text, settings = _keep_shuffles(view)
    yield Finding(
        kind="fetch_failures",
        severity=max(view.severity(seconds), "medium", key=("low", "medium", "high").index),
        evidence=f"{count} fetches failed in {stage_names(hit)}; {len(again)} stage attempts were "
        f"repeated; {lost} executors were removed",
        advice=text,
        seconds=seconds,
        stages=ids([*hit, *again]),
        figures={"failures": count, "repeats": len(again), "executors_lost": lost},
        settings=settings,
    )


def _keep_shuffles(view: RunView) -> Advice:
    service, tracking = "spark.shuffle.service.enabled", "spark.dynamicAllocation.shuffleTracking"
    if view.settings.on(service):
        return Advice("Nodes are lost: use on-demand core nodes, and spot for task nodes only.")
    if view.settings.dynamic and not view.settings.on(f"{tracking}.enabled"):
        text = f"Set {service}=true: shuffle data then survives its executor."
        return Advice(text, {service: "true"})
    text = "Check why executors were removed: memory, spot instances. The external shuffle service "
    text += f"(on by default on EMR) keeps their data: {service}=true."
    return Advice(text, {service: "true"})


def speculation_waste(view: RunView) -> Iterator[Finding]:
    """Speculative copies that were killed."""
    hit = [stage for stage in view.completed if _killed_copies(stage)]
    count = sum(map(_killed_copies, hit))
    lost_ms = sum(stage.killed_time_ms for stage in hit)
    share = lost_ms / 1000 / view.task_time_s if view.task_time_s else 0.0
    if count < limit("speculation_least") or share < limit("speculation_share"):
        return
    seconds = view.over_cores(lost_ms)
    multiplier = view.settings.text("spark.speculation.multiplier", "1.5")
    yield Finding(
        kind="speculation_waste",
        evidence=f"{count} tasks were killed because another copy was faster, {share:.0%} of all "
        f"task time, in {stage_names(hit)}",
        advice=f"Start copies later: spark.speculation.multiplier above {multiplier}, or a higher "
        "spark.speculation.quantile. With skewed data copies are no faster.",
        seconds=seconds,
        stages=ids(hit),
        figures={"killed": count, "share": round(share, 3)},
    )


def _killed_copies(stage: StageMetrics) -> int:
    return sum(stage.failures.get(cause, 0) for cause in _LOST_RACE)
