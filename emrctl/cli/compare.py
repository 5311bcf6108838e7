"""`emrctl compare`: runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emrctl.cli import options, render
from emrctl.compare import stored

app = options.new_app()


@app.command()
def compare(
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN RUN...", help="Runs; the first is the reference."),
    ] = None,
    experiment: Annotated[
        str | None, typer.Option(help="All completed runs of this experiment.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write one self-contained page.")] = None,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            help="FIGURE:PERCENT, as duration_s:10% (more than that slower than the reference) or "
            "figures.mean_accuracy:-1% (below it by more): then exit code 8. May be repeated."
        ),
    ] = None,
    style: Annotated[
        stored.Style, typer.Option("--format", help="How to print it.")
    ] = stored.Style.table,
    config: options.ConfigOption = None,
    target: options.TargetOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Compare runs: only what differs in settings, and what came of it.

    Runs of the same settings count as repeats of one configuration: mean, spread and ratio. With
    --fail-if it is a gate for CI.
    """
    gates = stored.gates(fail_if or [])
    workspace = options.open_workspace(config, target=target)
    found = stored.compare(workspace, runs or [], experiment)
    render.comparison(found, stored.Style.json if as_json else style)
    if html is not None:
        stored.write_page(found, html, experiment)
        render.note(f"Wrote {html}")
    stored.check(found, gates)
