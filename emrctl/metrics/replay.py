"""The events of one application, replayed into `RunMetrics` as Spark's own history server would.

The rules are those of Spark's AppStatusListener (3.5): sums take a task's metrics when it ends,
whatever its end; TaskKilled and TaskCommitDenied are killed; Resubmitted, a second end of a task
whose output was lost, is one more failed task and nothing else; ends of jobs that never began are
passed over.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from emrctl.metrics import redact
from emrctl.metrics.model import RunMetrics, SqlMetrics
from emrctl.metrics.tallies import ExecutorTally, Figures, StageTally, figures

Event = dict[str, Any]
OK, FAILED, KILLED = 0, 1, 2
_OUTCOMES = {"Success": OK, "TaskKilled": KILLED, "TaskCommitDenied": KILLED}
_DRIVERS = frozenset({"driver", "<driver>"})
_SQL_ID = "spark.sql.execution.id"


class Replay:
    """The state of one application; feed it events in order, then ask for `metrics`."""

    def __init__(self) -> None:
        self.app: dict[str, Any] = {}
        self.spark_version: str | None = None
        self.start_ms: int | None = None
        self.end_ms: int | None = None
        self.environment: dict[str, str] = {}
        self.stages: dict[tuple[int, int], StageTally] = {}
        self.executors: dict[str, ExecutorTally] = {}
        self.jobs: dict[int, str] = {}
        self.sql: dict[int, SqlMetrics] = {}
        self.peak_executors = 0
        self.malformed = 0
        self.notes: list[str] = []
        self._live: set[str] = set()
        self._job_sql: dict[int, int] = {}
        self._sql_failed: set[int] = set()
        self._handlers = self._table()

    def _table(self) -> dict[str, Callable[[Event], None]]:
        table: dict[str, Callable[[Event], None]] = {
            "LogStart": self._log_start,
            "ApplicationStart": self._application_start,
            "ApplicationEnd": self._application_end,
            "EnvironmentUpdate": self._environment,
            "ExecutorAdded": self._executor_added,
            "ExecutorRemoved": self._executor_removed,
            "BlockManagerAdded": self._block_manager,
            "BlockUpdated": self._block,
            "UnpersistRDD": self._unpersist,
            "StageExecutorMetrics": self._executor_peaks,
            "JobStart": self._job_start,
            "JobEnd": self._job_end,
            "StageSubmitted": self._stage_submitted,
            "StageCompleted": self._stage_completed,
            "TaskStart": self._task_start,
            "TaskEnd": self._task_end,
        }
        handlers = {f"SparkListener{name}": handler for name, handler in table.items()}
        sql = "org.apache.spark.sql.execution.ui.SparkListenerSQLExecution"
        handlers |= {f"{sql}Start": self._sql_start, f"{sql}End": self._sql_end}
        for word, flag in _EXCLUSIONS.items():
            for prefix in ("SparkListener", "org.apache.spark.scheduler.SparkListener"):
                handlers[f"{prefix}Executor{word}"] = partial(self._exclude_one, flag)
                handlers[f"{prefix}Node{word}"] = partial(self._exclude_host, flag)
        handlers["DBCEventLoggingListenerMetadata"] = self._log_start
        return handlers

    def feed(self, event: Event) -> None:
        """Take over one event; one that lacks what its kind must have is counted, not raised."""
        try:
            handler = self._handlers.get(event["Event"])
            if handler is not None:
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
        self.environment = redact.redacted(properties)

    # Executors

    def _executor(self, executor_id: str, time_ms: int | None) -> ExecutorTally:
        found = self.executors.get(executor_id)
        if found is None:
            found = self.executors[executor_id] = ExecutorTally(executor_id, time_ms)
        return found

    def _executor_added(self, event: Event) -> None:
        executor_id, info = event["Executor ID"], event["Executor Info"]
        executor = self._executor(executor_id, int(event["Timestamp"]))
        executor.host = str(info["Host"])
        executor.cores = int(info["Total Cores"])
        executor.removed_ms = executor.reason = None
        if executor_id not in _DRIVERS:
            self._live.add(executor_id)
            self.peak_executors = max(self.peak_executors, len(self._live))

    def _executor_removed(self, event: Event) -> None:
        executor_id = event["Executor ID"]
        self._live.discard(executor_id)
        executor = self.executors.get(executor_id)
        if executor is not None:
            executor.removed_ms = int(event["Timestamp"])
            executor.reason = event.get("Removed Reason")
            executor.blocks.clear()

    def _block_manager(self, event: Event) -> None:
        manager = event["Block Manager ID"]
        executor = self._executor(manager["Executor ID"], event.get("Timestamp"))
        executor.host = executor.host or str(manager["Host"])
        executor.storage_total_bytes = int(event["Maximum Memory"])

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
        executor = self.executors.get(event["executorId"])
        if executor is not None:
            executor.excluded = flag

    def _exclude_host(self, flag: bool, event: Event) -> None:
        for executor in self.executors.values():
            if executor.host == event["hostId"] and executor.id not in _DRIVERS:
                executor.excluded = flag

    # Jobs and SQL

    def _job_start(self, event: Event) -> None:
        job = int(event["Job ID"])
        self.jobs[job] = "RUNNING"
        execution = (event.get("Properties") or {}).get(_SQL_ID)
        if execution is not None:
            self._job_sql[job] = int(execution)

    def _job_end(self, event: Event) -> None:
        job = event["Job ID"]
        if job not in self.jobs:
            return
        succeeded = event["Job Result"]["Result"] == "JobSucceeded"
        self.jobs[job] = "SUCCEEDED" if succeeded else "FAILED"
        if not succeeded and job in self._job_sql:
            self._sql_failed.add(self._job_sql[job])

    def _sql_start(self, event: Event) -> None:
        execution = int(event["executionId"])
        self.sql[execution] = SqlMetrics(
            id=execution, description=str(event.get("description", "")), start_ms=int(event["time"])
        )

    def _sql_end(self, event: Event) -> None:
        started = self.sql.get(event["executionId"])
        if started is None:
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
        key = (int(stage_id), int(attempt))
        found = self.stages.get(key)
        if found is None:
            found = self.stages[key] = StageTally(*key)
        return found

    def _stage_submitted(self, event: Event) -> None:
        info = event["Stage Info"]
        self._stage(info["Stage ID"], info.get("Stage Attempt ID", 0)).describe(info)

    def _stage_completed(self, event: Event) -> None:
        info = event["Stage Info"]
        self._stage(info["Stage ID"], info.get("Stage Attempt ID", 0)).complete(info)

    def _task_start(self, event: Event) -> None:
        info = event["Task Info"]
        stage = self._stage(event["Stage ID"], event.get("Stage Attempt ID", 0))
        launched = int(info["Launch Time"])
        if stage.first_task_ms is None or launched < stage.first_task_ms:
            stage.first_task_ms = launched
        executor = self._executor(info["Executor ID"], launched)
        executor.started += 1
        executor.running += 1

    def _task_end(self, event: Event) -> None:
        info, reason = event["Task Info"], event["Task End Reason"]["Reason"]
        duration_ms = info["Finish Time"] - info["Launch Time"]
        outcome = _OUTCOMES.get(reason, FAILED)
        metrics = event.get("Task Metrics")
        task = figures(metrics) if metrics and reason != "Resubmitted" else None
        stage = self._stage(event["Stage ID"], event.get("Stage Attempt ID", 0))
        executor = self._executor(info["Executor ID"], info["Launch Time"])
        stage.ended[outcome] += 1
        executor.end(outcome, duration_ms)
        if reason != "Resubmitted":
            executor.running -= 1
        if task is not None:
            _add(stage, executor, task)
            if outcome == OK:
                stage.sample(duration_ms, task)
        peaks = event.get("Task Executor Metrics")
        if peaks and any(peaks.values()):
            executor.peak(peaks)

    # The end

    def metrics(self, *, bad_lines: int, whole: bool, notes: tuple[str, ...]) -> RunMetrics:
        """The record of what was fed; `whole` says whether every byte of the log was there."""
        duration_ms = self._duration_ms()
        notes += tuple(self.notes) + self._doubts()
        unharmed = not (bad_lines or self.malformed or self.notes or self._lost_tasks())
        return RunMetrics(
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
            notes=notes,
            stages=tuple(self.stages[key].record() for key in sorted(self.stages)),
            executors=tuple(executor.record() for executor in self.executors.values()),
            sql=tuple(self.sql[key] for key in sorted(self.sql)),
            environment=self.environment,
        )

    def _duration_ms(self) -> int | None:
        if self.start_ms is None or self.end_ms is None:
            return None
        return self.end_ms - self.start_ms

    def _count_jobs(self, status: str) -> int:
        return sum(found == status for found in self.jobs.values())

    def _totals(self) -> dict[str, Any]:
        stages = self.stages.values()
        sums = [sum(column) for column in zip(*(s.sums for s in stages), strict=True)] or [0] * 10
        ended = [sum(column) for column in zip(*(s.ended for s in stages), strict=True)]
        states = [stage.status for stage in stages]
        return {
            "stages_completed": states.count("COMPLETE"),
            "stages_failed": states.count("FAILED"),
            **dict(
                zip(("tasks_ok", "tasks_failed", "tasks_killed"), ended or [0] * 3, strict=True)
            ),
            **dict(zip(_TOTALS, sums, strict=False)),
        }

    def _lost_tasks(self) -> list[str]:
        """Stages that succeeded though fewer tasks are told of than were declared.

        Spark's listener queue drops events when it is full. A stage of several attempts may
        owe its success to tasks of an earlier one, so those are held against it together.
        """
        done: dict[int, int] = {}
        for (stage_id, _), stage in self.stages.items():
            done[stage_id] = done.get(stage_id, 0) + stage.ended[OK]
        return [
            f"stage {stage.id}: {stage.tasks} tasks declared, {done[stage.id]} seen to succeed"
            for stage in self.stages.values()
            if stage.status == "COMPLETE" and done[stage.id] < stage.tasks
        ]

    def _doubts(self) -> tuple[str, ...]:
        lost = self._lost_tasks()
        more = (f"and {len(lost) - 5} stages more",) if len(lost) > 5 else ()
        malformed = (f"{self.malformed} events lack what their kind has",) if self.malformed else ()
        unended = ("the application's end is not in the log",) if self.end_ms is None else ()
        return (*unended, *malformed, *lost[:5], *more)


def _add(stage: StageTally, executor: ExecutorTally, task: Figures) -> None:
    stage.add(task)
    executor.add(task)


_TOTALS = (
    "executor_run_time_ms",
    "executor_cpu_time_ns",
    "jvm_gc_time_ms",
    "input_bytes",
    "output_bytes",
    "shuffle_read_bytes",
    "shuffle_write_bytes",
    "memory_spilled_bytes",
    "disk_spilled_bytes",
)
_EXCLUSIONS = {"Blacklisted": True, "Excluded": True, "Unblacklisted": False, "Unexcluded": False}
