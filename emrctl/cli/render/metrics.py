"""How `emrctl metrics` prints what it found, or writes it to a file.

Rows of tasks are written as they come, so that a log of any size is shown in little memory: in
JSON `tasks` stands first for that reason.
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

if TYPE_CHECKING:
    from emrctl.metrics.model import RunMetrics, TaskMetrics


# Headings and what stands under them; a word after a field is one of its quantiles.
_STAGES = {
    "stage": "id",
    "try": "attempt",
    "status": "status",
    "name": "name",
    "tasks": "tasks",
    "failed": "tasks_failed",
    "median": "duration_ms_quantiles median",
    "longest": "duration_ms_quantiles max",
    "GC": "jvm_gc_time_ms",
    "input": "input_bytes",
    "output": "output_bytes",
    "shuffle in": "shuffle_read_bytes",
    "shuffle out": "shuffle_write_bytes",
    "spilled": "disk_spilled_bytes",
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
    "GC": "gc_time_ms",
    "input": "input_bytes",
    "shuffle in": "shuffle_read_bytes",
    "shuffle out": "shuffle_write_bytes",
}


@dataclass(frozen=True)
class Wanted:
    """What is asked for besides the figures of the whole run."""

    stages: bool = False
    executors: bool = False
    tasks: bool = False
    findings: bool = False
    as_json: bool = False

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the tables to export."""
        asked = {"stages": self.stages, "executors": self.executors, "tasks": self.tasks}
        return tuple(name for name, wanted in asked.items() if wanted) or ("runs",)


class Output(Protocol):
    """Takes rows of tasks as they come, and at the end the runs."""

    def task(self, row: TaskMetrics) -> None:
        """One more task."""

    def finish(self, runs: Sequence[RunMetrics]) -> None:
        """That was all."""


@contextmanager
def output_to(export: Path | None, wanted: Wanted) -> Iterator[Output]:
    """Stdout, or the files that `export` names, whole or not at all."""
    if export is not None:
        from emrctl.metrics import tables

        with tables.writer(export, wanted.tables) as files:
            yield files
        for path, rows in files.written.items():
            render.note(f"{rows:,} rows in {path}")
    elif wanted.as_json:
        yield _Json(wanted)
    else:
        yield _Text(wanted)


class _Json:
    """One document; a list of them where there are several logs."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._rows = 0

    def task(self, row: TaskMetrics) -> None:
        """Open the document with the first row."""
        start = ",\n  " if self._rows else '{\n "tasks": [\n  '
        typer.echo(start + json.dumps(row.to_json(), ensure_ascii=False), nl=False)
        self._rows += 1

    def finish(self, runs: Sequence[RunMetrics]) -> None:
        """The rest of the document."""
        documents = [self._document(run) for run in runs]
        if not self._wanted.tasks:
            render.json_document(documents[0] if len(documents) == 1 else documents)
            return
        rest = json.dumps(documents[0], indent=1, ensure_ascii=False).removeprefix("{")
        start = "\n ]," if self._rows else '{\n "tasks": [],'
        typer.echo(start + rest)

    def _document(self, run: RunMetrics) -> dict[str, Any]:
        if not self._wanted.findings:
            return run.to_json()
        from emrctl.metrics.findings import rules

        return run.to_json() | {"findings": [item.to_json() for item in rules.diagnose(run)]}


class _Text:
    """Tables, and rows of tasks between tabs."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._columns: list[str] = []

    def task(self, row: TaskMetrics) -> None:
        """A line; before the first the columns' names."""
        document = row.to_json()
        if not self._columns:
            self._columns = list(document)
            typer.echo("\t".join(self._columns))
        typer.echo("\t".join(_cell(value) for value in document.values()))

    def finish(self, runs: Sequence[RunMetrics]) -> None:
        """Tables of every run."""
        for run in runs:
            self._run(run)

    def _run(self, run: RunMetrics) -> None:
        document = run.to_json()
        figures = {key: value for key, value in document.items() if not _nested(value)}
        render.table("metric", "", rows=[(key, _cell(value)) for key, value in figures.items()])
        for text in run.notes:
            render.note(f"note: {_cell(text)}")
        for wanted, name in (
            (self._wanted.stages, "stages"),
            (self._wanted.executors, "executors"),
        ):
            if wanted and document[name]:
                _table(name, document[name])
        if self._wanted.findings:
            from emrctl.cli.render.findings import print_findings
            from emrctl.metrics.findings import rules

            print_findings(render.output(), rules.diagnose(run))


def _table(name: str, items: list[dict[str, Any]]) -> None:
    columns = {"stages": _STAGES, "executors": _EXECUTORS}[name]
    rows = [[_formatted(key, item) for key in columns.values()] for item in items]
    numbers = set(columns) - {"status", "name", "host", "id"}
    render.table(*columns, rows=rows, right=tuple(numbers))


def _formatted(key: str, item: dict[str, Any]) -> str:
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


def _nested(value: Any) -> bool:
    return isinstance(value, list | dict)


def _cell(value: Any) -> str:
    """Text as it is, but nothing that a terminal would take for a command."""
    if isinstance(value, bool):
        return str(value).lower()
    text = "" if value is None else str(value)
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
