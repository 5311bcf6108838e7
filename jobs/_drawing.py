"""Accuracy against training share as a drawing inside a page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from _gathered import by_pair, means

if TYPE_CHECKING:
    from _scores import Row

WIDTH, HEIGHT, MARGIN = 640, 360, 44  # px


def svg(rows: list[Row]) -> str:
    """Accuracy against share: a line for each pair, named when pointed at, and the means."""
    plot = Plot(min(min(row["accuracy"], row["majority_baseline"]) for row in rows))
    lines = [
        f'<polyline points="{plot.points(mine)}">'
        f"<title>{escape(' VS '.join(pair))}</title></polyline>"
        for pair, mine in by_pair(rows).items()
    ]
    for name, kind in (("accuracy", "mean"), ("majority_baseline", "mean base")):
        title = f"<title>mean {name.replace('_', ' ')}</title>"
        drawn = plot.line(*means(rows, name))
        lines.append(f'<polyline class="{kind}" points="{drawn}">{title}</polyline>')
    axes = plot.axes(sorted({row["share"] for row in rows}))
    box = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    label = 'role="img" aria-label="accuracy against the share that trains"'
    return f"<svg {box} {label}>{axes}{''.join(lines)}</svg>"


class Plot(NamedTuple):
    """Where shares from 0 to 1 and accuracies from `least` to 1 are drawn."""

    least: float

    def x(self, share: float) -> float:
        """Px from the left."""
        return MARGIN + (WIDTH - 2 * MARGIN) * share

    def y(self, accuracy: float) -> float:
        """Px from the top."""
        high = (HEIGHT - 2 * MARGIN) * (accuracy - self.least) / max(1 - self.least, 1e-9)
        return HEIGHT - MARGIN - high

    def line(self, shares: Sequence[float], accuracies: Sequence[float]) -> str:
        """The points of a polyline."""
        pairs = zip(shares, accuracies)
        return " ".join(f"{self.x(share):.1f},{self.y(accuracy):.1f}" for share, accuracy in pairs)

    def points(self, rows: Sequence[Row]) -> str:
        """Likewise, of rows of accuracies."""
        return self.line([row["share"] for row in rows], [row["accuracy"] for row in rows])

    def axes(self, shares: Sequence[float]) -> str:
        """Lines at round accuracies, and the shares below, each with its number."""
        parts = []
        for value in rounded(self.least):
            at = f'y1="{self.y(value):.1f}" y2="{self.y(value):.1f}"'
            parts.append(f'<line x1="{MARGIN}" x2="{WIDTH - MARGIN}" {at}/>')
            parts.append(f'<text x="4" y="{self.y(value) + 4:.1f}">{value:g}</text>')
        foot = HEIGHT - MARGIN + 18
        parts += [
            f'<text class="x" x="{self.x(one):.1f}" y="{foot}">{one:g}</text>' for one in shares
        ]
        told = "share that trains; black: mean accuracy, dashed: mean majority"
        parts.append(f'<text class="x" x="{WIDTH / 2}" y="{HEIGHT - 6}">{told}</text>')
        return "".join(parts)


def rounded(least: float) -> list[float]:
    """Round numbers from `least` to 1, at most six steps apart: multiples of 1, 2 or 5 x 10^k."""
    width = max(1 - least, 1e-3) / 6
    power = 10.0 ** np.floor(np.log10(width))
    step = next(power * one for one in (1, 2, 5, 10) if power * one >= width)
    return [round(1 - step * k, 6) for k in range(int((1 - least) / step) + 1)]
