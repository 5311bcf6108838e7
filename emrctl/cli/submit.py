"""`emrctl submit`: run a job on the cluster."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from emrctl.cli import follow, options
from emrctl.cli.render.runs import print_runs
from emrctl.cli.spark_options import spark_settings
from emrctl.runs.submission import Submission
from emrctl.spec import SparkSettings

app = options.new_app()

_STAGING, _FOLLOWING = "Staging options", "Following options"
# Arguments after JOB are passed to the job, even those that look like options of emrctl.
_PASS_ARGUMENTS = {"allow_interspersed_args": False, "ignore_unknown_options": False}


def _option(panel: str, help_: str, metavar: str | None = None, **rules: Any) -> Any:
    return typer.Option(
        help=help_, metavar=metavar, show_default=False, rich_help_panel=panel, **rules
    )


@app.command(context_settings=_PASS_ARGUMENTS)
@options.common("config target cluster json")
@spark_settings
def submit(
    context: options.Context,
    job: Annotated[str, typer.Argument(metavar="JOB", help="Job name, .py file or s3:// address.")],
    args: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ARGS]...", help="Arguments of the job, see above."),
    ] = None,
    settings: SparkSettings = SparkSettings(),  # noqa: B008 - replaced by the generated options
    env: Annotated[
        list[str] | None,
        _option(_STAGING, "Environment variable, no secrets.", "KEY=VALUE"),
    ] = None,
    py_files: Annotated[
        list[str] | None, _option(_STAGING, "Python file, zip or folder; repeatable.", "PATH")
    ] = None,
    tag: Annotated[
        list[str] | None, _option(_STAGING, "Tag of the run; repeatable.", "KEY=VALUE")
    ] = None,
    repeat: Annotated[int, _option(_FOLLOWING, "Run the job N times in sequence.", "N", min=1)] = 1,
    timeout: Annotated[
        float | None, _option(_FOLLOWING, "Stop waiting after this time.", "SECONDS")
    ] = None,
    detach: Annotated[bool, _option(_FOLLOWING, "Return without waiting.")] = False,
) -> None:
    """Run JOB on the cluster and wait for it; the exit code is 6 if it fails.

    Options precede JOB: everything after it is passed to the job unchanged.
    In ARGS, {run} is the run's s3:// prefix and {bucket} the project's bucket.
    """
    submission = Submission(
        job=job,
        arguments=args or (),
        settings=settings,
        environment=options.pairs(env, "--env"),
        py_files=py_files or (),
        tags=options.pairs(tag, "--tag"),
    )
    workspace = context.workspace
    runs = follow.submit(workspace, submission, repeat, timeout_s=timeout, detach=detach)
    print_runs(workspace, runs, as_json=context.as_json)
    follow.raise_for_state(runs)
