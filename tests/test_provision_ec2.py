"""The verbs of provisioning for clusters of EC2 instances, on moto's AWS in this process."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emrctl import home as places
from emrctl import launching, provision
from emrctl.emulator.fake import FakeLife
from emrctl.errors import NotFoundError, ProvisioningError, SpecError, WaitTimeoutError
from emrctl.provision import Cluster, power
from emrctl.specs import ProjectSpec
from emrctl.target import Target
from tests.backends.troubles import refusing
from tests.engine.conftest import quick_aws


class Home:
    """A project's folder and the AWS that its verbs work on."""

    def __init__(self, target: Target, root: Path) -> None:
        self.target = target
        self.root = root

    def up(self, **cluster: Any) -> Cluster:
        return provision.up(pets(**cluster), self.target, self.root)

    def changes(self, **cluster: Any) -> dict[str, tuple[str, ...]]:
        _, plan = provision.preview(pets(**cluster), self.target, self.root)
        return {c.name: (c.operation, *c.keys) for c in plan.changes if c.operation != "same"}


def pets(**cluster: Any) -> ProjectSpec:
    return ProjectSpec.model_validate({"project": "pets", "cluster": {"kind": "ec2", **cluster}})


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    from moto.iam.access_control import PermissionResult

    # moto reads no conditions: the policy that wants TLS would deny everything.
    permission = "moto.s3.models.FakeBucket.get_permission"
    monkeypatch.setattr(permission, lambda *_: PermissionResult.NEUTRAL)
    with quick_aws(monkeypatch) as target:
        yield Home(target, tmp_path)


def test_up_makes_instances_that_are_found_again(home: Home) -> None:
    found = home.up()
    assert (found.name, found.stack, found.state) == ("main", "pets-main", "RUNNING")
    assert [node.name for node in found.nodes] == ["primary", "worker-1", "worker-2"]
    assert [node.role for node in found.nodes] == ["primary", "worker", "worker"]
    assert found.id == found.nodes[0].id
    assert found.bucket == "pets-emrctl-123456789012-us-east-1"
    assert found.log_uri == f"s3://{found.bucket}/logs/"
    assert set(found.urls) == {"master", "spark"}
    assert provision.list_clusters(pets(), home.target) == (found,)


def test_the_private_key_is_the_user_s_alone(home: Home) -> None:
    home.up()
    file = places.key_file("pets-main")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_second_up_changes_nothing(home: Home) -> None:
    home.up()
    assert home.changes() == {}


def test_workers_come_and_go_from_the_end(home: Home) -> None:
    first = home.up()
    more = home.up(worker={"count": 4})
    assert [node.id for node in more.nodes[:3]] == [node.id for node in first.nodes]
    fewer = home.up(worker={"count": 1})
    assert [node.id for node in fewer.nodes] == [node.id for node in first.nodes[:2]]
    assert fewer.spec.core_group.count == 1


def test_down_leaves_nothing_but_the_reason(home: Home) -> None:
    found = home.up()
    provision.down(pets(), home.target, home.root)
    assert provision.list_clusters(pets(), home.target) == ()
    ended = provision.show(pets(), home.target)
    assert (ended.id, ended.state, ended.hourly_usd) == (found.id, "TERMINATED", 0.0)
    assert "User initiated" in ended.reason
    with pytest.raises(NotFoundError):
        provision.find_cluster(pets(), home.target)


FIRM = {"worker": {"count": 2, "spot": False}}


def test_stop_and_start_keep_the_instances(home: Home) -> None:
    made = home.up(**FIRM)
    project = pets(**FIRM)
    still = provision.stop(project, home.target)
    assert (still.id, still.state, still.stopped) == (made.id, "STOPPED", True)
    assert {node.state for node in still.nodes} == {"STOPPED"}
    assert (still.hourly_usd, still.primary_dns, still.urls) == (0.0, "", {})
    assert provision.stop(project, home.target) == still
    running = provision.start(project, home.target)
    assert [node.id for node in running.nodes] == [node.id for node in made.nodes]
    assert (running.state, running.created) == ("RUNNING", made.created)
    assert provision.start(project, home.target) == running


def test_up_starts_what_was_stopped(home: Home) -> None:
    home.up(**FIRM)
    provision.stop(pets(**FIRM), home.target)
    wakes = ("update", "state")
    assert home.changes(**FIRM) == dict.fromkeys(("primary", "worker-1", "worker-2"), wakes)
    found = home.up(worker={"count": 3, "spot": False})
    assert {node.state for node in found.nodes} == {"RUNNING"}
    assert len(found.nodes) == 4


def test_a_worker_that_is_ended_is_made_anew(home: Home) -> None:
    made = home.up()
    provision.end_workers(pets(), home.target, ["worker-1"])
    assert home.changes() == {"worker-1": ("create", "state")}
    found = home.up()
    primary, first, second = (node.id for node in found.nodes)
    assert (primary, second) == (made.nodes[0].id, made.nodes[2].id)
    assert first != made.nodes[1].id
    with pytest.raises(NotFoundError, match="has no worker primary") as caught:
        provision.end_workers(pets(), home.target, ["worker-2", "primary"])
    assert "worker-1, worker-2" in caught.value.hint
    assert len(provision.find_cluster(pets(), home.target).nodes) == 3


def test_spot_instances_are_not_stopped_and_named(home: Home) -> None:
    home.up()
    with pytest.raises(ProvisioningError, match="worker-1, worker-2 of 'main' are spot") as caught:
        provision.stop(pets(), home.target)
    assert "worker.spot: false" in caught.value.hint
    assert provision.find_cluster(pets(), home.target).state == "RUNNING"


def test_a_worker_that_ended_is_made_again_and_the_others_stay(home: Home) -> None:
    before = home.up()
    home.target.client("ec2").terminate_instances(InstanceIds=[before.nodes[1].id])
    seen = provision.find_cluster(pets(), home.target)
    assert [node.name for node in seen.nodes] == ["primary", "worker-2"]
    assert home.changes() == {"worker-1": ("create", "state")}
    after = home.up()
    assert after.nodes[1].id != before.nodes[1].id
    assert (after.id, after.nodes[2].id) == (before.id, before.nodes[2].id)


def test_a_cluster_whose_workers_are_all_gone_is_shown(home: Home) -> None:
    found = home.up()
    home.target.client("ec2").terminate_instances(InstanceIds=[node.id for node in found.nodes[1:]])
    seen = provision.find_cluster(pets(), home.target)
    assert (seen.spec.core_group.count, len(seen.nodes)) == (0, 1)


def test_the_image_is_kept_while_the_cluster_stands(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.up()
    kept = _images(home)
    monkeypatch.setattr("emrctl.launching._looked_up", lambda *_: "ami-0123456789abcdef0")
    assert home.changes(worker={"count": 3}) == {"worker-3": ("create",)}
    home.up(worker={"count": 3})
    assert _images(home) == kept
    provision.down(pets(), home.target, home.root)
    home.up()
    assert _images(home) == {"ami-0123456789abcdef0"}


def test_each_architecture_keeps_its_own_image(home: Home) -> None:
    mixed = {"primary": {"type": "m6g.xlarge"}}
    home.up(**mixed)
    assert len(_images(home)) == 2
    assert home.changes(**mixed) == {}


def test_another_image_in_the_spec_replaces_the_instances(home: Home) -> None:
    home.up()
    changes = home.changes(ami="ami-0123456789abcdef0")
    assert changes["primary"] == ("replace", "ami")
    home.up(ami="ami-0123456789abcdef0")
    assert _images(home) == {"ami-0123456789abcdef0"}


def _images(home: Home) -> set[str]:
    filters = [{"Name": "instance-state-name", "Values": ["running"]}]
    answer = home.target.client("ec2").describe_instances(Filters=filters)
    return {item["ImageId"] for group in answer["Reservations"] for item in group["Instances"]}


def test_a_lost_key_is_told_while_the_cluster_stands(home: Home) -> None:
    home.up()
    places.key_file("pets-main").unlink()
    with pytest.raises(NotFoundError, match="the key of pets-main, which stands") as caught:
        home.up(worker={"count": 3})
    assert "Copy it" in caught.value.hint
    provision.down(pets(), home.target, home.root)
    assert home.up().state == "RUNNING"


def test_a_lost_key_is_told_even_where_ec2_has_forgotten_it_too(home: Home) -> None:
    home.up()
    home.target.client("ec2").delete_key_pair(KeyName="pets-main")
    home.up(worker={"count": 3})
    places.key_file("pets-main").unlink()
    with pytest.raises(NotFoundError, match="the key of pets-main, which stands"):
        home.changes()


def test_another_key_than_the_cluster_s_is_told(home: Home) -> None:
    home.up()
    other = places.key_file("pets-main")
    other.unlink()
    launching._made(other)
    with pytest.raises(NotFoundError, match="the key of pets-main, which stands"):
        home.changes()


def test_a_key_of_the_user_s_is_given_up_for_one_of_our_own(home: Home) -> None:
    home.target.client("ec2").create_key_pair(KeyName="mine")
    home.up(key_pair="mine")
    changes = home.changes()
    assert (changes["key"], changes["primary"]) == (("create",), ("replace", "keyName"))
    assert home.up().state == "RUNNING"


def test_preview_makes_no_key(home: Home) -> None:
    assert home.changes()["key"] == ("create",)
    assert not places.key_file("pets-main").exists()


def test_a_key_pair_of_the_user_s_own(home: Home) -> None:
    home.target.client("ec2").create_key_pair(KeyName="mine")
    found = home.up(key_pair="mine")
    assert not places.key_file("pets-main").exists()
    answer = home.target.client("ec2").describe_instances(InstanceIds=[found.id])
    assert answer["Reservations"][0]["Instances"][0]["KeyName"] == "mine"


def test_clusters_of_both_kinds_stand_side_by_side(home: Home, life: FakeLife) -> None:
    plain = home.up()
    emr = ProjectSpec.model_validate({"project": "pets", "cluster": {"name": "big"}})
    big = provision.up(emr, home.target, home.root)
    assert {found.id for found in provision.list_clusters(emr, home.target)} == {plain.id, big.id}
    assert provision.find_cluster(emr, home.target, "main").spec.kind == "ec2"
    assert provision.find_cluster(pets(), home.target, "big").spec.kind == "emr"
    with pytest.raises(ProvisioningError, match="is EMR's"):
        provision.stop(pets(), home.target, "big")


def test_what_it_costs_is_previewed_without_emr_s_fee(home: Home) -> None:
    _, plan = provision.preview(pets(worker={"spot": False}), home.target, home.root)
    assert plan.ec2_usd == pytest.approx(3 * 0.192)
    assert (plan.emr_usd, plan.other_usd > 0) == (0.0, True)


def test_a_group_lets_in_the_caller_alone(home: Home) -> None:
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


def test_what_ec2_has_not_got_is_told_and_up_goes_on_from_there(
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
    standing = provision.find_cluster(pets(**wanted), home.target)
    found = home.up(**wanted)
    assert (found.id, len(found.nodes)) == (standing.id, 3)


def test_preview_of_a_type_says_what_would_be_replaced(home: Home) -> None:
    home.up()
    changes = home.changes(primary={"type": "m5.2xlarge"})
    assert changes["primary"] == ("replace", "instanceType")
    assert not {"worker-1", "worker-2"} & set(changes)


def test_a_cluster_that_could_cost_too_much_is_not_made(home: Home) -> None:
    with pytest.raises(SpecError, match=r"worker m5\.xlarge spot 1\.920"):
        home.up(worker={"count": 10}, max_hourly_cost=1.0)


def test_another_kind_under_the_same_name_takes_the_place_of_the_first(
    home: Home, life: FakeLife
) -> None:
    emr = ProjectSpec.model_validate({"project": "pets"})
    first = provision.up(emr, home.target, home.root)
    changes = home.changes()
    assert (changes["cluster"], changes["worker-1"]) == (("delete",), ("create",))
    found = home.up()
    assert (found.spec.kind, found.name) == ("ec2", "main")
    every = {cluster.id: cluster.state for cluster in provision.list_clusters(emr, home.target)}
    assert every == {found.id: "RUNNING"}
    state = home.target.client("emr").describe_cluster(ClusterId=first.id)["Cluster"]["Status"]
    assert state["State"] == "TERMINATED"
    back = provision.up(emr, home.target, home.root)
    assert back.spec.kind == "emr"
    assert [cluster.id for cluster in provision.list_clusters(emr, home.target)] == [back.id]


def test_who_may_not_ask_emr_sees_instances_all_the_same(home: Home) -> None:
    made = home.up()
    with refusing(lambda _operation: ("AccessDeniedException", "not you")):
        assert provision.list_clusters(pets(), home.target) == (made,)
        assert provision.find_cluster(pets(), home.target) == made
        with pytest.raises(NotFoundError):
            provision.find_cluster(pets(), home.target, "other")


def test_a_fault_of_the_other_registry_is_no_empty_answer(home: Home) -> None:
    home.up()
    with (
        refusing(lambda _operation: ("InternalFailure", "wait")),
        pytest.raises(ProvisioningError, match="listing clusters"),
    ):
        provision.list_clusters(pets(), home.target)


@pytest.mark.parametrize("tagged", [True, False])
def test_a_network_that_exists_is_stood_in_and_left_as_it_was(home: Home, tagged: bool) -> None:
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
    provision.down(pets(network=network), home.target, home.root)
    assert ec2.describe_subnets(SubnetIds=[subnet])["Subnets"]


def test_a_profile_that_exists_is_taken(home: Home) -> None:
    iam = home.target.client("iam")
    iam.create_instance_profile(InstanceProfileName="theirs")
    found = home.up(roles={"instance_profile": "theirs"})
    assert iam.list_roles()["Roles"] == []
    answer = home.target.client("ec2").describe_instances(InstanceIds=[found.id])
    profile = answer["Reservations"][0]["Instances"][0]["IamInstanceProfile"]["Arn"]
    assert profile.endswith("/theirs")


def test_an_instance_that_never_stops_is_not_waited_for_forever(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.up(**FIRM)
    seen = power._instances

    def stuck(*asked: Any) -> list[dict[str, Any]]:
        found = seen(*asked)
        return [item | {"State": {"Name": "stopping"}} for item in found]

    monkeypatch.setattr(power, "_instances", stuck)
    monkeypatch.setattr(power, "_PATIENCE_S", 0.05)
    with pytest.raises(WaitTimeoutError, match="not stopped after") as caught:
        provision.stop(pets(**FIRM), home.target)
    assert "again" in caught.value.hint


def test_a_cluster_that_ended_itself_is_told_and_made_again(home: Home) -> None:
    first = home.up()
    home.target.client("ec2").terminate_instances(InstanceIds=[node.id for node in first.nodes])
    assert provision.show(pets(), home.target).state == "TERMINATED"
    changes = home.changes()
    assert set(changes) == {"primary", "worker-1", "worker-2"}
    assert set(changes.values()) == {("create", "state")}
    second = home.up()
    assert second.id != first.id
    assert len(second.nodes) == 3
    states = [found.state for found in provision.list_clusters(pets(), home.target, ended=True)]
    assert states == ["RUNNING", "TERMINATED"]
    provision.down(pets(), home.target, home.root)
