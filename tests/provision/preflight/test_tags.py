"""Existing subnets and VPCs, by ids and by tags."""

from __future__ import annotations

from typing import Any

import pytest

from emrctl.errors import NotFoundError, SpecError
from emrctl.provision import preflight
from tests.provision.preflight.accounts import TARGET, pets, subnet
from tests.recorded import Recorded

BY_TAG: dict[str, Any] = {"network": {"subnets": {"tier": "data"}}}
FLEET: dict[str, Any] = {"fleets": {"core": {"types": [{}], "on_demand": 1}}}


def test_prepare_finds_subnets_and_vpc_by_tags(aws: Recorded) -> None:
    spec = {"network": {"subnets": {"tier": "data"}, "vpc": {"Name": "lab"}}}
    aws.answers["DescribeVpcs"] = {"Vpcs": [{"VpcId": "vpc-1"}]}
    found = preflight.prepare(pets(**spec), TARGET).cluster.network
    assert (found.subnets, found.vpc) == (("subnet-1",), "vpc-1")
    asked = next(asked for operation, asked in aws.calls if operation == "DescribeSubnets")
    assert asked["Filters"] == [
        {"Name": "tag:tier", "Values": ["data"]},
        {"Name": "vpc-id", "Values": ["vpc-1"]},
    ]


def test_prepare_takes_vpc_of_subnets(aws: Recorded) -> None:
    found = preflight.prepare(pets(network={"subnets": "subnet-1"}), TARGET)
    assert found.cluster.network.vpc == "vpc-1"


def test_prepare_allows_several_subnets_for_fleets_only(aws: Recorded) -> None:
    both = [subnet(SubnetId="subnet-2"), subnet()]
    aws.answers["DescribeSubnets"] = {"Subnets": both}
    found = preflight.prepare(pets(**BY_TAG, **FLEET), TARGET).cluster.network
    assert found.subnets == ("subnet-1", "subnet-2")
    with pytest.raises(SpecError, match="2 subnets"):
        preflight.prepare(pets(**BY_TAG), TARGET)


def test_prepare_unmatched_tags_raise_not_found(aws: Recorded) -> None:
    aws.answers["DescribeSubnets"] = {"Subnets": []}
    with pytest.raises(NotFoundError, match="no subnet in us-east-1 has the id or tags tier=data"):
        preflight.prepare(pets(**BY_TAG), TARGET)
    spec = {"network": {"subnets": {"tier": "data"}, "vpc": {"Name": "lab"}}}
    with pytest.raises(NotFoundError, match=r"no VPC .* Name=lab"):
        preflight.prepare(pets(**spec), TARGET)


def test_prepare_rejects_subnets_of_two_vpcs(aws: Recorded) -> None:
    both = [subnet(SubnetId="subnet-2", VpcId="vpc-2"), subnet()]
    aws.answers["DescribeSubnets"] = {"Subnets": both}
    with pytest.raises(SpecError, match="several VPCs: vpc-1, vpc-2"):
        preflight.prepare(pets(**BY_TAG, **FLEET), TARGET)
