"""Instance types of an instance fleet, in the order in which EMR tries to launch them."""

from __future__ import annotations

import math
from typing import Any

from emrctl.aws import prices
from emrctl.emulator.cluster.model import SPOT, InstanceGroup
from emrctl.errors import SpecError

_PRIORITIZED = ("prioritized", "capacity-optimized-prioritized")


def preferred_types(group: InstanceGroup, market: str, region: str) -> list[str]:
    """Return the types for a market, the first choice first; of a group its only one.

    By `Priority` with a prioritized allocation strategy, otherwise by price per capacity unit, from
    emrctl's tables; in the given order if that is equal. Without a Spot price the On-Demand price
    counts. On EMR the other strategies also depend on EC2's capacity.
    """
    if not group.is_fleet:
        return [group.instance_type]
    configs: list[dict[str, Any]] = group.request["InstanceTypeConfigs"]
    kind = "SpotSpecification" if market == SPOT else "OnDemandSpecification"
    specification = group.request.get("LaunchSpecifications", {}).get(kind, {})
    if specification.get("AllocationStrategy") in _PRIORITIZED:
        ordered = sorted(configs, key=lambda one: float(one.get("Priority", math.inf)))
        return [one["InstanceType"] for one in ordered]
    names = [one["InstanceType"] for one in configs]
    return sorted(names, key=lambda name: _usd(name, market, region) / group.weight(name))


def _usd(name: str, market: str, region: str) -> float:
    try:
        rate = prices.rate(name, region)
    except SpecError:  # no table has a price of the type
        return math.inf
    return rate.spot_usd or rate.ec2_usd if market == SPOT else rate.ec2_usd
