"""The local provider, and its operations for Pulumi's engine."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from emrctl.aws.target import Target
from emrctl.engine.localhost.provider import RESOURCE_TYPES, Provider, short
from emrctl.engine.localhost.resource_type import OperationCancelledError
from emrctl.engine.pulumi.grpc_provider import CreateJournal, ProviderCalls
from emrctl.errors import CredentialsError, ProvisioningError

ROLE = "aws:iam/role:Role"
GROUP = "aws:ec2/securityGroup:SecurityGroup"
CLUSTER = "aws:emr/cluster:Cluster"
TASK_GROUP = "aws:emr/instanceGroup:InstanceGroup"
BUCKET = "aws:s3/bucket:Bucket"


@pytest.fixture
def provider(aws: Target) -> Provider:
    return Provider(aws, threading.Event())


def test_check_returns_all_unsupported_inputs(provider: Provider) -> None:
    inputs = {"name": "n", "kerberosAttributes": {}, "customAmiId": "ami-1"}
    failures = provider.check(CLUSTER, inputs)
    assert [key for key, _ in failures] == ["customAmiId", "kerberosAttributes"]
    assert "localhost" in failures[0][1]


def test_diff_distinguishes_update_and_replacement(provider: Provider) -> None:
    old = {"coreInstanceGroup": {"instanceCount": 2, "instanceType": "a"}, "logUri": "s3://a/"}
    more = old | {"coreInstanceGroup": {"instanceCount": 3, "instanceType": "a"}}
    found = provider.diff(CLUSTER, old, more)
    assert (found.keys, found.replaces) == (("coreInstanceGroup.instanceCount",), ())
    other = more | {"logUri": "s3://b/"}
    assert provider.diff(CLUSTER, old, other).replaces == ("logUri",)
    assert provider.diff(CLUSTER, old, dict(old)).keys == ()


@pytest.mark.parametrize(
    "key",
    ["releaseLabel", "configurationsJson", "ec2Attributes", "securityConfiguration"]  # noqa: RUF005
    + ["bootstrapActions", "applications", "serviceRole", "masterInstanceGroup"],
)
def test_diff_immutable_cluster_input_requires_replacement(provider: Provider, key: str) -> None:
    assert provider.diff(CLUSTER, {key: "a"}, {key: "b"}).replaces == (key,)


@pytest.mark.parametrize("key", ["bidPrice", "clusterId", "ebsConfigs", "instanceType", "name"])
def test_diff_immutable_task_group_input_requires_replacement(provider: Provider, key: str) -> None:
    group = {"instanceCount": 1, key: "a"}
    assert provider.diff(TASK_GROUP, group, group | {key: "b"}).replaces == (key,)
    assert provider.diff(TASK_GROUP, group, group | {"instanceCount": 2}).replaces == ()


def test_diff_same_unique_inputs_deletes_first(provider: Provider) -> None:
    old = {"name": "g", "vpcId": "vpc-1", "description": "a"}
    assert provider.diff(GROUP, old, old | {"description": "b"}).delete_first
    assert not provider.diff(GROUP, old, old | {"vpcId": "vpc-2"}).delete_first
    assert not provider.diff(GROUP, old, old | {"name": "h"}).delete_first


def test_provider_creates_updates_and_deletes_role(provider: Provider) -> None:
    inputs = {"name": "r", "assumeRolePolicy": "{}"}
    id_ = provider.create(ROLE, inputs)
    outputs = provider.settle(ROLE, id_, inputs)
    assert outputs["arn"].endswith(":role/r")
    assert provider.find(ROLE, inputs) == id_
    changed = inputs | {"description": "new"}
    provider.update(ROLE, id_, changed, frozenset({"description"}))
    assert provider.read(ROLE, id_, changed) is not None
    provider.delete(ROLE, id_, changed)
    assert provider.read(ROLE, id_, changed) is None
    provider.delete(ROLE, id_, changed)


@pytest.mark.usefixtures("runtime")
def test_delete_missing_resource_of_every_type_succeeds(mocked: Target) -> None:
    provider = Provider(mocked, threading.Event())
    ids = {
        "aws:iam/rolePolicy:RolePolicy": "r:p",
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment": "r/arn:aws:iam::aws:policy/p",
        "aws:ec2/vpc:Vpc": "vpc-1",
        "aws:ec2/subnet:Subnet": "subnet-1",
        "aws:ec2/internetGateway:InternetGateway": "igw-1",
        "aws:ec2/routeTable:RouteTable": "rtb-1",
        "aws:ec2/route:Route": "rtb-1_0.0.0.0/0",
        "aws:ec2/routeTableAssociation:RouteTableAssociation": "rtbassoc-1",
        "aws:ec2/vpcEndpoint:VpcEndpoint": "vpce-1",
        GROUP: "sg-1",
        CLUSTER: "j-1",
    }
    inputs = {"securityGroupId": "sg-1", "clusterId": "j-1"}
    for token in RESOURCE_TYPES:
        provider.delete(token, ids.get(token, "nothing-here"), inputs)


def test_create_existing_bucket_raises(provider: Provider, aws: Target) -> None:
    aws.client("s3").create_bucket(Bucket="mine")
    with pytest.raises(ProvisioningError, match="'mine' exists") as caught:
        provider.create(BUCKET, {"bucket": "mine"})
    assert "storage.bucket" in caught.value.hint


def test_settle_with_stop_set_is_cancelled(
    provider: Provider, aws: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = threading.Event()
    stop.set()
    monkeypatch.setattr("emrctl.engine.localhost.emr.describe", lambda *_: _starting())
    with pytest.raises(OperationCancelledError):
        Provider(aws, stop).settle(CLUSTER, "j-1", {})


def _starting() -> dict[str, object]:
    return {"Status": {"State": "STARTING"}}


@pytest.mark.parametrize(
    ("code", "family"),
    [
        ("ExpiredToken", CredentialsError),
        ("AccessDenied", CredentialsError),
        ("ThrottlingException", ProvisioningError),
        ("ValidationException", ProvisioningError),
    ],
)
def test_create_aws_error_raises_emrctl_error(
    provider: Provider,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    family: type[Exception],
) -> None:
    from botocore.exceptions import ClientError

    def refuse(*_: object) -> None:
        raise ClientError({"Error": {"Code": code, "Message": "no"}}, "CreateRole")

    monkeypatch.setattr("emrctl.engine.localhost.iam.tag_list", refuse)
    with pytest.raises(family, match=rf"creating iam\.Role: .*no \({code}\)") as caught:
        provider.create(ROLE, {"name": "r", "assumeRolePolicy": "{}"})
    assert getattr(caught.value, "hint", "")


def test_short_returns_module_and_name() -> None:
    assert short(CLUSTER) == "emr.Cluster"
    assert short("aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule") == (
        "vpc.SecurityGroupEgressRule"
    )


def test_create_after_killed_provider_returns_existing_id(
    provider: Provider, aws: Target, tmp_path: Path
) -> None:
    urn, inputs = "urn:role", {"name": "r", "assumeRolePolicy": "{}"}
    CreateJournal(tmp_path / "begun").start(urn)
    id_ = provider.create(ROLE, inputs)
    later = ProviderCalls(aws, threading.Event(), CreateJournal(tmp_path / "begun"), [])
    assert later.create(urn, ROLE, inputs) == id_
    later.journal.end(urn)
    with pytest.raises(ProvisioningError, match="already exists"):
        later.create(urn, ROLE, inputs)


def test_create_without_response_finds_resource(
    aws: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = ProviderCalls(aws, threading.Event(), CreateJournal(tmp_path / "begun"), [])
    inputs = {"name": "r", "assumeRolePolicy": "{}"}
    create = answers.provider.create

    def cut_off(token: str, given: dict[str, str]) -> str:
        create(token, given)
        raise ProvisioningError("no answer")

    monkeypatch.setattr(answers.provider, "create", cut_off)
    assert answers.create("urn:role", ROLE, inputs) == "r"
