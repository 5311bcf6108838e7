"""Check of the savings that findings estimate: the run is replayed without what they found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from statistics import median

from emrctl.metrics.findings import Finding
from emrctl.metrics.limits import LIMITS
from emrctl.metrics.model import RunMetrics, StageMetrics
from emrctl.predict import schedule
from emrctl.predict.graph import StageWork, WorkGraph

# Returns the times of a stage's tasks without the finding; the number is that of task slots.
_Change = Callable[[StageWork, StageMetrics, int], list[float]]


def replayed(found: Iterable[Finding], run: RunMetrics, graph: WorkGraph) -> tuple[Finding, ...]:
    """Return the findings with `replayed_s`, where the replay can leave out what they found.

    It is the difference of two replays on the executors of the run, in seconds: with the observed
    tasks, and with those that remain. Work that only has to be distributed better (skew, number
    of partitions) is kept; waiting, collection and slow attempts are left out.
    """
    observed_s = schedule.replay(graph, graph.executors, graph.cores).wall_s
    stages = {(stage.id, stage.attempt): stage for stage in run.stages}
    return tuple(_replayed(item, stages, graph, observed_s) for item in found)


def _replayed(
    item: Finding,
    stages: Mapping[tuple[int, int], StageMetrics],
    graph: WorkGraph,
    observed_s: float,
) -> Finding:
    if item.kind in _STAGES:
        changed = _with_stages(item, stages, graph)
    elif item.kind in _GRAPHS:
        changed = _GRAPHS[item.kind](graph)
    else:
        return item
    without_s = schedule.replay(changed, graph.executors, graph.cores).wall_s
    return replace(item, replayed_s=max(0.0, observed_s - without_s))


def _with_stages(
    item: Finding, stages: Mapping[tuple[int, int], StageMetrics], graph: WorkGraph
) -> WorkGraph:
    """Return the graph with other tasks in the stages of the finding."""
    slots = graph.executors * max(graph.cores // graph.task_cpus, 1)
    change = _STAGES[item.kind]
    works = dict(graph.stages)
    for key, work in graph.stages.items():
        if key in stages and work.tasks_s and (not item.stages or key[0] in item.stages):
            works[key] = replace(work, tasks_s=change(work, stages[key], slots))
    return replace(graph, stages=works)


def _even(work: StageWork, _: StageMetrics, __: int) -> list[float]:
    """The same work, the same for every task."""
    count = len(work.tasks_s)
    return [sum(work.tasks_s) / count] * count


def _at_most_p75(work: StageWork, _: StageMetrics, __: int) -> list[float]:
    ordered = sorted(work.tasks_s)
    most = ordered[int(0.75 * len(ordered))]
    return [min(task_s, most) for task_s in work.tasks_s]


def _at_most_median(work: StageWork, _: StageMetrics, __: int) -> list[float]:
    most = median(work.tasks_s)
    return [min(task_s, most) for task_s in work.tasks_s]


def _more_tasks(work: StageWork, _: StageMetrics, slots: int) -> list[float]:
    return [sum(work.tasks_s) / (2 * slots)] * (2 * slots)


def _fewer_tasks(work: StageWork, stage: StageMetrics, slots: int) -> list[float]:
    """Return the run time without the overhead of the tasks, in three waves."""
    total_s = min(stage.executor_run_time_ms / 1000, sum(work.tasks_s))
    return [total_s / (3 * slots)] * (3 * slots)


def _less(share_of: Callable[[StageMetrics], float]) -> _Change:
    """Return a change that shortens every task by a share of the stage's run time."""

    def shorten(work: StageWork, stage: StageMetrics, _: int) -> list[float]:
        share = min(1.0, max(0.0, share_of(stage)))
        return [task_s * (1 - share) for task_s in work.tasks_s]

    return shorten


def _fetch_share(stage: StageMetrics) -> float:
    return stage.fetch_wait_time_ms / max(1, stage.executor_run_time_ms)


def _gc_share(stage: StageMetrics) -> float:
    share = stage.jvm_gc_time_ms / max(1, stage.executor_run_time_ms)
    return share - LIMITS["gc_normal"].value


_STAGES: dict[str, _Change] = {
    "data_skew": _even,
    "skew_not_split": _even,
    "straggler": _at_most_p75,
    "gc_straggler": _at_most_p75,
    "fetch_straggler": _at_most_p75,
    "slow_host": _at_most_median,
    "few_partitions": _more_tasks,
    "many_partitions": _fewer_tasks,
    "small_tasks": _fewer_tasks,
    "shuffle_bound": _less(_fetch_share),
    "gc": _less(_gc_share),
    "python_udf": _less(lambda _: LIMITS["python_saving"].value),
    "text_format": _less(lambda _: LIMITS["text_saving"].value),
}


def _at_once(graph: WorkGraph) -> WorkGraph:
    """Return the graph with all executors at the arrival of the first."""
    first = min(graph.arrivals_s, default=0.0)
    return replace(graph, allocation=None, arrivals_s=[first] * graph.executors)


def _no_wait(graph: WorkGraph) -> WorkGraph:
    """Return the graph with all executors from the start."""
    return replace(graph, allocation=None, arrivals_s=[0.0] * graph.executors)


def _no_driver(graph: WorkGraph) -> WorkGraph:
    """Return the graph without pauses of the driver, after the first job has started."""
    first = graph.jobs[:1]
    jobs = [*first, *(replace(job, delay_s=0.0) for job in graph.jobs[1:])]
    stages = {key: replace(stage, delay_s=0.0) for key, stage in graph.stages.items()}
    return replace(graph, jobs=jobs, stages=stages, tail_s=0.0)


_GRAPHS: dict[str, Callable[[WorkGraph], WorkGraph]] = {
    "slow_ramp": _at_once,
    "allocation_churn": _at_once,
    "cold_start": _no_wait,
    "driver_bound": _no_driver,
}
