"""What EMR returns of a cluster's request, its instances and its steps."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from botocore.exceptions import ClientError

from emrctl.aws.target import Target
from emrctl.emulator.api.service import Service
from tests.emulator.api.test_checks import RUNTIME_ROLES
from tests.emulator.conftest import Await, Emr, state, status
from tests.emulator.fake_runtime import FakeRuntime

_TYPE = {"InstanceType": "m5.xlarge"}


def _fleet(role: str, **change: Any) -> dict[str, Any]:
    return {
        "InstanceFleetType": role,
        "TargetOnDemandCapacity": 1,
        "InstanceTypeConfigs": [_TYPE],
    } | change


def test_ended_cluster_names_reason_of_groups_and_instances(
    emr: Emr, waiting: str, until: Await
) -> None:
    emr.terminate_job_flows(JobFlowIds=[waiting])
    until(lambda: state(emr, waiting), "TERMINATED")
    groups = emr.list_instance_groups(ClusterId=waiting)["InstanceGroups"]
    instances = emr.list_instances(ClusterId=waiting)["Instances"]
    reason = {"Code": "CLUSTER_TERMINATED", "Message": "Job flow terminated"}
    assert [one["Status"]["StateChangeReason"] for one in groups + instances] == [reason] * 5


def test_failed_bootstrap_action_is_reason_of_its_instance(
    emr: Emr, runtime: FakeRuntime, request_body: dict[str, Any], until: Await
) -> None:
    runtime.failing_bootstrap = 1
    action = {"Name": "a", "ScriptBootstrapAction": {"Path": "s3://pets-logs/boot.sh"}}
    id_ = emr.run_job_flow(**request_body | {"BootstrapActions": [action]})["JobFlowId"]
    until(lambda: state(emr, id_), "TERMINATED_WITH_ERRORS")
    reasons = {
        one["InstanceGroupId"]: one["Status"]["StateChangeReason"]
        for one in emr.list_instances(ClusterId=id_)["Instances"]
    }
    primary, core = (one["Id"] for one in emr.list_instance_groups(ClusterId=id_)["InstanceGroups"])
    assert reasons[primary]["Code"] == "BOOTSTRAP_FAILURE"
    assert "bootstrap action 1" in reasons[primary]["Message"]
    assert reasons[core]["Code"] == "CLUSTER_TERMINATED"


def test_cluster_is_in_the_zone_of_its_subnet(
    emr: Emr, mocked: Target, request_body: dict[str, Any]
) -> None:
    subnets = mocked.client("ec2").describe_subnets()["Subnets"]
    subnet = next(one for one in subnets if one["AvailabilityZone"] == "us-east-1c")["SubnetId"]
    request_body["Instances"]["Ec2SubnetId"] = subnet
    id_ = emr.run_job_flow(**request_body)["JobFlowId"]
    attributes = emr.describe_cluster(ClusterId=id_)["Cluster"]["Ec2InstanceAttributes"]
    assert attributes["Ec2AvailabilityZone"] == "us-east-1c"


def test_all_subnets_of_a_fleet_must_exist(
    emr: Emr, mocked: Target, request_body: dict[str, Any]
) -> None:
    ec2 = mocked.client("ec2")
    subnets = [one["SubnetId"] for one in ec2.describe_subnets()["Subnets"][:2]]
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    other = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.1.0/24")["Subnet"]["SubnetId"]
    fleets = {"InstanceFleets": [_fleet("MASTER"), _fleet("CORE")]}
    for last, message in (("subnet-1", "subnet-1 does not exist"), (other, "one VPC")):
        instances = fleets | {"Ec2SubnetIds": [*subnets, last]}
        with pytest.raises(ClientError, match=message):
            emr.run_job_flow(**request_body | {"Instances": instances})
    instances = fleets | {"Ec2SubnetIds": subnets}
    assert emr.run_job_flow(**request_body | {"Instances": instances})["JobFlowId"]


def test_fleet_returns_resize_specifications_and_bids(
    emr: Emr, request_body: dict[str, Any]
) -> None:
    resize = {"SpotResizeSpecification": {"TimeoutDurationMinutes": 7}}
    types = [
        {"InstanceType": "m5.xlarge", "BidPrice": "1", "BidPriceAsPercentageOfOnDemandPrice": 100},
        {"InstanceType": "m4.xlarge"},
    ]
    core = _fleet("CORE", ResizeSpecifications=resize, InstanceTypeConfigs=types)
    request_body["Instances"] = {"InstanceFleets": [_fleet("MASTER"), core]}
    id_ = emr.run_job_flow(**request_body)["JobFlowId"]
    fleet = emr.list_instance_fleets(ClusterId=id_)["InstanceFleets"][1]
    assert fleet["ResizeSpecifications"] == resize
    first, second = fleet["InstanceTypeSpecifications"]
    assert (first["BidPrice"], second["BidPriceAsPercentageOfOnDemandPrice"]) == ("1", 100.0)


def test_passwords_of_kerberos_are_neither_returned_nor_stored(
    emr: Emr, service: Service, request_body: dict[str, Any]
) -> None:
    emr.create_security_configuration(Name="kerberos", SecurityConfiguration="{}")
    kerberos = {
        "Realm": "EC2.INTERNAL",
        "KdcAdminPassword": "hunter2",
        "CrossRealmTrustPrincipalPassword": "hunter2",
        "ADDomainJoinUser": "join",
        "ADDomainJoinPassword": "hunter2",
    }
    change = {"KerberosAttributes": kerberos, "SecurityConfiguration": "kerberos"}
    id_ = emr.run_job_flow(**request_body | change)["JobFlowId"]
    attributes = emr.describe_cluster(ClusterId=id_)["Cluster"]["KerberosAttributes"]
    assert attributes == {"Realm": "EC2.INTERNAL", "ADDomainJoinUser": "join"}
    assert "hunter2" not in str(service.clusters[id_].request)


def test_placement_groups_have_a_default_strategy(emr: Emr, request_body: dict[str, Any]) -> None:
    change = {"PlacementGroupConfigs": [{"InstanceRole": "MASTER"}]}
    id_ = emr.run_job_flow(**request_body | change)["JobFlowId"]
    groups = emr.describe_cluster(ClusterId=id_)["Cluster"]["PlacementGroups"]
    assert groups == [{"InstanceRole": "MASTER", "PlacementStrategy": "SPREAD"}]


def test_step_returns_its_role_and_writes_to_its_log_uri(
    emr: Emr, mocked: Target, request_body: dict[str, Any], until: Await
) -> None:
    s3, role = mocked.client("s3"), "arn:aws:iam::123456789012:role/pets"
    s3.create_bucket(Bucket="pets-logs")
    emr.create_security_configuration(Name="roles", SecurityConfiguration=RUNTIME_ROLES)
    id_ = emr.run_job_flow(**request_body | {"SecurityConfiguration": "roles"})["JobFlowId"]
    uri = "s3://pets-logs/mine/"
    step = {
        "Name": "a",
        "ActionOnFailure": "CONTINUE",
        "HadoopJarStep": {"Jar": "command-runner.jar", "Args": ["hello"]},
        "StepMonitoringConfiguration": {"S3MonitoringConfiguration": {"LogUri": uri}},
    }
    [step_id] = emr.add_job_flow_steps(JobFlowId=id_, Steps=[step], ExecutionRoleArn=role)[
        "StepIds"
    ]
    until(lambda: status(emr, id_, step_id)["State"], "COMPLETED")
    described = emr.describe_step(ClusterId=id_, StepId=step_id)["Step"]
    assert (described["ExecutionRoleArn"], described["LogUri"]) == (role, uri)
    [row] = emr.list_steps(ClusterId=id_)["Steps"]
    assert row["LogUri"] == uri
    log = s3.get_object(Bucket="pets-logs", Key=f"mine/{id_}/steps/{step_id}/stdout.gz")["Body"]
    assert gzip.decompress(log.read()) == b"hello\n"
