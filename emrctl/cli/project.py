"""`emrctl init` and `emrctl config`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from emrctl.cli import options, render
from emrctl.errors import UsageError

app = options.new_app()

_TEMPLATE = """\
# What emrctl brings up, runs and compares. Every key but `project` may be left out;
# `emrctl config` shows each value in force and where it is from.
project: {project}

# local: an EMR on localhost (`emrctl local up`). aws: Amazon's, through Pulumi.
target: local
region: us-east-1
# profile: my-sso-profile

# The bucket for code, data, logs, event logs and runs. It outlives every cluster.
storage:
  # bucket: a-name-of-your-own
  versioning: true
  expire_logs_days: 30

cluster:
  name: main
  release: emr-7.5.0
  primary: {{type: m5.xlarge}}
  core: {{type: m5.xlarge, count: 2}}
  # Scripts that every node runs first: names of bootstrap/, your own files, or s3:// addresses.
  bootstrap:
    - script: python.sh
      args: [python3, boto3]
  # EMR ends a cluster that has had nothing to do for this long.
  idle_timeout_s: 3600
  # And any cluster after this long, whatever it does (0: never).
  ttl_s: 14400
  # What it may cost an hour at the most, in US dollars; dearer ones are not made.
  # max_hourly_cost: 5
  # configurations:
  #   - classification: spark-defaults
  #     properties: {{spark.dynamicAllocation.enabled: false}}

# Jobs by name: a program of emrctl's (features, svm, wordcount) or your own file.
jobs:
  count:
    script: wordcount
    settings: {{executors: 2}}
  # pets:
  #   script: my_job.py
  #   args: [--input, "s3://bucket/data/"]
  #   settings: {{executors: 5, partitions: 24, dynamic_allocation: false}}

# Runs of one job under several settings: `emrctl experiment run NAME`.
# experiments:
#   allocation:
#     name: allocation
#     job: pets
#     repeats: 3
#     factors: {{executors: [2, 4], partitions: [8, 24]}}
"""


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Where to write it.")] = Path(),
    project: Annotated[str | None, typer.Option(help="The project's name.")] = None,
) -> None:
    """Write a commented emrctl.yaml into FOLDER."""
    place = folder / "emrctl.yaml"
    if place.exists():
        raise UsageError(f"{place} exists already", hint="Edit it, or name another folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        place.write_text(_TEMPLATE.format(project=project or _project_name(folder)))
    except OSError as error:
        raise UsageError(f"cannot write {place}: {error.strerror}") from error
    typer.echo(f"Wrote {place}. Next: emrctl local up && emrctl up")


@app.command("config")
@options.common("config target region json")
def show_config(
    context: options.Context,
    schema: Annotated[bool, typer.Option(help="Print the file's JSON schema instead.")] = False,
) -> None:
    """Show every value in force and where it is from."""
    if schema:
        from emrctl.spec import ProjectSpec

        typer.echo(json.dumps(ProjectSpec.model_json_schema(), indent=1))
        return
    values = list(context.workspace.config.values())
    if context.as_json:
        render.json_document([asdict(item) for item in values])
        return
    rows = [(item.key, json.dumps(item.value, ensure_ascii=False), item.source) for item in values]
    render.table("key", "value", "source", rows=rows)


def _project_name(folder: Path) -> str:
    word = "".join(char if char.isalnum() else "-" for char in folder.absolute().name.lower())
    word = word.lstrip("-0123456789")[:20].strip("-")
    return word if len(word) > 1 else "pets"
