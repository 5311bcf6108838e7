"""`emrctl doctor`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import typer

from emrctl import doctor as examining
from emrctl.cli import options, render
from emrctl.spec import ProjectSpec

app = options.new_app()


@app.command()
@options.common("config target region json")
def doctor(
    context: options.Context,
) -> None:
    """Say what this machine lacks for the project's target, and what to do; 1 where it lacks any.

    Python, extras, Java, folders and room, memory, the EMR on localhost; on AWS engine,
    credentials, network and clock.
    """
    patient = _patient(context)
    findings = examining.examine(patient)
    _print(findings, as_json=context.as_json)
    if any(one.status == "missing" for one in findings):
        raise typer.Exit(1)


def _patient(context: options.Context) -> examining.Patient:
    """The project of this folder, or one of default values if there is no emrctl.yaml."""
    if context.in_project:
        config = context.workspace.config
        return examining.Patient(project=config.project, root=config.root)
    render.note("No emrctl.yaml here: `emrctl init` writes one.")
    flags = {"target": context.target, "region": context.region}
    typed = {key: value for key, value in flags.items() if value is not None}
    project = ProjectSpec.model_validate({"project": "any", **typed})
    return examining.Patient(project=project, root=Path.cwd())


def _print(findings: tuple[examining.Finding, ...], *, as_json: bool) -> None:
    if as_json:
        render.json_document([asdict(one) for one in findings])
        return
    rows = [(one.status, one.name, one.said) for one in findings]
    render.table("", "what", "how it is", rows=rows)
    for one in findings:
        if one.hint:
            typer.echo(f"{one.name}: {one.hint}")
