"""`emrctl tune`: search for the best configuration of a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emrctl.cli import options, render, trial_progress
from emrctl.cli.render import tune as tune_render
from emrctl.errors import UsageError
from emrctl.tune import Goal

if TYPE_CHECKING:
    from emrctl.tune.replay import Measurements, Searches

app = options.new_app()


def _replay_option(*flags: str, **settings: Any) -> Any:
    return typer.Option(*flags, rich_help_panel="Replay", **settings)


@app.command()
@options.common("config target cluster json")
def tune(
    context: options.Context,
    experiment: Annotated[
        str | None,
        typer.Argument(metavar="[EXPERIMENT]", help="Name in emrctl.yaml, or a YAML file."),
    ] = None,
    goal: Annotated[
        Goal | None, typer.Option(help="What to minimise; default: time.", show_default=False)
    ] = None,
    runs: Annotated[
        int | None, typer.Option(min=1, help="Most runs; 12 for --replay.", show_default=False)
    ] = None,
    sampler: Annotated[
        str | None, typer.Option(help="search (default), tpe, gp, qmc, grid or random.")
    ] = None,
    limit: Annotated[
        float | None, typer.Option(min=1, help="Cancel after N times the default's duration; 3.")
    ] = None,
    repeats: Annotated[
        int | None, typer.Option(min=1, help="Runs of the best configurations at the end; 3.")
    ] = None,
    parallel: Annotated[
        int | None, typer.Option(min=1, help="Trials at the same time, if there is room.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--fresh", help="Use earlier runs.", show_default=False)
    ] = True,
    keep: Annotated[
        bool | None, typer.Option("--keep", help="Keep clusters that the search creates.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page that compares all runs.")] = None,
    table: Annotated[
        Path | None, _replay_option("--replay", help="Search this CSV or TSV table instead.")
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
    seeds: Annotated[
        int, _replay_option("--seeds", help="Number of searches.", min=1, max=10_000)
    ] = 20,
    within: Annotated[
        float, _replay_option("--within", help="Percent from the best that is good enough.")
    ] = 5.0,
) -> None:
    """Search for the fastest or cheapest configuration of EXPERIMENT with few runs.

    The first run is the job as it is configured. Each further configuration is
    chosen from all results so far, until another one is expected to gain less
    than repeats differ. Interrupt it at any time: the same command continues.
    The section `tune` of EXPERIMENT or of emrctl.yaml can set these options.

    `--replay` searches a table of configurations that were measured before and
    prints how many runs it takes, beside a random search:
    `emrctl tune --replay old.csv --time seconds --features type,nodes`.
    """
    from emrctl.tune import replay

    given = {"goal": goal, "runs": runs, "sampler": sampler, "limit": limit, "repeats": repeats}
    if experiment is not None and table is None:
        given |= {"parallel": parallel, "keep": keep, "fresh": not resume}
        _tune(context, experiment, given, html)
    elif table is not None and experiment is None:
        of_search = given | {"parallel": parallel, "keep": keep, "html": html}
        _reject_options_of_search(of_search, resume=resume)
        rows = options.pairs(where, "--where")
        columns = replay.Columns(time, features.split(","), rows, completed)
        space = replay.read(table, columns, goal or Goal.time)
        searches = replay.Searches(runs or 12, seeds, within / 100)
        _replay(context, space, searches, sampler or "search")
    else:
        raise UsageError("pass either an experiment or --replay TABLE")


def _reject_options_of_search(given: Mapping[str, Any], *, resume: bool) -> None:
    names = [name for name in ("limit", "repeats", "parallel", "keep", "html") if given[name]]
    names += [] if resume else ["fresh"]
    if names:
        hint = "Leave it out: a replay runs no jobs."
        raise UsageError(f"--{names[0]} does not apply to --replay", hint=hint)


def _tune(
    context: options.Context, experiment: str, given: Mapping[str, Any], html: Path | None
) -> None:
    from emrctl.runs import experiments
    from emrctl.tune import result, runner
    from emrctl.tune.trials import TuneOptions

    workspace = context.workspace
    spec = experiments.load(workspace, experiment)
    chosen = TuneOptions.of(workspace.project, spec, given)
    with trial_progress.showing(chosen.parallel or spec.parallel) as report:
        search = runner.run(workspace, spec, report, chosen)
    found = result.result(search)
    if context.as_json:
        render.json_document(asdict(found))
    else:
        tune_render.show(found)
    if html is not None:
        from emrctl.compare import history, page

        page.write(history.compare_runs(workspace, [], spec.name), html, spec.name)
        render.note(f"Wrote {html}")
    render.next_step(f"emrctl compare --experiment {spec.name}")


def _replay(
    context: options.Context, measurements: Measurements, searches: Searches, sampler: str
) -> None:
    results = [searches.replay(measurements, name) for name in dict.fromkeys([sampler, "random"])]
    tune_render.show_replays(results, measurements, searches, as_json=context.as_json)
