"""`emrctl experiment`: run a job over a grid of settings."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from emrctl.cli import follow, options, render
from emrctl.cli.render.runs import print_runs, settings_text
from emrctl.errors import StepFailedError
from emrctl.runs import experiments

app = options.new_app()
experiment_app = options.add_group(app, "experiment", "Run a job over a grid of settings.")
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
) -> None:
    """Run the trials of EXPERIMENT in sequence, except completed ones."""
    workspace = context.workspace
    spec = experiments.load(workspace, experiment)
    runner = follow.trial_runner(workspace, spec, workspace.cluster())
    runs = experiments.run(workspace, spec, runner, fresh=not resume)
    print_runs(workspace, runs, as_json=context.as_json)
    failed = sum(item.state != "COMPLETED" for item in runs)
    if failed:
        raise StepFailedError(
            f"experiment '{experiment}': {failed} of {len(runs)} trials did not complete",
            hint="List failures with `emrctl runs`; "
            f"`emrctl experiment run {experiment}` repeats failed trials only.",
        )
    render.next_step(f"emrctl compare --experiment {spec.name}")


@experiment_app.command("list")
@options.common("config json")
def list_trials(context: options.Context, experiment: ExperimentArgument) -> None:
    """List the trials of EXPERIMENT without running them."""
    trials = experiments.trials(experiments.load(context.workspace, experiment))
    records = [
        asdict(trial.facts) | {"settings": trial.configuration.settings.record()}
        for trial in trials
    ]
    if context.as_json:
        render.json_document(records)
        return
    rows = [
        (item["cell"], str(item["repeat"]), settings_text(item["settings"])) for item in records
    ]
    render.table("cell", "repeat", "settings", rows=rows, right=("repeat",))
