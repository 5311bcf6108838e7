"""Output about runs: lists, one run, progress of a submission."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from emrctl.cli.render import json_document, note, number, output, table

if TYPE_CHECKING:
    from emrctl.runs.progress import Progress
    from emrctl.runs.store import Run
    from emrctl.runs.workspace import Workspace


def print_runs(workspace: Workspace, runs: Sequence[Run], *, as_json: bool) -> None:
    """Print a table of runs, or everything about them as JSON."""
    from emrctl.runs import lifecycle

    if as_json:
        json_document([lifecycle.describe(workspace, run) for run in runs])
        return
    if not runs:
        note("No runs yet. Start one with `emrctl submit`.")
        return
    rows = [
        (
            run.id,
            run.job,
            run.state,
            run.cluster.name,
            _seconds(run.duration_s),
            "" if run.cost_usd is None else f"{run.cost_usd:.4f}",
            settings_text(run.settings),
        )
        for run in runs
    ]
    columns = ("run", "job", "state", "cluster", "seconds", "USD", "settings")
    table(*columns, rows=rows, right=("seconds", "USD"))


def print_run(workspace: Workspace, run: Run, *, as_json: bool) -> None:
    """Print one run with its figures and findings."""
    from emrctl.runs import lifecycle

    document = lifecycle.describe(workspace, run)
    if as_json:
        json_document(document)
        return
    findings, nodes = document.pop("findings"), document.pop("nodes")
    metrics = document.pop("metrics") or {}
    result = document.pop("result") or {}
    figures = {key: value for key, value in metrics.items() if not isinstance(value, list | dict)}
    for title, part in (("run", document), ("metrics", figures), ("result", result)):
        rows = [
            (key, number(value)) for key, value in part.items() if value not in (None, {}, [], ())
        ]
        if rows:
            table(title, "", rows=rows)
    if nodes:
        table("node", *_NODE, rows=[_node(item) for item in nodes], right=tuple(_NODE))
    if metrics:
        from emrctl.cli.render.findings import print_findings
        from emrctl.metrics.findings.rules import Finding

        print_findings(output(), [Finding.from_json(item) for item in findings])


# Columns of the table of nodes, and the fields of the record that they show.
_NODE = {
    "YARN MB": "memory_used_mb_peak",
    "of": "memory_total_mb",
    "in use MB": "physical_memory_mb_peak",
    "CPU cores": "cpu_cores_peak",
    "on average": "cpu_cores_mean",
}


def _node(item: Mapping[str, Any]) -> tuple[str, ...]:
    return (item["id"], *(number(item[name]) for name in _NODE.values()))


def note_submitted(workspace: Workspace, run: Run) -> None:
    """Report a submitted run and its warnings on stderr."""
    note(f"Run {run.id} on {run.cluster.name}: step {run.step_id} of {run.cluster.id}")
    for warning in run.warnings:
        note(f"  warning: {warning}")
    note(f"  record: {workspace.store.location(run.id)}")


def note_finished(run: Run) -> None:
    """Report the final state of a run on stderr."""
    seconds = _seconds(run.duration_s)
    note(f"  {run.state.lower()}{f' after {seconds} s' if seconds else ''}")


def progress_line(run: Run, progress: Progress) -> str:
    """Return a run's state and progress in one line."""
    parts = [run.state]
    if progress.application_state and progress.application_state != "RUNNING":
        parts.append(f"YARN {progress.application_state}")
    if progress.stages_total:
        parts.append(f"stages {progress.stages_done}/{progress.stages_total}")
    if progress.tasks_total:
        parts.append(f"tasks {progress.tasks_done}/{progress.tasks_total}")
    if progress.containers is not None:
        parts.append(f"containers {progress.containers}")
    return "  ".join(parts)


def settings_text(settings: Mapping[str, Any]) -> str:
    """Return Spark settings as `key=value, ...`."""
    flat = {**settings, **settings.get("conf", {})}
    return ", ".join(f"{key}={number(value)}" for key, value in flat.items() if key != "conf")


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
