"""Output about runs: lists, one run, progress of a submission."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from emrctl.cli.render import findings, json_document, next_step, note, number, plain, table

if TYPE_CHECKING:
    from emrctl.cost.services import CostOption
    from emrctl.errors import DamagedFileError
    from emrctl.runs.check import Problem
    from emrctl.runs.progress import Progress
    from emrctl.runs.record import Run
    from emrctl.runs.run_cost import RunCost
    from emrctl.runs.workspace import Workspace


_UNREADABLE = "UNREADABLE"


def print_runs(
    workspace: Workspace,
    runs: Sequence[Run],
    *,
    as_json: bool,
    unreadable: Mapping[str, DamagedFileError] | None = None,
) -> None:
    """Print a table of runs, or everything about them as JSON.

    `unreadable` are the errors of damaged records by the id of the run.
    """
    from emrctl.runs import lifecycle

    unreadable = unreadable or {}
    if as_json:
        documents = [lifecycle.describe(workspace, run) for run in runs]
        documents += [
            {"id": run_id, "state": _UNREADABLE, "file": error.location, "reason": error.reason}
            for run_id, error in unreadable.items()
        ]
        json_document(sorted(documents, key=lambda document: document["id"]))
        return
    if not runs and not unreadable:
        note("No runs yet. Start one with `emrctl submit`.")
        return
    rows = [
        (
            run.id,
            plain(run.job),
            run.state,
            plain(run.cluster.name),
            _seconds(run.duration_s),
            "" if run.cost_usd is None else f"{run.cost_usd:.4f}",
            settings_text(run.settings),
        )
        for run in runs
    ]
    rows += [(plain(run_id), "", _UNREADABLE, "", "", "", "") for run_id in unreadable]
    rows.sort(key=lambda row: row[0])
    columns = ("run", "job", "state", "cluster", "seconds", "USD", "settings")
    table(*columns, rows=rows, right=("seconds", "USD"))


def print_problems(problems: Sequence[Problem]) -> None:
    """Print the problems of the store, and what becomes of each."""
    if not problems:
        note("No problems.")
        return
    rows = [
        (
            plain(item.run),
            plain(item.file.rpartition("/")[2]),
            plain(item.reason),
            f"done: {item.repair}" if item.repaired else item.repair or "cannot be repaired",
        )
        for item in problems
    ]
    table("run", "file", "problem", "repair", rows=rows)
    left = [item for item in problems if not item.repaired]
    repairable = sum(bool(item.repair) for item in left)
    note(f"problems: {len(problems)}, left: {len(left)}")
    if repairable:
        note(f"{repairable} can be repaired with `emrctl runs check --repair`.")


def print_run(workspace: Workspace, run: Run, *, as_json: bool) -> None:
    """Print the main facts, metrics, result and findings of a run; everything as JSON."""
    from emrctl.runs import lifecycle

    document = lifecycle.describe(workspace, run)
    if as_json:
        json_document(document)
        return
    table("run", run.id, rows=[row for row in _facts(run, document["location"]) if row[1]])
    figures = list(_figures(workspace, run))
    if figures:
        table("metric", "value", rows=figures, right=("value",))
    result = [(key, number(value)) for key, value in _scalars(document["result"] or {})]
    if result:
        table("result", "value", rows=result, right=("value",))
    output = list(_outputs(document["output"]))
    if output:
        table("output", "rows", "checksum", "files", "bytes", rows=output, right=_OUTPUT_NUMBERS)
    nodes = document["nodes"]
    if nodes:
        table("node", *_NODE, rows=[_node(item) for item in nodes], right=tuple(_NODE))
    if document["metrics"]:
        from emrctl.metrics.findings import Report

        findings(Report.from_json({"findings": document["findings"], **document["rules"]}))
        next_step(f"emrctl runs cost {run.id}")


def _facts(run: Run, location: str) -> Iterator[tuple[str, str]]:
    cluster, trial = run.cluster, run.trial
    seconds = "" if run.duration_s is None else f"{run.duration_s:,.1f} s"
    cost = "" if run.cost_usd is None else f"${run.cost_usd:.4f} on AWS (estimated)"
    nodes = f"{cluster.primary_type} + {cluster.core_count} {cluster.core_type}"
    yield "job", run.job
    yield "arguments", plain(shlex.join(run.arguments))
    yield "state", run.state
    yield "failure", plain(run.failure)
    yield "log", plain(run.failure_log)
    yield "started", (run.started or "").replace("T", " ")[:19]
    yield "duration", seconds
    yield "cost", cost
    yield "target", "localhost" if run.target == "local" else run.target
    yield "cluster", f"{cluster.name} ({cluster.id}, {cluster.release}): {nodes}"
    yield "settings", settings_text(run.settings)
    yield "commit", "" if run.commit is None else str(run.commit)
    yield "environment", ", ".join(run.environment)
    yield "tags", ", ".join(f"{key}={value}" for key, value in run.tags.items())
    yield "trial", f"{trial.cell}, repeat {trial.repeat} of {trial.experiment}" if trial else ""
    for warning in run.warnings:
        yield "warning", plain(warning)
    yield "step", ", ".join(filter(None, (run.step_id, run.application_id)))
    yield "record", location


def _figures(workspace: Workspace, run: Run) -> Iterator[tuple[str, str]]:
    """Yield label and value with unit of the metrics that `emrctl compare` shows, too."""
    from emrctl.compare import export, records

    record = records.load_record(workspace, run)
    for figure in records.FIGURES:
        value = figure.of(record)
        if value is not None and figure.key not in {"duration_s", "cost_usd"}:
            yield figure.label, export.amount(value, figure.unit)


_OUTPUT_NUMBERS = ("rows", "files", "bytes")


def _outputs(document: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield the data sets that `--check-output` names."""
    for name, found in document.items():
        numbers = {key: f"{found[key]:,}" for key in _OUTPUT_NUMBERS}
        yield name, numbers["rows"], found["checksum"], numbers["files"], numbers["bytes"]


def _scalars(document: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the numbers and texts of a document by dotted name; lists are left to --json."""
    for key, value in document.items():
        if isinstance(value, Mapping):
            yield from _scalars(value, f"{prefix}{key}.")
        elif value is not None and not isinstance(value, list | tuple):
            yield prefix + key, value


# Columns of the table of nodes, and the fields of the record that they show.
_NODE = {
    "YARN MB (peak)": "memory_used_mb_peak",
    "YARN MB (total)": "memory_total_mb",
    "physical MB (peak)": "physical_memory_mb_peak",
    "CPU cores (peak)": "cpu_cores_peak",
    "CPU cores (mean)": "cpu_cores_mean",
}


def _node(item: Mapping[str, Any]) -> tuple[str, ...]:
    return (item["id"], *(number(item[name]) for name in _NODE.values()))


def print_cost(found: RunCost, options: Sequence[CostOption]) -> None:
    """Print the cost of a run and estimates elsewhere; letters refer to assumptions below."""
    typer.echo(
        f"{found.headline} {found.executors} executors of "
        f"{found.executor_cores} cores and {found.executor_memory_mb:,} MB, "
        f"{found.duration_s:,.0f} s, {found.vcpu_hours:,.3f} vCPU-hours and "
        f"{found.gb_hours:,.3f} GB-hours; {found.idle_percent:.0f} % of the core time idle."
    )
    texts = dict.fromkeys(text for item in options for text in item.assumptions)
    marks = {text: f"({number})" for number, text in enumerate(texts, 1)}
    rows = [
        (
            f"{item.usd:.4f}",
            "" if item.ratio is None else f"{100 * item.ratio:.0f} %",
            item.service,
            item.name,
            item.market,
            str(item.count),
            " ".join(marks[text] for text in item.assumptions),
        )
        for item in options
    ]
    columns = ("USD", "of the run", "service", "type", "market", "nodes", "assumptions")
    table(*columns, rows=rows, right=("USD", "of the run", "nodes"))
    for text, mark in marks.items():
        typer.echo(f"{mark} {text}")
    for text in found.notes:
        note(f"note: {text}")


def note_submitted(workspace: Workspace, run: Run) -> None:
    """Report a submitted run and its warnings on stderr."""
    note(f"Run {run.id} on {run.cluster.name}: step {run.step_id} of {run.cluster.id}")
    for warning in run.warnings:
        note(f"  warning: {warning}")
    note(f"  record: {workspace.store.files(run.id).location()}")


def note_finished(run: Run, printed: int = 0) -> None:
    """Report the final state of a run on stderr, and its warnings after the first `printed`."""
    seconds = _seconds(run.duration_s)
    note(f"  {run.state.lower()}{f' after {seconds} s' if seconds else ''}")
    for warning in run.warnings[printed:]:
        note(f"  warning: {warning}")


def progress_line(run: Run, progress: Progress) -> str:
    """Return a run's state and progress in one line."""
    application, jobs = progress.application, progress.jobs
    parts = [run.state]
    if application is not None and application.state != "RUNNING":
        parts.append(f"YARN {application.state}")
    if jobs is not None and jobs.stages_total:
        parts.append(f"stages {jobs.stages_done}/{jobs.stages_total}")
    if jobs is not None and jobs.tasks_total:
        parts.append(f"tasks {jobs.tasks_done}/{jobs.tasks_total}")
    if application is not None:
        parts.append(f"containers {application.running_containers or 0}")
    return "  ".join(parts)


def settings_text(settings: Mapping[str, Any]) -> str:
    """Return Spark settings as `key=value, ...`."""
    flat = {**settings, **settings.get("conf", {})}
    return ", ".join(f"{key}={_setting(value)}" for key, value in flat.items() if key != "conf")


def _setting(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else number(value)


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
