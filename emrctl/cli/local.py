"""`emrctl local`: the EMR on localhost."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from emrctl.aws.target import Target
from emrctl.cli import options, render
from emrctl.errors import NotFoundError

app = options.new_app()
local_app = typer.Typer(
    cls=options.Group,
    no_args_is_help=True,
    help="The EMR on localhost: up, status, logs, down.",
)
app.add_typer(local_app, name="local")


@local_app.command()
def up(
    region: Annotated[str, typer.Option(help="The region that it plays.")] = "us-east-1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="A port; 0 takes a free one.")] = 0,
    as_json: options.JsonOption = False,
) -> None:
    """Start the EMR on localhost, or find the one that runs."""
    from emrctl.emulator.server import control

    info = control.up(region=region, port=port, report=render.note)
    render.emulator(asdict(info), as_json=as_json)


@local_app.command()
def status(as_json: options.JsonOption = False) -> None:
    """Say whether it runs, where, and with which clusters."""
    from emrctl.emulator.server import control

    info = control.status()
    if info is None:
        raise NotFoundError("no EMR runs on localhost", hint="Start it with `emrctl local up`.")
    render.emulator(asdict(info), as_json=as_json, overview=control.overview(info))


@local_app.command()
def logs() -> None:
    """Print what it has written."""
    from emrctl.emulator.server import control

    place = control.logs()
    if not place.is_file():
        raise NotFoundError(f"there is no {place}", hint="Start it with `emrctl local up`.")
    typer.echo(place.read_text(errors="replace"), nl=False)


@local_app.command()
def down(as_json: options.JsonOption = False) -> None:
    """End it with its clusters; nothing of it is left running."""
    from emrctl.emulator.server import control

    ended = control.down(report=render.note)
    if as_json:
        render.json_document({"ended": ended})
    else:
        typer.echo("The EMR on localhost has ended." if ended else "No EMR ran on localhost.")


def tell_once(target: Target) -> None:
    """Once for each home: that on localhost scripts run with the user's own rights."""
    if target.kind == "local":
        from emrctl.emulator.server import consent

        if not consent.was_shown():
            render.note(consent.TEXT)
            consent.remember()
