"""`emrctl up`, `preview`, `stop`, `start`, `down`, `show` and `list`."""

from __future__ import annotations

from typing import Annotated

import typer

from emrctl.cli import local, options
from emrctl.cli.gc import offering_cleanup
from emrctl.cli.render import stacks as render
from emrctl.clusters import registry
from emrctl.provision import lifecycle
from emrctl.provision.stacks import list_stacks

app = options.new_app()

EngineOption = Annotated[
    str | None,
    typer.Option("--engine", help="embedded (localhost's default), or pulumi."),
]


@app.command()
@options.common("config target region cluster json")
def preview(
    context: options.Context,
    engine: EngineOption = None,
) -> None:
    """Show what `up` would create, change, replace and delete, and what it costs an hour on AWS."""
    workspace = context.workspace
    plans = lifecycle.preview(workspace.deployment, engine=engine)
    render.plans(plans, as_json=context.as_json)


@app.command()
@options.common("config target region cluster json")
def up(
    context: options.Context,
    engine: EngineOption = None,
    replace: Annotated[
        list[str] | None,
        typer.Option(help="Make this worker of EC2 instances anew (worker-2); may be repeated."),
    ] = None,
    give_up: Annotated[
        bool, typer.Option("--give-up", help="End workers of EC2 that fail; go on with the others.")
    ] = False,
) -> None:
    """Bring the bucket and the cluster up, or to what the spec says now.

    A second one changes nothing; a changed core count resizes in place; an interrupted one goes
    on where it stopped. One that fails says what stands, what that costs, and offers to end it.
    """
    workspace = context.workspace
    local.tell_once(workspace.target)
    with offering_cleanup(workspace), render.events(as_json=context.as_json) as report:
        found = lifecycle.up(
            workspace.deployment,
            engine=engine,
            replace_workers=replace or (),
            skip_failed=give_up,
            report=report,
            node_report=render.node_lines(as_json=context.as_json),
        )
    render.cluster(found, workspace.target, as_json=context.as_json)


@app.command()
@options.common("config target region cluster json")
def stop(
    context: options.Context,
) -> None:
    """Stop a cluster of EC2 instances: disks stay, and only they cost; running steps end.

    EC2 stops no spot instances; EMR's clusters are taken down instead.
    """
    workspace = context.workspace
    report = render.node_lines(as_json=context.as_json)
    found = lifecycle.stop(workspace.deployment, node_report=report)
    render.cluster(found, workspace.target, as_json=context.as_json)


@app.command()
@options.common("config target region cluster json")
def start(
    context: options.Context,
) -> None:
    """Start a cluster that was stopped: its nodes come back, at other addresses, and take steps."""
    workspace = context.workspace
    report = render.node_lines(as_json=context.as_json)
    found = lifecycle.start(workspace.deployment, node_report=report)
    render.cluster(found, workspace.target, as_json=context.as_json)


@app.command()
@options.common("config target region cluster yes json")
def down(
    context: options.Context,
    storage: Annotated[
        bool, typer.Option("--storage", help="The bucket instead, with all that is in it.")
    ] = False,
) -> None:
    """Take the cluster down; the bucket stays, unless --storage names it instead."""
    workspace = context.workspace
    project = workspace.project
    what = "bucket and everything in it" if storage else f"cluster '{project.cluster.name}'"
    context.confirm(f"Take down the {what} of project {project.project}?")
    with render.events(as_json=context.as_json) as report:
        found = lifecycle.down(workspace.deployment, storage=storage, report=report)
    render.outcome(found, as_json=context.as_json)


@app.command()
@options.common("config target region json")
def show(
    context: options.Context,
    name: Annotated[str | None, typer.Argument(help="The cluster; by default the spec's.")] = None,
) -> None:
    """Show the cluster: its state, nodes and the addresses of the YARN, Spark and history pages."""
    workspace = context.workspace
    found = registry.show(workspace.project, workspace.target, name)
    render.cluster(found, workspace.target, as_json=context.as_json)


@app.command("list")
@options.common("config target region json")
def list_all(
    context: options.Context,
    ended: Annotated[bool, typer.Option("--ended", help="Clusters that are no more, too.")] = False,
) -> None:
    """List the project's clusters as AWS has them, and its stacks."""
    workspace = context.workspace
    clusters = registry.list_clusters(workspace.project, workspace.target, ended=ended)
    stacks = list_stacks(workspace.deployment)
    render.clusters(clusters, stacks, as_json=context.as_json)
