"""Replays the events of one application into `RunMetrics`, as Spark's history server does.

The rules are those of Spark's AppStatusListener (3.5): the metrics of every ended task are added,
failed ones included; TaskKilled and TaskCommitDenied count as killed; Resubmitted, a second end of
a task whose output was lost, counts as one more failed task without metrics; ends of unknown jobs
are ignored.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from emrctl import redact
from emrctl.metrics.configuration import program, submit_options
from emrctl.metrics.eventlog import consistency, events
from emrctl.metrics.eventlog.state import DRIVER_IDS, EventLogState
from emrctl.metrics.eventlog.tallies import StageTally
from emrctl.metrics.eventlog.task_batch import TaskBatch
from emrctl.metrics.model import JobMetrics, RunMetrics, SqlMetrics, TaskMetrics

Event = dict[str, Any]
_EXECUTOR_EVENTS = frozenset(
    f"SparkListener{name}"
    for name in ("ExecutorAdded", "ExecutorRemoved", "BlockManagerAdded", "StageExecutorMetrics")
)

_MAX_ERROR = 500
_EXCLUSIONS = {"Blacklisted": True, "Excluded": True, "Unblacklisted": False, "Unexcluded": False}


class Replay(EventLogState):
    """Takes the events of an application in order, then returns its metrics.

    Task events are collected in batches until `flush`.
    """

    def __init__(self, on_task: Callable[[TaskMetrics], None] | None = None) -> None:
        super().__init__()
        self.decode = events.decode if on_task is None else events.decode_detailed
        self._batch = TaskBatch(self, on_task)
        self.flush = self._batch.flush
        self._notes: list[str] = []
        self._running: set[str] = set()
        #: Jobs with their stages, if tasks are requested.
        self.job_metrics: dict[int, JobMetrics] = {}
        self._job_sql: dict[int, int] = {}
        self._sql_failed: set[int] = set()
        self._rollover: int | None = None
        self._redactor = redact.Redactor()
        self._handlers = self._untyped_handlers()
        #: Handlers of the events that `decode` returns.
        self.typed = self._typed_handlers()

    def _typed_handlers(self) -> dict[type, Callable[[Any], None]]:
        return {
            events.TaskStart: self._batch.started.append,
            events.TaskEnd: self._batch.ended.append,
            events.DetailedTaskEnd: self._batch.add_detailed,
            events.JobStart: self._job_start,
            events.DetailedJobStart: self._detailed_job_start,
            events.StageSubmitted: self._stage_submitted,
            events.StageCompleted: self._stage_completed,
            events.SqlStart: self._sql_start,
            events.SqlPlanChanged: lambda event: self.plans.set_plan(event.id, bytes(event.plan)),
            events.SqlMetricsChanged: lambda _: None,
            events.DriverAccumulables: lambda event: self.plans.update(
                event.id, bytes(event.updates)
            ),
        }

    def _untyped_handlers(self) -> dict[str, Callable[[Event], None]]:
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
        """Process one event; an event that lacks required fields is counted as malformed."""
        try:
            kind = event["Event"]
            if kind in events.TYPED_EVENTS:
                # Java writes lone surrogates, which are not valid UTF-8.
                line = json.dumps(event, ensure_ascii=False).encode(errors="replace")
                typed = self.decode(line)
                self.typed[type(typed)](typed)
                return
            handler = self._handlers.get(kind)
            if handler is not None:
                if kind in _EXECUTOR_EVENTS:
                    self.flush()  # tasks in the batch may create executors
                handler(event)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            self.malformed += 1

    # The application

    def _log_start(self, event: Event) -> None:
        self.spark_version = event["Spark Version"]

    def _application_start(self, event: Event) -> None:
        if self.app and self.app != event:
            self._notes.append("the log contains a second application or attempt")
        self.start_ms = int(event["Timestamp"])
        self.app = event

    def _application_end(self, event: Event) -> None:
        self.end_ms = int(event["Timestamp"])

    def _environment(self, event: Event) -> None:
        properties = {str(k): str(v) for k, v in dict(event["Spark Properties"]).items()}
        for section in event.values():
            if isinstance(section, dict):
                self._redactor.learn(section)
        self.environment = redact.mapping(dict(sorted(properties.items())))
        system = dict(event.get("System Properties") or {})
        command = str(system.get("sun.java.command", ""))
        self.program = tuple(map(self._redactor.text, program(command)))
        self.submit_options = tuple(map(self._redactor.text, submit_options(command)))

    def _databricks(self, event: Event) -> None:
        self._log_start(event)
        number = event.get("Rollover Number")
        if isinstance(number, int):
            expected = 0 if self._rollover is None else self._rollover + 1
            if number > expected:
                self._notes.append(f"part {expected} of the Databricks log is missing")
            self._rollover = number

    # Executors

    def _executor_added(self, event: Event) -> None:
        executor_id, info = event["Executor ID"], event["Executor Info"]
        time_ms, host, cores = int(event["Timestamp"]), str(info["Host"]), int(info["Total Cores"])
        executor = self.executor(executor_id, time_ms)
        if executor.was_added:
            self.started_twice["executors"] += 1
        else:
            executor.added_ms = time_ms
        executor.host, executor.cores, executor.was_added = host, cores, True
        executor.removed_ms = executor.reason = None
        if executor_id not in DRIVER_IDS:
            if executor_id not in self._running:
                self.executor_changes.append((time_ms, 1))
            self._running.add(executor_id)
            self.peak_executors = max(self.peak_executors, len(self._running))

    def _executor_removed(self, event: Event) -> None:
        executor_id, time_ms = event["Executor ID"], int(event["Timestamp"])
        executor = self.executors.get(executor_id)
        if executor_id in self._running:
            self._running.discard(executor_id)
            self.executor_changes.append((time_ms, -1))
        elif executor is None or not executor.was_added:
            self.ended_only["executors"] += 1
        if executor is not None:
            executor.removed_ms = time_ms
            executor.reason = event.get("Removed Reason")
            executor.blocks.clear()

    def _block_manager(self, event: Event) -> None:
        manager, memory = event["Block Manager ID"], int(event["Maximum Memory"])
        host, time_ms = str(manager["Host"]), event.get("Timestamp")
        # Spark before 1.4 wrote no timestamp.
        time_ms = None if time_ms is None else int(time_ms)
        executor = self.executor(manager["Executor ID"], time_ms)
        executor.host = executor.host or host
        executor.storage_total_bytes = memory
        executor.has_block_manager = True

    def _block_manager_removed(self, event: Event) -> None:
        if executor := self.executors.get(event["Block Manager ID"]["Executor ID"]):
            executor.lost_block_manager = True

    def _block(self, event: Event) -> None:
        info = event["Block Updated Info"]
        executor = self.executors.get(info["Block Manager ID"]["Executor ID"])
        name, level = info["Block ID"], info["Storage Level"]
        if executor is None or not name.startswith("rdd_"):
            return
        sizes = (info["Memory Size"], info["Disk Size"])
        self.blocks.update(executor.id, name, *sizes)
        if level["Use Memory"] or level["Use Disk"]:
            executor.blocks[name] = sizes
        else:
            executor.blocks.pop(name, None)

    def _unpersist(self, event: Event) -> None:
        prefix = f"rdd_{event['RDD ID']}_"
        self.blocks.unpersist(event["RDD ID"])
        for executor in self.executors.values():
            for name in [name for name in executor.blocks if name.startswith(prefix)]:
                del executor.blocks[name]

    def _executor_peaks(self, event: Event) -> None:
        if executor := self.executors.get(event["Executor ID"]):
            executor.update_peaks(event["Executor Metrics"])

    def _exclude_one(self, flag: bool, event: Event) -> None:
        self.flush()
        if executor := self.executors.get(event["executorId"]):
            executor.excluded = flag

    def _exclude_host(self, flag: bool, event: Event) -> None:
        self.flush()
        for executor in self.executors.values():
            if executor.host == event["hostId"] and executor.id not in DRIVER_IDS:
                executor.excluded = flag

    # Jobs and SQL

    def _job_start(self, event: events.JobStart) -> None:
        for stage in event.stages:
            self.job_of_stage[stage] = min(event.job, self.job_of_stage.get(stage, event.job))
        if event.job in self.jobs:
            self.started_twice["jobs"] += 1
            return
        self.jobs[event.job] = "RUNNING"
        query = event.properties.query if event.properties else None
        if query is not None and query.isdecimal():
            self._job_sql[event.job] = int(query)
            self.lineage.add_query(int(query), event.stages)
            self.stages_of_query.setdefault(int(query), []).extend(event.stages)

    def _detailed_job_start(self, event: events.DetailedJobStart) -> None:
        pool = event.properties.pool if event.properties else None
        job = JobMetrics(
            id=event.job,
            submitted_ms=event.time_ms,
            pool=pool or "",
            parents={stage.id: tuple(stage.parents) for stage in event.infos},
        )
        self.job_metrics.setdefault(event.job, job)
        self._job_start(event)

    def _job_end(self, event: Event) -> None:
        job = event["Job ID"]
        if job in self.job_metrics:
            completed_ms = int(event["Completion Time"])
            self.job_metrics[job] = replace(self.job_metrics[job], completed_ms=completed_ms)
        if job not in self.jobs:
            self.ended_only["jobs"] += 1
            return
        succeeded = event["Job Result"]["Result"] == "JobSucceeded"
        self.jobs[job] = "SUCCEEDED" if succeeded else "FAILED"
        if not succeeded and job in self._job_sql:
            self._sql_failed.add(self._job_sql[job])

    def _sql_start(self, event: events.SqlStart) -> None:
        self.plans.set_plan(event.id, bytes(event.plan))
        if event.id in self.sql:
            self.started_twice["queries"] += 1
            return
        self.sql[event.id] = SqlMetrics(
            id=event.id, description=event.description or "", start_ms=event.time_ms
        )

    def _sql_end(self, event: Event) -> None:
        started = self.sql.get(event["executionId"])
        if started is None:
            self.ended_only["queries"] += 1
            return
        self.plans.end(started.id)
        error = str(event.get("errorMessage") or "")
        status = "FAILED" if error or started.id in self._sql_failed else "COMPLETED"
        self.sql[started.id] = replace(
            started, end_ms=int(event["time"]), status=status, error=error[:_MAX_ERROR]
        )

    # Stages

    def _stage_submitted(self, event: events.StageSubmitted) -> None:
        self._describe(event.info)

    def _stage_completed(self, event: events.StageCompleted) -> None:
        stage = self._describe(event.info)
        stage.complete(event.info)
        self.plans.add_sums(event.info.accumulables)
        self._batch.close_later(stage)

    def _describe(self, info: events.StageInfo) -> StageTally:
        stage = self.stage(info.id, info.attempt)
        stage.describe(info)
        if not info.attempt and not stage.operators:
            stage.operators = self.lineage.add_stage(info.id, bytes(info.rdds))
        return stage

    def metrics(self, *, bad_lines: int, whole: bool, notes: tuple[str, ...]) -> RunMetrics:
        """Return the metrics; `whole` means that no byte of the log was missing."""
        self.flush()
        run = self.current_metrics()
        faults = consistency.check(self)
        damaged = bad_lines or self._notes or any(fault.is_damage for fault in faults)
        run = replace(
            run,
            bad_lines=bad_lines,
            complete=run.duration_ms is not None and whole and not damaged,
            notes=(*notes, *self._notes, *(fault.text for fault in faults)),
        )
        return self._redactor.record(run)
