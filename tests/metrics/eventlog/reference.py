"""A second reader of event logs for tests, independent of the first: slow and simple."""

from __future__ import annotations

import json
from typing import Any

KILLED = {"TaskKilled", "TaskCommitDenied"}
SUMS = {
    "executor_run_time_ms": ("Executor Run Time",),
    "executor_cpu_time_ns": ("Executor CPU Time",),
    "jvm_gc_time_ms": ("JVM GC Time",),
    "input_bytes": ("Input Metrics", "Bytes Read"),
    "output_bytes": ("Output Metrics", "Bytes Written"),
    "shuffle_write_bytes": ("Shuffle Write Metrics", "Shuffle Bytes Written"),
    "memory_spilled_bytes": ("Memory Bytes Spilled",),
    "disk_spilled_bytes": ("Disk Bytes Spilled",),
}
COUNTS = ("tasks_ok", "tasks_failed", "tasks_killed", "bad_lines", "peak_executors")


class ReferenceReader:
    def __init__(self) -> None:
        self.figures: dict[str, Any] = dict.fromkeys((*SUMS, *COUNTS, "shuffle_read_bytes"), 0)
        self.figures |= {"start_ms": None, "end_ms": None, "app_id": None, "events": 0}
        self.jobs: dict[int, str] = {}
        self.stages: dict[tuple[int, int], str] = {}
        self.live: set[str] = set()

    def read(self, text: bytes) -> dict[str, Any]:
        for line in text.split(b"\n"):
            event = parse(line)
            if isinstance(event, dict) and "Event" in event:
                self.figures["events"] += 1
                self.take(event)
            elif line.strip():
                self.figures["bad_lines"] += 1
        jobs, stages = list(self.jobs.values()), list(self.stages.values())
        return self.figures | {
            "jobs": len(jobs),
            "jobs_succeeded": jobs.count("JobSucceeded"),
            "jobs_failed": len(jobs) - jobs.count("JobSucceeded") - jobs.count(""),
            "stages_completed": stages.count("COMPLETE"),
            "stages_failed": stages.count("FAILED"),
        }

    def take(self, event: dict[str, Any]) -> None:
        kind = str(event["Event"]).removeprefix("SparkListener")
        if kind == "ApplicationStart":
            self.figures |= {"start_ms": event["Timestamp"], "app_id": event.get("App ID")}
        elif kind == "ApplicationEnd":
            self.figures["end_ms"] = event["Timestamp"]
        elif kind == "JobStart":
            self.jobs.setdefault(event["Job ID"], "")
        elif kind == "JobEnd" and event["Job ID"] in self.jobs:
            self.jobs[event["Job ID"]] = event["Job Result"]["Result"]
        elif kind == "StageCompleted":
            info = event["Stage Info"]
            done = "COMPLETE" if "Submission Time" in info else "SKIPPED"
            state = done if info.get("Failure Reason") is None else "FAILED"
            self.stages[info["Stage ID"], info.get("Stage Attempt ID", 0)] = state
        elif kind in {"ExecutorAdded", "ExecutorRemoved"}:
            self.executor(event, added=kind.endswith("Added"))
        elif kind == "TaskEnd":
            self.task(event)

    def executor(self, event: dict[str, Any], *, added: bool) -> None:
        if not added:
            self.live.discard(event["Executor ID"])
        elif event["Executor ID"] != "driver":
            self.live.add(event["Executor ID"])
            self.figures["peak_executors"] = max(self.figures["peak_executors"], len(self.live))

    def task(self, event: dict[str, Any]) -> None:
        reason = event["Task End Reason"]["Reason"]
        outcome = "ok" if reason == "Success" else "killed" if reason in KILLED else "failed"
        self.figures[f"tasks_{outcome}"] += 1
        metrics = event.get("Task Metrics")
        if reason == "Resubmitted" or not metrics:
            return
        for name, path in SUMS.items():
            self.figures[name] += value_at(metrics, *path)
        for name in ("Local Bytes Read", "Remote Bytes Read"):
            read = value_at(metrics, "Shuffle Read Metrics", name)
            self.figures["shuffle_read_bytes"] += read


def value_at(metrics: dict[str, Any], *path: str) -> int:
    value: Any = metrics
    for key in path:
        value = (value or {}).get(key, 0)
    return int(value)


def parse(line: bytes) -> Any:
    try:
        return json.loads(line.decode("utf-8", "replace"))
    except ValueError:
        return None
