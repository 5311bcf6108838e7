"""Charts of configurations: durations, ratios, speed-up, time against cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from emrctl.compare import export
from emrctl.compare.comparison import Comparison
from emrctl.compare.drawing import (
    COLOURS,
    Chart,
    Json,
    axis,
    count,
    line,
    marks,
    own_colour,
    signed,
    texts,
)
from emrctl.compare.figures import Measure
from emrctl.compare.scaling import Fit, Scaling, pareto_front
from emrctl.compare.verdicts import percent

# More points would only cover each other, and fill the page.
_MAX_POINTS = 60
_OUTCOMES = {"faster": "var(--faster)", "slower": "var(--slower)"}
# Vertical positions within a row: the label, then the marks.
_LABEL, _MARKS = 0.26, 0.66


def colour(index: int) -> str:
    """Return the colour of the configuration at `index`, the same in all charts."""
    return COLOURS[index % len(COLOURS)]


def durations(comparison: Comparison) -> Chart | None:
    """Return a row per configuration: a point per completed run, their range and mean."""
    row = comparison.row("duration_s")
    if row is None:
        return None
    labels, notes, ranges, means, points = [], [], [], [], []
    for n, (item, measure) in enumerate(zip(comparison.configurations, row.measures, strict=True)):
        note = "no completed run" if measure is None else _mean(measure)
        labels.append(line(n + _LABEL, item.label))
        notes.append(line(n + _LABEL, note))
        if measure is None:
            continue
        place = {"y": n + _MARKS, "colour": colour(n)}
        ranges.append({**place, "x": measure.minimum, "x2": measure.maximum})
        tip = f"{item.label}: mean {export.cell(measure, 's')}, {count(measure.count, 'run')}"
        means.append({**place, "x": measure.mean, "tip": tip})
        runs = [run for run in item.completed_records if run.duration_s is not None]
        points += [
            {**place, "x": run.duration_s, "tip": f"{run.id}: {run.duration_s:.2f} s"}
            for run in runs[:: -(-len(runs) // _MAX_POINTS) or 1]
        ]
    x = axis("duration of the step in seconds")
    rule = {"type": "rule", "strokeWidth": 2, "opacity": 0.5}
    tick = {"type": "tick", "thickness": 3, "size": 20, "orient": "vertical"}
    point = {"type": "point", "filled": True, "size": 70, "opacity": 0.6}
    return Chart(
        name="durations",
        title="Duration of every run",
        summary="; ".join(str(mean["tip"]) for mean in means),
        layers=(
            marks(rule, ranges, x, x2={"field": "x2"}, color=own_colour()),
            marks(tick, means, x, color=own_colour()),
            marks(point, points, x, color=own_colour()),
            texts(labels, share=0.56, fontWeight="bold"),
            texts(notes, right=True, share=0.4, color="var(--dim)"),
        ),
        rows=len(labels),
    )


def _mean(measure: Measure) -> str:
    deviation = "" if measure.stddev is None else f" ± {measure.stddev:.1f}"
    return f"{measure.mean:,.1f}{deviation} s"


def ratios(comparison: Comparison) -> Chart | None:
    """Return a forest plot: the ratio to the reference with its interval per configuration."""
    row = comparison.row("duration_s")
    others = [n for n in range(len(comparison.configurations)) if n != comparison.reference]
    items = [(n, row.ratios[n]) for n in others] if row else []
    shown = [(n, ratio) for n, ratio in items if ratio is not None and ratio.value > 0]
    if not shown:
        return None
    labels, outcomes, notes, intervals, points = [], [], [], [], []
    for y, (n, ratio) in enumerate(shown):
        label, outcome = comparison.configurations[n].label, comparison.outcomes[n] or "no verdict"
        note = f"{percent(ratio.value)} %"
        place = {"y": y + 0.76, "colour": _OUTCOMES.get(outcome, "var(--same)")}
        if ratio.low is not None and ratio.high is not None:
            note += f", 95 % interval {percent(ratio.low)} to {percent(ratio.high)} %"
            intervals.append({**place, "x": _change(ratio.low), "x2": _change(ratio.high)})
        tip = f"{label}: {note}, {outcome}"
        points.append({**place, "x": _change(ratio.value), "tip": tip})
        labels.append(line(y + 0.2, label))
        outcomes.append(line(y + 0.2, outcome))
        notes.append(line(y + 0.47, note))
    reference = comparison.configurations[comparison.reference].label
    x = axis(
        f"time against {short(reference)} in percent: less is faster",
        scale={"zero": True},
        axis={"labelExpr": signed(" %")},
    )
    rule = {"type": "rule", "strokeWidth": 5, "opacity": 0.5, "strokeCap": "round"}
    point = {"type": "point", "filled": True, "size": 110, "opacity": 1, "shape": "diamond"}
    zero = {"type": "rule", "color": "var(--text)", "strokeDash": [4, 3]}
    return Chart(
        name="ratios",
        title="Difference with its 95 % interval",
        summary="; ".join(str(item["tip"]) for item in points),
        layers=(
            marks(zero, [{"x": 0, "y": 0, "y2": len(shown)}], x, y2={"field": "y2"}),
            marks(rule, intervals, x, x2={"field": "x2"}, color=own_colour()),
            marks(point, points, x, color=own_colour()),
            texts(labels, share=0.66, fontWeight="bold"),
            texts(outcomes, right=True, share=0.3),
            texts(notes, share=0.9, color="var(--dim)", fontSize=12),
        ),
        rows=len(shown),
        step=58,
    )


def _untipped(row: Json) -> Json:
    return {key: value for key, value in row.items() if key != "tip"}


def _change(ratio: float) -> float:
    return 100 * (ratio - 1)


def short(text: str, limit: int = 32) -> str:
    """Return the text, cut to `limit` characters."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def speed_up(scaling: Scaling | None) -> Chart | None:
    """Return speed-up over the scale with the efficiency of each point, and Amdahl's law."""
    if scaling is None or len(scaling.points) < 2:
        return None
    base, last = scaling.points[0].scale, scaling.points[-1].scale
    points = [
        {
            "x": point.scale,
            "y": point.speed_up,
            "text": f"{100 * point.efficiency:.0f} %",
            "tip": f"{point.scale} {scaling.unit}: {point.speed_up:.2f} times as fast as {base}, "
            f"efficiency {100 * point.efficiency:.0f} %, {point.mean_s:.1f} s",
        }
        for point in scaling.points
    ]
    scales = [base + (last - base) * step / 40 for step in range(41)]
    ideal = [{"x": scale, "y": scale / base} for scale in (base, last)]
    x = axis(f"{scaling.unit}; at each point: efficiency", axis={"tickMinStep": 1})
    y = {"type": "quantitative", "axis": {"title": f"times as fast as with {base}"}}
    dashed = {"type": "line", "color": "var(--dim)", "strokeDash": [4, 3], "strokeWidth": 1.5}
    point = {"type": "point", "filled": True, "size": 90, "opacity": 1, "color": colour(0)}
    label = {"type": "text", "align": "left", "dx": 9, "dy": 9, "color": "var(--text)"}
    fits = [_fit_layers(fit, scales, x) for fit in scaling.fits if fit.law == "Amdahl"]
    return Chart(
        name="speed-up",
        title="Speed-up and efficiency",
        note=_law(scaling),
        summary="; ".join(str(item["tip"]) for item in points),
        layers=(
            marks(dashed, ideal, x),
            *(layer for layers in fits for layer in layers),
            marks(point, points, x),
            marks(label, [_untipped(item) for item in points], x, text={"field": "text"}),
        ),
        rows=6,
        y={**y, "scale": {"zero": True}},
    )


def _law(scaling: Scaling) -> str:
    """Return the serial share by Amdahl's law, or why it is not fitted."""
    if scaling.refused:
        return f"No law is fitted: {scaling.refused}."
    fit = next(item for item in scaling.fits if item.law == "Amdahl")
    low, high = 100 * fit.low, 100 * fit.high
    most = f", so at most {1 / fit.serial:,.1f} times as fast as one" if fit.serial > 0 else ""
    return (
        f"{100 * fit.serial:.0f} % of the work is serial ({low:.0f} to {high:.0f} %){most}. "
        f"The law misses the measured times by {100 * fit.error:.0f} %."
    )


def _fit_layers(fit: Fit, scales: Sequence[float], x: Json) -> tuple[Json, ...]:
    """Return the law's line, and the band of its interval."""
    line = {"type": "line", "color": colour(0), "strokeWidth": 2}
    band = {"type": "area", "color": colour(0), "opacity": 0.15}
    rows = [{"x": scale, "y": fit.speed_up(scale)} for scale in scales]
    low, high = replace(fit, serial=fit.high), replace(fit, serial=fit.low)
    limits = [
        {"x": scale, "y": low.speed_up(scale), "y2": high.speed_up(scale)} for scale in scales
    ]
    return marks(band, limits, x, y2={"field": "y2"}), marks(line, rows, x)


def cost(comparison: Comparison) -> Chart | None:
    """Return time against cost, with the configurations that no other one beats joined."""
    seconds, dollars = comparison.row("duration_s"), comparison.row("cost_usd")
    if seconds is None or dollars is None:
        return None
    pairs = [
        (time.mean if time else None, price.mean if price else None)
        for time, price in zip(seconds.measures, dollars.measures, strict=True)
    ]
    points = []
    for n, (time, price) in enumerate(pairs):
        if time is not None and price is not None:
            label = comparison.configurations[n].label
            tip = f"{label}: {time:.1f} s, {export.amount(price, 'USD')}"
            points.append(
                {"x": time, "y": price, "colour": colour(n), "text": short(label), "tip": tip}
            )
    if len(points) < 2:
        return None
    front = pareto_front(pairs)
    line = [{"x": pairs[n][0], "y": pairs[n][1]} for n in front]
    best = ", ".join(comparison.configurations[n].label for n in front)
    x = axis("duration of the step in seconds", scale={"padding": 40})
    y = {
        "type": "quantitative",
        "axis": {"title": "cost in USD (estimated)", "format": "~g"},
        "scale": {"zero": False, "nice": False, "padding": 24},
    }
    path = {"type": "line", "color": "var(--dim)", "strokeDash": [4, 3], "strokeWidth": 1.5}
    point = {"type": "point", "filled": True, "size": 110, "opacity": 1}
    label_mark = {"type": "text", "align": "center", "dy": -14, "color": "var(--text)"}
    return Chart(
        name="cost",
        title="Time against cost",
        note=f"Not beaten by any other configuration: {best}.",
        summary="; ".join(str(item["tip"]) for item in points),
        layers=(
            marks(path, line, x),
            marks(point, points, x, color=own_colour()),
            marks(label_mark, [_untipped(item) for item in points], x, text={"field": "text"}),
        ),
        rows=6,
        y=y,
    )
