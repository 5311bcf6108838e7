"""Statistics of shares, e.g. accuracies: two-proportion z-test, sample size, McNemar's test."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import special

from emrctl.errors import UsageError


@dataclass(frozen=True)
class ShareDifference:
    """The share of the second sample minus that of the first, with its interval.

    `z` is that of the pooled test, `p_value` two-sided, `p_one_sided` that of the side on which the
    difference is.
    """

    difference: float
    low: float
    high: float
    z: float
    p_value: float
    p_one_sided: float


def two_proportions(
    share: float, count: int, other_share: float, other_count: int, *, confidence: float = 0.95
) -> ShareDifference:
    """Compare two shares (0 to 1) of `count` and `other_count` independent rows.

    The test is the z-test with the pooled share, the interval Newcombe's of 1998 from two Wilson
    intervals, which is right for small counts too. Raises `UsageError` if a share is not between 0
    and 1, or a count not positive.
    """
    _check(share, other_share)
    if min(count, other_count) < 1:
        raise UsageError(f"shares of {count} and {other_count} rows: both must have rows")
    pooled = (share * count + other_share * other_count) / (count + other_count)
    error = math.sqrt(pooled * (1 - pooled) * (1 / count + 1 / other_count))
    difference = other_share - share
    z = difference / error if error > 0 else 0.0
    critical = float(special.ndtri(0.5 + confidence / 2))
    low, high = _wilson(share, count, critical)
    other_low, other_high = _wilson(other_share, other_count, critical)
    one_sided = float(special.ndtr(-abs(z)))
    return ShareDifference(
        difference=difference,
        low=difference - math.hypot(other_share - other_low, high - share),
        high=difference + math.hypot(other_high - other_share, share - low),
        z=z,
        p_value=min(1.0, 2 * one_sided),
        p_one_sided=one_sided,
    )


def _check(*shares: float) -> None:
    for share in shares:
        if not 0 <= share <= 1:
            raise UsageError(f"{share} is not a share between 0 and 1")


def _wilson(share: float, count: int, z: float) -> tuple[float, float]:
    """Return Wilson's interval of a share."""
    scale = 1 + z * z / count
    middle = (share + z * z / (2 * count)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return middle - half, middle + half


def sample_size(
    share: float,
    other_share: float,
    *,
    power: float = 0.8,
    confidence: float = 0.95,
    one_sided: bool = False,
) -> int | None:
    """Return the rows of each side with which the z-test finds the difference, None if it is 0.

    It finds it with probability `power` (Fleiss, Levin and Paik 2003, without correction for
    continuity).
    """
    _check(share, other_share)
    difference = abs(share - other_share)
    if difference == 0:
        return None
    mean = (share + other_share) / 2
    alpha = 1 - confidence
    critical = special.ndtri(1 - (alpha if one_sided else alpha / 2))
    variance = share * (1 - share) + other_share * (1 - other_share)
    total = critical * math.sqrt(2 * mean * (1 - mean)) + special.ndtri(power) * math.sqrt(variance)
    return math.ceil(float(total / difference) ** 2)


def power(
    share: float, count: int, other_share: float, other_count: int, *, confidence: float = 0.95
) -> float:
    """Return the probability that the two-sided z-test finds the difference of true shares.

    Raises `UsageError` as `two_proportions` does.
    """
    _check(share, other_share)
    if min(count, other_count) < 1:
        raise UsageError(f"shares of {count} and {other_count} rows: both must have rows")
    pooled = (share * count + other_share * other_count) / (count + other_count)
    error = math.sqrt(pooled * (1 - pooled) * (1 / count + 1 / other_count))
    limit = float(special.ndtri(0.5 + confidence / 2)) * error
    variance = share * (1 - share) / count + other_share * (1 - other_share) / other_count
    difference = abs(other_share - share)
    if variance == 0:
        return float(difference > limit)
    sides = special.ndtr(
        [(difference - limit) / variance**0.5, (-difference - limit) / variance**0.5]
    )
    return float(sides.sum())


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the exact two-sided p-value of McNemar's test.

    The arguments count the rows that only one of two models classifies correctly.
    """
    discordant = only_first + only_second
    if discordant == 0:
        return 1.0
    return min(1.0, 2 * float(special.bdtr(min(only_first, only_second), discordant, 0.5)))
