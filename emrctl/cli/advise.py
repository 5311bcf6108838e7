"""`emrctl advise`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from emrctl.cli import log_sources, options, render
from emrctl.cli.metrics import SOURCE_HELP, load_run
from emrctl.cli.render import plain

if TYPE_CHECKING:
    from emrctl.runs.advice import RunAdvice

app = options.new_app()


@app.command()
@options.common("config target json")
def advise(
    context: options.Context,
    source: Annotated[str, typer.Argument(metavar="PATH|RUN", help=SOURCE_HELP)],
) -> None:
    """Recommend settings for the next run of a job; audit those that were submitted."""
    advice = _advise(context, source)
    if context.as_json:
        render.json_document(advice.to_json())
    else:
        _print(advice)


def _advise(context: options.Context, source: str) -> RunAdvice:
    from emrctl.metrics.eventlog import reader
    from emrctl.runs import advice, audit

    if source == "-":
        files = log_sources.from_stdin()
    else:
        found = log_sources.find(source, lambda: context.workspace.target.client("s3"))
        if found is None:
            run = context.workspace.store.load(source)
            metrics = load_run(context.workspace, source, None)
            program = (run.job, *run.arguments)
            return advice.advise(metrics, audit.of_run(run), program=program, limits=context.limits)
        files = tuple(found)
    metrics = reader.read_log(files)
    return advice.advise(metrics, audit.of_log(metrics), limits=context.limits)


def _print(advice: RunAdvice) -> None:
    rows = [
        (change.setting, plain(change.before), plain(change.after), change.finding)
        for change in advice.changes
    ]
    if rows:
        render.table("change", "now", "recommended", "because of", rows=rows)
        for finding in dict.fromkeys(change.finding for change in advice.changes):
            reason = next(c.reason for c in advice.changes if c.finding == finding)
            typer.echo(f"{finding}: {plain(reason)}")
    else:
        typer.echo("No change of settings is recommended.")
    for item in advice.further:
        typer.echo(f"{item.kind}: {plain(item.evidence)}\n    {plain(item.advice)}")
    if advice.remarks:
        render.table(
            "audit", "", rows=[(remark.kind, plain(remark.text)) for remark in advice.remarks]
        )
    for note in advice.notes:
        render.note(f"note: {note}")
    typer.echo(f"\n{plain(advice.spark_submit)}\n{plain(advice.emrctl)}")
