from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from emrctl.aws import releases
from emrctl.aws.target import Target
from emrctl.spec import local_spark
from tests.emulator.conftest import Await, Emr, state
from tests.emulator.fake_runtime import FakeRuntime


def step(*args: str, name: str = "a") -> dict[str, Any]:
    jar = {"Jar": "command-runner.jar", "Args": list(args)}
    return {"Name": name, "ActionOnFailure": "CONTINUE", "HadoopJarStep": jar}


def test_describe_cluster_echoes_run_job_flow(emr: Emr, request_body: dict[str, Any]) -> None:
    asked = request_body | {
        "ScaleDownBehavior": "TERMINATE_AT_INSTANCE_HOUR",
        "LogEncryptionKmsKeyId": "arn:aws:kms:us-east-1:123456789012:key/a",
        "OSReleaseLabel": "2023.6.20250115.0",
        "EbsRootVolumeSize": 40,
        "SecurityConfiguration": "secure",
        "StepConcurrencyLevel": 3,
        "Tags": [{"Key": "team", "Value": "cats"}],
        "Configurations": [{"Classification": "spark", "Properties": {"a": "b"}}],
        "AutoTerminationPolicy": {"IdleTimeout": 600},
    }
    emr.create_security_configuration(Name="secure", SecurityConfiguration="{}")
    cluster_id = emr.run_job_flow(**asked)["JobFlowId"]
    found = emr.describe_cluster(ClusterId=cluster_id)["Cluster"]
    for key in ("ScaleDownBehavior", "LogEncryptionKmsKeyId", "OSReleaseLabel"):
        assert found[key] == asked[key]
    for key in ("EbsRootVolumeSize", "SecurityConfiguration", "StepConcurrencyLevel"):
        assert found[key] == asked[key]
    assert found["Configurations"] == asked["Configurations"]
    assert found["LogUri"] == "s3n://pets-logs/here/"
    assert found["Ec2InstanceAttributes"]["IamInstanceProfile"] == "EMR_EC2_DefaultRole"
    assert found["InstanceCollectionType"] == "INSTANCE_GROUP"
    assert found["Tags"] == asked["Tags"]
    policy = emr.get_auto_termination_policy(ClusterId=cluster_id)["AutoTerminationPolicy"]
    assert policy == {"IdleTimeout": 600}
    assert [one["Id"] for one in emr.list_clusters()["Clusters"]] == [cluster_id]
    assert emr.list_clusters(ClusterStates=["TERMINATED"])["Clusters"] == []


_BIDS = {"InstanceType": "m5.xlarge", "BidPrice": "1", "BidPriceAsPercentageOfOnDemandPrice": 50}
_FLEET = {"InstanceFleetType": "MASTER", "TargetSpotCapacity": 1, "InstanceTypeConfigs": [_BIDS]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Tags": [{"Key": "a&b", "Value": ""}]}, "The tag 'a&b' is not valid"),
        ({"Tags": [{"Key": "AWS:a", "Value": ""}]}, "prefix aws: is reserved"),
        (
            {"Configurations": [{"Classification": "spark"}, {"Classification": "spark"}]},
            "The classification 'spark' is given twice",
        ),
        ({"ReleaseLabel": "emr-7.4.9"}, "The supplied release label is invalid: emr-7.4.9"),
        ({"ReleaseLabel": "emr-6.99.0"}, "The supplied release label is invalid"),
        ({"Instances": {"InstanceFleets": [_FLEET]}}, "exclude each other"),
    ],
)
def test_run_job_flow_rejects_what_emr_rejects(
    emr: Emr, request_body: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ClientError, match=message):
        emr.run_job_flow(**request_body | changes)
    assert not emr.list_clusters()["Clusters"]


@pytest.mark.parametrize(
    ("label", "spark"),
    [
        ("emr-7.99.0", local_spark.installed_version()),
        ("emr-spark-8.1.0", "4.1.1"),
        ("emr-spark-8.9.0", "4.1.1"),
        ("emr-5.36.2", local_spark.installed_version()),
    ],
)
def test_run_job_flow_accepts_releases_and_later_ones(
    emr: Emr, request_body: dict[str, Any], label: str, spark: str
) -> None:
    id_ = emr.run_job_flow(**request_body | {"ReleaseLabel": label})["JobFlowId"]
    cluster = emr.describe_cluster(ClusterId=id_)["Cluster"]
    assert cluster["ReleaseLabel"] == label
    assert cluster["Applications"] == [{"Name": "Spark", "Version": spark}]


def test_every_listed_release_is_accepted(emr: Emr) -> None:
    labels = emr.list_release_labels()["ReleaseLabels"]
    assert "emr-spark-8.1.0" in labels
    assert not [label for label in labels if releases.fault(label) or releases.fault(label, labels)]
    assert set(labels) <= set(releases.table())


def test_run_job_flow_without_applications_installs_those_of_the_release(
    emr: Emr, request_body: dict[str, Any]
) -> None:
    del request_body["Applications"]
    for label, name in (("emr-7.5.0", "Hadoop"), ("emr-spark-8.1.0", "Spark")):
        id_ = emr.run_job_flow(**request_body | {"ReleaseLabel": label})["JobFlowId"]
        [application] = emr.describe_cluster(ClusterId=id_)["Cluster"]["Applications"]
        assert application["Name"] == name


def test_run_job_flow_with_version_property_runs_that_spark(
    emr: Emr, request_body: dict[str, Any]
) -> None:
    defaults = {"Classification": "spark-defaults", "Properties": {"spark.emrctl.version": "4.0.2"}}
    id_ = emr.run_job_flow(**request_body | {"Configurations": [defaults]})["JobFlowId"]
    [spark] = emr.describe_cluster(ClusterId=id_)["Cluster"]["Applications"]
    assert spark == {"Name": "Spark", "Version": "4.0.2"}
    defaults["Properties"] = {"spark.emrctl.version": "3.3.4"}
    with pytest.raises(ClientError, match=r"Spark 3\.3\.4 does not support the Python"):
        emr.run_job_flow(**request_body | {"Configurations": [defaults]})


def test_policies_are_stored_and_removed(emr: Emr, waiting: str) -> None:
    assert "AutoTerminationPolicy" not in emr.get_auto_termination_policy(ClusterId=waiting)
    limits = {"UnitType": "Instances", "MinimumCapacityUnits": 2, "MaximumCapacityUnits": 5}
    policy = {"ComputeLimits": limits}
    emr.put_managed_scaling_policy(ClusterId=waiting, ManagedScalingPolicy=policy)
    found = emr.get_managed_scaling_policy(ClusterId=waiting)["ManagedScalingPolicy"]
    assert found == policy
    emr.remove_managed_scaling_policy(ClusterId=waiting)
    assert "ManagedScalingPolicy" not in emr.get_managed_scaling_policy(ClusterId=waiting)
    emr.put_auto_termination_policy(ClusterId=waiting, AutoTerminationPolicy={"IdleTimeout": 60})
    emr.remove_auto_termination_policy(ClusterId=waiting)
    assert "AutoTerminationPolicy" not in emr.get_auto_termination_policy(ClusterId=waiting)


def test_cluster_flags_are_changed(emr: Emr, waiting: str) -> None:
    ids = [waiting]
    emr.set_unhealthy_node_replacement(JobFlowIds=ids, UnhealthyNodeReplacement=True)
    emr.set_visible_to_all_users(JobFlowIds=ids, VisibleToAllUsers=False)
    emr.set_termination_protection(JobFlowIds=ids, TerminationProtected=True)
    found = emr.describe_cluster(ClusterId=waiting)["Cluster"]
    assert found["UnhealthyNodeReplacement"]
    assert not found["VisibleToAllUsers"]
    assert found["TerminationProtected"]
    emr.set_termination_protection(JobFlowIds=ids, TerminationProtected=False)
    emr.set_keep_job_flow_alive_when_no_steps(JobFlowIds=ids, KeepJobFlowAliveWhenNoSteps=False)


def test_unknown_ids_are_invalid_requests(emr: Emr, waiting: str) -> None:
    with pytest.raises(ClientError, match="Cluster id 'j-NONE' is not valid"):
        emr.describe_cluster(ClusterId="j-NONE")
    for ask in (emr.list_steps, emr.list_instances, emr.list_instance_groups):
        with pytest.raises(ClientError, match="is not valid"):
            ask(ClusterId="j-NONE")
    with pytest.raises(ClientError, match="Step id is not valid"):
        emr.describe_step(ClusterId=waiting, StepId="s-NONE")


def test_list_instance_fleets_rejects_cluster_of_groups(emr: Emr, waiting: str) -> None:
    with pytest.raises(ClientError, match="mutually exclusive") as caught:
        emr.list_instance_fleets(ClusterId=waiting)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ReleaseLabel": ""}, "ReleaseLabel"),
        ({"Instances": {"InstanceGroups": []}}, "InstanceGroups"),
        ({"Instances": {"MasterInstanceType": "m5.xlarge", "Ec2SubnetId": "subnet-1"}}, "subnet"),
        ({"Instances": {"MasterInstanceType": "t2.micro"}}, "t2.micro"),
        ({"Instances": {"MasterInstanceType": "t3.large"}}, "does not support"),
        (
            {
                "Instances": {
                    "MasterInstanceType": "m5.xlarge",
                    "EmrManagedMasterSecurityGroup": "sg-1",
                }
            },
            "sg-1",
        ),
    ],
)
def test_run_job_flow_rejects_invalid_requests(
    emr: Emr, request_body: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ClientError, match=message):
        emr.run_job_flow(**(request_body | change))
    assert emr.list_clusters()["Clusters"] == []


def test_add_steps_rejects_too_many_and_too_long_steps(
    emr: Emr, runtime: FakeRuntime, waiting: str, until: Await
) -> None:
    with pytest.raises(ClientError, match="10240 characters"):
        emr.add_job_flow_steps(JobFlowId=waiting, Steps=[step("x" * 10_240)])
    emr.add_job_flow_steps(JobFlowId=waiting, Steps=[step("x" * 10_000)])
    runtime.pause = True
    for _ in range(25):
        emr.add_job_flow_steps(JobFlowId=waiting, Steps=[step("a")] * 10)
    with pytest.raises(ClientError, match="Maximum number of active steps"):
        emr.add_job_flow_steps(JobFlowId=waiting, Steps=[step("a")] * 10)
    runtime.pause = False


def test_list_steps_newest_first_with_filters(emr: Emr, waiting: str, until: Await) -> None:
    ids: list[str] = []
    for number in range(60):
        added = emr.add_job_flow_steps(JobFlowId=waiting, Steps=[step("a", name=str(number))])
        ids += added["StepIds"]
    pages = emr.get_paginator("list_steps").paginate(ClusterId=waiting)
    listed = [one["Id"] for page in pages for one in page["Steps"]]
    assert listed == ids[::-1]
    assert len(emr.list_steps(ClusterId=waiting)["Steps"]) == 50
    two = emr.list_steps(ClusterId=waiting, StepIds=ids[:2])["Steps"]
    assert [one["Id"] for one in two] == ids[:2]
    until(lambda: state(emr, waiting), "WAITING")
    assert emr.list_steps(ClusterId=waiting, StepStates=["PENDING"])["Steps"] == []


def test_list_instances_with_filters(emr: Emr, waiting: str) -> None:
    def count(**wanted: Any) -> int:
        return len(emr.list_instances(ClusterId=waiting, **wanted)["Instances"])

    assert count() == 3
    assert count(InstanceGroupTypes=["CORE"]) == 2
    assert count(InstanceStates=["RUNNING"]) == 3
    assert count(InstanceStates=["TERMINATED"]) == 0


def test_fleets_have_volumes_and_are_modified_while_cluster_runs(
    emr: Emr, request_body: dict[str, Any], until: Await
) -> None:
    volume = {"VolumeType": "gp3", "SizeInGB": 50}
    volumes = {"EbsBlockDeviceConfigs": [{"VolumeSpecification": volume, "VolumesPerInstance": 2}]}
    fleets = [
        {
            "InstanceFleetType": role,
            "TargetOnDemandCapacity": count,
            "InstanceTypeConfigs": [{"InstanceType": "m5.xlarge", "EbsConfiguration": volumes}],
        }
        for role, count in (("MASTER", 1), ("CORE", 2))
    ]
    request_body["Instances"] = {"InstanceFleets": fleets, "KeepJobFlowAliveWhenNoSteps": True}
    cluster_id = emr.run_job_flow(**request_body)["JobFlowId"]
    until(lambda: state(emr, cluster_id), "WAITING")
    found = emr.list_instance_fleets(ClusterId=cluster_id)["InstanceFleets"]
    assert [one["ProvisionedOnDemandCapacity"] for one in found] == [1, 2]
    with pytest.raises(ClientError, match="mutually exclusive"):
        emr.list_instance_groups(ClusterId=cluster_id)
    [specification] = found[1]["InstanceTypeSpecifications"]
    devices = [{"VolumeSpecification": volume, "Device": f"/dev/sd{letter}"} for letter in "bc"]
    assert specification["EbsBlockDevices"] == devices
    emr.terminate_job_flows(JobFlowIds=[cluster_id])
    with pytest.raises(emr.exceptions.InvalidRequestException, match="only be modified when"):
        emr.modify_instance_fleet(
            ClusterId=cluster_id,
            InstanceFleet={"InstanceFleetId": found[1]["Id"], "TargetOnDemandCapacity": 1},
        )


def test_group_without_instances_is_running_beside_an_empty_list_of_fleets(
    emr: Emr, request_body: dict[str, Any], until: Await
) -> None:
    task = {"InstanceRole": "TASK", "InstanceType": "m5.xlarge", "InstanceCount": 0}
    instances = request_body["Instances"]
    instances["InstanceGroups"] = [*instances["InstanceGroups"], task]
    instances["InstanceFleets"] = []
    cluster_id = emr.run_job_flow(**request_body)["JobFlowId"]
    until(lambda: state(emr, cluster_id), "WAITING")
    groups = emr.list_instance_groups(ClusterId=cluster_id)["InstanceGroups"]
    states = [(one["InstanceGroupType"], one["Status"]["State"]) for one in groups]
    assert ("TASK", "RUNNING") in states
    cluster = emr.describe_cluster(ClusterId=cluster_id)["Cluster"]
    assert cluster["InstanceCollectionType"] == "INSTANCE_GROUP"


def test_empty_auto_termination_policy_has_the_default(
    emr: Emr, request_body: dict[str, Any]
) -> None:
    cluster_id = emr.run_job_flow(**request_body, AutoTerminationPolicy={})["JobFlowId"]
    policy = emr.get_auto_termination_policy(ClusterId=cluster_id)["AutoTerminationPolicy"]
    assert policy == {"IdleTimeout": 3600}


def test_tags_are_added_and_removed(emr: Emr, waiting: str) -> None:
    emr.add_tags(ResourceId=waiting, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    emr.remove_tags(ResourceId=waiting, TagKeys=["a"])
    tags = emr.describe_cluster(ClusterId=waiting)["Cluster"]["Tags"]
    assert {"Key": "b", "Value": "2"} in tags
    assert all(tag["Key"] != "a" for tag in tags)


def test_managed_security_groups_are_created_in_the_vpc(
    emr: Emr, mocked: Target, request_body: dict[str, Any]
) -> None:
    subnet = mocked.client("ec2").describe_subnets()["Subnets"][0]["SubnetId"]
    request_body["Instances"]["Ec2SubnetId"] = subnet
    cluster_id = emr.run_job_flow(**request_body)["JobFlowId"]
    found = emr.describe_cluster(ClusterId=cluster_id)["Cluster"]["Ec2InstanceAttributes"]
    assert found["Ec2SubnetId"] == subnet
    assert found["EmrManagedMasterSecurityGroup"].startswith("sg-")
