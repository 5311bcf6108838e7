"""`emrctl jobs`: the jobs that come with emrctl."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from emrctl.cli import options, render
from emrctl.runs import gallery

app = options.new_app()
jobs_app = options.add_group(
    app, "jobs", "List the jobs that come with emrctl; copy one.", is_command=True
)


@jobs_app.callback()
@options.common("json")
def list_jobs(context: options.Context) -> None:
    """List the jobs that come with emrctl, each with its arguments."""
    jobs = gallery.describe()
    if context.as_json:
        render.json_document([asdict(job) for job in jobs])
        return
    for job in jobs:
        render.paragraph(job.name, job.description, " ".join(item.usage for item in job.arguments))
    render.note("`emrctl submit JOB --help` describes the arguments; --output is set by default.")


@jobs_app.command()
@options.common("json")
def copy(
    context: options.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a job, e.g. wordcount.")],
    folder: Annotated[Path, typer.Option(help="Folder of the copy.")] = Path(),
) -> None:
    """Copy a job and the packages that it imports, as a start for your own."""
    script, *packages = gallery.copy(name, folder)
    if context.as_json:
        render.json_document([script, *packages])
        return
    for path in (script, *packages):
        typer.echo(str(path))
    files = "".join(f" --py-files {path}" for path in packages)
    render.next_step(f"emrctl submit{files} {script} --output '{{run}}/output' ...")
