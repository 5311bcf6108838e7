"""`emrctl doctor`."""

from __future__ import annotations

from pathlib import Path

import typer

from emrctl import doctor as checks
from emrctl.cli import options, render
from emrctl.spec import ProjectSpec
from emrctl.spec.config import Config

app = options.new_app()


@app.command()
@options.common("config target region json")
def doctor(context: options.Context) -> None:
    """Check this machine for the project's target; exit with 1 on a missing part.

    Checks Python, extras, disk space and prices; for localhost Java, Hadoop,
    memory and the emulator; for AWS the engine, credentials, endpoints and clock.
    """
    results = checks.run_checks(_config(context))
    if context.as_json:
        render.json_document(
            [
                {"name": one.name, "status": one.status, "message": one.message, "hint": one.hint}
                for one in results
            ]
        )
    else:
        rows = [(one.name, one.status, one.message) for one in results]
        render.table("check", "status", "", rows=rows)
        for one in results:
            if one.hint:
                typer.echo(f"{one.name}: {one.hint}")
    if any(one.status == "missing" for one in results):
        raise typer.Exit(1)


def _config(context: options.Context) -> Config:
    """Return the project's configuration, or the defaults if there is no emrctl.yaml."""
    if context.in_project:
        return context.workspace.config
    render.note("No emrctl.yaml in this folder or above; create one with `emrctl init`.")
    flags = {"target": context.target, "region": context.region}
    values = {key: value for key, value in flags.items() if value is not None}
    project = ProjectSpec.model_validate({"project": "any", **values})
    return Config(project=project, root=Path.cwd(), sources={})
