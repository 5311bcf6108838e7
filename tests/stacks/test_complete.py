"""The stacks with settings other than the defaults: nodes, networks, roles, encryption."""

from __future__ import annotations

import json
from typing import Any

import pytest

from emrctl.errors import SpecError
from emrctl.spec import ProjectSpec
from tests.stacks.conftest import Evaluate, Resources

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


def test_instance_group_with_bid_and_volumes(cluster: Evaluate) -> None:
    core = {"bid_usd": 0.12, "volumes": 3, "volume_gb": 200, "volume_type": "st1"}
    group = cluster(_with(core=core))["cluster"].inputs["coreInstanceGroup"]
    assert group["bidPrice"] == "0.12"
    assert group["ebsConfigs"] == [{"size": 200, "type": "st1", "volumesPerInstance": 3}]
    assert "bidPrice" not in cluster(_with())["cluster"].inputs["coreInstanceGroup"]


def test_task_groups_are_separate_resources(cluster: Evaluate) -> None:
    tasks = [{"count": 4, "bid_usd": 0.08}, {"name": "big", "type": "r5.2xlarge"}]
    resources = cluster(_with(task=tasks))
    first, second = resources["task-task"].inputs, resources["task-big"].inputs
    assert (first["clusterId"], first["instanceCount"], first["bidPrice"]) == (
        "id-cluster",
        4,
        "0.08",
    )
    assert (second["name"], second["instanceType"]) == ("big", "r5.2xlarge")
    assert resources["task-task"].ignore_changes == frozenset()


def test_fleet_with_several_types_uses_both_markets(cluster: Evaluate) -> None:
    inputs = cluster(_with(fleets=FLEETS))["cluster"].inputs
    assert "coreInstanceGroup" not in inputs
    assert "masterInstanceGroup" not in inputs
    core = inputs["coreInstanceFleet"]
    assert (core["targetOnDemandCapacity"], core["targetSpotCapacity"]) == (2, 6)
    default, percent, bid = core["instanceTypeConfigs"]
    assert default["bidPriceAsPercentageOfOnDemandPrice"] == 100
    assert default["ebsConfigs"][0] == {"size": 100, "type": "gp3", "volumesPerInstance": 2}
    assert (percent["weightedCapacity"], percent["bidPriceAsPercentageOfOnDemandPrice"]) == (2, 60)
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


def test_task_fleet_is_separate_resource(cluster: Evaluate) -> None:
    task = cluster(_with(fleets=FLEETS))["task-fleet"].inputs
    assert (task["clusterId"], task["targetSpotCapacity"]) == ("id-cluster", 3)
    spot = task["launchSpecifications"]["spotSpecifications"][0]
    assert spot["timeoutAction"] == "TERMINATE_CLUSTER"


def test_fleet_gets_all_subnets(cluster: Evaluate) -> None:
    network = {"subnets": ["subnet-1", "subnet-2"], "vpc": "vpc-1"}
    inputs = cluster(_with(fleets=FLEETS, network=network))["cluster"].inputs
    assert inputs["ec2Attributes"]["subnetIds"] == ["subnet-1", "subnet-2"]
    assert "subnetId" not in inputs["ec2Attributes"]


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
def test_managed_scaling_ignores_core_capacity(
    cluster: Evaluate, spec: dict[str, Any], unit: str, ignored: set[str]
) -> None:
    limits = {"minimum": 2, "maximum": 20, "max_on_demand": 5, "max_core": 4}
    resources = cluster(_with(scaling=limits, **spec))
    assert resources["cluster"].ignore_changes == {"steps"} | ignored
    assert resources["scaling"].inputs["computeLimits"] == [
        {
            "unitType": unit,
            "minimumCapacityUnits": 2,
            "maximumCapacityUnits": 20,
            "maximumOndemandCapacityUnits": 5,
            "maximumCoreCapacityUnits": 4,
        }
    ]


def test_managed_scaling_ignores_task_capacity(cluster: Evaluate) -> None:
    groups = cluster(_with(task=[{}], scaling={"maximum": 9, "unit": "vcpus"}))
    assert groups["task-task"].ignore_changes == {"instanceCount"}
    assert groups["scaling"].inputs["computeLimits"][0]["unitType"] == "VCPU"
    fleets = cluster(_with(fleets=FLEETS, scaling={"maximum": 9}))
    assert fleets["task-fleet"].ignore_changes == {
        "targetOnDemandCapacity",
        "targetSpotCapacity",
    }


def test_cluster_with_image_root_volume_key_and_placement(cluster: Evaluate) -> None:
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


def _endpoints(resources: Resources) -> dict[str, str]:
    return {
        item.inputs["serviceName"].rpartition(".")[2]: item.inputs["vpcEndpointType"]
        for item in resources.of("VpcEndpoint")
    }


def test_private_network_has_no_internet_route_and_uses_endpoints(cluster: Evaluate) -> None:
    resources = cluster(_with(**PRIVATE, roles={"ssm": True}))
    assert resources.of("InternetGateway") == []
    assert resources.of("Route") == []
    assert resources["subnet"].inputs["mapPublicIpOnLaunch"] is False
    assert _endpoints(resources) == {
        "s3": "Gateway",
        **dict.fromkeys(("elasticmapreduce", "sts"), "Interface"),
        **dict.fromkeys(("ssm", "ssmmessages", "ec2messages"), "Interface"),
    }
    for item in resources.of("VpcEndpoint"):
        if item.inputs["vpcEndpointType"] == "Interface":
            assert item.inputs["privateDnsEnabled"]
            assert item.inputs["securityGroupIds"] == ["id-endpoints"]
    dependencies = {urn.rpartition("::")[2] for urn in resources["cluster"].dependencies}
    assert {"endpoint-sts", "endpoint-ssm"} <= dependencies


def test_private_network_has_service_access_group(cluster: Evaluate) -> None:
    resources = cluster(_with(**PRIVATE))
    attributes = resources["cluster"].inputs["ec2Attributes"]
    assert attributes["serviceAccessSecurityGroup"] == "id-service-access"
    ingress = resources["service-access-from-primary"].inputs
    assert (ingress["fromPort"], ingress["referencedSecurityGroupId"]) == (9443, "id-primary")
    for role in ("primary", "core"):
        rule = resources[f"{role}-from-service-access"].inputs
        assert (rule["fromPort"], rule["toPort"], rule["ipProtocol"]) == (8443, 8443, "tcp")
        assert resources[f"service-access-to-{role}"].inputs["fromPort"] == 8443
    assert all(item.inputs["revokeRulesOnDelete"] for item in resources.of("SecurityGroup"))


def test_private_network_egress_is_limited(cluster: Evaluate) -> None:
    rules = cluster(_with(**PRIVATE)).of("SecurityGroupEgressRule")
    named = {"referencedSecurityGroupId", "prefixListId"}
    declared = [item for item in rules if "s3" not in item.name]
    assert all(named & set(item.inputs) for item in declared)
    assert not any("cidrIpv4" in item.inputs for item in rules)


def test_nat_gateway_routes_private_subnet(cluster: Evaluate) -> None:
    resources = cluster(_with(network={"private": True, "nat": True}))
    assert resources["default-route"].inputs["natGatewayId"] == "id-nat"
    assert resources["public-default-route"].inputs["gatewayId"] == "id-gateway"
    assert resources["nat"].inputs["subnetId"] == "id-public-subnet"
    blocks = {resources[name].inputs["cidrBlock"] for name in ("subnet", "public-subnet")}
    assert blocks == {"10.42.0.0/20", "10.42.16.0/20"}
    with pytest.raises(SpecError, match="no room for a second subnet"):
        cluster(_with(network={"private": True, "nat": True, "cidr": "10.0.0.0/20"}))


def test_existing_subnets_are_used_unchanged(cluster: Evaluate) -> None:
    network = {"subnets": ["subnet-1"], "vpc": "vpc-1"}
    resources = cluster(_with(network=network))
    assert {item.type.rpartition(":")[2] for item in resources.values()} & {
        "Vpc",
        "Subnet",
    } == set()
    assert resources["cluster"].inputs["ec2Attributes"]["subnetId"] == "subnet-1"
    assert {item.inputs["vpcId"] for item in resources.of("SecurityGroup")} == {"vpc-1"}
    assert (resources.outputs["vpc_id"], resources.outputs["subnet_id"]) == ("vpc-1", "subnet-1")
    private = cluster(_with(network={**network, "private": True}))
    assert "service-access" in private
    assert private.of("VpcEndpoint") == []


def test_unresolved_subnet_tags_are_rejected(cluster: Evaluate) -> None:
    with pytest.raises(SpecError, match="their tags are not resolved"):
        cluster(_with(network={"subnets": {"tier": "data"}}))


# --- roles and keys -------------------------------------------------------------------------------


def test_existing_roles_are_used_by_name(cluster: Evaluate) -> None:
    roles = {"service": "EMR_DefaultRole", "instance_profile": "EMR_EC2_DefaultRole"}
    resources = cluster(_with(roles=roles))
    assert resources.of("Role") == []
    inputs = resources["cluster"].inputs
    assert inputs["serviceRole"] == "EMR_DefaultRole"
    assert inputs["ec2Attributes"]["instanceProfile"] == "EMR_EC2_DefaultRole"
    assert resources.outputs["instance_profile"] == "EMR_EC2_DefaultRole"


def test_service_role_may_pass_existing_profile(cluster: Evaluate) -> None:
    resources = cluster(_with(roles={"instance_profile": "mine"}))
    passing = json.loads(resources["pass-role"].inputs["policy"])["Statement"][0]
    assert passing["Resource"] == "arn:aws:iam::123456789012:role/mine"
    assert [item.name for item in resources.of("Role")] == ["service-role"]


def test_security_configuration_encrypts_at_rest_in_transit_and_logs(cluster: Evaluate) -> None:
    security = {
        "at_rest": True,
        "disk_key": KEY,
        "log_key": KEY,
        "in_transit": "s3://pets/certificates/c.zip",
    }
    resources = cluster(_with({"kms_key": KEY}, security=security))
    document = json.loads(resources["security"].inputs["configuration"])
    encryption = document["EncryptionConfiguration"]
    assert encryption["EnableAtRestEncryption"]
    assert encryption["EnableInTransitEncryption"]
    at_rest = encryption["AtRestEncryptionConfiguration"]
    assert at_rest["S3EncryptionConfiguration"] == {"EncryptionMode": "SSE-KMS", "AwsKmsKey": KEY}
    assert at_rest["LocalDiskEncryptionConfiguration"]["EnableEbsEncryption"]
    certificate = encryption["InTransitEncryptionConfiguration"]["TLSCertificateConfiguration"]
    assert certificate["S3Object"] == "s3://pets/certificates/c.zip"
    assert resources["cluster"].inputs["logEncryptionKmsKeyId"] == KEY
    assert "PRIVATE KEY" not in json.dumps([item.inputs for item in resources.values()])


def test_security_configuration_without_key_uses_sse_s3(cluster: Evaluate) -> None:
    resources = cluster(_with(security={"at_rest": True}))
    encryption = json.loads(resources["security"].inputs["configuration"])[
        "EncryptionConfiguration"
    ]
    assert encryption["AtRestEncryptionConfiguration"] == {
        "S3EncryptionConfiguration": {"EncryptionMode": "SSE-S3"}
    }
    assert not encryption["EnableInTransitEncryption"]


def test_security_configuration_name_changes_with_content(cluster: Evaluate) -> None:
    plain = cluster(_with())["security"].inputs["name"]
    assert cluster(_with(security={"at_rest": True}))["security"].inputs["name"] != plain
    named = cluster(_with(security={"configuration": "existing"}))
    assert named.of("SecurityConfiguration") == []
    assert named["cluster"].inputs["securityConfiguration"] == "existing"


def test_bucket_access_logs_go_to_another_bucket(storage: Evaluate) -> None:
    resources = storage(_with({"access_logs": "the-logs"}))
    inputs = resources["access-logs"].inputs
    assert (inputs["targetBucket"], inputs["targetPrefix"]) == ("the-logs", "pets/")
    assert "access-logs" not in storage(_with())


def test_taggable_resources_have_tags(cluster: Evaluate) -> None:
    spec: dict[str, Any] = {
        "network": {"private": True, "nat": True, "close_default_group": True},
        "roles": {"ssm": True},
        "task": [{}],
    }
    untaggable = {"RolePolicy", "RolePolicyAttachment", "Route", "RouteTableAssociation"}
    untaggable |= {"SecurityConfiguration", "InstanceGroup"}
    for item in cluster(_with(**spec)).values():
        if item.type.rpartition(":")[2] not in untaggable:
            tags = item.inputs["tags"]
            assert tags["for-use-with-amazon-emr-managed-policies"] == "true", item.name
            assert tags["emrctl:stack"] == "pets-main"
