"""The events of one application, replayed into `RunMetrics` as Spark's own history server would.

The rules are those of Spark's AppStatusListener (3.5): sums take a task's metrics when it ends,
whatever its end; TaskKilled and TaskCommitDenied are killed; Resubmitted, a second end of a task
whose output was lost, is one more failed task and nothing else; ends of jobs that never began are
passed over.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, TypeVar, cast

import msgspec

from emrctl.metrics import doubts, events, redact
from emrctl.metrics.model import RunMetrics, SqlMetrics, TaskMetrics
from emrctl.metrics.tallies import (
    FAILED,
    KILLED,
    OK,
    Columns,
    ExecutorTally,
    StageTally,
)
from emrctl.metrics.taskbook import TaskBook

Event = dict[str, Any]
T = TypeVar("T")
_OUTCOMES = {"Success": OK, "TaskKilled": KILLED, "TaskCommitDenied": KILLED}
_STATUSES = ("SUCCESS", "FAILED", "KILLED")
_RESUBMITTED = "Resubmitted"
_DRIVERS = frozenset({"driver", "<driver>"})
_SQL_ID = "spark.sql.execution.id"
_OF_EXECUTORS = frozenset(
    f"SparkListener{name}"
    for name in ("ExecutorAdded", "ExecutorRemoved", "BlockManagerAdded", "StageExecutorMetrics")
)
_IDLE = msgspec.Raw(b"{}")


class Replay:
    """The state of one application; feed it events in order, then ask for `metrics`.

    Ends of tasks wait in batches until `settle`: what they add up to knows no order.
    """

    def __init__(self, on_task: Callable[[TaskMetrics], None] | None = None) -> None:
        self.app: dict[str, Any] = {}
        self.spark_version: str | None = None
        self.start_ms: int | None = None
        self.end_ms: int | None = None
        self.environment: dict[str, str] = {}
        self.stages: dict[tuple[int, int], StageTally] = {}
        self.declared_stages: set[int] = set()
        self.executors: dict[str, ExecutorTally] = {}
        self.jobs: dict[int, str] = {}
        self.sql: dict[int, SqlMetrics] = {}
        self.tasks = TaskBook()
        self.peak_executors = 0
        self.malformed = 0
        self.notes: list[str] = []
        self.comings: list[tuple[int, int]] = []
        self.unmatched = {"jobs": 0, "queries": 0, "executors": 0}
        self.twice = {"jobs": 0, "queries": 0, "executors": 0}
        self.decode = events.decode if on_task is None else events.decode_placed
        self._on_task = on_task
        self._live: set[str] = set()
        self._job_sql: dict[int, int] = {}
        self._sql_failed: set[int] = set()
        self._rollover: int | None = None
        self._secrets = redact.Secrets()
        self._begun: list[events.TaskStart] = []
        self._ended: list[events.AnyTaskEnd] = []
        self._completed: list[StageTally] = []
        self._idle = _IDLE
        self._handlers = self._table()
        #: What takes over an event of each of the kinds that make up most of a log.
        self.typed = self._typed_table()

    def _typed_table(self) -> dict[type, Callable[[Any], None]]:
        return {
            events.TaskStart: self._begun.append,
            events.TaskEnd: self._ended.append,
            events.PlacedTaskEnd: self._placed_task_end,
            events.JobStart: self._job_start,
            events.StageSubmitted: self._stage_submitted,
            events.StageCompleted: self._stage_completed,
            events.SqlStart: self._sql_start,
            events.SqlPlanChanged: _nothing,
            events.SqlMetricsChanged: _nothing,
            events.DriverAccumulables: _nothing,
        }

    def _table(self) -> dict[str, Callable[[Event], None]]:
        table: dict[str, Callable[[Event], None]] = {
            "LogStart": self._log_start,
            "ApplicationStart": self._application_start,
            "ApplicationEnd": self._application_end,
            "EnvironmentUpdate": self._environment,
            "ExecutorAdded": self._executor_added,
            "ExecutorRemoved": self._executor_removed,
            "BlockManagerAdded": self._block_manager,
            "BlockManagerRemoved": self._block_manager_removed,
            "BlockUpdated": self._block,
            "UnpersistRDD": self._unpersist,
            "StageExecutorMetrics": self._executor_peaks,
            "JobEnd": self._job_end,
        }
        handlers = {f"SparkListener{name}": handler for name, handler in table.items()}
        sql = "org.apache.spark.sql.execution.ui.SparkListenerSQLExecution"
        handlers[f"{sql}End"] = self._sql_end
        for word, flag in _EXCLUSIONS.items():
            for prefix in ("SparkListener", "org.apache.spark.scheduler.SparkListener"):
                handlers[f"{prefix}Executor{word}"] = partial(self._exclude_one, flag)
                handlers[f"{prefix}Node{word}"] = partial(self._exclude_host, flag)
        handlers["DBCEventLoggingListenerMetadata"] = self._databricks
        return handlers

    def feed(self, event: Event) -> None:
        """Take over one event; one that lacks what its kind must have is counted, not raised."""
        try:
            kind = event["Event"]
            if kind in events.TYPED:
                # Lone surrogates, which only Java writes, are no UTF-8.
                line = json.dumps(event, ensure_ascii=False).encode(errors="replace")
                typed = self.decode(line)
                self.typed[type(typed)](typed)
                return
            handler = self._handlers.get(kind)
            if handler is not None:
                if kind in _OF_EXECUTORS:
                    self.settle()  # their tasks make executors too
                handler(event)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            self.malformed += 1

    # The application

    def _log_start(self, event: Event) -> None:
        self.spark_version = event["Spark Version"]

    def _application_start(self, event: Event) -> None:
        if self.app and self.app != event:
            self.notes.append("the log holds a second application or attempt")
        self.start_ms = int(event["Timestamp"])
        self.app = event

    def _application_end(self, event: Event) -> None:
        self.end_ms = int(event["Timestamp"])

    def _environment(self, event: Event) -> None:
        properties = {str(k): str(v) for k, v in dict(event["Spark Properties"]).items()}
        for section in event.values():
            if isinstance(section, dict):
                self._secrets.learn(section)
        self.environment = redact.redacted(properties)

    def _databricks(self, event: Event) -> None:
        self._log_start(event)
        number = event.get("Rollover Number")
        if isinstance(number, int):
            expected = 0 if self._rollover is None else self._rollover + 1
            if number > expected:
                self.notes.append(f"Databricks' part {expected} is missing")
            self._rollover = number

    # Executors

    def _executor(self, executor_id: str, time_ms: int | None) -> ExecutorTally:
        found = self.executors.get(executor_id)
        if found is None:
            found = self.executors[executor_id] = ExecutorTally(executor_id, time_ms)
        elif time_ms is not None and not found.added:
            found.added_ms = min(time_ms, found.added_ms or time_ms)
        return found

    def _executor_added(self, event: Event) -> None:
        executor_id, info, time_ms = (
            event["Executor ID"],
            event["Executor Info"],
            event["Timestamp"],
        )
        host, cores = str(info["Host"]), int(info["Total Cores"])
        executor = self._executor(executor_id, int(time_ms))
        if executor.added:
            self.twice["executors"] += 1
        else:
            executor.added_ms = int(time_ms)
        executor.host, executor.cores, executor.added = host, cores, True
        executor.removed_ms = executor.reason = None
        if executor_id not in _DRIVERS:
            if executor_id not in self._live:
                self.comings.append((int(time_ms), 1))
            self._live.add(executor_id)
            self.peak_executors = max(self.peak_executors, len(self._live))

    def _executor_removed(self, event: Event) -> None:
        executor_id, time_ms = event["Executor ID"], int(event["Timestamp"])
        executor = self.executors.get(executor_id)
        if executor_id in self._live:
            self._live.discard(executor_id)
            self.comings.append((time_ms, -1))
        elif executor is None or not executor.added:
            self.unmatched["executors"] += 1
        if executor is not None:
            executor.removed_ms = time_ms
            executor.reason = event.get("Removed Reason")
            executor.blocks.clear()

    def _block_manager(self, event: Event) -> None:
        manager, memory = event["Block Manager ID"], int(event["Maximum Memory"])
        host, time_ms = str(manager["Host"]), event.get("Timestamp")
        # Spark before 1.4 wrote no time.
        time_ms = None if time_ms is None else int(time_ms)
        executor = self._executor(manager["Executor ID"], time_ms)
        executor.host = executor.host or host
        executor.storage_total_bytes = memory
        executor.managed = True

    def _block_manager_removed(self, event: Event) -> None:
        executor = self.executors.get(event["Block Manager ID"]["Executor ID"])
        if executor is not None:
            executor.forsaken = True

    def _block(self, event: Event) -> None:
        info = event["Block Updated Info"]
        executor = self.executors.get(info["Block Manager ID"]["Executor ID"])
        name, level = info["Block ID"], info["Storage Level"]
        if executor is None or not name.startswith("rdd_"):
            return
        if level["Use Memory"] or level["Use Disk"]:
            executor.blocks[name] = (info["Memory Size"], info["Disk Size"])
        else:
            executor.blocks.pop(name, None)

    def _unpersist(self, event: Event) -> None:
        prefix = f"rdd_{event['RDD ID']}_"
        for executor in self.executors.values():
            for name in [name for name in executor.blocks if name.startswith(prefix)]:
                del executor.blocks[name]

    def _executor_peaks(self, event: Event) -> None:
        executor = self.executors.get(event["Executor ID"])
        if executor is not None:
            executor.peak(event["Executor Metrics"])

    def _exclude_one(self, flag: bool, event: Event) -> None:
        self.settle()
        executor = self.executors.get(event["executorId"])
        if executor is not None:
            executor.excluded = flag

    def _exclude_host(self, flag: bool, event: Event) -> None:
        self.settle()
        for executor in self.executors.values():
            if executor.host == event["hostId"] and executor.id not in _DRIVERS:
                executor.excluded = flag

    # Jobs and SQL

    def _job_start(self, event: events.JobStart) -> None:
        self.declared_stages.update(event.stages)
        if event.job in self.jobs:
            self.twice["jobs"] += 1
            return
        self.jobs[event.job] = "RUNNING"
        execution = (event.properties or {}).get(_SQL_ID)
        if isinstance(execution, str) and execution.isdecimal():
            self._job_sql[event.job] = int(execution)

    def _job_end(self, event: Event) -> None:
        job = event["Job ID"]
        if job not in self.jobs:
            self.unmatched["jobs"] += 1
            return
        succeeded = event["Job Result"]["Result"] == "JobSucceeded"
        self.jobs[job] = "SUCCEEDED" if succeeded else "FAILED"
        if not succeeded and job in self._job_sql:
            self._sql_failed.add(self._job_sql[job])

    def _sql_start(self, event: events.SqlStart) -> None:
        if event.id in self.sql:
            self.twice["queries"] += 1
            return
        self.sql[event.id] = SqlMetrics(
            id=event.id, description=event.description or "", start_ms=event.time_ms
        )

    def _sql_end(self, event: Event) -> None:
        started = self.sql.get(event["executionId"])
        if started is None:
            self.unmatched["queries"] += 1
            return
        failed = event.get("errorMessage") or started.id in self._sql_failed
        self.sql[started.id] = SqlMetrics(
            id=started.id,
            description=started.description,
            start_ms=started.start_ms,
            end_ms=int(event["time"]),
            status="FAILED" if failed else "COMPLETED",
        )

    # Stages and tasks

    def _stage(self, stage_id: int, attempt: int) -> StageTally:
        key = (stage_id, attempt)
        found = self.stages.get(key)
        if found is None:
            found = self.stages[key] = StageTally(*key)
        return found

    def _stage_submitted(self, event: events.StageSubmitted) -> None:
        self._stage(event.info.id, event.info.attempt).describe(event.info)

    def _stage_completed(self, event: events.StageCompleted) -> None:
        stage = self._stage(event.info.id, event.info.attempt)
        stage.complete(event.info)
        self._completed.append(stage)

    def _placed_task_end(self, event: events.PlacedTaskEnd) -> None:
        self._ended.append(event)
        if self._on_task is not None:
            self._on_task(_row(event))

    def settle(self, *, at_least: int = 0) -> None:
        """Every event that was fed is in the tallies; a batch of fewer tasks may wait."""
        if max(len(self._ended), len(self._begun)) >= max(at_least, 1):
            self._settle_begun()
            self._settle_ended()
        if not (self._begun or self._ended):
            for stage in self._completed:
                stage.close()
            self._completed.clear()

    def _settle_begun(self) -> None:
        self.tasks.begin([event.info.id for event in self._begun])
        for key, begun in _grouped(self._begun, _BY_STAGE):
            self._stage(*key).begin([event.info.launched_ms for event in begun])
        for executor_id, begun in _grouped(self._begun, _BY_EXECUTOR):
            executor = self._executor(executor_id, begun[0].info.launched_ms)
            executor.started += len(begun)
            executor.running += len(begun)
        self._begun.clear()

    def _settle_ended(self) -> None:
        """Sums know no order; each kind of sum goes over the batch by itself, which is faster."""
        for (stage_id, attempt, reason), ended in _grouped(self._ended, _BY_STAGE_AND_REASON):
            self._end_in_stage(self._stage(stage_id, attempt), reason, ended)
        for (executor_id, reason), ended in _grouped(self._ended, _BY_EXECUTOR_AND_REASON):
            executor = self._executor(executor_id, ended[0].info.launched_ms)
            self._end_on_executor(executor, reason, ended)
        self._ended.clear()

    def _end_in_stage(
        self, stage: StageTally, reason: str, ended: Sequence[events.AnyTaskEnd]
    ) -> None:
        outcome = _OUTCOMES.get(reason, FAILED)
        stage.ended[outcome] += len(ended)
        if reason == _RESUBMITTED:
            stage.resubmitted += len(ended)
            return
        self.tasks.end([event.info.id for event in ended])
        measured = [event for event in ended if event.figures is not None]
        if measured:
            columns = Columns.of([cast("events.TaskFigures", e.figures) for e in measured])
            stage.add([sum(column) for column in columns])
            if outcome == OK:
                stage.sample(_durations(measured), columns)

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
                self.malformed += 1
                continue
            if peaks and any(peaks.values()):
                executor.peak(peaks)
            else:
                self._idle = idle = raw.copy()

    # The end

    def metrics(self, *, bad_lines: int, whole: bool, notes: tuple[str, ...]) -> RunMetrics:
        """The record of what was fed; `whole` says whether every byte of the log was there."""
        self.settle()
        duration_ms = self._duration_ms()
        found = doubts.of(self)
        unharmed = not (bad_lines or self.notes or any(doubt.harms for doubt in found))
        said = (*notes, *self.notes, *(doubt.text for doubt in found))
        record = RunMetrics(
            app_id=self.app.get("App ID"),
            app_attempt=self.app.get("App Attempt ID"),
            app_name=self.app.get("App Name"),
            spark_version=self.spark_version,
            start_ms=self.start_ms,
            end_ms=self.end_ms,
            duration_ms=duration_ms,
            jobs=len(self.jobs),
            jobs_succeeded=self._count_jobs("SUCCEEDED"),
            jobs_failed=self._count_jobs("FAILED"),
            **self._totals(),
            peak_executors=self.peak_executors,
            bad_lines=bad_lines,
            complete=duration_ms is not None and whole and unharmed,
            notes=said,
            stages=tuple(self.stages[key].record() for key in sorted(self.stages)),
            executors=tuple(
                self.executors[name].record() for name in sorted(self.executors, key=_natural)
            ),
            sql=tuple(self.sql[key] for key in sorted(self.sql)),
            environment=self.environment,
        )
        return self._secrets.hidden_in(record)

    def _duration_ms(self) -> int | None:
        if self.start_ms is None or self.end_ms is None:
            return None
        return self.end_ms - self.start_ms

    def _count_jobs(self, status: str) -> int:
        return sum(found == status for found in self.jobs.values())

    def _totals(self) -> dict[str, Any]:
        stages = self.stages.values()
        sums = [sum(column) for column in zip(*(s.sums for s in stages), strict=True)] or [0] * len(
            _SUMS
        )
        ended = [sum(column) for column in zip(*(s.ended for s in stages), strict=True)]
        states = [stage.status for stage in stages]
        return {
            "stages_completed": states.count("COMPLETE"),
            "stages_failed": states.count("FAILED"),
            **dict(
                zip(("tasks_ok", "tasks_failed", "tasks_killed"), ended or [0] * 3, strict=True)
            ),
            **dict(zip(_SUMS[:-1], sums, strict=False)),
        }


_BY_STAGE = attrgetter("stage", "attempt")
_BY_STAGE_AND_REASON = attrgetter("stage", "attempt", "reason.kind")
_BY_EXECUTOR = attrgetter("info.executor")
_BY_EXECUTOR_AND_REASON = attrgetter("info.executor", "reason.kind")


def _grouped(found: list[T], key: Callable[[T], Any]) -> Iterable[tuple[Any, list[T]]]:
    groups: defaultdict[Any, list[T]] = defaultdict(list)
    for at, event in zip(map(key, found), found, strict=True):
        groups[at].append(event)
    return groups.items()


def _natural(executor_id: str) -> tuple[bool, int, str]:
    """The driver, then numbers by their size, then words."""
    number = int(executor_id) if executor_id.isdecimal() and len(executor_id) < 19 else 1 << 62
    return (executor_id not in _DRIVERS, number, executor_id)


def _durations(ended: Iterable[events.AnyTaskEnd]) -> list[int]:
    return [event.info.finished_ms - event.info.launched_ms for event in ended]


def _nothing(_: object) -> None:
    """Of these events nothing is kept."""


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
        **{name: column[0] for name, column in zip(_SUMS, columns, strict=True)},
    )


# Names of the columns' sums; those of a run are all but the last.
_SUMS = (
    "executor_run_time_ms",
    "executor_cpu_time_ns",
    "jvm_gc_time_ms",
    "input_bytes",
    "output_bytes",
    "shuffle_read_bytes",
    "shuffle_write_bytes",
    "memory_spilled_bytes",
    "disk_spilled_bytes",
    "fetch_wait_time_ms",
)
_EXCLUSIONS = {"Blacklisted": True, "Excluded": True, "Unblacklisted": False, "Unexcluded": False}
