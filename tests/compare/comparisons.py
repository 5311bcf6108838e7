"""Comparisons with everything that a page shows, for its tests and those in a browser."""

from __future__ import annotations

import dataclasses
import io
import json
import random
from collections.abc import Iterator
from typing import Any

from emrctl.compare.comparison import Comparison, compare
from emrctl.compare.records import RunRecord
from emrctl.metrics.eventlog.layout import EventLogFile
from emrctl.metrics.live.nodes import NodeSample
from emrctl.metrics.model import ExecutorMetrics, NodeAccount, RunMetrics, Straggler
from tests.compare.stage_runs import spread, stage

EVIL = '<script>alert(1)</script><img src=x onerror=alert(2)> "quoted" & role="x" \\1'


def metrics(executors: int, name: str = "collect at job.py:3", slow: float = 1.0) -> RunMetrics:
    """Return an application of 10 s of start-up and three stages, the last one skewed."""
    work_s = 80 * slow / executors
    times = (10.0, 10 + work_s, 12 + work_s, 40 + work_s, 44 + work_s)
    rows = tuple(
        ExecutorMetrics(
            id=str(n + 1),
            host="worker",
            cores=2,
            added_ms=8_000 + 500 * n,
            complete_tasks=10,
            task_time_ms=int(1.6e6 * work_s / 80 / executors),
            remove_reason=name,
        )
        for n in range(executors)
    )
    scan = stage(0, times[0], times[1], name, task_time_ms=int(160_000 * slow), tasks=40)
    slowest = Straggler(task=7, executor="1", duration_ms=27_000, cpu_time_ms=26_000)
    skewed = stage(
        2,
        times[2],
        times[3],
        name,
        duration_ms_quantiles=spread(900, 27_000),
        operators=("Sort",),
        stragglers=(slowest,),
        task_time_ms=34_000,
    )
    last = stage(3, times[3], times[4], "save", duration_ms_quantiles=spread(300, 400), tasks=4)
    return RunMetrics(
        app_id=f"application_{executors}",
        app_name=name,
        spark_version="3.5.9",
        start_ms=0,
        end_ms=int(1000 * times[4]) + 2_000,
        complete=True,
        stages=(scan, skewed, last),
        executors=rows,
        peak_executors=executors,
    )


def node_samples(
    run: RunMetrics, count: int = 30, workers: int = 2, name: str = "ip-10-0-1"
) -> list[NodeSample]:
    """Return samples of nodes with 4 cores and 12,288 MB; the first one is idle in its 2nd half."""
    samples = []
    for at in range(count):
        nodes = tuple(
            NodeAccount(
                id=f"{name}-{n}.ec2.internal:8041",
                state="RUNNING",
                memory_used_mb=6144,
                memory_available_mb=6144,
                vcores_used=1,
                vcores_available=3,
                containers_cpu_cores=0.0 if n == 0 and 2 * at >= count else 2.0 + n,
                containers_memory_mb=3072,
            )
            for n in range(workers)
        )
        at_ms = (run.start_ms or 0) + at * ((run.end_ms or 0) - (run.start_ms or 0)) // count
        samples.append(NodeSample(at_ms=at_ms, nodes=nodes))
    return samples


def event_log(run: RunMetrics) -> tuple[EventLogFile, ...]:
    """Return an event log whose tasks fill the executors of `run` during its stages."""
    text = "\n".join(json.dumps(event) for event in _events(run)).encode()
    return (EventLogFile("app", lambda: io.BytesIO(text)),)


def noisy_log(run: RunMetrics, dice: random.Random) -> tuple[EventLogFile, ...]:
    """Return an event log of 60 tasks at random times on each executor of `run`."""
    log = {"Event": "SparkListenerLogStart", "Spark Version": "3.5.9"}
    lines = [json.dumps(log)]
    for worker in run.executors[:40]:
        for _ in range(60):
            begin = dice.randrange(run.end_ms or 1)
            stage_of_task = dataclasses.replace(
                run.stages[0], first_task_ms=begin, completed_ms=begin + dice.randrange(9_000)
            )
            one = dataclasses.replace(run, stages=(stage_of_task,), executors=(worker,))
            lines += [json.dumps(event) for event in _events(one)][1:]
    text = "\n".join(lines).encode()
    return (EventLogFile("app", lambda: io.BytesIO(text)),)


def _events(run: RunMetrics) -> Iterator[dict[str, Any]]:
    yield {"Event": "SparkListenerLogStart", "Spark Version": "3.5.9"}
    task = 0
    for item in run.stages:
        begin, end = item.first_task_ms or 0, item.completed_ms or 0
        for row in run.executors:
            info = {
                "Task ID": task,
                "Launch Time": begin,
                "Finish Time": end,
                "Executor ID": row.id,
                "Host": row.host,
            }
            yield {
                "Event": "SparkListenerTaskEnd",
                "Stage ID": item.id,
                "Task End Reason": {"Reason": "Success"},
                "Task Info": info,
            }
            task += 1


def record(executors: int, repeat: int, label: str = "", **options: Any) -> RunRecord:
    """Return a run on `executors` executors; repeats differ by 1 %."""
    name = options.pop("name", "collect at job.py:3")
    run = metrics(executors, name)
    nodes = node_samples(run, name=name if name == EVIL else "ip-10-0-1")
    seconds = (run.end_ms or 0) / 1000 * (1 + repeat / 100)
    cluster = {"release": "emr-7.5.0", "primary": "m5.xlarge", "core": "2 m5.xlarge"}
    return RunRecord(
        id=f"run-{executors}-{repeat}",
        label=label or f"{executors} executors",
        job="scale",
        settings={"executors": executors, "cluster": cluster, "code": "0a1b/job.py"},
        duration_s=seconds,
        metrics=run,
        cost_usd=seconds * 0.0002 * (1 + executors / 4),
        event_log=lambda: event_log(run),
        node_samples=lambda: nodes,
        **options,
    )


def scaled() -> Comparison:
    """Return three configurations of three repeats that differ in their executors."""
    return compare([record(n, repeat) for repeat in range(3) for n in (1, 2, 4)])


def hostile() -> Comparison:
    """Return runs whose texts are markup."""
    result = {"figures": {EVIL: 1.0}}
    runs = [
        record(n, repeat, f"{n} {EVIL}", name=EVIL, local=True, warnings=(EVIL,), result=result)
        for repeat in range(2)
        for n in (1, 2)
    ]
    failed = RunRecord(id="r9", label=EVIL, settings={"conf": {EVIL: EVIL}}, state="FAILED")
    return compare([*runs, failed])
