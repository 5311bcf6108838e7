"""`emrctl doctor`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from emrctl import doctor as examining
from emrctl.cli import options, render
from emrctl.errors import UsageError
from emrctl.spec import ProjectSpec
from emrctl.spec import config as configuration

app = options.new_app()


@app.command()
def doctor(
    config: options.ConfigOption = None,
    target: options.TargetOption = None,
    region: options.RegionOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Say what this machine lacks for the project's target, and what to do; 1 where it lacks any.

    Python, extras, Java, folders and room, memory, the EMR on localhost; on AWS engine,
    credentials, network and clock.
    """
    patient = _patient(config, {"target": target, "region": region})
    findings = examining.examine(patient)
    _print(findings, as_json=as_json)
    if any(one.status == "missing" for one in findings):
        raise typer.Exit(1)


def _patient(file: Path | None, flags: dict[str, Any]) -> examining.Patient:
    """The project here; any, with a word about it, where there is none."""
    if file is None:
        try:
            configuration.find()
        except UsageError:
            render.note("No emrctl.yaml here: `emrctl init` writes one.")
            typed = {key: value for key, value in flags.items() if value is not None}
            project = ProjectSpec.model_validate({"project": "any", **typed})
            return examining.Patient(project=project, root=Path.cwd())
    found = configuration.load(file, flags)
    return examining.Patient(project=found.project, root=found.root)


def _print(findings: tuple[examining.Finding, ...], *, as_json: bool) -> None:
    if as_json:
        render.json_document([asdict(one) for one in findings])
        return
    rows = [(one.status, one.name, one.said) for one in findings]
    render.table("", "what", "how it is", rows=rows)
    for one in findings:
        if one.hint:
            typer.echo(f"{one.name}: {one.hint}")
