"""Thresholds of findings, with their sources; `findings:` in emrctl.yaml overrides their values.

Apart from the rules, since reading emrctl.yaml must not import them.
"""

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
    "partition_bytes": Limit(512 * MB, "B", f"{_OWN}8 x Spark's advisory size; DataFlint: 5 GB"),
    "wanted_partition_bytes": Limit(128 * MB, "B", "AWS EMR best practices: 128 MB and less"),
    "fetch_share": Limit(0.5, "of run time", "AWS EMR Serverless Config Advisor: above 50 %"),
    "cold_start_s": Limit(30, "s", "SparkForensics: 30 s until the first task"),
    "ramp_share": Limit(0.5, "of the peak", f"{_OWN}half of the executors were there at once"),
    "large_cores": Limit(10, "cores", "Dr. Elephant: 10 is critical; 4 or 5 are recommended"),
    "evicted_share": Limit(0.1, "of partitions", "SparkForensics: less than 90 % cached"),
    "on_disk_share": Limit(0.15, "of bytes", "SparkForensics: more than 15 % on disk"),
    "storage_full": Limit(0.6, "of the storage", f"{_OWN}execution takes the rest"),
    "result_share": Limit(0.5, "of the limit", f"{_OWN}twice the data fails"),
    "lineage_rdds": Limit(100, "RDDs", f"{_OWN}the driver walks through all for each task set"),
    "lineage_growth": Limit(10, "sizes", f"{_OWN}fewer different sizes are no iteration"),
    "queries": Limit(100, "queries", f"{_OWN}a loop over keys or files"),
    "query_s": Limit(1.0, "s", f"{_OWN}planning and scheduling dominate shorter ones"),
    "lost_share": Limit(0.1, "of tasks", f"{_OWN}figures are off by as much"),
    "small_side_bytes": Limit(10 * MB, "B", "Spark's default of autoBroadcastJoinThreshold"),
    "medium_side_bytes": Limit(100 * MB, "B", "DataFlint: against more than 10 GB"),
    "medium_other_bytes": Limit(10 * 1024 * MB, "B", "DataFlint: as above"),
    "large_side_bytes": Limit(1024 * MB, "B", "DataFlint: against more than 300 GB"),
    "large_other_bytes": Limit(300 * 1024 * MB, "B", "DataFlint: as above"),
    "pairs": Limit(10_000_000, "pairs", f"{_OWN}fewer comparisons take a second"),
    "join_rows": Limit(1_000_000, "rows", "SparkForensics: 1 M rows returned"),
    "join_ratio": Limit(10, "x rows", "SparkForensics: 10 x the larger input"),
    "python_bytes": Limit(32 * MB, "B", "SparkForensics: 64 MB; half of it takes 10 s, too"),
    "python_saving": Limit(0.5, "of task time", f"{_OWN}functions on columns halve it at least"),
    "window_rows": Limit(100_000, "rows", f"{_OWN}fewer rows are sorted in no time"),
    "text_bytes": Limit(128 * MB, "B", f"{_OWN}one split of HDFS"),
    "text_saving": Limit(0.5, "of task time", f"{_OWN}Parquet needs no parsing and fewer columns"),
    "scan_partitions": Limit(10, "partitions", f"{_OWN}fewer are read soon"),
    "scans": Limit(3, "queries", "SparkForensics: 2; the first one would fill the cache"),
    "scan_bytes": Limit(64 * MB, "B", f"{_OWN}less is read soon"),
    "exchange_nodes": Limit(3, "operators", "SparkForensics: subtrees of 3 operators"),
    "exchange_bytes": Limit(32 * MB, "B", f"{_OWN}less is shuffled soon"),
}
