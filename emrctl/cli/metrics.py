"""`emrctl metrics`: what a run, or any Spark event log, says the application did."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emrctl.cli import options, render
from emrctl.errors import NotFoundError
from emrctl.metrics.model import RunMetrics

app = options.new_app()


@app.command()
def metrics(
    source: Annotated[
        str, typer.Argument(metavar="PATH|RUN", help="An event log's file or folder, or a run.")
    ],
    stages: Annotated[bool, typer.Option("--stages", help="Stages too.")] = False,
    executors: Annotated[bool, typer.Option("--executors", help="Executors too.")] = False,
    config: options.ConfigOption = None,
    target: options.TargetOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Print the metrics of a run, or of any Spark event log: no Spark and no Java needed."""
    found = _metrics(source, config, target)
    render.metrics(found, stages=stages, executors=executors, as_json=as_json)


def _metrics(source: str, config: Path | None, target: str | None) -> RunMetrics:
    path = Path(source).expanduser()
    if path.exists():
        from emrctl.metrics import eventlog

        return eventlog.read_path(path)
    workspace = options.open_workspace(config, target=target)
    run = workspace.store.load(source)
    document = workspace.store.get_json(run.id, "metrics.json")
    if document is None:
        raise NotFoundError(
            f"run {run.id} has no metrics: Spark wrote no event log, or it is {run.state}",
            hint=f"`emrctl pull {run.id}` looks again.",
        )
    return RunMetrics.from_json(document)
