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
# Cluster, jobs and experiments of a project. All keys except `project` are optional;
# `emrctl config` shows every value and its source.
project: {project}

# local: the EMR on localhost (`emrctl local up`); aws: Amazon EMR, created with Pulumi.
target: local
region: us-east-1
# profile: my-sso-profile

# The bucket for code, data, logs and event logs. It is kept when a cluster is deleted.
storage:
  # bucket: my-bucket-name
  versioning: true
  expire_logs_days: 30

cluster:
  name: main
  release: emr-7.5.0
  primary: {{type: m5.xlarge}}
  core: {{type: m5.xlarge, count: 2}}
  # Bootstrap actions: scripts of emrctl (bootstrap/), your own files or s3:// addresses.
  bootstrap:
    - script: python.sh
      args: [python3, boto3]
  # EMR terminates the cluster after this many idle seconds.
  idle_timeout_s: 3600
  # The cluster is terminated after this many seconds (0: never).
  ttl_s: 14400
  # Maximum price of the cluster in US dollars per hour.
  # max_hourly_cost: 5
  # configurations:
  #   - classification: spark-defaults
  #     properties: {{spark.dynamicAllocation.enabled: false}}

# Jobs by name; the script is a job of emrctl (features, svm, wordcount) or your own file.
jobs:
  count:
    script: wordcount
    settings: {{executors: 2}}
  # pets:
  #   script: my_job.py
  #   args: [--input, "s3://bucket/data/"]
  #   settings: {{executors: 5, partitions: 24, dynamic_allocation: false}}

# Experiments run a job with several settings: `emrctl experiment run NAME`.
# experiments:
#   allocation:
#     name: allocation
#     job: pets
#     repeats: 3
#     factors: {{executors: [2, 4], partitions: [8, 24]}}
"""


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Folder of the new file.")] = Path(),
    project: Annotated[str | None, typer.Option(help="Name of the project.")] = None,
) -> None:
    """Write a commented emrctl.yaml."""
    file = folder / "emrctl.yaml"
    if file.exists():
        raise UsageError(f"{file} already exists", hint="Edit it, or choose another folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(_TEMPLATE.format(project=project or _project_name(folder)))
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror}") from error
    typer.echo(f"Wrote {file}. Next: emrctl local up && emrctl up")


@app.command("config")
@options.common("config target region json")
def show_config(
    context: options.Context,
    schema: Annotated[bool, typer.Option(help="Print the JSON schema of emrctl.yaml.")] = False,
) -> None:
    """Show every setting and its source: line of the file, variable or flag."""
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
