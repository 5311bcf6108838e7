"""How `emrctl top` shows a run at work: a screen that changes, one picture, or lines of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import typer

from emrctl.cli import render

if TYPE_CHECKING:
    from rich.console import Group, RenderableType

    from emrctl.metrics.live.live import Live
    from emrctl.metrics.live.sparkui import LiveStage
    from emrctl.metrics.model import ClusterAccount, ExecutorMetrics

_SKEWED, _MOST_ROWS = 3.0, 20


def once(found: Live, *, as_json: bool) -> None:
    """One picture on stdout."""
    if as_json:
        render.json_document(found.to_json())
    else:
        render.output().print(picture(found))


def lines(looks: Iterable[Live]) -> None:
    """A line of JSON for each look."""
    for found in looks:
        typer.echo(json.dumps(found.to_json(), ensure_ascii=False))


def screen(looks: Iterator[Live]) -> None:
    """A screen that changes; the last picture stays."""
    from rich.live import Live as Screen

    with Screen(console=render.output(), auto_refresh=False) as display:
        for found in looks:
            display.update(picture(found), refresh=True)


def picture(found: Live) -> Group:
    """The run in a few lines and tables; every text of it is text, whatever marks it holds."""
    from rich.console import Group

    return Group(*_parts(found))


def _parts(found: Live) -> Iterator[RenderableType]:
    from rich.text import Text

    yield Text(_head(found))
    if found.spark is not None:
        if found.spark.stages:
            yield _stages(found.spark.stages)
        workers = [row for row in found.spark.executors if row.active and not row.is_driver]
        yield _executors(workers or found.spark.executors)
    if found.cluster is not None:
        yield from _cluster(found.cluster)
    stale = [f"{name} {age:.0f} s ago" for name, age in found.ages_s.items() if age >= 5]
    if stale:
        yield Text(f"Last heard: {', '.join(stale)}")


def _head(found: Live) -> str:
    parts = [found.run, found.state]
    if found.application is not None:
        app = found.application
        parts += [f"{app.application_id} {app.state}", f"containers {app.running_containers or 0}"]
    if found.spark is not None:
        seen = found.spark.progress
        parts.append(f"jobs {seen.jobs_done}/{seen.jobs_total}")
        parts.append(f"stages {seen.stages_done}/{seen.stages_total}")
        parts.append(f"tasks {seen.tasks_done}/{seen.tasks_total}, {seen.tasks_active} at work")
        parts += [f"{seen.tasks_failed} failed"] if seen.tasks_failed else []
    return "  ".join(parts)


def _stages(stages: Iterable[LiveStage]) -> RenderableType:
    rows = [
        (
            f"{stage.id}.{stage.attempt}" if stage.attempt else str(stage.id),
            _plain(stage.name),
            f"{stage.done}/{stage.tasks}",
            str(stage.active),
            str(stage.failed or ""),
            _seconds(stage.median_ms),
            _seconds(stage.longest_ms),
            _skew(stage),
        )
        for stage in stages
    ]
    columns = ("stage", "name", "tasks", "at work", "failed", "median", "longest", "skew")
    return render.build_table(*columns, rows=rows, right=columns[2:7])


def _skew(stage: LiveStage) -> str:
    if stage.skew is None:
        return ""
    text = f"{stage.skew:.1f} x"
    where = f" on executor {stage.slowest_on}" if stage.slowest_on else ""
    return text + where if stage.skew >= _SKEWED else text


def _executors(executors: Iterable[ExecutorMetrics]) -> RenderableType:
    listed = list(executors)
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
        for row in listed[:_MOST_ROWS]
    ]
    if len(listed) > _MOST_ROWS:
        rows.append((f"and {len(listed) - _MOST_ROWS} more", "", "", "", "", "", "", "", "", ""))
    columns = ("executor", "host", "busy", "done", "failed", "task time", "GC")
    sizes = ("input MB", "shuffle in MB", "shuffle out MB")
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
        for node in account.nodes[:_MOST_ROWS]
    ]
    columns = ("node", "state", "containers", "YARN MB", "in use MB", "CPU cores in use")
    yield render.build_table(*columns, rows=rows, right=columns[2:])
    for queue in account.queues:
        text = f"queue {queue.name}: {queue.used_percent:.0f} % of the cluster, "
        yield Text(f"{text}{queue.running_apps} running, {queue.pending_apps} waiting")


def _seconds(milliseconds: int | None) -> str:
    return "" if milliseconds is None else f"{milliseconds / 1000:,.1f} s"


def _mb(count: int) -> str:
    return f"{count / 1e6:,.1f}" if count else ""


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
