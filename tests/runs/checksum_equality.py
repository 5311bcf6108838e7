"""Equality of two checksums of data sets, as comparisons see it."""

from __future__ import annotations

from emrctl.runs.checksums import DatasetChecksum


def equal(one: DatasetChecksum, two: DatasetChecksum) -> bool:
    """Return whether rows, digests and columns are equal, and sums within their tolerance."""
    same = (one.rows, one.text, set(one.sums)) == (two.rows, two.text, set(two.sums))
    return same and all(one.sums[name].agrees(two.sums[name]) for name in one.sums)
