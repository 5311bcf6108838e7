"""Where a figure becomes a finding: one table, each value with the source that it is from."""

from __future__ import annotations

from typing import NamedTuple

MB = 1024 * 1024


class Limit(NamedTuple):
    """A threshold; `source` says who holds it, or why it is ours."""

    value: float
    unit: str
    source: str


_OURS = "ours, tried on real logs: "
LIMITS: dict[str, Limit] = {
    "worth_s": Limit(1.0, "s", f"{_OURS}less is within what two equal runs differ by"),
    "worth_share": Limit(0.02, "of the run", f"{_OURS}as above"),
    "high_share": Limit(0.25, "of the run", f"{_OURS}a quarter of the run is the first to act on"),
    "medium_share": Limit(0.10, "of the run", f"{_OURS}a tenth"),
    "skew_ratio": Limit(3.0, "x median", "rapids-tools: a task of 3 x the stage's mean is skewed"),
    "skew_least_tasks": Limit(4, "tasks", f"{_OURS}the median of fewer says nothing"),
    "skew_bytes_ratio": Limit(2.0, "x median", f"{_OURS}compressed bytes differ less than rows do"),
    "cause_share": Limit(0.5, "of the excess", f"{_OURS}the cause explains most of it"),
    "slow_host_least": Limit(3, "tasks", f"{_OURS}by chance 3 slow tasks meet on one host rarely"),
    "slow_host_share": Limit(0.75, "of slow tasks", f"{_OURS}each host has a slow first task"),
    "few_share": Limit(0.9, "of the cores", f"{_OURS}what keeps them all but busy is enough"),
    "wave_tasks": Limit(4, "x cores", f"{_OURS}after more waves the last one hardly counts"),
    "even_ratio": Limit(1.5, "x median", f"{_OURS}tasks of like length: only then waves are even"),
    "worth_cutting_ms": Limit(2000, "ms", f"{_OURS}shorter ones are their own start, not data"),
    "short_task_ms": Limit(200, "ms", "Spark's tuning guide: efficient down to tasks of 200 ms"),
    "many_tasks": Limit(8, "x cores", "Spark's tuning guide: 2 to 3 tasks for each core"),
    "idle_share": Limit(0.5, "of core time", "DataFlint: more than half idle"),
    "idle_fair_share": Limit(0.1, "of its share", f"{_OURS}an executor that did next to nothing"),
    "idle_life_s": Limit(10, "s", f"{_OURS}one that has just come had no time to work"),
    "churn_returns": Limit(2, "executors", f"{_OURS}one that comes back may be chance"),
    "churn_life_s": Limit(300, "s", f"{_OURS}who worked longer has earned its start-up"),
    "driver_share": Limit(0.25, "of the run", f"{_OURS}reading and writing take less elsewhere"),
    "start_up_s": Limit(15, "s", f"{_OURS}a session is set up in that, whatever the driver does"),
    "driver_least_s": Limit(3, "s", f"{_OURS}every application takes that to begin and end"),
    "gc_share": Limit(0.10, "of run time", "Dr. Elephant: 10 % is moderate; Spark's page: red"),
    "gc_normal": Limit(0.05, "of run time", "Dr. Elephant: 5 % and less is too much memory"),
    "spill_bytes": Limit(64 * MB, "B", f"{_OURS}less is written before anybody notices"),
    "disk_bytes_s": Limit(100 * MB, "B/s", "EBS gp3: 125 MB/s before it is paid for"),
    "heap_full": Limit(0.95, "of the heap", "DataFlint: above is under-provisioned"),
    "heap_empty": Limit(0.40, "of the heap", "DataFlint has 0.70; a JVM fills what it has"),
    "heap_worth_mb": Limit(2048, "MB", f"{_OURS}less room helps no further executor"),
    "heap_task_s": Limit(10, "s", f"{_OURS}who hardly worked says nothing of what is needed"),
    "files": Limit(100, "files", "DataFlint: more than 100"),
    "file_bytes": Limit(3 * MB, "B", "DataFlint: mean below 3 MB"),
    "file_open_s": Limit(0.02, "s", f"{_OURS}an S3 request and a footer, at their best"),
    "broadcast_bytes": Limit(1024 * MB, "B", "DataFlint: above 1 GB"),
    "broadcast_heap": Limit(0.1, "of the heap", f"{_OURS}each executor holds it, and the driver"),
    "broadcast_least": Limit(64 * MB, "B", f"{_OURS}beneath it even a small heap has room"),
    "failure_share": Limit(0.10, "of tasks", "Dr. Elephant: 10 % is moderate"),
    "speculation_share": Limit(0.10, "of task time", f"{_OURS}what may be lost for a faster end"),
    "speculation_least": Limit(2, "tasks", f"{_OURS}one may be chance"),
    "repeat_share": Limit(0.05, "of task time", f"{_OURS}retried work beneath it is weather"),
}


def limit(name: str) -> float:
    """The value of the threshold called `name`."""
    return LIMITS[name].value
