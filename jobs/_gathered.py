"""Rows of accuracies as pictures want them: a curve for each pair, means, the heat of all pairs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from _scores import Row


def by_pair(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    """The tested rows of each pair, in the order of their shares."""
    lines: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row["accuracy"] is not None:
            lines.setdefault((row["positive"], row["negative"]), []).append(row)
    return lines


def means(rows: Sequence[Row], name: str) -> tuple[list[float], list[float]]:
    """Shares, and the mean of a column at each."""
    by_share: dict[float, list[float]] = {}
    for row in rows:
        by_share.setdefault(row["share"], []).append(row[name])
    shares = sorted(by_share)
    return shares, [sum(by_share[share]) / len(by_share[share]) for share in shares]


class Heat(NamedTuple):
    """Accuracy of each pair at one share, symmetric; None where there is no such pair."""

    share: float
    classes: list[str]
    cells: list[list[float | None]]
    least: float

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Heat | None:
        """At the share whose pairs are best on the whole; None when no pair was tested."""
        tested = [row for row in rows if row["task"] == "pairs" and row["accuracy"] is not None]
        if not tested:
            return None
        shares, accuracy = means(tested, "accuracy")
        share = shares[int(np.argmax(accuracy))]
        found: dict[tuple[str, str], float] = {}
        for row in tested:
            if row["share"] == share:
                found[row["positive"], row["negative"]] = row["accuracy"]
                found[row["negative"], row["positive"]] = row["accuracy"]
        classes = sorted({name for pair in found for name in pair})
        cells = [[found.get((one, other)) for other in classes] for one in classes]
        return cls(share, classes, cells, min(found.values()))
