from __future__ import annotations

import itertools

import pytest

from emrctl.emulator.faults import Capacity, Faults, SlowS3, Throttle
from emrctl.errors import EmrctlError


@pytest.mark.parametrize("percent", [1, 7, 30, 50, 99, 100])
def test_throttle_affects_exact_share_evenly(percent: int) -> None:
    fault = Throttle(percent=percent)
    affected = [seen for seen in range(1, 1001) if fault.affects(seen)]
    assert len(affected) == 10 * percent
    gaps = {later - earlier for earlier, later in itertools.pairwise(affected)}
    assert max(gaps) - min(gaps) <= 1


def test_fault_ends_after_its_times_and_counts_what_it_saw() -> None:
    faults = Faults()
    faults.add(Throttle(percent=50, service="s3", times=2))
    hits = [faults.take(Throttle, lambda one: one.service == "s3") is not None for _ in range(6)]
    assert hits == [False, True, False, True, False, False]
    assert faults.describe() == []


def test_fault_ends_after_its_seconds() -> None:
    now = [100.0]
    faults = Faults(clock=lambda: now[0])
    faults.add(SlowS3(delay=1, seconds=30))
    assert faults.take(SlowS3) is not None
    now[0] = 129.0
    assert [one["seconds_left"] for one in faults.describe()] == [1.0]
    now[0] = 130.0
    assert faults.take(SlowS3) is None
    assert faults.describe() == []


def test_fault_replaces_one_of_same_name_and_is_cleared_by_kind() -> None:
    faults = Faults()
    for fault in (
        Throttle(percent=10),
        Throttle(percent=20),
        Throttle(percent=5, service="s3"),
        Capacity(),
    ):
        faults.add(fault)
    assert [one["settings"] for one in faults.describe()] == [
        {"percent": 20},
        {"percent": 5, "service": "s3"},
        {"reason": "insufficient-capacity"},
    ]
    assert faults.clear("throttle") == 2
    assert [one["kind"] for one in faults.describe()] == ["capacity"]
    assert faults.clear() == 1
    assert faults.take(Capacity) is None


def test_capacity_concerns_its_instance_type_and_market() -> None:
    faults = Faults()
    for fault in (Capacity(instance_type="m5.xlarge", market="spot"), Capacity(market="on-demand")):
        faults.add(fault)
    assert len(faults.describe()) == 2
    assert faults.take(Capacity, lambda one: one.concerns("m5.2xlarge", "SPOT")) is None
    assert faults.take(Capacity, lambda one: one.concerns("m5.xlarge", "SPOT")) is not None
    assert faults.take(Capacity, lambda one: one.concerns("m5.xlarge", "ON_DEMAND")) is not None


@pytest.mark.parametrize("settings", [{"instance_type": "nosuch.type"}, {"market": "future"}])
def test_capacity_rejects_unknown_instance_type_or_market(settings: dict[str, str]) -> None:
    with pytest.raises(EmrctlError):
        Capacity(**settings)  # type: ignore[arg-type]
