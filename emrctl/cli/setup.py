"""`emrctl init`, `config`, `certificates` and `doctor`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from emrctl import doctor as checks
from emrctl.cli import options, render
from emrctl.errors import UsageError
from emrctl.paths import write_atomically
from emrctl.provision import certificates as node_certificates
from emrctl.provision.bucket import find_bucket
from emrctl.spec import ProjectSpec
from emrctl.spec.config import Config

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
  # The newest release with long-term support, with Spark {spark}; Spark 3.5: emr-7.14.0.
  release: {release}
  primary: {{type: m5.xlarge}}
  core: {{type: m5.xlarge, count: 2}}
  # Bootstrap actions: scripts of emrctl (bootstrap/), your own files or s3:// addresses.
  bootstrap:
    - script: python.sh
      args: [boto3]
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
  # emrctl submit count --input s3://bucket/texts/
  count:
    script: wordcount
    settings: {{executors: 2}}
  # pets:
  #   script: my_job.py
  #   args: [--input, "s3://bucket/data/"]
  #   settings: {{executors: 5, partitions: 24, dynamic_allocation: false}}
  #   secrets: [DB_PWD]  # of Secrets Manager, as variables of the program (docs/security.md)

# Experiments run a job with several settings: `emrctl experiment run NAME`.
# experiments:
#   allocation:
#     name: allocation
#     job: pets
#     repeats: 3
#     factors: {{executors: [2, 4], partitions: [8, 24]}}
#     check_output: ["{{run}}/output"]

# Options of `emrctl tune`, also within an experiment.
# tune: {{goal: cost, limit: 2, budget: {{runs: 12, usd: 5}}}}
"""


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Folder of the new file.")] = Path(),
    project: Annotated[str | None, typer.Option(help="Name of the project.")] = None,
) -> None:
    """Write a commented emrctl.yaml."""
    from emrctl.aws import releases

    file, lts = folder / "emrctl.yaml", releases.newest_lts()
    if file.exists():
        raise UsageError(f"{file} already exists", hint="Edit it, or choose another folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        values = {"project": project or _project_name(folder), "release": lts.label}
        write_atomically(file, _TEMPLATE.format(**values, spark=lts.spark))
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror}") from error
    typer.echo(f"Wrote {file}. Next: emrctl local up && emrctl up")


def _project_name(folder: Path) -> str:
    word = "".join(char if char.isalnum() else "-" for char in folder.absolute().name.lower())
    word = word.lstrip("-0123456789")[:20].strip("-")
    return word if len(word) > 1 else "pets"


@app.command("config")
@options.common("config target region json")
def show_config(
    context: options.Context,
    schema: Annotated[bool, typer.Option(help="Print the JSON schema of emrctl.yaml.")] = False,
) -> None:
    """Show every setting and its source: line of the file, variable or flag."""
    if schema:
        typer.echo(json.dumps(ProjectSpec.model_json_schema(), indent=1))
        return
    values = list(context.workspace.config.values())
    if context.as_json:
        render.json_document([asdict(item) for item in values])
        return
    rows = [(item.key, json.dumps(item.value, ensure_ascii=False), item.source) for item in values]
    render.table("key", "value", "source", rows=rows)


@app.command()
@options.common("config target region json")
def certificates(
    context: options.Context,
    days: Annotated[int, typer.Option(min=1, help="Validity in days.")] = 825,
) -> None:
    """Create a key and certificate for encryption in transit, in the bucket.

    Set `cluster.security.in_transit` in emrctl.yaml to the printed address.
    """
    workspace = context.workspace
    bucket = find_bucket(workspace.project, workspace.target)
    uri = node_certificates.make(workspace.target, bucket, days=days)
    if context.as_json:
        render.json_document({"uri": uri, "days": days})
        return
    typer.echo(uri)
    render.note("In emrctl.yaml: cluster: {security: {in_transit: " + uri + "}}")


@app.command()
@options.common("config target region json")
def doctor(context: options.Context) -> None:
    """Check this machine for the project's target; exit with 1 on a missing part.

    Checks Python, extras, disk space and prices; for localhost Java, Hadoop,
    memory and the emulator; for AWS the engine, credentials, endpoints and clock.
    """
    results = checks.run_checks(_config(context))
    if context.as_json:
        render.json_document([asdict(one) for one in results])
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
    return Config(project=context.project_without_file(), root=Path.cwd(), sources={})
