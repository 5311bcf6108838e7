"""`emrctl tune`: search for the best configuration of a job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emrctl.cli import options, render
from emrctl.errors import UsageError

if TYPE_CHECKING:
    from emrctl.tune.replay import Measurements, Replay, Searches

app = options.new_app()


class Goal(StrEnum):
    """What is minimised."""

    time = "time"
    cost = "cost"


def _replay_option(*flags: str, **settings: Any) -> Any:
    return typer.Option(*flags, rich_help_panel="Replay", **settings)


@app.command()
@options.common("json")
def tune(
    context: options.Context,
    goal: Annotated[Goal, typer.Option(help="What to minimise.")] = Goal.time,
    runs: Annotated[int, typer.Option(min=1, help="Runs of each search.")] = 12,
    sampler: Annotated[str, typer.Option(help="search, tpe, gp, qmc, grid or random.")] = "search",
    table: Annotated[
        Path | None, _replay_option("--replay", help="Search this CSV or TSV table.")
    ] = None,
    time: Annotated[str, _replay_option("--time", help="Column of seconds.")] = "duration_s",
    features: Annotated[
        str, _replay_option("--features", help="Columns of the configuration.", metavar="A,B,…")
    ] = "machine_type,instance_count",
    where: Annotated[
        list[str] | None,
        _replay_option("--where", help="Use these rows; repeatable.", metavar="COLUMN=VALUE"),
    ] = None,
    completed: Annotated[
        str | None, _replay_option("--completed", help="Column that is false for failures.")
    ] = None,
    seeds: Annotated[int, _replay_option("--seeds", help="Number of searches.", min=1)] = 20,
    within: Annotated[
        float, _replay_option("--within", help="Percent from the best that is good enough.")
    ] = 5.0,
) -> None:
    """Search for the fastest or cheapest configuration of a job.

    `--replay` searches a table of configurations that were measured before and
    prints how many runs it takes, beside a random search:
    `emrctl tune --replay old.csv --time seconds --features type,nodes`.
    """
    from emrctl.tune import replay

    if table is None:
        raise UsageError("nothing to search", hint="Add --replay TABLE.")
    columns = replay.Columns(
        time=time,
        features=tuple(features.split(",")),
        where=options.pairs(where, "--where"),
        completed=completed,
    )
    measurements = replay.read(table, columns, goal.value)
    searches = replay.Searches(runs=runs, seeds=seeds, within=within / 100)
    results = [searches.replay(measurements, name) for name in dict.fromkeys([sampler, "random"])]
    _print_replays(results, measurements, searches, as_json=context.as_json)


def _print_replays(
    results: Sequence[Replay], measurements: Measurements, searches: Searches, *, as_json: bool
) -> None:
    truth = measurements.truth()
    best = measurements.candidates[truth.index(min(truth))]
    if as_json:
        render.json_document(
            {
                "configurations": len(truth),
                "best": best,
                "within": searches.within,
                "searches": [asdict(item) for item in results],
            }
        )
        return
    names = [item.sampler for item in results]
    heads = [f"{name}: {text}" for name in names for text in ("within", "behind")]
    rows = [
        [
            str(run + 1),
            *(
                text
                for item in results
                for text in (f"{100 * item.within[run]:.0f} %", f"{100 * item.behind[run]:.1f} %")
            ),
        ]
        for run in range(len(results[0].within))
    ]
    typer.echo(
        f"{len(truth)} configurations; the best is {', '.join(f'{k}={v}' for k, v in best.items())}"
    )
    render.table("runs", *heads, rows=rows, right=("runs", *heads))
    typer.echo(
        f"within: share of {searches.seeds} searches whose best configuration is at most "
        f"{100 * searches.within:g} % worse than the best of all.\n"
        "behind: by how much it is worse in the median search."
    )
