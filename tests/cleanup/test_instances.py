"""Discover and delete EC2 clusters by tags."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from emrctl import cleanup
from emrctl.aws import target as targets
from emrctl.aws.target import Target
from emrctl.cleanup import discovery_network, failed_up
from emrctl.clusters import registry, stop_start
from emrctl.clusters.model import Cluster
from emrctl.provision import lifecycle, stacks
from emrctl.provision.stacks import Deployment
from emrctl.spec import ProjectSpec
from tests.engine.conftest import quick_aws
from tests.recorded import Recorded, refused
from tests.runs.backends.rejected_calls import refusing

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
def cluster(aws: Target, tmp_path: Path) -> Cluster:
    return lifecycle.deploy(Deployment(SPEC, aws, tmp_path))


def _classified(target: Target, hours: float = 1) -> tuple[cleanup.AwsResource, ...]:
    found = cleanup.discover(target)
    assert found.notes == ()
    scope = cleanup.Scope(
        now=datetime.now(UTC) + timedelta(hours=hours), complete=True, unlisted=found.unlisted
    )
    return cleanup.classify(found.resources, scope)


def _kinds(resources: Any) -> Counter[str]:
    return Counter(one.kind for one in resources)


def _end(target: Target, resources: Any) -> cleanup.Deletion:
    return cleanup.delete(target, resources, lambda _line: None)


def test_discover_lists_a_primary_as_its_cluster(aws: Target, cluster: Cluster) -> None:
    resources = _classified(aws)
    wanted = {"cluster": 1, "instance": 2, "VPC": 1, "key pair": 1, "role": 1, "bucket": 1}
    assert wanted.items() <= _kinds(resources).items()
    assert {one.usage for one in resources} == {"in use"}
    [primary] = [one for one in resources if one.kind == "cluster"]
    assert (primary.id, primary.name, primary.stack) == (cluster.id, "pets-main", "pets-main")
    assert primary.hourly_usd == pytest.approx(0.192 + 64 * 0.08 / 730)


def test_delete_removes_an_expired_ec2_cluster_and_its_stack(aws: Target, cluster: Cluster) -> None:
    chosen = [one for one in _classified(aws, hours=3) if one.deletable]
    assert _kinds(chosen)["instance"] == 2
    found = _end(aws, chosen)
    assert (found.remaining, set(found.deleted)) == ((), set(chosen))
    assert _kinds(_classified(aws)) == {"bucket": 1}
    assert registry.list_clusters(SPEC, aws) == ()


def test_classify_workers_without_primary_are_orphaned(aws: Target, cluster: Cluster) -> None:
    aws.client("ec2").terminate_instances(InstanceIds=[cluster.id])
    young = _classified(aws, hours=0.1)
    assert {one.usage for one in young if one.kind == "instance"} == {"creating"}
    later = _classified(aws)
    assert {one.usage for one in later if one.kind == "instance"} == {"orphaned"}
    assert _end(aws, [one for one in later if one.deletable]).remaining == ()


def test_discover_stopped_cluster_costs_only_disks_and_expires(
    aws: Target, cluster: Cluster
) -> None:
    stop_start.stop_instances(SPEC, aws)
    resources = [one for one in _classified(aws, hours=3) if one.kind in {"cluster", "instance"}]
    assert {one.usage for one in resources} == {"expired"}
    assert [one.hourly_usd for one in resources] == [pytest.approx(64 * 0.08 / 730)] * 3
    assert _end(aws, resources).remaining == ()
    assert registry.list_clusters(SPEC, aws) == ()


def test_discover_lists_instances_without_permission_for_emr(aws: Target, cluster: Cluster) -> None:
    with refusing(lambda _operation: ("AccessDeniedException", "not you")):
        found = cleanup.discover(aws)
    assert _kinds(found.resources)["instance"] == 2
    assert found.unlisted == {aws.region}
    [note] = found.notes
    assert "AccessDenied" in note


def test_stack_resources_counts_instances(aws: Target, cluster: Cluster) -> None:
    found = failed_up.stack_resources(SPEC, aws)
    assert (found.failure, found.pending_usd) == (None, 0.0)
    assert "1 cluster, 2 instances" in str(found)
    lifecycle.down(Deployment(SPEC, aws, Path("/nowhere")))


def test_delete_by_engine_destroys_ec2_stack(aws: Target, cluster: Cluster, tmp_path: Path) -> None:
    chosen = [one for one in _classified(aws, hours=3) if one.deletable]
    left = failed_up.delete_by_engine(SPEC, aws, tmp_path, chosen, lambda _line: None)
    assert left == ()
    assert stacks.list_stacks(Deployment(SPEC, aws, tmp_path))[0].stack == "pets-storage"


def test_discover_ignores_other_regions(aws: Target, cluster: Cluster) -> None:
    elsewhere = dataclasses.replace(aws, region="eu-central-1")
    kinds = _kinds(cleanup.discover(elsewhere).resources)
    assert "instance" not in kinds


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorded]:
    """Recorded AWS responses with one tagged placement group."""
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


def test_delete_removes_placement_groups_on_aws(recorded: Recorded) -> None:
    target = Target(kind="aws", region="us-east-1", poll_s=0.01)
    [group] = discovery_network.list_network(target)
    assert (group.kind, group.id, group.stack) == ("placement group", "pets-x", "pets-x")
    assert _end(target, [group]).deleted == (group,)
    assert recorded.calls[-1] == ("DeletePlacementGroup", {"GroupName": "pets-x"})
    recorded.answers["DeletePlacementGroup"] = refused("InvalidPlacementGroup.Unknown")
    assert _end(target, [group]).deleted == (group,)
