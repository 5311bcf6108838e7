"""Discover and delete emrctl's resources on moto's AWS, by tags."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from emrctl import cleanup
from emrctl.aws.target import Target
from emrctl.cleanup import failed_up
from emrctl.clusters.model import Cluster
from emrctl.errors import ProvisioningError
from emrctl.provision import lifecycle, stacks
from emrctl.provision.stacks import Deployment
from emrctl.spec import ProjectSpec
from tests.emulator.fake_runtime import FakeRuntime
from tests.runs.backends.rejected_calls import refusing

LATER = datetime.now(UTC) + timedelta(days=1)
SPEC = ProjectSpec.model_validate(
    {"project": "pets", "cluster": {"core": {"count": 2}, "ttl_s": 172_800}}
)


def _say(_line: str) -> None:
    """Discard a progress line."""


@pytest.fixture
def cluster(mocked: Target, runtime: FakeRuntime, tmp_path: Path) -> Cluster:
    return lifecycle.deploy(Deployment(SPEC, mocked, tmp_path))


def _classified(target: Target, *, buckets: bool = False) -> tuple[cleanup.AwsResource, ...]:
    found = cleanup.discover(target)
    assert found.notes == ()
    scope = cleanup.Scope(now=LATER, complete=True, buckets=buckets, unlisted=found.unlisted)
    return cleanup.classify(found.resources, scope)


def _kinds(resources: Any) -> Counter[str]:
    return Counter(one.kind for one in resources)


def _expire(target: Target, cluster_id: str) -> None:
    past = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    tags = [{"Key": "emrctl:expires", "Value": past}]
    target.client("emr").add_tags(ResourceId=cluster_id, Tags=tags)


def test_discover_lists_all_resources_of_a_stack_with_costs(
    mocked: Target, cluster: Cluster
) -> None:
    resources = _classified(mocked)
    kinds = _kinds(resources)
    wanted = {"cluster": 1, "VPC": 1, "subnet": 1, "security group": 2, "role": 2, "bucket": 1}
    assert wanted.items() <= kinds.items()
    assert "instance" not in kinds  # nodes are part of their cluster
    [emr_cluster] = [one for one in resources if one.kind == "cluster"]
    assert emr_cluster.hourly_usd == pytest.approx(3 * 0.240)
    assert {one.usage for one in resources} == {"in use"}
    assert {one.project for one in resources} == {"pets"}


def test_delete_removes_an_expired_cluster_and_its_stack(mocked: Target, cluster: Cluster) -> None:
    _expire(mocked, cluster.id)
    chosen = [one for one in _classified(mocked) if one.deletable]
    assert _kinds(chosen)["cluster"] == 1
    found = cleanup.delete(mocked, chosen, _say)
    assert found.remaining == ()
    assert set(found.deleted) == set(chosen)
    assert _kinds(_classified(mocked)) == {"bucket": 1}
    status = mocked.client("emr").describe_cluster(ClusterId=cluster.id)["Cluster"]["Status"]
    assert status["State"] == "TERMINATED"
    assert mocked.client("iam").list_instance_profiles()["InstanceProfiles"] == []


def test_delete_removes_orphans_and_included_buckets(mocked: Target, cluster: Cluster) -> None:
    emr = mocked.client("emr")
    emr.terminate_job_flows(JobFlowIds=[cluster.id])
    while emr.describe_cluster(ClusterId=cluster.id)["Cluster"]["Status"]["State"] != "TERMINATED":
        pass
    chosen = [one for one in _classified(mocked, buckets=True) if one.deletable]
    assert "bucket" in _kinds(chosen)
    assert cleanup.delete(mocked, chosen, _say).remaining == ()
    assert _classified(mocked) == ()


def test_delete_keeps_protected_clusters_and_their_stacks(mocked: Target, cluster: Cluster) -> None:
    _expire(mocked, cluster.id)
    emr = mocked.client("emr")
    emr.set_termination_protection(JobFlowIds=[cluster.id], TerminationProtected=True)
    chosen = [one for one in _classified(mocked) if one.deletable]
    found = cleanup.delete(mocked, chosen, _say)
    assert found.deleted == ()
    assert len(found.remaining) == len(chosen)
    assert any("protected against termination" in why for _, why in found.remaining)
    assert emr.describe_cluster(ClusterId=cluster.id)["Cluster"]["Status"]["State"] == "WAITING"


def test_delete_removes_mutually_referencing_groups_and_emr_leftovers(
    mocked: Target,
) -> None:
    ec2 = mocked.client("ec2")
    marks = [{"Key": "emrctl:project", "Value": "pets"}, {"Key": "emrctl:stack", "Value": "pets-x"}]
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    ec2.create_tags(Resources=[vpc], Tags=marks)
    names = ("ElasticMapReduce-master", "ElasticMapReduce-slave")
    ids = [
        ec2.create_security_group(GroupName=name, Description="EMR's", VpcId=vpc)["GroupId"]
        for name in names
    ]
    for own, other in (ids, ids[::-1]):
        pair = [{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": other}]}]
        ec2.authorize_security_group_ingress(GroupId=own, IpPermissions=pair)
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    ec2.create_network_interface(SubnetId=subnet)
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    nat = ec2.create_nat_gateway(SubnetId=subnet, AllocationId=address)["NatGateway"]
    loose = ec2.create_volume(AvailabilityZone="us-east-1a", Size=73, VolumeType="gp3")
    single = ec2.run_instances(MinCount=1, MaxCount=1, InstanceType="m5.xlarge")["Instances"][0]
    held = [subnet, address, nat["NatGatewayId"], loose["VolumeId"], single["InstanceId"]]
    ec2.create_tags(Resources=held, Tags=marks)
    resources = _classified(mocked)
    kinds = _kinds(resources)
    assert kinds["security group"] == 2
    assert {"network interface", "NAT gateway", "address", "volume", "instance"} <= set(kinds)
    costs = {one.kind: one.hourly_usd for one in resources}
    assert costs["NAT gateway"] == 0.045
    assert costs["volume"] == pytest.approx(73 * 0.08 / 730)
    assert costs["instance"] == pytest.approx(0.192)
    found = cleanup.delete(mocked, [one for one in resources if one.deletable], _say)
    assert found.remaining == ()
    assert _classified(mocked) == ()


def test_discover_ignores_untagged_resources(mocked: Target) -> None:
    ec2 = mocked.client("ec2")
    ec2.create_vpc(CidrBlock="10.0.0.0/16")
    ec2.run_instances(MinCount=1, MaxCount=1)
    mocked.client("s3").create_bucket(Bucket="somebody-elses")
    mocked.client("iam").create_role(RoleName="theirs", AssumeRolePolicyDocument="{}")
    assert cleanup.discover(mocked).resources == ()


def test_discover_lists_all_given_regions(mocked: Target) -> None:
    regions = cleanup.all_regions(mocked)
    assert regions[0] == "us-east-1"
    assert "eu-west-1" in regions
    far = replace(mocked, region="eu-west-1").client("ec2")
    vpc = far.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    marks = [{"Key": "emrctl:project", "Value": "p"}, {"Key": "emrctl:stack", "Value": "p-main"}]
    far.create_tags(Resources=[vpc], Tags=marks)
    assert cleanup.discover(mocked).resources == ()
    [found] = cleanup.discover(mocked, ("us-east-1", "eu-west-1")).resources
    assert (found.id, found.region) == (vpc, "eu-west-1")


def test_where_clusters_may_not_be_listed_nothing_is_taken_for_left_over(
    mocked: Target, cluster: Cluster
) -> None:
    refusal = ("AccessDeniedException", "not authorized to perform: elasticmapreduce:ListClusters")
    with refusing(lambda _operation: refusal):
        found = cleanup.discover(mocked)
    assert found.unlisted == {"us-east-1"}
    assert any("clusters" in note for note in found.notes)
    scope = cleanup.Scope(now=LATER, complete=True, unlisted=found.unlisted, buckets=True)
    judged = cleanup.classify(found.resources, scope)
    assert judged
    assert not any(one.deletable for one in judged)


def test_stack_resources_str_counts_kinds_and_cost(mocked: Target, cluster: Cluster) -> None:
    found = failed_up.stack_resources(SPEC, mocked)
    assert "1 cluster" in str(found)
    assert "2 security groups" in str(found)
    assert "0.720 USD per hour" in str(found)
    assert found.failure is None


def test_stack_resources_of_a_failed_cluster_has_the_cause(
    mocked: Target, runtime: FakeRuntime, tmp_path: Path
) -> None:
    runtime.failing_bootstrap = 1
    with pytest.raises(ProvisioningError):
        lifecycle.deploy(Deployment(SPEC, mocked, tmp_path))
    found = failed_up.stack_resources(SPEC, mocked)
    assert found.failure is not None
    assert "bootstrap script failed" in found.failure.cause
    assert "1 VPC" in str(found)


def test_delete_by_engine_destroys_stacks_with_local_state(
    mocked: Target, cluster: Cluster, tmp_path: Path
) -> None:
    _expire(mocked, cluster.id)
    chosen = [one for one in _classified(mocked) if one.deletable]
    assert failed_up.delete_by_engine(SPEC, mocked, tmp_path, chosen, _say) == ()
    states = {
        state.stack: state for state in stacks.list_stacks(Deployment(SPEC, mocked, tmp_path))
    }
    assert "pets-main" not in states or states["pets-main"].resources == 0
    assert _kinds(_classified(mocked)) == {"bucket": 1}
