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
    png: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the charts of the page as PNG files.")
    ] = None,
    stages: Annotated[
        bool, typer.Option("--stages", help="Show the differences of all stages.")
    ] = False,
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
    from emrctl.compare import gates, history, records

    limits = [gates.parse(text) for text in fail_if or []]
    loaded = records.load(context.workspace, runs or [], experiment)
    prior = history.prior(context.workspace.store, loaded)
    comparison = comparing.compare(loaded, prior=prior)
    _print(comparison, ComparisonFormat.json if context.as_json else style, all_stages=stages)
    if html is not None or png is not None:
        _write_charts(comparison, html, png, experiment)
    gates.check(comparison, limits)


def _write_charts(
    comparison: Comparison, html: Path | None, png: Path | None, title: str | None
) -> None:
    from emrctl.compare import gallery, page

    charts = gallery.build(comparison)
    if html is not None:
        page.write(comparison, html, title, charts)
        render.note(f"Wrote {html}")
    if png is not None:
        for path in gallery.write_png(charts, png):
            render.note(f"Wrote {path}")


def _print(comparison: Comparison, style: ComparisonFormat, *, all_stages: bool) -> None:
    from emrctl.compare import explain, export

    if style == "json":
        explanation = explain.to_json(comparison, every=all_stages)
        render.json_document(export.to_json(comparison) | explanation)
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
        if all_stages or len(comparison.configurations) == 2:
            _print_stages(comparison, None if all_stages else _FEW_STAGES)


_FEW_STAGES = 5


def _print_stages(comparison: Comparison, limit: int | None) -> None:
    """Print the stages of each configuration against the reference, and changed findings."""
    from emrctl.compare import explain

    labels = [item.label for item in comparison.configurations]
    reference = labels[comparison.reference]
    for n, compared in explain.stage_comparisons(comparison):
        rows = explain.stage_rows(compared, limit)
        render.table("stage", reference, labels[n], "difference", "why", rows=rows)
    for n, changed in explain.finding_changes(comparison):
        for word, items in (("new", changed.appeared), ("gone", changed.disappeared)):
            for item in items:
                typer.echo(f"{labels[n]}: {word} finding {item.kind}: {item.evidence}")
