"""The study's pictures: accuracy against training share, accuracy of each pair of classes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from _gathered import Heat, by_pair, means

if TYPE_CHECKING:
    from _scores import Row

NAMED_CURVES = 12  # more names than that hide the picture


def curves(rows: Sequence[Row]) -> bytes:
    """Accuracy against training share as PNG, a panel for each task, the baseline dashed."""
    # The figure is made without pyplot: that keeps no state and asks for no display.
    from matplotlib.figure import Figure

    tasks = sorted({row["task"] for row in rows})
    figure = Figure(figsize=(7 * max(len(tasks), 1), 5), layout="constrained")
    for panel, task in enumerate(tasks):
        axes = figure.add_subplot(1, len(tasks), panel + 1)
        draw(axes, [row for row in rows if row["task"] == task])
        axes.set(title=task, xlabel="share that trains", ylabel="accuracy on the rest")
    return png(figure)


def png(figure: Any) -> bytes:
    """A figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()


def draw(axes: Any, rows: Sequence[Row]) -> None:
    """One curve for each pair, named while they are few, and the means of all."""
    from matplotlib.collections import LineCollection

    lines = by_pair(rows)
    places = {
        pair: [(point["share"], point["accuracy"]) for point in points]
        for pair, points in lines.items()
    }
    if len(lines) <= NAMED_CURVES:
        for (positive, negative), found in places.items():
            label = f"{positive} VS {negative}"
            axes.plot(*zip(*found), marker="o", label=label, markersize=4)
    else:
        axes.add_collection(LineCollection(list(places.values()), alpha=0.15))
    drawn = [point for points in lines.values() for point in points]
    for name, style in (("accuracy", "k-"), ("majority_baseline", "k--")):
        xs, ys = means(drawn, name)
        axes.plot(xs, ys, style, linewidth=2, label=f"mean {name.replace('_', ' ')}")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize=8)


def heatmap(heat: Heat) -> bytes:
    """Accuracy of each pair of classes as PNG, the dark ones hard."""
    from matplotlib.figure import Figure

    size = max(4.0, 0.28 * len(heat.classes) + 2.5)
    figure = Figure(figsize=(size + 1, size), layout="constrained")
    axes = figure.add_subplot()
    values = [[float("nan") if cell is None else cell for cell in line] for line in heat.cells]
    picture = axes.imshow(values, cmap="viridis", vmin=heat.least, vmax=1)
    places = range(len(heat.classes))
    axes.set_xticks(places, heat.classes, rotation=90, fontsize=7)
    axes.set_yticks(places, heat.classes, fontsize=7)
    axes.set_title(f"accuracy of each pair, share={heat.share:g}")
    figure.colorbar(picture, ax=axes, shrink=0.7)
    return png(figure)
