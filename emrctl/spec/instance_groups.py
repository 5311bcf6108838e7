"""Spec of an EMR cluster's nodes: instance groups, instance fleets, managed scaling."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from emrctl.aws import instance_types
from emrctl.spec.types import Count, InstanceTypeName, Name, Spec, Usd, distinct

VolumeType = Literal["gp3", "gp2", "io1", "io2", "st1", "sc1", "standard"]
Units = Annotated[int, Field(ge=0)]
# EMR's limit for a fleet with an allocation strategy.
_MAX_TYPES = 30


class VolumesSpec(Spec):
    """EBS volumes of each instance in addition to its root volume."""

    volume_gb: Annotated[int, Field(ge=10)] = 64
    volume_type: VolumeType = "gp3"
    volumes: Annotated[int, Field(ge=1, le=25)] = 1

    @property
    def total_gb(self) -> int:
        """Total size of an instance's volumes."""
        return self.volume_gb * self.volumes


class GroupSpec(VolumesSpec):
    """A group of equal instances; `type` is an EC2 instance type.

    With `bid_usd` they are spot instances with that maximum price per hour.
    """

    type: InstanceTypeName = "m5.xlarge"
    count: Count = 1
    bid_usd: Usd | None = None


class TaskSpec(GroupSpec):
    """A group of task nodes, which run no HDFS and can be removed at any time.

    Without instances (`count: 0`) the cluster has no such group.
    """

    name: Name = "task"
    count: Units = 1


class FleetTypeSpec(VolumesSpec):
    """An instance type of a fleet with its weighted capacity.

    The maximum spot price is `bid_usd`, or `bid_percent` of the on-demand price.
    """

    type: InstanceTypeName = "m5.xlarge"
    weight: Count = 1
    bid_usd: Usd | None = None
    bid_percent: Annotated[float, Field(gt=0, le=1000)] | None = None

    @model_validator(mode="after")
    def _one_bid(self) -> Self:
        if self.bid_usd is not None and self.bid_percent is not None:
            raise ValueError(f"{self.type} has both bid_usd and bid_percent: set one of them")
        return self


class FleetSpec(Spec):
    """Instances of several types up to a target capacity in units.

    Spot capacity missing after `timeout_min` is requested on demand, or the cluster terminates.
    """

    types: Annotated[
        tuple[FleetTypeSpec, ...], Field(min_length=1, max_length=_MAX_TYPES), distinct("type")
    ]
    on_demand: Units = 0
    spot: Units = 0
    spot_strategy: Literal[
        "capacity-optimized", "price-capacity-optimized", "diversified", "lowest-price"
    ] = "capacity-optimized"
    timeout_min: Annotated[int, Field(ge=5, le=1440)] = 20
    on_timeout: Literal["on_demand", "terminate"] = "on_demand"

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if not self.units:
            raise ValueError("a fleet needs units: set on_demand, spot or both")
        return self

    @property
    def units(self) -> int:
        """Target capacity in units."""
        return self.on_demand + self.spot

    @property
    def markets(self) -> set[str]:
        """The markets with a target capacity: on_demand, spot."""
        return {name for name in ("on_demand", "spot") if getattr(self, name)}

    def instances(self, item: FleetTypeSpec, units: int) -> int:
        """Return the number of instances of one type for `units`."""
        return -(-units // item.weight)

    @property
    def as_group(self) -> GroupSpec:
        """All units as a group of the type with the least YARN memory."""
        least = min(self.types, key=lambda item: instance_types.instance_type(item.type).yarn_mb)
        return GroupSpec(type=least.type, count=self.instances(least, self.units))


class FleetsSpec(Spec):
    """Instance fleets instead of instance groups."""

    primary: FleetSpec = FleetSpec(types=(FleetTypeSpec(),), on_demand=1)
    core: FleetSpec
    task: FleetSpec | None = None

    @model_validator(mode="after")
    def _one_primary(self) -> Self:
        if self.primary.units != 1 or any(item.weight != 1 for item in self.primary.types):
            raise ValueError("fleets.primary has exactly one node: 1 unit and types of weight 1")
        return self


class ScalingSpec(Spec):
    """EMR managed scaling of core and task nodes between limits.

    `unit` is instances or vcpus for groups, and fleet_units or vcpus for fleets.
    """

    minimum: Count = 1
    maximum: Count
    unit: Literal["instances", "vcpus", "fleet_units"] | None = None
    max_on_demand: Units | None = None
    max_core: Count | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for name in ("minimum", "max_on_demand", "max_core"):
            value = getattr(self, name)
            if value is not None and value > self.maximum:
                raise ValueError(f"scaling.{name} is {value}, above maximum ({self.maximum})")
        return self
