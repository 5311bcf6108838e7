"""Groups and fleets of a running cluster in the form of its spec."""

from __future__ import annotations

from typing import Any

from emrctl.clusters.instance_groups import observed_spec
from emrctl.spec import ClusterSpec


def _group(role: str, count: int, **other: Any) -> dict[str, Any]:
    row = {"InstanceGroupType": role, "InstanceType": "r5.xlarge", "RequestedInstanceCount": count}
    return row | {"Name": role.lower()} | other


GROUPS = [
    _group("MASTER", 3),
    _group("CORE", 4, BidPrice="0.12"),
    _group("TASK", 5, Name="mine", InstanceType="m5.2xlarge"),
    _group("TASK", 6, Name="added by others"),
    _group("TASK", 0, Name="emptied"),
]


def test_observed_spec_has_groups_of_cluster_and_volumes_of_spec() -> None:
    spec = ClusterSpec.model_validate({"task": [{"name": "mine", "volume_gb": 99, "bid_usd": 1}]})
    found = observed_spec(spec, "emr-7.1.0", GROUPS)
    assert found.release == "emr-7.1.0"
    assert (found.primary.type, found.primary.count) == ("r5.xlarge", 3)
    assert (found.core.count, found.core.bid_usd) == (4, 0.12)
    mine, others = found.task
    assert (mine.name, mine.type, mine.count) == ("mine", "m5.2xlarge", 5)
    assert (mine.volume_gb, mine.bid_usd) == (99, None)
    assert (others.name, others.count) == ("added by others", 6)
    assert found.nodes == 3 + 4 + 5 + 6


def test_observed_spec_of_groups_has_no_fleets() -> None:
    spec = ClusterSpec.model_validate({"fleets": {"core": {"types": [{}], "spot": 9}}})
    found = observed_spec(spec, "emr-7.1.0", GROUPS)
    assert found.fleets is None
    assert found.core_group.count == 4


def _fleet(role: str, on_demand: int, spot: int, *types: dict[str, Any]) -> dict[str, Any]:
    return {
        "InstanceFleetType": role,
        "TargetOnDemandCapacity": on_demand,
        "TargetSpotCapacity": spot,
        "InstanceTypeSpecifications": types or [{"InstanceType": "m5.xlarge"}],
    }


FLEETS = [
    _fleet("MASTER", 1, 0),
    _fleet(
        "CORE",
        2,
        6,
        {"InstanceType": "r5.xlarge", "WeightedCapacity": 1, "BidPrice": "0.2"},
        {
            "InstanceType": "r5.2xlarge",
            "WeightedCapacity": 2,
            "BidPriceAsPercentageOfOnDemandPrice": 60.0,
        },
    ),
    _fleet("TASK", 0, 3),
]


def test_observed_spec_has_fleets_of_cluster() -> None:
    core = {"types": [{"type": "r5.xlarge", "volume_gb": 99}], "on_demand": 1, "timeout_min": 7}
    spec = ClusterSpec.model_validate({"fleets": {"core": core}})
    for known in (spec, ClusterSpec()):
        fleets = observed_spec(known, "emr-7.1.0", FLEETS).fleets
        assert fleets is not None
        assert (fleets.core.on_demand, fleets.core.spot) == (2, 6)
        first, second = fleets.core.types
        assert (first.bid_usd, first.bid_percent) == (0.2, None)
        assert (second.type, second.weight, second.bid_percent) == ("r5.2xlarge", 2, 60.0)
        assert fleets.task is not None
        assert fleets.task.units == 3
        assert first.volume_gb == (99 if known is spec else 64)
        assert fleets.core.timeout_min == (7 if known is spec else 20)


def test_observed_spec_of_emptied_task_fleet_has_none() -> None:
    found = observed_spec(ClusterSpec(), "emr-7.1.0", [*FLEETS[:2], _fleet("TASK", 0, 0)])
    assert found.fleets is not None
    assert found.fleets.task is None
    assert found.nodes == 1 + 8
