"""Recommended settings for the next run of a job, with the reason of each change."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from emrctl.aws import instance_types
from emrctl.aws.instance_types import InstanceType
from emrctl.aws.spark_conf import SparkConf
from emrctl.errors import SpecError
from emrctl.metrics.configuration import configuration
from emrctl.metrics.findings import Finding
from emrctl.metrics.model import RunMetrics
from emrctl.metrics.record import Record
from emrctl.runs.audit import OPTIONS, Remark, Submission, audit
from emrctl.spec import SparkSettings

_MEMORY, _CORES = "spark.executor.memory", "spark.executor.cores"
_INSTANCES = "spark.executor.instances"
# emrctl sets these itself.
_OF_EMRCTL = ("spark.master", "spark.app.name", "spark.eventLog.")
# Properties of the environment that a spark-submit line can set; others are of the cluster.
_OF_JOB = re.compile(
    r"spark\.(?:executor\.(?:instances|cores|memory\w*|pyspark\.memory)|driver\.(?:memory\w*|cores"
    r"|maxResultSize)|default\.parallelism|task\.\w+|speculation.*|locality\..*|memory\..*"
    r"|dynamicAllocation\..*|sql\.(?:shuffle\.partitions|adaptive\..*|files\..*|autoBroadcast.*"
    r"|broadcastTimeout|exchange\.reuse)|serializer|network\.timeout|reducer\..*)"
)


@dataclass(frozen=True, kw_only=True)
class Change(Record):
    """A recommended setting; `before` is empty if the property was not set.

    `seconds` and `replayed_s` are those of the finding.
    """

    setting: str
    before: str = ""
    after: str = ""
    reason: str = ""
    finding: str = ""
    seconds: float = 0.0
    replayed_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class RunAdvice(Record):
    """Recommended changes, remarks on what was submitted, and the lines for the next submission.

    `further` are findings whose advice is no setting. `notes` say what is not known.
    """

    changes: tuple[Change, ...] = ()
    remarks: tuple[Remark, ...] = ()
    further: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    spark_submit: str = ""
    emrctl: str = ""


def advise(
    run: RunMetrics,
    submission: Submission,
    found: Sequence[Finding],
    *,
    program: tuple[str, ...] = (),
) -> RunAdvice:
    """Return the advice for a run by its findings, the most severe first.

    `program` is the job with its arguments for emrctl's line.
    """
    remarks = audit(submission, run)
    effective = SparkConf({**run.environment, **submission.properties}, run.spark_version)
    type_ = _type(submission.core_type)
    changes = tuple(_fitting(change, effective, type_) for change in _changes(found, effective))
    settings = _settings(submission, run, remarks, changes)
    return RunAdvice(
        changes=changes,
        remarks=remarks,
        further=tuple(item for item in found if not item.settings),
        notes=tuple(_notes(submission, effective, changes, type_)),
        settings=settings,
        spark_submit=_spark_submit(settings, run.program or ("PROGRAM",)),
        emrctl=_emrctl(settings, program or ("JOB",)),
    )


def _type(name: str | None) -> InstanceType | None:
    try:
        return instance_types.instance_type(name) if name else None
    except SpecError:
        return None


def _changes(found: Sequence[Finding], conf: SparkConf) -> Iterator[Change]:
    """Yield each recommended setting once: the most severe finding decides."""
    done: set[str] = set()
    for item in found:
        wanted = dict(item.settings)
        if item.kind == "missing_executors" and not conf.dynamic:
            wanted[_INSTANCES] = str(max(1, round(item.figures["came"])))
        for key, value in conf.differs(wanted).items():
            if key not in done:
                done.add(key)
                before = conf.text(key)
                yield Change(
                    setting=key,
                    before=before,
                    after=value,
                    reason=item.evidence,
                    finding=item.kind,
                    seconds=item.seconds,
                    replayed_s=item.replayed_s,
                )


def _fitting(change: Change, conf: SparkConf, type_: InstanceType | None) -> Change:
    """Return the change with a heap of the executors that a node of the type has room for."""
    if change.setting != _MEMORY or type_ is None:
        return change
    heap_mb = SparkConf({_MEMORY: change.after}).heap_mb
    largest = conf.executor.largest_heap_mb(type_.yarn_mb)
    if heap_mb <= largest or largest <= 0:
        return change
    reason = f"{change.reason}; YARN on {type_.name} has room for {largest} MB of heap at most"
    return replace(change, after=f"{largest}m", reason=reason)


def _settings(
    submission: Submission,
    run: RunMetrics,
    remarks: tuple[Remark, ...],
    changes: tuple[Change, ...],
) -> dict[str, str]:
    """Return the properties of the next submission: those submitted, corrected and changed."""
    given = submission.properties
    if not submission.is_known:
        environment = configuration(run.environment)
        given = {key: value for key, value in environment.items() if _OF_JOB.fullmatch(key)}
    renamed = {old: new for remark in remarks for old, new in remark.rename.items()}
    dropped = {key for remark in remarks for key in remark.drop}
    settings = {renamed.get(key, key): value for key, value in given.items() if key not in dropped}
    return settings | {change.setting: change.after for change in changes}


def _notes(
    submission: Submission,
    conf: SparkConf,
    changes: tuple[Change, ...],
    type_: InstanceType | None,
) -> Iterator[str]:
    if not submission.is_known:
        yield (
            "the event log has no spark-submit line (cluster mode, or an interactive session): "
            "the settings are those in effect"
        )
    after = SparkConf({_MEMORY: conf.text(_MEMORY, "1g")} | {c.setting: c.after for c in changes})
    if type_ is None:
        yield "the type of the core nodes is unknown: check that executors fit on them"
    elif any(change.setting == _MEMORY for change in changes):
        now, then = conf.executor.container_mb, _with_heap(conf, after.heap_mb)
        yield (
            f"containers of executors: {type_.yarn_mb // then} of {then} MB fit on {type_.name} "
            f"({type_.yarn_mb} MB for YARN), {type_.yarn_mb // now} of {now} MB so far"
        )


def _with_heap(conf: SparkConf, heap_mb: int) -> int:
    """Return the size of an executor's container with another heap."""
    process = conf.executor
    overhead = process.overhead_mb
    if process.overhead_factor is not None:
        overhead = max(process.minimum_overhead_mb, int(process.overhead_factor * heap_mb))
    rest = process.off_heap_mb + process.python_mb
    unit = instance_types.YARN_MINIMUM_ALLOCATION_MB
    return -(-(heap_mb + overhead + rest) // unit) * unit


def _spark_submit(settings: Mapping[str, str], program: tuple[str, ...]) -> str:
    options = {prop: option for option, prop in OPTIONS.items()}
    own = [word for key in settings if key in options for word in (options[key], settings[key])]
    rest = [f"{key}={value}" for key, value in settings.items() if key not in options]
    conf = [word for item in rest for word in ("--conf", item)]
    return shlex.join(["spark-submit", *own, *conf, *program])


def _emrctl(settings: Mapping[str, str], program: tuple[str, ...]) -> str:
    """Return the line of emrctl, with its own option for each property that has one."""
    rest = dict(settings)
    words = ["emrctl", "submit"]
    for name, item in SparkSettings.options().items():
        values = {rest.get(prop) for prop in item.properties}
        if item.staged or not item.properties or None in values or len(values) > 1:
            continue
        [value] = values
        words += _flag(name, str(value))
        for prop in item.properties:
            del rest[prop]
    for key, value in rest.items():
        if not key.startswith(_OF_EMRCTL):
            words += ["--conf", f"{key}={value}"]
    return shlex.join([*words, *program])


def _flag(name: str, value: str) -> list[str]:
    flag = name.replace("_", "-")
    if value.lower() in {"true", "false"}:
        return [f"--{flag}" if value.lower() == "true" else f"--no-{flag}"]
    return [f"--{flag}", value]
