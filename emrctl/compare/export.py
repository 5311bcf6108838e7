"""Comparisons as JSON, CSV, Markdown and text cells."""

from __future__ import annotations

import csv
import dataclasses
import io
from typing import Any

from emrctl.compare import labels
from emrctl.compare.comparison import Comparison
from emrctl.compare.figures import Measure, Ratio
from emrctl.compare.records import Configuration
from emrctl.compare.verdicts import TIMES
from emrctl.metrics.findings.base import size

MAX_COLUMNS = 6
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_RATIO_FIELDS = [field.name for field in dataclasses.fields(Ratio)]
_CSV_HEADER = [
    *("configuration", "kind", "name", "unit", "value", "stddev", "minimum", "maximum", "runs"),
    "ratio",
    *_RATIO_FIELDS[1:],
]


def to_json(comparison: Comparison) -> dict[str, Any]:
    """Return plain values, numbers unrounded; None if a run lacks a figure."""
    return {
        "reference": comparison.configurations[comparison.reference].label,
        "configurations": [
            _configuration(comparison, n) for n in range(len(comparison.configurations))
        ],
        "settings": [dataclasses.asdict(row) for row in comparison.settings],
        "figures": [dataclasses.asdict(row) for row in comparison.figures],
        "prior": comparison.prior and dataclasses.asdict(comparison.prior),
        "notes": list(comparison.notes),
    }


def _configuration(comparison: Comparison, n: int) -> dict[str, Any]:
    item, check = comparison.configurations[n], comparison.results[n]
    return {
        "label": item.label,
        "runs": [record.id for record in item.records],
        "state": item.state,
        "local": item.local,
        "settings": item.records[0].traits(),
        "verdict": comparison.verdicts[n],
        "outcome": comparison.outcomes[n],
        "different_results": list(check.differences),
        "accuracies": [dataclasses.asdict(row) for row in check.accuracies],
        "results_compared": check.compared,
    }


def to_csv(comparison: Comparison) -> str:
    """Return a header and one line per figure and configuration.

    Texts that a spreadsheet would execute as formulas start with an apostrophe.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_CSV_HEADER)
    labels = [item.label for item in comparison.configurations]
    for setting in comparison.settings:
        for label, value in zip(labels, setting.values, strict=True):
            empty = _csv_cells(None, None)[1:]
            writer.writerow(map(_inert, [label, "setting", setting.name, "", value, *empty]))
    for row in comparison.figures:
        for label, measure, ratio in zip(labels, row.measures, row.ratios, strict=True):
            cells = _csv_cells(measure, ratio)
            writer.writerow(map(_inert, [label, "figure", row.key, row.unit, *cells]))
    return out.getvalue()


def _inert(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA_STARTS) else cell


def _csv_cells(measure: Measure | None, ratio: Ratio | None) -> list[Any]:
    amounts: list[Any] = [None] * 5
    if measure is not None:
        amounts = [measure.mean, measure.stddev, measure.minimum, measure.maximum, measure.count]
    return [*amounts, *(ratio and getattr(ratio, name) for name in _RATIO_FIELDS)]


_RATIO_LABELS = {
    "duration_s": "ratio to the reference",
    "published_s": "published ratio to the reference",
}


def table(comparison: Comparison) -> list[list[str]]:
    """Return rows of text with a header.

    Up to `MAX_COLUMNS` configurations are columns, and settings and figures the rows. More are
    rows, with their duration.
    """
    if len(comparison.configurations) > MAX_COLUMNS:
        return _long_table(comparison)
    rows = [["", *(item.label for item in comparison.configurations)]]
    rows.append(["runs", *(_runs(item) for item in comparison.configurations)])
    rows += [
        [
            labels.setting(setting.name),
            *(value if value is not None else "(default)" for value in setting.values),
        ]
        for setting in comparison.settings
    ]
    for row in comparison.figures:
        rows.append([row.label, *(cell(measure, row.unit) for measure in row.measures)])
        if row.key in _RATIO_LABELS:
            rows.append([_RATIO_LABELS[row.key], *map(_ratio, row.ratios)])
    return rows


def _long_table(comparison: Comparison) -> list[list[str]]:
    rows = [["", "runs", "duration", "ratio to the reference", "p (Holm)", "verdict"]]
    row = comparison.row("duration_s")
    for n, item in enumerate(comparison.configurations):
        measure, ratio = (row.measures[n], row.ratios[n]) if row else (None, None)
        p_value = None if ratio is None else ratio.p_corrected
        outcome: str = comparison.outcomes[n] or "-"
        if n == comparison.reference:
            outcome = "reference"
        if comparison.results[n].differences:
            outcome += ", different results"
        rows.append(
            [
                item.label,
                _runs(item),
                cell(measure, "s"),
                _ratio(ratio),
                "-" if p_value is None else f"{p_value:.2g}",
                outcome,
            ]
        )
    return rows


def _runs(item: Configuration) -> str:
    count = len(item.records)
    if item.records[0].is_row:
        return str(count)
    mark = ", localhost" if item.local else ""
    return f"{count} {TIMES} {item.state}{mark}" if count > 1 else f"{item.state}{mark}"


def _ratio(ratio: Ratio | None) -> str:
    if ratio is None:
        return "-"
    interval = "" if ratio.low is None else f" ({ratio.low:.2f} … {ratio.high:.2f})"
    return f"{ratio.value:.2f}{interval}"


def cell(measure: Measure | None, unit: str) -> str:
    """Return mean ± deviation and range; a single run has the value only."""
    if measure is None:
        return "-"
    value = amount(measure.mean, unit)
    if measure.stddev is None:
        return value
    stddev = amount(measure.stddev, unit)
    low, high = amount(measure.minimum, unit), amount(measure.maximum, unit)
    return f"{value} ± {stddev} ({low} … {high})" if measure.stddev else value


def amount(value: float, unit: str) -> str:
    """Format a value: decimal byte units, tenths of seconds, cents."""
    if unit == "B":
        return size(value)
    if unit == "USD":
        return f"${value:.4f}" if abs(value) < 1 else f"${value:,.2f}"
    text = f"{value:,.1f}" if unit in {"s", "%"} else _plain(value)
    return f"{text} {TIMES if unit == 'x' else unit}".rstrip()


def _plain(value: float) -> str:
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.2f}" if abs(value) >= 1 else f"{value:.4g}"


def verdict_lines(comparison: Comparison) -> list[str]:
    """Return a line per verdict; of many configurations only those with different results."""
    few = len(comparison.configurations) <= MAX_COLUMNS
    return [
        f"{item.label}: {verdict}"
        for item, verdict, check in zip(
            comparison.configurations, comparison.verdicts, comparison.results, strict=True
        )
        if few or check.differences
    ]


def to_markdown(comparison: Comparison) -> str:
    """Return a Markdown table, followed by verdicts and notes."""
    head, *body = table(comparison)
    lines = [_line(head), "|" + " --- |" * len(head), *map(_line, body), ""]
    for item, verdict in zip(comparison.configurations, comparison.verdicts, strict=True):
        lines.append(f"- **{_escaped(item.label)}**: {_escaped(verdict)}")
    if comparison.notes:
        lines += ["", *(f"> {_escaped(note)}  " for note in comparison.notes)]
    return "\n".join(lines) + "\n"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(map(_escaped, cells)) + " |"


def _escaped(text: str) -> str:
    for mark in ("\\", "|", "<", "*", "_", "`"):
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())
