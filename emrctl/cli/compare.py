"""`emrctl compare`: compare runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emrctl.cli import options, render
from emrctl.errors import UsageError

if TYPE_CHECKING:
    from emrctl.compare.comparison import Comparison

app = options.new_app()


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
    reference: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Reference: a run, a label, or NAME=VALUE,..."),
    ] = None,
    table: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Compare the rows of a CSV or TSV file.")
    ] = None,
    time: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column of the table with seconds.")
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(metavar="COLUMNS", help="Columns that make a configuration; default: all."),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=VALUE", help="Select rows of the table; repeatable."),
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    md: Annotated[bool, typer.Option("--md", help="Print Markdown.")] = False,
) -> None:
    """Compare runs: settings that differ, times, executors, YARN resources and cost.

    Runs with equal settings are repeats of one configuration.

    Limits for CI: `--fail-if duration_s:10%` exits with 8 if a configuration is
    certainly more than 10 % slower than the reference, with 9 if the repeats
    leave that open. `--fail-if figures.mean_accuracy:-1%` limits a decrease.

    A table of timings: `emrctl compare --table times.csv --time seconds
    --by machine,count`; each row is a run.
    """
    from emrctl.compare import gates, history

    limits = [gates.parse(text) for text in fail_if or []]
    if table is None:
        if time or by or where:
            raise UsageError("--time, --by and --where need --table FILE")
        comparison = history.compare_runs(context.workspace, runs or [], experiment, reference)
    else:
        if runs or experiment:
            raise UsageError("compare takes runs, --experiment or --table, not two of them")
        comparison = _compare_table(table, time, by, where, reference)
    _print(comparison, as_json=context.as_json, csv=csv, md=md, all_stages=stages)
    if html is not None or png is not None:
        _write_charts(comparison, html, png, experiment)
    gates.check(comparison, limits)


def _compare_table(
    table: Path, time: str | None, by: str | None, where: list[str] | None, reference: str | None
) -> Comparison:
    """Compare the selected rows, with the prior fitted on them."""
    from emrctl.compare import comparison, history, records, timings

    if time is None:
        raise UsageError("--table needs --time", hint="Name the column with seconds.")
    chosen = tuple(name.strip() for name in by.split(",")) if by else ()
    columns = timings.Columns(time=time, by=chosen, where=options.pairs(where, "--where"))
    loaded = timings.read(table, columns)
    at = records.find_reference(loaded, reference)
    return comparison.compare(loaded, at, prior=history.table_prior(loaded, table.name))


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


def _print(comparison: Comparison, *, as_json: bool, csv: bool, md: bool, all_stages: bool) -> None:
    from emrctl.compare import explain, export

    if as_json + csv + md > 1:
        raise UsageError("--json, --csv and --md exclude each other")
    if as_json:
        explanation = explain.to_json(comparison, every=all_stages)
        render.json_document(export.to_json(comparison) | explanation)
    elif csv or md:
        text = export.to_csv(comparison) if csv else export.to_markdown(comparison)
        typer.echo(text, nl=False)
    else:
        head, *rows = export.table(comparison)
        render.table(*head, rows=rows, right=head[1:])
        for line in (*export.verdict_lines(comparison), *comparison.notes):
            render.line(line)
        if all_stages or len(comparison.configurations) == 2:
            _print_stages(comparison, None if all_stages else _FEW_STAGES)


_FEW_STAGES = 5


def _print_stages(comparison: Comparison, limit: int | None) -> None:
    """Print the stages of each configuration against the reference, and changed findings."""
    from emrctl.compare import explain

    labels = [item.label for item in comparison.configurations]
    reference = labels[comparison.reference]
    for n, compared in comparison.stages:
        rows = explain.stage_rows(compared, limit)
        render.table("stage", reference, labels[n], "difference", "why", rows=rows)
    for n, changed in explain.finding_changes(comparison):
        for word, items in (("new", changed.appeared), ("gone", changed.disappeared)):
            for item in items:
                render.line(f"{labels[n]}: {word} finding {item.kind}: {item.evidence}")
