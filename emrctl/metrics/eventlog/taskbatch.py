"""Beginnings and ends of tasks, which are most of a log, taken into the tallies batch by batch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any, TypeVar, cast

import msgspec

from emrctl.metrics.eventlog import events
from emrctl.metrics.eventlog.state import EventLogState
from emrctl.metrics.eventlog.tallies import (
    FAILED,
    KILLED,
    OK,
    SUMS,
    Columns,
    ExecutorTally,
    StageTally,
)
from emrctl.metrics.model import TaskMetrics

T = TypeVar("T")
_OUTCOMES = {"Success": OK, "TaskKilled": KILLED, "TaskCommitDenied": KILLED}
_STATUSES = ("SUCCESS", "FAILED", "KILLED")
_RESUBMITTED = "Resubmitted"
_CAUSE_CHARS = 80
_BY_STAGE = attrgetter("stage", "attempt")
_BY_STAGE_AND_REASON = attrgetter("stage", "attempt", "reason.kind")
_BY_EXECUTOR = attrgetter("info.executor")
_BY_EXECUTOR_AND_REASON = attrgetter("info.executor", "reason.kind")


class TaskBatch:
    """Tasks that began or ended and are not in the tallies yet.

    What they add up to knows no order, so that each kind of sum goes over the batch by itself:
    that is faster than to take task after task.
    """

    def __init__(self, state: EventLogState, on_task: Callable[[TaskMetrics], None] | None) -> None:
        self.begun: list[events.TaskStart] = []
        self.ended: list[events.AnyTaskEnd] = []
        self._state = state
        self._on_task = on_task
        self._completed: list[StageTally] = []
        self._idle = msgspec.Raw(b"{}")

    def end_placed(self, event: events.PlacedTaskEnd) -> None:
        """The task's row goes on at once."""
        self.ended.append(event)
        if self._on_task is not None:
            self._on_task(_row(event))

    def close(self, stage: StageTally) -> None:
        """The stage is closed as soon as all of its tasks are in its tally."""
        self._completed.append(stage)

    def settle(self, *, at_least: int = 0) -> None:
        """Every event that was fed is in the tallies; a batch of fewer tasks may wait."""
        if max(len(self.ended), len(self.begun)) >= max(at_least, 1):
            self._settle_begun()
            self._settle_ended()
        if not (self.begun or self.ended):
            for stage in self._completed:
                stage.close()
            self._completed.clear()

    def _settle_begun(self) -> None:
        self._state.tasks.begin([event.info.id for event in self.begun])
        for key, begun in _grouped(self.begun, _BY_STAGE):
            self._state.stage(*key).begin([event.info.launched_ms for event in begun])
        for executor_id, begun in _grouped(self.begun, _BY_EXECUTOR):
            first_ms = min(event.info.launched_ms for event in begun)
            executor = self._state.executor(executor_id, first_ms)
            executor.started += len(begun)
            executor.running += len(begun)
        self.begun.clear()

    def _settle_ended(self) -> None:
        for (stage_id, attempt, reason), ended in _grouped(self.ended, _BY_STAGE_AND_REASON):
            self._end_in_stage(self._state.stage(stage_id, attempt), reason, ended)
        for (executor_id, reason), ended in _grouped(self.ended, _BY_EXECUTOR_AND_REASON):
            executor = self._state.executor(executor_id, ended[0].info.launched_ms)
            self._end_on_executor(executor, reason, ended)
        self.ended.clear()

    def _end_in_stage(
        self, stage: StageTally, reason: str, ended: Sequence[events.AnyTaskEnd]
    ) -> None:
        outcome = _OUTCOMES.get(reason, FAILED)
        stage.ended[outcome] += len(ended)
        if outcome != OK:
            for event in ended:
                stage.fail(_cause(event.reason))
        if reason == _RESUBMITTED:
            stage.resubmitted += len(ended)
            return
        self._state.tasks.end([event.info.id for event in ended])
        durations = _durations(ended)
        stage.time_ms[outcome] += sum(durations)
        measured = [event for event in ended if event.figures is not None]
        if measured:
            columns = Columns.of([cast("events.TaskFigures", e.figures) for e in measured])
            stage.add([sum(column) for column in columns])
            if outcome == OK:
                if len(measured) < len(ended):
                    durations = _durations(measured)
                stage.sample(durations, columns)
                stage.slowest.add(durations, measured)

    def _end_on_executor(
        self, executor: ExecutorTally, reason: str, ended: Sequence[events.AnyTaskEnd]
    ) -> None:
        outcome = _OUTCOMES.get(reason, FAILED)
        executor.end(outcome, len(ended), sum(_durations(ended)))
        self._keep_peaks(executor, ended)
        if reason != _RESUBMITTED:
            executor.running -= len(ended)
            executor.add([event.figures for event in ended if event.figures is not None])

    def _keep_peaks(self, executor: ExecutorTally, ended: Sequence[events.AnyTaskEnd]) -> None:
        """Most tasks are too short to be measured: their peaks are the same row of zeros."""
        idle = self._idle
        for raw in [event.peaks for event in ended if event.peaks != idle]:
            try:
                peaks = msgspec.json.decode(raw, type=dict[str, events.Whole] | None)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                self._state.malformed += 1
                continue
            if peaks and any(peaks.values()):
                executor.peak(peaks)
            else:
                self._idle = idle = raw.copy()


def _grouped(found: list[T], key: Callable[[T], Any]) -> Iterable[tuple[Any, list[T]]]:
    groups: defaultdict[Any, list[T]] = defaultdict(list)
    for at, event in zip(map(key, found), found, strict=True):
        groups[at].append(event)
    return groups.items()


def _durations(ended: Iterable[events.AnyTaskEnd]) -> list[int]:
    return [event.info.finished_ms - event.info.launched_ms for event in ended]


def _cause(reason: events.TaskReason) -> str:
    """Why a task did not succeed, in few words that others share."""
    said = reason.class_name or reason.kill.partition("\n")[0].partition(":")[0]
    return " ".join(filter(None, (reason.kind, said[:_CAUSE_CHARS])))


def _row(event: events.PlacedTaskEnd) -> TaskMetrics:
    """A row of the task table; a task without figures, or Resubmitted, has zeros."""
    info, reason = event.info, event.reason.kind
    figures = event.figures if event.figures is not None and reason != _RESUBMITTED else None
    columns = Columns.of([figures or events.TaskFigures()])
    return TaskMetrics(
        stage=event.stage,
        stage_attempt=event.attempt,
        id=info.id,
        index=info.index,
        attempt=info.attempt,
        executor=info.executor,
        host=info.host,
        locality=info.locality,
        speculative=info.speculative,
        status=_STATUSES[_OUTCOMES.get(reason, FAILED)],
        reason=reason,
        launched_ms=info.launched_ms,
        finished_ms=info.finished_ms,
        duration_ms=info.finished_ms - info.launched_ms,
        **{name: column[0] for name, column in zip(SUMS, columns, strict=True)},
    )
