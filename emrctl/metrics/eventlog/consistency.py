"""Checks that an event log agrees with itself, to detect lost, repeated and reordered lines.

Spark's listener queue drops events when it is full, rolled files get lost, and copies are cut at
line ends. Event logs have no sequence numbers but contain most facts twice: declared and actual
task counts, starts and ends, the metrics of tasks and Spark's own sums over a stage.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from emrctl.metrics.eventlog.state import DRIVER_IDS, EventLogState
from emrctl.metrics.eventlog.tallies import OK, StageTally
from emrctl.metrics.task_figures import NAMES

_MAX_STAGES = 5


class Inconsistency(NamedTuple):
    """A sentence on what does not agree; `is_damage` if undamaged logs never have it."""

    text: str
    is_damage: bool = True


def check(state: EventLogState) -> tuple[Inconsistency, ...]:
    """Return the inconsistencies of a log, the most severe first."""
    faults: list[Inconsistency] = []
    if state.end_ms is None:
        faults.append(Inconsistency("the log has no ApplicationEnd event"))
    if state.malformed:
        faults.append(Inconsistency(f"{state.malformed} events lack required fields"))
    faults += _first_stages(list(_missing_tasks(state)))
    faults += [item._replace(is_damage=False) for item in _first_stages(list(_wrong_sums(state)))]
    faults += _unmatched_events(state)
    faults += _executors(state)
    if state.end_ms is not None:
        faults += _missing_events(state)
    return tuple(faults)


def _first_stages(texts: list[str]) -> list[Inconsistency]:
    more = len(texts) - _MAX_STAGES
    rest = [f"and {more} more stages"] if more > 0 else []
    return [Inconsistency(text) for text in texts[:_MAX_STAGES] + rest]


def _missing_tasks(state: EventLogState) -> Iterator[str]:
    """Yield completed stages with fewer successful tasks than declared.

    Successful tasks of earlier attempts count: a later attempt does not run them again.
    """
    succeeded: dict[int, int] = {}
    for (stage_id, _), stage in state.stages.items():
        succeeded[stage_id] = succeeded.get(stage_id, 0) + stage.ended[OK]
    for stage in state.stages.values():
        if stage.status == "COMPLETE" and succeeded[stage.id] < stage.tasks:
            count = f"{succeeded[stage.id]} of {stage.tasks}"
            yield f"stage {stage.id}: the log has {count} successful tasks"


def _wrong_sums(state: EventLogState) -> Iterator[str]:
    """Yield stages whose tasks do not add up to Spark's own sums."""
    for stage in state.stages.values():
        if stage.spark_sums is not None and _has_single_tasks(stage):
            for name, total in zip(NAMES, stage.sums, strict=True):
                expected = stage.spark_sums.get(name, 0)
                if total != expected:
                    yield f"stage {stage.id}: {name} of tasks is {total}, of the stage {expected}"


def _has_single_tasks(stage: StageTally) -> bool:
    """Return whether every task ran exactly once; only then are both sums equal."""
    return (
        stage.status == "COMPLETE"
        and stage.attempt == 0
        and stage.ended == [stage.tasks, 0, 0]
        and stage.started == stage.tasks
    )


def _unmatched_events(state: EventLogState) -> Iterator[Inconsistency]:
    """Yield starts without ends, ends without starts, and duplicates."""
    counts = {
        "tasks started twice": state.task_ids.started_twice,
        "tasks ended twice": state.task_ids.ended_twice,
        "tasks ended without a start": state.task_ids.ended_only,
        "tasks ended after their stage": sum(s.ended_late for s in state.stages.values()),
        "jobs started twice": state.started_twice["jobs"],
        "queries started twice": state.started_twice["queries"],
    }
    for text, count in counts.items():
        if count:
            yield Inconsistency(f"{count} {text}")
    # Some logs lack the start of a job and are otherwise undamaged.
    for name, count in state.ended_only.items():
        if count:
            yield Inconsistency(f"{count} {name} ended without a start", is_damage=False)
    if count := state.started_twice["executors"]:
        yield Inconsistency(f"{count} executors were added twice", is_damage=False)
    if state.end_ms is not None:
        yield from _without_end(state)


def _without_end(state: EventLogState) -> Iterator[Inconsistency]:
    """Yield starts without an end, which are normal if the application was stopped."""
    counts = {
        "tasks": state.task_ids.started_only,
        "stages": sum(stage.status == "ACTIVE" for stage in state.stages.values()),
        "jobs": sum(status == "RUNNING" for status in state.jobs.values()),
        "queries": sum(query.status == "RUNNING" for query in state.sql.values()),
    }
    for name, count in counts.items():
        if count:
            yield Inconsistency(f"{count} {name} started without an end", is_damage=False)


def _executors(state: EventLogState) -> Iterator[Inconsistency]:
    """Yield executors that were not added, not removed, or logged in another order."""
    workers = [row for row in state.executors.values() if row.id not in DRIVER_IDS]
    not_added = sum(not row.was_added for row in workers)
    if not_added and _logs_executors(state):
        yield Inconsistency(f"{not_added} executors ran tasks but were not added")
    lost = sum(row.lost_block_manager and row.removed_ms is None for row in workers)
    if lost:
        text = f"{lost} executors lost their block manager but were not removed"
        yield Inconsistency(text, is_damage=False)
    running = peak = 0
    for _, change in sorted(state.executor_changes):
        running += change
        peak = max(peak, running)
    if peak != state.peak_executors:
        text = f"by timestamps the peak is {peak} executors, by event order {state.peak_executors}"
        yield Inconsistency(text, is_damage=False)


def _logs_executors(state: EventLogState) -> bool:
    """Return whether this version of Spark logs added executors (Spark 1.4 or later)."""
    if any(row.was_added for row in state.executors.values()):
        return True
    version = re.match(r"(\d+)\.(\d+)", state.spark_version or "")
    return version is not None and (int(version[1]), int(version[2])) >= (1, 4)


def _missing_events(state: EventLogState) -> Iterator[Inconsistency]:
    """Yield the absence of events that every complete log has."""
    stage_ids = {stage_id for stage_id, _ in state.stages}
    without_job = len(stage_ids - state.stages_of_jobs)
    missing_jobs = max(state.jobs, default=-1) + 1 - len(state.jobs)
    without_manager = sum(not row.has_block_manager for row in state.executors.values())
    undescribed = sum(not stage.described for stage in state.stages.values())
    checks = {
        "the log has no LogStart event (Spark version)": state.spark_version is None,
        "the log has no EnvironmentUpdate event": not state.environment,
        "the log has no ApplicationStart event": state.start_ms is None,
        "the log has no event of the driver": not DRIVER_IDS & state.executors.keys(),
        f"{without_job} stages belong to no job in the log": without_job,
        f"{undescribed} stages have task events only": undescribed,
        f"{missing_jobs} jobs before the last are missing": missing_jobs > 0,
        f"{without_manager} executors have no block manager": without_manager,
    }
    for text, applies in checks.items():
        if applies:
            yield Inconsistency(text, is_damage=False)
