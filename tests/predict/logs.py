"""Writes small event logs for tests of predictions, with times in seconds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from emrctl.metrics.eventlog import layout
from emrctl.metrics.model import RunMetrics
from emrctl.predict import history
from emrctl.predict.graph import WorkGraph

EPOCH_MS = 1_700_000_000_000


def ms(time_s: float) -> int:
    """Return the time as written in a log."""
    return EPOCH_MS + round(time_s * 1000)


class LogWriter:
    """An application that starts at 0; `lines` are its events so far."""

    def __init__(self, executors: Sequence[float] = (0.0,), cores: int = 1, **conf: str) -> None:
        self.lines: list[dict[str, Any]] = [
            {"Event": "SparkListenerLogStart", "Spark Version": "3.5.9"},
            {
                "Event": "SparkListenerApplicationStart",
                "App Name": "a",
                "App ID": "app-1",
                "Timestamp": ms(0),
                "User": "u",
            },
            {
                "Event": "SparkListenerEnvironmentUpdate",
                "Spark Properties": {key.replace("_", "."): value for key, value in conf.items()},
            },
        ]
        for number, at_s in enumerate(executors):
            self.event(
                "ExecutorAdded",
                {
                    "Timestamp": ms(at_s),
                    "Executor ID": str(number),
                    "Executor Info": {"Host": "h", "Total Cores": cores, "Log Urls": {}},
                },
            )
        self._task = 0

    def event(self, name: str, fields: Mapping[str, Any]) -> None:
        """Add an event of Spark's listener."""
        self.lines.append({"Event": f"SparkListener{name}", **fields})

    def job_start(
        self, job: int, at_s: float, parents: Mapping[int, Sequence[int]], pool: str = ""
    ) -> None:
        """Start a job with these stages, each with its parents."""
        infos = [
            {"Stage ID": stage, "Parent IDs": list(ids), "Number of Tasks": 1}
            for stage, ids in parents.items()
        ]
        self.event(
            "JobStart",
            {
                "Job ID": job,
                "Submission Time": ms(at_s),
                "Stage IDs": list(parents),
                "Stage Infos": infos,
                "Properties": {"spark.scheduler.pool": pool} if pool else {},
            },
        )

    def job_end(self, job: int, at_s: float) -> None:
        """End a job with success."""
        result = {"Result": "JobSucceeded"}
        self.event("JobEnd", {"Job ID": job, "Completion Time": ms(at_s), "Job Result": result})

    def stage(
        self,
        stage: int,
        submitted_s: float,
        completed_s: float,
        tasks: Iterable[tuple[str, float, float] | tuple[str, float, float, float]],
    ) -> None:
        """Run a stage; each task is its executor, launch, finish and optionally its overhead."""
        rows = list(tasks)
        info = {
            "Stage ID": stage,
            "Stage Attempt ID": 0,
            "Stage Name": f"stage {stage}",
            "Number of Tasks": len(rows),
            "Submission Time": ms(submitted_s),
        }
        self.event("StageSubmitted", {"Stage Info": dict(info)})
        for index, (executor, launched_s, finished_s, *overhead_s) in enumerate(rows):
            self.task(stage, index, executor, (launched_s, finished_s), overhead_s=sum(overhead_s))
        info["Completion Time"] = ms(completed_s)
        self.event("StageCompleted", {"Stage Info": info})

    def task(
        self,
        stage: int,
        index: int,
        executor: str,
        span: tuple[float, float],
        *,
        reason: str = "Success",
        speculative: bool = False,
        overhead_s: float = 0.0,
        load_s: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        """Run one task attempt; `overhead_s` of its time is no run time.

        `load_s` is the time to deserialize it, and the CPU time of that.
        """
        info = {
            "Task ID": self._task,
            "Index": index,
            "Attempt": 0,
            "Launch Time": ms(span[0]),
            "Finish Time": ms(span[1]),
            "Executor ID": executor,
            "Host": "h",
            "Locality": "ANY",
            "Speculative": speculative,
            "Failed": reason != "Success",
            "Killed": False,
        }
        self._task += 1
        self.event("TaskStart", {"Stage ID": stage, "Stage Attempt ID": 0, "Task Info": info})
        self.event(
            "TaskEnd",
            {
                "Stage ID": stage,
                "Stage Attempt ID": 0,
                "Task End Reason": {"Reason": reason},
                "Task Info": info,
                "Task Metrics": {
                    "Executor Deserialize Time": round(load_s[0] * 1000),
                    "Executor Deserialize CPU Time": round(load_s[1] * 1e9),
                    "Executor Run Time": round((span[1] - span[0] - overhead_s) * 1000),
                },
            },
        )

    def end(self, at_s: float) -> None:
        """End the application."""
        self.event("ApplicationEnd", {"Timestamp": ms(at_s)})

    def write(self, path: Path) -> Path:
        """Write the log."""
        path.write_text("".join(json.dumps(line) + "\n" for line in self.lines))
        return path

    def read(self, folder: Path) -> tuple[RunMetrics, WorkGraph]:
        """Return what a prediction reads of the log."""
        return history.read(layout.list_files(self.write(folder / "app-1")))


def one_stage(
    durations_s: Sequence[float], start_s: float = 10.0, executors: Sequence[float] = (0.0,)
) -> LogWriter:
    """Return the log of a job with one stage on executors of one core, without any overhead."""
    log = LogWriter(executors)
    free = [start_s] * len(executors)
    rows = []
    for duration_s in durations_s:
        executor = free.index(min(free))
        rows.append((str(executor), free[executor], free[executor] + duration_s))
        free[executor] += duration_s
    log.job_start(0, start_s, {0: ()})
    log.stage(0, start_s, max(free), rows)
    log.job_end(0, max(free))
    log.end(max(free) + 2)
    return log
