"""`emrctl runs query` and `emrctl runs import`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from emrctl.cli import log_sources, options, render
from emrctl.cli.render.runs import print_runs
from emrctl.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from emrctl.metrics.eventlog.layout import EventLogFile
    from emrctl.runs.sql import QueryResult
    from emrctl.runs.workspace import Workspace

app = typer.Typer()


@app.command()
@options.common("config target json")
def query(
    context: options.Context,
    sql: Annotated[
        str,
        typer.Argument(metavar="SQL", help="SELECT on runs, stages, executors, findings (DuckDB)."),
    ],
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """Query the store of runs in SQL, read-only."""
    from emrctl.runs import sql as runs_sql

    result = runs_sql.query(context.workspace.store, sql)
    if context.as_json:
        render.json_document(runs_sql.to_json(result))
    elif as_csv:
        typer.echo(runs_sql.to_csv(result), nl=False)
    else:
        _print_table(result)


@app.command("import")
@options.common("config target json")
def import_(
    context: options.Context,
    source: Annotated[
        str, typer.Argument(metavar="PATH", help="Event log, folder of event logs, or s3:// URI.")
    ],
) -> None:
    """Import event logs from elsewhere as finished runs."""
    from emrctl.runs import import_logs

    workspace = context.workspace
    files, remote = _event_log_files(workspace, source)
    logs = []
    for log in import_logs.import_files(workspace, files, remote=remote):
        logs.append(log)
        if log.run is None:
            render.note(f"skipped: {log.reason}")
        elif log.known:
            render.note(f"{log.name} is already imported as run {log.run.id}")
    runs = [log.run for log in logs if log.run is not None]
    if not runs:
        raise UsageError(f"no event log in {source} can be imported: {logs[0].reason}")
    print_runs(workspace, runs, as_json=context.as_json)


def _event_log_files(workspace: Workspace, source: str) -> tuple[tuple[EventLogFile, ...], bool]:
    """Return the files at `source`, and whether they are on S3."""
    from emrctl.metrics.eventlog import layout

    if source.startswith(("s3://", "s3a://", "s3n://")):
        return log_sources.from_s3(workspace.target.client("s3"), source), True
    path = log_sources.find_path(source)
    if path is None:
        raise NotFoundError(f"no event log at {source}")
    files = layout.list_files(path)
    if not files:
        raise layout.no_event_log()
    return files, False


def _print_table(result: QueryResult) -> None:
    from emrctl.runs import sql as runs_sql

    rows = runs_sql.cells(result.rows)
    numbers = [
        name
        for index, name in enumerate(result.columns)
        if any(isinstance(row[index], int | float) for row in result.rows)
    ]
    render.table(*result.columns, rows=rows, right=tuple(numbers))
    render.note(f"{len(rows)} rows")
