"""Runs as a comparison takes them, and their loading from the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from emrctl.errors import UsageError
from emrctl.metrics.model import RunMetrics
from emrctl.runs import experiments, lifecycle
from emrctl.runs.run_files import RunFiles
from emrctl.runs.submission import RUN_PLACEHOLDER

if TYPE_CHECKING:
    from emrctl.runs.store import Run
    from emrctl.runs.workspace import Workspace

COMPLETED = "COMPLETED"


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One run of a comparison.

    `duration_s` is the duration of the step; `cost_usd` the price of the cluster for that time;
    `local` means that it ran on localhost. `published_s` is the duration that `published_by`
    reported for the same work.
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
    tags: Mapping[str, str] = field(default_factory=dict)
    cost_usd: float | None = None
    local: bool = False
    published_s: float | None = None
    published_by: str = ""

    @property
    def completed(self) -> bool:
        """Whether the run completed; figures of other runs are not compared."""
        return self.state == COMPLETED

    def traits(self) -> dict[str, str]:
        """Return job, arguments, target and settings as flat text, e.g. `conf.spark.x`."""
        target = "localhost" if self.local else "AWS"
        traits = {"job": self.job, "arguments": " ".join(self.arguments), "target": target}
        for name, value in self.settings.items():
            if isinstance(value, Mapping):
                traits |= {f"{name}.{key}": _text(inner) for key, inner in value.items()}
            elif value is not None:
                traits[name] = _text(value)
        return {name: value for name, value in traits.items() if value}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def load(workspace: Workspace, names: Sequence[str], experiment: str | None) -> list[RunRecord]:
    """Load the runs called `names`, or the completed runs of `experiment`."""
    if bool(names) == (experiment is not None):
        raise UsageError(
            "compare takes either runs or --experiment",
            hint="For example `emrctl compare RUN RUN`; `emrctl runs` lists them.",
        )
    if experiment is not None:
        runs = experiments.results(workspace, experiment)
    else:
        runs = [lifecycle.refresh(workspace, workspace.store.load(name)) for name in names]
    return [load_record(workspace, run) for run in runs]


def load_record(workspace: Workspace, run: Run) -> RunRecord:
    """Load the metrics and the job's result of a run."""
    files = workspace.store.files(run.id)
    metrics = files.read_json(RunFiles.METRICS)
    result = files.read_json(RunFiles.RESULT) or {}
    return RunRecord(
        id=run.id,
        label=run.trial.cell if run.trial else "",
        job=run.job,
        arguments=tuple(item.replace(run.prefix, RUN_PLACEHOLDER) for item in run.arguments),
        settings={**run.settings, "cluster": _cluster_settings(run)},
        state=run.state,
        duration_s=run.duration_s,
        metrics=RunMetrics.from_json(metrics) if metrics else None,
        result={key: value for key, value in result.items() if key != "arguments"},
        tags=run.tags,
        cost_usd=run.cost_usd,
        local=run.target == "local",
        published_s=run.trial.published_s if run.trial else None,
        published_by=run.trial.published_by if run.trial else "",
    )


def _cluster_settings(run: Run) -> dict[str, str]:
    """Return the cluster's hardware and release: runs on other clusters are no repeats."""
    cluster = run.cluster
    return {
        "release": cluster.release,
        "primary": cluster.primary_type,
        "core": f"{cluster.core_count} {cluster.core_type}",
    }
