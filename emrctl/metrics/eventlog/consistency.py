"""What a log says against itself: lost, doubled and swapped lines show, though each is sound.

Spark's listener queue drops events when it is full, rolled files go missing and copies are cut
between two lines. An event log has no sequence numbers, but it says most things twice: what was
declared and what was seen, beginnings and ends, tasks' figures and their stage's own sums.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from emrctl.metrics.eventlog.state import DRIVERS, EventLogState
from emrctl.metrics.eventlog.tallies import OK, Columns, StageTally

_SHOWN = 5


class Doubt(NamedTuple):
    """One sentence; `harms` where no healthy log gives cause for it."""

    text: str
    harms: bool = True


def of(state: EventLogState) -> tuple[Doubt, ...]:
    """All doubts about what the log told, the gravest first."""
    found: list[Doubt] = []
    if state.end_ms is None:
        found.append(Doubt("the application's end is not in the log"))
    if state.malformed:
        found.append(Doubt(f"{state.malformed} events lack what their kind has"))
    found += _few(list(_lost_tasks(state)))
    found += [doubt._replace(harms=False) for doubt in _few(list(_other_sums(state)))]
    found += _unmatched(state)
    found += _executors(state)
    if state.end_ms is not None:
        found += _absent(state)
    return tuple(found)


def _few(found: list[str]) -> list[Doubt]:
    more = [f"and {len(found) - _SHOWN} stages more"] if len(found) > _SHOWN else []
    return [Doubt(text) for text in found[:_SHOWN] + more]


def _lost_tasks(state: EventLogState) -> Iterator[str]:
    """Stages that succeeded though fewer tasks are told of than were declared.

    A stage of several attempts may owe its success to tasks of an earlier one, so those are held
    against it together.
    """
    done: dict[int, int] = {}
    for (stage_id, _), stage in state.stages.items():
        done[stage_id] = done.get(stage_id, 0) + stage.ended[OK]
    for stage in state.stages.values():
        if stage.status == "COMPLETE" and done[stage.id] < stage.tasks:
            seen = done[stage.id]
            yield f"stage {stage.id}: {stage.tasks} tasks declared, {seen} seen to succeed"


def _other_sums(state: EventLogState) -> Iterator[str]:
    """Stages whose tasks do not add up to what Spark itself says of the stage."""
    for stage in state.stages.values():
        if stage.account is not None and _is_plain(stage):
            ours = dict(zip(Columns._fields, stage.sums, strict=True))
            for name, sum_ in ours.items():
                theirs = stage.account.get(name, 0)
                if sum_ != theirs:
                    yield f"stage {stage.id}: {name} adds up to {sum_}, Spark's sum is {theirs}"


def _is_plain(stage: StageTally) -> bool:
    """Whether every task was needed, and succeeded at once: only then are the sums one."""
    return (
        stage.status == "COMPLETE"
        and stage.attempt == 0
        and stage.ended == [stage.tasks, 0, 0]
        and stage.begun == stage.tasks
    )


def _unmatched(state: EventLogState) -> Iterator[Doubt]:
    """Beginnings without ends, ends without beginnings, and both twice."""
    tasks = state.tasks
    counts = {
        "tasks began twice": tasks.twice_begun,
        "tasks ended twice": tasks.twice_ended,
        "tasks ended that never began": tasks.unbegun,
        "tasks ended after their stage had": sum(s.late for s in state.stages.values()),
        "jobs began twice": state.twice["jobs"],
        "queries began twice": state.twice["queries"],
    }
    for text, count in counts.items():
        if count:
            yield Doubt(f"{count} {text}")
    # Logs are seen that lack the beginning of a job and are else whole.
    for name, count in state.unmatched.items():
        if count:
            yield Doubt(f"{count} {name} ended that never began", harms=False)
    if state.twice["executors"]:
        yield Doubt(f"{state.twice['executors']} executors came twice", harms=False)
    if state.end_ms is not None:
        yield from _unended(state)


def _unended(state: EventLogState) -> Iterator[Doubt]:
    """What was under way when the application ended: usual where it was stopped in the middle."""
    counts = {
        "tasks": state.tasks.unended,
        "stages": sum(stage.status == "ACTIVE" for stage in state.stages.values()),
        "jobs": sum(status == "RUNNING" for status in state.jobs.values()),
        "queries": sum(query.status == "RUNNING" for query in state.sql.values()),
    }
    for name, count in counts.items():
        if count:
            yield Doubt(f"{count} {name} began and have no end", harms=False)


def _executors(state: EventLogState) -> Iterator[Doubt]:
    """Executors that never came, and an order of theirs that is not that of their times."""
    workers = [row for row in state.executors.values() if row.id not in DRIVERS]
    strange = sum(not row.added for row in workers)
    if strange and _adds_executors(state):
        yield Doubt(f"{strange} executors ran that were never added")
    stayed = sum(row.forsaken and row.removed_ms is None for row in workers)
    if stayed:
        yield Doubt(f"{stayed} executors lost their block manager and have no end", harms=False)
    alive = most = 0
    for _, change in sorted(state.comings):
        alive += change
        most = max(most, alive)
    if most != state.peak_executors:
        yield Doubt(f"by their times there were {most} executors at once", harms=False)


def _adds_executors(state: EventLogState) -> bool:
    """Spark 1.3 was the first to log that executors come."""
    if any(row.added for row in state.executors.values()):
        return True
    found = re.match(r"(\d+)\.(\d+)", state.spark_version or "")
    return found is not None and (int(found[1]), int(found[2])) >= (1, 4)


def _absent(state: EventLogState) -> Iterator[Doubt]:
    """What every whole log has."""
    stages = {stage_id for stage_id, _ in state.stages}
    unclaimed = len(stages - state.declared_stages)
    skipped = max(state.jobs, default=-1) + 1 - len(state.jobs)
    unmanaged = sum(not row.managed for row in state.executors.values())
    undescribed = sum(not stage.described for stage in state.stages.values())
    checks = {
        "no line says Spark's version": state.spark_version is None,
        "no line tells of the environment": not state.environment,
        "no line tells of the application's start": state.start_ms is None,
        "no line tells of the driver": not DRIVERS & state.executors.keys(),
        f"{unclaimed} stages belong to no job of the log": unclaimed,
        f"{undescribed} stages are told of by their tasks alone": undescribed,
        f"{skipped} jobs before the last are not in the log": skipped > 0,
        f"{unmanaged} executors have no block manager": unmanaged,
    }
    for text, holds in checks.items():
        if holds:
            yield Doubt(text, harms=False)
