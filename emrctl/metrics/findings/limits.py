"""Thresholds of the rules, each with its source."""

from __future__ import annotations

from typing import NamedTuple

MB = 1024 * 1024


class Limit(NamedTuple):
    """A threshold; `source` is where it was published, or why emrctl chose it."""

    value: float
    unit: str
    source: str


_OWN = "chosen on real logs: "
LIMITS: dict[str, Limit] = {
    "worth_s": Limit(1.0, "s", f"{_OWN}less is within the variation between equal runs"),
    "worth_share": Limit(0.02, "of the run", f"{_OWN}as above"),
    "high_share": Limit(0.25, "of the run", f"{_OWN}a quarter of the run"),
    "medium_share": Limit(0.10, "of the run", f"{_OWN}a tenth"),
    "skew_ratio": Limit(3.0, "x median", "rapids-tools: a task of 3 x the stage's mean is skewed"),
    "skew_least_tasks": Limit(4, "tasks", f"{_OWN}the median of fewer is meaningless"),
    "skew_bytes_ratio": Limit(2.0, "x median", f"{_OWN}compressed bytes vary less than rows"),
    "cause_share": Limit(0.5, "of the excess", f"{_OWN}the cause explains most of the excess"),
    "slow_host_least": Limit(3, "tasks", f"{_OWN}3 slow tasks on one host are rarely chance"),
    "slow_host_share": Limit(0.75, "of slow tasks", f"{_OWN}the first task on each host is slow"),
    "few_share": Limit(0.9, "of the cores", f"{_OWN}nearly all cores are busy"),
    "wave_tasks": Limit(4, "x cores", f"{_OWN}with more waves the last one hardly matters"),
    "even_ratio": Limit(1.5, "x median", f"{_OWN}waves are even only with tasks of similar length"),
    "worth_cutting_ms": Limit(2000, "ms", f"{_OWN}shorter tasks are dominated by their start-up"),
    "short_task_ms": Limit(200, "ms", "Spark's tuning guide: efficient down to tasks of 200 ms"),
    "many_tasks": Limit(8, "x cores", "Spark's tuning guide: 2 to 3 tasks for each core"),
    "idle_share": Limit(0.5, "of core time", "DataFlint: more than half idle"),
    "idle_fair_share": Limit(0.1, "of its share", f"{_OWN}an executor that did almost no work"),
    "idle_life_s": Limit(10, "s", f"{_OWN}a new executor had no time to work"),
    "churn_returns": Limit(2, "executors", f"{_OWN}one may be chance"),
    "churn_life_s": Limit(300, "s", f"{_OWN}a longer life outweighs the start-up"),
    "driver_share": Limit(0.25, "of the run", f"{_OWN}reading and writing take less"),
    "start_up_s": Limit(15, "s", f"{_OWN}time to set up a session"),
    "driver_least_s": Limit(3, "s", f"{_OWN}every application needs it to start and stop"),
    "gc_share": Limit(0.10, "of run time", "Dr. Elephant: 10 % is moderate; Spark's page: red"),
    "gc_normal": Limit(0.05, "of run time", "Dr. Elephant: 5 % and less is too much memory"),
    "spill_bytes": Limit(64 * MB, "B", f"{_OWN}less has no noticeable effect"),
    "disk_bytes_s": Limit(100 * MB, "B/s", "EBS gp3: 125 MB/s baseline"),
    "heap_full": Limit(0.95, "of the heap", "DataFlint: higher is under-provisioned"),
    "heap_empty": Limit(0.40, "of the heap", "DataFlint uses 0.70; a JVM fills its heap"),
    "heap_worth_mb": Limit(2048, "MB", f"{_OWN}less room fits no further executor"),
    "heap_task_s": Limit(10, "s", f"{_OWN}less work does not show the need"),
    "files": Limit(100, "files", "DataFlint: more than 100"),
    "file_bytes": Limit(3 * MB, "B", "DataFlint: mean below 3 MB"),
    "file_open_s": Limit(0.02, "s", f"{_OWN}an S3 request and a footer, at best"),
    "broadcast_bytes": Limit(1024 * MB, "B", "DataFlint: above 1 GB"),
    "broadcast_heap": Limit(0.1, "of the heap", f"{_OWN}each executor and the driver hold it"),
    "broadcast_least": Limit(64 * MB, "B", f"{_OWN}smaller tables fit into a small heap"),
    "failure_share": Limit(0.10, "of tasks", "Dr. Elephant: 10 % is moderate"),
    "speculation_share": Limit(0.10, "of task time", f"{_OWN}acceptable cost of a shorter stage"),
    "speculation_least": Limit(2, "tasks", f"{_OWN}one may be chance"),
    "repeat_share": Limit(0.05, "of task time", f"{_OWN}less repeated work is normal"),
}


def limit(name: str) -> float:
    """Return the value of a threshold."""
    return LIMITS[name].value
