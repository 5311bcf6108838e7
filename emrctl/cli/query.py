"""`emrctl runs query` and `emrctl runs import`: the store as tables, and logs of others in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from emrctl.cli import log_sources, options, render
from emrctl.cli.render.runs import print_runs
from emrctl.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from emrctl.metrics.eventlog.layout import EventLogFile
    from emrctl.runs.import_logs import Taken
    from emrctl.runs.sql import Answer
    from emrctl.runs.workspace import Workspace

app = typer.Typer()
_SQL_HELP = "One SELECT over the tables runs, stages, executors and findings (DuckDB's SQL)."


@app.command()
@options.common("config target json")
def query(
    context: options.Context,
    sql: Annotated[str, typer.Argument(metavar="SQL", help=_SQL_HELP)],
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """Ask the store of runs in SQL; it is only read."""
    from emrctl.runs import sql as runs_sql

    answer = runs_sql.ask(context.workspace.store, sql)
    if context.as_json:
        render.json_document(runs_sql.to_json(answer))
    elif as_csv:
        typer.echo(runs_sql.to_csv(answer), nl=False)
    else:
        _table(answer)


@app.command("import")
@options.common("config target json")
def import_(
    context: options.Context,
    source: Annotated[
        str, typer.Argument(metavar="PATH", help="An event log, a folder of them, or s3://….")
    ],
) -> None:
    """Take event logs that emrctl did not make into the store, as finished runs."""
    from emrctl.runs import import_logs

    workspace = context.workspace
    parts, remote = _parts(workspace, source)
    found = list(map(_told, import_logs.take(workspace, parts, remote=remote)))
    taken = [item.run for item in found if item.run is not None]
    if not taken:
        raise UsageError(f"no event log in {source} can be taken: {found[0].reason}")
    print_runs(workspace, taken, as_json=context.as_json)


def _parts(workspace: Workspace, source: str) -> tuple[tuple[EventLogFile, ...], bool]:
    from emrctl.metrics.eventlog import layout

    if source.startswith(("s3://", "s3a://", "s3n://")):
        return log_sources.from_s3(workspace.target.client("s3"), source), True
    path: Path | None = log_sources.find_path(source)
    if path is None:
        raise NotFoundError(f"no event log at {source}")
    parts = layout.list_files(path)
    if not parts:
        raise layout.no_event_log()
    return parts, False


def _told(item: Taken) -> Taken:
    if item.run is None:
        render.note(f"passed over: {item.reason}")
    elif item.known:
        render.note(f"{item.name} is run {item.run.id} already")
    return item


def _table(answer: Answer) -> None:
    from emrctl.runs import sql as runs_sql

    rows = runs_sql.cells(answer.rows)
    numbers = {
        name
        for at, name in enumerate(answer.columns)
        if any(isinstance(row[at], int | float) for row in answer.rows)
    }
    render.table(*answer.columns, rows=rows, right=tuple(numbers))
    render.note(f"{len(rows)} rows")
