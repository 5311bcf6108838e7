"""Replays the events of one application into `RunMetrics`, as Spark's history server does.

The rules are those of Spark's AppStatusListener (3.5): the metrics of every ended task are added,
failed ones included; TaskKilled and TaskCommitDenied count as killed; Resubmitted, a second end of
a task whose output was lost, counts as one more failed task without metrics; ends of unknown jobs
are ignored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec

from emrctl import redact
from emrctl.metrics.configuration import program, submit_options
from emrctl.metrics.eventlog import consistency, events, task_events
from emrctl.metrics.eventlog.state import DRIVER_IDS, EventLogState
from emrctl.metrics.eventlog.tallies import StageTally
from emrctl.metrics.eventlog.task_batch import TaskBatch
from emrctl.metrics.model import JobMetrics, RunMetrics, SqlMetrics, TaskMetrics

_MAX_ERROR = 500


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
        #: The handler of each type of event.
        self.handlers = self._task_handlers() | self._other_handlers()

    def _task_handlers(self) -> dict[type, Callable[[Any], None]]:
        return {
            task_events.TaskStart: self._batch.started.append,
            task_events.TaskEnd: self._batch.ended.append,
            task_events.DetailedTaskEnd: self._batch.add_detailed,
            events.JobStart: self._job_start,
            events.DetailedJobStart: self._detailed_job_start,
            events.JobEnd: self._job_end,
            events.StageSubmitted: self._stage_submitted,
            events.StageCompleted: self._stage_completed,
            events.SqlStart: self._sql_start,
            events.SqlPlanChanged: lambda event: self.plans.set_plan(event.id, bytes(event.plan)),
            events.SqlMetricsChanged: lambda _: None,
            events.DriverAccumulables: lambda event: self.plans.update(
                event.id, bytes(event.updates)
            ),
            events.SqlEnd: self._sql_end,
        }

    def _other_handlers(self) -> dict[type, Callable[[Any], None]]:
        return {
            events.LogStart: self._log_start,
            events.DatabricksLogStart: self._databricks,
            events.ApplicationStart: self._application_start,
            events.ApplicationEnd: self._application_end,
            events.Environment: self._environment,
            events.ExecutorAdded: self._executor_added,
            events.ExecutorRemoved: self._executor_removed,
            events.BlockManagerAdded: self._block_manager,
            events.BlockManagerRemoved: self._block_manager_removed,
            events.BlockUpdated: self._block,
            events.RddUnpersisted: self._unpersist,
            events.ExecutorPeaks: self._executor_peaks,
            **{
                kind: partial(self._exclude_one, flag)
                for kind, flag in events.EXECUTOR_EXCLUSIONS.items()
            },
            **{
                kind: partial(self._exclude_host, flag)
                for kind, flag in events.HOST_EXCLUSIONS.items()
            },
        }

    def feed(self, event: dict[str, Any]) -> None:
        """Process an event that `decode` rejects; one with fields of wrong types is malformed."""
        name = event["Event"]
        if isinstance(name, str) and name not in events.NAMES:
            return
        try:
            # Java writes lone surrogates, which are not valid UTF-8.
            decoded = self.decode(json.dumps(event, ensure_ascii=False).encode(errors="replace"))
        except (msgspec.MsgspecError, RecursionError, ValueError):
            self.malformed += 1
        else:
            self.handlers[type(decoded)](decoded)

    # The application

    def _log_start(self, event: events.LogStart | events.DatabricksLogStart) -> None:
        self.spark_version = event.version

    def _application_start(self, event: events.ApplicationStart) -> None:
        if self.app is not None and self.app != event:
            self._notes.append("the log contains a second application or attempt")
        self.start_ms = event.time_ms
        self.app = event

    def _application_end(self, event: events.ApplicationEnd) -> None:
        self.end_ms = event.time_ms

    def _environment(self, event: events.Environment) -> None:
        for section in (event.spark, event.system, event.hadoop, event.metrics, event.jvm):
            self._redactor.learn(section)
        self.environment = redact.mapping(dict(sorted(event.spark.items())))
        command = event.system.get("sun.java.command", "")
        self.program = tuple(map(self._redactor.text, program(command)))
        self.submit_options = tuple(map(self._redactor.text, submit_options(command)))

    def _databricks(self, event: events.DatabricksLogStart) -> None:
        self._log_start(event)
        if event.part is not None:
            expected = 0 if self._rollover is None else self._rollover + 1
            if event.part > expected:
                self._notes.append(f"part {expected} of the Databricks log is missing")
            self._rollover = event.part

    # Executors: tasks in the batch may create them

    def _executor_added(self, event: events.ExecutorAdded) -> None:
        self.flush()
        executor = self.executor(event.executor, event.time_ms)
        if executor.was_added:
            self.started_twice["executors"] += 1
        else:
            executor.added_ms = event.time_ms
        executor.host, executor.cores = event.info.host, event.info.cores
        executor.was_added = True
        executor.removed_ms = executor.reason = None
        if event.executor not in DRIVER_IDS:
            if event.executor not in self._running:
                self.executor_changes.append((event.time_ms, 1))
            self._running.add(event.executor)
            self.peak_executors = max(self.peak_executors, len(self._running))

    def _executor_removed(self, event: events.ExecutorRemoved) -> None:
        self.flush()
        executor = self.executors.get(event.executor)
        if event.executor in self._running:
            self._running.discard(event.executor)
            self.executor_changes.append((event.time_ms, -1))
        elif executor is None or not executor.was_added:
            self.ended_only["executors"] += 1
        if executor is not None:
            executor.removed_ms = event.time_ms
            executor.reason = event.reason
            executor.blocks.clear()

    def _block_manager(self, event: events.BlockManagerAdded) -> None:
        self.flush()
        executor = self.executor(event.id.executor, event.time_ms)
        executor.host = executor.host or event.id.host
        executor.storage_total_bytes = event.memory_bytes
        executor.has_block_manager = True

    def _block_manager_removed(self, event: events.BlockManagerRemoved) -> None:
        if executor := self.executors.get(event.id.executor):
            executor.lost_block_manager = True

    def _block(self, event: events.BlockUpdated) -> None:
        info = event.info
        executor = self.executors.get(info.manager.executor)
        name = re.fullmatch(r"rdd_([0-9]{1,18})_[0-9]{1,18}", info.block)
        if executor is None or name is None:
            return
        sizes = (info.memory_bytes, info.disk_bytes)
        self.blocks.update(int(name[1]), (executor.id, info.block), *sizes)
        if info.level.memory or info.level.disk:
            executor.blocks[info.block] = sizes
        else:
            executor.blocks.pop(info.block, None)

    def _unpersist(self, event: events.RddUnpersisted) -> None:
        prefix = f"rdd_{event.rdd}_"
        self.blocks.unpersist(event.rdd)
        for executor in self.executors.values():
            for name in [name for name in executor.blocks if name.startswith(prefix)]:
                del executor.blocks[name]

    def _executor_peaks(self, event: events.ExecutorPeaks) -> None:
        self.flush()
        if executor := self.executors.get(event.executor):
            executor.update_peaks(event.peaks)

    def _exclude_one(self, flag: bool, event: events.ExecutorExclusion) -> None:
        self.flush()
        if executor := self.executors.get(event.executor):
            executor.excluded = flag

    def _exclude_host(self, flag: bool, event: events.HostExclusion) -> None:
        self.flush()
        for executor in self.executors.values():
            if executor.host == event.host and executor.id not in DRIVER_IDS:
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

    def _job_end(self, event: events.JobEnd) -> None:
        if job := self.job_metrics.get(event.job):
            self.job_metrics[event.job] = replace(job, completed_ms=event.time_ms)
        if event.job not in self.jobs:
            self.ended_only["jobs"] += 1
            return
        succeeded = event.result.result == "JobSucceeded"
        self.jobs[event.job] = "SUCCEEDED" if succeeded else "FAILED"
        if not succeeded and event.job in self._job_sql:
            self._sql_failed.add(self._job_sql[event.job])

    def _sql_start(self, event: events.SqlStart) -> None:
        self.plans.set_plan(event.id, bytes(event.plan))
        if event.id in self.sql:
            self.started_twice["queries"] += 1
            return
        self.sql[event.id] = SqlMetrics(
            id=event.id, description=event.description or "", start_ms=event.time_ms
        )

    def _sql_end(self, event: events.SqlEnd) -> None:
        started = self.sql.get(event.id)
        if started is None:
            self.ended_only["queries"] += 1
            return
        self.plans.end(started.id)
        error = event.error or ""
        status = "FAILED" if error or started.id in self._sql_failed else "COMPLETED"
        self.sql[started.id] = replace(
            started, end_ms=event.time_ms, status=status, error=error[:_MAX_ERROR]
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
