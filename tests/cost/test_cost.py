"""Price estimates of EC2 clusters."""

from __future__ import annotations

import json
from typing import Any

import pytest

from emrctl import cost
from emrctl.aws import instance_types, prices
from emrctl.errors import SpecError
from emrctl.spec import ProjectSpec

GB_MONTH, ADDRESS = 0.08, 0.005


def _cost(**cluster: Any) -> cost.CostEstimate:
    document = {"project": "pets", "cluster": {"kind": "ec2", **cluster}}
    return cost.estimate(ProjectSpec.model_validate(document))


def _lines(estimate: cost.CostEstimate) -> dict[str, cost.CostItem]:
    return {line.what: line for line in estimate.items}


def test_estimate_of_ec2_has_instances_disks_and_addresses() -> None:
    found = _cost(worker={"count": 4, "type": "r5.xlarge", "spot": False, "root_gb": 100})
    assert found.ec2_usd == pytest.approx(0.192 + 4 * 0.252)
    assert (found.emr_usd, found.instances_usd) == (0.0, found.ec2_usd)
    disks = (64 + 4 * 100) * GB_MONTH / cost.HOURS_PER_MONTH
    assert found.other_usd == pytest.approx(disks + 5 * ADDRESS)
    assert found.hourly_usd == pytest.approx(found.most_usd)


def test_estimate_of_ec2_equals_emr_without_fee() -> None:
    emr = cost.estimate(ProjectSpec(project="pets"))
    assert _cost(worker={"spot": False}).ec2_usd == pytest.approx(emr.ec2_usd)
    assert emr.emr_usd > 0


def test_estimate_of_spot_is_latest_price_at_most_bid() -> None:
    table = json.loads(json.dumps(instance_types.shipped()["regions"]["us-east-1"]))
    table["spot"] = {"m5.xlarge": 0.07}
    prices.file().parent.mkdir(parents=True)
    prices.file().write_text(json.dumps({"regions": {"us-east-1": table}}))
    free = _lines(_cost(worker={"count": 2}))["worker m5.xlarge spot"]
    assert free.usd == pytest.approx(0.14)
    assert free.most_usd == pytest.approx(2 * 0.192)
    bid = _lines(_cost(worker={"count": 2, "bid_usd": 0.05}))["worker m5.xlarge spot"]
    assert bid.usd == pytest.approx(0.1)
    assert bid.most_usd == pytest.approx(0.1)


def test_estimate_of_private_network_has_endpoints() -> None:
    network = {"private": True, "nat": True}
    found = _lines(_cost(network=network, ssh="10.0.0.0/8"))
    assert found["endpoints"].count == 2
    assert "public addresses" not in found
    assert found["NAT gateway"].usd > 0


def test_estimate_in_existing_network_has_addresses_only() -> None:
    theirs = {"vpc": "vpc-1", "subnets": ["subnet-1"]}
    found = _lines(_cost(network=theirs))
    assert not {"endpoints", "NAT gateway"} & set(found)
    assert found["public addresses"].count == 3
    private = _lines(_cost(network={**theirs, "private": True}, ssh="10.0.0.0/8"))
    assert "public addresses" not in private


def test_estimate_within_limit_compares_maximum() -> None:
    document = {"kind": "ec2", "worker": {"bid_usd": 0.05}, "max_hourly_cost": 0.4}
    fits = ProjectSpec.model_validate({"project": "pets", "cluster": document})
    cost.estimate_within_limit(fits)
    dear = ProjectSpec.model_validate(
        {"project": "pets", "cluster": {**document, "worker": {"bid_usd": 0.15}}}
    )
    with pytest.raises(SpecError, match=r"max_hourly_cost is 0\.400"):
        cost.estimate_within_limit(dear)


def test_estimate_of_ec2_has_no_note_on_fee() -> None:
    derived = _cost(primary={"type": "i4i.xlarge"}, worker={"type": "i4i.xlarge"})
    assert "fee" not in derived.source
