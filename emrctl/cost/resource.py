"""What single things cost an hour, from the tables of prices."""

from __future__ import annotations

from collections.abc import Iterable

from emrctl.aws import instance_types, prices
from emrctl.errors import SpecError

HOURS_PER_MONTH = 730


def instance(type_: str, region: str, *, emr: bool, spot: bool = False) -> float | None:
    """EC2's price, with `emr` also EMR's fee; spot at its latest known, else as on demand."""
    try:
        found = prices.rate(type_, region)
    except SpecError:
        return None
    ec2 = found.spot_usd if spot and found.spot_usd is not None else found.ec2_usd
    return ec2 + (found.emr_usd if emr else 0.0)


def volume(kind: str, gigabytes: int) -> float:
    """A disk of that size."""
    month = instance_types.shipped()["extras"]["volume_gb_month"]
    return gigabytes * float(month.get(kind, month["gp3"])) / HOURS_PER_MONTH


def beside(name: str) -> float:
    """A public address, an interface endpoint, a NAT gateway."""
    return float(instance_types.shipped()["extras"][name])


def total(costs: Iterable[float | None]) -> float | None:
    """The sum; None as soon as one is not known."""
    found = list(costs)
    return None if None in found else sum(cost for cost in found if cost is not None)
