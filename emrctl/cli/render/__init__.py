"""Output of commands: results on stdout, progress on stderr, JSON on request."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from emrctl.metrics.findings import Report

_PIPE_WIDTH = 200
_STATE_STYLES = {"COMPLETED": "green", "FAILED": "red", "INTERRUPTED": "red", "LOST": "dim"}
_SEVERITY_STYLES = {"high": "red", "medium": "yellow", "low": "dim"}


@functools.cache
def output() -> Console:
    """Return the console on stdout; 200 columns wide if that is not a terminal."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=False)
    return console if console.is_terminal else Console(highlight=False, width=_PIPE_WIDTH)


@functools.cache
def errors() -> Console:
    """Return the console on stderr."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def json_document(document: Any) -> None:
    """Print one JSON document on stdout."""
    typer.echo(json_text(document))


def json_text(document: Any) -> str:
    """Return the document as JSON with one space of indentation; NaN and infinity are null."""
    import msgspec

    return msgspec.json.format(msgspec.json.encode(document, enc_hook=str), indent=1).decode()


def note(text: str) -> None:
    """Print a line on stderr; a closed pipe (`2>&1 | head`) does not interrupt the command."""
    with contextlib.suppress(BrokenPipeError):
        typer.echo(visible(text), err=True)


def line(text: str) -> None:
    """Print a line on stdout; texts of files and jobs cannot control the terminal."""
    typer.echo(visible(text))


def visible(text: str) -> str:
    """Return `text` with control and format characters replaced, except line breaks and tabs.

    Escape sequences rename or clear a terminal, and marks of direction reorder what it shows.
    """
    if text.isascii() and text.isprintable():
        return text
    import unicodedata

    def is_control(char: str) -> bool:
        return char not in "\n\t" and unicodedata.category(char) in {"Cc", "Cf", "Cs"}

    lines = text.replace("\r\n", "\n")
    return "".join("\N{REPLACEMENT CHARACTER}" if is_control(char) else char for char in lines)


def next_step(command: str) -> None:
    """Suggest the next command on stderr."""
    note(f"Next: {command}")


def table(*columns: str, rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> None:
    """Print a table on stdout; columns in `right` are right-aligned."""
    text = plain_table(columns, rows, right)
    if text is None:
        output().print(build_table(*columns, rows=rows, right=right))
    else:
        typer.echo(text)


def plain_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str]
) -> str | None:
    """Return the text that Rich prints for a table in a pipe; None if only Rich can.

    Importing Rich takes as long as the rest of a small command.
    """
    forced = {"FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"} & os.environ.keys()
    if sys.stdout.isatty() or forced or not (sys.stdout.encoding or "").lower().startswith("utf"):
        return None
    lines = [columns, *rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    plain = all(cell.isascii() and cell.isprintable() for line in lines for cell in line)
    if not plain or not rows or sum(widths) + 3 * len(widths) - 1 > _PIPE_WIDTH:
        return None
    empty = "".ljust(sum(widths) + 3 * len(widths) - 1)
    texts = [
        "   ".join(
            cell.rjust(width) if name in right else cell.ljust(width)
            for name, cell, width in zip(columns, line, widths, strict=True)
        )
        for line in lines
    ]
    rule = "─" * (len(empty) - 2)
    return "\n".join([empty, *(f" {text} " for text in (texts[0], rule, *texts[1:])), empty])


def build_table(*columns: str, rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> Table:
    """Return a table; headings and cells are plain text, never markup."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    built = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        built.add_column(Text(visible(column)), justify="right" if column in right else "left")
    for row in rows:
        built.add_row(*(Text(visible(cell), style=_STATE_STYLES.get(cell, "")) for cell in row))
    return built


def paragraph(title: str, *lines: str) -> None:
    """Print a title, and below it indented lines of plain text."""
    import textwrap

    line(title)
    for text in lines:
        indent = "    "
        line(textwrap.fill(text, output().width, initial_indent=indent, subsequent_indent=indent))


def plain(value: Any) -> str:
    """Return `value` as text without control characters."""
    text = str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def number(value: Any) -> str:
    """Return a figure with 4 significant digits, a collection as JSON, other values as text."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, ensure_ascii=False, default=str)
    return plain(value)


def findings(report: Report) -> None:
    """Print findings with evidence and advice, then the kinds that were not found or checked."""
    from rich.padding import Padding
    from rich.text import Text

    out = output()
    if not report.findings:
        out.print("No findings.")
    for item in report.findings:
        saving = f", up to {item.seconds:,.1f} s" if item.seconds >= 0.05 else ""
        sure = f" ({item.confidence} confidence)" if item.confidence not in {"", "high"} else ""
        severity = (item.severity, _SEVERITY_STYLES[item.severity])
        head = Text.assemble(severity, " ", (item.kind, "bold"), sure, saving, ": ")
        out.print(head + Text(plain(item.evidence)))
        out.print(Padding(Text(plain(item.advice)), (0, 0, 0, 4), expand=False))
    if report.clean:
        out.print(Text(f"Checked, not found: {', '.join(report.clean)}", style="dim"))
    for reason in dict.fromkeys(report.unchecked.values()):
        names = ", ".join(kind for kind, why in report.unchecked.items() if why == reason)
        out.print(Text(f"Not checked: {names}: {plain(reason)}", style="dim"))


@contextmanager
def counter(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on stderr if that is a terminal; yields a setter for the count."""
    from rich.progress import Progress

    with Progress(console=errors(), disable=not errors().is_terminal, transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda count: bar.update(task, completed=count)
