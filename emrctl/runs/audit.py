"""Audit of submitted settings: contradictory, without effect, deprecated, or equal to defaults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from emrctl.aws import instance_types, spark_conf
from emrctl.aws.spark_conf import SparkConf
from emrctl.errors import SpecError
from emrctl.metrics.model import RunMetrics
from emrctl.metrics.record import Record
from emrctl.runs.record import Run
from emrctl.spec import SparkSettings

CONTRADICTION, NO_EFFECT, DEPRECATED, DEFAULT = (
    "contradiction",
    "no effect",
    "deprecated",
    "default",
)
_DYNAMIC = "spark.dynamicAllocation"
_ENABLED = f"{_DYNAMIC}.enabled"
_INSTANCES = "spark.executor.instances"
# Options of spark-submit and their properties: those of SparkSettings, and some that it lacks.
OPTIONS: dict[str, str] = {
    **{item.option: item.spark for item in SparkSettings.options().values() if item.option},
    "--master": "spark.master",
    "--name": "spark.app.name",
    "--driver-cores": "spark.driver.cores",
    "--total-executor-cores": "spark.cores.max",
    "--queue": "spark.yarn.queue",
}
# Names that Spark replaced, from its list of deprecated configurations.
_RENAMED = {
    "spark.yarn.executor.memoryOverhead": "spark.executor.memoryOverhead",
    "spark.yarn.driver.memoryOverhead": "spark.driver.memoryOverhead",
    "spark.yarn.max.executor.failures": "spark.executor.maxNumFailures",
    "spark.blacklist.enabled": "spark.excludeOnFailure.enabled",
    "spark.blacklist.timeout": "spark.excludeOnFailure.timeout",
    "spark.sql.execution.arrow.enabled": "spark.sql.execution.arrow.pyspark.enabled",
    "spark.sql.execution.arrow.fallback.enabled": (
        "spark.sql.execution.arrow.pyspark.fallback.enabled"
    ),
    "spark.sql.adaptive.shuffle.targetPostShuffleInputSize": (
        "spark.sql.adaptive.advisoryPartitionSizeInBytes"
    ),
    "spark.sql.adaptive.coalescePartitions.minPartitionNum": (
        "spark.sql.adaptive.coalescePartitions.minPartitionSize"
    ),
    "spark.sql.parquet.int64AsTimestampMillis": "spark.sql.parquet.outputTimestampType",
    "spark.reducer.maxMbInFlight": "spark.reducer.maxSizeInFlight",
    "spark.kryoserializer.buffer.mb": "spark.kryoserializer.buffer",
    "spark.akka.frameSize": "spark.rpc.message.maxSize",
    "spark.history.updateInterval": "spark.history.fs.update.interval",
}
# Names that Spark removed, with the version that ignores them.
_REMOVED = {
    "spark.memory.useLegacyMode": "3.0",
    "spark.shuffle.memoryFraction": "1.6",
    "spark.storage.memoryFraction": "1.6",
    "spark.storage.unrollFraction": "1.6",
    "spark.shuffle.consolidateFiles": "1.6",
    "spark.shuffle.spill": "1.6",
    "spark.rdd.compress.codec": "1.0",
}
# Settings by the start of their name: the switch that they need, and its default.
_NEED = {
    "spark.speculation.": ("spark.speculation", False),
    "spark.memory.offHeap.size": ("spark.memory.offHeap.enabled", False),
    "spark.excludeOnFailure.": ("spark.excludeOnFailure.enabled", False),
    "spark.eventLog.compress": ("spark.eventLog.enabled", False),
    "spark.eventLog.dir": ("spark.eventLog.enabled", False),
    f"{_DYNAMIC}.": (_ENABLED, False),
    "spark.sql.adaptive.skewJoin.": ("spark.sql.adaptive.skewJoin.enabled", True),
    "spark.sql.adaptive.coalescePartitions.": (
        "spark.sql.adaptive.coalescePartitions.enabled",
        True,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Remark(Record):
    """A remark on submitted settings; `kind` is one of the constants of this module.

    `drop` are properties to leave out of the next submission, `rename` those with a new name.
    """

    kind: str
    text: str
    drop: tuple[str, ...] = ()
    rename: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Submission:
    """What was submitted: options of spark-submit by property, `--conf` properties, core type.

    `is_known` is False if the command line is not in the log.
    """

    options: Mapping[str, str] = field(default_factory=dict)
    conf: Mapping[str, str] = field(default_factory=dict)
    repeated: tuple[str, ...] = ()
    core_type: str | None = None
    is_known: bool = True

    @property
    def properties(self) -> dict[str, str]:
        """The properties in effect: an option of spark-submit overrides `--conf`."""
        return {**self.conf, **self.options}


def of_run(run: Run) -> Submission:
    """Return what emrctl submitted for a run."""
    names = SparkSettings.model_fields
    values = {key: value for key, value in run.settings.items() if key in names}
    settings = SparkSettings.model_validate(values)
    options: dict[str, str] = {}
    for item, text in settings.values():
        if not item.staged:
            options |= dict.fromkeys(item.properties, text)
    return Submission(options=options, conf=settings.conf, core_type=run.cluster.core_type)


def of_log(run: RunMetrics) -> Submission:
    """Return what the command line in an event log has."""
    options: dict[str, str] = {}
    conf: dict[str, str] = {}
    repeated: list[str] = []
    for item in run.submit_options:
        name, _, value = item.partition(" ")
        if name in {"--conf", "-c"}:
            key, _, value = value.partition("=")
            if conf.get(key, value) != value:
                repeated.append(key)
            conf[key] = value
        elif name in OPTIONS:
            options[OPTIONS[name]] = value
    return Submission(
        options=options,
        conf=conf,
        repeated=tuple(repeated),
        is_known=bool(run.submit_options),
    )


def audit(submission: Submission, run: RunMetrics) -> tuple[Remark, ...]:
    """Return the remarks on a submission, contradictions first."""
    given = submission.properties
    conf = SparkConf({**run.environment, **given}, run.spark_version)
    return (
        *_contradictions(submission),
        *_without_effect(given, conf, run),
        *_deprecated(given, conf),
        *_defaults(given, submission.core_type),
    )


def _contradictions(submission: Submission) -> Iterator[Remark]:
    flags = {prop: option for option, prop in OPTIONS.items()}
    for key, value in submission.options.items():
        other = submission.conf.get(key)
        if other is not None and other != value:
            flag = flags.get(key, key)
            text = f"{flag} {value} and --conf {key}={other}: the option wins, {value} is in effect"
            yield Remark(kind=CONTRADICTION, text=text, drop=())
    for key in submission.repeated:
        text = f"--conf {key} is given twice: the last one wins, {submission.conf[key]}"
        yield Remark(kind=CONTRADICTION, text=text)
    given = submission.properties
    low, high = (given.get(f"{_DYNAMIC}.{name}", "") for name in ("minExecutors", "maxExecutors"))
    if low.isdecimal() and high.isdecimal() and int(low) > int(high):
        text = f"{_DYNAMIC}.minExecutors={low} is above maxExecutors={high}"
        yield Remark(kind=CONTRADICTION, text=text)


def _without_effect(given: Mapping[str, str], conf: SparkConf, run: RunMetrics) -> Iterator[Remark]:
    if conf.dynamic and _INSTANCES in given:
        yield Remark(
            kind=NO_EFFECT,
            text=f"{_INSTANCES}={given[_INSTANCES]} does not fix the number of executors: dynamic "
            f"allocation is on (EMR's default), so it is the first number only. Set {_ENABLED}="
            "false, or minExecutors and maxExecutors.",
        )
    for key, value in given.items():
        reason = next(_reasons(key, conf, run), "")
        if reason:
            yield Remark(kind=NO_EFFECT, text=f"{key}={value}: {reason}", drop=(key,))


def _reasons(key: str, conf: SparkConf, run: RunMetrics) -> Iterator[str]:
    """Yield why a setting has no effect."""
    for start, (switch, default) in _NEED.items():
        if key.startswith(start) and key != switch and not conf.on(switch, default=default):
            yield f"{switch} is off"
    adaptive = "spark.sql.adaptive.enabled"
    if key.startswith("spark.sql.adaptive.") and key != adaptive and not conf.adaptive:
        yield f"{adaptive} is off"
    if key.startswith("spark.kryo") and "Kryo" not in conf.text("spark.serializer"):
        yield "spark.serializer is not Kryo"
    yield from _not_of_master(key, conf)
    of_queries = {stage for query in run.sql for stage in query.stages}
    others = {stage.id for stage in run.stages} - of_queries
    if key == "spark.sql.shuffle.partitions" and run.stages and not run.sql:
        yield "the job has no SQL queries; RDDs use spark.default.parallelism"
    if key == "spark.default.parallelism" and run.stages and not others:
        yield "all stages belong to SQL queries, which use spark.sql.shuffle.partitions"


def _not_of_master(key: str, conf: SparkConf) -> Iterator[str]:
    """Yield why the cluster manager ignores a setting."""
    master = conf.text("spark.master")
    if conf.local and key.startswith("spark.executor.") and "JavaOptions" not in key:
        yield "the master is local: the driver runs the tasks"
    if key == "spark.cores.max" and master.startswith("yarn"):
        yield "YARN has no such limit: set spark.executor.instances and spark.executor.cores"
    if key.startswith("spark.yarn.") and master.startswith("spark://"):
        yield "the cluster manager is standalone"


def _deprecated(given: Mapping[str, str], conf: SparkConf) -> Iterator[Remark]:
    for key in given:
        if key in _RENAMED:
            new = _RENAMED[key]
            ignored = ".blacklist." in key and conf.version >= (4, 1)
            text = f"{key} is {'ignored since Spark 4.1' if ignored else 'deprecated'}: use {new}"
            yield Remark(kind=DEPRECATED, text=text, rename={key: new})
        elif key in _REMOVED:
            text = f"{key} is ignored since Spark {_REMOVED[key]}"
            yield Remark(kind=DEPRECATED, text=text, drop=(key,))


def _defaults(given: Mapping[str, str], core_type: str | None) -> Iterator[Remark]:
    """Yield settings that repeat EMR's default for the type of the core nodes."""
    try:
        defaults = spark_conf.emr_defaults(instance_types.emr_type(core_type or ""))
    except SpecError:
        return
    for key, default in defaults.items():
        value = given.get(key)
        if value is not None and _same(value, default):
            text = f"{key}={value} is EMR's default on {core_type}"
            yield Remark(kind=DEFAULT, text=text, drop=(key,))


def _same(value: str, default: str) -> bool:
    if value.lower() == default.lower():
        return True
    sizes = spark_conf.size_mb(value), spark_conf.size_mb(default)
    return not default.isdecimal() and None not in sizes and sizes[0] == sizes[1]
