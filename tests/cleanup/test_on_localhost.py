"""gc against the emulator's own server: every question that it asks has an answer there."""

from __future__ import annotations

import pytest

from emrctl import cleanup
from emrctl.aws.target import Target

pytestmark = pytest.mark.yarn


def test_a_network_on_the_emulator_is_seen_and_ended(local: Target) -> None:
    ec2 = local.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    own = [{"Key": "emrctl:project", "Value": "gone"}, {"Key": "emrctl:stack", "Value": "gone-x"}]
    ec2.create_tags(Resources=[vpc], Tags=own)
    assert len(cleanup.all_regions(local)) > 10
    found = cleanup.look(local)
    assert (found.notes, found.blind) == ((), frozenset())
    mine = [one for one in found.things if one.project == "gone"]
    assert [one.kind for one in mine] == ["VPC"]
    assert cleanup.end(local, mine, lambda _line: None).stay == ()
    assert not [one for one in cleanup.look(local).things if one.project == "gone"]
