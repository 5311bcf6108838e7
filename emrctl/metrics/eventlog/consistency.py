"""Checks that an event log agrees with itself, to detect lost, repeated and reordered lines.

Spark's listener queue drops events when it is full, rolled files get lost, and copies are cut at
line ends. Event logs have no sequence numbers but contain most facts twice: declared and actual
task counts, starts and ends, the metrics of tasks and Spark's own sums over a stage.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple

from emrctl.metrics.eventlog.state import DRIVER_IDS, EventLogState
from emrctl.metrics.eventlog.tallies import OK, ExecutorTally, StageTally
from emrctl.metrics.task_figures import NAMES

_MAX_STAGES = 5
Count = tuple[int, str]


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
        faults.append(Inconsistency(f"{state.malformed} events lack fields or have invalid ones"))
    faults += _first_stages(list(_missing_tasks(state)))
    faults += [item._replace(is_damage=False) for item in _first_stages(list(_wrong_sums(state)))]
    faults += [Inconsistency(f"{count} {text}") for count, text in _damage(state) if count]
    minor = [f"{count} {text}" for count, text in _unusual(state) if count]
    peak = _peak_by_time(state)
    if peak != state.peak_executors:
        by_order = state.peak_executors
        minor.append(f"by timestamps the peak is {peak} executors, by event order {by_order}")
    if state.end_ms is not None:
        minor += _missing_events(state)
    return (*faults, *(Inconsistency(text, is_damage=False) for text in minor))


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


def _damage(state: EventLogState) -> Iterator[Count]:
    ids, twice = state.task_ids, state.started_twice
    yield ids.started_twice, "tasks started twice"
    yield ids.ended_twice, "tasks ended twice"
    yield ids.ended_only, "tasks ended without a start"
    yield sum(stage.ended_late for stage in state.stages.values()), "tasks ended after their stage"
    yield twice["jobs"], "jobs started twice"
    yield twice["queries"], "queries started twice"
    if _logs_executors(state):
        not_added = sum(not row.was_added for row in _workers(state))
        yield not_added, "executors ran tasks but were not added"


def _unusual(state: EventLogState) -> Iterator[Count]:
    """Yield counts of what logs of aborted applications or old versions of Spark may have."""
    stages = state.stages.values()
    for name, count in state.ended_only.items():
        yield count, f"{name} ended without a start"
    yield state.started_twice["executors"], "executors were added twice"
    lost = sum(row.lost_block_manager and row.removed_ms is None for row in _workers(state))
    yield lost, "executors lost their block manager but were not removed"
    if state.end_ms is None:
        return
    yield state.task_ids.started_only, "tasks started without an end"
    active = sum(stage.status == "ACTIVE" for stage in stages)
    yield active, "stages started without an end"
    yield list(state.jobs.values()).count("RUNNING"), "jobs started without an end"
    running = sum(query.status == "RUNNING" for query in state.sql.values())
    yield running, "queries started without an end"
    without_job = len({stage.id for stage in stages} - state.job_of_stage.keys())
    yield without_job, "stages belong to no job in the log"
    yield sum(not stage.described for stage in stages), "stages have task events only"
    missing_jobs = max(state.jobs, default=-1) + 1 - len(state.jobs)
    yield max(missing_jobs, 0), "jobs before the last are missing"
    without_manager = sum(not row.has_block_manager for row in state.executors.values())
    yield without_manager, "executors have no block manager"


def _workers(state: EventLogState) -> list[ExecutorTally]:
    return [row for row in state.executors.values() if row.id not in DRIVER_IDS]


def _peak_by_time(state: EventLogState) -> int:
    return max(accumulate(change for _, change in sorted(state.executor_changes)), default=0)


def _logs_executors(state: EventLogState) -> bool:
    """Return whether this version of Spark logs added executors (Spark 1.4 or later)."""
    if any(row.was_added for row in state.executors.values()):
        return True
    version = re.match(r"(\d+)\.(\d+)", state.spark_version or "")
    return version is not None and (int(version[1]), int(version[2])) >= (1, 4)


def _missing_events(state: EventLogState) -> Iterator[str]:
    checks = {
        "LogStart event (Spark version)": state.spark_version is None,
        "EnvironmentUpdate event": not state.environment,
        "ApplicationStart event": state.start_ms is None,
        "event of the driver": not DRIVER_IDS & state.executors.keys(),
    }
    return (f"the log has no {name}" for name, missing in checks.items() if missing)
