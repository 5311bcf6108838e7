"""Adds starts and ends of tasks, the bulk of a log, to the tallies in batches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any, TypeVar

import msgspec

from emrctl.metrics.eventlog import task_events
from emrctl.metrics.eventlog.state import EventLogState
from emrctl.metrics.eventlog.tallies import (
    FAILED,
    KILLED,
    OK,
    ExecutorTally,
    StageTally,
    read_columns,
)
from emrctl.metrics.model import TaskMetrics
from emrctl.metrics.task_figures import NAMES

T = TypeVar("T")
_OUTCOMES = {"Success": OK, "TaskKilled": KILLED, "TaskCommitDenied": KILLED}
_STATUSES = ("SUCCESS", "FAILED", "KILLED")
_RESUBMITTED = "Resubmitted"
_MAX_CAUSE_CHARS = 80
_BY_STAGE = attrgetter("stage", "attempt")
_BY_STAGE_AND_REASON = attrgetter("stage", "attempt", "reason.kind")
_BY_EXECUTOR = attrgetter("info.executor")
_BY_EXECUTOR_AND_REASON = attrgetter("info.executor", "reason.kind")


class TaskBatch:
    """Task events that are not in the tallies yet.

    Sums do not depend on the order of tasks. One loop over the batch per sum is faster than one
    loop over all sums per task.
    """

    def __init__(self, state: EventLogState, on_task: Callable[[TaskMetrics], None] | None) -> None:
        self.started: list[task_events.TaskStart] = []
        self.ended: list[task_events.TaskEnd] = []
        self._state = state
        self._on_task = on_task
        self._completed: list[StageTally] = []
        self._zero_peaks = msgspec.Raw(b"{}")

    def add_detailed(self, event: task_events.DetailedTaskEnd) -> None:
        """Add an ended task and pass its row on."""
        self.ended.append(event)
        if self._on_task is not None:
            self._on_task(_task_row(event))

    def close_later(self, stage: StageTally) -> None:
        """Close the stage once all of its tasks are in its tally."""
        self._completed.append(stage)

    def flush(self, *, at_least: int = 0) -> None:
        """Add the batch to the tallies, unless it has fewer than `at_least` events."""
        if max(len(self.ended), len(self.started)) >= max(at_least, 1):
            self._flush_started()
            self._flush_ended()
        if not (self.started or self.ended):
            for stage in self._completed:
                stage.close()
            self._completed.clear()

    def _flush_started(self) -> None:
        self._state.task_ids.start([event.info.id for event in self.started])
        for key, tasks in _group(self.started, _BY_STAGE):
            self._state.stage(*key).start_tasks([event.info.launched_ms for event in tasks])
        for executor_id, tasks in _group(self.started, _BY_EXECUTOR):
            first_ms = min(event.info.launched_ms for event in tasks)
            executor = self._state.executor(executor_id, first_ms)
            executor.started += len(tasks)
            executor.running += len(tasks)
        self.started.clear()

    def _flush_ended(self) -> None:
        for (stage_id, attempt, reason), tasks in _group(self.ended, _BY_STAGE_AND_REASON):
            self._end_in_stage(self._state.stage(stage_id, attempt), reason, tasks)
        for (executor_id, reason), tasks in _group(self.ended, _BY_EXECUTOR_AND_REASON):
            executor = self._state.executor(executor_id, tasks[0].info.launched_ms)
            self._end_on_executor(executor, reason, tasks)
        self.ended.clear()

    def _end_in_stage(
        self, stage: StageTally, reason: str, tasks: Sequence[task_events.TaskEnd]
    ) -> None:
        outcome = _OUTCOMES.get(reason, FAILED)
        stage.ended[outcome] += len(tasks)
        if outcome != OK:
            for event in tasks:
                stage.count_failure(_cause(event.reason))
        if reason == _RESUBMITTED:
            stage.resubmitted += len(tasks)
            return
        self._state.task_ids.end([event.info.id for event in tasks])
        durations = _durations(tasks)
        stage.time_ms[outcome] += sum(durations)
        values = [event.values for event in tasks if event.values is not None]
        if not values:
            return
        columns = read_columns(values)
        stage.add_sums(columns)
        if outcome == OK:
            if len(values) < len(tasks):
                tasks = [event for event in tasks if event.values is not None]
                durations = _durations(tasks)
            stage.sample(durations, columns)
            stage.slowest.add(durations, tasks)

    def _end_on_executor(
        self, executor: ExecutorTally, reason: str, tasks: Sequence[task_events.TaskEnd]
    ) -> None:
        outcome = _OUTCOMES.get(reason, FAILED)
        executor.end_tasks(outcome, len(tasks), sum(_durations(tasks)))
        self._update_peaks(executor, tasks)
        if reason != _RESUBMITTED:
            executor.running -= len(tasks)
            executor.add_sums([event.values for event in tasks if event.values is not None])

    def _update_peaks(self, executor: ExecutorTally, tasks: Sequence[task_events.TaskEnd]) -> None:
        """Most tasks are too short to be measured: skip repetitions of the same zeros."""
        zeros = self._zero_peaks
        for raw in [event.peaks for event in tasks if event.peaks != zeros]:
            try:
                peaks = msgspec.json.decode(raw, type=dict[str, task_events.Whole] | None)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                self._state.malformed += 1
                continue
            if peaks and any(peaks.values()):
                executor.update_peaks(peaks)
            else:
                self._zero_peaks = zeros = raw.copy()


def _group(items: list[T], key: Callable[[T], Any]) -> Iterable[tuple[Any, list[T]]]:
    groups: defaultdict[Any, list[T]] = defaultdict(list)
    for group, item in zip(map(key, items), items, strict=True):
        groups[group].append(item)
    return groups.items()


def _durations(tasks: Iterable[task_events.TaskEnd]) -> list[int]:
    return [event.info.finished_ms - event.info.launched_ms for event in tasks]


def _cause(reason: task_events.TaskReason) -> str:
    """Return a short cause that similar failures share."""
    detail = reason.class_name or reason.kill.partition("\n")[0].partition(":")[0]
    return " ".join(filter(None, (reason.kind, detail[:_MAX_CAUSE_CHARS])))


def _task_row(event: task_events.DetailedTaskEnd) -> TaskMetrics:
    """Return the row of the task; figures are 0 without metrics and if it was resubmitted."""
    info, reason = event.info, event.reason.kind
    values = dict.fromkeys(NAMES, 0)
    if event.values is not None and reason != _RESUBMITTED:
        columns = read_columns([event.values])
        values = {name: column[0] for name, column in zip(NAMES, columns, strict=True)}
        values["deserialize_time_ms"] = event.values.deserialize_time_ms
        values["deserialize_cpu_time_ns"] = event.values.deserialize_cpu_time_ns
    fields: dict[str, Any] = msgspec.structs.asdict(info) | values
    return TaskMetrics(
        stage=event.stage,
        stage_attempt=event.attempt,
        status=_STATUSES[_OUTCOMES.get(reason, FAILED)],
        reason=reason,
        duration_ms=info.finished_ms - info.launched_ms,
        **fields,
    )
