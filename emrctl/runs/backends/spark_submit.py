"""spark-submit's command line for a step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from emrctl.errors import UsageError
from emrctl.spec import SparkSettings

YARN = "yarn"
# A standalone master derives the number of executors from `spark.cores.max`.
_YARN_ONLY = frozenset({"--num-executors"})


@dataclass(frozen=True, kw_only=True)
class Program:
    """A PySpark program: main file, further Python files, arguments, environment variables."""

    script: str
    py_files: Sequence[str] = ()
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


def command(
    program: Program, settings: SparkSettings, conf: Mapping[str, str], master: str = YARN
) -> tuple[str, ...]:
    """Return the command line; `settings` and their `conf` override emrctl's own `conf`.

    Raises `UsageError` for cluster mode on a standalone master, which runs no Python driver.
    """
    mode = settings.deploy_mode or "client"
    if master != YARN and mode == "cluster":
        hint = "Omit --deploy-mode: the driver runs on the primary."
        raise UsageError(
            "Spark standalone does not support Python programs in cluster mode", hint=hint
        )
    environment = program.environment
    merged = {**conf, **_environment_conf(environment), **_properties(settings), **settings.conf}
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
    if mode != "client" or not environment:
        return ()
    return ("env", *(f"{key}={value}" for key, value in environment.items()))


def _environment_conf(environment: Mapping[str, str]) -> dict[str, str]:
    prefixes = ("spark.executorEnv", "spark.yarn.appMasterEnv")
    return {f"{prefix}.{key}": value for prefix in prefixes for key, value in environment.items()}


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
