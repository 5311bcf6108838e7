"""`emrctl experiment`: a job over a grid of settings."""

from __future__ import annotations

from typing import Annotated

import typer

from emrctl.cli import follow, options, render
from emrctl.runs import experiments

app = options.new_app()
experiment_app = typer.Typer(
    cls=options.Group, no_args_is_help=True, help="Run a job over a grid of settings, resumably."
)
app.add_typer(experiment_app, name="experiment")


@experiment_app.command()
def run(
    experiment: Annotated[
        str, typer.Argument(metavar="FILE", help="A YAML file, or a name of emrctl.yaml.")
    ],
    config: options.ConfigOption = None,
    target: options.TargetOption = None,
    cluster: options.ClusterOption = None,
    resume: Annotated[
        bool, typer.Option("--resume/--fresh", help="Keep trials that completed, or run all anew.")
    ] = True,
    as_json: options.JsonOption = False,
) -> None:
    """Run every trial of FILE, one after another; what completed before is not run again."""
    workspace = options.open_workspace(config, target=target)
    spec = experiments.load(workspace, experiment)
    runner = follow.trials(workspace, spec, workspace.cluster(cluster))
    found = experiments.run(workspace, spec, runner, fresh=not resume)
    render.runs(workspace, found, as_json=as_json)
    follow.exit_with_experiment(experiment, found)
    render.next_step(f"emrctl compare --experiment {spec.name}")


@experiment_app.command("list")
def list_trials(
    experiment: Annotated[
        str, typer.Argument(metavar="FILE", help="A YAML file, or a name of emrctl.yaml.")
    ],
    config: options.ConfigOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """List the trials of FILE without running any."""
    workspace = options.open_workspace(config)
    spec = experiments.load(workspace, experiment)
    render.trials(experiments.trials(spec), as_json=as_json)
