"""What commands print: results to stdout, progress to stderr, JSON where it was asked for."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console
    from rich.table import Table

    from emrctl.compare.comparison import Comparison
    from emrctl.datasets.pictures import DataSet
    from emrctl.runs.experiments import Trial
    from emrctl.runs.outputs import Brought
    from emrctl.runs.progress import Progress
    from emrctl.runs.store import Run
    from emrctl.runs.workspace import Workspace
    from emrctl.spec.config import Config

_STATE_STYLES = {"COMPLETED": "green", "FAILED": "red", "INTERRUPTED": "red", "LOST": "dim"}


@functools.cache
def output() -> Console:
    """The console on stdout; as wide as it needs to be where that is no terminal."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=False)
    return console if console.is_terminal else Console(highlight=False, width=200)


@functools.cache
def errors() -> Console:
    """The console on stderr, for what is not a result."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def json_document(document: Any) -> None:
    """One JSON document on stdout."""
    typer.echo(json.dumps(document, indent=1, ensure_ascii=False, default=str))


def note(text: str) -> None:
    """A line of progress on stderr."""
    typer.echo(text, err=True)


def brought(found: Brought, folder: Path) -> None:
    """How much lies in the folder now, and the page among it that one would open."""
    many = "file" if len(found.files) == 1 else "files"
    note(f"{len(found.files)} {many}, {found.size_bytes / 1e6:.1f} MB in {folder}")
    pages = [path for path in found.files if path.suffix == ".html"]
    if pages:
        next_step(f"open {min(pages, key=lambda path: (len(path.parts), path))} in a browser")


def next_step(command: str) -> None:
    """What one would type next."""
    typer.echo(f"Next: {command}", err=True)


def table(*columns: str, rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> None:
    """A table on stdout; `right` names the columns of figures."""
    output().print(build_table(*columns, rows=rows, right=right))


def build_table(*columns: str, rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> Table:
    """The table, for whoever prints it; cells are text, never markup."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    built = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        built.add_column(column, justify="right" if column in right else "left")
    for row in rows:
        built.add_row(*(Text(cell, style=_STATE_STYLES.get(cell, "")) for cell in row))
    return built


def configuration(config: Config, *, as_json: bool) -> None:
    """Every value in force with its source."""
    found = list(config.values())
    if as_json:
        json_document([asdict(item) for item in found])
        return
    rows = [(item.key, json.dumps(item.value, ensure_ascii=False), item.source) for item in found]
    table("key", "value", "source", rows=rows)


def runs(workspace: Workspace, found: Sequence[Run], *, as_json: bool) -> None:
    """Runs as a table, or whole as JSON."""
    from emrctl.runs import lifecycle as verbs

    if as_json:
        json_document([verbs.describe(workspace, run) for run in found])
        return
    if not found:
        note("No runs yet. Make one with `emrctl submit`.")
        return
    rows = [
        (
            run.id,
            run.job,
            run.state,
            run.cluster.name,
            _seconds(run.duration_s),
            _usd(run),
            _mapping(run),
        )
        for run in found
    ]
    columns = ("run", "job", "state", "cluster", "seconds", "USD", "settings")
    table(*columns, rows=rows, right=("seconds", "USD"))


def run(workspace: Workspace, found: Run, *, as_json: bool) -> None:
    """One run with its figures."""
    from emrctl.runs import lifecycle as verbs

    document = verbs.describe(workspace, found)
    if as_json:
        json_document(document)
        return
    found_out, nodes = document.pop("findings"), document.pop("nodes")
    metrics = document.pop("metrics") or {}
    result = document.pop("result") or {}
    figures = {key: value for key, value in metrics.items() if not isinstance(value, list | dict)}
    for title, part in (("run", document), ("metrics", figures), ("result", result)):
        rows = [
            (key, _cell(value)) for key, value in part.items() if value not in (None, {}, [], ())
        ]
        if rows:
            table(title, "", rows=rows)
    if nodes:
        table("node", *_NODE, rows=[_node(item) for item in nodes], right=tuple(_NODE))
    if metrics:
        from emrctl.cli import render_findings
        from emrctl.metrics.findings.rules import Finding

        render_findings.show(output(), [Finding.from_json(item) for item in found_out])


# Peaks over the run, and their names in the record.
_NODE = {
    "YARN MB": "memory_used_mb_peak",
    "of": "memory_total_mb",
    "in use MB": "physical_memory_mb_peak",
    "CPU cores": "cpu_cores_peak",
    "on average": "cpu_cores_mean",
}


def _node(item: Mapping[str, Any]) -> tuple[str, ...]:
    values = (item[name] for name in _NODE.values())
    return (item["id"], *("" if value is None else _cell(value) for value in values))


def submitted(workspace: Workspace, found: Run) -> None:
    """That a run was submitted, on stderr, with its warnings."""
    note(f"Run {found.id} on {found.cluster.name}: step {found.step_id} of {found.cluster.id}")
    for warning in found.warnings:
        note(f"  warning: {warning}")
    note(f"  record: {workspace.store.location(found.id)}")


def ended(found: Run) -> None:
    """How a run ended, on stderr."""
    seconds = _seconds(found.duration_s)
    note(f"  {found.state.lower()}{f' after {seconds} s' if seconds else ''}")


def progress_line(found: Run, seen: Progress) -> str:
    """A run's state and figures in one line."""
    parts = [found.state]
    if seen.application_state and seen.application_state != "RUNNING":
        parts.append(f"YARN {seen.application_state}")
    if seen.stages_total:
        parts.append(f"stages {seen.stages_done}/{seen.stages_total}")
    if seen.tasks_total:
        parts.append(f"tasks {seen.tasks_done}/{seen.tasks_total}")
    if seen.containers is not None:
        parts.append(f"containers {seen.containers}")
    return "  ".join(parts)


def trial(found: Trial) -> None:
    """Which trial comes now, on stderr."""
    facts = found.facts
    note(f"Trial {found.number} of {found.total}: {facts.cell} (repeat {facts.repeat})")


def trials(found: Sequence[Trial], *, as_json: bool) -> None:
    """The trials of an experiment."""
    rows = [(t.facts.cell, str(t.facts.repeat), _settings(t.settings.as_dict())) for t in found]
    if as_json:
        json_document([asdict(t.facts) | {"settings": t.settings.as_dict()} for t in found])
    else:
        table("cell", "repeat", "settings", rows=rows, right=("repeat",))


def data_set(found: DataSet, *, as_json: bool) -> None:
    """Where a data set lies and what it holds."""
    if as_json:
        json_document(asdict(found))
        return
    total = sum(found.classes.values())
    note(f"{total} pictures of {len(found.classes)} classes, {found.sent} of them sent now.")
    typer.echo(found.uri)


def emulator(
    shown: Mapping[str, Any], *, as_json: bool, overview: Mapping[str, Any] | None = None
) -> None:
    """Where the EMR on localhost is, and what runs on it."""
    document = {**shown, **(overview or {})}
    if as_json:
        json_document(document)
        return
    table("EMR on localhost", "", rows=[(key, str(value)) for key, value in shown.items()])
    for cluster in document.get("clusters", ()):
        typer.echo(f"  {cluster['id']}  {cluster['state']}  {cluster['name']}")
    for instance in document.get("instances", ()):
        typer.echo(f"  {instance['id']}  {instance['state'].upper()}  {instance['name']}")
    for warning in document.get("warnings", ()):
        note(f"warning: {warning}")
    if overview is None:
        next_step("emrctl up")


@contextmanager
def counter(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr that counts up to `total`; silent where that is no terminal."""
    from rich.progress import Progress

    with Progress(console=errors(), disable=not errors().is_terminal, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)


def _mapping(found: Run) -> str:
    return _settings(found.settings)


def _settings(settings: Mapping[str, Any]) -> str:
    flat = {**settings, **settings.get("conf", {})}
    return ", ".join(f"{key}={_cell(value)}" for key, value in flat.items() if key != "conf")


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _usd(found: Run) -> str:
    return "" if found.cost_usd is None else f"{found.cost_usd:.4f}"


def comparison(found: Comparison, style: str) -> None:
    """A comparison, printed as `style` says."""
    from emrctl.compare import export

    if style == "json":
        json_document(export.to_json(found))
    elif style == "csv":
        typer.echo(export.to_csv(found), nl=False)
    elif style == "markdown":
        typer.echo(export.to_markdown(found), nl=False)
    else:
        head, *rows = export.table(found)
        table(*head, rows=rows, right=head[1:])
        for item, verdict in zip(found.configurations, found.verdicts, strict=True):
            typer.echo(f"{item.label}: {verdict}")
        for line in found.notes:
            typer.echo(line)
