"""`emrctl experiment`: a job over a grid of settings."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from emrctl.cli import follow, options, render
from emrctl.cli.render.runs import print_runs, settings_text
from emrctl.runs import experiments

app = options.new_app()
experiment_app = typer.Typer(
    cls=options.Group, no_args_is_help=True, help="Run a job over a grid of settings, resumably."
)
app.add_typer(experiment_app, name="experiment")


@experiment_app.command()
@options.common("config target cluster json")
def run(
    context: options.Context,
    experiment: Annotated[
        str, typer.Argument(metavar="FILE", help="A YAML file, or a name of emrctl.yaml.")
    ],
    resume: Annotated[
        bool, typer.Option("--resume/--fresh", help="Keep trials that completed, or run all anew.")
    ] = True,
) -> None:
    """Run every trial of FILE, one after another; what completed before is not run again."""
    workspace = context.workspace
    spec = experiments.load(workspace, experiment)
    runner = follow.trials(workspace, spec, workspace.cluster())
    found = experiments.run(workspace, spec, runner, fresh=not resume)
    print_runs(workspace, found, as_json=context.as_json)
    follow.exit_with_experiment(experiment, found)
    render.next_step(f"emrctl compare --experiment {spec.name}")


@experiment_app.command("list")
@options.common("config json")
def list_trials(
    context: options.Context,
    experiment: Annotated[
        str, typer.Argument(metavar="FILE", help="A YAML file, or a name of emrctl.yaml.")
    ],
) -> None:
    """List the trials of FILE without running any."""
    trials = experiments.trials(experiments.load(context.workspace, experiment))
    settings = [trial.settings.as_dict() for trial in trials]
    facts = [trial.facts for trial in trials]
    if context.as_json:
        pairs = zip(facts, settings, strict=True)
        render.json_document([asdict(item) | {"settings": values} for item, values in pairs])
        return
    texts = map(settings_text, settings)
    rows = [(f.cell, str(f.repeat), text) for f, text in zip(facts, texts, strict=True)]
    render.table("cell", "repeat", "settings", rows=rows, right=("repeat",))
