"""Findings in the work itself: what was waited for, lost, repeated, or moved for nothing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from emrctl.metrics import timeline
from emrctl.metrics.findings.base import Finding, View, ids, many, memory, named, size
from emrctl.metrics.findings.limits import limit
from emrctl.metrics.findings.tasks import PARALLELISM, PARTITIONS
from emrctl.metrics.model import Reuse, SqlMetrics, StageMetrics

# Where somebody types, or a server waits for queries, silence is not the driver's work.
_INTERACTIVE = re.compile(r"shell|thrift|zeppelin|livy|notebook|jupyter|databricks", re.IGNORECASE)
# The second where it was the stage's last task.
_LOST_RACE = ("TaskKilled another attempt succeeded", "TaskKilled Stage finished")


def driver_bound(view: View) -> Iterator[Finding]:
    """Time in which executors were there and no stage ran."""
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
        severity=view.severity(seconds),
        evidence=f"for {seconds:.1f} of {total:.1f} s no task ran though executors were there; "
        f"the longest pause took {longest:.1f} s, {_before(view, gaps)}",
        advice="Find what the driver does then: collect() and pandas on large data, files read or "
        "written by the driver, jobs one after another that threads could submit at once.",
        seconds=seconds,
        figures={"driver_s": seconds, "longest_s": longest, "pauses": len(gaps)},
    )


def _ready_ms(view: View) -> int:
    """When the first executor was there, and the session set up: so long it only starts."""
    added = [row.added_ms for row in view.run.busy_rows if row.added_ms is not None]
    return min(added, default=view.spans[0][0]) + round(1000 * limit("start_up_s"))


def _gaps(view: View) -> list[timeline.Span]:
    """Pauses between stages, the first and the last of the run among them.

    A stage that was submitted and has no task yet waits for executors, not for the driver.
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


def _before(view: View, gaps: list[timeline.Span]) -> str:
    """Which stage followed the longest pause."""
    _, end = max(gaps, key=lambda gap: gap[1] - gap[0])
    following = [
        s for s in view.run.stages if s.first_task_ms is not None and s.first_task_ms >= end
    ]
    if not following:
        return "at the end"
    first = min(following, key=lambda stage: stage.first_task_ms or 0)
    return f"before stage {first.id} ({first.name})"


def gc(view: View) -> Iterator[Finding]:
    """Garbage collection that takes a good part of the tasks' time."""
    run = view.run
    share = run.jvm_gc_time_ms / run.executor_run_time_ms if run.executor_run_time_ms else 0.0
    spare = run.jvm_gc_time_ms - limit("gc_normal") * run.executor_run_time_ms
    seconds = view.over_cores(spare)
    if share < limit("gc_share") or not view.worth(seconds):
        return
    worst = sorted(run.stages, key=lambda stage: -stage.jvm_gc_time_ms)[:3]
    key = "spark.driver.memory" if view.settings.local else "spark.executor.memory"
    wanted = memory(view.settings.heap_mb * 1.5)
    yield Finding(
        kind="gc",
        severity=view.severity(seconds),
        evidence=f"{share:.0%} of the tasks' run time was garbage collection, most in "
        f"{named(worst)}",
        advice=f"Set {key}={wanted}, or persist less, serialised or on disk, or give an executor "
        "fewer cores.",
        seconds=seconds,
        stages=ids(worst),
        figures={"gc_share": round(share, 3), "heap_mb": view.settings.heap_mb},
        settings={key: wanted},
    )


def spill(view: View) -> Iterator[Finding]:
    """Data that was sorted or grouped by way of the disk."""
    run = view.run
    stages = [stage for stage in run.stages if stage.disk_spilled_bytes]
    if run.disk_spilled_bytes < limit("spill_bytes"):
        return
    # Written once and read once, by as many disks as there are hosts.
    hosts = len({row.host for row in run.busy_rows}) or 1
    seconds = 2 * run.disk_spilled_bytes / limit("disk_bytes_s") / hosts
    if not view.worth(seconds):
        return
    worst = max(stages, key=lambda stage: stage.disk_spilled_bytes)
    text, settings = _against_spill(view, worst)
    yield Finding(
        kind="spill",
        severity=view.severity(seconds),
        evidence=f"{size(run.disk_spilled_bytes)} went to disk, {size(run.memory_spilled_bytes)} "
        f"as it was in memory, most in stage {worst.id} ({worst.name}), "
        f"{many(worst.tasks, 'task')}",
        advice=text,
        seconds=seconds,
        stages=ids(stages),
        figures={"disk_bytes": run.disk_spilled_bytes, "memory_bytes": run.memory_spilled_bytes},
        settings=settings,
    )


def _against_spill(view: View, stage: StageMetrics) -> tuple[str, dict[str, str]]:
    spread = stage.memory_spilled_bytes_quantiles
    if spread and spread.max > limit("skew_ratio") * max(1, spread.median):
        return "Only some partitions spill: spread the largest key before anything else.", {}
    wanted = str(2 * stage.tasks)
    if not stage.shuffle_read_bytes:
        return f"Cut the input into {wanted} partitions, or give each executor more memory.", {}
    key = PARTITIONS if view.run.sql else PARALLELISM
    if view.settings.text(key) == wanted:
        return f"{key} is {wanted} already: give each executor more memory, or fewer cores.", {}
    return f"Set {key}={wanted}, or give each executor more memory.", {key: wanted}


def small_files(view: View) -> Iterator[Finding]:
    """Many files of which each holds little, read or written."""
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


def _small_splits(view: View) -> Iterator[Finding]:
    """Without SQL each file is a task at the least."""
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
    view: View, way: str, files: int, taken: int, stages: list[StageMetrics] | None = None
) -> Finding:
    seconds = files * limit("file_open_s") / max(1.0, view.cores)
    wanted = max(1, round(taken / (128 * 2**20)))
    if way == "read":
        advice = (
            f"Write them as {many(wanted, 'file')} of about 128 MB (Parquet) once, and read those."
        )
    else:
        advice = f"coalesce({wanted}) before writing, or repartition by the columns of partitionBy."
    return Finding(
        kind="small_files",
        severity=view.severity(seconds),
        evidence=f"{files} files {way}, {size(taken)} in all, {size(taken / files)} each"
        + (f", in {named(stages)}" if stages else ""),
        advice=advice,
        seconds=seconds,
        stages=ids(stages or ()),
        figures={"files": files, "bytes": taken},
    )


def wide_broadcast(view: View) -> Iterator[Finding]:
    """A table that went whole to every executor though it is large."""
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
        severity=view.severity(seconds),
        evidence=f"query {largest.id} sent a table of {size(sent)} to each executor, whose heap "
        f"is {size(heap)}",
        advice=f"{key} is {threshold}: lower it, or take the broadcast hint away, and the tables "
        "are shuffled instead; select fewer columns before the join.",
        seconds=seconds,
        figures={"bytes": sent, "heap_bytes": heap},
    )


def uncached_reuse(view: View) -> Iterator[Finding]:
    """An RDD that several stages made anew, each for itself."""
    found = [reuse for reuse in view.run.reuses if _worth_keeping(reuse)]
    if not found:
        return
    first = found[0]
    seconds = view.over_cores(first.repeated_time_ms)
    if not view.worth(seconds):
        return
    read = f", {size(first.repeated_input_bytes)} read again" if first.repeated_input_bytes else ""
    called = f" ({first.name})" if first.name else ""
    shown = ", ".join(map(str, first.stages[:5])) + (" …" if first.times > 5 else "")
    yield Finding(
        kind="uncached_reuse",
        severity=view.severity(seconds),
        evidence=f"RDD {first.rdd}{called} was made anew by {first.times} stages ({shown}): "
        f"{'; '.join(first.names[:3])}{read}",
        advice="persist() what these stages share before the first of them, and unpersist() it "
        "after the last.",
        seconds=seconds,
        stages=first.stages,
        figures={"times": first.times, "input_bytes": first.repeated_input_bytes},
    )


def _worth_keeping(reuse: Reuse) -> bool:
    """What was read again, or was computed: of a list in the driver's memory nothing is gained.

    Different work over one source shares only the reading of it; the same line of code, run again
    over it, shares all.
    """
    same = len(reuse.names) < reuse.times
    return reuse.repeated_input_bytes > 0 or (same and not reuse.is_source)


def failed_work(view: View) -> Iterator[Finding]:
    """Tasks that failed and stages that were done again, with their price."""
    run = view.run
    again = [stage for stage in run.stages if stage.attempt]
    lost_ms = sum(stage.failed_time_ms for stage in run.stages)
    lost_ms += sum(stage.task_time_ms - stage.failed_time_ms for stage in again)
    ended = run.tasks_ok + run.tasks_failed
    much = lost_ms >= limit("repeat_share") * view.task_time_s * 1000
    if not run.tasks_failed and not again:
        return
    if not (much or run.jobs_failed or run.tasks_failed >= limit("failure_share") * ended):
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
        severity="high" if run.jobs_failed else view.severity(seconds),
        evidence=f"{jobs}{run.tasks_failed} of {ended} tasks failed "
        f"({shown or 'no cause told'}), {len(again)} stage attempts were repeats, in {named(hit)}; "
        f"{lost_ms / 1000:.1f} s of task time came to nothing",
        advice=_against_failure(causes),
        seconds=seconds,
        stages=ids(hit),
        figures={"tasks_failed": run.tasks_failed, "repeats": len(again), "lost_s": lost_ms / 1000},
    )


def _against_failure(causes: Counter[str]) -> str:
    first = causes.most_common(1)[0][0] if causes else ""
    if "OutOfMemory" in first or first.startswith("ExecutorLost"):
        return "Executors are lost: see what they end with, memory and spot instances first."
    if first.startswith("FetchFailed"):
        return "Shuffled data is lost with its executors: keep those alive first."
    if "Python" in first:
        return "The Python code raises: the run's logs have its traceback."
    return "Find the exception in the run's logs; what always fails is retried 4 times for nothing."


def fetch_failures(view: View) -> Iterator[Finding]:
    """Shuffled data that was gone, so that stages before were done again."""
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
        evidence=f"{count} fetches failed in {named(hit)}; {len(again)} stage attempts were done "
        f"again; {lost} executors went away",
        advice=text,
        seconds=seconds,
        stages=ids([*hit, *again]),
        figures={"failures": count, "repeats": len(again), "executors_lost": lost},
        settings=settings,
    )


def _keep_shuffles(view: View) -> tuple[str, dict[str, str]]:
    service, tracking = "spark.shuffle.service.enabled", "spark.dynamicAllocation.shuffleTracking"
    if view.settings.on(service):
        return "The nodes themselves go: core nodes on demand, spot for task nodes only.", {}
    if view.settings.dynamic and not view.settings.on(f"{tracking}.enabled"):
        return f"Set {service}=true: data then outlives its executor.", {service: "true"}
    text = "See why executors went: memory, spot instances. The external shuffle service, which "
    return f"{text}EMR has on, keeps their data ({service}=true).", {service: "true"}


def speculation_waste(view: View) -> Iterator[Finding]:
    """Copies of tasks that lost their race."""
    hit = [stage for stage in view.completed if _lost_races(stage)]
    count = sum(map(_lost_races, hit))
    lost_ms = sum(stage.killed_time_ms for stage in hit)
    share = lost_ms / 1000 / view.task_time_s if view.task_time_s else 0.0
    if count < limit("speculation_least") or share < limit("speculation_share"):
        return
    seconds = view.over_cores(lost_ms)
    multiplier = view.settings.text("spark.speculation.multiplier", "1.5")
    yield Finding(
        kind="speculation_waste",
        severity=view.severity(seconds),
        evidence=f"{count} tasks were killed as another copy of them was faster, {share:.0%} of "
        f"all task time, in {named(hit)}",
        advice=f"Copy later: a spark.speculation.multiplier above {multiplier}, a higher "
        "spark.speculation.quantile; where the data is skewed, copies are no faster.",
        seconds=seconds,
        stages=ids(hit),
        figures={"killed": count, "share": round(share, 3)},
    )


def _lost_races(stage: StageMetrics) -> int:
    return sum(stage.failures.get(cause, 0) for cause in _LOST_RACE)
