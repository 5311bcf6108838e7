"""`emrctl engine`, and commands on the state of existing stacks."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from emrctl.cli import options, render
from emrctl.cli.render.stacks import events
from emrctl.provision import stacks

if TYPE_CHECKING:
    from emrctl.engine.base import StackResult
    from emrctl.engine.pulumi.binary import EngineReport

app = options.new_app()
engine_app = options.add_group(app, "engine", "Show or install the Pulumi engine.")

StorageOption = Annotated[
    bool, typer.Option("--storage", help="The bucket's stack instead of the cluster's.")
]


@engine_app.command()
@options.common("json")
def show(context: options.Context) -> None:
    """Show the installed Pulumi engines, the selected one and its AWS plugin."""
    from emrctl.engine.pulumi import binary

    _print_installation(binary.describe(), as_json=context.as_json)


@engine_app.command()
@options.common("yes json")
def install(
    context: options.Context,
    plugin: Annotated[
        bool, typer.Option(help="Install the AWS plugin; not needed for localhost.")
    ] = True,
) -> None:
    """Download and install the Pulumi engine and its AWS plugin into emrctl's home."""
    from emrctl.engine.pulumi import binary

    missing = binary.missing(plugin=plugin)
    if missing:
        context.confirm(f"Download and install {' and '.join(missing)}?")
        binary.install(plugin=plugin, report=render.note)
    _print_installation(binary.describe(), as_json=context.as_json)


def _print_installation(report: EngineReport, *, as_json: bool) -> None:
    if as_json:
        render.json_document(asdict(report))
        return
    rows = [
        (
            str(engine.path),
            engine.version,
            "yes" if engine.supported else "no",
            "yes" if engine == report.used else "",
        )
        for engine in report.engines
    ]
    render.table("engine", "version", "supported", "selected", rows=rows)
    typer.echo(f"Supported versions: {report.wanted}")
    status = "installed" if report.plugin else "not installed"
    typer.echo(f"AWS plugin {report.plugin_version}: {status} (not needed for localhost)")
    if report.used is None or not report.plugin:
        render.next_step("emrctl engine install")


@app.command()
@options.common("config target region cluster json")
def refresh(context: options.Context, storage: StorageOption = False) -> None:
    """Update the stack's state from AWS; resources are not changed."""
    with events(as_json=context.as_json) as report:
        outcome = stacks.refresh(context.workspace.deployment, storage=storage, report=report)
    names = ", ".join(change.name for change in outcome.changes)
    _print_outcome(context, outcome, f"state updated ({names})." if names else "no changes.")


@app.command()
@options.common("config target region cluster json")
def drift(context: options.Context, storage: StorageOption = False) -> None:
    """Show differences between the stack's state and AWS."""
    plan = stacks.drift(context.workspace.deployment, storage=storage)
    if context.as_json:
        render.json_document(asdict(plan) | {"empty": plan.empty})
    elif not plan.changes:
        typer.echo(f"{plan.stack}: No drift.")
    else:
        states = {"update": "changed", "delete": "deleted"}
        rows = [(states[c.operation], c.type, c.name, ", ".join(c.keys)) for c in plan.changes]
        render.table("drift", "type", "name", "properties", rows=rows)


@app.command()
@options.common("config target region cluster json")
def outputs(context: options.Context, storage: StorageOption = False) -> None:
    """Print the stack's outputs."""
    values = stacks.outputs(context.workspace.deployment, storage=storage)
    if context.as_json:
        render.json_document(dict(values))
    else:
        rows = [(key, str(value)) for key, value in values.items()]
        render.table("output", "value", rows=rows)


@app.command()
@options.common("config target region cluster json")
def history(context: options.Context, storage: StorageOption = False) -> None:
    """List the stack's updates."""
    updates = stacks.history(context.workspace.deployment, storage=storage)
    if context.as_json:
        render.json_document([asdict(update) for update in updates])
        return
    rows = []
    for update in updates:
        counts = [(n, name) for name, n in update.changes.items() if name != "same"]
        changes = ", ".join(f"{n} {name}" for n, name in counts)
        rows.append((update.started, update.kind, update.result, changes))
    render.table("started", "operation", "result", "changes", rows=rows)


@app.command("import")
@options.common("config target region json")
def import_bucket(
    context: options.Context,
    engine: Annotated[str | None, typer.Option("--engine", help="pulumi, on localhost.")] = None,
) -> None:
    """Import the existing bucket that storage.bucket names into the storage stack."""
    with events(as_json=context.as_json) as report:
        outcome = stacks.import_bucket(context.workspace.deployment, report=report, engine=engine)
    ids = ", ".join(str(change.id) for change in outcome.changes)
    _print_outcome(context, outcome, f"imported {ids}, protected from deletion.")
    if not context.as_json:
        render.next_step("emrctl preview")


@app.command()
@options.common("config target region cluster")
def export(context: options.Context, storage: StorageOption = False) -> None:
    """Print the stack's state as JSON, in the format of `pulumi stack import`."""
    render.json_document(stacks.export(context.workspace.deployment, storage=storage))


def _print_outcome(context: options.Context, outcome: StackResult, text: str) -> None:
    if context.as_json:
        changes = [asdict(change) for change in outcome.changes]
        render.json_document({"stack": outcome.stack, "changes": changes})
    else:
        typer.echo(f"{outcome.stack}: {text}")
