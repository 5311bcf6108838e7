"""Tests of the cluster stack that apply to every engine."""

from __future__ import annotations

import threading

import pytest

from emrctl.engine.base import StackResult
from emrctl.errors import EmrctlError, ProvisioningError, StackLockedError
from tests.engine.conftest import STACK, Work, interrupted, made, model, when_starting


def test_up_new_stack_creates_all_and_returns_outputs(work: Work) -> None:
    outcome = work.up()
    assert set(made(outcome).values()) == {"create"}
    assert work.clusters() == [outcome.outputs["cluster_id"]]
    assert outcome.outputs["log_uri"] == "s3://pets/logs/"
    assert str(outcome.outputs["vpc_id"]).startswith("vpc-")


def test_up_unchanged_program_changes_nothing(work: Work) -> None:
    first, second = work.up(), work.up()
    assert made(second) == {}
    assert second.outputs == first.outputs
    assert work.events == []


def test_preview_returns_changes_of_up_without_executing_them(work: Work) -> None:
    plan = work.preview()
    assert set(made(plan).values()) == {"create"}
    assert work.clusters() == []
    assert made(work.up()) == made(plan)
    assert work.preview().empty


def test_up_core_count_changed_resizes_in_place(work: Work) -> None:
    before = work.up(core={"count": 2}).outputs["cluster_id"]
    (change,) = [c for c in work.preview(core={"count": 5}).changes if c.operation != "same"]
    assert (change.operation, change.name) == ("update", "cluster")
    assert change.keys == ("coreInstanceGroup.instanceCount", "tags")
    assert work.up(core={"count": 5}).outputs["cluster_id"] == before
    groups = work.target.client("emr").list_instance_groups(ClusterId=before)["InstanceGroups"]
    assert {g["InstanceGroupType"]: g["RequestedInstanceCount"] for g in groups}["CORE"] == 5


def test_up_settings_changed_updates_cluster_in_place(work: Work) -> None:
    id_ = work.up().outputs["cluster_id"]
    assert made(work.up(step_concurrency=4, termination_protection=True)) == {"cluster": "update"}
    cluster = work.target.client("emr").describe_cluster(ClusterId=id_)["Cluster"]
    assert (cluster["StepConcurrencyLevel"], cluster["TerminationProtected"]) == (4, True)


def test_up_tags_changed_adds_and_removes_tags(work: Work) -> None:
    work.up(tags={"team": "a"})
    changed = made(work.up(tags={"owner": "b"}))
    assert set(changed.values()) == {"update"}
    roles = work.target.client("iam").list_role_tags(RoleName="pets-main-nodes")["Tags"]
    assert {"owner"} == {tag["Key"] for tag in roles} & {"owner", "team"}
    vpcs = work.target.client("ec2").describe_vpcs(
        Filters=[{"Name": "tag:owner", "Values": ["b"]}]
    )["Vpcs"]
    assert "team" not in {tag["Key"] for tag in vpcs[0]["Tags"]}


def test_up_release_changed_replaces_only_cluster(work: Work) -> None:
    before = work.up().outputs["cluster_id"]
    plan = work.preview(release="emr-7.1.0")
    assert made(plan) == {"cluster": "replace"}
    after = work.up(release="emr-7.1.0").outputs["cluster_id"]
    assert work.clusters() == [after]
    assert work.clusters("TERMINATED") == [before]


def test_up_cidr_changed_replaces_network_and_cluster(work: Work) -> None:
    before = work.up().outputs
    cidr = {"cidr": "10.99.0.0/16"}
    assert made(work.preview(network=cidr))["cluster"] == "replace"
    after = work.up(network=cidr).outputs
    assert after["vpc_id"] != before["vpc_id"]
    ec2 = work.target.client("ec2")
    vpcs = ec2.describe_vpcs(Filters=[{"Name": "isDefault", "Values": ["false"]}])["Vpcs"]
    assert [vpc["VpcId"] for vpc in vpcs] == [after["vpc_id"]]
    assert work.clusters() == [after["cluster_id"]]
    assert work.preview(network=cidr).empty


def test_up_terminated_cluster_creates_new_one(work: Work) -> None:
    before = work.up().outputs["cluster_id"]
    work.target.client("emr").terminate_job_flows(JobFlowIds=[before])
    (change,) = [c for c in work.preview().changes if c.operation != "same"]
    assert (change.operation, change.name, change.keys) == ("create", "cluster", ("state",))
    after = work.up().outputs["cluster_id"]
    assert work.clusters() == [after]
    assert after != before


def test_up_failed_resource_is_named_and_next_up_continues(work: Work) -> None:
    iam = work.target.client("iam")
    iam.create_role(RoleName="pets-main-service", AssumeRolePolicyDocument="{}")
    with pytest.raises(ProvisioningError, match=r"iam\.Role.*already exists.*resources exist") as e:
        work.up()
    assert "another name" in e.value.hint
    assert work.clusters() == []
    vpc = work.target.client("ec2").describe_vpcs(
        Filters=[{"Name": "tag:emrctl:stack", "Values": [STACK]}]
    )["Vpcs"][0]["VpcId"]
    iam.delete_role(RoleName="pets-main-service")
    done = work.up()
    assert done.outputs["vpc_id"] == vpc
    assert "vpc" not in made(done)
    assert {"service-role", "cluster"} <= set(made(done))


def test_up_existing_foreign_role_fails_and_keeps_role(work: Work) -> None:
    iam = work.target.client("iam")
    iam.create_role(RoleName="pets-main-service", AssumeRolePolicyDocument="{}")
    for _ in range(2):
        with pytest.raises(ProvisioningError, match="already exists"):
            work.up()
    work.down()
    assert [role["RoleName"] for role in iam.list_roles()["Roles"]] == ["pets-main-service"]


@pytest.mark.usefixtures("never_ready")
def test_up_bootstrap_failure_reports_reason_and_log(work: Work) -> None:
    reason = "On the master instance (i-0abc), bootstrap action 1 returned a non-zero return code"

    def fail(id_: str) -> None:
        cluster = model(id_)
        cluster.last_state_change_reason = reason
        cluster.state = "TERMINATED_WITH_ERRORS"

    when_starting(work, fail)
    with pytest.raises(ProvisioningError) as caught:
        work.up()
    assert "TERMINATED_WITH_ERRORS" in caught.value.message
    assert reason in caught.value.message
    assert "/node/i-0abc/bootstrap-actions/1/stderr.gz" in caught.value.message
    assert made(work.preview()) == {"cluster": "create"}


@pytest.mark.usefixtures("never_ready")
def test_up_interrupted_keeps_cluster_id_and_next_up_continues(work: Work) -> None:
    with interrupted(work), pytest.raises((EmrctlError, KeyboardInterrupt)) as caught:
        work.up()
    (id_,) = work.clusters()
    assert id_ in str(caught.value)
    assert "emrctl down" in getattr(caught.value, "hint", "")
    model(id_).state = "WAITING"
    assert work.up().outputs["cluster_id"] == id_
    assert work.clusters() == [id_]


@pytest.mark.usefixtures("never_ready")
def test_down_after_interrupted_up_deletes_all(work: Work) -> None:
    with interrupted(work), pytest.raises((EmrctlError, KeyboardInterrupt)):
        work.up()
    work.down()
    assert work.clusters() == []
    assert work.engine.state(STACK) is None


@pytest.mark.usefixtures("never_ready")
def test_down_during_up_raises_stack_locked_with_process(work: Work) -> None:
    outcomes: list[StackResult] = []
    first = threading.Thread(target=lambda: outcomes.append(work.up()))
    waiting, ready = threading.Event(), threading.Event()

    def hold(id_: str) -> None:
        waiting.set()
        ready.wait(10)
        model(id_).state = "WAITING"

    when_starting(work, hold)
    first.start()
    assert waiting.wait(30)
    with pytest.raises(StackLockedError, match=r"locked by process \d+ \(`"):
        work.engine.down(STACK, lambda _event: None)
    assert made(work.preview()) == {"cluster": "create"}
    ready.set()
    first.join(30)
    assert work.clusters() == [outcomes[0].outputs["cluster_id"]]


def test_down_deletes_all_and_again_does_nothing(work: Work) -> None:
    work.up()
    assert set(made(work.down()).values()) == {"delete"}
    ec2, iam = work.target.client("ec2"), work.target.client("iam")
    ours = [{"Name": "tag:emrctl:stack", "Values": [STACK]}]
    assert ec2.describe_vpcs(Filters=ours)["Vpcs"] == []
    assert ec2.describe_security_groups(Filters=ours)["SecurityGroups"] == []
    assert iam.list_roles()["Roles"] == iam.list_instance_profiles()["InstanceProfiles"] == []
    assert work.clusters() == []
    assert work.engine.state(STACK) is None
    assert work.down().changes == ()


def test_down_deletes_dependents_first(work: Work) -> None:
    work.up()
    order = [change.name for change in work.down().changes]
    assert order[0] == "cluster"
    assert order.index("primary-from-core") < order.index("core") < order.index("vpc")
    assert order.index("default-route") < order.index("gateway")
    assert order.index("instance-profile") < order.index("node-role")


def test_down_failed_keeps_rest_and_next_down_continues(work: Work) -> None:
    id_ = work.up().outputs["cluster_id"]
    emr = work.target.client("emr")
    emr.set_termination_protection(JobFlowIds=[id_], TerminationProtected=True)
    with pytest.raises(ProvisioningError, match="termination protection"):
        work.down()
    state = work.engine.state(STACK)
    assert state is not None
    assert state.resources > 0
    emr.set_termination_protection(JobFlowIds=[id_], TerminationProtected=False)
    work.down()
    assert work.clusters() == []
    assert work.engine.state(STACK) is None


def test_down_ignores_resources_deleted_by_others(work: Work) -> None:
    outputs = work.up().outputs
    work.target.client("emr").terminate_job_flows(JobFlowIds=[outputs["cluster_id"]])
    iam = work.target.client("iam")
    iam.delete_role_policy(RoleName="pets-main-nodes", PolicyName="bucket")
    work.down()
    assert work.engine.state(STACK) is None


def test_up_undeclared_resource_deletes_it(work: Work) -> None:
    from stacks.sdk import ec2, iam

    def two() -> None:
        iam.Role("role", name="pets-role", assume_role_policy="{}")
        ec2.Vpc("vpc", cidr_block="10.1.0.0/16")

    def one() -> None:
        ec2.Vpc("vpc", cidr_block="10.1.0.0/16")

    work.engine.up(STACK, two, work.events.append)
    assert made(work.engine.preview(STACK, one)) == {"role": "delete"}
    work.engine.up(STACK, one, work.events.append)
    assert work.target.client("iam").list_roles()["Roles"] == []


def test_down_protected_resource_requires_force(work: Work) -> None:
    from emrctl.spec import ProjectSpec
    from stacks import program

    settings = {"account": "1", "region": "us-east-1"}
    pets = ProjectSpec(project="pets")
    work.engine.up(
        "pets-storage", lambda: program.declare_storage(pets, settings), work.events.append
    )
    with pytest.raises(ProvisioningError, match=r"s3\.Bucket .* is protected") as caught:
        work.engine.down("pets-storage", work.events.append)
    assert "--storage" in caught.value.hint
    other = ProjectSpec.model_validate({"project": "pets", "storage": {"bucket": "another"}})
    with pytest.raises(ProvisioningError, match=r"is protected: .*(cannot be changed|replace)"):
        work.engine.up(
            "pets-storage", lambda: program.declare_storage(other, settings), work.events.append
        )
    work.engine.down("pets-storage", work.events.append, force=True)
    assert work.target.client("s3").list_buckets()["Buckets"] == []
