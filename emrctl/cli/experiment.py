"""`emrctl experiment`: run a job with combinations of settings."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emrctl.cli import options, render, trial_progress
from emrctl.cli.render.runs import print_runs, settings_text
from emrctl.errors import StepFailedError
from emrctl.runs import experiment_state, experiments, lifecycle

if TYPE_CHECKING:
    from emrctl.runs.experiment_state import ExperimentState
    from emrctl.runs.trials import Trial

app = options.new_app()
experiment_app = options.add_group(app, "experiment", "Run a job with combinations of settings.")
ExperimentArgument = Annotated[
    str, typer.Argument(metavar="EXPERIMENT", help="Name in emrctl.yaml, or a YAML file.")
]


@experiment_app.command()
@options.common("config target cluster json")
def run(
    context: options.Context,
    experiment: ExperimentArgument,
    resume: Annotated[
        bool, typer.Option("--resume/--fresh", help="Keep completed trials.", show_default=False)
    ] = True,
    parallel: Annotated[
        int | None, typer.Option(min=1, help="Trials at the same time, if there is room.")
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep clusters that the experiment creates.")
    ] = False,
) -> None:
    """Run the trials of EXPERIMENT, except completed ones.

    Interrupt it at any time: the same command continues.
    """
    from emrctl.compare.stopping import stop_rule

    workspace = context.workspace
    spec = experiments.load(workspace, experiment)
    rule = stop_rule() if spec.stop else None
    with trial_progress.showing(parallel or spec.parallel) as report:
        chosen = experiment_state.RunOptions(
            parallel=parallel, keep=keep, fresh=not resume, rule=rule
        )
        state = experiment_state.run(workspace, spec, report, chosen)
    print_runs(workspace, list(state.runs.values()), as_json=context.as_json)
    _raise_for_failures(state, experiment)
    if state.stopped:
        render.note(f"Stopped: {state.stopped}.")
        render.note(f"Raise `budget` and run `emrctl experiment run {experiment}` to continue.")
    render.next_step(f"emrctl compare --experiment {spec.name}")


def _raise_for_failures(state: ExperimentState, experiment: str) -> None:
    for name, reason in state.enough.items():
        render.note(f"Not repeated any more: {name}: {reason}")
    outlook = state.outlook()
    if outlook.failed:
        raise StepFailedError(
            f"experiment '{experiment}': {outlook.failed} of {outlook.done + outlook.failed} "
            "trials did not complete",
            hint="List failures with `emrctl runs`; "
            f"`emrctl experiment run {experiment}` repeats failed trials only.",
        )


@experiment_app.command("list")
@options.common("config json")
def list_trials(context: options.Context, experiment: ExperimentArgument) -> None:
    """List the trials of EXPERIMENT in their order, without running them."""
    trials = experiments.trials(experiments.load(context.workspace, experiment))
    if context.as_json:
        render.json_document([_record(trial) for trial in trials])
        return
    rows = [
        (str(trial.number), trial.facts.cell, _repeat(trial), settings_text(_settings(trial)))
        for trial in trials
    ]
    render.table("trial", "configuration", "repeat", "settings", rows=rows, right=("trial",))


@experiment_app.command()
@options.common("config target json")
def show(context: options.Context, experiment: ExperimentArgument) -> None:
    """Show the trials of each configuration: completed, failed, left; time and cost."""
    workspace = context.workspace
    spec = experiments.load(workspace, experiment)
    state = experiment_state.ExperimentState(workspace, spec, lifecycle.refresh_all(workspace))
    rows = state.summary()
    outlook = state.outlook()
    if context.as_json:
        render.json_document({"configurations": rows, **asdict(outlook)})
        return
    columns = ("done", "failed", "running", "left", "mean_s", "usd")
    cells = [
        (row["configuration"], *(render.number(row[name]) for name in columns)) for row in rows
    ]
    render.table("configuration", *columns[:4], "mean s", "USD", rows=cells, right=columns[:4])
    left = f", about {trial_progress.duration_text(outlook.left_s)}" if outlook.left_s else ""
    render.note(
        f"{outlook.use.runs} runs in {trial_progress.duration_text(outlook.use.seconds)} for "
        f"{outlook.use.usd:.4f} USD; {outlook.left} trials left{left}"
    )


def _settings(trial: Trial) -> dict[str, Any]:
    return trial.configuration.settings.record()


def _repeat(trial: Trial) -> str:
    return "warm-up" if trial.facts.warm_up else str(trial.facts.repeat)


def _record(trial: Trial) -> dict[str, Any]:
    item = trial.configuration
    return {
        **asdict(trial.facts),
        "number": trial.number,
        "settings": _settings(trial),
        "arguments": item.args,
        "environment": item.env,
        "cluster": item.cluster,
    }
