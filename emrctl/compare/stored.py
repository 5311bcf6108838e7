"""Stored runs as the records that a comparison takes, and the comparison as a page."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emrctl.compare.records import RunRecord
from emrctl.errors import UsageError
from emrctl.metrics.model import RunMetrics
from emrctl.paths import write_atomically
from emrctl.runs import experiments, lifecycle

if TYPE_CHECKING:
    from emrctl.compare.comparison import Comparison
    from emrctl.compare.gates import Gate
    from emrctl.runs.store import Run
    from emrctl.runs.workspace import Workspace


class Style(StrEnum):
    """How a comparison is printed."""

    table = "table"
    json = "json"
    csv = "csv"
    markdown = "markdown"


def compare(workspace: Workspace, names: Sequence[str], experiment: str | None) -> Comparison:
    """The runs called `names`, or the completed ones of `experiment`, beside the first of them."""
    from emrctl.compare import comparison as comparing

    if bool(names) == (experiment is not None):
        raise UsageError(
            "compare takes either runs or --experiment",
            hint="For example `emrctl compare RUN RUN`; `emrctl runs` lists them.",
        )
    if experiment is not None:
        found = experiments.results(workspace, experiment)
    else:
        found = [lifecycle.refresh(workspace, workspace.store.load(name)) for name in names]
    return comparing.compare([record(workspace, item) for item in found])


def gates(wanted: Sequence[str]) -> list[Gate]:
    """What `FIGURE:PERCENT` each mean; `UsageError` where one means nothing."""
    from emrctl.compare.gates import parse

    return [parse(text) for text in wanted]


def check(comparison: Comparison, wanted: Sequence[Gate]) -> None:
    """The comparison keeps to all of these; else `GateError`."""
    from emrctl.compare.gates import check as hold

    if wanted:
        hold(comparison, wanted)


def record(workspace: Workspace, run: Run) -> RunRecord:
    """A stored run as a comparison sees it; arguments without the run's own prefix."""
    metrics = workspace.store.get_json(run.id, "metrics.json")
    return RunRecord(
        id=run.id,
        label=run.trial.cell if run.trial else "",
        job=run.job,
        arguments=tuple(
            item.replace(run.prefix, lifecycle.RUN_PLACEHOLDER) for item in run.arguments
        ),
        settings={**run.settings, "cluster": _shape(run)},
        state=run.state,
        duration_s=run.duration_s,
        metrics=RunMetrics.from_json(metrics) if metrics else None,
        result=_figures(workspace.store.get_json(run.id, "result.json")),
        tags=run.tags,
        cost_usd=run.cost_usd,
        local=run.target == "local",
        published_s=run.trial.published_s if run.trial else None,
        published_by=run.trial.published_by if run.trial else "",
    )


def _figures(result: dict[str, Any] | None) -> dict[str, Any] | None:
    """What the job reported, without the arguments that it was given."""
    if result is None:
        return None
    return {key: value for key, value in result.items() if key != "arguments"}


def _shape(run: Run) -> dict[str, str]:
    """What the cluster was made of: runs on other clusters are no repeats of each other."""
    cluster = run.cluster
    return {
        "release": cluster.release,
        "primary": cluster.primary_type,
        "core": f"{cluster.core_count} {cluster.core_type}",
    }


def write_page(comparison: Comparison, path: Path, title: str | None) -> None:
    """One self-contained page with the comparison lies at `path`; written aside and renamed."""
    from emrctl.compare import report

    page = report.html(comparison, title or "Comparison of runs")
    try:
        write_atomically(path, page)
    except OSError as error:
        raise UsageError(
            f"--html {path}: {error.strerror}", hint="Name a file elsewhere."
        ) from error
