"""report.html: the whole study on one page that needs nothing beside itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np
from _drawing import svg
from _gathered import Heat
from _learning import Splits
from _scores import Row, mean
from _solvers import Fit, Task

HARDEST = 12
SHOWN, NAMED = 8, 12  # pictures of one class that were told wrong, with a copy and without
STYLE = """
body{font:14px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;
color:#1b1f24;background:#fff}
table{border-collapse:collapse;margin:.5rem 0 1.5rem}td,th{padding:.2rem .6rem;text-align:right}
th{font-weight:600;border-bottom:1px solid #999}td:first-child,th:first-child{text-align:left}
.heat td{padding:0;width:1.1rem;height:1.1rem;border:1px solid #fff}
.heat th{font-weight:400;font-size:.7rem;border:0;padding:0 .3rem}
.heat .turned{writing-mode:vertical-rl;transform:rotate(180deg)}
code{font-size:.85rem}svg{max-width:100%;height:auto}svg text{font-size:12px;fill:#555}
svg .x{text-anchor:middle}svg line{stroke:#ddd}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem}dd{margin:0}dt{color:#555}
p img{height:64px;margin:0 .3rem .3rem 0;vertical-align:middle}
polyline{fill:none;stroke:#2667b0;stroke-opacity:.18}polyline:hover{stroke:#c2410c;stroke-opacity:1;
stroke-width:3}.mean{stroke:#000;stroke-opacity:1;stroke-width:2}.base{stroke-dasharray:6 4}
"""


class Report(NamedTuple):
    """What the page shows: what it is about, rows of accuracies and multiclass, the hardest pairs.

    `copies` has a data: address for some of the pictures that the hardest pairs name.
    """

    about: list[tuple[str, str]]
    rows: list[Row]
    multiclass: list[Row]
    hardest: list[Row]
    copies: Mapping[str, str]


class Hardest:
    """The pairs whose best model is worst, and the pictures that it takes for the other class."""

    def __init__(self, splits: Splits) -> None:
        self._splits = splits
        self._held: list[tuple[float, str, Row, bytes]] = []

    def add(self, task: Task, fits: Sequence[Fit], best: Row) -> None:
        """Take a group with the row of its best model; only the hardest stay."""
        if task.group.task != "pairs":
            return
        says = fits[task.shares.index(best["share"])].scores.says
        self._held.append((best["accuracy"], str(task.group), dict(best), says))
        self._held = sorted(self._held, key=lambda item: item[:2])[:HARDEST]

    def told(self) -> list[Row]:
        """Rows of accuracies with `pictures`: (path, label) of what was told wrong in the test."""
        return [{**row, "pictures": self._wrong(row, says)} for _, _, row, says in self._held]

    def _wrong(self, row: Row, says: bytes) -> list[tuple[str, str]]:
        rows = rows_of(self._splits, row)
        said = np.unpackbits(np.frombuffer(says, dtype=np.uint8), count=len(rows)).astype(bool)
        return [
            (path, label)
            for (path, label, u), positive in zip(rows, said)
            if u >= row["share"] and positive != (label == row["positive"])
        ]


def rows_of(splits: Splits, model: Row) -> list[tuple[str, str, float]]:
    """(path, label, u) of the rows of a model's classes, in the order of its answers."""
    whole = model["task"] != "pairs"
    labels = [
        label for label in splits.u if whole or label in (model["positive"], model["negative"])
    ]
    return [
        (path, label, u)
        for label in sorted(labels)
        for path, u in sorted(splits.u[label].items(), key=lambda item: item[1])
    ]


# ---- the page ------------------------------------------------------------------------------------


def page(report: Report) -> str:
    """The page as HTML."""
    tasks = sorted({row["task"] for row in report.rows})
    parts = [section(task, [row for row in report.rows if row["task"] == task]) for task in tasks]
    parts += [classes_section(report.multiclass), heat_section(Heat.of(report.rows))]
    parts.append(hardest_section(report.hardest, report.copies))
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>SVM study</title>'
        f"<style>{STYLE}</style><h1>SVM study</h1>{about(report.about)}{''.join(parts)}</html>\n"
    )


def about(facts: Sequence[tuple[str, str]]) -> str:
    """What the study is of."""
    told = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts if text
    )
    return f"<dl>{told}</dl>"


def section(task: str, rows: list[Row]) -> str:
    """Curves and means by share of one task."""
    tested = [row for row in rows if row["accuracy"] is not None]
    heading = f"<h2>{escape(task)}: {len(rows)} models</h2>"
    if not tested:
        return heading + "<p>Nothing was tested.</p>"
    names = ("accuracy", "majority_baseline", "balanced_accuracy", "roc_auc", "f1")
    lines = []
    for share in sorted({row["share"] for row in tested}):
        mine = [row for row in tested if row["share"] == share]
        lines.append([f"{share:g}", len(mine), *(mean(mine, name) for name in names)])
    columns = ["share", "models", *(f"mean {name.replace('_', ' ')}" for name in names)]
    return heading + svg(tested) + table(columns, lines)


def table(columns: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    """A table; fractions with four digits, what is missing as a dash."""

    def cell(value: Any) -> str:
        if value is None:
            return "-"
        return f"{value:.4f}" if isinstance(value, float) else escape(str(value))

    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{cell(value)}</td>" for value in line) + "</tr>" for line in lines
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def classes_section(rows: list[Row]) -> str:
    """Which of all classes, by both methods."""
    if not rows:
        return ""
    names = ["method", "share", "n_test", "accuracy", "balanced_accuracy", "macro_f1"]
    names.append("majority_baseline")
    lines = [[row[name] for name in names] for row in rows]
    heads = [name.replace("_", " ") for name in names]
    return "<h2>Which of all classes</h2>" + table(heads, lines)


def heat_section(heat: Heat | None) -> str:
    """A square for each pair of classes, its accuracy when pointed at."""
    if heat is None:
        return ""
    lines = []
    for one, line in zip(heat.classes, heat.cells):
        cells = "".join(
            heat_cell(f"{one} VS {other}", value, heat.least)
            for other, value in zip(heat.classes, line)
        )
        lines.append(f"<tr><th>{escape(one)}</th>{cells}</tr>")
    feet = "".join(f'<th class="turned">{escape(name)}</th>' for name in heat.classes)
    told = f"share={heat.share:g}; dark is {heat.least:.4f}, light is 1"
    return (
        f"<h2>Accuracy of each pair</h2><p>{told}</p>"
        f'<table class="heat">{"".join(lines)}<tr><td></td>{feet}</tr></table>'
    )


def heat_cell(title: str, value: float | None, least: float) -> str:
    """One square of the heat map."""
    if value is None:
        return "<td></td>"
    light = 25 + 70 * (value - least) / max(1 - least, 1e-9)
    colour = f"background:hsl(212 60% {light:.0f}%)"
    return f'<td title="{escape(title)}: {value:.4f}" style="{colour}"></td>'


def shown(row: Row) -> list[str]:
    """Of a hardest pair, the pictures of either class that the page shows."""
    return [path for _, paths in by_class(row) for path in paths[:SHOWN]]


def by_class(row: Row) -> list[tuple[str, list[str]]]:
    """Of a hardest pair, each class with its pictures that were told wrong."""
    return [
        (label, [path for path, its in row["pictures"] if its == label])
        for label in (row["positive"], row["negative"])
    ]


def hardest_section(rows: list[Row], copies: Mapping[str, str]) -> str:
    """The hardest pairs, and what was taken for the other class."""
    if not rows:
        return ""
    parts = []
    for row in rows:
        title = f"{escape(row['positive'])} VS {escape(row['negative'])}"
        told = f"{row['accuracy']:.4f} at share {row['share']:g}, majority "
        told += f"{row['majority_baseline']:.4f}"
        parts.append(f"<h3>{title}: {told}</h3>")
        parts += [mistaken(label, paths, copies) for label, paths in by_class(row)]
    return f"<h2>The hardest pairs, each at its best share</h2>{''.join(parts)}"


def mistaken(label: str, paths: Sequence[str], copies: Mapping[str, str]) -> str:
    """The pictures of a class that were taken for the other's; those without a copy by name."""
    seen = [path for path in paths[:SHOWN] if path in copies]
    pictures = "".join(
        f'<img src="{escape(copies[path])}" alt="{escape(path)}" title="{escape(path)}">'
        for path in seen
    )
    named = [] if seen else paths[:NAMED]
    names = ", ".join(f"<code>{escape(name)}</code>" for name in named)
    more = len(paths) - len(seen or named)
    told = f"{len(paths)} of {escape(label)} told wrong" + (": " if paths else "")
    return f"<p>{told}{names}{pictures}{f' and {more} more' if more else ''}</p>"
