"""A cluster of EC2 instances as the program declares it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from emrctl.engine.embedded.evaluate import Declared
from emrctl.spec import ProjectSpec

Evaluate = Callable[[ProjectSpec], Any]
KEY = "arn:aws:kms:eu-central-1:123456789012:key/k"


def _project(**cluster: Any) -> ProjectSpec:
    return ProjectSpec.model_validate(
        {"project": "pets", "region": "eu-central-1", "cluster": {"kind": "ec2", **cluster}}
    )


def _statements(found: Any) -> dict[str, dict[str, Any]]:
    policy = json.loads(found["node-data"].inputs["policy"])
    return {item["Sid"]: item for item in policy["Statement"]}


def test_a_primary_and_its_workers_are_declared(cluster: Evaluate) -> None:
    found = cluster(_project(worker={"count": 3, "type": "r5.xlarge"}))
    names = [item.name for item in found.of("Instance")]
    assert sorted(names) == ["primary", "worker-1", "worker-2", "worker-3"]
    primary, worker = found["primary"].inputs, found["worker-3"].inputs
    assert (primary["instanceType"], worker["instanceType"]) == ("m5.xlarge", "r5.xlarge")
    assert (primary["ami"], worker["ami"]) == ("ami-0a", "ami-0b")
    assert found.of("Cluster") == []


def test_what_an_instance_says_of_itself(cluster: Evaluate) -> None:
    found = cluster(_project(tags={"team": "a"}))
    assert found["worker-2"].inputs["tags"] == {
        "Name": "pets-main-worker-2",
        "team": "a",
        "emrctl:project": "pets",
        "emrctl:stack": "pets-main",
        "emrctl:role": "worker",
        "emrctl:node": "worker-2",
        "emrctl:image": "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64",
        "emrctl:ttl-s": "14400",
    }
    tags = found["primary"].inputs["tags"]
    assert (tags["emrctl:bucket"], tags["emrctl:spark"]) == ("pets", "3.5.9")
    assert "emrctl:ttl-s" not in cluster(_project(ttl_s=0))["primary"].inputs["tags"]
    disk = found["worker-2"].inputs["rootBlockDevice"]["tags"]
    assert (disk["emrctl:stack"], disk["Name"]) == ("pets-main", "pets-main-worker-2")


def test_an_instance_whose_ports_are_closed_says_so(cluster: Evaluate) -> None:
    closed = cluster(_project(ssh="none", roles={"ssm": True}))
    assert closed["worker-1"].inputs["tags"]["emrctl:ssh"] == "none"
    assert "emrctl:ssh" not in cluster(_project())["worker-1"].inputs["tags"]


def test_emr_s_managed_role_may_touch_none_of_it(cluster: Evaluate) -> None:
    found = cluster(_project())
    managed = "for-use-with-amazon-emr-managed-policies"
    assert all(managed not in item.inputs.get("tags", {}) for item in found.values())


def test_instances_are_hardened(cluster: Evaluate) -> None:
    inputs = cluster(_project(worker={"root_gb": 100}))["worker-1"].inputs
    assert inputs["metadataOptions"] == {
        "httpEndpoint": "enabled",
        "httpTokens": "required",
        "httpPutResponseHopLimit": 1,
    }
    disk = {key: value for key, value in inputs["rootBlockDevice"].items() if key != "tags"}
    assert disk == {
        "volumeSize": 100,
        "volumeType": "gp3",
        "encrypted": True,
        "deleteOnTermination": True,
    }
    keyed = cluster(_project(security={"disk_key": KEY}))["primary"].inputs
    assert keyed["rootBlockDevice"]["kmsKeyId"] == KEY


def test_spot_is_for_workers_and_asked_for_once(cluster: Evaluate) -> None:
    found = cluster(_project(worker={"bid_usd": 0.1}))
    assert "instanceMarketOptions" not in found["primary"].inputs
    assert found["worker-1"].inputs["instanceMarketOptions"] == {
        "marketType": "spot",
        "spotOptions": {
            "spotInstanceType": "one-time",
            "instanceInterruptionBehavior": "terminate",
            "maxPrice": "0.1",
        },
    }
    firm = cluster(_project(worker={"spot": False}))
    assert "instanceMarketOptions" not in firm["worker-1"].inputs


def test_the_key_pair_is_made_or_the_user_s(cluster: Evaluate) -> None:
    found = cluster(_project())
    assert found["key"].inputs["publicKey"] == "ssh-ed25519 AAAA"
    assert found["primary"].inputs["keyName"] == "pets-main"
    given = cluster(_project(key_pair="mine"))
    assert "key" not in given
    assert given["primary"].inputs["keyName"] == "mine"


def test_one_group_and_one_way_in(cluster: Evaluate) -> None:
    found = cluster(_project())
    (group,) = found.of("SecurityGroup")
    assert found["primary"].inputs["vpcSecurityGroupIds"] == [f"id-{group.name}"]
    ingress = {item.name: item.inputs for item in found.of("SecurityGroupIngressRule")}
    assert set(ingress) == {"nodes-from-nodes", "nodes-ssh"}
    ssh = ingress["nodes-ssh"]
    assert (ssh["cidrIpv4"], ssh["fromPort"], ssh["toPort"]) == ("203.0.113.7/32", 22, 22)


def test_a_placement_group_only_where_it_is_asked_for(cluster: Evaluate) -> None:
    assert cluster(_project()).of("PlacementGroup") == []
    found = cluster(_project(placement="cluster"))
    assert found["placement"].inputs["strategy"] == "cluster"
    assert found["worker-1"].inputs["placementGroup"] == "pets-main"


def test_a_network_that_exists_is_stood_in(cluster: Evaluate) -> None:
    found = cluster(_project(network={"vpc": "vpc-1", "subnets": ["subnet-1"]}))
    assert found.of("Vpc") == []
    assert found["primary"].inputs["subnetId"] == "subnet-1"
    assert found["primary"].inputs["associatePublicIpAddress"] is True
    assert found["nodes"].inputs["vpcId"] == "vpc-1"


def test_in_a_private_network_nothing_has_an_address_and_little_goes_out(
    cluster: Evaluate,
) -> None:
    found = cluster(
        _project(
            network={"private": True},
            ssh="10.0.0.0/8",
            wheelhouse="s3://wheels/3.5/",
        )
    )
    assert found["primary"].inputs["associatePublicIpAddress"] is False
    out = {item.name for item in found.of("SecurityGroupEgressRule")}
    assert out == {"nodes-to-nodes", "nodes-to-endpoints", "nodes-to-s3"}
    assert "endpoint-ec2" in found
    assert found.outputs["primary_dns"] == "primary.internal"


def test_nodes_may_end_their_own_stack_and_nothing_else(cluster: Evaluate) -> None:
    rights = _statements(cluster(_project()))
    assert rights["EndItself"] == {
        "Sid": "EndItself",
        "Effect": "Allow",
        "Action": ["ec2:TerminateInstances"],
        "Resource": "arn:aws:ec2:eu-central-1:123456789012:instance/*",
        "Condition": {"StringEquals": {"ec2:ResourceTag/emrctl:stack": "pets-main"}},
    }
    assert rights["FindItself"]["Action"] == ["ec2:DescribeInstances"]
    assert rights["FindItself"]["Condition"] == {"StringEquals": {"ec2:Region": "eu-central-1"}}
    assert set(_statements(cluster(_project(ttl_s=0)))) == {"Bucket", "Objects"}


@pytest.mark.parametrize(
    ("place", "resources"),
    [
        ("s3://wheels/3.5/", ["arn:aws:s3:::wheels/3.5/*"]),
        ("s3://wheels", ["arn:aws:s3:::wheels/*"]),
    ],
)
def test_a_wheelhouse_elsewhere_may_be_read(
    cluster: Evaluate, place: str, resources: list[str]
) -> None:
    rights = _statements(cluster(_project(wheelhouse=place)))
    assert rights["ScriptsAndCertificates"]["Resource"] == resources
    listing = rights["Wheelhouse"]
    assert (listing["Action"], listing["Resource"]) == (["s3:ListBucket"], "arn:aws:s3:::wheels")


def test_a_wheelhouse_in_the_project_s_bucket_needs_no_right_of_its_own(cluster: Evaluate) -> None:
    rights = _statements(cluster(_project(wheelhouse="s3://pets/wheels")))
    assert "Wheelhouse" not in rights
    assert "ScriptsAndCertificates" not in rights


def test_a_profile_that_exists_is_taken_by_its_name(cluster: Evaluate) -> None:
    found = cluster(_project(roles={"instance_profile": "mine"}))
    assert found["primary"].inputs["iamInstanceProfile"] == "mine"
    assert found.of("Role") == []


def test_outputs_are_those_of_every_cluster(cluster: Evaluate) -> None:
    outputs = cluster(_project()).outputs
    assert outputs["cluster_id"] == "id-primary"
    assert outputs["cluster_arn"] == "arn:primary"
    assert outputs["primary_dns"] == "primary.example"
    assert outputs["log_uri"] == "s3://pets/logs/"
    assert outputs["event_log_uri"] == "s3://pets/eventlogs/"
    assert outputs["worker_ids"] == ["id-worker-1", "id-worker-2"]
    assert (outputs["key_pair"], outputs["instance_profile"]) == ("pets-main", "pets-main-nodes")


def test_what_ec2_changes_on_a_stop_replaces_nothing(cluster: Evaluate) -> None:
    item: Declared = cluster(_project())["worker-1"]
    assert item.ignore_changes == {"associatePublicIpAddress"}
    assert item.delete_first
