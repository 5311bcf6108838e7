"""Comparisons as self-contained HTML pages: verdicts, charts, table, findings and timelines.

Charts are Plotly figures in plain JSON values. The page sets their colours of text and background,
so that they follow its theme.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from emrctl.aws.spark_conf import SparkConf
from emrctl.compare import export
from emrctl.compare.comparison import Comparison
from emrctl.compare.records import Configuration, RunRecord
from emrctl.errors import UsageError
from emrctl.metrics import findings
from emrctl.metrics.model import ExecutorMetrics, RunMetrics, StageMetrics
from emrctl.metrics.timeline import last_known_ms, lifetime_s
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

    shown: list[tuple[str, Chart]] = []
    body = "".join(
        (
            _head(comparison, title),
            _verdicts(comparison),
            _figure(shown, "Duration of the step", duration_chart(comparison)),
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


def _figure(shown: list[tuple[str, Chart]], name: str, chart: Chart | None) -> str:
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
    diagnoses = findings.diagnose(record.metrics) if record.metrics is not None else ()
    items = "".join(
        f"<li><b>{escape(item.kind)}</b> ({escape(item.severity)}"
        f"{f', up to {item.seconds:,.1f} s' if item.seconds >= 0.05 else ''}): "
        f"{escape(item.evidence)}<br>{escape(item.advice)}</li>"
        for item in diagnoses
    )
    name = escape(record.label or record.id)
    return f"<details open><summary>{name}</summary><ul>{items}</ul></details>" if items else ""


def _timelines(shown: list[tuple[str, Chart]], item: Configuration) -> str:
    """Return timelines of the configuration's first run with an event log."""
    record = timeline_run(item)
    if record is None or record.metrics is None:
        return ""
    run = record.metrics
    name = f"{item.label}, run {record.id}" if record.id != item.label else item.label
    app = f'<p class="app">{escape(run.app_name or "unnamed")} · {escape(run.app_id or "")}</p>'
    executors = _figure(shown, f"Executors: {name}", executor_chart(run))
    stages = _figure(shown, f"Stages: {name}", stage_chart(run))
    return f"<section>{app}{executors}{stages}</section>" if executors or stages else ""


Chart = dict[str, Any]
# Okabe and Ito's palette, distinguishable with colour blindness, on light and dark pages.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#999999")
FAILED_COLOUR = "#D55E00"
MAX_BARS = 60


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A bar of a timeline; `hover` is HTML, the other texts are plain."""

    name: str
    start_s: float
    length_s: float
    colour: str
    text: str
    hover: str


def duration_chart(comparison: Comparison) -> Chart | None:
    """Return a bar per configuration with the range of its repeats, and a dot per run."""
    row = comparison.row("duration_s")
    if row is None:
        return None
    lines = list(range(len(row.measures)))
    bars = {
        "type": "bar",
        "orientation": "h",
        "y": lines,
        "x": [item and item.mean for item in row.measures],
        "marker": {"color": [COLOURS[n % len(COLOURS)] for n in lines]},
        "text": [f"{item.mean:.1f} s" if item else "" for item in row.measures],
        "textposition": "inside",
        "insidetextanchor": "start",
        "error_x": _ranges(row.measures),
        "hovertemplate": "%{x:.2f} s<extra></extra>",
    }
    chart = _chart([bars, _dots(comparison)], "seconds", height=90 + 52 * len(lines))
    return _named(chart, [item.label for item in comparison.configurations])


def _ranges(measures: Iterable[Any]) -> Chart:
    """Return error bars from the minimum to the maximum of the repeats."""
    up = [item.maximum - item.mean if item else 0 for item in measures]
    down = [item.mean - item.minimum if item else 0 for item in measures]
    return {"type": "data", "symmetric": False, "array": up, "arrayminus": down, "thickness": 2}


def _dots(comparison: Comparison) -> Chart:
    repeats = [item.completed_records for item in comparison.configurations]
    runs = [(n, run) for n, runs in enumerate(repeats) for run in runs if len(runs) > 1]
    return {
        "type": "scatter",
        "mode": "markers",
        "y": [line for line, _ in runs],
        "x": [run.duration_s for _, run in runs],
        "text": [_escape(run.id) for _, run in runs],
        "marker": {"color": "#fff", "size": 8, "line": {"color": "#444", "width": 2}},
        "hovertemplate": "%{text}: %{x:.2f} s<extra></extra>",
    }


def timeline_run(item: Configuration) -> RunRecord | None:
    """Return the run shown in timelines: the first with an event log, completed runs first."""
    candidates = (*item.completed_records, *item.records)
    return next((record for record in candidates if record.metrics is not None), None)


def executor_chart(run: RunMetrics) -> Chart | None:
    """Return a bar per executor from added to removed, with its load."""
    start, end = run.start_ms, last_known_ms(run)
    rows = [row for row in run.busy_rows if row.added_ms is not None][:MAX_BARS]
    if start is None or end is None or not rows:
        return None
    return _bars([_executor_bar(row, run, start) for row in rows], (end - start) / 1000)


def _executor_bar(row: ExecutorMetrics, run: RunMetrics, start_ms: int) -> Bar:
    length_s = lifetime_s(row, run)
    available_s = SparkConf(run.environment).slots(row.cores) * length_s
    busy = 100 * row.task_time_ms / 1000 / available_s if available_s else 0.0
    name = f"{row.id} on {row.host}" if row.host else row.id
    note = f"{_count(row.complete_tasks, 'task')}, {_count(row.cores, 'core')}, {busy:.0f} % busy"
    ended = f"<br>removed: {_escape(row.remove_reason or '')}" if row.removed_ms else ""
    return Bar(
        name=name,
        start_s=((row.added_ms or 0) - start_ms) / 1000,
        length_s=length_s,
        # More opaque for busier executors.
        colour=f"rgba(0,114,178,{0.3 + 0.7 * min(100.0, max(0.0, busy)) / 100:.2f})",
        text=note,
        hover=f"{_escape(name)}<br>{note}{ended}",
    )


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def stage_chart(run: RunMetrics) -> Chart | None:
    """Return a bar per stage attempt from submission to completion; failed ones are red."""
    start, end = run.start_ms, last_known_ms(run)
    ran = [stage for stage in run.stages if stage.submitted_ms is not None]
    if start is None or end is None or not ran:
        return None
    longest = sorted(ran, key=lambda stage: _stage_s(stage, end), reverse=True)[:MAX_BARS]
    longest.sort(key=lambda stage: (stage.submitted_ms or 0, stage.id))
    return _bars([_stage_bar(stage, start, end) for stage in longest], (end - start) / 1000)


def _stage_bar(stage: StageMetrics, start_ms: int, end_ms: int) -> Bar:
    length_s = _stage_s(stage, end_ms)
    attempt = f".{stage.attempt}" if stage.attempt else ""
    return Bar(
        name=f"{stage.id}{attempt} {stage.name}",
        start_s=((stage.submitted_ms or start_ms) - start_ms) / 1000,
        length_s=length_s,
        colour=FAILED_COLOUR if stage.status == "FAILED" else COLOURS[2],
        text=f"{length_s:.1f} s, {_count(stage.tasks, 'task')}",
        hover=_stage_note(stage, length_s),
    )


def _stage_s(stage: StageMetrics, end_ms: int) -> float:
    return max(0, (stage.completed_ms or end_ms) - (stage.submitted_ms or end_ms)) / 1000


def _stage_note(stage: StageMetrics, length_s: float) -> str:
    spread = stage.duration_ms_quantiles
    tasks = f"{stage.tasks_ok} of {stage.tasks} tasks, {stage.tasks_failed} failed"
    times = f"<br>task median {spread.median} ms, maximum {spread.max} ms" if spread else ""
    return f"{_escape(stage.name)}<br>{stage.status}, {length_s:.2f} s<br>{tasks}{times}"


def _bars(bars: list[Bar], until_s: float) -> Chart:
    """Return one bar per line on a time axis from the start of the application to `until_s`."""
    trace = {
        "type": "bar",
        "orientation": "h",
        "y": list(range(len(bars))),
        "base": [bar.start_s for bar in bars],
        "x": [bar.length_s for bar in bars],
        "marker": {"color": [bar.colour for bar in bars]},
        "text": [bar.text for bar in bars],
        "textposition": "auto",
        "insidetextanchor": "start",
        "hovertext": [bar.hover for bar in bars],
        "hoverinfo": "text",
        "constraintext": "none",
    }
    chart = _chart([trace], "seconds since the application started", height=80 + 24 * len(bars))
    # Leave room at the right for texts of short bars near the end.
    chart["layout"]["xaxis"]["range"] = [0, max(until_s, 0.001) * 1.12]
    return _named(chart, [bar.name for bar in bars])


def _named(chart: Chart, names: list[str]) -> Chart:
    """Set the names of the lines by position, so that equal names are not merged."""
    ticks = {"tickmode": "array", "tickvals": list(range(len(names)))}
    chart["layout"]["yaxis"] |= {**ticks, "ticktext": [_short(name) for name in names]}
    return chart


def _short(name: str) -> str:
    return _escape(name if len(name) <= 44 else name[:43] + "…")


def _chart(traces: list[Chart], x_title: str, *, height: int) -> Chart:
    layout = {
        "height": height,
        "margin": {"l": 10, "r": 24, "t": 10, "b": 40},
        "showlegend": False,
        "bargap": 0.25,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "xaxis": {"title": {"text": x_title}, "rangemode": "tozero", "automargin": True},
        "yaxis": {"autorange": "reversed", "automargin": True},
    }
    return {"data": traces, "layout": layout}


def _escape(text: str) -> str:
    """Escape `text` for Plotly, which interprets some tags but shows escaped quotes as they are."""
    return escape(text, quote=False)
