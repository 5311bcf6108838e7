"""Output of `emrctl metrics RUN`: JSON, text tables or files.

Rows of tasks are printed while the log is read, to limit memory use; in JSON `tasks` is therefore
the first key.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import typer

from emrctl.cli import render
from emrctl.metrics.task_figures import FIGURES

if TYPE_CHECKING:
    from emrctl.metrics.model import RunMetrics, TaskMetrics


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
class MetricsOptions:
    """The tables to print or export in addition to the metrics of the run."""

    stages: bool = False
    executors: bool = False
    tasks: bool = False
    findings: bool = False
    as_json: bool = False

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the tables to export."""
        names = ("stages", "executors", "tasks")
        return tuple(name for name in names if getattr(self, name)) or ("runs",)


class MetricsOutput(Protocol):
    """Prints task rows as they are read, and the runs at the end."""

    def task(self, row: TaskMetrics) -> None:
        """Print a task."""

    def finish(self, runs: Sequence[RunMetrics]) -> None:
        """Print the runs."""


@contextmanager
def open_output(export: Path | None, options: MetricsOptions) -> Iterator[MetricsOutput]:
    """Print to stdout, or write the files of `export`; a failure leaves no files."""
    if export is not None:
        from emrctl.metrics import tables

        with tables.writer(export, options.tables) as files:
            yield files
        for path, rows in files.written.items():
            render.note(f"{rows:,} rows in {path}")
    elif options.as_json:
        yield _Json(options)
    else:
        yield _Text(options)


class _Json:
    """A JSON document; a list of documents for several logs."""

    def __init__(self, options: MetricsOptions) -> None:
        self._options = options
        self._rows = 0

    def task(self, row: TaskMetrics) -> None:
        """Print a row; the first one opens the document."""
        start = ",\n  " if self._rows else '{\n "tasks": [\n  '
        typer.echo(start + json.dumps(row.to_json(), ensure_ascii=False), nl=False)
        self._rows += 1

    def finish(self, runs: Sequence[RunMetrics]) -> None:
        """Print the rest of the document."""
        documents = [self._document(run) for run in runs]
        if not self._options.tasks:
            render.json_document(documents[0] if len(documents) == 1 else documents)
            return
        rest = json.dumps(documents[0], indent=1, ensure_ascii=False).removeprefix("{")
        start = "\n ]," if self._rows else '{\n "tasks": [],'
        typer.echo(start + rest)

    def _document(self, run: RunMetrics) -> dict[str, Any]:
        if not self._options.findings:
            return run.to_json()
        from emrctl.metrics import findings

        return run.to_json() | {"findings": [item.to_json() for item in findings.diagnose(run)]}


class _Text:
    """Text tables, and tab-separated rows of tasks."""

    def __init__(self, options: MetricsOptions) -> None:
        self._options = options
        self._has_header = False

    def task(self, row: TaskMetrics) -> None:
        """Print a line, the first one after a header."""
        document = row.to_json()
        if not self._has_header:
            self._has_header = True
            typer.echo("\t".join(document))
        typer.echo("\t".join(_cell(value) for value in document.values()))

    def finish(self, runs: Sequence[RunMetrics]) -> None:
        """Print the tables of every run."""
        for run in runs:
            self._print(run)

    def _print(self, run: RunMetrics) -> None:
        document = run.to_json()
        scalars = {k: item for k, item in document.items() if not isinstance(item, list | dict)}
        render.table("metric", "", rows=[(key, _cell(value)) for key, value in scalars.items()])
        for text in run.notes:
            render.note(f"note: {_cell(text)}")
        if self._options.stages and run.stages:
            _print_table(_STAGES, document["stages"])
        if self._options.executors and run.executors:
            _print_table(_EXECUTORS, document["executors"])
        if self._options.findings:
            from emrctl.cli.render.findings import print_findings
            from emrctl.metrics import findings

            print_findings(render.output(), findings.diagnose(run))


def _print_table(columns: dict[str, str], items: list[dict[str, Any]]) -> None:
    rows = [[_format(key, item) for key in columns.values()] for item in items]
    numbers = set(columns) - {"status", "name", "host", "id"}
    render.table(*columns, rows=rows, right=tuple(numbers))


def _format(key: str, item: dict[str, Any]) -> str:
    name, _, share = key.partition(" ")
    value = (item[name] or {}).get(share) if share else item[name]
    if value is None or isinstance(value, bool | str):
        return _cell(value)
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


def _cell(value: Any) -> str:
    """Return printable text: event logs may contain terminal control sequences."""
    if isinstance(value, bool):
        return str(value).lower()
    text = "" if value is None else str(value)
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
