"""The Mann-Whitney test, exact with ties up to some size."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import special

_MAX_EXACT = 60  # values of both sides; beyond, the normal distribution is exact enough


def mann_whitney(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the two-sided p-value that neither side tends to larger values; 1 if one is empty.

    Up to 60 values, it is the share of all divisions of the values into two sides whose rank sum
    deviates at least as much (ties have mean ranks); beyond, a normal approximation with
    correction for ties and continuity.
    """
    if not first or not second:
        return 1.0
    _, places, repeated = np.unique([*first, *second], return_inverse=True, return_counts=True)
    # Doubled mean ranks are whole numbers.
    doubled = (2 * np.cumsum(repeated) - repeated + 1)[places]
    size, total = len(first), len(doubled)
    deviation = abs(int(doubled[:size].sum()) - size * (total + 1))
    if total <= _MAX_EXACT:
        return _exact(doubled, size, deviation)
    ties = float((repeated**3 - repeated).sum()) / (total * (total - 1))
    variance = size * (total - size) / 12 * (total + 1 - ties)
    if variance <= 0:
        return 1.0
    # In halves: a step of the rank sum is 1.
    z = max(0.0, deviation / 2 - 0.5) / math.sqrt(variance)
    return min(1.0, 2 * float(special.ndtr(-z)))


def _exact(doubled: np.ndarray, size: int, deviation: int) -> float:
    """Count the subsets of `size` ranks by their sum."""
    ways = np.zeros((size + 1, int(doubled.sum()) + 1))
    ways[0, 0] = 1
    for rank in map(int, doubled):
        ways[1:, rank:] += ways[:-1, : ways.shape[1] - rank].copy()
    sums = np.arange(ways.shape[1])
    extreme = np.abs(sums - size * (len(doubled) + 1)) >= deviation
    return float(ways[size, extreme].sum() / ways[size].sum())
