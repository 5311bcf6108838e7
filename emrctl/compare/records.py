"""Runs as a comparison takes them: their loading from the store, and their figures with units."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from emrctl.aws.s3 import CODE_PREFIX
from emrctl.compare import labels
from emrctl.errors import NotFoundError, UsageError
from emrctl.metrics.configuration import configuration
from emrctl.metrics.eventlog.layout import EventLogFiles
from emrctl.metrics.live import nodes
from emrctl.metrics.live.nodes import NodeSample
from emrctl.metrics.model import RunMetrics
from emrctl.metrics.task_figures import FIGURES as TASK_FIGURES
from emrctl.metrics.task_figures import TaskFigure
from emrctl.metrics.timeline import peak_cores, slot_seconds
from emrctl.runs import experiments, lifecycle
from emrctl.runs.applications import NOT_ON_CLUSTER
from emrctl.runs.commits import Commit
from emrctl.runs.record import IMPORTED, CheckedOutput, Run
from emrctl.runs.store import RunFiles
from emrctl.runs.submission import collapse
from emrctl.runs.workspace import Workspace
from emrctl.spec import SparkSettings

COMPLETED = "COMPLETED"
MAX_WITH_METRICS = 300


SettingsKey = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One run of a comparison.

    `properties` are the Spark properties that were in effect besides `settings`, e.g. those of the
    cluster or the program; empty if the run has no metrics.
    `duration_s` is the duration of the step; `cost_usd` the price of the cluster for that time;
    `local` means that it ran on localhost. `published_s` is the duration that `published_by`
    reported for the same work. `event_log` returns the files of its event log and raises
    `NotFoundError` if it is not stored. `is_row` means that it is a row of a table of timings.
    `node_samples` returns the samples of the cluster's nodes.
    `limits` are the thresholds of findings that the project overrides, `commit` is that of the job,
    `output` the result of `--check-output` by data set.
    """

    id: str
    label: str = ""
    job: str = ""
    arguments: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    state: str = COMPLETED
    duration_s: float | None = None
    metrics: RunMetrics | None = None
    result: Mapping[str, Any] | None = None
    warnings: tuple[str, ...] = ()
    cost_usd: float | None = None
    local: bool = False
    properties: Mapping[str, str] = field(default_factory=dict)
    published_s: float | None = None
    published_by: str = ""
    event_log: Callable[[], EventLogFiles] = field(default=tuple, repr=False, compare=False)
    node_samples: Callable[[], Sequence[NodeSample]] = field(
        default=tuple, repr=False, compare=False
    )
    is_row: bool = False
    limits: Mapping[str, float] = field(default_factory=dict)
    commit: Commit | None = None
    output: Mapping[str, CheckedOutput] = field(default_factory=dict)

    @property
    def completed(self) -> bool:
        """Whether the run completed; figures of other runs are not compared."""
        return self.state == COMPLETED

    @property
    def on_cluster(self) -> bool:
        """Whether all of its Spark ran on the cluster's executors."""
        return not any(NOT_ON_CLUSTER in warning for warning in self.warnings)

    @property
    def result_numbers(self) -> dict[str, float]:
        """The numbers of the job's result by dotted name."""
        return dict(_numbers(self.result or {}))

    def traits(self) -> dict[str, str]:
        """Return job, arguments, target and settings as flat text, e.g. `conf.spark.x`."""
        target = "localhost" if self.local else "AWS"
        traits = {"job": self.job, "arguments": " ".join(self.arguments)}
        traits |= {} if self.is_row else {"target": target}
        for name, value in self.settings.items():
            if isinstance(value, Mapping):
                traits |= {f"{name}.{key}": _text(inner) for key, inner in value.items()}
            elif value is not None:
                traits[name] = _text(value)
        traits |= {f"conf.{name}": value for name, value in self.properties.items()}
        return {name: value for name, value in traits.items() if value}

    def settings_key(self) -> SettingsKey:
        """Return the traits without `properties`; runs with equal ones are repeats.

        Properties are not known of runs without metrics.
        """
        return tuple(sorted(replace(self, properties={}).traits().items()))


@dataclass(frozen=True)
class Configuration:
    """The runs with equal settings; `label` is unique."""

    label: str
    records: tuple[RunRecord, ...]

    @property
    def completed_records(self) -> tuple[RunRecord, ...]:
        """The completed runs; only their figures are compared."""
        return tuple(record for record in self.records if record.completed)

    @property
    def metrics(self) -> list[RunMetrics]:
        """The metrics of the completed runs that have any."""
        return [item.metrics for item in self.completed_records if item.metrics is not None]

    @property
    def on_cluster(self) -> bool:
        """Whether all completed runs used the cluster's executors only."""
        return all(record.on_cluster for record in self.completed_records)

    @property
    def local(self) -> bool:
        """Whether any of the runs was on localhost."""
        return any(record.local for record in self.records)

    @property
    def state(self) -> str:
        """The runs' state; if they differ, the number of completed runs."""
        states = {record.state for record in self.records}
        if len(states) == 1:
            return states.pop()
        return f"{len(self.completed_records)} of {len(self.records)} COMPLETED"


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def load(workspace: Workspace, names: Sequence[str], experiment: str | None) -> list[RunRecord]:
    """Load the runs called `names`, or the completed runs of `experiment`.

    Metrics and results of more than `MAX_WITH_METRICS` runs are left out.
    """
    if bool(names) == (experiment is not None):
        raise UsageError(
            "compare takes either runs or --experiment",
            hint="For example `emrctl compare RUN RUN`; `emrctl runs` lists them.",
        )
    if experiment is not None:
        runs = experiments.results(workspace, experiment)
    else:
        runs = [lifecycle.refresh(workspace, workspace.store.load(name)) for name in names]
    if len(runs) > MAX_WITH_METRICS:
        return [record_of(run) for run in runs]
    return [load_record(workspace, run) for run in runs]


def find_reference(records: Sequence[RunRecord], text: str | None) -> int:
    """Return the index of the first record of a configuration: its label, settings or a run's id.

    Without a text that of the first record. Settings are `NAME=VALUE`, separated by commas. Raises
    `NotFoundError` if no record has them.
    """
    if not text:
        return 0
    wanted = dict(part.strip().partition("=")[::2] for part in text.split(","))
    for at, record in enumerate(records):
        if text in {record.label, record.id} or wanted.items() <= record.traits().items():
            return at
    for at, record in enumerate(records):
        if text in record.id:
            return at
    labels = list(dict.fromkeys(record.label or record.id for record in records))
    hint = f"There are {', '.join(labels[:5])}{', …' if len(labels) > 5 else ''}."
    raise NotFoundError(f"no configuration is called '{text}'", hint=hint)


def load_record(workspace: Workspace, run: Run) -> RunRecord:
    """Load the metrics and the job's result of a run."""
    files = workspace.store.files(run.id)
    metrics = files.load(RunFiles.METRICS, RunMetrics)
    record = record_of(run, metrics, files.read_json(RunFiles.RESULT))
    return replace(
        record,
        event_log=files.event_log,
        node_samples=lambda: nodes.read(files.find(RunFiles.NODE_SAMPLES)),
        limits=workspace.project.findings,
        output=files.load(RunFiles.CHECK, dict[str, CheckedOutput]) or {},
    )


def record_of(
    run: Run, metrics: RunMetrics | None = None, result: Mapping[str, Any] | None = None
) -> RunRecord:
    """Return the record of a run with these metrics and this result."""
    settings = dict(run.settings)
    if run.target == IMPORTED and metrics:
        settings.pop("conf", None)  # all of them are `properties`, however many the import kept
    return RunRecord(
        id=run.id,
        label=run.trial.cell if run.trial else "",
        job=run.job,
        arguments=tuple(collapse(item, run) for item in run.arguments),
        settings={
            **settings,
            "cluster": _cluster_settings(run),
            "code": " ".join(uri.rpartition(f"/{CODE_PREFIX}")[2] for uri in run.code),
            "env": {k: collapse(v, run) for k, v in run.environment.items()},
        },
        properties=_other_properties(metrics, settings) if metrics else {},
        state=run.state,
        duration_s=run.duration_s,
        metrics=metrics,
        result={key: value for key, value in (result or {}).items() if key != "arguments"},
        warnings=run.warnings,
        cost_usd=run.cost_usd,
        local=run.target == "local",
        published_s=run.trial.published_s if run.trial else None,
        published_by=run.trial.published_by if run.trial else "",
        commit=run.commit,
    )


def _other_properties(metrics: RunMetrics, settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the properties in effect that are not among the run's settings."""
    options = SparkSettings.options()
    named = {name for key in settings if key in options for name in options[key].properties}
    properties = configuration(metrics.environment)
    return {k: v for k, v in properties.items() if k not in named | {*settings.get("conf", {})}}


def _cluster_settings(run: Run) -> dict[str, str]:
    """Return the cluster's hardware and release: runs on other clusters are no repeats."""
    cluster = run.cluster
    return {
        "release": cluster.release,
        "primary": cluster.primary_type,
        "core": f"{cluster.core_count} {cluster.core_type}",
    }


MAX_RESULT_FIGURES = 24
RESULT_PREFIX = "result."


@dataclass(frozen=True)
class Figure:
    """A number of each run; `unit` is s, ms, B, MB·s, vcore·s, %, USD, x or empty."""

    key: str
    label: str
    unit: str
    of: Callable[[RunRecord], float | None]

    @property
    def varies(self) -> bool:
        """Whether the figure is a time or follows from times, which vary from run to run."""
        return self.unit in {"s", "ms", "MB·s", "vcore·s", "USD"} and self.key != "published_s"


def busy_percent(run: RunMetrics) -> float | None:
    """Return task time divided by the executors' task slots x lifetime, in percent."""
    available_s = slot_seconds(run)
    return 100 * run.task_time_ms / 1000 / available_s if available_s else None


def imbalance(run: RunMetrics) -> float | None:
    """Return the maximum of completed tasks per executor divided by their mean; 1 is even."""
    counts = [row.complete_tasks for row in run.busy_rows]
    total = sum(counts)
    return max(counts) * len(counts) / total if total else None


def containers(run: RunMetrics) -> int | None:
    """Return the number of YARN containers; estimated from executors if YARN has no count."""
    if run.yarn is None:
        return None
    if run.yarn.containers is not None:
        return run.yarn.containers
    return 1 + sum(not row.is_driver for row in run.executors)


def _gc_percent(run: RunMetrics) -> float | None:
    total_ms = run.executor_run_time_ms
    return 100 * run.jvm_gc_time_ms / total_ms if total_ms else None


def _result_bytes(run: RunMetrics) -> int | None:
    values = [stage.result_bytes for stage in run.stages if stage.result_bytes is not None]
    return sum(values) if values else None


def _application_s(run: RunMetrics) -> float | None:
    return None if run.duration_ms is None else run.duration_ms / 1000


def _of_metrics(get: Callable[[RunMetrics], float | None]) -> Callable[[RunRecord], float | None]:
    return lambda record: None if record.metrics is None else get(record.metrics)


def _of_yarn(name: str) -> Callable[[RunRecord], float | None]:
    return _of_metrics(lambda run: getattr(run.yarn, name, None))


def _from_task_figure(figure: TaskFigure) -> Figure:
    if figure.name.endswith("_ms"):
        seconds = _of_metrics(lambda run: getattr(run, figure.name) / 1000)
        return Figure(figure.compared, figure.label, "s", seconds)
    value = _of_metrics(lambda run: getattr(run, figure.name))
    return Figure(figure.compared, figure.label, "B", value)


_TASK_FIGURES = [_from_task_figure(figure) for figure in TASK_FIGURES if figure.compared]
FIGURES: tuple[Figure, ...] = (
    Figure("duration_s", "duration", "s", lambda record: record.duration_s),
    Figure("published_s", "published duration", "s", lambda record: record.published_s),
    Figure("application_s", "Spark application", "s", _of_metrics(_application_s)),
    Figure("executors", "executors (peak)", "", _of_metrics(lambda run: run.peak_executors)),
    Figure("cores", "executor cores (peak)", "", _of_metrics(peak_cores)),
    Figure("jobs", "Spark jobs", "", _of_metrics(lambda run: run.jobs)),
    Figure("tasks", "tasks succeeded", "", _of_metrics(lambda run: run.tasks_ok)),
    Figure("failed_tasks", "tasks failed", "", _of_metrics(lambda run: run.tasks_failed)),
    Figure("task_time_s", "task time", "s", _of_metrics(lambda run: run.task_time_ms / 1000)),
    *(figure for figure in _TASK_FIGURES if figure.unit == "s"),
    Figure("gc_percent", "GC time / executor run time", "%", _of_metrics(_gc_percent)),
    Figure("busy_percent", "executor cores busy", "%", _of_metrics(busy_percent)),
    Figure("imbalance", "most tasks on one executor / mean", "x", _of_metrics(imbalance)),
    *(figure for figure in _TASK_FIGURES if figure.unit == "B"),
    Figure("result_bytes", "results sent to the driver", "B", _of_metrics(_result_bytes)),
    Figure("yarn_memory_mb_s", "YARN memory", "MB·s", _of_yarn("memory_mb_seconds")),
    Figure(
        "yarn_vcore_s",
        "YARN vcores (1 per container with memory scheduling: no CPU use)",
        "vcore·s",
        _of_yarn("vcore_seconds"),
    ),
    Figure("yarn_containers", "YARN containers", "", _of_metrics(containers)),
    Figure("cost_usd", "cost on AWS (estimated)", "USD", lambda record: record.cost_usd),
)


def result_figures(records: tuple[RunRecord, ...]) -> tuple[Figure, ...]:
    """Return the numbers that differ between the jobs' results, by dotted name.

    Accuracies are included even if equal.
    """
    values: dict[str, list[float | None]] = {}
    results = [record.result_numbers for record in records]
    for numbers in results:
        values |= {name: [other.get(name) for other in results] for name in numbers}
    names = [name for name, row in values.items() if "accuracy" in name or len(set(row)) > 1]
    return tuple(_result_figure(name) for name in names[:MAX_RESULT_FIGURES])


def _result_figure(name: str) -> Figure:
    label, unit = labels.figure(name)
    return Figure(RESULT_PREFIX + name, label, unit, lambda record: record.result_numbers.get(name))


def _numbers(document: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in document.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{name}", value
