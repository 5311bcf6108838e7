"""`emrctl submit`: a job onto the cluster, followed to its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emrctl.cli import follow, options, submit_options
from emrctl.cli.render.runs import print_runs
from emrctl.errors import UsageError
from emrctl.runs import lifecycle
from emrctl.spec import SparkSettings

app = options.new_app()

# What stands after JOB is the job's own, also where it looks like a flag of ours.
_UNTOUCHED = {"allow_interspersed_args": False, "ignore_unknown_options": False}


@app.command(context_settings=_UNTOUCHED)
@options.common("config target cluster json")
def submit(
    context: options.Context,
    job: submit_options.JobArgument,
    args: submit_options.ArgumentsArgument = None,
    executors: submit_options.ExecutorsOption = None,
    executor_cores: submit_options.ExecutorCoresOption = None,
    executor_memory: submit_options.ExecutorMemoryOption = None,
    memory_overhead: submit_options.MemoryOverheadOption = None,
    driver_memory: submit_options.DriverMemoryOption = None,
    partitions: submit_options.PartitionsOption = None,
    dynamic_allocation: submit_options.DynamicAllocationOption = None,
    min_executors: submit_options.MinExecutorsOption = None,
    max_executors: submit_options.MaxExecutorsOption = None,
    deploy_mode: submit_options.DeployModeOption = None,
    conf: submit_options.ConfOption = None,
    env: submit_options.EnvOption = None,
    py_files: submit_options.PyFilesOption = None,
    tag: submit_options.TagOption = None,
    repeat: submit_options.RepeatOption = 1,
    timeout: submit_options.TimeoutOption = None,
    detach: submit_options.DetachOption = False,
) -> None:
    """Run JOB on the cluster and wait for it; exit code 6 where it failed.

    Options stand before JOB; what stands after it is the job's, untouched.
    """
    typed = locals()
    order = lifecycle.Order(
        job=job,
        arguments=args or (),
        settings=_settings(typed | {"conf": options.pairs(conf or [], "--conf")}),
        environment=options.pairs(env or [], "--env"),
        py_files=py_files or (),
        tags=options.pairs(tag or [], "--tag"),
    )
    workspace = context.workspace
    found = follow.submit(workspace, order, follow.Way(repeat, timeout, detach))
    print_runs(workspace, found, as_json=context.as_json)
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
