"""`emrctl local`: the EMR on localhost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import typer

from emrctl.aws.target import Target
from emrctl.cli import local_fault, options, render
from emrctl.errors import NotFoundError

app = options.new_app()
local_app = options.add_group(app, "local", "EMR on localhost: up, status, faults, logs, down.")
local_fault.add_to(local_app)


@local_app.command()
@options.common("json")
def up(
    context: options.Context,
    region: Annotated[str, typer.Option(help="Region to emulate.")] = "us-east-1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 uses a free one.")] = 0,
    scaling_interval: Annotated[
        float, typer.Option(min=0.1, help="Seconds between evaluations of managed scaling.")
    ] = 3.0,
) -> None:
    """Start the emulator, or show the one that is running."""
    from emrctl.emulator.server import control

    info = control.up(
        region=region, port=port, report=render.note, scaling_interval_s=scaling_interval
    )
    _print(asdict(info), as_json=context.as_json)
    if not context.as_json:
        render.next_step("emrctl up")


@local_app.command()
@options.common("json")
def status(context: options.Context) -> None:
    """Show the emulator's endpoint, clusters, EC2 instances and active faults."""
    from emrctl.emulator.server import control

    info = local_fault.running_emulator()
    _print(asdict(info), as_json=context.as_json, overview=control.overview(info))


def _print(
    info: Mapping[str, Any], *, as_json: bool, overview: Mapping[str, Any] | None = None
) -> None:
    document = {**info, **(overview or {})}
    if as_json:
        render.json_document(document)
        return
    started = datetime.fromtimestamp(info["started"]).astimezone().isoformat(" ", "seconds")
    rows = [(key, str(value)) for key, value in {**info, "started": started}.items()]
    render.table("EMR on localhost", "", rows=rows)
    for cluster in document.get("clusters", ()):
        render.line(f"  {cluster['id']}  {cluster['state']}  {cluster['name']}")
    for instance in document.get("instances", ()):
        render.line(f"  {instance['id']}  {instance['state'].upper()}  {instance['name']}")
    for fault in document.get("faults", ()):
        render.line(f"  fault {local_fault.describe(fault)}")
    for warning in document.get("warnings", ()):
        render.note(f"warning: {warning}")


@local_app.command()
@options.common("json")
def differences(context: options.Context) -> None:
    """Show the differences from EMR, in general and by API operation."""
    from emrctl.emulator.differences import DIFFERENCES, operations

    support = operations()
    if context.as_json:
        rows = [{"operation": name, **asdict(one)} for name, one in support.items()]
        render.json_document({"differences": list(DIFFERENCES), "operations": rows})
        return
    for difference in DIFFERENCES:
        typer.echo(f"- {difference}")
    limited = [(name, one.level, one.note) for name, one in support.items() if one.note]
    full = len(support) - len(limited)
    render.table("operation", "support", "difference", rows=limited)
    typer.echo(
        f"The other {full} of {len(support)} operations of the EMR API are supported in full."
    )


@local_app.command()
def logs() -> None:
    """Print the log of the emulator."""
    from emrctl.emulator.server import control

    path = control.logs()
    if not path.is_file():
        raise NotFoundError(f"{path} does not exist", hint="Start it with `emrctl local up`.")
    typer.echo(path.read_text(errors="replace"), nl=False)


@local_app.command()
@options.common("json")
def down(
    context: options.Context,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete all buckets and the history of clusters.")
    ] = False,
) -> None:
    """Terminate the clusters and stop the emulator; buckets are kept."""
    from emrctl.emulator.server import control

    stopped = control.down(report=render.note, delete=delete)
    if context.as_json:
        render.json_document({"ended": stopped})
    else:
        typer.echo("The emulator was stopped." if stopped else "The emulator was not running.")


def show_consent_once(target: Target) -> None:
    """Print once per home that scripts on localhost run with the user's own rights."""
    if target.runs_scripts_here:
        from emrctl.emulator.server import control

        if control.first_use():
            render.note(control.CONSENT_TEXT)
