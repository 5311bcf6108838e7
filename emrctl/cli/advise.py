"""`emrctl advise`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from emrctl.cli import log_sources, options, render
from emrctl.cli.metrics import SOURCE_HELP, load_run
from emrctl.cli.render import plain
from emrctl.errors import NotFoundError

if TYPE_CHECKING:
    from emrctl.metrics.eventlog.layout import EventLogFiles
    from emrctl.metrics.findings import Finding
    from emrctl.runs.advice import Change, RunAdvice
    from emrctl.runs.record import Run

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
    from emrctl.metrics import findings
    from emrctl.predict import history, savings
    from emrctl.runs import advice, audit
    from emrctl.runs.submission import repeated_arguments

    files, run = _source(context, source)
    if files is None:
        metrics, graph = load_run(context.workspace, source, None), None
    else:
        metrics, graph = history.read_any(files)
        log_sources.require_application(source, (metrics,))
    found = findings.diagnose(metrics, context.limits)
    if graph is not None:
        found = savings.replayed(found, metrics, graph)
    submission = audit.of_log(metrics) if run is None else audit.of_run(run)
    program: tuple[str, ...] = ()
    if run is not None:
        program = (run.job, *repeated_arguments(run, context.workspace.project))
    return advice.advise(metrics, submission, found, program=program)


def _source(context: options.Context, source: str) -> tuple[EventLogFiles | None, Run | None]:
    """Return the event log at a path or of a run, None if the store has its metrics only."""
    files = log_sources.find_or_stdin(source, lambda: context.workspace.target.client("s3"))
    if files is not None:
        return files, None
    store = context.workspace.store
    run = store.load(source)
    try:
        return store.files(run.id).event_log(), run
    except NotFoundError:
        return None, run


def _print(advice: RunAdvice) -> None:
    rows = [
        (change.setting, plain(change.before), plain(change.after), change.finding)
        for change in advice.changes
    ]
    if rows:
        render.table("change", "now", "recommended", "because of", rows=rows)
        for finding in dict.fromkeys(change.finding for change in advice.changes):
            change = next(item for item in advice.changes if item.finding == finding)
            render.line(f"{finding}{_saving(change)}: {plain(change.reason)}")
    else:
        render.line("No change of settings is recommended.")
    for item in advice.further:
        render.line(f"{item.kind}{_saving(item)}: {plain(item.evidence)}")
        render.line(f"    {plain(item.advice)}")
    if advice.remarks:
        render.table(
            "audit", "", rows=[(remark.kind, plain(remark.text)) for remark in advice.remarks]
        )
    for note in advice.notes:
        render.note(f"note: {note}")
    render.line(f"\n{plain(advice.spark_submit)}\n{plain(advice.emrctl)}")


def _saving(item: Change | Finding) -> str:
    """Return the possible saving in brackets, with that of the replay."""
    if item.seconds < 0.05:
        return ""
    replayed = "" if item.replayed_s is None else f", {item.replayed_s:,.1f} s in a replay"
    return f" (up to {item.seconds:,.1f} s{replayed})"
