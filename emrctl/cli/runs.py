"""`emrctl runs`, `wait`, `cancel`, `pull` and `logs`."""

from __future__ import annotations

import itertools
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emrctl.cli import options, render
from emrctl.cli.render.runs import print_cost, print_problems, print_run, print_runs
from emrctl.errors import DamagedFileError, NotFoundError, UsageError
from emrctl.runs import lifecycle
from emrctl.runs.store import RunFiles

if TYPE_CHECKING:
    from emrctl.runs import pull as pulling
    from emrctl.runs.sql import QueryResult

# A step's own output, and that of the driver of cluster mode: its container is the first one.
_OUTPUT_LOGS = ("step/std", "_000001/stdout")

app = options.new_app()
runs_app = options.add_group(
    app, "runs", "List, show, tag, query and import runs.", is_command=True
)


@runs_app.callback()
@options.common("config target json")
def list_runs(
    context: options.Context,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Only runs with this tag.")
    ] = None,
    last: Annotated[int, typer.Option(min=1, help="Number of runs, newest last.")] = 30,
) -> None:
    """List runs, newest last.

    Runs that an interrupted client left unfinished are updated from EMR first.
    """
    workspace = context.workspace
    tags = options.pairs(tag, "--tag").items()
    runs = (run for run in workspace.store.newest() if tags <= run.tags.items())
    selected = [*itertools.islice(runs, last)][::-1]
    oldest = selected[0].id if len(selected) == last else ""
    unreadable = {
        run_id: error
        for run_id, error in workspace.store.damaged.records.items()
        if run_id >= oldest
    }
    refreshed = lifecycle.refresh_all(workspace, selected)
    print_runs(workspace, refreshed, as_json=context.as_json, unreadable=unreadable)


@runs_app.command()
@options.common("config target json")
def check(
    context: options.Context,
    repair: Annotated[
        bool, typer.Option("--repair", help="Repair what can be repaired; nothing is lost.")
    ] = False,
) -> None:
    """Check all files of the store; exit code 10 if problems remain."""
    from emrctl.runs import check as checking

    problems = list(checking.check(context.workspace, repair=repair))
    if context.as_json:
        render.json_document([asdict(item) for item in problems])
    else:
        print_problems(problems)
    if not all(item.repaired for item in problems):
        raise typer.Exit(DamagedFileError.exit_code)


@runs_app.command()
@options.common("config target json")
def show(context: options.Context, run: options.RunArgument) -> None:
    """Show a run: state, cost, settings, metrics, result and findings."""
    workspace = context.workspace
    record = lifecycle.refresh(workspace, workspace.store.load(run))
    print_run(workspace, record, as_json=context.as_json)


@runs_app.command()
@options.common("config target json")
def tag(
    context: options.Context,
    run: options.RunArgument,
    tags: Annotated[
        list[str], typer.Argument(metavar="KEY=VALUE...", help="Tags to set; KEY= removes one.")
    ],
) -> None:
    """Set tags of a run."""
    workspace = context.workspace
    record = workspace.store.tag(run, options.pairs(tags, "TAGS"))
    print_runs(workspace, [record], as_json=context.as_json)


@runs_app.command()
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

    result = runs_sql.query(context.workspace.store, sql, lambda: context.limits)
    if context.as_json:
        render.json_document(runs_sql.to_json(result))
    elif as_csv:
        typer.echo(runs_sql.to_csv(result), nl=False)
    else:
        _print_result(result)


@runs_app.command("import")
@options.common("config target json")
def import_(
    context: options.Context,
    source: Annotated[
        str, typer.Argument(metavar="PATH", help="Event log, folder of event logs, or s3:// URI.")
    ],
) -> None:
    """Import event logs from elsewhere as finished runs."""
    from emrctl.cli import log_sources
    from emrctl.runs import import_logs

    workspace = context.workspace
    files = log_sources.find(source, lambda: workspace.target.client("s3"))
    if files is None:
        raise NotFoundError(f"no event log at {source}")
    logs = []
    for log in import_logs.import_files(workspace, files, remote=log_sources.is_on_s3(source)):
        logs.append(log)
        if log.run is None:
            render.note(f"skipped: {log.reason}")
        elif log.grown:
            render.note(f"{log.name} has grown: run {log.run.id} was imported again")
        elif log.known:
            render.note(f"{log.name} is already imported as run {log.run.id}")
    runs = [log.run for log in logs if log.run is not None]
    if not runs:
        raise UsageError(f"no event log in {source} can be imported: {logs[0].reason}")
    print_runs(workspace, runs, as_json=context.as_json)


@runs_app.command()
@options.common("config target json")
def export(
    context: options.Context,
    mlflow: Annotated[str, typer.Option(metavar="URI", help="Address of an MLflow server.")],
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN]...", help="Runs; default: all.")
    ] = None,
) -> None:
    """Export finished runs to MLflow: parameters, metrics, tags and files.

    Runs that were exported before are skipped.
    """
    from emrctl.compare import mlflow_export

    workspace = context.workspace
    if runs:
        chosen = [lifecycle.refresh(workspace, workspace.store.load(name)) for name in runs]
    else:
        chosen = lifecycle.refresh_all(workspace)
    exported = []
    for item in mlflow_export.export(workspace, chosen, mlflow):
        exported.append(item)
        render.note(f"{item.run}: {'exported before' if item.known else 'exported'}")
    if context.as_json:
        render.json_document([asdict(item) for item in exported])


@runs_app.command()
@options.common("config target json")
def cost(
    context: options.Context,
    run: options.RunArgument,
    spot_discount: Annotated[
        float, typer.Option(metavar="PERCENT", min=0, max=100, help="Assumed discount of spot.")
    ] = 60.0,
    every: Annotated[bool, typer.Option("--all", help="Show all instance types.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV with all types.")] = False,
) -> None:
    """Estimate where the work of a run costs least, by list prices.

    Other instance types, on demand and on spot, EMR Serverless, EMR on EKS and
    AWS Glue, with the assumptions of each estimate.
    """
    from emrctl.runs import run_cost

    workspace = context.workspace
    record = workspace.store.load(run)
    found = run_cost.of_run(workspace, record, spot_discount / 100)
    if context.as_json:
        render.json_document(found.to_json())
    elif as_csv:
        typer.echo(run_cost.to_csv(found), nl=False)
    else:
        shown = found.options if every else run_cost.shortlist(found, record.cluster.core_type)
        print_cost(found, shown)


def _print_result(result: QueryResult) -> None:
    from emrctl.runs import sql as runs_sql

    rows = runs_sql.cells(result.rows)
    numbers = [
        name
        for index, name in enumerate(result.columns)
        if any(isinstance(row[index], int | float) for row in result.rows)
    ]
    render.table(*result.columns, rows=rows, right=tuple(numbers))
    render.note(f"{len(rows)} rows")


@app.command()
@options.common("config target json")
def wait(
    context: options.Context,
    run: options.RunArgument,
    timeout: Annotated[float | None, typer.Option(help="Seconds to wait at most.")] = None,
) -> None:
    """Resume waiting for a run; exit code 6 if it failed, 7 after --timeout."""
    from emrctl.cli import follow

    workspace = context.workspace
    record = follow.wait(workspace, workspace.store.load(run), timeout)
    print_runs(workspace, [record], as_json=context.as_json)
    follow.raise_for_state([record])


@app.command()
@options.common("config target json")
def cancel(
    context: options.Context,
    run: options.RunArgument,
    graceful: Annotated[
        bool, typer.Option("--graceful", help="Ask the job to stop; for jobs like streaming.")
    ] = False,
) -> None:
    """Cancel a run and wait until its step has ended.

    `--graceful` creates the object `stop` in the job's output instead. A job that
    looks for it completes; others continue.
    """
    from emrctl.cli import follow

    workspace = context.workspace
    stop = lifecycle.request_stop if graceful else lifecycle.cancel
    record = stop(workspace, workspace.store.load(run))
    record = follow.wait(workspace, record)
    print_runs(workspace, [record], as_json=context.as_json)


@app.command()
@options.common("config target json")
def pull(
    context: options.Context,
    run: options.RunArgument,
    output: Annotated[Path | None, typer.Option(help="Download the job's output here.")] = None,
    only: Annotated[
        str, typer.Option(help="With --output: pattern of file names, e.g. '*.html'.")
    ] = "*",
) -> None:
    """Download a finished run's logs, event log, result and output again."""
    from emrctl.runs import pull as pulling

    workspace = context.workspace
    record = lifecycle.refresh(workspace, workspace.store.load(run))
    if not record.finished:
        hint = f"Wait for it first: `emrctl wait {record.id}`."
        raise UsageError(f"run {record.id} is {record.state}", hint=hint)
    pulling.repeat(workspace, record)
    if output is not None:
        _note_downloaded(pulling.download(workspace, record, output, only), output)
    print_run(workspace, record, as_json=context.as_json)


def _note_downloaded(downloaded: pulling.DownloadedOutput, folder: Path) -> None:
    count = len(downloaded.files)
    files = "file" if count == 1 else "files"
    render.note(f"{count} {files}, {downloaded.size_bytes / 1e6:.1f} MB in {folder}")
    pages = [path for path in downloaded.files if path.suffix == ".html"]
    if pages:
        page = min(pages, key=lambda path: (len(path.parts), path))
        render.next_step(f"open {page} in a browser")


@app.command()
@options.common("config target cluster json")
def logs(
    context: options.Context,
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="Run id, any unique part of it, or `latest`.")
    ] = "",
    name: Annotated[
        str | None, typer.Argument(help="Part of the log's name, e.g. stdout or controller.")
    ] = None,
    bootstrap: Annotated[
        bool, typer.Option("--bootstrap", help="Print logs of bootstrap actions instead.")
    ] = False,
    node: Annotated[
        str, typer.Option(metavar="INSTANCE", help="With --bootstrap: only of this instance id.")
    ] = "",
) -> None:
    """Print stdout and stderr of a run's step, or the logs whose name contains NAME.

    In cluster mode the stdout of the driver's container is printed, too.
    `--bootstrap` prints the log of the bootstrap action that failed, or of all
    bootstrap actions of the running EMR cluster.
    """
    if bootstrap:
        _print_bootstrap_logs(context, node)
    elif run:
        _print_logs(context, run, name)
    else:
        raise UsageError("no run to print logs of", hint="Specify one: `emrctl logs latest`.")


def _print_logs(context: options.Context, run: str, name: str | None) -> None:
    workspace = context.workspace
    record = lifecycle.refresh(workspace, workspace.store.load(run))
    files = workspace.store.files(record.id)
    names = files.names(RunFiles.LOGS)
    if context.as_json:
        render.json_document([files.location(item, RunFiles.LOGS) for item in names])
        return
    if not names and record.finished:
        raise NotFoundError(
            f"run {record.id} has no logs: it is {record.state}, {record.failure or 'not started'}",
            hint=f"Look again for its logs with `emrctl pull {record.id}`.",
        )
    parts = (name,) if name else _OUTPUT_LOGS
    selected = [item for item in names if any(part in item for part in parts)]
    if not selected:
        none = "none" if record.finished else "none yet"
        hint = f"Available: {', '.join(names) or none}."
        raise NotFoundError(f"run {record.id} has no log '{parts[0]}'", hint=hint)
    for item in selected:
        text = files.read(item, RunFiles.LOGS) or b""
        if text or item.startswith("step/"):
            typer.echo(f"== {item}", err=True)
            sys.stdout.buffer.write(text)
            sys.stdout.flush()


def _print_bootstrap_logs(context: options.Context, node: str) -> None:
    from emrctl.clusters import bootstrap_logs

    workspace = context.workspace
    found = bootstrap_logs.read_logs(workspace.project, workspace.target, node)
    if context.as_json:
        render.json_document([asdict(log) for log in found])
        return
    for log in found:
        typer.echo(f"== {log.node} bootstrap action {log.action} {log.stream}", err=True)
        typer.echo(log.text.rstrip("\n"))
