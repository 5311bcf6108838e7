"""The EMR cluster: settings, tags, outputs, nodes and security configuration."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.stacks.conftest import KEY, PETS, Evaluate, pets


def test_cluster_ignores_changes_of_steps(cluster: Evaluate) -> None:
    declared = cluster(PETS)["cluster"]
    assert declared.ignore_changes == {"steps"}
    assert "steps" not in declared.inputs
    assert declared.delete_first


def test_cluster_stays_alive_without_steps_until_idle_timeout(cluster: Evaluate) -> None:
    inputs = cluster(pets(idle_timeout_s=600, step_concurrency=3))["cluster"].inputs
    assert inputs["keepJobFlowAliveWhenNoSteps"] is True
    assert inputs["autoTerminationPolicy"] == {"idleTimeout": 600}
    assert inputs["stepConcurrencyLevel"] == 3


def test_bootstrap_actions_use_staged_scripts(cluster: Evaluate) -> None:
    actions = [{"script": "python.sh", "args": ["boto3"]}, {"script": "mine.sh", "name": "last"}]
    first, second, _ = cluster(pets(bootstrap=actions))["cluster"].inputs["bootstrapActions"]
    assert first == {"name": "python", "path": "s3://pets/python.sh", "args": ["boto3"]}
    assert (second["name"], second["path"]) == ("last", "s3://pets/mine.sh")


def test_configurations_enable_event_logs_and_user_settings_win(cluster: Evaluate) -> None:
    user = {"classification": "spark-defaults", "properties": {"spark.eventLog.compress": False}}
    spec = pets(configurations=[user, {"classification": "yarn-site", "properties": {"a": 1}}])
    documents = json.loads(cluster(spec)["cluster"].inputs["configurationsJson"])
    assert [item["Classification"] for item in documents] == ["spark-defaults", "yarn-site"]
    properties = documents[0]["Properties"]
    assert properties["spark.eventLog.dir"] == "s3://pets/eventlogs/"
    assert properties["spark.eventLog.rolling.enabled"] == "true"
    assert properties["spark.eventLog.compression.codec"] == "zstd"
    assert properties["spark.eventLog.compress"] == "false"


@pytest.mark.parametrize(
    ("release", "cgroup"), [("emr-7.5.0", "/spark-rapids-cgroup"), ("emr-6.15.0", "/sys/fs/cgroup")]
)
def test_gpu_adds_the_classifications_and_the_bootstrap_action_of_emr(
    cluster: Evaluate, release: str, cgroup: str
) -> None:
    own = {
        "classification": "container-executor",
        "configurations": [{"classification": "gpu", "properties": {"gpu.allowed": "0"}}],
    }
    spec = pets(gpu=True, release=release, core={"type": "g4dn.xlarge"}, configurations=[own])
    inputs = cluster(spec)["cluster"].inputs
    documents = json.loads(inputs["configurationsJson"])
    found = {item["Classification"]: item for item in documents}
    assert len(found) == len(documents) == 5
    assert found["spark"]["Properties"] == {"enableSparkRapids": "true"}
    yarn = found["yarn-site"]["Properties"]
    assert yarn["yarn.resource-types"] == yarn["yarn.nodemanager.resource-plugins"] == "yarn.io/gpu"
    prefix = "yarn.nodemanager.linux-container-executor.cgroups"
    assert yarn[f"{prefix}.mount-path"] == cgroup
    assert yarn["yarn.nodemanager.container-executor.class"].endswith(".LinuxContainerExecutor")
    gpu, cgroups = found["container-executor"]["Configurations"]
    assert gpu["Properties"] == {"module.enabled": "true", "gpu.allowed": "0"}
    assert cgroups["Properties"] == {"root": cgroup, "yarn-hierarchy": "yarn"}
    [calculator] = found["capacity-scheduler"]["Properties"].values()
    assert calculator.endswith("DominantResourceCalculator")
    spark = found["spark-defaults"]["Properties"]
    assert spark["spark.executor.resource.gpu.amount"] == "1"
    assert spark["spark.task.resource.gpu.amount"] == "0.25"
    assert spark["spark.executor.resource.gpu.discoveryScript"].endswith("getGpusResources.sh")
    assert spark["spark.eventLog.enabled"] == "true"
    assert [action["name"] for action in inputs["bootstrapActions"]] == ["python", "gpu", "ttl"]


def test_cluster_without_gpu_has_no_classification_of_yarn(cluster: Evaluate) -> None:
    documents = json.loads(cluster(PETS)["cluster"].inputs["configurationsJson"])
    assert [item["Classification"] for item in documents] == ["spark-defaults"]


def test_applications_are_those_of_the_release(cluster: Evaluate) -> None:
    assert cluster(PETS)["cluster"].inputs["applications"] == ["Hadoop", "Spark"]
    inputs = cluster(pets(release="emr-spark-8.1.0"))["cluster"].inputs
    assert inputs["applications"] == ["Spark"]
    assert inputs["releaseLabel"] == "emr-spark-8.1.0"


def test_bootstrap_python_is_that_of_the_release(cluster: Evaluate) -> None:
    for release, first in (("emr-7.12.0", []), ("emr-spark-8.1.0", ["python3.11"])):
        for args in (["boto3"], ["python3", "boto3"]):
            actions = [{"script": "python.sh", "args": args}, {"script": "mine.sh", "args": ["a"]}]
            spec = pets(release=release, bootstrap=actions)
            python, mine, _ = cluster(spec)["cluster"].inputs["bootstrapActions"]
            assert python["args"] == (args if args[0] == "python3" else [*first, "boto3"])
            assert mine["args"] == ["a"]


def test_other_spark_version_becomes_property(cluster: Evaluate) -> None:
    for spec, version in ((PETS, None), (pets(spark="4.0.2"), "4.0.2")):
        documents = json.loads(cluster(spec)["cluster"].inputs["configurationsJson"])
        assert documents[0]["Properties"].get("spark.emrctl.version") == version


def test_ttl_becomes_tag_and_bootstrap_action(cluster: Evaluate) -> None:
    inputs = cluster(pets(ttl_s=7200))["cluster"].inputs
    assert inputs["tags"]["emrctl:ttl-s"] == "7200"
    last = inputs["bootstrapActions"][-1]
    assert (last["name"], last["args"]) == ("ttl", ["7200", "us-east-1"])
    assert cluster(PETS)["cluster"].inputs["tags"]["emrctl:ttl-s"] == "14400"
    unlimited = cluster(pets(ttl_s=0))
    assert "emrctl:ttl-s" not in unlimited["cluster"].inputs["tags"]
    assert len(unlimited["cluster"].inputs["bootstrapActions"]) == 1
    assert "TerminateJobFlows" not in unlimited["node-data"].inputs["policy"]


def test_termination_protection_changes_no_other_property(cluster: Evaluate) -> None:
    plain, protected = (cluster(pets(termination_protection=on))["cluster"] for on in (False, True))
    changed = {key for key in plain.inputs if plain.inputs[key] != protected.inputs[key]}
    assert changed == {"terminationProtection", "tags"}  # the spec's hash is a tag


def test_cluster_with_image_root_volume_key_and_placement(cluster: Evaluate) -> None:
    spec = pets(
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


def test_spec_hash_tag_changes_with_spec(cluster: Evaluate) -> None:
    first, second = cluster(PETS), cluster(pets(core={"count": 9}))
    key = "emrctl:spec-hash"
    assert first["cluster"].inputs["tags"][key] != second["cluster"].inputs["tags"][key]


def test_cluster_depends_on_routes_rules_and_policies(cluster: Evaluate) -> None:
    resources = cluster(PETS)
    dependencies = {urn.rpartition("::")[2] for urn in resources["cluster"].dependencies}
    assert {"default-route", "subnet-routes", "s3", "pass-role", "node-data"} <= dependencies
    assert {"core-out", "service-policy", "instance-profile", "security"} <= dependencies


def test_cluster_outputs(cluster: Evaluate) -> None:
    assert cluster(PETS).outputs == {
        "bucket": "pets",
        "cluster_id": "id-cluster",
        "cluster_arn": "arn:cluster",
        "primary_dns": "primary.example",
        "log_uri": "s3://pets/logs/",
        "event_log_uri": "s3://pets/eventlogs/",
        "vpc_id": "id-vpc",
        "subnet_id": "id-subnet",
        "instance_profile": "pets-main-nodes",
    }


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


def test_cluster_nodes_match_spec(cluster: Evaluate) -> None:
    spec = pets(core={"type": "r5.xlarge", "count": 7, "volume_gb": 128})
    inputs = cluster(spec)["cluster"].inputs
    assert inputs["masterInstanceGroup"]["instanceCount"] == 1
    core = inputs["coreInstanceGroup"]
    assert (core["instanceType"], core["instanceCount"]) == ("r5.xlarge", 7)
    assert core["ebsConfigs"] == [{"size": 128, "type": "gp3", "volumesPerInstance": 1}]


def test_instance_group_with_bid_and_volumes(cluster: Evaluate) -> None:
    core = {"bid_usd": 0.12, "volumes": 3, "volume_gb": 200, "volume_type": "st1"}
    group = cluster(pets(core=core))["cluster"].inputs["coreInstanceGroup"]
    assert group["bidPrice"] == "0.12"
    assert group["ebsConfigs"] == [{"size": 200, "type": "st1", "volumesPerInstance": 3}]
    assert "bidPrice" not in cluster(pets())["cluster"].inputs["coreInstanceGroup"]


def test_task_groups_are_separate_resources(cluster: Evaluate) -> None:
    tasks = [{"count": 4, "bid_usd": 0.08}, {"name": "big", "type": "r5.2xlarge"}]
    resources = cluster(pets(task=tasks))
    first, second = resources["task-task"].inputs, resources["task-big"].inputs
    assert (first["clusterId"], first["instanceCount"], first["bidPrice"]) == (
        "id-cluster",
        4,
        "0.08",
    )
    assert (second["name"], second["instanceType"]) == ("big", "r5.2xlarge")
    assert resources["task-task"].ignore_changes == frozenset()
    assert "task-task" not in cluster(pets(task=[{"count": 0}]))


def test_fleet_with_several_types_uses_both_markets(cluster: Evaluate) -> None:
    inputs = cluster(pets(fleets=FLEETS))["cluster"].inputs
    assert "coreInstanceGroup" not in inputs
    assert "masterInstanceGroup" not in inputs
    core = inputs["coreInstanceFleet"]
    assert (core["targetOnDemandCapacity"], core["targetSpotCapacity"]) == (2, 6)
    default, percent, bid = core["instanceTypeConfigs"]
    assert default["bidPriceAsPercentageOfOnDemandPrice"] == 100
    assert default["ebsConfigs"][0] == {"size": 100, "type": "gp3", "volumesPerInstance": 2}
    assert (percent["weightedCapacity"], percent["bidPriceAsPercentageOfOnDemandPrice"]) == (2, 60)
    # The provider's default of 100 % would be sent with the price.
    assert (bid["bidPrice"], bid["bidPriceAsPercentageOfOnDemandPrice"]) == ("0.2", 0)
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
    task = cluster(pets(fleets=FLEETS))["task-fleet"].inputs
    assert (task["clusterId"], task["targetSpotCapacity"]) == ("id-cluster", 3)
    spot = task["launchSpecifications"]["spotSpecifications"][0]
    assert spot["timeoutAction"] == "TERMINATE_CLUSTER"


def test_task_fleet_capacities_can_change_between_markets(cluster: Evaluate) -> None:
    capacities = {"targetOnDemandCapacity", "targetSpotCapacity"}
    both = [
        cluster(pets(fleets=FLEETS | {"task": {"types": [{}], market: 3}}))["task-fleet"].inputs
        for market in ("on_demand", "spot")
    ]
    assert {key for key in both[0] if both[0][key] != both[1][key]} == capacities


def test_fleet_gets_all_subnets(cluster: Evaluate) -> None:
    network = {"subnets": ["subnet-1", "subnet-2"], "vpc": "vpc-1"}
    inputs = cluster(pets(fleets=FLEETS, network=network))["cluster"].inputs
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
    resources = cluster(pets(scaling=limits, **spec))
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
    groups = cluster(pets(task=[{}], scaling={"maximum": 9, "unit": "vcpus"}))
    assert groups["task-task"].ignore_changes == {"instanceCount"}
    assert groups["scaling"].inputs["computeLimits"][0]["unitType"] == "VCPU"
    fleets = cluster(pets(fleets=FLEETS, scaling={"maximum": 9}))
    assert fleets["task-fleet"].ignore_changes == {
        "targetOnDemandCapacity",
        "targetSpotCapacity",
    }


PRIVATE = {"network": {"private": True}}


def test_security_configuration_requires_imdsv2(cluster: Evaluate) -> None:
    resources = cluster(PETS)
    document = json.loads(resources["security"].inputs["configuration"])
    metadata = document["InstanceMetadataServiceConfiguration"]
    assert metadata["MinimumInstanceMetadataServiceVersion"] == 2
    assert (
        resources["cluster"].inputs["securityConfiguration"] == resources["security"].inputs["name"]
    )


def test_security_configuration_encrypts_at_rest_in_transit_and_logs(cluster: Evaluate) -> None:
    security = {
        "at_rest": True,
        "disk_key": KEY,
        "log_key": KEY,
        "in_transit": "s3://pets/certificates/c.zip",
    }
    resources = cluster(pets({"kms_key": KEY}, security=security))
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
    resources = cluster(pets(security={"at_rest": True}))
    encryption = json.loads(resources["security"].inputs["configuration"])[
        "EncryptionConfiguration"
    ]
    assert encryption["AtRestEncryptionConfiguration"] == {
        "S3EncryptionConfiguration": {"EncryptionMode": "SSE-S3"}
    }
    assert not encryption["EnableInTransitEncryption"]


def test_security_configuration_name_changes_with_content(cluster: Evaluate) -> None:
    plain = cluster(pets())["security"].inputs["name"]
    assert cluster(pets(security={"at_rest": True}))["security"].inputs["name"] != plain
    named = cluster(pets(security={"configuration": "existing"}))
    assert named.of("SecurityConfiguration") == []
    assert named["cluster"].inputs["securityConfiguration"] == "existing"
