"""`emrctl metrics`: what a run, or any Spark event log, says the application did."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emrctl.cli import log_sources, options, render
from emrctl.cli.render.metrics import Wanted, output_to
from emrctl.errors import NotFoundError

if TYPE_CHECKING:
    from emrctl.errors import UsageError
    from emrctl.metrics.eventlog.layout import EventLogFile
    from emrctl.metrics.model import RunMetrics, TaskMetrics
    from emrctl.runs.workspace import Workspace

app = options.new_app()
_SOURCE_HELP = "An event log's file, folder or archive, s3://…, - for stdin; or a run."


@app.command()
@options.common("config target json")
def metrics(
    context: options.Context,
    source: Annotated[str, typer.Argument(metavar="PATH|RUN", help=_SOURCE_HELP)],
    stages: Annotated[bool, typer.Option("--stages", help="Stages too.")] = False,
    executors: Annotated[bool, typer.Option("--executors", help="Executors too.")] = False,
    tasks: Annotated[bool, typer.Option("--tasks", help="A row of each task too.")] = False,
    findings: Annotated[
        bool, typer.Option("--findings", help="What the figures mean, and what to change.")
    ] = False,
    export: Annotated[
        Path | None,
        typer.Option("--export", help="Write .parquet or .csv: runs, or what else is asked for."),
    ] = None,
) -> None:
    """Print the metrics of a run, or of any Spark event log: no Spark and no Java needed."""
    asked = {"stages": stages, "executors": executors, "tasks": tasks, "findings": findings}
    wanted = Wanted(**asked, as_json=context.as_json)
    with output_to(export, wanted) as out:
        out.finish(_read(context, source, out.task if tasks else None))


def _read(
    context: options.Context,
    source: str,
    on_task: Callable[[TaskMetrics], None] | None,
) -> tuple[RunMetrics, ...]:
    """Every log at `source`; the rows of tasks are those of one log, and go by as it is read."""
    from emrctl.metrics.eventlog import layout

    if source == "-":
        return _of_parts(log_sources.from_stdin(), on_task)
    if source.startswith(("s3://", "s3a://", "s3n://")):
        s3 = context.workspace.target.client("s3")
        return _of_parts(log_sources.from_s3(s3, source), on_task)
    path = log_sources.find_path(source)
    if path is not None:
        return _of_parts(layout.list_files(path), on_task)
    return (_of_run(context.workspace, source, on_task),)


def _of_parts(
    parts: tuple[EventLogFile, ...], on_task: Callable[[TaskMetrics], None] | None
) -> tuple[RunMetrics, ...]:
    from emrctl.metrics.eventlog import reader

    if on_task is not None:
        return (reader.read_log(parts, on_task=on_task),)
    return reader.read_logs(parts, on_refused=_note)


def _note(error: UsageError) -> None:
    render.note(f"passed over: {error}")


def _of_run(
    workspace: Workspace, name: str, on_task: Callable[[TaskMetrics], None] | None
) -> RunMetrics:
    from emrctl.metrics.model import RunMetrics

    run = workspace.store.load(name)
    document = workspace.store.get_json(run.id, "metrics.json")
    if document is None:
        raise NotFoundError(
            f"run {run.id} has no metrics: Spark wrote no event log, or it is {run.state}",
            hint=f"`emrctl pull {run.id}` looks again.",
        )
    if on_task is not None:
        _of_parts(log_sources.from_run(workspace.store, run.id), on_task)
    return RunMetrics.from_json(document)
