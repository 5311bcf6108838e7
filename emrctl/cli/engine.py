"""`emrctl engine`, and what the real engine does with stacks that stand."""

from __future__ import annotations

from typing import Annotated

import typer

from emrctl.cli import options, render
from emrctl.cli.render import stacks as show_stacks
from emrctl.provision import stacks

app = options.new_app()
engine_app = typer.Typer(
    cls=options.Group,
    no_args_is_help=True,
    help="Pulumi's engine: which one is used, and its installation.",
)
app.add_typer(engine_app, name="engine")

StorageOption = Annotated[
    bool, typer.Option("--storage", help="The bucket's stack, not the cluster's.")
]


@engine_app.command()
@options.common("json")
def show(context: options.Context) -> None:
    """Show which engines there are, which one is used, and the AWS plugin that belongs to it."""
    from emrctl.engine.pulumi import installation as report

    show_stacks.engine(report.installed(), as_json=context.as_json)


@engine_app.command()
@options.common("yes json")
def install(
    context: options.Context,
    plugin: Annotated[
        bool, typer.Option(help="The AWS plugin too; localhost does not need it.")
    ] = True,
) -> None:
    """Install the engine into emrctl's home, and its AWS plugin, after asking."""
    from emrctl.engine.pulumi import installation as report

    missing = report.missing(plugin=plugin)
    if missing:
        context.confirm(f"Download and install {' and '.join(missing)}?")
        report.install(plugin=plugin, tell=render.note)
    show_stacks.engine(report.installed(), as_json=context.as_json)


@app.command()
@options.common("config target region cluster json")
def refresh(
    context: options.Context,
    storage: StorageOption = False,
) -> None:
    """Bring the stack's state to what AWS has now; AWS itself is not changed."""
    at = context.workspace
    with show_stacks.events(as_json=context.as_json) as report:
        found = stacks.refresh(at.deployment, storage=storage, report=report)
    show_stacks.refreshed(found, as_json=context.as_json)


@app.command()
@options.common("config target region cluster json")
def drift(
    context: options.Context,
    storage: StorageOption = False,
) -> None:
    """Show where AWS is no longer as the stack's state says."""
    at = context.workspace
    found = stacks.drift(at.deployment, storage=storage)
    show_stacks.drifted(found, as_json=context.as_json)


@app.command()
@options.common("config target region cluster json")
def outputs(
    context: options.Context,
    storage: StorageOption = False,
) -> None:
    """Show what the stack's program exported."""
    at = context.workspace
    found = stacks.outputs(at.deployment, storage=storage)
    show_stacks.outputs(found, as_json=context.as_json)


@app.command()
@options.common("config target region cluster json")
def history(
    context: options.Context,
    storage: StorageOption = False,
) -> None:
    """Show all that was done to the stack."""
    at = context.workspace
    found = stacks.history(at.deployment, storage=storage)
    show_stacks.history(found, as_json=context.as_json)


@app.command("import")
@options.common("config target region json")
def import_bucket(
    context: options.Context,
    engine: Annotated[str | None, typer.Option("--engine", help="pulumi, on localhost.")] = None,
) -> None:
    """Take over the bucket that the spec names (storage.bucket) and that exists already."""
    at = context.workspace
    with show_stacks.events(as_json=context.as_json) as report:
        found = stacks.import_bucket(at.deployment, report=report, engine=engine)
    show_stacks.imported(found, as_json=context.as_json)


@app.command()
@options.common("config target region cluster")
def export(
    context: options.Context,
    storage: StorageOption = False,
) -> None:
    """Print the stack's whole state as JSON, as `pulumi stack import` takes it."""
    at = context.workspace
    render.json_document(stacks.export(at.deployment, storage=storage))
