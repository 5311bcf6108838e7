"""Rules about failed, repeated and lost work."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator

from emrctl.metrics import timeline
from emrctl.metrics.findings.base import (
    Advice,
    Finding,
    RunView,
    ids,
    stage_names,
)
from emrctl.metrics.model import ExecutorMetrics, StageMetrics

# The second one if it was the stage's last task.
_LOST_RACE = ("TaskKilled another attempt succeeded", "TaskKilled Stage finished")
# Reason of removal and advice by cause, the specific ones first.
_LOSSES = {
    "no heartbeat": (
        "heartbeat timed out",
        (
            "The executor was stopped or collected garbage for long: check its GC time, memory and "
            "disk; spark.network.timeout must exceed the longest pause."
        ),
    ),
    "preempted": (
        "preempt",
        "YARN gave the containers to another queue: raise the queue's capacity or its priority.",
    ),
    "decommissioned": (
        r"decommission|spot inst|instance terminat",
        (
            "Nodes were removed: keep core nodes on demand, use spot for task nodes only, and set "
            "spark.decommission.enabled so that data moves away before."
        ),
    ),
    "unhealthy node": (
        r"unhealthy|no space left|disk.{0,20}full|bad disk",
        (
            "The disks of the node are full or broken: larger volumes, or less shuffled and "
            "persisted data per node."
        ),
    ),
    "lost node": (
        r"(?:node|host|worker|slave|agent) (?:was )?lost|lost (?:node|worker)|disassociated",
        "The node or its connection was lost: see the state and the logs of the instance.",
    ),
}


def failed_work(view: RunView) -> Iterator[Finding]:
    """Failed tasks and repeated stages, with their cost."""
    run = view.run
    again = [stage for stage in run.stages if stage.attempt]
    lost_ms = sum(stage.failed_time_ms for stage in run.stages)
    lost_ms += sum(stage.task_time_ms - stage.failed_time_ms for stage in again)
    finished = run.tasks_ok + run.tasks_failed
    significant = lost_ms >= view.limit("repeat_share") * view.task_time_s * 1000
    if not run.tasks_failed and not again:
        return
    if not (
        significant or run.jobs_failed or run.tasks_failed >= view.limit("failure_share") * finished
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
    if count < view.limit("speculation_least") or share < view.limit("speculation_share"):
        return
    seconds = view.over_cores(lost_ms)
    default = "3" if view.settings.version >= (4, 0) else "1.5"
    multiplier = view.settings.text("spark.speculation.multiplier", default)
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


def lost_executors(view: RunView) -> Iterator[Finding]:
    """Executors that were lost, other than by their memory or as idle."""
    causes: defaultdict[str, list[str]] = defaultdict(list)
    for row in view.run.executors:
        for cause, (pattern, _) in _LOSSES.items():
            if re.search(pattern, row.remove_reason or "", re.IGNORECASE):
                causes[cause].append(row.id)
                break
    if not causes:
        return
    lost = [stage for stage in view.run.stages if "ExecutorLostFailure" in stage.failures]
    seconds = view.over_cores(sum(stage.failed_time_ms for stage in lost))
    main = max(causes, key=lambda cause: len(causes[cause]))
    parts = [f"{', '.join(names[:5])} ({cause})" for cause, names in causes.items()]
    yield Finding(
        kind="lost_executors",
        severity=max(view.severity(seconds), "medium", key=("low", "medium", "high").index),
        evidence=f"executors {'; '.join(parts)} were lost"
        + (f" while {stage_names(lost)} ran" if lost else ""),
        advice=_LOSSES[main][1],
        seconds=seconds,
        stages=ids(lost),
        figures={"executors": sum(map(len, causes.values()))},
    )


def excluded_executors(view: RunView) -> Iterator[Finding]:
    """Executors that got no more tasks because tasks failed on them."""
    hit = [row for row in view.run.executors if row.excluded]
    if not hit:
        return
    failed = sum(row.failed_tasks for row in hit)
    idle_s = sum(view.settings.slots(row.cores) * _unused_s(view, row) for row in hit)
    names = ", ".join(f"{row.id} on {row.host}" for row in hit[:5])
    yield Finding(
        kind="excluded_executors",
        severity="medium",
        evidence=f"executors {names} were excluded after {failed} failed tasks; their cores were "
        "idle from then on",
        advice="Find why tasks fail there and not elsewhere (disk, libraries of the node, memory): "
        "see the logs of these executors. If the code fails anywhere, exclusion only takes cores "
        "away: fix the code first.",
        seconds=min(idle_s / view.cores if view.cores else 0.0, view.duration_s),
        figures={"executors": len(hit), "failed_tasks": failed},
    )


def _unused_s(view: RunView, row: ExecutorMetrics) -> float:
    return max(0.0, timeline.lifetime_s(row, view.run) - row.task_time_ms / 1000)


def dropped_events(view: RunView) -> Iterator[Finding]:
    """Completed stages of which the log lacks successful tasks."""
    succeeded: Counter[int] = Counter()
    for stage in view.run.stages:
        succeeded[stage.id] += stage.tasks_ok
    last = {stage.id: stage for stage in view.completed}
    hit = [stage for stage in last.values() if succeeded[stage.id] < stage.tasks]
    declared = sum(stage.tasks for stage in last.values())
    missing = sum(stage.tasks - succeeded[stage.id] for stage in hit)
    if not missing:
        return
    key = "spark.scheduler.listenerbus.eventqueue.eventLog.capacity"
    default = view.settings.number("spark.scheduler.listenerbus.eventqueue.capacity") or 10_000
    now = view.settings.number(key) or default
    wanted = str(now * 10)
    yield Finding(
        kind="dropped_events",
        severity="medium" if missing >= view.limit("lost_share") * declared else "low",
        evidence=f"the log lacks {missing} of {declared} tasks of completed stages, in "
        f"{stage_names(hit)}: sums and findings are too low",
        advice=f"Spark drops events while the queue of its event log is full ({now} entries): set "
        f"{key}={wanted}, or run fewer and longer tasks. A cut or edited log lacks lines, too.",
        stages=ids(hit),
        figures={"missing": missing, "declared": declared},
        settings={key: wanted},
    )
