"""SparkSettings as the arguments of spark-submit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from emrctl.errors import UsageError
from emrctl.spec import SparkSettings

YARN = "yarn"
_YARN_ALONE = frozenset({"--num-executors"})
_OPTIONS = (
    ("--num-executors", "executors"),
    ("--executor-cores", "executor_cores"),
    ("--executor-memory", "executor_memory"),
    ("--driver-memory", "driver_memory"),
)
_CONF = (
    ("spark.executor.memoryOverhead", "memory_overhead"),
    ("spark.dynamicAllocation.enabled", "dynamic_allocation"),
    ("spark.dynamicAllocation.minExecutors", "min_executors"),
    ("spark.dynamicAllocation.maxExecutors", "max_executors"),
    ("spark.default.parallelism", "partitions"),
    ("spark.sql.shuffle.partitions", "partitions"),
)


@dataclass(frozen=True, kw_only=True)
class Program:
    """What spark-submit runs: the main file, Python files beside it, arguments, environment."""

    script: str
    py_files: Sequence[str] = ()
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] | None = None


def command(
    program: Program, settings: SparkSettings, conf: Mapping[str, str], master: str = YARN
) -> tuple[str, ...]:
    """The command line of a step; `conf` is emrctl's own and gives way to the user's.

    A standalone master takes numbers of executors from `conf` alone, and no driver written in
    Python: `UsageError` where that is asked for.
    """
    mode = settings.deploy_mode or "client"
    if master != YARN and mode == "cluster":
        hint = "Leave --deploy-mode out: the driver runs on the primary."
        raise UsageError("a standalone master takes no Python program in cluster mode", hint=hint)
    environment = program.environment or {}
    merged = {**conf, **_environment_conf(environment), **dict(_conf(settings)), **settings.conf}
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
    """In client mode the driver is the step's own process: no setting of Spark's reaches it."""
    if mode != "client" or not environment:
        return ()
    return ("env", *(f"{key}={value}" for key, value in environment.items()))


def _environment_conf(environment: Mapping[str, str]) -> dict[str, str]:
    prefixes = ("spark.executorEnv", "spark.yarn.appMasterEnv")
    return {f"{prefix}.{key}": value for prefix in prefixes for key, value in environment.items()}


def _options(settings: SparkSettings, master: str) -> Iterator[str]:
    for flag, name in _OPTIONS:
        value = getattr(settings, name)
        if value is not None and (master == YARN or flag not in _YARN_ALONE):
            yield from (flag, str(value))


def _conf(settings: SparkSettings) -> Iterator[tuple[str, str]]:
    for key, name in _CONF:
        value = getattr(settings, name)
        if value is not None:
            yield key, str(value).lower()
