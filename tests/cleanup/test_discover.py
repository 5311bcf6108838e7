"""What emrctl made on moto's AWS: seen by tags alone, and ended in the order that works."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from emrctl import cleanup, provision
from emrctl.aws.target import Target
from emrctl.cleanup import failed_up
from emrctl.errors import ProvisioningError
from emrctl.spec import ProjectSpec
from tests.emulator.fake_runtime import FakeRuntime
from tests.runs.backends.troubles import refusing

LATER = datetime.now(UTC) + timedelta(days=1)
SPEC = ProjectSpec.model_validate(
    {"project": "pets", "cluster": {"core": {"count": 2}, "ttl_s": 172_800}}
)


def _say(_line: str) -> None:
    """Nobody reads."""


@pytest.fixture
def made(mocked: Target, runtime: FakeRuntime, tmp_path: Path) -> provision.Cluster:
    return provision.up(SPEC, mocked, tmp_path)


def _judged(target: Target, *, buckets: bool = False) -> tuple[cleanup.Thing, ...]:
    found = cleanup.look(target)
    assert found.notes == ()
    scope = cleanup.Scope(now=LATER, complete=True, buckets=buckets, blind=found.blind)
    return cleanup.judge(found.things, scope)


def _kinds(things: Any) -> Counter[str]:
    return Counter(one.kind for one in things)


def _expire(target: Target, cluster_id: str) -> None:
    past = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    tags = [{"Key": "emrctl:expires", "Value": past}]
    target.client("emr").add_tags(ResourceId=cluster_id, Tags=tags)


def test_a_stack_is_seen_whole_with_what_it_costs(mocked: Target, made: provision.Cluster) -> None:
    things = _judged(mocked)
    kinds = _kinds(things)
    wanted = {"cluster": 1, "VPC": 1, "subnet": 1, "security group": 2, "role": 2, "bucket": 1}
    assert wanted.items() <= kinds.items()
    assert "instance" not in kinds  # its nodes are the cluster's own
    [cluster] = [one for one in things if one.kind == "cluster"]
    assert cluster.hourly_usd == pytest.approx(3 * 0.240)
    assert {one.verdict for one in things} == {"in use"}
    assert {one.project for one in things} == {"pets"}


def test_an_expired_cluster_ends_with_all_that_it_stood_on(
    mocked: Target, made: provision.Cluster
) -> None:
    _expire(mocked, made.id)
    chosen = [one for one in _judged(mocked) if one.endable]
    assert _kinds(chosen)["cluster"] == 1
    found = cleanup.end(mocked, chosen, _say)
    assert found.stay == ()
    assert set(found.gone) == set(chosen)
    assert _kinds(_judged(mocked)) == {"bucket": 1}
    status = mocked.client("emr").describe_cluster(ClusterId=made.id)["Cluster"]["Status"]
    assert status["State"] == "TERMINATED"
    assert mocked.client("iam").list_instance_profiles()["InstanceProfiles"] == []


def test_what_a_dead_cluster_left_behind_ends_and_the_bucket_on_request(
    mocked: Target, made: provision.Cluster
) -> None:
    emr = mocked.client("emr")
    emr.terminate_job_flows(JobFlowIds=[made.id])
    while emr.describe_cluster(ClusterId=made.id)["Cluster"]["Status"]["State"] != "TERMINATED":
        pass
    chosen = [one for one in _judged(mocked, buckets=True) if one.endable]
    assert "bucket" in _kinds(chosen)
    assert cleanup.end(mocked, chosen, _say).stay == ()
    assert _judged(mocked) == ()


def test_a_protected_cluster_and_what_it_stands_on_stay_and_are_told(
    mocked: Target, made: provision.Cluster
) -> None:
    _expire(mocked, made.id)
    emr = mocked.client("emr")
    emr.set_termination_protection(JobFlowIds=[made.id], TerminationProtected=True)
    chosen = [one for one in _judged(mocked) if one.endable]
    found = cleanup.end(mocked, chosen, _say)
    assert found.gone == ()
    assert len(found.stay) == len(chosen)
    assert any("protected against termination" in why for _, why in found.stay)
    assert emr.describe_cluster(ClusterId=made.id)["Cluster"]["Status"]["State"] == "WAITING"


def test_groups_that_name_one_another_and_what_emr_left_go_with_their_vpc(
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
    things = _judged(mocked)
    kinds = _kinds(things)
    assert kinds["security group"] == 2
    assert {"network interface", "NAT gateway", "address", "volume", "instance"} <= set(kinds)
    costs = {one.kind: one.hourly_usd for one in things}
    assert costs["NAT gateway"] == 0.045
    assert costs["volume"] == pytest.approx(73 * 0.08 / 730)
    assert costs["instance"] == pytest.approx(0.192)
    found = cleanup.end(mocked, [one for one in things if one.endable], _say)
    assert found.stay == ()
    assert _judged(mocked) == ()


def test_others_things_are_never_seen(mocked: Target) -> None:
    ec2 = mocked.client("ec2")
    ec2.create_vpc(CidrBlock="10.0.0.0/16")
    ec2.run_instances(MinCount=1, MaxCount=1)
    mocked.client("s3").create_bucket(Bucket="somebody-elses")
    mocked.client("iam").create_role(RoleName="theirs", AssumeRolePolicyDocument="{}")
    assert cleanup.look(mocked).things == ()


def test_every_region_is_looked_at_on_request(mocked: Target) -> None:
    regions = cleanup.all_regions(mocked)
    assert regions[0] == "us-east-1"
    assert "eu-west-1" in regions
    far = replace(mocked, region="eu-west-1").client("ec2")
    vpc = far.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    marks = [{"Key": "emrctl:project", "Value": "p"}, {"Key": "emrctl:stack", "Value": "p-main"}]
    far.create_tags(Resources=[vpc], Tags=marks)
    assert cleanup.look(mocked).things == ()
    [found] = cleanup.look(mocked, ("us-east-1", "eu-west-1")).things
    assert (found.id, found.region) == (vpc, "eu-west-1")


def test_where_clusters_may_not_be_listed_nothing_is_taken_for_left_over(
    mocked: Target, made: provision.Cluster
) -> None:
    refusal = ("AccessDeniedException", "not authorized to perform: elasticmapreduce:ListClusters")
    with refusing(lambda _operation: refusal):
        found = cleanup.look(mocked)
    assert found.blind == {"us-east-1"}
    assert any("clusters" in note for note in found.notes)
    scope = cleanup.Scope(now=LATER, complete=True, blind=found.blind, buckets=True)
    judged = cleanup.judge(found.things, scope)
    assert judged
    assert not any(one.endable for one in judged)


def test_what_a_stack_costs_is_told_in_a_sentence(mocked: Target, made: provision.Cluster) -> None:
    found = failed_up.standing(SPEC, mocked)
    assert "1 cluster" in str(found)
    assert "2 security groups" in str(found)
    assert "for 0.720 USD an hour" in str(found)
    assert found.death is None


def test_a_cluster_that_just_gave_up_is_told_with_its_cause(
    mocked: Target, runtime: FakeRuntime, tmp_path: Path
) -> None:
    runtime.failing_bootstrap = 1
    with pytest.raises(ProvisioningError):
        provision.up(SPEC, mocked, tmp_path)
    found = failed_up.standing(SPEC, mocked)
    assert found.death is not None
    assert "bootstrap script failed" in found.death.cause
    assert "1 VPC" in str(found)


def test_a_stack_whose_state_is_here_ends_by_its_own_engine(
    mocked: Target, made: provision.Cluster, tmp_path: Path
) -> None:
    _expire(mocked, made.id)
    chosen = [one for one in _judged(mocked) if one.endable]
    assert failed_up.by_engine(SPEC, mocked, tmp_path, chosen, _say) == ()
    states = {state.stack: state for state in provision.stacks(SPEC, mocked, tmp_path)}
    assert "pets-main" not in states or states["pets-main"].resources == 0
    assert _kinds(_judged(mocked)) == {"bucket": 1}
