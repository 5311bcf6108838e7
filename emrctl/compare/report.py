"""A comparison as one page that needs no network: verdicts, charts, the table, timelines."""

from __future__ import annotations

import json
from collections.abc import Iterable
from html import escape
from typing import Any

from emrctl.compare import charts, export
from emrctl.compare.comparison import Comparison, Configuration
from emrctl.compare.page import SCRIPT, STYLE
from emrctl.compare.records import RunRecord
from emrctl.metrics.findings import rules


def html(comparison: Comparison, title: str) -> str:
    """The page; every text of a run in it is text, whatever marks it holds."""
    shown: list[tuple[str, charts.Chart]] = []
    body = "".join(
        (
            _head(comparison, title),
            _verdicts(comparison),
            _figure(shown, "Duration of the step", charts.duration(comparison)),
            _table(comparison),
            _findings(comparison),
            *(_timelines(shown, item) for item in comparison.configurations),
        )
    )
    data = _script_json([{"id": name, **chart} for name, chart in shown])
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>{body}</main>"
        f"<script>{_plotly()}</script>"
        f'<script type="application/json" id="charts">{data}</script>'
        f"<script>{SCRIPT}</script></body></html>\n"
    )


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    source: str = get_plotlyjs()
    return source


def _script_json(document: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(document).replace("<", "\\u003c")


def _head(comparison: Comparison, title: str) -> str:
    count = sum(len(item.records) for item in comparison.configurations)
    runs = f"{count} run{'s' if count != 1 else ''}"
    shape = f"{runs} in {len(comparison.configurations)} configurations, compared with "
    reference = escape(comparison.configurations[comparison.reference].label)
    notes = "".join(f"<li>{escape(note)}</li>" for note in comparison.notes)
    listed = f'<ul class="notes">{notes}</ul>' if notes else ""
    return f"<h1>{escape(title)}</h1><p>{shape}<b>{reference}</b></p>{listed}"


def _verdicts(comparison: Comparison) -> str:
    items = "".join(
        f"<li><b>{escape(item.label)}</b>{_local_mark(item)} {escape(verdict)}</li>"
        for item, verdict in zip(comparison.configurations, comparison.verdicts, strict=True)
    )
    return f"<h2>Verdict</h2><ul>{items}</ul>"


def _local_mark(item: Configuration) -> str:
    return ' <span class="mark">timings are localhost\'s</span>' if item.local else ""


def _figure(shown: list[tuple[str, charts.Chart]], name: str, chart: charts.Chart | None) -> str:
    """A heading and the place of a chart, which is put on the list of those to draw."""
    if chart is None:
        return ""
    shown.append((f"chart-{len(shown)}", chart))
    height = chart["layout"]["height"]
    place = f'<div id="{shown[-1][0]}" class="chart" style="height:{height}px"></div>'
    return f"<h2>{escape(name)}</h2>{place}"


def _table(comparison: Comparison) -> str:
    head, *body = export.table(comparison)
    rows = "".join(f"<tr>{_cells(row)}</tr>" for row in body)
    labels = "".join(f'<th scope="col">{escape(label)}</th>' for label in head)
    table = f"<table><thead><tr>{labels}</tr></thead><tbody>{rows}</tbody></table>"
    return f'<h2>What differs, and what came of it</h2><div class="wide">{table}</div>'


def _cells(row: Iterable[str]) -> str:
    first, *rest = row
    cells = "".join(f"<td>{escape(text)}</td>" for text in rest)
    return f'<th scope="row">{escape(first)}</th>{cells}'


def _findings(comparison: Comparison) -> str:
    """What each run's figures mean, one short list for each; nothing where none has any."""
    records = [record for item in comparison.configurations for record in item.records]
    lists = "".join(map(_run_findings, records))
    return f"<h2>Findings</h2>{lists}" if lists else ""


def _run_findings(record: RunRecord) -> str:
    found = rules.of(record.metrics) if record.metrics is not None else ()
    items = "".join(
        f"<li><b>{escape(item.kind)}</b> ({escape(item.severity)}"
        f"{f', up to {item.seconds:,.1f} s' if item.seconds >= 0.05 else ''}): "
        f"{escape(item.evidence)}<br>{escape(item.advice)}</li>"
        for item in found
    )
    name = escape(record.label or record.id)
    return f"<details open><summary>{name}</summary><ul>{items}</ul></details>" if items else ""


def _timelines(shown: list[tuple[str, charts.Chart]], item: Configuration) -> str:
    """Executors and stages of the configuration's first run; nothing where it has no event log."""
    record = charts.shown_run(item)
    if record is None or record.metrics is None:
        return ""
    run = record.metrics
    name = f"{item.label}, run {record.id}" if record.id != item.label else item.label
    app = f'<p class="app">{escape(run.app_name or "unnamed")} · {escape(run.app_id or "")}</p>'
    executors = _figure(shown, f"Executors: {name}", charts.executors(run))
    stages = _figure(shown, f"Stages: {name}", charts.stages(run))
    return f"<section>{app}{executors}{stages}</section>" if executors or stages else ""
