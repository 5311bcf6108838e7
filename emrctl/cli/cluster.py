"""`emrctl preview`, `up`, `stop`, `start`, `down`, `show` and `list`."""

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
    str | None, typer.Option("--engine", help="embedded (default on localhost) or pulumi.")
]


@app.command()
@options.common("config target region cluster json")
def preview(context: options.Context, engine: EngineOption = None) -> None:
    """Show what `up` would change, and the cluster's cost per hour on AWS."""
    workspace = context.workspace
    plans = lifecycle.preview(workspace.deployment, engine=engine)
    render.print_plans(plans, as_json=context.as_json)


@app.command()
@options.common("config target region cluster json")
def up(
    context: options.Context,
    engine: EngineOption = None,
    replace: Annotated[
        list[str] | None,
        typer.Option(metavar="WORKER", help="Replace this EC2 worker, e.g. worker-2; repeatable."),
    ] = None,
    give_up: Annotated[
        bool, typer.Option("--give-up", help="Terminate EC2 workers that fail, keep the others.")
    ] = False,
) -> None:
    """Create the bucket and the cluster, or update them to match emrctl.yaml.

    A changed core count resizes the cluster in place. The next `up` continues an
    interrupted or failed one, which lists the existing resources with their cost
    and offers to delete them.
    """
    workspace = context.workspace
    local.show_consent_once(workspace.target)
    with offering_cleanup(workspace), render.events(as_json=context.as_json) as report:
        cluster = lifecycle.up(
            workspace.deployment,
            engine=engine,
            replace_workers=replace or (),
            skip_failed=give_up,
            report=report,
            node_report=render.node_lines(as_json=context.as_json),
        )
    render.print_cluster(cluster, workspace.target, as_json=context.as_json)


@app.command()
@options.common("config target region cluster json")
def stop(context: options.Context) -> None:
    """Stop the instances of an EC2 cluster; EBS volumes are kept, steps end.

    Spot instances cannot be stopped. Use `emrctl down` for an EMR cluster.
    """
    workspace = context.workspace
    report = render.node_lines(as_json=context.as_json)
    cluster = lifecycle.stop(workspace.deployment, node_report=report)
    render.print_cluster(cluster, workspace.target, as_json=context.as_json)


@app.command()
@options.common("config target region cluster json")
def start(context: options.Context) -> None:
    """Start the instances of a stopped EC2 cluster; they get new public addresses."""
    workspace = context.workspace
    report = render.node_lines(as_json=context.as_json)
    cluster = lifecycle.start(workspace.deployment, node_report=report)
    render.print_cluster(cluster, workspace.target, as_json=context.as_json)


@app.command()
@options.common("config target region cluster yes json")
def down(
    context: options.Context,
    storage: Annotated[
        bool, typer.Option("--storage", help="Delete the bucket and its objects instead.")
    ] = False,
) -> None:
    """Delete the cluster; the bucket is kept."""
    workspace = context.workspace
    project = workspace.project
    name = "the bucket and its objects" if storage else f"cluster '{project.cluster.name}'"
    context.confirm(f"Delete {name} of project {project.project}?")
    with render.events(as_json=context.as_json) as report:
        outcome = lifecycle.down(workspace.deployment, storage=storage, report=report)
    render.print_deletion(outcome, as_json=context.as_json)


@app.command()
@options.common("config target region json")
def show(
    context: options.Context,
    name: Annotated[
        str | None, typer.Argument(help="Name of the cluster; default: the one in emrctl.yaml.")
    ] = None,
) -> None:
    """Show the cluster's state, nodes and web pages."""
    workspace = context.workspace
    cluster = registry.show(workspace.project, workspace.target, name)
    render.print_cluster(cluster, workspace.target, as_json=context.as_json)


@app.command("list")
@options.common("config target region json")
def list_all(
    context: options.Context,
    ended: Annotated[bool, typer.Option("--ended", help="Include terminated clusters.")] = False,
) -> None:
    """List the project's clusters and stacks."""
    workspace = context.workspace
    clusters = registry.list_clusters(workspace.project, workspace.target, ended=ended)
    stacks = list_stacks(workspace.deployment)
    render.print_clusters(clusters, stacks, as_json=context.as_json)
