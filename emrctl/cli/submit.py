"""`emrctl submit`: run a job on the cluster.

The options of the Spark settings are generated from their declaration in `SparkSettings`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from emrctl.cli import follow, options
from emrctl.cli.render.runs import print_runs
from emrctl.errors import UsageError
from emrctl.runs import gallery
from emrctl.runs.submission import Submission
from emrctl.spec import SparkSettings
from emrctl.spec.yaml import reason

app = options.new_app()

_SPARK, _STAGING, _FOLLOWING = "Spark options", "Staging options", "Following options"
_OFF = "no_"
# Arguments after JOB are passed to the job, even those that look like options of emrctl.
_PASS_ARGUMENTS = {"allow_interspersed_args": False, "ignore_unknown_options": False}


def _option(panel: str, help_: str, metavar: str | None = None, *flags: str, **rules: Any) -> Any:
    return typer.Option(
        *flags, help=help_, metavar=metavar, show_default=False, rich_help_panel=panel, **rules
    )


def _spark_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Replace a command's parameter `settings` by one option for each Spark setting."""
    annotations = _annotations()

    @functools.wraps(command)
    def run(*arguments: Any, **values: Any) -> None:
        flags = {name: values.pop(name) for name in annotations}
        command(*arguments, settings=_parse(flags), **values)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    generated = [
        inspect.Parameter(name, kind, default=None, annotation=annotation)
        for name, annotation in annotations.items()
    ]
    parameters: list[inspect.Parameter] = []
    for name, item in inspect.signature(command, eval_str=True).parameters.items():
        parameters += generated if name == "settings" else [item]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run


def _annotations() -> dict[str, Any]:
    """Return the annotation of each option; a switch has a second one that turns it off."""
    annotations: dict[str, Any] = {}
    for name, declared in SparkSettings.options().items():
        field = SparkSettings.model_fields[name]
        is_switch = field.annotation == bool | None
        repeatable = field.default_factory is dict or field.default == ()
        type_ = bool if is_switch else list[str] if repeatable else str
        panel = _STAGING if declared.staged else _SPARK
        option = _option(panel, declared.help, declared.metavar or None, _flag(name))
        annotations[name] = Annotated[type_ | None, option]
        if is_switch:
            off = _option(_SPARK, "Do not scale executors.", None, _flag(_OFF + name))
            annotations[_OFF + name] = Annotated[bool | None, off]
    return annotations


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _parse(flags: dict[str, Any]) -> SparkSettings:
    values = {name: value for name, value in flags.items() if value is not None}
    for off in [name for name in values if name.startswith(_OFF)]:
        name = off.removeprefix(_OFF)
        if name in values:
            raise UsageError(f"{_flag(name)} and {_flag(off)} exclude each other")
        values[name] = not values.pop(off)
    if "conf" in values:
        values["conf"] = options.pairs(values["conf"], "--conf")
    try:
        return SparkSettings.model_validate(values)
    except ValidationError as error:
        raise UsageError("\n".join(_message(dict(item)) for item in error.errors())) from None


def _message(error: dict[str, Any]) -> str:
    flag = _flag(str(error["loc"][0])) if error["loc"] else "options"
    return f"{flag}: {reason(error['msg'])}"


def _print_help_of_job(context: options.Context, job: str, args: Sequence[str]) -> bool:
    """Print the help of a job of the gallery if it is requested; return whether it was."""
    if not {"-h", "--help"} & set(args):
        return False
    jobs = context.workspace.project.jobs if context.in_project else {}
    name = jobs[job].script if job in jobs else job
    if name not in gallery.scripts():
        return False
    [described] = gallery.describe([name])
    typer.echo(described.help, nl=False)
    return True


@app.command(context_settings=_PASS_ARGUMENTS)
@options.common("config target cluster json")
@_spark_settings
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
        _option(_STAGING, "Environment variable, by default yours.", "NAME[=VALUE]"),
    ] = None,
    secret: Annotated[
        list[str] | None,
        _option(_STAGING, "Secret, from AWS or your variable.", "NAME[=SOURCE]"),
    ] = None,
    py_files: Annotated[
        list[str] | None, _option(_STAGING, "Python file, zip or folder; repeatable.", "PATH")
    ] = None,
    tag: Annotated[
        list[str] | None, _option(_STAGING, "Tag of the run; repeatable.", "KEY=VALUE")
    ] = None,
    check_output: Annotated[
        list[str] | None,
        _option(_STAGING, "Store rows and checksum of a data set.", "URI"),
    ] = None,
    repeat: Annotated[int, _option(_FOLLOWING, "Run the job N times in sequence.", "N", min=1)] = 1,
    timeout: Annotated[
        float | None, _option(_FOLLOWING, "Stop waiting after this time.", "SECONDS")
    ] = None,
    detach: Annotated[bool, _option(_FOLLOWING, "Return without waiting.")] = False,
) -> None:
    """Run JOB on the cluster and wait for it; the exit code is 6 if it fails.

    Options precede JOB: everything after it is passed to the job unchanged.
    In ARGS and --check-output, {run} is the run's s3:// prefix and {bucket} the
    project's bucket.
    `emrctl submit JOB --help` describes the arguments of a job of `emrctl jobs`.
    """
    if _print_help_of_job(context, job, args or ()):
        return
    submission = Submission(
        job=job,
        arguments=args or (),
        settings=settings,
        environment=options.pairs(env, "--env", options.variable),
        secrets=options.pairs(secret, "--secret", str),
        py_files=py_files or (),
        tags=options.pairs(tag, "--tag"),
        check_output=check_output or (),
    )
    workspace = context.workspace
    runs = follow.submit(workspace, submission, repeat, timeout_s=timeout, detach=detach)
    print_runs(workspace, runs, as_json=context.as_json)
    follow.raise_for_state(runs)
