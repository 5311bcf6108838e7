"""All that a cluster's stack can be beyond the default: shown on what the program declares."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from emrctl.errors import SpecError
from emrctl.spec import ProjectSpec

Evaluate = Callable[[ProjectSpec], Any]
KEY = "arn:aws:kms:eu-central-1:123456789012:key/k"
PRIVATE = {"network": {"private": True}}


def _with(storage: dict[str, Any] | None = None, **cluster: Any) -> ProjectSpec:
    document = {"project": "pets", "target": "aws", "cluster": cluster, "storage": storage or {}}
    return ProjectSpec.model_validate(document)


# --- nodes ----------------------------------------------------------------------------------------

FLEETS: dict[str, Any] = {
    "core": {
        "types": [
            {"type": "r5.xlarge", "volume_gb": 100, "volumes": 2},
            {"type": "r5.2xlarge", "weight": 2, "bid_percent": 60},
            {"type": "m5.2xlarge", "bid_usd": 0.2},
        ],
        "on_demand": 2,
        "spot": 6,
        "timeout_min": 15,
    },
    "task": {"types": [{}], "spot": 3, "on_timeout": "terminate"},
}


def test_groups_may_be_spot_with_disks_of_their_own(cluster: Evaluate) -> None:
    core = {"bid_usd": 0.12, "volumes": 3, "volume_gb": 200, "volume_type": "st1"}
    made = cluster(_with(core=core))["cluster"].inputs["coreInstanceGroup"]
    assert made["bidPrice"] == "0.12"
    assert made["ebsConfigs"] == [{"size": 200, "type": "st1", "volumesPerInstance": 3}]
    assert "bidPrice" not in cluster(_with())["cluster"].inputs["coreInstanceGroup"]


def test_task_groups_stand_beside_the_cluster(cluster: Evaluate) -> None:
    tasks = [{"count": 4, "bid_usd": 0.08}, {"name": "big", "type": "r5.2xlarge"}]
    found = cluster(_with(task=tasks))
    first, second = found["task-task"].inputs, found["task-big"].inputs
    assert (first["clusterId"], first["instanceCount"], first["bidPrice"]) == (
        "id-cluster",
        4,
        "0.08",
    )
    assert (second["name"], second["instanceType"]) == ("big", "r5.2xlarge")
    assert found["task-task"].ignore_changes == frozenset()


def test_fleets_take_several_types_on_both_markets(cluster: Evaluate) -> None:
    inputs = cluster(_with(fleets=FLEETS))["cluster"].inputs
    assert "coreInstanceGroup" not in inputs
    assert "masterInstanceGroup" not in inputs
    core = inputs["coreInstanceFleet"]
    assert (core["targetOnDemandCapacity"], core["targetSpotCapacity"]) == (2, 6)
    plain, half, bid = core["instanceTypeConfigs"]
    assert plain["bidPriceAsPercentageOfOnDemandPrice"] == 100
    assert plain["ebsConfigs"][0] == {"size": 100, "type": "gp3", "volumesPerInstance": 2}
    assert (half["weightedCapacity"], half["bidPriceAsPercentageOfOnDemandPrice"]) == (2, 60)
    assert bid["bidPrice"] == "0.2"
    launch = core["launchSpecifications"]
    assert launch["onDemandSpecifications"] == [{"allocationStrategy": "lowest-price"}]
    assert launch["spotSpecifications"] == [
        {
            "allocationStrategy": "capacity-optimized",
            "timeoutAction": "SWITCH_TO_ON_DEMAND",
            "timeoutDurationMinutes": 15,
        }
    ]
    primary = inputs["masterInstanceFleet"]
    assert (primary["targetOnDemandCapacity"], primary["targetSpotCapacity"]) == (1, 0)
    assert "bidPrice" not in primary["instanceTypeConfigs"][0]


def test_a_task_fleet_is_a_resource_of_its_own(cluster: Evaluate) -> None:
    task = cluster(_with(fleets=FLEETS))["task-fleet"].inputs
    assert (task["clusterId"], task["targetSpotCapacity"]) == ("id-cluster", 3)
    spot = task["launchSpecifications"]["spotSpecifications"][0]
    assert spot["timeoutAction"] == "TERMINATE_CLUSTER"


def test_fleets_choose_among_subnets(cluster: Evaluate) -> None:
    network = {"subnets": ["subnet-1", "subnet-2"], "vpc": "vpc-1"}
    place = cluster(_with(fleets=FLEETS, network=network))["cluster"].inputs["ec2Attributes"]
    assert place["subnetIds"] == ["subnet-1", "subnet-2"]
    assert "subnetId" not in place


@pytest.mark.parametrize(
    ("spec", "unit", "ignored"),
    [
        ({}, "Instances", {"coreInstanceGroup.instanceCount"}),
        (
            {"fleets": FLEETS},
            "InstanceFleetUnits",
            {
                "coreInstanceFleet.targetOnDemandCapacity",
                "coreInstanceFleet.targetSpotCapacity",
            },
        ),
    ],
)
def test_what_emr_scales_is_no_drift(
    cluster: Evaluate, spec: dict[str, Any], unit: str, ignored: set[str]
) -> None:
    limits = {"minimum": 2, "maximum": 20, "max_on_demand": 5, "max_core": 4}
    found = cluster(_with(scaling=limits, **spec))
    assert found["cluster"].ignore_changes == {"steps"} | ignored
    assert found["scaling"].inputs["computeLimits"] == [
        {
            "unitType": unit,
            "minimumCapacityUnits": 2,
            "maximumCapacityUnits": 20,
            "maximumOndemandCapacityUnits": 5,
            "maximumCoreCapacityUnits": 4,
        }
    ]


def test_scaled_task_nodes_are_no_drift_either(cluster: Evaluate) -> None:
    groups = cluster(_with(task=[{}], scaling={"maximum": 9, "unit": "vcpus"}))
    assert groups["task-task"].ignore_changes == {"instanceCount"}
    assert groups["scaling"].inputs["computeLimits"][0]["unitType"] == "VCPU"
    fleets = cluster(_with(fleets=FLEETS, scaling={"maximum": 9}))
    assert fleets["task-fleet"].ignore_changes == {
        "targetOnDemandCapacity",
        "targetSpotCapacity",
    }


def test_image_root_volume_key_and_placement(cluster: Evaluate) -> None:
    spec = _with(
        ami="ami-0a1b",
        root_volume_gb=40,
        key_pair="mine",
        primary={"count": 3},
        termination_protection=True,
        placement="spread",
    )
    inputs = cluster(spec)["cluster"].inputs
    assert (inputs["customAmiId"], inputs["ebsRootVolumeSize"]) == ("ami-0a1b", 40)
    assert inputs["ec2Attributes"]["keyName"] == "mine"
    assert inputs["masterInstanceGroup"]["instanceCount"] == 3
    assert inputs["placementGroupConfigs"] == [
        {"instanceRole": "MASTER", "placementStrategy": "SPREAD"}
    ]


# --- network --------------------------------------------------------------------------------------


def _endpoints(found: Any) -> dict[str, str]:
    return {
        item.inputs["serviceName"].rpartition(".")[2]: item.inputs["vpcEndpointType"]
        for item in found.of("VpcEndpoint")
    }


def test_a_private_network_has_no_way_in_and_reaches_aws_by_endpoints(cluster: Evaluate) -> None:
    found = cluster(_with(**PRIVATE, roles={"ssm": True}))
    assert found.of("InternetGateway") == []
    assert found.of("Route") == []
    assert found["subnet"].inputs["mapPublicIpOnLaunch"] is False
    assert _endpoints(found) == {
        "s3": "Gateway",
        **dict.fromkeys(("elasticmapreduce", "sts"), "Interface"),
        **dict.fromkeys(("ssm", "ssmmessages", "ec2messages"), "Interface"),
    }
    for item in found.of("VpcEndpoint"):
        if item.inputs["vpcEndpointType"] == "Interface":
            assert item.inputs["privateDnsEnabled"]
            assert item.inputs["securityGroupIds"] == ["id-endpoints"]
    waits = {urn.rpartition("::")[2] for urn in found["cluster"].dependencies}
    assert {"endpoint-sts", "endpoint-ssm"} <= waits


def test_emr_s_own_access_to_private_nodes(cluster: Evaluate) -> None:
    found = cluster(_with(**PRIVATE))
    place = found["cluster"].inputs["ec2Attributes"]
    assert place["serviceAccessSecurityGroup"] == "id-service-access"
    asked = found["service-access-from-primary"].inputs
    assert (asked["fromPort"], asked["referencedSecurityGroupId"]) == (9443, "id-primary")
    for role in ("primary", "core"):
        rule = found[f"{role}-from-service-access"].inputs
        assert (rule["fromPort"], rule["toPort"], rule["ipProtocol"]) == (8443, 8443, "tcp")
        assert found[f"service-access-to-{role}"].inputs["fromPort"] == 8443
    assert all(item.inputs["revokeRulesOnDelete"] for item in found.of("SecurityGroup"))


def test_out_of_a_private_network_goes_what_is_named(cluster: Evaluate) -> None:
    rules = cluster(_with(**PRIVATE)).of("SecurityGroupEgressRule")
    named = {"referencedSecurityGroupId", "prefixListId"}
    declared = [item for item in rules if "s3" not in item.name]
    assert all(named & set(item.inputs) for item in declared)
    assert not any("cidrIpv4" in item.inputs for item in rules)


def test_nat_is_a_way_out_alone(cluster: Evaluate) -> None:
    found = cluster(_with(network={"private": True, "nat": True}))
    assert found["default-route"].inputs["natGatewayId"] == "id-nat"
    assert found["public-default-route"].inputs["gatewayId"] == "id-gateway"
    assert found["nat"].inputs["subnetId"] == "id-public-subnet"
    blocks = {found[name].inputs["cidrBlock"] for name in ("subnet", "public-subnet")}
    assert blocks == {"10.42.0.0/20", "10.42.16.0/20"}
    with pytest.raises(SpecError, match="no room for a second subnet"):
        cluster(_with(network={"private": True, "nat": True, "cidr": "10.0.0.0/20"}))


def test_existing_subnets_are_used_and_left_alone(cluster: Evaluate) -> None:
    network = {"subnets": ["subnet-1"], "vpc": "vpc-1"}
    found = cluster(_with(network=network))
    assert {item.type.rpartition(":")[2] for item in found.values()} & {"Vpc", "Subnet"} == set()
    assert found["cluster"].inputs["ec2Attributes"]["subnetId"] == "subnet-1"
    assert {item.inputs["vpcId"] for item in found.of("SecurityGroup")} == {"vpc-1"}
    assert (found.outputs["vpc_id"], found.outputs["subnet_id"]) == ("vpc-1", "subnet-1")
    private = cluster(_with(network={**network, "private": True}))
    assert "service-access" in private
    assert private.of("VpcEndpoint") == []


def test_tags_must_be_looked_up_before_the_program(cluster: Evaluate) -> None:
    with pytest.raises(SpecError, match="nobody has looked up"):
        cluster(_with(network={"subnets": {"tier": "data"}}))


# --- roles and keys -------------------------------------------------------------------------------


def test_existing_roles_are_used_by_name(cluster: Evaluate) -> None:
    roles = {"service": "EMR_DefaultRole", "instance_profile": "EMR_EC2_DefaultRole"}
    found = cluster(_with(roles=roles))
    assert found.of("Role") == []
    inputs = found["cluster"].inputs
    assert inputs["serviceRole"] == "EMR_DefaultRole"
    assert inputs["ec2Attributes"]["instanceProfile"] == "EMR_EC2_DefaultRole"
    assert found.outputs["instance_profile"] == "EMR_EC2_DefaultRole"


def test_our_service_role_passes_an_existing_profile(cluster: Evaluate) -> None:
    found = cluster(_with(roles={"instance_profile": "mine"}))
    passing = json.loads(found["pass-role"].inputs["policy"])["Statement"][0]
    assert passing["Resource"] == "arn:aws:iam::123456789012:role/mine"
    assert [item.name for item in found.of("Role")] == ["service-role"]


def test_encryption_at_rest_in_transit_and_of_logs(cluster: Evaluate) -> None:
    security = {
        "at_rest": True,
        "disk_key": KEY,
        "log_key": KEY,
        "in_transit": "s3://pets/certificates/c.zip",
    }
    found = cluster(_with({"kms_key": KEY}, security=security))
    document = json.loads(found["security"].inputs["configuration"])
    encryption = document["EncryptionConfiguration"]
    assert encryption["EnableAtRestEncryption"]
    assert encryption["EnableInTransitEncryption"]
    at_rest = encryption["AtRestEncryptionConfiguration"]
    assert at_rest["S3EncryptionConfiguration"] == {"EncryptionMode": "SSE-KMS", "AwsKmsKey": KEY}
    assert at_rest["LocalDiskEncryptionConfiguration"]["EnableEbsEncryption"]
    certificate = encryption["InTransitEncryptionConfiguration"]["TLSCertificateConfiguration"]
    assert certificate["S3Object"] == "s3://pets/certificates/c.zip"
    assert found["cluster"].inputs["logEncryptionKmsKeyId"] == KEY
    assert "PRIVATE KEY" not in json.dumps([item.inputs for item in found.values()])


def test_without_a_key_s3_s_own_encrypt(cluster: Evaluate) -> None:
    found = cluster(_with(security={"at_rest": True}))
    encryption = json.loads(found["security"].inputs["configuration"])["EncryptionConfiguration"]
    assert encryption["AtRestEncryptionConfiguration"] == {
        "S3EncryptionConfiguration": {"EncryptionMode": "SSE-S3"}
    }
    assert not encryption["EnableInTransitEncryption"]


def test_another_configuration_is_another_name(cluster: Evaluate) -> None:
    plain = cluster(_with())["security"].inputs["name"]
    assert cluster(_with(security={"at_rest": True}))["security"].inputs["name"] != plain
    named = cluster(_with(security={"configuration": "theirs"}))
    assert named.of("SecurityConfiguration") == []
    assert named["cluster"].inputs["securityConfiguration"] == "theirs"


def test_who_used_the_bucket_is_logged_elsewhere(storage: Evaluate) -> None:
    found = storage(_with({"access_logs": "the-logs"}))
    inputs = found["access-logs"].inputs
    assert (inputs["targetBucket"], inputs["targetPrefix"]) == ("the-logs", "pets/")
    assert "access-logs" not in storage(_with())


def test_everything_that_takes_tags_has_them(cluster: Evaluate) -> None:
    every: dict[str, Any] = {
        "network": {"private": True, "nat": True, "close_default_group": True},
        "roles": {"ssm": True},
        "task": [{}],
    }
    none = {"RolePolicy", "RolePolicyAttachment", "Route", "RouteTableAssociation"}
    none |= {"SecurityConfiguration", "InstanceGroup"}
    for item in cluster(_with(**every)).values():
        if item.type.rpartition(":")[2] not in none:
            tags = item.inputs["tags"]
            assert tags["for-use-with-amazon-emr-managed-policies"] == "true", item.name
            assert tags["emrctl:stack"] == "pets-main"
