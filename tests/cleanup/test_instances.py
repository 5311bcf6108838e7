"""Forgotten clusters of EC2 instances, seen by tags alone and ended with all that was theirs."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from emrctl import cleanup, provision
from emrctl.aws import target as targets
from emrctl.aws.target import Target
from emrctl.cleanup import discover_network, failed_up
from emrctl.spec import ProjectSpec
from tests.engine.conftest import quick_aws
from tests.recorded import Recorded, refused
from tests.runs.backends.troubles import refusing

SPEC = ProjectSpec.model_validate(
    {"project": "pets", "cluster": {"kind": "ec2", "worker": {"spot": False}, "ttl_s": 7200}}
)
NOW = datetime.now(UTC)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Target]:
    from moto.iam.access_control import PermissionResult

    permission = "moto.s3.models.FakeBucket.get_permission"
    monkeypatch.setattr(permission, lambda *_: PermissionResult.NEUTRAL)
    with quick_aws(monkeypatch) as target:
        yield target


@pytest.fixture
def made(aws: Target, tmp_path: Path) -> provision.Cluster:
    return provision.up(SPEC, aws, tmp_path)


def _judged(target: Target, hours: float = 1) -> tuple[cleanup.Thing, ...]:
    found = cleanup.look(target)
    assert found.notes == ()
    scope = cleanup.Scope(
        now=datetime.now(UTC) + timedelta(hours=hours), complete=True, blind=found.blind
    )
    return cleanup.judge(found.things, scope)


def _kinds(things: Any) -> Counter[str]:
    return Counter(one.kind for one in things)


def _end(target: Target, things: Any) -> cleanup.End:
    return cleanup.end(target, things, lambda _line: None)


def test_the_primary_stands_for_its_cluster(aws: Target, made: provision.Cluster) -> None:
    things = _judged(aws)
    wanted = {"cluster": 1, "instance": 2, "VPC": 1, "key pair": 1, "role": 1, "bucket": 1}
    assert wanted.items() <= _kinds(things).items()
    assert {one.verdict for one in things} == {"in use"}
    [cluster] = [one for one in things if one.kind == "cluster"]
    assert (cluster.id, cluster.name, cluster.stack) == (made.id, "pets-main", "pets-main")
    assert cluster.hourly_usd == pytest.approx(0.192 + 64 * 0.08 / 730)


def test_an_expired_one_ends_with_all_that_it_stood_on(
    aws: Target, made: provision.Cluster
) -> None:
    chosen = [one for one in _judged(aws, hours=3) if one.endable]
    assert _kinds(chosen)["instance"] == 2
    found = _end(aws, chosen)
    assert (found.stay, set(found.gone)) == ((), set(chosen))
    assert _kinds(_judged(aws)) == {"bucket": 1}
    assert provision.list_clusters(SPEC, aws) == ()


def test_workers_whose_primary_is_gone_are_left_over(aws: Target, made: provision.Cluster) -> None:
    aws.client("ec2").terminate_instances(InstanceIds=[made.id])
    young = _judged(aws, hours=0.1)
    assert {one.verdict for one in young if one.kind == "instance"} == {"being made"}
    later = _judged(aws)
    assert {one.verdict for one in later if one.kind == "instance"} == {"left over"}
    assert _end(aws, [one for one in later if one.endable]).stay == ()


def test_what_stands_still_costs_its_disks_alone_and_expires_all_the_same(
    aws: Target, made: provision.Cluster
) -> None:
    provision.stop(SPEC, aws)
    things = [one for one in _judged(aws, hours=3) if one.kind in {"cluster", "instance"}]
    assert {one.verdict for one in things} == {"expired"}
    assert [one.hourly_usd for one in things] == [pytest.approx(64 * 0.08 / 730)] * 3
    assert _end(aws, things).stay == ()
    assert provision.list_clusters(SPEC, aws) == ()


def test_instances_are_seen_where_nobody_may_ask_emr(aws: Target, made: provision.Cluster) -> None:
    with refusing(lambda _operation: ("AccessDeniedException", "not you")):
        found = cleanup.look(aws)
    assert _kinds(found.things)["instance"] == 2
    assert found.blind == {aws.region}
    [note] = found.notes
    assert "AccessDenied" in note


def test_standing_says_what_there_is_and_what_it_costs(
    aws: Target, made: provision.Cluster
) -> None:
    found = failed_up.standing(SPEC, aws)
    assert (found.death, found.coming_usd) == (None, 0.0)
    assert "1 cluster, 2 instances" in str(found)
    provision.down(SPEC, aws, Path("/nowhere"))


def test_the_laptop_s_own_stack_is_taken_down_by_its_engine(
    aws: Target, made: provision.Cluster, tmp_path: Path
) -> None:
    chosen = [one for one in _judged(aws, hours=3) if one.endable]
    left = failed_up.by_engine(SPEC, aws, tmp_path, chosen, lambda _line: None)
    assert left == ()
    assert provision.stacks(SPEC, aws, tmp_path)[0].stack == "pets-storage"


def test_another_region_is_not_touched(aws: Target, made: provision.Cluster) -> None:
    elsewhere = dataclasses.replace(aws, region="eu-central-1")
    kinds = _kinds(cleanup.look(elsewhere).things)
    assert "instance" not in kinds


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorded]:
    """An AWS of recorded answers, which has a placement group and nothing else of ours."""
    caches = (targets._client, targets._session)
    for cache in caches:
        cache.cache_clear()
    tags = [{"Key": "emrctl:project", "Value": "pets"}, {"Key": "emrctl:stack", "Value": "pets-x"}]
    groups = [{"GroupName": "pets-x", "State": "available", "Tags": tags}]
    found = Recorded(
        {
            "DescribeNatGateways": {"NatGateways": []},
            "DescribeVpcEndpoints": {"VpcEndpoints": []},
            "DescribeAddresses": {"Addresses": []},
            "DescribeSecurityGroups": {"SecurityGroups": []},
            "DescribeInternetGateways": {"InternetGateways": []},
            "DescribeSubnets": {"Subnets": []},
            "DescribeRouteTables": {"RouteTables": []},
            "DescribeVpcs": {"Vpcs": []},
            "DescribeKeyPairs": {"KeyPairs": []},
            "DescribePlacementGroups": {"PlacementGroups": groups},
            "DeletePlacementGroup": {},
        }
    )
    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", found.answer)
    yield found
    for cache in caches:
        cache.cache_clear()


def test_a_placement_group_on_aws_goes_too(recorded: Recorded) -> None:
    target = Target(kind="aws", region="us-east-1", poll_s=0.01)
    [group] = discover_network.listed(target)
    assert (group.kind, group.id, group.stack) == ("placement group", "pets-x", "pets-x")
    assert _end(target, [group]).gone == (group,)
    assert recorded.calls[-1] == ("DeletePlacementGroup", {"GroupName": "pets-x"})
    recorded.answers["DeletePlacementGroup"] = refused("InvalidPlacementGroup.Unknown")
    assert _end(target, [group]).gone == (group,)
