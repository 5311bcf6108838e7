"""Subnets and networks that are named by their tags."""

from __future__ import annotations

from typing import Any

import pytest

from emrctl.errors import NotFoundError, SpecError
from emrctl.provision import preflight
from tests.provision.preflight.accounts import TARGET, pets, subnet
from tests.recorded import Recorded

BY_TAG: dict[str, Any] = {"network": {"subnets": {"tier": "data"}}}
FLEET: dict[str, Any] = {"fleets": {"core": {"types": [{}], "on_demand": 1}}}


def test_subnets_and_vpc_are_found_by_their_tags(aws: Recorded) -> None:
    spec = {"network": {"subnets": {"tier": "data"}, "vpc": {"Name": "lab"}}}
    aws.answers["DescribeVpcs"] = {"Vpcs": [{"VpcId": "vpc-1"}]}
    found = preflight.ready(pets(**spec), TARGET).cluster.network
    assert (found.subnets, found.vpc) == (("subnet-1",), "vpc-1")
    asked = next(asked for operation, asked in aws.calls if operation == "DescribeSubnets")
    assert asked["Filters"] == [
        {"Name": "tag:tier", "Values": ["data"]},
        {"Name": "vpc-id", "Values": ["vpc-1"]},
    ]


def test_the_vpc_is_that_of_the_subnets(aws: Recorded) -> None:
    found = preflight.ready(pets(network={"subnets": "subnet-1"}), TARGET)
    assert found.cluster.network.vpc == "vpc-1"


def test_fleets_take_all_that_carry_the_tags_and_groups_one(aws: Recorded) -> None:
    both = [subnet(SubnetId="subnet-2"), subnet()]
    aws.answers["DescribeSubnets"] = {"Subnets": both}
    found = preflight.ready(pets(**BY_TAG, **FLEET), TARGET).cluster.network
    assert found.subnets == ("subnet-1", "subnet-2")
    with pytest.raises(SpecError, match="2 subnets"):
        preflight.ready(pets(**BY_TAG), TARGET)


def test_tags_that_nothing_carries_are_told(aws: Recorded) -> None:
    aws.answers["DescribeSubnets"] = {"Subnets": []}
    with pytest.raises(NotFoundError, match="no subnet in us-east-1 has the id or tags tier=data"):
        preflight.ready(pets(**BY_TAG), TARGET)
    spec = {"network": {"subnets": {"tier": "data"}, "vpc": {"Name": "lab"}}}
    with pytest.raises(NotFoundError, match=r"no VPC .* Name=lab"):
        preflight.ready(pets(**spec), TARGET)


def test_subnets_of_two_vpcs_are_refused(aws: Recorded) -> None:
    both = [subnet(SubnetId="subnet-2", VpcId="vpc-2"), subnet()]
    aws.answers["DescribeSubnets"] = {"Subnets": both}
    with pytest.raises(SpecError, match="several VPCs: vpc-1, vpc-2"):
        preflight.ready(pets(**BY_TAG, **FLEET), TARGET)
