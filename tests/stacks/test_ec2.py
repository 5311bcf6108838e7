"""The cluster stack of EC2 instances."""

from __future__ import annotations

import json
from typing import Any

import pytest

from emrctl.engine.embedded.deployment import DeclaredResource
from emrctl.spec import ProjectSpec
from tests.stacks.conftest import KEY, Evaluate, Resources


def _project(**cluster: Any) -> ProjectSpec:
    return ProjectSpec.model_validate(
        {"project": "pets", "region": "eu-central-1", "cluster": {"kind": "ec2", **cluster}}
    )


def _statements(resources: Resources) -> dict[str, dict[str, Any]]:
    policy = json.loads(resources["node-data"].inputs["policy"])
    return {item["Sid"]: item for item in policy["Statement"]}


def test_instances_match_spec(cluster: Evaluate) -> None:
    resources = cluster(_project(worker={"count": 3, "type": "r5.xlarge"}))
    names = [item.name for item in resources.of("Instance")]
    assert sorted(names) == ["primary", "worker-1", "worker-2", "worker-3"]
    primary, worker = resources["primary"].inputs, resources["worker-3"].inputs
    assert (primary["instanceType"], worker["instanceType"]) == ("m5.xlarge", "r5.xlarge")
    assert (primary["ami"], worker["ami"]) == ("ami-0a", "ami-0b")
    assert resources.of("Cluster") == []


def test_instance_tags(cluster: Evaluate) -> None:
    resources = cluster(_project(tags={"team": "a"}))
    assert resources["worker-2"].inputs["tags"] == {
        "Name": "pets-main-worker-2",
        "team": "a",
        "emrctl:project": "pets",
        "emrctl:stack": "pets-main",
        "emrctl:role": "worker",
        "emrctl:node": "worker-2",
        "emrctl:image": "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64",
        "emrctl:ttl-s": "14400",
    }
    tags = resources["primary"].inputs["tags"]
    assert (tags["emrctl:bucket"], tags["emrctl:spark"]) == ("pets", "3.5.9")
    assert "emrctl:ttl-s" not in cluster(_project(ttl_s=0))["primary"].inputs["tags"]
    disk = resources["worker-2"].inputs["rootBlockDevice"]["tags"]
    assert (disk["emrctl:stack"], disk["Name"]) == ("pets-main", "pets-main-worker-2")


def test_instance_without_ssh_is_tagged(cluster: Evaluate) -> None:
    closed = cluster(_project(ssh="none", roles={"ssm": True}))
    assert closed["worker-1"].inputs["tags"]["emrctl:ssh"] == "none"
    assert "emrctl:ssh" not in cluster(_project())["worker-1"].inputs["tags"]


def test_resources_lack_tag_of_emr_managed_policies(cluster: Evaluate) -> None:
    resources = cluster(_project())
    managed = "for-use-with-amazon-emr-managed-policies"
    assert all(managed not in item.inputs.get("tags", {}) for item in resources.values())


def test_instances_require_imdsv2_and_encrypt_root_volume(cluster: Evaluate) -> None:
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


def test_spot_workers_use_one_time_requests(cluster: Evaluate) -> None:
    resources = cluster(_project(worker={"bid_usd": 0.1}))
    assert "instanceMarketOptions" not in resources["primary"].inputs
    assert resources["worker-1"].inputs["instanceMarketOptions"] == {
        "marketType": "spot",
        "spotOptions": {
            "spotInstanceType": "one-time",
            "instanceInterruptionBehavior": "terminate",
            "maxPrice": "0.1",
        },
    }
    on_demand = cluster(_project(worker={"spot": False}))
    assert "instanceMarketOptions" not in on_demand["worker-1"].inputs


def test_key_pair_is_declared_unless_set_in_spec(cluster: Evaluate) -> None:
    resources = cluster(_project())
    assert resources["key"].inputs["publicKey"] == "ssh-ed25519 AAAA"
    assert resources["primary"].inputs["keyName"] == "pets-main"
    existing = cluster(_project(key_pair="mine"))
    assert "key" not in existing
    assert existing["primary"].inputs["keyName"] == "mine"


def test_security_group_allows_only_nodes_and_ssh(cluster: Evaluate) -> None:
    resources = cluster(_project())
    (group,) = resources.of("SecurityGroup")
    assert resources["primary"].inputs["vpcSecurityGroupIds"] == [f"id-{group.name}"]
    ingress = {item.name: item.inputs for item in resources.of("SecurityGroupIngressRule")}
    assert set(ingress) == {"nodes-from-nodes", "nodes-ssh"}
    ssh = ingress["nodes-ssh"]
    assert (ssh["cidrIpv4"], ssh["fromPort"], ssh["toPort"]) == ("203.0.113.7/32", 22, 22)


def test_placement_group_is_declared_only_if_set(cluster: Evaluate) -> None:
    assert cluster(_project()).of("PlacementGroup") == []
    resources = cluster(_project(placement="cluster"))
    assert resources["placement"].inputs["strategy"] == "cluster"
    assert resources["worker-1"].inputs["placementGroup"] == "pets-main"


def test_instances_use_existing_subnet(cluster: Evaluate) -> None:
    resources = cluster(_project(network={"vpc": "vpc-1", "subnets": ["subnet-1"]}))
    assert resources.of("Vpc") == []
    assert resources["primary"].inputs["subnetId"] == "subnet-1"
    assert resources["primary"].inputs["associatePublicIpAddress"] is True
    assert resources["nodes"].inputs["vpcId"] == "vpc-1"


def test_private_network_has_no_public_addresses_and_limits_egress(
    cluster: Evaluate,
) -> None:
    resources = cluster(
        _project(
            network={"private": True},
            ssh="10.0.0.0/8",
            wheelhouse="s3://wheels/3.5/",
        )
    )
    assert resources["primary"].inputs["associatePublicIpAddress"] is False
    egress = {item.name for item in resources.of("SecurityGroupEgressRule")}
    assert egress == {"nodes-to-nodes", "nodes-to-endpoints", "nodes-to-s3"}
    assert "endpoint-ec2" in resources
    assert resources.outputs["primary_dns"] == "primary.internal"


def test_node_policy_allows_terminating_only_own_stack(cluster: Evaluate) -> None:
    statements = _statements(cluster(_project()))
    assert statements["TerminateInstances"] == {
        "Sid": "TerminateInstances",
        "Effect": "Allow",
        "Action": ["ec2:TerminateInstances"],
        "Resource": "arn:aws:ec2:eu-central-1:123456789012:instance/*",
        "Condition": {"StringEquals": {"ec2:ResourceTag/emrctl:stack": "pets-main"}},
    }
    assert statements["DescribeInstances"]["Action"] == ["ec2:DescribeInstances"]
    assert statements["DescribeInstances"]["Condition"] == {
        "StringEquals": {"ec2:Region": "eu-central-1"}
    }
    assert set(_statements(cluster(_project(ttl_s=0)))) == {"Bucket", "Objects"}


@pytest.mark.parametrize(
    ("uri", "arns"),
    [
        ("s3://wheels/3.5/", ["arn:aws:s3:::wheels/3.5/*"]),
        ("s3://wheels", ["arn:aws:s3:::wheels/*"]),
    ],
)
def test_node_policy_allows_reading_external_wheelhouse(
    cluster: Evaluate, uri: str, arns: list[str]
) -> None:
    statements = _statements(cluster(_project(wheelhouse=uri)))
    assert statements["ScriptsAndCertificates"]["Resource"] == arns
    listing = statements["Wheelhouse"]
    assert (listing["Action"], listing["Resource"]) == (["s3:ListBucket"], "arn:aws:s3:::wheels")


def test_node_policy_has_no_statement_for_wheelhouse_in_own_bucket(cluster: Evaluate) -> None:
    statements = _statements(cluster(_project(wheelhouse="s3://pets/wheels")))
    assert "Wheelhouse" not in statements
    assert "ScriptsAndCertificates" not in statements


def test_existing_instance_profile_is_used_by_name(cluster: Evaluate) -> None:
    resources = cluster(_project(roles={"instance_profile": "mine"}))
    assert resources["primary"].inputs["iamInstanceProfile"] == "mine"
    assert resources.of("Role") == []


def test_cluster_outputs_match_those_of_emr(cluster: Evaluate) -> None:
    outputs = cluster(_project()).outputs
    assert outputs["cluster_id"] == "id-primary"
    assert outputs["cluster_arn"] == "arn:primary"
    assert outputs["primary_dns"] == "primary.example"
    assert outputs["log_uri"] == "s3://pets/logs/"
    assert outputs["event_log_uri"] == "s3://pets/eventlogs/"
    assert outputs["worker_ids"] == ["id-worker-1", "id-worker-2"]
    assert (outputs["key_pair"], outputs["instance_profile"]) == ("pets-main", "pets-main-nodes")


def test_instance_ignores_changes_made_by_stop(cluster: Evaluate) -> None:
    item: DeclaredResource = cluster(_project())["worker-1"]
    assert item.ignore_changes == {"associatePublicIpAddress"}
    assert item.delete_first
