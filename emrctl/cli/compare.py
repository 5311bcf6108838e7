"""`emrctl compare`: compare runs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emrctl.cli import options, render

if TYPE_CHECKING:
    from emrctl.compare.comparison import Comparison

app = options.new_app()


class ComparisonFormat(StrEnum):
    """Output format of a comparison."""

    table = "table"
    json = "json"
    csv = "csv"
    markdown = "markdown"


@app.command()
@options.common("config target json")
def compare(
    context: options.Context,
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN RUN...", help="Runs; the first is the reference."),
    ] = None,
    experiment: Annotated[
        str | None, typer.Option(help="Compare all completed runs of this experiment.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write a self-contained HTML page.")] = None,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIGURE:PERCENT",
            help="Exit with 8 beyond this limit, 9 if uncertain; repeatable.",
        ),
    ] = None,
    style: Annotated[
        ComparisonFormat, typer.Option("--format", help="Output format.")
    ] = ComparisonFormat.table,
) -> None:
    """Compare runs: settings that differ, times, executors, YARN resources and cost.

    Runs with equal settings are repeats of one configuration.

    Limits for CI: `--fail-if duration_s:10%` exits with 8 if a configuration is
    certainly more than 10 % slower than the reference, with 9 if the repeats
    leave that open. `--fail-if figures.mean_accuracy:-1%` limits a decrease.
    """
    from emrctl.compare import comparison as comparing
    from emrctl.compare import gates, history, page, records

    limits = [gates.parse(text) for text in fail_if or []]
    loaded = records.load(context.workspace, runs or [], experiment)
    prior = history.prior(context.workspace.store, loaded)
    comparison = comparing.compare(loaded, prior=prior)
    _print(comparison, ComparisonFormat.json if context.as_json else style)
    if html is not None:
        page.write(comparison, html, experiment)
        render.note(f"Wrote {html}")
    gates.check(comparison, limits)


def _print(comparison: Comparison, style: ComparisonFormat) -> None:
    from emrctl.compare import export

    if style == "json":
        render.json_document(export.to_json(comparison))
    elif style == "csv":
        typer.echo(export.to_csv(comparison), nl=False)
    elif style == "markdown":
        typer.echo(export.to_markdown(comparison), nl=False)
    else:
        head, *rows = export.table(comparison)
        render.table(*head, rows=rows, right=head[1:])
        for item, verdict in zip(comparison.configurations, comparison.verdicts, strict=True):
            typer.echo(f"{item.label}: {verdict}")
        for line in comparison.notes:
            typer.echo(line)
