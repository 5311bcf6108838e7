"""`emrctl submit`: a job onto the cluster, followed to its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from emrctl import runs
from emrctl.cli import follow, options, render
from emrctl.errors import UsageError
from emrctl.specs import SparkSettings

app = options.new_app()

# What stands after JOB is the job's own, also where it looks like a flag of ours.
_UNTOUCHED = {"allow_interspersed_args": False, "ignore_unknown_options": False}
_PARTITIONS = (
    "Sets spark.default.parallelism and spark.sql.shuffle.partitions. emrctl's own jobs pass it on "
    "where Spark would not; your own must do so too: sc.wholeTextFiles and sc.binaryFiles "
    "stay at 2 unless they get minPartitions=sc.defaultParallelism."
)


@app.command(context_settings=_UNTOUCHED)
def submit(
    job: Annotated[
        str,
        typer.Argument(
            metavar="JOB",
            help="A name of emrctl.yaml or jobs/, a .py file, or s3://…",
            show_default=False,
        ),
    ],
    args: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ARGS]...",
            help="The job's own; {run} is the run's s3:// prefix, {bucket} the bucket.",
        ),
    ] = None,
    config: options.ConfigOption = None,
    target: options.TargetOption = None,
    cluster: options.ClusterOption = None,
    executors: Annotated[int | None, typer.Option(min=1, help="--num-executors.")] = None,
    executor_cores: Annotated[int | None, typer.Option(min=1, help="Cores of each.")] = None,
    executor_memory: Annotated[str | None, typer.Option(help="Heap of each: 4g, 4743M.")] = None,
    memory_overhead: Annotated[str | None, typer.Option(help="Memory beside it: 1g.")] = None,
    driver_memory: Annotated[str | None, typer.Option(help="Heap of the driver: 2g.")] = None,
    partitions: Annotated[int | None, typer.Option(min=1, help=_PARTITIONS)] = None,
    dynamic_allocation: Annotated[
        bool | None,
        typer.Option("--dynamic-allocation/--no-dynamic-allocation", help="EMR's default is on."),
    ] = None,
    min_executors: Annotated[
        int | None, typer.Option(min=0, help="With dynamic allocation.")
    ] = None,
    max_executors: Annotated[
        int | None, typer.Option(min=1, help="With dynamic allocation.")
    ] = None,
    deploy_mode: Annotated[
        str | None,
        typer.Option(help="client (EMR's default: the driver on the primary) or cluster."),
    ] = None,
    conf: Annotated[list[str] | None, typer.Option(help="A Spark setting, KEY=VALUE.")] = None,
    env: Annotated[
        list[str] | None,
        typer.Option(help="A variable of driver and executors, KEY=VALUE. No place for secrets."),
    ] = None,
    py_files: Annotated[
        list[str] | None, typer.Option(help="Python files, zips or folders beside the job.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag of the run, KEY=VALUE.")] = None,
    repeat: Annotated[
        int, typer.Option(min=1, help="Run it so many times, one after another.")
    ] = 1,
    timeout: Annotated[
        float | None, typer.Option(help="Stop waiting after so many seconds.")
    ] = None,
    detach: Annotated[bool, typer.Option(help="Do not wait; `emrctl wait` does it later.")] = False,
    as_json: options.JsonOption = False,
) -> None:
    """Run JOB on the cluster and wait for it; exit code 6 where it failed.

    Options stand before JOB; what stands after it is the job's, untouched.
    """
    typed = locals()
    order = runs.Order(
        job=job,
        arguments=args or (),
        settings=_settings(typed | {"conf": options.pairs(conf or [], "--conf")}),
        environment=options.pairs(env or [], "--env"),
        py_files=py_files or (),
        tags=options.pairs(tag or [], "--tag"),
    )
    workspace = options.open_workspace(config, target=target)
    found = follow.submit(workspace, order, cluster, follow.Way(repeat, timeout, detach))
    render.runs(workspace, found, as_json=as_json)
    follow.exit_with(found)


def _settings(typed: Mapping[str, Any]) -> SparkSettings:
    """The options that are named like Spark settings, as settings."""
    from pydantic import ValidationError

    named = {key: value for key, value in typed.items() if key in SparkSettings.model_fields}
    try:
        return SparkSettings.model_validate({k: v for k, v in named.items() if v is not None})
    except ValidationError as error:
        raise UsageError("\n".join(_complaint(dict(detail)) for detail in error.errors())) from None


def _complaint(detail: Mapping[str, Any]) -> str:
    flag = "--" + str(detail["loc"][0]).replace("_", "-") if detail["loc"] else "options"
    message = str(detail["msg"]).removeprefix("Value error, ")
    return f"{flag}: {message[:1].lower()}{message[1:]}"
