"""`emrctl predict`: time and cost of a run at other numbers of executors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from emrctl.cli import log_sources, options, render

if TYPE_CHECKING:
    from emrctl.predict.prediction import Point, Prediction

app = options.new_app()


@app.command()
@options.common("config target json")
def predict(
    context: options.Context,
    source: Annotated[
        str, typer.Argument(metavar="RUN|LOG", help="Run, or event log (path, s3:// or -).")
    ],
    executors: Annotated[
        str, typer.Option(metavar="N..M", help="Numbers of executors, e.g. 1..16 or 1,2,4.")
    ] = "1..16",
    cores: Annotated[
        str | None,
        typer.Option(metavar="N,M", help="Cores per executor; default: as in the run."),
    ] = None,
) -> None:
    """Predict time and cost at other numbers of executors, with 90 % intervals.

    The tasks of the run are replayed by a model of Spark's scheduler. Measured
    runs of the same job with other numbers of executors correct the
    prediction.
    """
    from emrctl.predict import prediction

    counts = prediction.parse_counts(executors, "--executors")
    sizes = prediction.parse_counts(cores, "--cores") if cores else ()
    result = _predict(context, source, counts, sizes)
    if context.as_json:
        render.json_document(result.to_json())
    else:
        _print(result)


def _predict(
    context: options.Context, source: str, counts: tuple[int, ...], sizes: tuple[int, ...]
) -> Prediction:
    from emrctl.predict import history, prediction

    files = log_sources.find_or_stdin(source, lambda: context.workspace.target.client("s3"))
    if files is not None:
        return prediction.predict(*history.read(files), counts, sizes)
    workspace = context.workspace
    return history.predict_run(workspace, workspace.store.load(source), counts, sizes)


def _print(result: Prediction) -> None:
    observed = result.observed
    render.line(
        f"Observed: {observed.executors} executors of {observed.cores} cores, "
        f"{observed.in_job_s:,.1f} s in jobs, {observed.wall_s:,.1f} s in total. "
        f"Replayed: {observed.replayed_in_job_s:,.1f} s in jobs "
        f"(error {observed.error_percent:+.1f} %)."
    )
    columns = ("executors", "cores", "total", "in jobs", "90 % interval", "cost", "no skew", "")
    render.table(*columns, rows=[_row(point) for point in result.points], right=columns[:-1])
    if result.points:
        floors = result.points[0].floors
        render.line(
            f"Floors: critical path {floors.critical_path_s:,.1f} s, "
            f"one core {floors.one_core_s:,.1f} s."
        )
    for text in result.notes:
        render.line(f"Note: {text}.")


def _row(point: Point) -> tuple[str, ...]:
    return (
        str(point.executors),
        str(point.cores),
        f"{point.predicted_wall_s:,.1f} s",
        f"{point.predicted_in_job_s:,.1f} s",
        f"{point.low_s:,.1f} to {point.high_s:,.1f} s",
        "" if point.cost_usd is None else f"{point.cost_usd:.4f} USD",
        f"{point.floors.no_skew_s:,.1f} s",
        f"refused: {point.refused}" if point.refused else "",
    )
