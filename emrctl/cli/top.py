"""`emrctl top`: progress of a run as a live screen, one snapshot, or lines of JSON."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from emrctl.cli import options, render
from emrctl.runs import lifecycle
from emrctl.runs.progress import Watcher

if TYPE_CHECKING:
    from rich.console import Group, RenderableType

    from emrctl.metrics.live.nodes import NodeSample
    from emrctl.metrics.live.snapshot import LiveSnapshot
    from emrctl.metrics.live.sparkui import LiveStage
    from emrctl.metrics.model import ClusterAccount, ExecutorMetrics
    from emrctl.runs.workspace import Workspace

app = options.new_app()
_SKEW_THRESHOLD, _MAX_ROWS = 3.0, 20
_BARS, _SPARKLINE = "·▁▂▃▄▅▆▇█", 14


@app.command()
@options.common("config target json")
def top(
    context: options.Context,
    run: options.RunArgument = "latest",
    once: Annotated[
        bool, typer.Option("--once", help="Print once and exit; default without a terminal.")
    ] = False,
    interval: Annotated[float, typer.Option(min=0.2, help="Seconds between updates.")] = 2.0,
) -> None:
    """Watch a run until it finishes: stages, skew, executors, nodes and queues.

    CPU and memory of the nodes are shown over time, also of a finished run. With
    --json, every update is one line.
    """
    watcher = Watcher(context.workspace)
    snapshots = _snapshots(context.workspace, watcher, run, interval)
    if context.as_json and once:
        render.json_document(next(snapshots).to_json())
    elif context.as_json:
        for live in snapshots:
            typer.echo(json.dumps(live.to_json(), ensure_ascii=False))
    elif once or not sys.stdout.isatty():
        live = next(snapshots)
        render.output().print(_screen(live, watcher.samples(live.run)))
    else:
        _show_live(snapshots, watcher)


def _snapshots(
    workspace: Workspace, watcher: Watcher, name: str, interval_s: float
) -> Iterator[LiveSnapshot]:
    """Yield the state of the run every `interval_s` seconds until it has finished.

    EMR's API is called at most once per polling interval of the target.
    """
    run = lifecycle.refresh(workspace, workspace.store.load(name))
    refreshed = time.monotonic()
    yield watcher.snapshot(run)
    while not run.finished:
        time.sleep(interval_s)
        if time.monotonic() - refreshed >= workspace.target.poll_s:
            run, refreshed = lifecycle.refresh(workspace, run), time.monotonic()
        yield watcher.snapshot(run)


def _show_live(snapshots: Iterator[LiveSnapshot], watcher: Watcher) -> None:
    """Show each snapshot in place of the previous one; the last one stays."""
    from rich.live import Live as Screen

    with Screen(console=render.output(), auto_refresh=False) as screen:
        for live in snapshots:
            screen.update(_screen(live, watcher.samples(live.run)), refresh=True)


def _screen(live: LiveSnapshot, samples: Sequence[NodeSample]) -> Group:
    from rich.console import Group

    return Group(*_parts(live), *_history(samples))


def _parts(live: LiveSnapshot) -> Iterator[RenderableType]:
    from rich.text import Text

    yield Text(_summary(live))
    if live.spark is not None:
        if live.spark.stages:
            yield _stages(live.spark.stages)
        workers = [row for row in live.spark.executors if row.active and not row.is_driver]
        yield _executors(workers or live.spark.executors)
    if live.cluster is not None:
        yield from _cluster(live.cluster)
    stale = [f"{name} {age:.0f} s ago" for name, age in live.ages_s.items() if age >= 5]
    if stale:
        yield Text(f"Last update: {', '.join(stale)}")


def _summary(live: LiveSnapshot) -> str:
    parts = [live.run, live.state]
    if live.application is not None:
        app = live.application
        parts += [f"{app.application_id} {app.state}", f"containers {app.running_containers or 0}"]
    if live.spark is not None:
        count = live.spark.progress
        parts.append(f"jobs {count.jobs_done}/{count.jobs_total}")
        parts.append(f"stages {count.stages_done}/{count.stages_total}")
        parts.append(f"tasks {count.tasks_done}/{count.tasks_total}, {count.tasks_active} active")
        parts += [f"{count.tasks_failed} failed"] if count.tasks_failed else []
    return "  ".join(parts)


def _stages(stages: Iterable[LiveStage]) -> RenderableType:
    rows = [
        (
            f"{stage.id}.{stage.attempt}" if stage.attempt else str(stage.id),
            render.plain(stage.name),
            f"{stage.done}/{stage.tasks}",
            str(stage.active),
            str(stage.failed or ""),
            _seconds(stage.median_ms),
            _seconds(stage.longest_ms),
            _skew(stage),
        )
        for stage in stages
    ]
    columns = ("stage", "name", "tasks", "active", "failed", "median", "longest", "skew")
    return render.build_table(*columns, rows=rows, right=columns[2:7])


def _skew(stage: LiveStage) -> str:
    if stage.skew is None:
        return ""
    executor = f" on executor {stage.slowest_on}" if stage.slowest_on else ""
    return f"{stage.skew:.1f} x" + (executor if stage.skew >= _SKEW_THRESHOLD else "")


def _executors(executors: Iterable[ExecutorMetrics]) -> RenderableType:
    items = list(executors)
    rows = [
        (
            row.id,
            row.host,
            f"{row.active_tasks}/{row.cores}",
            str(row.complete_tasks),
            str(row.failed_tasks or ""),
            _seconds(row.task_time_ms),
            _seconds(row.gc_time_ms),
            _mb(row.input_bytes),
            _mb(row.shuffle_read_bytes),
            _mb(row.shuffle_write_bytes),
        )
        for row in items[:_MAX_ROWS]
    ]
    if len(items) > _MAX_ROWS:
        rows.append((f"and {len(items) - _MAX_ROWS} more", "", "", "", "", "", "", "", "", ""))
    columns = ("executor", "host", "active", "complete", "failed", "task time", "GC")
    sizes = ("input MB", "shuffle read MB", "shuffle write MB")
    return render.build_table(*columns, *sizes, rows=rows, right=(*columns[2:], *sizes))


def _cluster(account: ClusterAccount) -> Iterator[RenderableType]:
    from rich.text import Text

    rows = [
        (
            node.id,
            node.state,
            str(node.containers),
            f"{node.memory_used_mb}/{node.memory_used_mb + node.memory_available_mb}",
            "" if node.physical_memory_used_mb is None else str(node.physical_memory_used_mb),
            "" if node.cpu_used_cores is None else f"{node.cpu_used_cores:.1f}",
        )
        for node in account.nodes[:_MAX_ROWS]
    ]
    columns = ("node", "state", "containers", "YARN MB", "physical MB", "CPU cores")
    yield render.build_table(*columns, rows=rows, right=columns[2:])
    for queue in account.queues:
        text = f"queue {queue.name}: {queue.used_percent:.0f} % of the cluster, "
        yield Text(f"{text}{queue.running_apps} running, {queue.pending_apps} pending")


def _history(samples: Sequence[NodeSample]) -> Iterator[RenderableType]:
    """Yield the CPU and the memory of the nodes over time, relative to their cores and memory."""
    from rich.text import Text

    from emrctl.metrics.live import nodes

    rows = []
    for item in nodes.histories(samples)[:_MAX_ROWS]:
        row = [_host(item.id)]
        for values, whole in (
            (item.cpu_cores, item.cores),
            (item.physical_mb, item.memory_total_mb),
        ):
            shares = [(value or 0.0) / (whole or 1) for value in values]
            cells = [f"{100 * share:.0f} %" for share in (sum(shares) / len(shares), max(shares))]
            measured = any(value is not None for value in values)
            row += [_sparkline(item.at_ms, shares), *cells] if measured else ["", "", ""]
        rows.append(tuple(row))
    if rows:
        yield Text("Over time, of each node's cores and memory for YARN:")
        columns = ("CPU", "mean", "peak", "memory", "mean", "peak")
        yield render.build_table("node", *columns, rows=rows, right=("mean", "peak"))


def _host(node: str) -> str:
    """Return the name of a node without the domain; on localhost only ports differ."""
    host = node.partition(":")[0]
    return node if host == "localhost" else host.split(".")[0]


def _sparkline(at_ms: Sequence[int], shares: Sequence[float]) -> str:
    """Return the means of equal parts of the time as bars."""
    length = at_ms[-1] - at_ms[0] + 1
    parts: list[list[float]] = [[] for _ in range(_SPARKLINE)]
    for at, share in zip(at_ms, shares, strict=True):
        parts[(at - at_ms[0]) * _SPARKLINE // length].append(share)
    text, bar = "", _BARS[0]
    for part in parts:
        if part:  # otherwise no sample: as before
            mean = min(1.0, sum(part) / len(part))
            bar = _BARS[math.ceil(mean * (len(_BARS) - 1))]
        text += bar
    return text


def _seconds(milliseconds: int | None) -> str:
    return "" if milliseconds is None else f"{milliseconds / 1000:,.1f} s"


def _mb(count: int) -> str:
    return f"{count / 1e6:,.1f}" if count else ""
