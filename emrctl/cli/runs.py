"""`emrctl runs`, `wait`, `logs`, `pull` and `cancel`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from emrctl.cli import follow, options, query, render
from emrctl.errors import NotFoundError, UsageError
from emrctl.runs import lifecycle, outputs
from emrctl.runs import pull as pulling

app = options.new_app()
runs_app = typer.Typer(
    cls=options.Group,
    invoke_without_command=True,
    help="List runs; `show`, `tag`, `query` in SQL, `import` logs.",
)
runs_app.registered_commands += query.app.registered_commands
app.add_typer(runs_app, name="runs")


@runs_app.callback()
def list_runs(
    context: typer.Context,
    config: options.ConfigOption = None,
    target: options.TargetOption = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="Only runs with this tag, KEY=VALUE.")
    ] = None,
    last: Annotated[int, typer.Option(min=1, help="Only so many of the newest.")] = 30,
    as_json: options.JsonOption = False,
) -> None:
    """List runs, oldest first; those left unfinished by a killed client are finished."""
    if context.invoked_subcommand is not None:
        return
    workspace = options.open_workspace(config, target=target)
    wanted = options.pairs(tag or [], "--tag").items()
    found = [run for run in lifecycle.refresh_all(workspace) if wanted <= run.tags.items()]
    render.runs(workspace, found[-last:], as_json=as_json)


@runs_app.command()
def show(
    run: options.RunArgument,
    config: options.ConfigOption = None,
    target: options.TargetOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Show one run: settings, states, metrics, result."""
    workspace = options.open_workspace(config, target=target)
    found = lifecycle.refresh(workspace, workspace.store.load(run))
    render.run(workspace, found, as_json=as_json)


@runs_app.command()
def tag(
    run: options.RunArgument,
    tags: Annotated[list[str], typer.Argument(help="KEY=VALUE; KEY= takes a tag away.")],
    config: options.ConfigOption = None,
    target: options.TargetOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Give a run tags, finished or not."""
    workspace = options.open_workspace(config, target=target)
    found = workspace.store.tag(run, options.pairs(tags, "TAGS"))
    render.runs(workspace, [found], as_json=as_json)


@app.command()
def wait(
    run: options.RunArgument,
    config: options.ConfigOption = None,
    target: options.TargetOption = None,
    timeout: Annotated[float | None, typer.Option(help="Give up after so many seconds.")] = None,
    as_json: options.JsonOption = False,
) -> None:
    """Wait for a run; exit code 6 where it failed, 7 where it took longer than --timeout."""
    workspace = options.open_workspace(config, target=target)
    found = follow.wait(workspace, workspace.store.load(run), timeout)
    render.runs(workspace, [found], as_json=as_json)
    follow.exit_with([found])


@app.command()
def cancel(
    run: options.RunArgument,
    config: options.ConfigOption = None,
    target: options.TargetOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Ask a run's step to end, and wait until it has."""
    workspace = options.open_workspace(config, target=target)
    asked = lifecycle.cancel(workspace, workspace.store.load(run))
    found = follow.wait(workspace, asked)
    render.runs(workspace, [found], as_json=as_json)


@app.command()
def pull(
    run: options.RunArgument,
    config: options.ConfigOption = None,
    target: options.TargetOption = None,
    output: Annotated[
        Path | None, typer.Option(help="A folder for what the job wrote: tables, models, pages.")
    ] = None,
    only: Annotated[
        str, typer.Option(help="With --output: files of that name, as '*.html' or 'models/*'.")
    ] = "*",
    as_json: options.JsonOption = False,
) -> None:
    """Read a finished run's logs, event log and result from S3 anew; its job's files on request."""
    workspace = options.open_workspace(config, target=target)
    found = lifecycle.refresh(workspace, workspace.store.load(run))
    if not found.finished:
        raise UsageError(
            f"run {found.id} is {found.state}", hint=f"`emrctl wait {found.id}` first."
        )
    pulling.again(workspace, found)
    if output is not None:
        render.brought(outputs.bring(workspace, found, output, only), output)
    render.run(workspace, found, as_json=as_json)


@app.command()
def logs(
    run: options.RunArgument,
    name: Annotated[
        str | None, typer.Argument(help="A log's name, or a part of it: stdout, controller.")
    ] = None,
    config: options.ConfigOption = None,
    target: options.TargetOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Print the step's output; `emrctl logs RUN NAME` prints one log of all."""
    workspace = options.open_workspace(config, target=target)
    found = lifecycle.refresh(workspace, workspace.store.load(run))
    known = workspace.store.names(found.id, "logs/")
    if as_json:
        render.json_document([workspace.store.location(found.id, item) for item in known])
        return
    wanted = name or "step/std"
    chosen = [item for item in known if wanted in item]
    if not chosen:
        shown = ", ".join(item.removeprefix("logs/") for item in known) or "none yet"
        raise NotFoundError(f"run {found.id} has no log '{wanted}'", hint=f"There are: {shown}.")
    for item in chosen:
        typer.echo(f"== {item.removeprefix('logs/')}", err=True)
        sys.stdout.buffer.write(workspace.store.get(found.id, item) or b"")
        sys.stdout.flush()
