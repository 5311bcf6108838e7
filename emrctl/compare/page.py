"""Comparisons as self-contained HTML pages: verdicts, charts, table, findings and timelines."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path

from emrctl.compare import charts, export
from emrctl.compare.comparison import Comparison, Configuration
from emrctl.compare.records import RunRecord
from emrctl.errors import UsageError
from emrctl.metrics.findings import rules
from emrctl.paths import write_atomically

_STYLE = """
:root { color-scheme: light dark; --text: #1b1f24; --back: #fff; --soft: #f3f5f7; --line: #d5dae0;
  --dim: #57606a; --mark: #fff3d6; --mark-text: #6b4700; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6e9ed; --back: #14171b; --soft: #1e2329; --line: #363d46; --dim: #9aa4af;
    --mark: #4a3700; --mark-text: #ffdf9e; }
}
body { margin: 0; background: var(--back); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 1100px; margin: 0 auto; padding: 24px 20px 60px; }
h1 { font-size: 26px; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 32px 0 8px; overflow-wrap: anywhere; }
ul { padding-left: 20px; margin: 8px 0; }
.notes { list-style: none; padding: 8px 12px; background: var(--mark); color: var(--mark-text);
  border-radius: 6px; }
.mark { font-size: 12px; padding: 1px 8px; border-radius: 9px; background: var(--mark);
  color: var(--mark-text); white-space: nowrap; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 12px 5px 0; border-bottom: 1px solid var(--line); text-align: right;
  vertical-align: top; overflow-wrap: anywhere; }
th[scope=row] { text-align: left; font-weight: 400; color: var(--dim); max-width: 280px; }
tbody tr:hover { background: var(--soft); }
section { margin-top: 40px; border-top: 1px solid var(--line); }
.app { color: var(--dim); margin: 12px 0 0; overflow-wrap: anywhere; }
.chart { width: 100%; }
@media print { main { max-width: none; } tbody tr:hover { background: none; } }
"""

# Redraw in the page's colours when the system changes between light and dark.
_SCRIPT = """
const charts = JSON.parse(document.getElementById("charts").textContent);
function draw() {
  const style = getComputedStyle(document.documentElement);
  const take = (name) => style.getPropertyValue(name).trim();
  const line = take("--line");
  const axis = { gridcolor: line, linecolor: line, zerolinecolor: line };
  for (const chart of charts) {
    const layout = { ...chart.layout, font: { color: take("--text"), size: 12 },
      hoverlabel: { align: "left" },
      xaxis: { ...chart.layout.xaxis, ...axis }, yaxis: { ...chart.layout.yaxis, ...axis } };
    Plotly.react(chart.id, chart.data, layout, { responsive: true, displayModeBar: false });
  }
}
draw();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
"""


def write(comparison: Comparison, path: Path, title: str | None) -> None:
    """Write the page to `path`; a failure leaves no partial file."""
    try:
        write_atomically(path, html(comparison, title or "Comparison of runs"))
    except OSError as error:
        raise UsageError(
            f"--html {path}: {error.strerror}", hint="Choose a path that is writable."
        ) from error


def html(comparison: Comparison, title: str) -> str:
    """Return the page; texts of runs are escaped."""
    from plotly.offline import get_plotlyjs

    shown: list[tuple[str, charts.Chart]] = []
    body = "".join(
        (
            _head(comparison, title),
            _verdicts(comparison),
            _figure(shown, "Duration of the step", charts.duration_chart(comparison)),
            _table(comparison),
            _findings(comparison),
            *(_timelines(shown, item) for item in comparison.configurations),
        )
    )
    # Texts in the JSON must not close its script element.
    data = json.dumps([{"id": name, **chart} for name, chart in shown]).replace("<", "\\u003c")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>{body}</main>"
        f"<script>{get_plotlyjs()}</script>"
        f'<script type="application/json" id="charts">{data}</script>'
        f"<script>{_SCRIPT}</script></body></html>\n"
    )


def _head(comparison: Comparison, title: str) -> str:
    count = sum(len(item.records) for item in comparison.configurations)
    runs = f"{count} run{'s' if count != 1 else ''}"
    shape = f"{runs} in {len(comparison.configurations)} configurations, compared with "
    reference = escape(comparison.configurations[comparison.reference].label)
    notes = "".join(f"<li>{escape(note)}</li>" for note in comparison.notes)
    listed = f'<ul class="notes">{notes}</ul>' if notes else ""
    return f"<h1>{escape(title)}</h1><p>{shape}<b>{reference}</b></p>{listed}"


def _verdicts(comparison: Comparison) -> str:
    mark = ' <span class="mark">localhost timings</span>'
    items = "".join(
        f"<li><b>{escape(item.label)}</b>{mark if item.local else ''} {escape(verdict)}</li>"
        for item, verdict in zip(comparison.configurations, comparison.verdicts, strict=True)
    )
    return f"<h2>Verdict</h2><ul>{items}</ul>"


def _figure(shown: list[tuple[str, charts.Chart]], name: str, chart: charts.Chart | None) -> str:
    """Return the heading and container of a chart, and add the chart to `shown`."""
    if chart is None:
        return ""
    shown.append((f"chart-{len(shown)}", chart))
    height = chart["layout"]["height"]
    container = f'<div id="{shown[-1][0]}" class="chart" style="height:{height}px"></div>'
    return f"<h2>{escape(name)}</h2>{container}"


def _table(comparison: Comparison) -> str:
    head, *body = export.table(comparison)
    rows = ""
    for name, *values in body:
        cells = "".join(f"<td>{escape(text)}</td>" for text in values)
        rows += f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>'
    labels = "".join(f'<th scope="col">{escape(label)}</th>' for label in head)
    table = f"<table><thead><tr>{labels}</tr></thead><tbody>{rows}</tbody></table>"
    return f'<h2>Settings and figures</h2><div class="wide">{table}</div>'


def _findings(comparison: Comparison) -> str:
    """Return a list of findings per run; empty if there are none."""
    records = [record for item in comparison.configurations for record in item.records]
    lists = "".join(map(_run_findings, records))
    return f"<h2>Findings</h2>{lists}" if lists else ""


def _run_findings(record: RunRecord) -> str:
    findings = rules.diagnose(record.metrics) if record.metrics is not None else ()
    items = "".join(
        f"<li><b>{escape(item.kind)}</b> ({escape(item.severity)}"
        f"{f', up to {item.seconds:,.1f} s' if item.seconds >= 0.05 else ''}): "
        f"{escape(item.evidence)}<br>{escape(item.advice)}</li>"
        for item in findings
    )
    name = escape(record.label or record.id)
    return f"<details open><summary>{name}</summary><ul>{items}</ul></details>" if items else ""


def _timelines(shown: list[tuple[str, charts.Chart]], item: Configuration) -> str:
    """Return timelines of the configuration's first run with an event log."""
    record = charts.timeline_run(item)
    if record is None or record.metrics is None:
        return ""
    run = record.metrics
    name = f"{item.label}, run {record.id}" if record.id != item.label else item.label
    app = f'<p class="app">{escape(run.app_name or "unnamed")} · {escape(run.app_id or "")}</p>'
    executors = _figure(shown, f"Executors: {name}", charts.executor_chart(run))
    stages = _figure(shown, f"Stages: {name}", charts.stage_chart(run))
    return f"<section>{app}{executors}{stages}</section>" if executors or stages else ""
