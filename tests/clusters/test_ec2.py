"""EC2 clusters: deployment, discovery by tags and deletion, on moto."""

from __future__ import annotations

from typing import Any

import pytest

from emrctl.clusters import registry, stop_start
from emrctl.errors import NotFoundError, ProvisioningError, SpecError
from emrctl.provision import lifecycle
from emrctl.provision.stacks import Deployment
from emrctl.spec import ProjectSpec
from tests.clusters.homes import Home, pets
from tests.emulator.fake_runtime import FakeRuntime
from tests.runs.backends.rejected_calls import refusing


def test_deploy_creates_instances_found_by_tags(home: Home) -> None:
    found = home.up()
    assert (found.name, found.stack, found.state) == ("main", "pets-main", "RUNNING")
    assert [node.name for node in found.nodes] == ["primary", "worker-1", "worker-2"]
    assert [node.role for node in found.nodes] == ["primary", "worker", "worker"]
    assert found.id == found.nodes[0].id
    assert found.bucket == "pets-emrctl-123456789012-us-east-1"
    assert found.log_uri == f"s3://{found.bucket}/logs/"
    assert set(found.urls) == {"master", "spark"}
    assert registry.list_clusters(pets(), home.target) == (found,)


def test_preview_after_deploy_has_no_changes(home: Home) -> None:
    home.up()
    assert home.changes() == {}


def test_deploy_resizes_from_highest_worker(home: Home) -> None:
    first = home.up()
    more = home.up(worker={"count": 4})
    assert [node.id for node in more.nodes[:3]] == [node.id for node in first.nodes]
    fewer = home.up(worker={"count": 1})
    assert [node.id for node in fewer.nodes] == [node.id for node in first.nodes[:2]]
    assert fewer.spec.core_group.count == 1


def test_show_after_down_returns_terminated_cluster(home: Home) -> None:
    found = home.up()
    lifecycle.down(home.deployment())
    assert registry.list_clusters(pets(), home.target) == ()
    ended = registry.show(pets(), home.target)
    assert (ended.id, ended.state, ended.hourly_usd) == (found.id, "TERMINATED", 0.0)
    assert "User initiated" in ended.reason
    with pytest.raises(NotFoundError):
        registry.find_cluster(pets(), home.target)


def test_deploy_replaces_terminated_worker_only(home: Home) -> None:
    before = home.up()
    home.target.client("ec2").terminate_instances(InstanceIds=[before.nodes[1].id])
    seen = registry.find_cluster(pets(), home.target)
    assert [node.name for node in seen.nodes] == ["primary", "worker-2"]
    assert home.changes() == {"worker-1": ("create", "state")}
    after = home.up()
    assert after.nodes[1].id != before.nodes[1].id
    assert (after.id, after.nodes[2].id) == (before.id, before.nodes[2].id)


def test_find_cluster_without_workers(home: Home) -> None:
    found = home.up()
    home.target.client("ec2").terminate_instances(InstanceIds=[node.id for node in found.nodes[1:]])
    seen = registry.find_cluster(pets(), home.target)
    assert (seen.spec.core_group.count, len(seen.nodes)) == (0, 1)


def test_list_clusters_returns_both_kinds(home: Home, runtime: FakeRuntime) -> None:
    plain = home.up()
    emr = ProjectSpec.model_validate({"project": "pets", "cluster": {"name": "big"}})
    big = lifecycle.deploy(Deployment(emr, home.target, home.root))
    assert {found.id for found in registry.list_clusters(emr, home.target)} == {plain.id, big.id}
    assert registry.find_cluster(emr, home.target, "main").spec.kind == "ec2"
    assert registry.find_cluster(pets(), home.target, "big").spec.kind == "emr"
    with pytest.raises(ProvisioningError, match="is an EMR cluster"):
        stop_start.stop_instances(pets(), home.target, "big")


def test_preview_of_ec2_has_no_emr_fee(home: Home) -> None:
    _, plan = lifecycle.preview(home.deployment(worker={"spot": False}))
    assert plan.ec2_usd == pytest.approx(3 * 0.192)
    assert (plan.emr_usd, plan.other_usd > 0) == (0.0, True)


def test_security_group_allows_ssh_from_caller_only(home: Home) -> None:
    found = home.up()
    instance = home.target.client("ec2").describe_instances(InstanceIds=[found.id])
    [group] = instance["Reservations"][0]["Instances"][0]["NetworkInterfaces"][0]["Groups"]
    rules = home.target.client("ec2").describe_security_group_rules(
        Filters=[{"Name": "group-id", "Values": [group["GroupId"]]}]
    )["SecurityGroupRules"]
    inside = [rule for rule in rules if not rule["IsEgress"]]
    [ssh] = [rule for rule in inside if rule.get("CidrIpv4")]
    assert (ssh["CidrIpv4"], ssh["FromPort"], ssh["ToPort"]) == ("127.0.0.1/32", 22, 22)
    [own] = [rule for rule in inside if not rule.get("CidrIpv4")]
    assert own["ReferencedGroupInfo"]["GroupId"] == group["GroupId"]


def test_deploy_continues_after_missing_capacity(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    from moto.ec2.exceptions import EC2ClientError
    from moto.ec2.models import EC2Backend

    launch = EC2Backend.run_instances

    def scarce(self: Any, *given: Any, **more: Any) -> Any:
        if more["instance_type"] == "r5.xlarge":
            raise EC2ClientError("InsufficientInstanceCapacity", "We have no capacity.")
        return launch(self, *given, **more)

    wanted = {"worker": {"type": "r5.xlarge"}}
    with monkeypatch.context() as patch:
        patch.setattr(EC2Backend, "run_instances", scarce)
        with pytest.raises(ProvisioningError, match="no capacity") as caught:
            home.up(**wanted)
    assert "another network.zone or type" in caught.value.hint
    standing = registry.find_cluster(pets(**wanted), home.target)
    found = home.up(**wanted)
    assert (found.id, len(found.nodes)) == (standing.id, 3)


def test_preview_with_changed_type_replaces_primary(home: Home) -> None:
    home.up()
    changes = home.changes(primary={"type": "m5.2xlarge"})
    assert changes["primary"] == ("replace", "instanceType")
    assert not {"worker-1", "worker-2"} & set(changes)


def test_deploy_rejects_cluster_above_cost_limit(home: Home) -> None:
    with pytest.raises(SpecError, match=r"worker m5\.xlarge spot 1\.920"):
        home.up(worker={"count": 10}, max_hourly_cost=1.0)


def test_deploy_with_other_kind_replaces_cluster(home: Home, runtime: FakeRuntime) -> None:
    emr = ProjectSpec.model_validate({"project": "pets"})
    first = lifecycle.deploy(Deployment(emr, home.target, home.root))
    changes = home.changes()
    assert (changes["cluster"], changes["worker-1"]) == (("delete",), ("create",))
    found = home.up()
    assert (found.spec.kind, found.name) == ("ec2", "main")
    every = {cluster.id: cluster.state for cluster in registry.list_clusters(emr, home.target)}
    assert every == {found.id: "RUNNING"}
    state = home.target.client("emr").describe_cluster(ClusterId=first.id)["Cluster"]["Status"]
    assert state["State"] == "TERMINATED"
    back = lifecycle.deploy(Deployment(emr, home.target, home.root))
    assert back.spec.kind == "emr"
    assert [cluster.id for cluster in registry.list_clusters(emr, home.target)] == [back.id]


def test_list_clusters_without_emr_permission_returns_instances(home: Home) -> None:
    made = home.up()
    with refusing(lambda _operation: ("AccessDeniedException", "not you")):
        assert registry.list_clusters(pets(), home.target) == (made,)
        assert registry.find_cluster(pets(), home.target) == made
        with pytest.raises(NotFoundError):
            registry.find_cluster(pets(), home.target, "other")


def test_list_clusters_raises_errors_of_other_kind(home: Home) -> None:
    home.up()
    with (
        refusing(lambda _operation: ("InternalFailure", "wait")),
        pytest.raises(ProvisioningError, match="listing clusters"),
    ):
        registry.list_clusters(pets(), home.target)


@pytest.mark.parametrize("tagged", [True, False])
def test_deploy_uses_existing_network_unchanged(home: Home, tagged: bool) -> None:
    ec2 = home.target.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(
        VpcId=vpc,
        CidrBlock="10.1.0.0/24",
        TagSpecifications=[{"ResourceType": "subnet", "Tags": [{"Key": "tier", "Value": "data"}]}],
    )["Subnet"]["SubnetId"]
    before = len(ec2.describe_vpcs()["Vpcs"])
    network = {"subnets": {"tier": "data"} if tagged else [subnet]}
    found = home.up(network=network)
    assert len(ec2.describe_vpcs()["Vpcs"]) == before
    instance = ec2.describe_instances(InstanceIds=[found.id])["Reservations"][0]["Instances"][0]
    assert (instance["SubnetId"], instance["VpcId"]) == (subnet, vpc)
    assert home.changes(network=network) == {}
    lifecycle.down(home.deployment(network=network))
    assert ec2.describe_subnets(SubnetIds=[subnet])["Subnets"]


def test_deploy_uses_existing_instance_profile(home: Home) -> None:
    iam = home.target.client("iam")
    iam.create_instance_profile(InstanceProfileName="theirs")
    found = home.up(roles={"instance_profile": "theirs"})
    assert iam.list_roles()["Roles"] == []
    answer = home.target.client("ec2").describe_instances(InstanceIds=[found.id])
    profile = answer["Reservations"][0]["Instances"][0]["IamInstanceProfile"]["Arn"]
    assert profile.endswith("/theirs")


def test_deploy_replaces_terminated_cluster(home: Home) -> None:
    first = home.up()
    home.target.client("ec2").terminate_instances(InstanceIds=[node.id for node in first.nodes])
    assert registry.show(pets(), home.target).state == "TERMINATED"
    changes = home.changes()
    assert set(changes) == {"primary", "worker-1", "worker-2"}
    assert set(changes.values()) == {("create", "state")}
    second = home.up()
    assert second.id != first.id
    assert len(second.nodes) == 3
    states = [found.state for found in registry.list_clusters(pets(), home.target, ended=True)]
    assert states == ["RUNNING", "TERMINATED"]
    lifecycle.down(home.deployment())
