"""Comparisons as self-contained HTML pages that need no network.

The charts are SVG in the page's colours, so that they are sharp in any size, follow its theme,
print well, and are visible where scripts are not allowed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from emrctl.compare import diagnoses, drawing, export, gallery, labels, provenance
from emrctl.compare.comparison import Comparison
from emrctl.compare.diagnoses import Diagnosis
from emrctl.compare.drawing import Chart
from emrctl.compare.figures import FigureRow
from emrctl.compare.verdicts import change, percent
from emrctl.errors import UsageError
from emrctl.metrics.findings import KINDS, Finding
from emrctl.paths import write_atomically

# The figures that most readers want; the others are folded.
_MAIN_FIGURES = ("duration_s", "cost_usd", "executors", "cores", "busy_percent", "task_time_s")
_SECURITY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
_SECTIONS = {
    "durations": "Durations",
    "executors": "Executors over time",
    "nodes": "Nodes over time",
    "stages": "Stages",
    "tasks": "Tasks",
    "speed": "Scaling",
    "cost": "Cost",
}
_HELP = {
    "durations": "A dot is a run, the thick mark their mean, the line reaches from the fastest to "
    "the slowest.",
    "ratios": "The diamond is the measured difference, the bar the interval that contains the "
    "true one with 95 % confidence. A bar across 0 means that it may be noise.",
    "executors": "The frame is an executor's lifetime, the filled part the share of its task slots "
    "in use: empty means idle.",
    "nodes": "CPU of YARN's containers as a share of the node's cores. Memory of YARN: the line is "
    "what the containers were allocated, the filled part what their processes use.",
    "stages": "Each bar is a stage's part of the difference. Below its name: what changed, and its "
    "effect in seconds.",
    "tasks": "The box has the middle half of a stage's tasks, the mark in it is the median, the "
    "line reaches to the shortest and longest task.",
    "speed": "Dashed: twice the scale, half the time. The line is Amdahl's law fitted to the runs "
    "with its interval.",
    "cost": "Lower left is better.",
}


def write(
    comparison: Comparison, path: Path, title: str | None, charts: Sequence[Chart] | None = None
) -> None:
    """Write the page to `path`, by default with all charts; a failure leaves no partial file."""
    shown = gallery.build(comparison) if charts is None else charts
    try:
        write_atomically(path, html(comparison, shown, title or "Comparison of runs"))
    except OSError as error:
        raise UsageError(
            f"--html {path}: {error.strerror}", hint="Choose a path that is writable."
        ) from error


def html(comparison: Comparison, charts: Sequence[Chart], title: str) -> str:
    """Return the page; all texts of runs are escaped."""
    found = comparison.diagnoses
    sections = (
        ("verdict", "Verdict", _verdict(comparison)),
        ("differences", "What differs", _differences(comparison)),
        *_chart_sections(charts),
        ("findings", "Findings", _findings(comparison, found)),
        ("provenance", "Provenance", _provenance(comparison)),
    )
    shown = [section for section in sections if section[2]]
    links = "".join(f'<li><a href="#{key}">{name}</a></li>' for key, name, _ in shown)
    body = "".join(
        f'<section id="{key}" aria-labelledby="{key}-title"><h2 id="{key}-title">{name}</h2>'
        f"{content}</section>"
        for key, name, content in shown
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_SECURITY}">'
        f"<title>{escape(title)}</title><style>{_style()}</style></head><body>"
        '<a class="skip" href="#verdict">Skip to the verdict</a>'
        f'<header><h1>{escape(title)}</h1><p class="meta">{_shape(comparison)}</p>'
        f'<nav aria-label="Contents"><ul>{links}</ul></nav></header><main>{body}</main>'
        f"<footer>Written by emrctl {escape(provenance.emrctl_version())}. This file contains "
        "all of its data and loads nothing.</footer>"
        f'<div id="tip" role="status"></div><script>{_asset("page.js")}</script></body></html>\n'
    )


def _asset(name: str) -> str:
    return Path(__file__).with_name(name).read_text()


def _style() -> str:
    style = _asset("page.css")
    for mark, colours in (("LIGHT", drawing.LIGHT), ("DARK", drawing.DARK)):
        style = style.replace(mark, "; ".join(f"{key}: {value}" for key, value in colours.items()))
    return style


def _shape(comparison: Comparison) -> str:
    count = sum(len(item.records) for item in comparison.configurations)
    kinds = len(comparison.configurations)
    reference = escape(comparison.configurations[comparison.reference].label)
    return (
        f"{count} run{'s' if count != 1 else ''} in {kinds} configuration"
        f"{'s' if kinds != 1 else ''}, compared with <b>{reference}</b>"
    )


# --- verdict --------------------------------------------------------------------------------------


def _verdict(comparison: Comparison) -> str:
    headline, outcome = summary(comparison)
    items = "".join(
        f'<li class="{_class(outcome)}"><b>{escape(item.label)}</b>{_local(item.local)} '
        f"{escape(verdict)}</li>"
        for item, verdict, outcome in zip(
            comparison.configurations, comparison.verdicts, comparison.outcomes, strict=True
        )
    )
    notes = "".join(f"<li>{escape(note)}</li>" for note in comparison.notes)
    listed = f'<ul class="notes" aria-label="Notes">{notes}</ul>' if notes else ""
    head = f'<p class="headline {_class(outcome)}">{escape(headline)}</p>'
    return f'{head}<ul class="verdicts">{items}</ul>{listed}'


def _class(outcome: str | None) -> str:
    return outcome if outcome in {"faster", "slower"} else "same"


def _local(local: bool) -> str:
    return ' <span class="tag">localhost timings</span>' if local else ""


def summary(comparison: Comparison) -> tuple[str, str | None]:
    """Return the verdict on all configurations in one sentence, and its outcome."""
    row = comparison.row("duration_s")
    names = [item.label for item in comparison.configurations]
    reference = names[comparison.reference]
    others = [n for n in range(len(names)) if n != comparison.reference]
    if not others:
        return f"{reference}: {comparison.verdicts[0]}", None
    ratios = {n: row.ratios[n] for n in others} if row else {}
    values = {n: ratio for n, ratio in ratios.items() if ratio is not None}
    certain = [n for n in values if comparison.outcomes[n] == "faster"]
    if len(others) == 1:
        certain = [n for n in values if comparison.outcomes[n] in {"faster", "slower"}]
        if not certain:
            return f"{names[others[0]]}: {comparison.verdicts[others[0]]}", None
    if certain:
        best = min(certain, key=lambda n: values[n].value)
        ratio, outcome = values[best], comparison.outcomes[best]
        head = "Largest gain: " if len(others) > 1 else ""
        interval = f"95 % interval {percent(ratio.low or 0)} to {percent(ratio.high or 0)} %"
        return f"{head}{names[best]} {change(ratio.value, reference)} ({interval}).", outcome
    slower = sum(comparison.outcomes[n] == "slower" for n in others)
    count = f"{slower} of {len(others)} {'is' if slower == 1 else 'are'} certainly slower"
    sentence = f"No configuration is certainly faster than {reference}; {count}."
    return sentence, "slower" if slower == len(others) else None


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


# --- tables ---------------------------------------------------------------------------------------


def _differences(comparison: Comparison) -> str:
    names = [item.label for item in comparison.configurations]
    settings = [
        (labels.setting(row.name), [escape(value or "(default)") for value in row.values])
        for row in comparison.settings
    ]
    main = [row for row in comparison.figures if row.key in _MAIN_FIGURES]
    others = [row for row in comparison.figures if row.key not in _MAIN_FIGURES]
    text = ""
    if settings:
        text += f"<h3>Settings</h3>{_table('Settings that differ', names, settings)}"
    if main:
        text += f"<h3>Figures</h3>{_table('Figures', names, map(_cells, main))}"
    if others:
        more = _table("Further figures", names, map(_cells, others))
        text += f"<details><summary>{len(others)} further figures</summary>{more}</details>"
    return text


def _cells(row: FigureRow) -> tuple[str, list[str]]:
    """Return label and cells of a figure: the mean, and below it deviation and range."""
    cells = []
    for measure in row.measures:
        if measure is None:
            cells.append("-")
            continue
        text = escape(export.amount(measure.mean, row.unit))
        if measure.stddev:
            values = (measure.stddev, measure.minimum, measure.maximum)
            spread, low, high = (escape(export.amount(value, row.unit)) for value in values)
            if low.partition(" ")[2] == high.partition(" ")[2]:
                low = low.partition(" ")[0]
            text += f"<small>± {spread}</small><small>{low} … {high}</small>"
        cells.append(text)
    return row.label, cells


def _table(name: str, names: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]]) -> str:
    """Return a table; the cells of `rows` are HTML."""
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in names)
    body = "".join(
        f'<tr><th scope="row">{escape(label)}</th>'
        + "".join(f"<td>{value}</td>" for value in values)
        + "</tr>"
        for label, values in rows
    )
    return (
        f'<div class="wide-table" role="region" aria-label="{escape(name)}" tabindex="0"><table>'
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


# --- charts ---------------------------------------------------------------------------------------


def _chart_sections(charts: Sequence[Chart]) -> Iterable[tuple[str, str, str]]:
    groups: dict[str, list[Chart]] = {}
    for chart in charts:
        key = chart.name.partition("-")[0]
        groups.setdefault("durations" if key == "ratios" else key, []).append(chart)
    for key, members in groups.items():
        explained: set[str] = set()
        figures = ""
        for chart in members:
            kind = chart.name.partition("-")[0]
            figures += _figure(chart, "" if kind in explained else _HELP[kind])
            explained.add(kind)
        yield key, _SECTIONS[key], figures


def _figure(chart: Chart, explanation: str) -> str:
    note = chart.note if not chart.note or chart.note.endswith(".") else f"{chart.note}."
    text = escape(f"{note} {explanation}".strip())
    return (
        f"<figure><figcaption><h3>{escape(chart.title)}</h3>{text}</figcaption>"
        f"{drawing.svg(chart)}</figure>"
    )


# --- findings and provenance ----------------------------------------------------------------------


def _findings(comparison: Comparison, found: Sequence[Diagnosis]) -> str:
    reference = found[comparison.reference]
    text = ""
    for n, (item, diagnosis) in enumerate(zip(comparison.configurations, found, strict=True)):
        changed = diagnoses.changes(reference, diagnosis)
        new = {finding.kind for finding in changed.appeared} if n != comparison.reference else set()
        entries = [_finding(finding, new=finding.kind in new) for finding in diagnosis.usual]
        if n != comparison.reference:
            gone = (_capital(KINDS[finding.kind].title) for finding in changed.disappeared)
            entries += [f'<li><span class="tag">gone</span>{escape(text)}</li>' for text in gone]
        if entries:
            text += f"<h3>{escape(item.label)}</h3><ul>{''.join(entries)}</ul>"
    read = any(run.metrics for item in comparison.configurations for run in item.records)
    return text or ("<p>No rule found anything in these runs.</p>" if read else "")


def _finding(finding: Finding, *, new: bool) -> str:
    saving = f", up to {finding.seconds:,.1f} s" if finding.seconds >= 0.05 else ""
    mark = '<span class="tag">new</span>' if new else ""
    return (
        f'<li><span class="tag {escape(finding.severity)}">{escape(finding.severity)}</span>{mark}'
        f"<b>{escape(_capital(KINDS[finding.kind].title))}</b>{saving} "
        f'<span class="dim">({escape(finding.confidence)} confidence)</span><br>'
        f"{escape(finding.evidence)}<br>"
        f"<i>{escape(finding.advice)}</i></li>"
    )


def _provenance(comparison: Comparison) -> str:
    text = ""
    for item in comparison.configurations:
        rows = "".join(
            f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>"
            for name, value in provenance.facts(item)
        )
        command = escape(provenance.command(item.records[0]))
        rows += f"<dt>to run it again</dt><dd><code>{command}</code></dd>"
        text += f"<h3>{escape(item.label)}</h3><dl>{rows}</dl>"
    return text
