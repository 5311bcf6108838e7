"""spark-submit's command line for a step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from emrctl.aws.s3 import REDACTED_NAMES, redaction_conf
from emrctl.errors import UsageError
from emrctl.runs.backends.launcher import (
    DRIVER_ENV,
    EXECUTOR_ENV,
    Launcher,
    Program,
    check_names,
    is_private,
)
from emrctl.spec import SparkSettings

YARN = "yarn"
# A standalone master derives the number of executors from `spark.cores.max`.
_YARN_ONLY = frozenset({"--num-executors"})


def properties(
    program: Program, settings: SparkSettings, conf: Mapping[str, str]
) -> dict[str, str]:
    """Return the Spark properties of a step; `settings` override emrctl's own `conf`."""
    environment = _environment_conf(program.environment, settings.mode)
    merged = {**conf, **environment, **_properties(settings), **settings.conf}
    private = [name for name, value in merged.items() if is_private(name, value)]
    own = settings.conf.get(REDACTED_NAMES)
    return merged | (redaction_conf(private, own) if private else {})


def command(
    program: Program,
    settings: SparkSettings,
    conf: Mapping[str, str],
    master: str = YARN,
    launcher: Launcher | None = None,
) -> tuple[str, ...]:
    """Return the command line, with `launcher` that of launch.py, which runs the program.

    Raises `UsageError` for cluster mode on a standalone master, which runs no Python driver, and
    for properties that Spark or YARN change.
    """
    mode = settings.mode
    if master != YARN and mode == "cluster":
        hint = "Omit --deploy-mode: the driver runs on the primary."
        raise UsageError(
            "Spark standalone does not support Python programs in cluster mode", hint=hint
        )
    environment = program.environment
    merged = properties(program, settings, conf)
    check_names(environment, merged, yarn=master == YARN)
    if launcher is not None:
        program, merged = launcher.encode(program, merged, yarn=master == YARN)
    return (
        *_driver_environment(environment, mode),
        "spark-submit",
        *("--master", master, "--deploy-mode", mode),
        *_options(settings, master),
        *(part for key, value in merged.items() for part in ("--conf", f"{key}={value}")),
        *(("--py-files", ",".join(program.py_files)) if program.py_files else ()),
        program.script,
        *program.arguments,
    )


def _driver_environment(environment: Mapping[str, str], mode: str) -> Iterable[str]:
    """In client mode the driver is the step's own process, which Spark properties do not reach."""
    shown = {key: value for key, value in environment.items() if not is_private(key, value)}
    if mode != "client" or not shown:
        return ()
    return ("env", *(f"{key}={value}" for key, value in shown.items()))


def _environment_conf(environment: Mapping[str, str], mode: str) -> dict[str, str]:
    prefixes = (EXECUTOR_ENV, DRIVER_ENV) if mode == "cluster" else (EXECUTOR_ENV,)
    return {f"{prefix}{key}": value for prefix in prefixes for key, value in environment.items()}


def _options(settings: SparkSettings, master: str) -> Iterator[str]:
    for declared, value in settings.values():
        flag = declared.option
        if flag and flag != "--deploy-mode" and (master == YARN or flag not in _YARN_ONLY):
            yield from (flag, value)


def _properties(settings: SparkSettings) -> dict[str, str]:
    return {
        name: value
        for declared, value in settings.values()
        if declared.option is None
        for name in declared.properties
    }
