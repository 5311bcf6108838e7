"""`emrctl runs`, `wait`, `logs`, `pull` and `cancel`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from emrctl.cli import follow, options, query, render
from emrctl.cli.render.runs import print_run, print_runs
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
@options.common("config target json")
def list_runs(
    context: options.Context,
    tag: Annotated[
        list[str] | None, typer.Option(help="Only runs with this tag, KEY=VALUE.")
    ] = None,
    last: Annotated[int, typer.Option(min=1, help="Only so many of the newest.")] = 30,
) -> None:
    """List runs, oldest first; those left unfinished by a killed client are finished."""
    workspace = context.workspace
    wanted = options.pairs(tag, "--tag").items()
    found = [run for run in lifecycle.refresh_all(workspace) if wanted <= run.tags.items()]
    print_runs(workspace, found[-last:], as_json=context.as_json)


@runs_app.command()
@options.common("config target json")
def show(
    context: options.Context,
    run: options.RunArgument,
) -> None:
    """Show one run: settings, states, metrics, result."""
    workspace = context.workspace
    found = lifecycle.refresh(workspace, workspace.store.load(run))
    print_run(workspace, found, as_json=context.as_json)


@runs_app.command()
@options.common("config target json")
def tag(
    context: options.Context,
    run: options.RunArgument,
    tags: Annotated[list[str], typer.Argument(help="KEY=VALUE; KEY= takes a tag away.")],
) -> None:
    """Give a run tags, finished or not."""
    workspace = context.workspace
    found = workspace.store.tag(run, options.pairs(tags, "TAGS"))
    print_runs(workspace, [found], as_json=context.as_json)


@app.command()
@options.common("config target json")
def wait(
    context: options.Context,
    run: options.RunArgument,
    timeout: Annotated[float | None, typer.Option(help="Give up after so many seconds.")] = None,
) -> None:
    """Wait for a run; exit code 6 where it failed, 7 where it took longer than --timeout."""
    workspace = context.workspace
    found = follow.wait(workspace, workspace.store.load(run), timeout)
    print_runs(workspace, [found], as_json=context.as_json)
    follow.exit_with([found])


@app.command()
@options.common("config target json")
def cancel(
    context: options.Context,
    run: options.RunArgument,
) -> None:
    """Ask a run's step to end, and wait until it has."""
    workspace = context.workspace
    asked = lifecycle.cancel(workspace, workspace.store.load(run))
    found = follow.wait(workspace, asked)
    print_runs(workspace, [found], as_json=context.as_json)


@app.command()
@options.common("config target json")
def pull(
    context: options.Context,
    run: options.RunArgument,
    output: Annotated[
        Path | None, typer.Option(help="A folder for what the job wrote: tables, models, pages.")
    ] = None,
    only: Annotated[
        str, typer.Option(help="With --output: files of that name, as '*.html' or 'models/*'.")
    ] = "*",
) -> None:
    """Read a finished run's logs, event log and result from S3 anew; its job's files on request."""
    workspace = context.workspace
    found = lifecycle.refresh(workspace, workspace.store.load(run))
    if not found.finished:
        raise UsageError(
            f"run {found.id} is {found.state}", hint=f"`emrctl wait {found.id}` first."
        )
    pulling.again(workspace, found)
    if output is not None:
        _note_downloaded(outputs.bring(workspace, found, output, only), output)
    print_run(workspace, found, as_json=context.as_json)


@app.command()
@options.common("config target json")
def logs(
    context: options.Context,
    run: options.RunArgument,
    name: Annotated[
        str | None, typer.Argument(help="A log's name, or a part of it: stdout, controller.")
    ] = None,
) -> None:
    """Print the step's output; `emrctl logs RUN NAME` prints one log of all."""
    workspace = context.workspace
    found = lifecycle.refresh(workspace, workspace.store.load(run))
    known = workspace.store.names(found.id, "logs/")
    if context.as_json:
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


def _note_downloaded(downloaded: outputs.Brought, folder: Path) -> None:
    count = len(downloaded.files)
    files = "file" if count == 1 else "files"
    render.note(f"{count} {files}, {downloaded.size_bytes / 1e6:.1f} MB in {folder}")
    pages = [path for path in downloaded.files if path.suffix == ".html"]
    if pages:
        page = min(pages, key=lambda path: (len(path.parts), path))
        render.next_step(f"open {page} in a browser")
