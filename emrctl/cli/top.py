"""`emrctl top`: progress of a run, refreshed until it finishes."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from emrctl.cli import options
from emrctl.cli.render import top as render
from emrctl.runs import lifecycle
from emrctl.runs.progress import Watcher

if TYPE_CHECKING:
    from emrctl.metrics.live.snapshot import LiveSnapshot
    from emrctl.runs.workspace import Workspace

app = options.new_app()


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

    With --json, every update is one line.
    """
    snapshots = _snapshots(context.workspace, run, interval)
    if once or not (context.as_json or sys.stdout.isatty()):
        render.print_snapshot(next(snapshots), as_json=context.as_json)
    elif context.as_json:
        render.print_lines(snapshots)
    else:
        render.show_live(snapshots)


def _snapshots(workspace: Workspace, name: str, interval_s: float) -> Iterator[LiveSnapshot]:
    """Yield the state of the run every `interval_s` seconds until it has finished.

    EMR's API is called at most once per polling interval of the target.
    """
    watcher = Watcher(workspace)
    run = lifecycle.refresh(workspace, workspace.store.load(name))
    refreshed = time.monotonic()
    yield watcher.snapshot(run)
    while not run.finished:
        time.sleep(interval_s)
        if time.monotonic() - refreshed >= workspace.target.poll_s:
            run, refreshed = lifecycle.refresh(workspace, run), time.monotonic()
        yield watcher.snapshot(run)
