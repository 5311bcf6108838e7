"""`emrctl metrics RUN`: print the metrics of a run or of any Spark event log.

Rows of tasks are printed while the log is read, to limit memory use; in JSON `tasks` is therefore
the first key. Their columns are those of `TaskMetrics` in `metrics/model.py`, with the figures
that `metrics/task_figures.py` declares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emrctl.cli import log_sources, options, render
from emrctl.errors import NotFoundError
from emrctl.metrics.task_figures import FIGURES

if TYPE_CHECKING:
    from emrctl.metrics.eventlog.layout import EventLogFiles
    from emrctl.metrics.model import RunMetrics, TaskMetrics
    from emrctl.metrics.tables import Tables
    from emrctl.runs.workspace import Workspace

    OnTask = Callable[[TaskMetrics], None] | None

app = options.new_app()
SOURCE_HELP = "Event log (file, folder, archive, s3:// or -) or run."

# Fields by heading; a word after the field is one of its quantiles.
_STAGES = {
    "stage": "id",
    "attempt": "attempt",
    "status": "status",
    "name": "name",
    "tasks": "tasks",
    "failed": "tasks_failed",
    "median": "duration_ms_quantiles median",
    "max": "duration_ms_quantiles max",
    **{figure.label: figure.name for figure in FIGURES if figure.in_stage_table},
}
_EXECUTORS = {
    "id": "id",
    "host": "host",
    "active": "active",
    "RDD blocks": "rdd_blocks",
    "storage": "storage_used_bytes",
    "of": "storage_total_bytes",
    "on disk": "disk_used_bytes",
    "cores": "cores",
    "running": "active_tasks",
    "failed": "failed_tasks",
    "complete": "complete_tasks",
    "tasks": "total_tasks",
    "task time": "task_time_ms",
    **{figure.label: figure.executor for figure in FIGURES if figure.executor},
}


@dataclass(frozen=True)
class _Options:
    """The tables to print or export in addition to the metrics of the run."""

    stages: bool = False
    executors: bool = False
    tasks: bool = False
    findings: bool = False
    as_json: bool = False
    limits: Mapping[str, float] = field(default_factory=dict)

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the tables to export."""
        names = ("stages", "executors", "tasks")
        return tuple(name for name in names if getattr(self, name)) or ("runs",)


@app.command()
@options.common("config target json")
def metrics(
    context: options.Context,
    source: Annotated[str, typer.Argument(metavar="PATH|RUN", help=SOURCE_HELP)],
    stages: Annotated[bool, typer.Option("--stages", help="Include stages.")] = False,
    executors: Annotated[bool, typer.Option("--executors", help="Include executors.")] = False,
    tasks: Annotated[bool, typer.Option("--tasks", help="Include a row for each task.")] = False,
    findings: Annotated[
        bool, typer.Option("--findings", help="Include findings with advice.")
    ] = False,
    export: Annotated[
        Path | None,
        typer.Option("--export", help="Write a .parquet or .csv file of the runs or tables."),
    ] = None,
) -> None:
    """Print the metrics of a run or of any Spark event log; needs no Spark."""
    limits = context.limits if findings else {}
    include = _Options(stages, executors, tasks, findings, context.as_json, limits)
    with _open_output(export, include) as out:
        out.finish(_read(context, source, out.task if tasks else None))


def _read(context: options.Context, source: str, on_task: OnTask) -> tuple[RunMetrics, ...]:
    """Read all event logs at `source`; with `on_task` only a single log is allowed."""
    files = log_sources.find_or_stdin(source, lambda: context.workspace.target.client("s3"))
    if files is None:
        return (load_run(context.workspace, source, on_task),)
    runs = _read_files(files, on_task)
    log_sources.require_application(source, runs)
    return runs


def _read_files(files: EventLogFiles, on_task: OnTask) -> tuple[RunMetrics, ...]:
    from emrctl.metrics.eventlog import reader

    if on_task is not None:
        return (reader.read_log(files, on_task=on_task),)
    return reader.read_logs(files, on_refused=lambda error: render.note(f"skipped: {error}"))


def load_run(workspace: Workspace, name: str, on_task: OnTask) -> RunMetrics:
    """Return the metrics in the store; `NotFoundError` with the reason if there are none."""
    from emrctl.metrics.model import RunMetrics
    from emrctl.runs.store import RunFiles

    run = workspace.store.load(name)
    metrics = workspace.store.files(run.id).load(RunFiles.METRICS, RunMetrics)
    if metrics is None:
        hint = f"Fetch the event log: `emrctl pull {run.id}`."
        if not run.finished:
            hint = f"Wait for it: `emrctl wait {run.id}`."
        elif run.application_id is None:
            hint = f"It started no Spark application: `emrctl logs {run.id}` prints its output."
        raise NotFoundError(
            f"run {run.id} has no metrics: there is no event log (state {run.state})", hint=hint
        )
    if on_task is not None:
        _read_files(workspace.store.files(run.id).event_log(), on_task)
    return metrics


@contextmanager
def _open_output(export: Path | None, include: _Options) -> Iterator[Tables | _Json | _Text]:
    """Print to stdout, or write the files of `export`; a failure leaves no files."""
    if export is not None:
        from emrctl.metrics import tables

        with tables.writer(export, include.tables) as files:
            yield files
        for path, rows in files.written.items():
            render.note(f"{rows:,} rows in {path}")
    elif include.as_json:
        yield _Json(include)
    else:
        yield _Text(include)


class _Json:
    """A JSON document; a list of documents for several logs."""

    def __init__(self, include: _Options) -> None:
        self._include = include
        self._rows = 0

    def task(self, row: TaskMetrics) -> None:
        """Print a row; the first one opens the document."""
        import msgspec

        start = ",\n  " if self._rows else '{\n "tasks": [\n  '
        typer.echo(start + msgspec.json.encode(row.to_json()).decode(), nl=False)
        self._rows += 1

    def finish(self, runs: Sequence[RunMetrics]) -> None:
        """Print the rest of the document."""
        documents = [self._document(run) for run in runs]
        if not self._include.tasks:
            render.json_document(documents[0] if len(documents) == 1 else documents)
            return
        rest = render.json_text(documents[0]).removeprefix("{")
        start = "\n ]," if self._rows else '{\n "tasks": [],'
        typer.echo(start + rest)

    def _document(self, run: RunMetrics) -> dict[str, Any]:
        if not self._include.findings:
            return run.to_json()
        from emrctl.metrics.findings import check

        report = check(run, self._include.limits).to_json()
        return run.to_json() | {"findings": report.pop("findings"), "rules": report}


class _Text:
    """Text tables, and tab-separated rows of tasks."""

    def __init__(self, include: _Options) -> None:
        self._include = include
        self._has_header = False

    def task(self, row: TaskMetrics) -> None:
        """Print a line, the first one after a header."""
        document = row.to_json()
        if not self._has_header:
            self._has_header = True
            typer.echo("\t".join(document))
        typer.echo("\t".join(render.plain(value) for value in document.values()))

    def finish(self, runs: Sequence[RunMetrics]) -> None:
        """Print the tables of every run."""
        for run in runs:
            self._print(run)

    def _print(self, run: RunMetrics) -> None:
        document = run.to_json()
        scalars = {k: item for k, item in document.items() if not isinstance(item, list | dict)}
        render.table(
            "metric", "", rows=[(key, render.plain(value)) for key, value in scalars.items()]
        )
        for text in run.notes:
            render.note(f"note: {render.plain(text)}")
        if self._include.stages and run.stages:
            _print_table(_STAGES, document["stages"])
        if self._include.executors and run.executors:
            _print_table(_EXECUTORS, document["executors"])
        if self._include.findings:
            from emrctl.metrics.findings import check

            render.findings(check(run, self._include.limits))


def _print_table(columns: dict[str, str], items: list[dict[str, Any]]) -> None:
    rows = [[_format(key, item) for key in columns.values()] for item in items]
    numbers = set(columns) - {"status", "name", "host", "id"}
    render.table(*columns, rows=rows, right=tuple(numbers))


def _format(key: str, item: dict[str, Any]) -> str:
    name, _, share = key.partition(" ")
    value = (item[name] or {}).get(share) if share else item[name]
    if value is None or isinstance(value, bool | str):
        return render.plain(value)
    if "_bytes" in name:
        return _bytes(value)
    return f"{value / 1000:,.1f} s" if "_ms" in name else f"{value:,}"


def _bytes(value: float) -> str:
    units = ("B", "KiB", "MiB", "GiB", "TiB")
    for unit in units[:-1]:
        if abs(value) < 1024:
            return f"{value:,.0f} {unit}" if unit == "B" else f"{value:,.1f} {unit}"
        value /= 1024
    return f"{value:,.1f} {units[-1]}"
