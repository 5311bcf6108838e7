"""Prices of single resources per hour."""

from __future__ import annotations

from collections.abc import Iterable

from emrctl.aws import instance_types, prices
from emrctl.errors import SpecError

HOURS_PER_MONTH = 730


def instance(type_: str, region: str, *, emr: bool, spot: bool = False) -> float | None:
    """Return EC2's price, with `emr` plus EMR's fee; None if the type is unknown.

    Spot instances cost the latest known spot price, or the on-demand price.
    """
    try:
        rate = prices.rate(type_, region)
    except SpecError:
        return None
    ec2 = rate.spot_usd if spot and rate.spot_usd is not None else rate.ec2_usd
    return ec2 + (rate.emr_usd if emr else 0.0)


def volume(volume_type: str, gigabytes: int) -> float:
    """Return the price of an EBS volume."""
    month = instance_types.shipped()["extras"]["volume_gb_month"]
    return gigabytes * float(month.get(volume_type, month["gp3"])) / HOURS_PER_MONTH


def beside(name: str) -> float:
    """Return the price of a `public_ipv4`, an `endpoint` or a `nat`."""
    return float(instance_types.shipped()["extras"][name])


def total(costs: Iterable[float | None]) -> float | None:
    """Return the sum; None if one of the prices is unknown."""
    values = list(costs)
    return None if None in values else sum(value for value in values if value is not None)
