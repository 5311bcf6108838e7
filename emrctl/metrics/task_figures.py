"""The figures that Spark measures of each task, each declared once.

A declaration goes from the key in the event log to the tables that show the figure. Decoding,
sums and tables are derived from `FIGURES`; a figure with quantiles, or of executors, also needs
its field in `model.py`. All figures are sums: a maximum over tasks has no place here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class TaskFigure:
    """How one figure is read, aggregated and shown.

    `sources` maps its keys in `Task Metrics`, inside `group` if set, to Spark's names for their
    sums over a stage (`internal.metrics.*`); several keys are added. With `quantiles`,
    StageMetrics has a field `<name>_quantiles`. `executor` and `straggler` are its fields in
    ExecutorMetrics and Straggler, `compared` its key in comparisons. `in_stage_table` adds a column
    to `emrctl metrics --stages`. The suffix of the name is its unit: `_ms`, `_ns` or `_bytes`.
    """

    name: str = ""
    label: str
    sources: Mapping[str, str]
    group: str = ""
    quantiles: bool = False
    executor: str = ""
    straggler: str = ""
    compared: str = ""
    in_stage_table: bool = False


def _figure(label: str, sources: Mapping[str, str], **options: Any) -> Any:
    figure = TaskFigure(label=label, sources=sources, **options)
    return field(default=0, metadata={"figure": figure})


@dataclass(frozen=True, kw_only=True)
class RunFigures:
    """The figures that are summed over whole runs, too."""

    executor_run_time_ms: int = _figure(
        "run time", {"Executor Run Time": "executorRunTime"}, straggler="run_time_ms"
    )
    executor_cpu_time_ns: int = _figure(
        "CPU time", {"Executor CPU Time": "executorCpuTime"}, straggler="cpu_time_ms"
    )
    jvm_gc_time_ms: int = _figure(
        "GC time",
        {"JVM GC Time": "jvmGCTime"},
        executor="gc_time_ms",
        straggler="gc_time_ms",
        compared="gc_time_s",
        in_stage_table=True,
    )
    input_bytes: int = _figure(
        "input",
        {"Bytes Read": "input.bytesRead"},
        group="Input Metrics",
        quantiles=True,
        executor="input_bytes",
        straggler="read_bytes",
        compared="input_bytes",
        in_stage_table=True,
    )
    output_bytes: int = _figure(
        "output",
        {"Bytes Written": "output.bytesWritten"},
        group="Output Metrics",
        straggler="written_bytes",
        compared="output_bytes",
        in_stage_table=True,
    )
    shuffle_read_bytes: int = _figure(
        "shuffle read",
        {
            "Local Bytes Read": "shuffle.read.localBytesRead",
            "Remote Bytes Read": "shuffle.read.remoteBytesRead",
        },
        group="Shuffle Read Metrics",
        quantiles=True,
        executor="shuffle_read_bytes",
        straggler="read_bytes",
        compared="shuffle_read_bytes",
        in_stage_table=True,
    )
    shuffle_write_bytes: int = _figure(
        "shuffle write",
        {"Shuffle Bytes Written": "shuffle.write.bytesWritten"},
        group="Shuffle Write Metrics",
        quantiles=True,
        executor="shuffle_write_bytes",
        straggler="written_bytes",
        compared="shuffle_write_bytes",
        in_stage_table=True,
    )
    memory_spilled_bytes: int = _figure(
        "spill (memory)",
        {"Memory Bytes Spilled": "memoryBytesSpilled"},
        quantiles=True,
        compared="memory_spilled_bytes",
    )
    disk_spilled_bytes: int = _figure(
        "spill (disk)",
        {"Disk Bytes Spilled": "diskBytesSpilled"},
        compared="disk_spilled_bytes",
        in_stage_table=True,
    )


@dataclass(frozen=True, kw_only=True)
class TaskFigures(RunFigures):
    """The figures of one task, or summed over the tasks of a stage attempt."""

    fetch_wait_time_ms: int = _figure(
        "fetch wait",
        {"Fetch Wait Time": "shuffle.read.fetchWaitTime"},
        group="Shuffle Read Metrics",
        straggler="fetch_wait_time_ms",
    )


FIGURES: tuple[TaskFigure, ...] = tuple(
    dataclasses.replace(item.metadata["figure"], name=item.name)
    for item in dataclasses.fields(TaskFigures)
)
NAMES = tuple(figure.name for figure in FIGURES)
RUN_NAMES = tuple(item.name for item in dataclasses.fields(RunFigures))
