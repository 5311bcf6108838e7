"""`emrctl metrics RUN`: print the metrics of a run or of any Spark event log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emrctl.cli import log_sources, options, render
from emrctl.cli.render.metrics import MetricsOptions, open_output
from emrctl.errors import NotFoundError

if TYPE_CHECKING:
    from emrctl.metrics.eventlog.layout import EventLogFiles
    from emrctl.metrics.model import RunMetrics, TaskMetrics
    from emrctl.runs.workspace import Workspace

    OnTask = Callable[[TaskMetrics], None] | None

app = options.new_app()
_SOURCE_HELP = "Event log (file, folder, archive, s3:// or -) or run."


@app.command()
@options.common("config target json")
def metrics(
    context: options.Context,
    source: Annotated[str, typer.Argument(metavar="PATH|RUN", help=_SOURCE_HELP)],
    stages: Annotated[bool, typer.Option("--stages", help="Include stages.")] = False,
    executors: Annotated[bool, typer.Option("--executors", help="Include executors.")] = False,
    tasks: Annotated[bool, typer.Option("--tasks", help="Include a row for each task.")] = False,
    findings: Annotated[
        bool, typer.Option("--findings", help="Include findings with advice.")
    ] = False,
    export: Annotated[
        Path | None,
        typer.Option("--export", help="Write a .parquet or .csv file of the runs or tables."),
    ] = None,
) -> None:
    """Print the metrics of a run or of any Spark event log; needs no Spark."""
    include = MetricsOptions(stages, executors, tasks, findings, context.as_json)
    with open_output(export, include) as out:
        out.finish(_read(context, source, out.task if tasks else None))


def _read(context: options.Context, source: str, on_task: OnTask) -> tuple[RunMetrics, ...]:
    """Read all event logs at `source`; with `on_task` only a single log is allowed."""
    from emrctl.metrics.eventlog import layout

    if source == "-":
        return _read_files(log_sources.from_stdin(), on_task)
    if source.startswith(("s3://", "s3a://", "s3n://")):
        s3 = context.workspace.target.client("s3")
        return _read_files(log_sources.from_s3(s3, source), on_task)
    path = log_sources.find_path(source)
    if path is not None:
        return _read_files(layout.list_files(path), on_task)
    return (_load_run(context.workspace, source, on_task),)


def _read_files(files: EventLogFiles, on_task: OnTask) -> tuple[RunMetrics, ...]:
    from emrctl.metrics.eventlog import reader

    if on_task is not None:
        return (reader.read_log(files, on_task=on_task),)
    return reader.read_logs(files, on_refused=lambda error: render.note(f"skipped: {error}"))


def _load_run(workspace: Workspace, name: str, on_task: OnTask) -> RunMetrics:
    from emrctl.metrics.model import RunMetrics
    from emrctl.runs.store import RunFiles

    run = workspace.store.load(name)
    document = workspace.store.files(run.id).read_json(RunFiles.METRICS)
    if document is None:
        raise NotFoundError(
            f"run {run.id} has no metrics: there is no event log (state {run.state})",
            hint=f"Fetch the event log: `emrctl pull {run.id}`.",
        )
    if on_task is not None:
        _read_files(log_sources.from_run(workspace.store, run.id), on_task)
    return RunMetrics.from_json(document)
