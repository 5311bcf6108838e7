"""Requests that EMR rejects by rules that are not in the API's model."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from emrctl.aws.target import Target
from tests.emulator.conftest import Await, Emr, add, state, status
from tests.emulator.fake_runtime import FakeRuntime

_IAM = {"IAMConfiguration": {"EnableApplicationScopedIAMRole": True}}
RUNTIME_ROLES = json.dumps({"AuthorizationConfiguration": _IAM})
_LIMITS = {"UnitType": "Instances", "MinimumCapacityUnits": 5, "MaximumCapacityUnits": 2}
_SPOT = {"TimeoutDurationMinutes": 10, "TimeoutAction": "TERMINATE_CLUSTER"}
_BOUNDS = {"MinCapacity": 1, "MaxCapacity": 2}
_SCALING = {"Constraints": {"MinCapacity": 5, "MaxCapacity": 2}, "Rules": []}


def _rule(**alarm: Any) -> dict[str, Any]:
    """Return a rule of an automatic scaling policy."""
    default = {
        "ComparisonOperator": "LESS_THAN",
        "MetricName": "YARNMemoryAvailablePercentage",
        "Period": 300,
        "Threshold": 15.0,
    }
    return {
        "Name": "a",
        "Action": {"SimpleScalingPolicyConfiguration": {"ScalingAdjustment": 1}},
        "Trigger": {"CloudWatchAlarmDefinition": default | alarm},
    }


def _volumes(volume: dict[str, Any] | None = None, **device: Any) -> dict[str, Any]:
    """Return a change of an instance group: one kind of EBS volumes."""
    volume = volume or {"VolumeType": "gp3", "SizeInGB": 10}
    return {
        "EbsConfiguration": {"EbsBlockDeviceConfigs": [{"VolumeSpecification": volume} | device]}
    }


def code(call: Any, **members: Any) -> str:
    """Return the error code of a rejected request."""
    with pytest.raises(ClientError) as caught:
        call(**members)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    return str(caught.value.response["Error"]["Code"])


@pytest.mark.parametrize(
    "change",
    [
        {"ServiceRole": "no-such-role"},
        {"JobFlowRole": "no-such-profile"},
        {"AutoScalingRole": "no-such-role"},
        {"ReleaseLabel": "emr-99.0.0"},
        {"ReleaseLabel": "emr-5.0.1"},
        {"ReleaseLabel": "latest"},
        {"AmiVersion": "3.11.0"},
        {"Applications": [{"Name": "Sparkle"}]},
        {"Applications": [{"Name": "Ganglia"}]},
        {"ReleaseLabel": "emr-spark-8.1.0", "Applications": [{"Name": "Hadoop"}]},
        {"ReleaseLabel": "emr-spark-7.1.0"},
        {"ReleaseLabel": "emr-spark-8.0.1"},
        {"Applications": [{}]},
        {"StepConcurrencyLevel": 257},
        {"StepConcurrencyLevel": 0},
        {"ReleaseLabel": "emr-5.27.0", "StepConcurrencyLevel": 2},
        {"ReleaseLabel": "emr-5.29.0", "AutoTerminationPolicy": {"IdleTimeout": 60}},
        {"AutoTerminationPolicy": {"IdleTimeout": 5}},
        {"AutoTerminationPolicy": {"IdleTimeout": 604_801}},
        {"ManagedScalingPolicy": {"ComputeLimits": _LIMITS}},
        {"ManagedScalingPolicy": {}},
        {
            "ManagedScalingPolicy": {
                "ComputeLimits": _LIMITS | {"MaximumCapacityUnits": 9},
                "UtilizationPerformanceIndex": 30,
            }
        },
        {"ManagedScalingPolicy": {"ComputeLimits": _LIMITS | {"MaximumCapacityUnits": -1}}},
        {
            "ManagedScalingPolicy": {
                "ComputeLimits": _LIMITS
                | {"UnitType": "InstanceFleetUnits", "MaximumCapacityUnits": 9}
            }
        },
        {"LogUri": "s3://Pets_Logs/"},
        {"LogUri": "pets-logs"},
        {"Name": "x" * 257},
        {"Tags": [{"Value": "cats"}]},
        {"Tags": [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]},
        {"Tags": [{"Key": str(n), "Value": ""} for n in range(51)]},
        {"Configurations": [{"Properties": {"a": "b"}}]},
        {"BootstrapActions": [{"Name": "a", "ScriptBootstrapAction": {"Path": "boot.sh"}}]},
        {"BootstrapActions": [{"Name": "a", "ScriptBootstrapAction": {"Path": "s3://a/b"}}] * 17},
        {"PlacementGroupConfigs": [{"InstanceRole": "CORE"}]},
        {"ReleaseLabel": "emr-5.22.0", "PlacementGroupConfigs": [{"InstanceRole": "MASTER"}]},
        {"EbsRootVolumeSize": 1},
        {"SessionEnabled": True},
        {"KerberosAttributes": {"Realm": "EC2.INTERNAL", "KdcAdminPassword": "secret"}},
        {"StepExecutionRoleArn": "arn:aws:iam::123456789012:role/pets"},
        {"Steps": [{"Name": "a", "ActionOnFailure": "STOP", "HadoopJarStep": {"Jar": "a.jar"}}]},
    ],
)
def test_run_job_flow_rejects(
    emr: Emr, request_body: dict[str, Any], change: dict[str, Any]
) -> None:
    assert code(emr.run_job_flow, **request_body | change) == "ValidationException"
    assert not emr.list_clusters()["Clusters"]


@pytest.mark.parametrize(
    "change",
    [
        {"Ec2KeyName": "no-such-key"},
        {"MasterInstanceType": "m5.xlarge"},
        {"InstanceFleets": [{"InstanceFleetType": "MASTER"}]},
        {"InstanceGroups": [], "MasterInstanceType": "m5.xlarge", "InstanceCount": 0},
        {"InstanceGroups": [], "MasterInstanceType": "m5.xlarge", "InstanceCount": 10**6},
        {"Ec2SubnetIds": ["subnet-1"]},
        {"Placement": {"AvailabilityZone": "eu-west-1a"}},
        {"Placement": {"AvailabilityZone": "us-east-1"}},
    ],
)
def test_run_job_flow_rejects_instances(
    emr: Emr, request_body: dict[str, Any], change: dict[str, Any]
) -> None:
    request_body["Instances"] |= change
    assert code(emr.run_job_flow, **request_body) == "ValidationException"


@pytest.mark.parametrize(
    "change",
    [
        {"InstanceCount": -1},
        {"InstanceCount": 0},
        {"InstanceCount": 300},
        {"InstanceRole": "MASTER"},
        {"BidPrice": "cheap"},
        {"BidPrice": "nan"},
        {"AutoScalingPolicy": _SCALING},
        *(
            {"AutoScalingPolicy": {"Constraints": _BOUNDS, "Rules": rules}}
            for rules in (
                [_rule(), _rule()],
                [_rule(Period=90)],
                [_rule(Period=0)],
                [_rule(EvaluationPeriods=0)],
            )
        ),
        {"Configurations": [{}]},
        _volumes(VolumesPerInstance=10**9),
        *(
            _volumes({"SizeInGB": 10} | volume)
            for volume in (
                {"VolumeType": "gp9"},
                {"VolumeType": "io1"},
                {"VolumeType": "gp2", "Iops": 100},
                {"VolumeType": "io1", "Iops": 100, "Throughput": 125},
            )
        ),
    ],
)
def test_run_job_flow_rejects_group(
    emr: Emr, request_body: dict[str, Any], change: dict[str, Any]
) -> None:
    request_body["Instances"]["InstanceGroups"][1] |= change
    assert code(emr.run_job_flow, **request_body) == "ValidationException"


_TYPE = {"InstanceType": "m5.xlarge"}


@pytest.mark.parametrize(
    ("role", "change"),
    [
        ("CORE", {"InstanceTypeConfigs": [_TYPE | {"WeightedCapacity": 0}]}),
        ("MASTER", {"InstanceTypeConfigs": [_TYPE | {"WeightedCapacity": 2}]}),
        ("CORE", {"InstanceTypeConfigs": [_TYPE, _TYPE]}),
        (
            "CORE",
            {
                "InstanceTypeConfigs": [
                    {"InstanceType": f"{family}.xlarge"}
                    for family in ("m5", "m5a", "m6g", "r5", "c5", "m4")
                ]
            },
        ),
        *(
            ("CORE", {"LaunchSpecifications": {"SpotSpecification": _SPOT | change}})
            for change in (
                {"TimeoutDurationMinutes": 4},
                {"TimeoutDurationMinutes": 1441},
                {"BlockDurationMinutes": 61},
            )
        ),
    ],
)
def test_run_job_flow_rejects_fleet(
    emr: Emr, request_body: dict[str, Any], role: str, change: dict[str, Any]
) -> None:
    fleets = {
        name: {
            "InstanceFleetType": name,
            "TargetOnDemandCapacity": 1,
            "InstanceTypeConfigs": [_TYPE],
        }
        for name in ("MASTER", "CORE")
    }
    request_body["Instances"] = {"InstanceFleets": [*fleets.values()]}
    assert emr.run_job_flow(**request_body)["JobFlowId"]
    fleets[role] |= change
    assert code(emr.run_job_flow, **request_body) == "ValidationException"


def test_managed_and_automatic_scaling_exclude_each_other(emr: Emr, waiting: str) -> None:
    limits = {"UnitType": "Instances", "MinimumCapacityUnits": 1, "MaximumCapacityUnits": 2}
    managed = {"ComputeLimits": limits}
    automatic = {"Constraints": _BOUNDS, "Rules": [_rule()]}
    group = emr.list_instance_groups(ClusterId=waiting)["InstanceGroups"][1]["Id"]
    ids = {"ClusterId": waiting, "InstanceGroupId": group}
    emr.put_auto_scaling_policy(**ids, AutoScalingPolicy=automatic)
    put = emr.put_managed_scaling_policy
    assert code(put, ClusterId=waiting, ManagedScalingPolicy=managed) == "ValidationException"
    emr.remove_auto_scaling_policy(**ids)
    put(ClusterId=waiting, ManagedScalingPolicy=managed)
    put_automatic = emr.put_auto_scaling_policy
    assert code(put_automatic, **ids, AutoScalingPolicy=automatic) == "ValidationException"
    task = {"InstanceRole": "TASK", "InstanceType": "m5.xlarge", "InstanceCount": 1}
    groups = [task | {"AutoScalingPolicy": automatic}]
    add = emr.add_instance_groups
    assert code(add, JobFlowId=waiting, InstanceGroups=groups) == "ValidationException"


def test_primary_group_cannot_have_an_automatic_scaling_policy(
    emr: Emr, request_body: dict[str, Any]
) -> None:
    policy = {"Constraints": _BOUNDS, "Rules": [_rule()]}
    request_body["Instances"]["InstanceGroups"][0]["AutoScalingPolicy"] = policy
    assert code(emr.run_job_flow, **request_body) == "ValidationException"


def test_run_job_flow_rejects_unknown_security_configuration(
    emr: Emr, request_body: dict[str, Any]
) -> None:
    request_body["SecurityConfiguration"] = "no-such-configuration"
    assert code(emr.run_job_flow, **request_body) == "InvalidRequestException"


def test_run_job_flow_accepts_names_that_exist(
    emr: Emr, mocked: Target, request_body: dict[str, Any]
) -> None:
    iam = mocked.client("iam")
    arn = iam.create_role(RoleName="pets", Path="/a/", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    iam.create_instance_profile(InstanceProfileName="nodes")
    mocked.client("ec2").create_key_pair(KeyName="laptop")
    emr.create_security_configuration(Name="roles", SecurityConfiguration=RUNTIME_ROLES)
    request_body["Instances"]["Ec2KeyName"] = "laptop"
    request = copy.deepcopy(request_body) | {
        "JobFlowRole": "nodes",
        "AutoScalingRole": "pets",
        "SecurityConfiguration": "roles",
        "Applications": [{"Name": "spark"}, {"Name": "JupyterEnterpriseGateway"}],
        "StepExecutionRoleArn": arn,
    }
    for role in ("pets", arn):
        assert emr.run_job_flow(**request | {"ServiceRole": role})["JobFlowId"]


def test_marker_of_another_list_is_rejected(emr: Emr, waiting: str) -> None:
    for number in range(6):
        for _ in range(10):
            jar = {"Jar": "command-runner.jar", "Args": ["true"]}
            step = {"Name": str(number), "ActionOnFailure": "CONTINUE", "HadoopJarStep": jar}
            emr.add_job_flow_steps(JobFlowId=waiting, Steps=[step])
    marker = emr.list_steps(ClusterId=waiting)["Marker"]
    assert len(emr.list_steps(ClusterId=waiting, Marker=marker)["Steps"]) == 10
    for wrong in (marker, "50", "-1", "no marker", "é", "x" * 5000):
        answer = code(emr.list_instances, ClusterId=waiting, Marker=wrong)
        assert answer == "InvalidRequestException"


def test_requests_on_cluster_out_of_range_are_rejected(emr: Emr, waiting: str) -> None:
    limits = {"ComputeLimits": _LIMITS}
    group = emr.list_instance_groups(ClusterId=waiting)["InstanceGroups"][1]["Id"]
    rejected: list[tuple[Any, dict[str, Any]]] = [
        (emr.cancel_steps, {"StepIds": ["s-1"] * 300}),
        (emr.cancel_steps, {"StepIds": ["s-1"], "StepCancellationOption": "ASK_NICELY"}),
        (emr.modify_cluster, {"StepConcurrencyLevel": 257}),
        (emr.put_managed_scaling_policy, {"ManagedScalingPolicy": limits}),
        (emr.put_auto_termination_policy, {"AutoTerminationPolicy": {"IdleTimeout": 5}}),
        (
            emr.put_auto_scaling_policy,
            {"InstanceGroupId": group, "AutoScalingPolicy": _SCALING},
        ),
    ]
    for call, members in rejected:
        assert code(call, ClusterId=waiting, **members) == "ValidationException"
    assert code(emr.terminate_job_flows, JobFlowIds=[waiting] * 11) == "ValidationException"
    one = {"InstanceRole": "TASK", "InstanceType": "m5.xlarge", "InstanceCount": -1}
    assert (
        code(emr.add_instance_groups, JobFlowId=waiting, InstanceGroups=[one])
        == "ValidationException"
    )
    change = {"InstanceGroupId": group, "InstanceCount": -1}
    assert code(emr.modify_instance_groups, InstanceGroups=[change]) == "ValidationException"
    tags = [{"Key": "aws:a", "Value": ""}]
    assert code(emr.add_tags, ResourceId=waiting, Tags=tags) == "ValidationException"
    role = {"ExecutionRoleArn": "arn:aws:iam::123456789012:role/pets"}
    assert (
        code(emr.add_job_flow_steps, JobFlowId=waiting, Steps=[], **role) == "ValidationException"
    )


def test_ids_of_another_cluster_are_rejected(
    emr: Emr, waiting: str, request_body: dict[str, Any]
) -> None:
    other = emr.run_job_flow(**request_body)["JobFlowId"]
    group = emr.list_instance_groups(ClusterId=other)["InstanceGroups"][1]["Id"]
    change = {"InstanceGroupId": group, "InstanceCount": 1}
    assert (
        code(emr.modify_instance_groups, ClusterId=waiting, InstanceGroups=[change])
        == "InvalidRequestException"
    )
    assert (
        code(emr.list_instances, ClusterId=waiting, InstanceGroupId=group)
        == "InvalidRequestException"
    )


def test_list_instances_rejects_fleets_of_cluster_with_groups(emr: Emr, waiting: str) -> None:
    for wrong in ({"InstanceFleetType": "CORE"}, {"InstanceFleetId": "if-1"}):
        answer = code(emr.list_instances, ClusterId=waiting, **wrong)
        assert answer == "InvalidRequestException"


def test_features_of_later_releases_are_rejected(
    emr: Emr, runtime: FakeRuntime, request_body: dict[str, Any], until: Await
) -> None:
    runtime.pause = True
    id_ = emr.run_job_flow(**request_body | {"ReleaseLabel": "emr-5.20.0"})["JobFlowId"]
    until(lambda: state(emr, id_), "WAITING")
    limits = {"UnitType": "Instances", "MinimumCapacityUnits": 1, "MaximumCapacityUnits": 2}
    group = emr.list_instance_groups(ClusterId=id_)["InstanceGroups"][1]["Id"]
    change = {"InstanceGroupId": group, "Configurations": [{"Classification": "yarn-site"}]}
    rejected: list[tuple[Any, dict[str, Any]]] = [
        (emr.put_auto_termination_policy, {"AutoTerminationPolicy": {"IdleTimeout": 60}}),
        (emr.put_managed_scaling_policy, {"ManagedScalingPolicy": {"ComputeLimits": limits}}),
        (emr.modify_cluster, {"StepConcurrencyLevel": 2}),
        (emr.modify_instance_groups, {"InstanceGroups": [change]}),
    ]
    for call, members in rejected:
        assert code(call, ClusterId=id_, **members) == "ValidationException"
    running, pending = (add(emr, id_, "sleep") for _ in range(2))
    until(lambda: status(emr, id_, running)["State"], "RUNNING")
    rows = emr.cancel_steps(ClusterId=id_, StepIds=[running, pending])["CancelStepsInfoList"]
    assert [row["Status"] for row in rows] == ["FAILED", "SUBMITTED"]


def test_bucket_names_that_s3_refuses_are_rejected(mocked: Target, emr: Emr) -> None:
    s3 = mocked.client("s3")
    for name in ("Pets", "pets_logs", "pe", "192.168.1.1", "pets..logs", "-pets"):
        assert code(s3.create_bucket, Bucket=name) == "InvalidBucketName"
