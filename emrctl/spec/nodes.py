"""The nodes of a cluster: groups of equal instances, or fleets of several types; their scaling."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from emrctl.spec.types import Count, InstanceTypeName, Name, Spec, Usd

VolumeType = Literal["gp3", "gp2", "io1", "io2", "st1", "sc1", "standard"]
Units = Annotated[int, Field(ge=0)]
# EMR's own limit for a fleet with an allocation strategy.
_TYPES_AT_MOST = 30


class VolumesSpec(Spec):
    """The EBS volumes that each instance gets beside its root volume."""

    volume_gb: Annotated[int, Field(ge=10)] = 64
    volume_type: VolumeType = "gp3"
    volumes: Annotated[int, Field(ge=1, le=25)] = 1

    @property
    def total_gb(self) -> int:
        """All of an instance's volumes together."""
        return self.volume_gb * self.volumes


class GroupSpec(VolumesSpec):
    """One group of equal instances; `type` is an EC2 instance type.

    With `bid_usd` they are spot instances, for which no more than that is paid an hour.
    """

    type: InstanceTypeName = "m5.xlarge"
    count: Count = 1
    bid_usd: Usd | None = None


class TaskSpec(GroupSpec):
    """A group of task nodes: they compute, hold no HDFS, and may go at any time."""

    name: Name = "task"


class FleetTypeSpec(VolumesSpec):
    """One type that a fleet may take, and for how many units one instance of it counts.

    On spot no more is paid than `bid_usd`, or `bid_percent` of the on-demand price.
    """

    type: InstanceTypeName = "m5.xlarge"
    weight: Count = 1
    bid_usd: Usd | None = None
    bid_percent: Annotated[float, Field(gt=0, le=1000)] | None = None

    @model_validator(mode="after")
    def _one_bid(self) -> Self:
        if self.bid_usd is not None and self.bid_percent is not None:
            raise ValueError(f"{self.type} has a bid_usd and a bid_percent: give one of them")
        return self


class FleetSpec(Spec):
    """Instances of several types, as many as make up the units that are asked for.

    What spot does not deliver within `timeout_min` is asked for on demand, or ends the cluster.
    """

    types: Annotated[tuple[FleetTypeSpec, ...], Field(min_length=1, max_length=_TYPES_AT_MOST)]
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
        names = [item.type for item in self.types]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"a fleet has {', '.join(twice)} twice")
        return self

    @property
    def units(self) -> int:
        """All units that are asked for."""
        return self.on_demand + self.spot

    def instances(self, item: FleetTypeSpec, units: int) -> int:
        """How many instances of one type make up `units`."""
        return -(-units // item.weight)


class FleetsSpec(Spec):
    """A cluster of fleets in place of groups; one node is the primary."""

    primary: FleetSpec = FleetSpec(types=(FleetTypeSpec(),), on_demand=1)
    core: FleetSpec
    task: FleetSpec | None = None

    @model_validator(mode="after")
    def _one_primary(self) -> Self:
        if self.primary.units != 1 or any(item.weight != 1 for item in self.primary.types):
            raise ValueError("fleets.primary is one node: 1 unit, and types of weight 1")
        return self


class ScalingSpec(Spec):
    """EMR's managed scaling: it adds and takes away core and task nodes between the limits.

    `unit` counts instances or vCPUs of groups, and units of fleets; by default whichever fits.
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
                raise ValueError(
                    f"scaling.{name} is {value}, above maximum, which is {self.maximum}"
                )
        return self
