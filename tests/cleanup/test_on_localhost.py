"""Discover and delete resources on the emulator."""

from __future__ import annotations

import pytest

from emrctl import cleanup
from emrctl.aws.target import Target

pytestmark = pytest.mark.yarn


def test_discover_and_delete_network_on_the_emulator(local: Target) -> None:
    ec2 = local.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    own = [{"Key": "emrctl:project", "Value": "gone"}, {"Key": "emrctl:stack", "Value": "gone-x"}]
    ec2.create_tags(Resources=[vpc], Tags=own)
    assert len(cleanup.all_regions(local)) > 10
    found = cleanup.discover(local)
    assert (found.notes, found.unlisted) == ((), frozenset())
    mine = [one for one in found.resources if one.project == "gone"]
    assert [one.kind for one in mine] == ["VPC"]
    assert cleanup.delete(local, mine, lambda _line: None).remaining == ()
    assert not [one for one in cleanup.discover(local).resources if one.project == "gone"]
