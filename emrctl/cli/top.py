"""`emrctl top`: a run at work, its executors, stages and nodes, again and again."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from emrctl.cli import options
from emrctl.cli.render import top as screen
from emrctl.runs import lifecycle
from emrctl.runs.progress import Watcher

if TYPE_CHECKING:
    from emrctl.metrics.live.live import Live
    from emrctl.runs.workspace import Workspace

app = options.new_app()


@app.command()
@options.common("config target json")
def top(
    context: options.Context,
    run: options.RunArgument = "latest",
    once: Annotated[bool, typer.Option("--once", help="Look once; so it is in pipes.")] = False,
    interval: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks.")] = 2.0,
) -> None:
    """Watch a run at work: stages and their skew, executors, nodes, queue.

    With --json a line of JSON for each look. It ends when the run does.
    """
    workspace = context.workspace
    looks = _looks(workspace, run, interval)
    if once or not (context.as_json or sys.stdout.isatty()):
        screen.once(next(looks), as_json=context.as_json)
    elif context.as_json:
        screen.lines(looks)
    else:
        screen.screen(looks)


def _looks(workspace: Workspace, name: str, interval_s: float) -> Iterator[Live]:
    """What is known of the run every `interval_s` seconds, until it has finished.

    EMR's own API is asked no more often than it may be.
    """
    watcher = Watcher(workspace)
    run = lifecycle.refresh(workspace, workspace.store.load(name))
    asked = time.monotonic()
    yield watcher.whole(run)
    while not run.finished:
        time.sleep(interval_s)
        if time.monotonic() - asked >= workspace.target.poll_s:
            run, asked = lifecycle.refresh(workspace, run), time.monotonic()
        yield watcher.whole(run)
