"""Charts of single runs: executors and nodes over time, stage by stage, task durations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from emrctl.compare import explain
from emrctl.compare.activity import BINS, Activity, ExecutorActivity, NodeActivity
from emrctl.compare.charts import colour
from emrctl.compare.drawing import (
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
from emrctl.compare.stages import StageComparison
from emrctl.metrics.model import Quantiles

MAX_EXECUTORS = 40
MAX_NODES = 12
MAX_STAGES = 12
MAX_TASK_STAGES = 8
_LEAST_SHOWN_S = 0.005
# Equal levels in succession are one step, which keeps pages small.
_LEVELS = 20


@dataclass
class _Timeline:
    """Rows over the time of an application: frames with text, areas in them, lines over these.

    `n` is the index of the configuration; charts that are compared have the same `until_s`.
    """

    n: int
    label: str
    run: str
    until_s: float
    frames: list[Json] = field(default_factory=list)
    areas: list[Json] = field(default_factory=list)
    lines: list[Json] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)

    def chart(self, kind: str, note: str) -> Chart:
        """Return the chart of these rows of executors or nodes."""
        domain = {"domain": [0, self.until_s], "padding": 0}
        x = axis("seconds since the application started", scale=domain)
        step: Json = {"interpolate": "step-after"}
        frame = {"type": "rect", "color": "var(--faint)", "stroke": "var(--line)"}
        area = {"type": "area", "color": colour(self.n), "opacity": 0.85, **step}
        edge = {"type": "line", "color": "var(--text)", "strokeWidth": 1, **step}
        detail = {"field": "row", "type": "nominal"}
        layers = [
            marks(frame, self.frames, x, x2={"field": "x2"}, y2={"field": "y2"}),
            marks(area, self.areas, x, y2={"field": "y2"}, detail=detail),
        ]
        if self.lines:
            layers.append(marks(edge, self.lines, x, detail=detail))
        return Chart(
            name=f"{kind}-{self.n + 1}",
            title=f"{kind.capitalize()}: {self.label}",
            note=f"Run {self.run}: {note}",
            summary=f"{note}. " + "; ".join(str(one["tip"]) for one in self.frames[:8]),
            layers=tuple(layers),
            rows=len(self.labels),
            step=26 if len(self.labels) <= 12 else 18,
            y_axis=_row_labels({f"{y + 0.5:.2f}": text for y, text in enumerate(self.labels)}),
        )


def executors(activity: Activity, n: int, label: str, run: str, until_s: float) -> Chart:
    """Return a row per executor: its lifetime, and in it the share of its slots with tasks.

    The first row is the mean of all.
    """
    rows = _Timeline(n, label, run, until_s, areas=_together(activity), labels=["all"])
    for y, item in enumerate(activity.executors[:MAX_EXECUTORS], start=1):
        rows.frames.append(_frame(item, y))
        rows.areas += _area(item, y, activity.end_s)
        rows.labels.append(_name(item))
    total = len(activity.executors)
    note = f"{count(total, 'executor')}, {100 * activity.busy:.0f} % busy"
    if total > MAX_EXECUTORS:
        note += f"; the first {MAX_EXECUTORS} are shown"
    return rows.chart("executors", note)


def _row_labels(texts_by_y: dict[str, str]) -> Json:
    """Return an axis with a text at each y, which has two decimals."""
    return {
        "title": None,
        "grid": False,
        "values": [float(y) for y in texts_by_y],
        "labelExpr": f"({json.dumps(texts_by_y)})[format(datum.value, '.2f')]",
        "labelLimit": 110,
        "labelOverlap": False,
        "tickCount": len(texts_by_y),  # Vega drops values beyond it
    }


def _name(item: ExecutorActivity) -> str:
    return f"{item.executor.id} · {100 * item.busy:.0f} %"


def _frame(item: ExecutorActivity, y: int) -> Json:
    row = item.executor
    where = f" on {row.host}" if row.host else ""
    removed = f"; removed: {row.remove_reason}" if row.remove_reason else ""
    tip = (
        f"Executor {row.id}{where}: {count(row.cores, 'core')}, "
        f"{count(row.complete_tasks, 'task')}, {100 * item.busy:.0f} % busy, "
        f"{item.begin_s:.1f} to {item.end_s:.1f} s, idle for {item.idle_s:.1f} s{removed}"
    )
    return {"x": item.begin_s, "x2": item.end_s, "y": y + 0.1, "y2": y + 0.9, "tip": tip}


def _area(item: ExecutorActivity, y: int, end_s: float) -> list[Json]:
    """Return the corners of the load's steps within the row `y`."""
    load = item.load
    if not load:  # no event log: the mean over its lifetime
        times, values = [item.begin_s, item.end_s], [min(1.0, item.busy)] * 2
    else:
        times = [end_s * at / BINS for at in range(BINS + 1)]
        values = [*(min(1.0, value) for value in load), 0.0]
    return _steps(times, values, y, item.executor.id)


def _steps(times: Sequence[float], values: Sequence[float], y: int, row: str) -> list[Json]:
    corners = []
    before = None
    for at, (time, value) in enumerate(zip(times, values, strict=True)):
        level = round(value * _LEVELS) / _LEVELS
        if level != before or at == len(times) - 1:
            corners.append(
                {"x": round(time, 3), "y": y + 0.9 - 0.8 * level, "y2": y + 0.9, "row": row}
            )
        before = level
    return corners


def _together(activity: Activity) -> list[Json]:
    """Return the load of all executors, relative to the largest number of slots at one time."""
    loads = [item for item in activity.executors if item.load]
    total = sum(item.slots for item in activity.executors)
    if not loads or not total:
        return []
    times = [activity.end_s * at / BINS for at in range(BINS + 1)]
    values = [sum(item.slots * item.load[at] for item in loads) / total for at in range(BINS)]
    return _steps(times, [*(min(1.0, value) for value in values), 0.0], 0, "all")


def nodes(items: Sequence[NodeActivity], n: int, label: str, run: str, until_s: float) -> Chart:
    """Return two rows per node: its CPU, and its memory with YARN's allocation."""
    rows = _Timeline(n, label, run, until_s)
    for item in items[:MAX_NODES]:
        cpu, memory = _node_tips(item)
        for name, values, tip in (("CPU", item.cpu, cpu), ("memory", item.memory, memory)):
            if name == "CPU" and not values:
                continue
            y = len(rows.labels)
            rows.frames.append(
                {"x": item.at_s[0], "x2": item.at_s[-1], "y": y + 0.1, "y2": y + 0.9, "tip": tip}
            )
            if values:
                shares = [min(1.0, value) for value in values]
                rows.areas += _steps(item.at_s, shares, y, f"{item.id} {y}")
            rows.labels.append(f"{_short(item.id)} · {name}")
        shares = [min(1.0, value) for value in item.allocated]
        rows.lines += _steps(item.at_s, shares, len(rows.labels) - 1, item.id)
    note = count(len(items), "node")
    note += f"; the first {MAX_NODES} are shown" if len(items) > MAX_NODES else ""
    return rows.chart("nodes", note)


def _node_tips(item: NodeActivity) -> tuple[str, str]:
    """Return the texts of a node's CPU and of its memory: means and peaks over the samples."""

    def figures(shares: Sequence[float], whole: int) -> tuple[float, float]:
        return whole * sum(shares) / max(1, len(shares)), whole * max(shares, default=0.0)

    mean, peak = figures(item.cpu, item.cores)
    cpu = f"CPU of {item.id}: {mean:.1f} of {count(item.cores, 'core')}, at most {peak:.1f}"
    mean, peak = figures(item.memory, item.memory_mb)
    used = f"{mean:,.0f} of {item.memory_mb:,} MB, at most {peak:,.0f}, " if item.memory else ""
    memory = (
        f"Memory of {item.id}: {used}allocated at most "
        f"{figures(item.allocated, item.memory_mb)[1]:,.0f}{'' if used else ' MB'}"
    )
    return cpu, memory


def _short(node: str) -> str:
    """Return the name of a node without the domain; on localhost only ports differ."""
    host, _, port = node.partition(":")
    return port if host == "localhost" else host.split(".")[0]


def stages(comparison: StageComparison, name: str, reference: str, other: str) -> Chart:
    """Return a row per stage: its part of the difference in seconds, and the reasons."""
    driver_s = comparison.driver_s[1] - comparison.driver_s[0]
    top = [item for item in comparison.changes if abs(item.seconds) >= _LEAST_SHOWN_S][:MAX_STAGES]
    rest = comparison.changes[len(top) :]
    rows = [
        (
            explain.title(item),
            explain.signed_seconds(item.seconds),
            explain.reasons(item),
            item.seconds,
        )
        for item in top
    ]
    pair = f"{comparison.driver_s[0]:,.1f} \N{RIGHTWARDS ARROW} {comparison.driver_s[1]:,.1f} s"
    rows.append(("Driver, no stage running", explain.signed_seconds(driver_s), pair, driver_s))
    if rest:
        others_s = sum(item.seconds for item in rest)
        rows.append((f"{len(rest):,} other stages", explain.signed_seconds(others_s), "", others_s))
    bars = [
        {
            "x": 0,
            "x2": seconds,
            "y": y + 0.62,
            "y2": y + 0.86,
            "colour": "var(--slower)" if seconds > 0 else "var(--faster)",
            "tip": f"{title}: {amount}{f'; {reason}' if reason else ''}",
        }
        for y, (title, amount, reason, seconds) in enumerate(rows)
    ]
    total = f"{other} takes {explain.signed_seconds(comparison.seconds)} compared with {reference}"
    x = axis("seconds that the stage adds", scale={"zero": True}, axis={"labelExpr": signed(" s")})
    zero = {"type": "rule", "color": "var(--text)"}
    return Chart(
        name=name,
        title=f"Stage by stage: {other} against {reference}",
        summary=f"{total}. " + "; ".join(str(bar["tip"]) for bar in bars[:5]),
        layers=(
            marks(zero, [{"x": 0, "y": 0, "y2": len(rows)}], x, y2={"field": "y2"}),
            marks("rect", bars, x, x2={"field": "x2"}, y2={"field": "y2"}, color=own_colour()),
            texts([line(y + 0.18, row[0]) for y, row in enumerate(rows)], share=0.74),
            texts(
                [line(y + 0.18, row[1]) for y, row in enumerate(rows)],
                right=True,
                share=0.24,
                fontWeight="bold",
            ),
            texts(
                [line(y + 0.44, row[2]) for y, row in enumerate(rows)],
                share=0.9,
                color="var(--dim)",
                fontSize=12,
            ),
        ),
        rows=len(rows),
        step=56,
    )


def tasks(
    rows: Sequence[tuple[str, Sequence[Quantiles | None]]],
    configurations: Sequence[tuple[int, str]],
) -> Chart | None:
    """Return the task durations of stages: per stage a row of quantiles for each configuration.

    `rows` has a stage's name and its quantiles in each of `configurations`, which are indices and
    labels.
    """
    shown = [row for row in rows if any(row[1])][:MAX_TASK_STAGES]
    if not shown:
        return None
    names, ranges, boxes, medians = [], [], [], []
    labels: dict[str, str] = {}
    y = 0.0
    for name, quantiles in shown:
        names.append({"y": y + 0.5, "text": name})
        y += 1
        for (n, label), spread in zip(configurations, quantiles, strict=True):
            if spread is None:
                continue
            values = {key: max(value, 1) / 1000 for key, value in spread.to_json().items()}
            tip = (
                f"{label}, {name}: median {values['median']:,.2f} s, half of the tasks "
                f"{values['p25']:,.2f} to {values['p75']:,.2f} s, longest {values['max']:,.2f} s"
            )
            place = {"y": y + 0.3, "colour": colour(n)}
            labels[f"{y + 0.3:.2f}"] = label
            ranges.append({**place, "x": values["min"], "x2": values["max"]})
            box = {"x": values["p25"], "x2": max(values["p75"], values["p25"] * 1.002)}
            boxes.append({**place, **box, "y": y + 0.05, "y2": y + 0.55, "tip": tip})
            medians.append({**place, "x": values["median"]})
            y += 0.7
        y += 0.3
    x = axis("task duration in seconds, logarithmic", scale={"type": "log"}, axis={"format": "~g"})
    rule = {"type": "rule", "strokeWidth": 1.5}
    tick = {
        "type": "tick",
        "thickness": 3,
        "size": 15,
        "orient": "vertical",
        "color": "var(--text)",
    }
    return Chart(
        name="tasks",
        title="Task durations of the longest stages",
        summary="; ".join(str(box["tip"]) for box in boxes[:6]),
        layers=(
            marks(rule, ranges, x, x2={"field": "x2"}, color=own_colour()),
            marks("rect", boxes, x, x2={"field": "x2"}, y2={"field": "y2"}, color=own_colour()),
            marks(tick, medians, x),
            texts(names),
        ),
        rows=y,
        step=24,
        y_axis=_row_labels(labels),
    )
