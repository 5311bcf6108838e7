"""Rules about a stage's tasks: skew, stragglers, too few, too many."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from emrctl.metrics.findings.base import (
    Advice,
    Finding,
    RunView,
    count_of,
    ids,
    median,
    size,
    stage_names,
)
from emrctl.metrics.model import StageMetrics, Straggler

PARTITIONS, PARALLELISM = "spark.sql.shuffle.partitions", "spark.default.parallelism"


class _Case(NamedTuple):
    """An affected stage and the seconds that it loses."""

    stage: StageMetrics
    seconds: float


def _cases(
    view: RunView,
    stages: Iterable[StageMetrics],
    lost_s: Callable[[RunView, StageMetrics], float],
) -> list[_Case]:
    cases = (_Case(stage, lost_s(view, stage)) for stage in stages)
    return [case for case in cases if case.seconds > 0]


def skew(view: RunView) -> Iterator[Finding]:
    """Stages that wait for a few slow tasks, by their cause."""
    cases: dict[str, list[_Case]] = {}
    for stage in view.completed:
        if _is_skewed(view, stage):
            kind = _cause(view, stage)
            lost_s = _slow_s if kind == "slow_host" else waited_s
            cases.setdefault(kind, []).append(_Case(stage, lost_s(view, stage)))
    for kind, affected in cases.items():
        total = sum(case.seconds for case in affected)
        if view.is_significant(total):
            yield _skewed(view, kind, affected, total)


def _is_skewed(view: RunView, stage: StageMetrics) -> bool:
    times = stage.duration_ms_quantiles
    if times is None or not stage.stragglers or stage.tasks_ok < view.limit("skew_least_tasks"):
        return False
    return stage.stragglers[0].duration_ms >= view.limit("skew_ratio") * max(1, times.median)


def skewed_by_data(view: RunView, stage: StageMetrics) -> bool:
    """Return whether the stage waits for a partition that is larger than the others."""
    return _is_skewed(view, stage) and _cause(view, stage) == "data_skew"


def waited_s(view: RunView, stage: StageMetrics) -> float:
    """Return the loss by the slowest task: the stage waited for it while cores were idle."""
    times = stage.duration_ms_quantiles
    typical = times.p75 if times else 0
    return min((stage.stragglers[0].duration_ms - typical) / 1000, view.idle_s(stage))


def _slow_s(view: RunView, stage: StageMetrics) -> float:
    """Return the loss by tasks on a slow host, compared with the median."""
    typical_ms = median(stage.duration_ms_quantiles)
    excess = sum(task.duration_ms - typical_ms for task in stage.stragglers)
    return min(excess / max(1.0, view.cores_of(stage)) / 1000, view.wall_s(stage))


def _cause(view: RunView, stage: StageMetrics) -> str:
    slowest = stage.stragglers[0]
    excess = view.limit("cause_share") * (slowest.duration_ms - median(stage.duration_ms_quantiles))
    if slowest.gc_time_ms >= excess:
        return "gc_straggler"
    if slowest.fetch_wait_time_ms >= excess:
        return "fetch_straggler"
    if _data_ratio(stage, slowest) >= view.limit("skew_bytes_ratio"):
        return "data_skew"
    return "slow_host" if _on_one_host(view, stage) else "straggler"


def _data_ratio(stage: StageMetrics, task: Straggler) -> float:
    """Return the task's bytes read, or written to shuffle, as a multiple of the median task's."""
    read = median(stage.input_bytes_quantiles) + median(stage.shuffle_read_bytes_quantiles)
    written = median(stage.shuffle_write_bytes_quantiles)
    # An empty partition still has some bytes, which is no basis for a ratio.
    least = 1 << 16
    return max(
        task.read_bytes / max(read, least),
        (task.written_bytes / max(written, least)) if written else 0.0,
    )


def _on_one_host(view: RunView, stage: StageMetrics) -> bool:
    """Return whether most of the slow tasks ran on one executor or host.

    Most, since the first task on any executor is slow. False if a single task lost most of the
    time: its cause is not shared with the others.
    """
    if _is_one_task(view, stage):
        return False
    hosts = {row.id: row.host for row in view.run.busy_rows}
    groupings = [{name: name for name in hosts}]
    if len(set(hosts.values())) > 1:
        groupings.append(hosts)
    counts = [
        Counter(group.get(task.executor) for task in stage.stragglers).most_common(1)
        for group in groupings
    ]
    most = max((count for common in counts for _, count in common), default=0)
    enough = max(
        view.limit("slow_host_least"), view.limit("slow_host_share") * len(stage.stragglers)
    )
    return len(hosts) > 1 and most >= enough


def _is_one_task(view: RunView, stage: StageMetrics) -> bool:
    typical_ms = median(stage.duration_ms_quantiles)
    excess = [task.duration_ms - typical_ms for task in stage.stragglers]
    return excess[0] > view.limit("cause_share") * sum(excess)


def _skewed(view: RunView, kind: str, cases: list[_Case], seconds: float) -> Finding:
    worst = max(cases, key=lambda case: case.seconds).stage
    slowest, median_s = worst.stragglers[0], median(worst.duration_ms_quantiles) / 1000
    evidence = f"stage {worst.id} ({worst.name}): the slowest of {worst.tasks_ok} tasks took "
    evidence += f"{slowest.duration_ms / 1000:.1f} s, the median {median_s:.1f} s"
    advice = _against(kind, view, worst)
    return Finding(
        kind=kind,
        evidence=f"{evidence}; {_cause_text(kind, worst, slowest)}{_other_stages(cases)}",
        advice=advice.text,
        seconds=seconds,
        stages=ids(case.stage for case in cases),
        figures={
            "slowest_s": slowest.duration_ms / 1000,
            "median_s": median_s,
            "data_ratio": round(_data_ratio(worst, slowest), 2),
        },
        settings=advice.settings,
    )


def _cause_text(kind: str, stage: StageMetrics, task: Straggler) -> str:
    if kind == "gc_straggler":
        return f"{task.gc_time_ms / 1000:.1f} s of it garbage collection"
    if kind == "fetch_straggler":
        return f"{task.fetch_wait_time_ms / 1000:.1f} s of it waiting for shuffle data"
    if kind == "data_skew":
        ratio = _data_ratio(stage, task)
        processed = size(max(task.read_bytes, task.written_bytes))
        return f"it processed {processed}, {ratio:.0f} x the median"
    if kind == "slow_host":
        name, most = Counter(item.executor for item in stage.stragglers).most_common(1)[0]
        return f"{most} of the {len(stage.stragglers)} slowest ran on executor {name}"
    busy = task.cpu_time_ms / task.run_time_ms if task.run_time_ms else 0.0
    return f"its data, GC and fetch wait are like the others'; CPU time was {busy:.0%} of run time"


_ADVICE = {
    "gc_straggler": "Give each task a larger share of the {heap} MB heap: fewer cores per "
    "executor, or smaller partitions.",
    "fetch_straggler": "Check the host that serves the data: disk, network and lost executors. "
    "Fewer and larger shuffle blocks help.",
    "straggler": "Check that task's rows: an expensive case in the code, an external service, or a "
    "cold start on its host.",
}


def _against(kind: str, view: RunView, stage: StageMetrics) -> Advice:
    if kind == "data_skew":
        return _against_skew(view, stage)
    if kind == "slow_host":
        return _against_slow_host(view, stage)
    return Advice(_ADVICE[kind].format(heap=view.settings.heap_mb))


def _against_skew(view: RunView, stage: StageMetrics) -> Advice:
    if stage.input_bytes > stage.shuffle_read_bytes:
        return Advice(
            "Split the large input: repartition after reading, or use a splittable format."
        )
    if view.run.sql and not view.settings.adaptive and view.settings.version >= (3, 0):
        return Advice(
            "Set spark.sql.adaptive.enabled=true: Spark then splits skewed join partitions.",
            {"spark.sql.adaptive.enabled": "true"},
        )
    return Advice(
        text="Distribute the largest key: salt it and aggregate twice, filter it out early, or "
        "broadcast the other side of the join."
    )


def _against_slow_host(view: RunView, stage: StageMetrics) -> Advice:
    key = "spark.speculation"
    [(name, _)] = Counter(task.executor for task in stage.stragglers).most_common(1)
    host = {row.id: row.host for row in view.run.executors}.get(name, "")
    text = f"Check host {host}: disk, noisy neighbours, CPU credits."
    if view.settings.on(key):
        return Advice(f"{text} Speculation is already on: exclude the host.")
    return Advice(
        f"{text} spark.speculation=true runs copies of its slow tasks on other hosts.",
        {key: "true"},
    )


def few_partitions(view: RunView) -> Iterator[Finding]:
    """Stages with fewer tasks than cores, or with a nearly empty last wave."""
    cases = _cases(view, view.completed, _unfilled_s)
    total = sum(case.seconds for case in cases)
    if not view.is_significant(total):
        return
    worst = max(cases, key=lambda case: case.seconds).stage
    cores = round(view.cores_of(worst))
    advice = _more_tasks(view, worst, cores)
    yield Finding(
        kind="few_partitions",
        evidence=f"stage {worst.id} ({worst.name}) had {count_of(worst.tasks, 'task')} for {cores} "
        f"{view.slots} and took {view.wall_s(worst):.1f} s{_other_stages(cases)}",
        advice=advice.text,
        seconds=total,
        stages=ids(case.stage for case in cases),
        figures={"tasks": worst.tasks, "cores": cores},
        settings=advice.settings,
    )


def _other_stages(cases: list[_Case]) -> str:
    return f"; {count_of(len(cases) - 1, 'more stage')} affected" if len(cases) > 1 else ""


def _unfilled_s(view: RunView, stage: StageMetrics) -> float:
    times, cores = stage.duration_ms_quantiles, math.floor(view.cores_of(stage) + 0.1)
    if times is None or times.median < view.limit("worth_cutting_ms") or cores < 2:
        return 0.0
    if stage.tasks <= view.limit("few_share") * cores:
        return view.idle_s(stage)
    last = stage.tasks % cores
    even = times.max <= view.limit("even_ratio") * max(1, times.median)
    if stage.tasks <= view.limit("wave_tasks") * cores and 0 < last <= cores / 2 and even:
        return view.idle_s(stage)
    return 0.0


def _more_tasks(view: RunView, stage: StageMetrics, cores: int) -> Advice:
    wanted = str(2 * cores)
    if not stage.shuffle_read_bytes:
        if stage.input_bytes:
            text = (
                f"Split the input into {wanted} partitions or more: repartition after reading, or "
            )
            return Advice(text + "lower spark.sql.files.maxPartitionBytes.")
        return Advice(f"Use {wanted} partitions, a multiple of the {cores} {view.slots}.")
    if view.run.sql and view.settings.adaptive:
        key = "spark.sql.adaptive.coalescePartitions.initialPartitionNum"
        if (view.settings.number(PARTITIONS) or 200) > stage.tasks:
            text = "Adaptive execution or the job coalesced the partitions: remove coalesce(), or "
            return Advice(text + "lower spark.sql.adaptive.advisoryPartitionSizeInBytes.")
        settings = view.settings.differs({PARTITIONS: wanted})
        return Advice(f"Set {PARTITIONS}={wanted}, and leave {key} unset.", settings)
    key = PARTITIONS if view.run.sql else PARALLELISM
    settings = view.settings.differs({key: wanted})
    if not settings:
        return Advice(
            f"{key} is {wanted}, but the stage has {count_of(stage.tasks, 'task')}: check the "
            "code for a number of partitions or coalesce()."
        )
    return Advice(f"Set {key}={wanted}, a multiple of the {cores} {view.slots}.", settings)


def many_tasks(view: RunView) -> Iterator[Finding]:
    """Stages of tasks so short that scheduling takes longer than their work."""
    shuffled = [stage for stage in view.completed if stage.shuffle_read_bytes]
    others = [stage for stage in view.completed if not stage.shuffle_read_bytes]
    for kind, stages in (("many_partitions", shuffled), ("small_tasks", others)):
        cases = _cases(view, stages, _overhead_s)
        total = sum(case.seconds for case in cases)
        if view.is_significant(total):
            yield _too_many(view, kind, cases, total)


def _overhead_s(view: RunView, stage: StageMetrics) -> float:
    """Return the saving by fewer tasks: time in which launched tasks did not compute."""
    times, cores = stage.duration_ms_quantiles, view.cores_of(stage)
    if times is None or not cores or times.median >= view.limit("short_task_ms"):
        return 0.0
    if stage.tasks_ok < view.limit("many_tasks") * cores:
        return 0.0
    lost = max(0, stage.task_time_ms - stage.executor_run_time_ms) / cores / 1000
    # The driver launches tasks one after another, so cores are also idle between them.
    lost += view.idle_s(stage)
    return lost * (1 - 3 * cores / stage.tasks_ok)


def _too_many(view: RunView, kind: str, cases: list[_Case], seconds: float) -> Finding:
    worst = max(cases, key=lambda case: case.seconds).stage
    cores = round(view.cores_of(worst))
    median_ms = median(worst.duration_ms_quantiles)
    tasks = sum(case.stage.tasks_ok for case in cases)
    advice = _fewer_tasks(view, kind, worst, cores)
    return Finding(
        kind=kind,
        evidence=f"stage {worst.id} ({worst.name}): {worst.tasks_ok} tasks for {cores} "
        f"{view.slots}, median {median_ms} ms; {tasks} such tasks in "
        f"{stage_names(case.stage for case in cases)}",
        advice=advice.text,
        seconds=seconds,
        stages=ids(case.stage for case in cases),
        figures={"tasks": tasks, "cores": cores, "median_ms": median_ms},
        settings=advice.settings,
    )


def _fewer_tasks(view: RunView, kind: str, stage: StageMetrics, cores: int) -> Advice:
    wanted = str(3 * cores)
    if kind == "small_tasks":
        how = "larger files, or coalesce() after reading" if stage.input_bytes else "fewer slices"
        return Advice(f"Use about {wanted} partitions: {how}.")
    key = PARTITIONS if view.run.sql else PARALLELISM
    if (view.settings.number(key) or (200 if view.run.sql else 0)) == stage.tasks:
        return Advice(f"Set {key}={wanted}, 3 for each of the {cores} {view.slots}.", {key: wanted})
    return Advice(
        f"Pass about {wanted} partitions where the code shuffles, 3 for each of the {cores} "
        f"{view.slots}."
    )
