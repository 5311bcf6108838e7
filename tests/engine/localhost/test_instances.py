"""The local provider's instances and key pairs."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from emrctl.aws.target import Target
from emrctl.engine.localhost.provider import Provider
from emrctl.engine.localhost.resource_type import OperationCancelledError
from emrctl.errors import ProvisioningError

INSTANCE, KEY = "aws:ec2/instance:Instance", "aws:ec2/keyPair:KeyPair"


@pytest.fixture
def provider(aws: Target) -> Provider:
    return Provider(aws, threading.Event())


@pytest.fixture
def inputs(aws: Target) -> dict[str, Any]:
    """Return the minimal inputs of an instance in the default VPC."""
    ec2, iam = aws.client("ec2"), aws.client("iam")
    ec2.create_key_pair(KeyName="k")
    iam.create_instance_profile(InstanceProfileName="p")
    return {
        "ami": "ami-0a",
        "instanceType": "m5.xlarge",
        "subnetId": ec2.describe_subnets()["Subnets"][0]["SubnetId"],
        "vpcSecurityGroupIds": [ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]],
        "keyName": "k",
        "iamInstanceProfile": "p",
        "rootBlockDevice": {
            "volumeSize": 20,
            "volumeType": "gp3",
            "encrypted": True,
            "deleteOnTermination": True,
        },
        "tags": {"emrctl:stack": "pets-main", "emrctl:node": "worker-1"},
    }


def test_settle_terminated_instance_raises_with_reason(
    provider: Provider, aws: Target, inputs: dict[str, Any]
) -> None:
    id_ = provider.create(INSTANCE, inputs)
    aws.client("ec2").terminate_instances(InstanceIds=[id_])
    with pytest.raises(ProvisioningError, match=f"{id_} is terminated: .*User initiated"):
        provider.settle(INSTANCE, id_, inputs)
    assert provider.is_terminated(INSTANCE, id_, inputs)
    assert provider.find(INSTANCE, inputs) is None


def test_settle_unknown_instance_waits(
    provider: Provider, aws: Target, inputs: dict[str, Any]
) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(OperationCancelledError):
        Provider(aws, stop).settle(INSTANCE, "i-0123456789abcdef0", inputs)


def test_settle_stopped_instance_returns_outputs(
    provider: Provider, aws: Target, inputs: dict[str, Any]
) -> None:
    id_ = provider.create(INSTANCE, inputs)
    aws.client("ec2").stop_instances(InstanceIds=[id_])
    outputs = provider.settle(INSTANCE, id_, inputs)
    assert (outputs["instanceState"], outputs["publicIp"]) == ("stopped", "")
    assert not provider.is_terminated(INSTANCE, id_, inputs)
    assert provider.find(INSTANCE, inputs) == id_


def test_find_instance_requires_stack_and_node_tags(
    provider: Provider, inputs: dict[str, Any]
) -> None:
    id_ = provider.create(INSTANCE, inputs)
    other = inputs["tags"] | {"emrctl:node": "worker-2"}
    assert provider.find(INSTANCE, inputs | {"tags": other}) is None
    assert provider.find(INSTANCE, inputs | {"tags": {}}) is None
    assert provider.find(INSTANCE, inputs) == id_


def test_update_security_groups_in_place(
    provider: Provider, aws: Target, inputs: dict[str, Any]
) -> None:
    ec2 = aws.client("ec2")
    id_ = provider.create(INSTANCE, inputs)
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    group = ec2.create_security_group(GroupName="g", Description="g", VpcId=vpc)["GroupId"]
    changed = inputs | {"vpcSecurityGroupIds": [group]}
    found = provider.diff(INSTANCE, inputs, changed)
    assert (found.keys, found.replaces) == (("vpcSecurityGroupIds",), ())
    provider.update(INSTANCE, id_, changed, frozenset(found.keys))
    observed = provider.observe(INSTANCE, id_, changed)
    assert observed is not None
    assert observed[0]["vpcSecurityGroupIds"] == [group]


def test_check_unsupported_input_returns_reason(provider: Provider, inputs: dict[str, Any]) -> None:
    [(key, why)] = provider.check(INSTANCE, inputs | {"placementGroup": "g"})
    assert key == "placementGroup"
    assert "localhost" in why


def test_find_key_pair_without_stack_tag_returns_none(provider: Provider, aws: Target) -> None:
    aws.client("ec2").create_key_pair(KeyName="mine")
    wanted = {"keyName": "mine", "publicKey": "ssh-rsa A", "tags": {"emrctl:stack": "pets-main"}}
    assert provider.find(KEY, wanted) is None
    with pytest.raises(ProvisioningError) as caught:
        provider.create(KEY, wanted)
    assert "choose another name" in caught.value.hint


def test_diff_public_key_deletes_old_key_first(provider: Provider) -> None:
    old = {"keyName": "k", "publicKey": "a"}
    found = provider.diff(KEY, old, old | {"publicKey": "b"})
    assert (found.replaces, found.delete_first) == (("publicKey",), True)
