"""All kinds of findings, and the data that each of them needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from emrctl.metrics.findings.base import RunView


class Kind(NamedTuple):
    """A kind of finding.

    `confidence` is high if Spark reports the fact itself, medium if it follows from several
    figures, low if it is what remains after other causes. `needs` is a key of `NEEDS`.
    """

    title: str
    confidence: str
    needs: str = "tasks"

    def __str__(self) -> str:
        return self.title


KINDS: dict[str, Kind] = {
    "data_skew": Kind("one partition is much larger than the others", "high"),
    "gc_straggler": Kind("one task spends most of its time in garbage collection", "high"),
    "fetch_straggler": Kind("one task waits for shuffle data", "high"),
    "slow_host": Kind("tasks on one executor are slower than the same tasks elsewhere", "medium"),
    "straggler": Kind("one task is slow for an unknown reason", "low"),
    "few_partitions": Kind("fewer tasks than cores, or a nearly empty last wave", "high"),
    "many_partitions": Kind("more shuffle partitions than useful", "high"),
    "small_tasks": Kind("tasks shorter than their scheduling overhead", "high"),
    "idle_executors": Kind("some executors are idle while others work", "medium", "executors"),
    "allocation_churn": Kind(
        "dynamic allocation removes executors and requests them again", "high", "executors"
    ),
    "missing_executors": Kind(
        "requested executors were never allocated", "high", "ended executors"
    ),
    "driver_bound": Kind("executors wait for the driver", "medium", "end"),
    "gc": Kind("garbage collection takes much of the task time", "high"),
    "spill": Kind("data does not fit into memory and is spilled to disk", "high"),
    "memory_unused": Kind("most of the executor heap is never used", "medium", "heap"),
    "memory_short": Kind("the executor heap is too small", "high", "heap"),
    "container_killed": Kind("containers exceeded their memory limit and were killed", "high"),
    "small_files": Kind("many small files are read or written", "high"),
    "wide_broadcast": Kind("a large table is broadcast to every executor", "high", "plans"),
    "uncached_reuse": Kind("the same data is computed several times", "medium"),
    "failed_work": Kind("tasks or stages failed or were repeated", "high"),
    "fetch_failures": Kind("shuffle data was lost before it was read", "high"),
    "speculation_waste": Kind("speculative task copies were wasted", "high"),
    "large_partitions": Kind(
        "a shuffle partition is larger than a task can hold in memory", "high"
    ),
    "shuffle_bound": Kind("stages spend most of their time waiting for shuffle data", "high"),
    "cold_start": Kind("the first stage waits for executors", "high", "executors"),
    "slow_ramp": Kind("dynamic allocation adds executors too slowly", "medium", "executors"),
    "large_executors": Kind("executors have too many cores for one JVM", "medium", "executors"),
    "lost_executors": Kind(
        "executors were lost for other reasons than memory", "high", "executors"
    ),
    "excluded_executors": Kind("executors were excluded after failures", "high", "executors"),
    "low_overhead": Kind("the memory overhead is below Spark's default", "medium", "settings"),
    "cache_evicted": Kind("persisted data does not fit into memory", "high", "blocks"),
    "large_result": Kind("tasks return large results to the driver", "high", "sums"),
    "long_lineage": Kind("the lineage grows with each iteration", "medium"),
    "many_queries": Kind("many short queries run one after another", "medium"),
    "dropped_events": Kind("the event log lacks tasks: Spark dropped their events", "high"),
    "missed_broadcast": Kind(
        "a join shuffles a large table although the other one is small", "high", "plans"
    ),
    "nested_loop_join": Kind("a join compares every row with every other row", "high", "plans"),
    "exploding_join": Kind("a join returns many more rows than it reads", "medium", "plans"),
    "broadcast_timeout": Kind("a table to broadcast was not ready in time", "high", "plans"),
    "skew_not_split": Kind(
        "adaptive execution did not split a skewed partition", "medium", "adaptive"
    ),
    "adaptive_off": Kind("adaptive query execution is off", "medium", "adaptive"),
    "python_udf": Kind("Python functions are called row by row", "high", "plans"),
    "single_partition_window": Kind(
        "a window over the whole table runs in one task", "high", "plans"
    ),
    "text_format": Kind("large tables are read from CSV, JSON or text files", "high", "plans"),
    "full_partition_scan": Kind(
        "a filtered query reads all partitions of a table", "medium", "plans"
    ),
    "repeated_scan": Kind("several queries read the same data", "high", "plans"),
    "repeated_exchange": Kind("a query shuffles the same data twice", "high", "plans"),
    "slow_commit": Kind("writing ends with a long commit of files", "high", "plans"),
}


def _tasks(view: RunView) -> str:
    return "" if any(stage.tasks_ok for stage in view.run.stages) else "the log has no task"


def _end(view: RunView) -> str:
    return "the log has no ApplicationEnd event" if view.run.end_ms is None else ""


def _executors(view: RunView) -> str:
    if view.settings.local:
        return "the master is local: the driver runs the tasks"
    known = any(row.added_ms is not None and not row.is_driver for row in view.run.executors)
    return "" if known else "the log has no ExecutorAdded event"


def _ended_executors(view: RunView) -> str:
    return _executors(view) or _end(view)


def _heap(view: RunView) -> str:
    if view.settings.local or any(row.peak_memory for row in view.workers):
        return _executors(view)
    old = view.settings.version < (3, 0)
    reason = "Spark before 3.0 does not measure it" if old else "no executor lived long enough"
    return f"no executor reports the memory that it uses: {reason}"


def _settings(view: RunView) -> str:
    return "" if view.run.environment else "the log has no EnvironmentUpdate event"


def _blocks(view: RunView) -> str:
    key = "spark.eventLog.logBlockUpdates.enabled"
    if not view.run.cached or any(item.stored for item in view.run.cached):
        return ""
    return "" if view.settings.on(key) else f"the log has no block updates: set {key}=true"


def _sums(view: RunView) -> str:
    known = any(stage.result_bytes is not None for stage in view.run.stages)
    return "" if known else _tasks(view) or "the log has no sums of stages"


def _plans(view: RunView) -> str:
    queries = view.run.sql
    if any(query.operators is None for query in queries):
        return "the metrics were stored without plans by an earlier version of emrctl"
    if queries and view.settings.version < (2, 0):
        return "Spark before 2.0 does not log the metrics of plans"
    return ""


def _adaptive(view: RunView) -> str:
    if view.settings.version < (3, 0):
        known = view.run.spark_version or "an unknown version"
        return f"adaptive execution needs Spark 3.0 or later, and this is {known}"
    return _plans(view)


#: Functions that return why a rule cannot be checked, or an empty text.
NEEDS: dict[str, Callable[[RunView], str]] = {
    "tasks": _tasks,
    "end": _end,
    "executors": _executors,
    "ended executors": _ended_executors,
    "heap": _heap,
    "settings": _settings,
    "blocks": _blocks,
    "sums": _sums,
    "plans": _plans,
    "adaptive": _adaptive,
}
